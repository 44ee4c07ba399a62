"""What is said of an object that the operator fails on, by a bug or because its own status is refused (row R88)."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from ..cluster.kinds import Kind, is_final
from ..decide.text import readable

REASON: Final = "ReconcileFailed"
CONDITION: Final = "Reconciled"
"""Is there, and False, only while the operator fails on the object."""

TRIES: Final = 30
"""Failures in a row after which a run ends: with the queue's pauses that is after half an hour."""

_FAILS: Final = "the operator fails on this object"

_SHOWN: Final = 300
"""Characters of an error that a message quotes."""


@dataclass(slots=True)
class Failures:
    """By uid: how many times in a row the operator fails on an object, in whatever words."""

    _known: dict[str, int] = field(default_factory=dict)

    def count(self, uid: str) -> int:
        """Return how many times in a row the operator failed."""
        self._known[uid] = self._known.get(uid, 0) + 1
        return self._known[uid]

    def forget(self, uid: str) -> None:
        """Begin anew: it went well, or the object is gone."""
        self._known.pop(uid, None)


def in_words(error: Exception) -> str:
    """Return what failed and where in the operator."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "finetune_operator" in frame.filename] or frames
    where = f"{ours[-1].filename.rpartition('finetune_operator/')[2]}:{ours[-1].lineno}" if ours else "an unknown place"
    said = readable(str(error)).replace(";", ",")[:_SHOWN]
    return f"{type(error).__name__} in {where}: {said}"


def refused_in_words(error: Exception) -> str:
    """Return that the API server does not take what the operator would write into the object's status."""
    return f"the API server refuses its status: {readable(str(error)).replace(';', ',')[:_SHOWN]}"


def patch(kind: Kind, raw: Mapping[str, Any], words: str, now: datetime, *, ends: bool) -> dict[str, Any]:
    """Return the least that says so in the object's status; empty where it is said already.

    It is made of the status as it is stored, and decides nothing: what failed once must not fail here again.
    """
    status = raw.get("status") or {}
    if is_final(kind, status.get("phase") or ""):
        return {}
    message = _message(kind, words, ends=ends)
    stamp, generation = now.strftime("%Y-%m-%dT%H:%M:%SZ"), raw["metadata"].get("generation") or 0
    value = {"type": CONDITION, "status": "False", "reason": REASON, "message": message}
    conditions = [c for c in status.get("conditions") or () if isinstance(c, dict)]
    said = next((c for c in conditions if c.get("type") == CONDITION), None)
    if said is not None and _is_said(said, words) and not ends:
        return {}
    since = stamp if said is None else said.get("lastTransitionTime", stamp)
    new = [c for c in conditions if c.get("type") != CONDITION]
    if ends:
        new = [c for c in new if c.get("type") != "Finished"]
        value |= {"type": "Finished", "status": "True"}
        since = stamp
    changed = {"conditions": [*new, {**value, "lastTransitionTime": since, "observedGeneration": generation}]}
    return changed | {"message": message} | ({"phase": "Failed", "finishedAt": stamp} if ends else {})


def _is_said(condition: Mapping[str, Any], words: str) -> bool:
    """Tell whether the condition tells of that failure; an address or a number in its words may be another one."""
    failure = words.partition(": ")[0]
    return str(condition.get("message")).startswith(f"{_FAILS}: {failure}: ")


def _message(kind: Kind, words: str, *, ends: bool) -> str:
    if ends:
        return f"the operator failed {TRIES} times: {words}; report it, then update the operator and make a new run"
    what = f"after {TRIES} tries the run ends" if kind is Kind.RUN else "it is tried again by itself, each minute"
    return f"{_FAILS}: {words}; {what}; its log says more: report it, or update the operator"
