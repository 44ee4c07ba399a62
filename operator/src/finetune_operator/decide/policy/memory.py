"""Changes of a policy's durable memory: holds, consumed promotions, quarantine, what was good; all bounded."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from ...api.model_version import ModelVersion
from ...api.policy_status import (
    Brake,
    Consumed,
    Hold,
    InFlight,
    Judged,
    Lifted,
    Live,
    LiveVersion,
    PolicyStatus,
    PromotionOutcome,
    Quarantined,
    Rejected,
    TakenBack,
    trace_of,
)
from .. import limits
from ..deployment import keys_of
from ..judgements import newest
from ..rejections import rejection_of
from ..text import cut, within
from ..times import moment

RESTING: Final = 8
"""So many reservations outlive the creation of their versions, so that no stale reader reserves a second number.

A number, and no time: clocks are set.
"""

FAILED_IN_FLIGHT: Final = frozenset(("ConcurrentWriter", "FieldOwned", "TargetGone"))
"""Why a promotion failed after it took off; any other failed before, and never acted."""


def held(
    status: PolicyStatus, by: str, reason: str, message: str, now: datetime, newest: datetime | None = None
) -> PolicyStatus:
    """Return `status` with that hold; a hold for the same reason keeps its time, whatever else it says by now.

    `newest` is when the newest promotion was made that is there.
    """
    old = status.hold
    text = within(message, limits.HOLD_MESSAGE)
    if old is not None and (old.by, old.reason) == (by, reason):
        return status if old.message == text else replace(status, hold=replace(old, message=text))
    hold = Hold(by=by, reason=reason, message=text, since=moment(now), newest_promotion=newest)
    return replace(status, hold=hold)


def released(status: PolicyStatus) -> PolicyStatus:
    """Return `status` without a hold, with the count of re-assertions begun anew."""
    return replace(status, hold=None, reasserted_at=())


def consumed(
    status: PolicyStatus,
    promotion: tuple[str, str, str],
    outcome: PromotionOutcome,
    reason: str,
    message: str,
    now: datetime,
    waiting: Collection[tuple[str, str]] = (),
    *,
    overrules: bool = False,
) -> PolicyStatus:
    """Return `status` with the promotion (name, spec hash, uid) acted upon, for good.

    Beyond the bound the oldest entries leave, but after them those that overrule (P15), and those in `waiting` (not yet
    mirrored by their objects) last. Of those that flew a trace stays (P26).
    """
    name, spec_hash, uid = promotion
    new = Consumed(
        name=name,
        uid=uid,
        spec_hash=spec_hash,
        outcome=outcome,
        reason=reason,
        at=moment(now),
        message=within(message, limits.CONSUMED_MESSAGE),
        overrules=overrules,
    )
    entries = [entry for entry in status.consumed if (entry.name, entry.spec_hash) != (name, spec_hash)]
    gone = list[Consumed]()
    while len(entries) >= limits.CONSUMED:
        gone.append(entries.pop(min(range(len(entries)), key=lambda i: (_stays(entries[i], waiting), i))))
    silent = max(len(entries) + 1 - limits.CONSUMED_MESSAGES, 0)
    kept = [replace(entry, message="") if i < silent else entry for i, entry in enumerate(entries)]
    traces = (trace_of(entry.name, entry.spec_hash) for entry in gone if _acted(entry))
    return replace(status, consumed=(*kept, new), forgotten=(*status.forgotten, *traces)[-limits.FORGOTTEN :])


def _acted(entry: Consumed) -> bool:
    return entry.outcome in ("Succeeded", "RolledBack") or entry.reason in FAILED_IN_FLIGHT


def _stays(entry: Consumed, waiting: Collection[tuple[str, str]]) -> tuple[bool, bool]:
    return (entry.name, entry.spec_hash) in waiting, entry.overrules


def quarantined(
    status: PolicyStatus, version: LiveVersion, reason: str, now: datetime, evidence: str = ""
) -> PolicyStatus:
    """Return `status` with the version's digest not to be promoted or returned to again, and on what evidence."""
    if is_quarantined(status, version.sha256):
        return status
    new = Quarantined(
        version=version.version,
        sha256=version.sha256,
        reason=reason,
        since=moment(now),
        evidence=cut(evidence, limits.EVIDENCE),
    )
    entries = [entry for entry in status.quarantined if entry.sha256 != version.sha256][1 - limits.QUARANTINED :]
    return replace(status, quarantined=oldest_silent((*entries, new)))


