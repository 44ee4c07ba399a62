"""Which runs of a policy were judged, and by which plans: what these list is not new any more."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from ..api.meta import FileReference
from ..api.model_version import ModelVersion
from ..api.policy_status import Judged
from ..api.uris import is_uri
from . import limits, text, times

VERDICTS: Final = frozenset(("Pass", "Review", "Reject"))
"""Verdicts of gates that judged; an Error leaves every sample as new as it was."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def judged(run: str, run_uid: str, inputs: FileReference, *, at: datetime) -> Judged | None:
    """Return what is remembered of a judged run; None where no step could be told of such a plan."""
    if not is_uri(inputs.uri) or _SHA256.fullmatch(inputs.sha256) is None:
        return None
    if not 0 < len(run_uid) <= limits.RUN_UID:
        return None
    moment = times.moment(at if at.tzinfo is not None else at.replace(tzinfo=UTC))
    return Judged(run=text.cut(run, limits.REVIEWED), run_uid=run_uid, inputs=inputs, at=moment)


def judged_by_versions(versions: Iterable[ModelVersion], policy: str, model: str) -> Iterator[Judged]:
    """Yield what versions say of the runs of `policy` that made them: this outlives runs and statuses (decision 12)."""
    for version in versions:
        lineage, evidence = version.spec.lineage, version.spec.evidence
        if lineage is None or evidence is None or evidence.verdict not in VERDICTS:
            continue
        if lineage.policy != policy or version.spec.model != model:
            continue
        at = lineage.created_at if evidence.decision is None else evidence.decision.at
        entry = judged(lineage.run, lineage.run_uid, lineage.inputs, at=at)
        yield from () if entry is None else (entry,)


def newest(known: Iterable[Judged], more: Iterable[Judged]) -> tuple[Judged, ...]:
    """Return the newest judged runs, each once and oldest first. What is `known` of a run stands, but for a later time.

    A run is judged before it is decided, so that its time can move on; it never moves back.
    """
    runs: dict[str, Judged] = {}
    for entry in (*known, *more):
        first = runs.setdefault(entry.run_uid, entry)
        if entry.at > first.at:
            runs[entry.run_uid] = replace(first, at=entry.at)
    return tuple(sorted(runs.values(), key=lambda entry: (entry.at, entry.run_uid))[-limits.JUDGED :])
