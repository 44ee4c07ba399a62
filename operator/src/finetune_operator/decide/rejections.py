"""A person's no to bytes, wherever it stands: on a version's own spec or record, or in a policy's memory."""

from collections.abc import Iterable
from datetime import UTC, datetime

from ..api.model_version import ModelVersion
from ..api.policy_status import LiveVersion, PolicyStatus, Rejected
from ..api.record import rejection
from . import limits, text, times


def rejection_on(version: ModelVersion) -> Rejected | None:
    """Return what the version says of its bytes: the no of its own review, else the one on its service record."""
    spec = version.spec
    no = None if spec.evidence is None else spec.evidence.persons_no
    if no is not None:
        run = "" if spec.lineage is None else spec.lineage.run
        return rejected(spec.artifact.sha256, by=no.by, at=no.at, version=spec.version, run=run)
    known = rejection(version.metadata.annotations, spec.artifact.sha256)
    if known is None:
        return None
    return rejected(spec.artifact.sha256, by=known.by, at=known.at, version=known.version, run=known.run)


def rejection_of(sha256: str, versions: Iterable[ModelVersion], status: PolicyStatus) -> Rejected | None:
    """Return a person's no to those bytes: that of a version that is there, else what the policy remembers."""
    here = (rejection_on(version) for version in versions if version.spec.artifact.sha256 == sha256)
    return next((no for no in here if no is not None), None) or status.rejected_of(sha256)


def barred(sha256: str, versions: Iterable[ModelVersion], status: PolicyStatus) -> Rejected | None:
    """Return the no that keeps those bytes from being put live, or None where nobody said one, or it does not count.

    What served here, and was rejected after that, is passed over as long as there is another version that did and
    that nothing speaks against. Where there is none it may be gone back to: who may write runs cannot take away every
    way back.
    """
    known = tuple(versions)
    no = rejection_of(sha256, known, status)
    if no is None or not _served_well(status, sha256):
        return no
    others = (entry for entry in _served(status) if entry.sha256 != sha256)
    return no if any(_unobjected(entry, known, status) for entry in others) else None


def _served(status: PolicyStatus) -> tuple[LiveVersion, ...]:
    """Return what a flight can go back to: what is live or was good, and what the one under way came from."""
    flight = status.in_flight
    back = () if flight is None or flight.back is None else (flight.back,)
    live = () if status.live is None else (status.live,)
    return (*back, *live, *status.last_good)


def _served_well(status: PolicyStatus, sha256: str) -> bool:
    return any(entry.sha256 == sha256 for entry in _served(status))


def _unobjected(entry: LiveVersion, versions: tuple[ModelVersion, ...], status: PolicyStatus) -> bool:
    """Tell whether neither evidence nor people speak against a version that served."""
    if status.quarantine_of(entry.sha256) is not None or status.taken_back_of(entry.sha256) is not None:
        return False
    return rejection_of(entry.sha256, versions, status) is None


def rejected(sha256: str, *, by: str, at: datetime, version: str, run: str) -> Rejected:
    """Return the no as it is remembered: whoever wrote it, its words are short."""
    return Rejected(
        version=text.cut(version, limits.REVIEWED),
        sha256=sha256,
        by=text.cut(by, limits.BY),
        at=times.moment(at if at.tzinfo is not None else at.replace(tzinfo=UTC)),
        run=text.cut(run, limits.REVIEWED),
    )


def in_words(no: Rejected, version: str = "") -> str:
    """Return who rejected the bytes of `version`, and as which other one, if it was another."""
    under = f" as '{text.plain(no.version)}', which has the same bytes," if no.version not in ("", version) else ""
    return f"'{text.plain(no.by)}' rejected it{under} in review"