def oldest_silent(entries: tuple[Quarantined, ...]) -> tuple[Quarantined, ...]:
    """Return the quarantines of which only the newest keep their evidence here; the versions' records have the rest."""
    silent = len(entries) - limits.EVIDENCES
    return tuple(replace(entry, evidence="") if i < silent else entry for i, entry in enumerate(entries))


def lifted(status: PolicyStatus, sha256: str, by: str, reason: str, now: datetime) -> PolicyStatus:
    """Return `status` with the quarantine of those bytes lifted, by that promotion and for that reason."""
    word = Lifted(at=moment(now), by=cut(by, limits.BY), reason=cut(reason, limits.MARK))
    entries = (
        replace(entry, lifted=word) if entry.sha256 == sha256 and entry.lifted is None else entry
        for entry in status.quarantined
    )
    return replace(status, quarantined=tuple(entries))


def is_quarantined(status: PolicyStatus, sha256: str) -> bool:
    """Tell whether a digest failed in production here, and nobody lifted that."""
    return status.quarantine_of(sha256) is not None


def taken_back(status: PolicyStatus, version: LiveVersion, *, by: str, reason: str, now: datetime) -> PolicyStatus:
    """Return `status` with the version taken back by the promotion `by`: it goes live again only if one says so."""
    new = TakenBack(
        version=version.version,
        sha256=version.sha256,
        by=cut(by, limits.BY),
        reason=cut(reason, limits.MARK),
        since=moment(now),
    )
    return replace(status, taken_back=(*_not_taken_back(status, version.sha256).taken_back, new)[-limits.TAKEN_BACK :])


def kept(status: PolicyStatus, version: LiveVersion) -> PolicyStatus:
    """Return `status` with a version that was found live, and taken back, kept because a promotion said so.

    It counts as good from now on: a person stands for it.
    """
    return status if status.taken_back_of(version.sha256) is None else _kept_good(status, version)


def _kept_good(status: PolicyStatus, version: LiveVersion) -> PolicyStatus:
    good = tuple(entry for entry in status.last_good if entry.sha256 != version.sha256)
    status = _not_taken_back(status, version.sha256)
    return replace(status, last_good=(version, *good)[: limits.LAST_GOOD])


def rejected(
    status: PolicyStatus,
    entries: Iterable[Rejected],
    elsewhere: Collection[str] = (),
    able: Collection[str] = (),
) -> PolicyStatus:
    """Return `status` with what people rejected, each digest once, oldest first, and as many as the bound allows.

    Beyond it those `elsewhere` leave first, which stand on versions that are there, and count all the same; then those
    that no version has (`able`), for these cannot go live; then the oldest. Of what served here none leaves. The first
    word stands. One that came before the bytes were recorded is told as which version they were, later.
    """
    known = dict[str, Rejected]()
    for entry in (*entries, *status.rejected):
        other = known.get(entry.sha256)
        named = other is not None and other.version and not entry.version
        known[entry.sha256] = replace(entry, version=other.version) if other is not None and named else entry
    flight = status.in_flight
    flown = () if flight is None else (flight.to, flight.back)
    served = {version.sha256 for version in (status.live, *status.last_good, *flown) if version is not None}

    def stays(entry: Rejected) -> tuple[bool, bool, bool, datetime, str]:
        sha256 = entry.sha256
        return sha256 in served, sha256 not in elsewhere, sha256 in able, entry.at, sha256

    kept = sorted(known.values(), key=stays)[-limits.REJECTED :]
    newest = tuple(sorted(kept, key=lambda entry: (entry.at, entry.sha256)))
    return status if newest == status.rejected else replace(status, rejected=newest)


def judged(status: PolicyStatus, entries: Iterable[Judged]) -> PolicyStatus:
    """Return `status` with the runs that were judged, each once, oldest first; beyond the bound the oldest leave."""
    known = newest(status.judged, entries)
    return status if known == status.judged else replace(status, judged=known)


def _not_taken_back(status: PolicyStatus, sha256: str) -> PolicyStatus:
    left = tuple(entry for entry in status.taken_back if entry.sha256 != sha256)
    return status if left == status.taken_back else replace(status, taken_back=left)


def as_live(version: LiveVersion, epoch: int, since: datetime) -> Live:
    """Return `version` as what the Deployment serves since then."""
    return Live(
        version=version.version,
        model_version=version.model_version,
        uri=version.uri,
        sha256=version.sha256,
        epoch=epoch,
        since=moment(since),
    )


def as_version(live: LiveVersion) -> LiveVersion:
    """Return the version alone, without since when and by which flip."""
    return LiveVersion(version=live.version, model_version=live.model_version, uri=live.uri, sha256=live.sha256)


def gone_live(status: PolicyStatus, flight: InFlight, now: datetime) -> PolicyStatus:
    """Return `status` with the flight's version live and the newest of the good ones, its predecessor second.

    Who goes back to what was live before takes back what is left, unless it only corrects a taking back (D42, D43).
    """
    corrects, left = status.taken_back_of(flight.to.sha256) is not None, status.live
    status = _not_taken_back(status, flight.to.sha256)
    if flight.takes_back and not corrects and left is not None and left.sha256 != flight.to.sha256:
        status = taken_back(status, as_version(left), by=flight.promotion, reason=flight.reason, now=now)
    # What was merely found on the Deployment is not good because something else went live.
    before = () if left is None or not status.is_good(left.sha256) else (as_version(left),)
    good: list[LiveVersion] = []
    for version in (flight.to, *before, *status.last_good):
        known = any(version.sha256 == other.sha256 for other in good)
        if not known and not is_quarantined(status, version.sha256):
            good.append(version)
    return replace(status, live=as_live(flight.to, flight.epoch, now), last_good=tuple(good[: limits.LAST_GOOD]))


def braked(status: PolicyStatus, flight: InFlight, brake: Brake, *, left: Live | None, now: datetime) -> PolicyStatus:
    """Return `status` with what people left by ending a flight (D42, D78); `left` is what was live, if they left it.

    Who ends a way back does not speak against the version that it led to. Bytes that are gone back to are not left,
    under whatever name they flew.
    """
    back = flight.back
    if back is not None and brake.corrects:
        status = _kept_good(status, back)
    flown = () if flight.takes_back else (flight.to,)
    for version in (*flown, *(() if left is None else (as_version(left),))):
        if back is None or version.sha256 != back.sha256:
            status = taken_back(status, version, by=brake.promotion, reason=brake.reason, now=now)
    return status


def way_back(status: PolicyStatus, to: LiveVersion, versions: tuple[ModelVersion, ...] = ()) -> LiveVersion | None:
    """Return what a failed flight to `to` returns to: live, else the newest good one.

    Never a quarantined digest; one that people took back or rejected only where there is no other (D44, D79). The same
    bytes under another name or from another place are a way back.
    """
    recorded = () if status.live is None else (status.live,)
    able = [
        version
        for version in (*recorded, *status.last_good)
        if keys_of(version) != keys_of(to) and not is_quarantined(status, version.sha256)
    ]
    # What was merely found on the Deployment (adopted) comes after all that passed a watch, and before nothing at all.
    able.sort(
        key=lambda version: (
            rejection_of(version.sha256, versions, status) is not None,
            status.taken_back_of(version.sha256) is not None,
            bool(status.last_good) and not status.is_good(version.sha256),
        )
    )
    return as_version(able[0]) if able else None


def is_spotless(status: PolicyStatus, version: LiveVersion, versions: tuple[ModelVersion, ...]) -> bool:
    """Tell whether a version passed a watch here, and neither production nor people speak against it."""
    sha256 = version.sha256
    against = is_quarantined(status, sha256) or status.taken_back_of(sha256) is not None
    return status.is_good(sha256) and not against and rejection_of(sha256, versions, status) is None


def without_spent_reservations(status: PolicyStatus, versions: tuple[ModelVersion, ...], model: str) -> PolicyStatus:
    """Return `status` without the reservations whose ModelVersion is there, but for the newest of these (row D24)."""
    made = {version.spec.version for version in versions if version.spec.model == model}
    spent = [entry.version for entry in status.reservations if entry.version in made]
    gone = set(spent[:-RESTING])
    kept = tuple(entry for entry in status.reservations if entry.version not in gone)[-limits.RESERVATIONS :]
    return status if kept == status.reservations else replace(status, reservations=kept)
