"""A policy's concurrency: so many of its runs have Jobs at a time, the others wait, oldest first (rows R56 to R58)."""

from datetime import UTC, datetime, timedelta
from typing import Final

from ...api.meta import find
from ...api.run import FINAL_PHASES, Place, Run, RunStatus
from ..decision import Decision
from ..text import listed
from ..views import Explanation
from .status import WAITING_FOR_TURN, mark, say
from .view import InLine, RunView

_WITH_JOBS: Final = frozenset(("Preparing", "Training", "Evaluating"))
# What stands in the way of every run of the policy ends for all of them at once: age decides then, not who looks first.
_SHARED: Final = frozenset(
    ("PolicyNotFound", "PolicyNotReady", "PodTemplateNotFound", "PodTemplateNotLabelled", "NoTrainerContainer")
)
_NEW: Final = timedelta(minutes=1)
"""So long an older run that nobody could look at yet goes first; one that cannot be looked at must not block others."""

_LAST: Final = datetime.max.replace(tzinfo=UTC)


def place_of(run: Run, status: RunStatus) -> Place | None:
    """Return how a run in this status counts against its policy's concurrency; None where it needs no place.

    A run in review, suspended, blocked, or waiting for its promotion needs none.
    """
    accepted = find(status.conditions, "Accepted")
    if status.phase in FINAL_PHASES or accepted is None:
        return None
    if any(attempt.outcome in ("Planned", "Running") for attempt in status.attempts):
        return "Taken"
    if status.phase in _WITH_JOBS and accepted.status == "True":
        return "Taken"
    if status.phase == "Suspended":
        return None if run.spec.suspend else "Blocked"
    if status.phase != "Pending":
        return None
    return "Waiting" if accepted.reason == WAITING_FOR_TURN else "Blocked" if accepted.reason in _SHARED else None


def wait_for_turn(view: RunView, status: RunStatus) -> Decision[RunStatus] | None:
    """Return the status of a run that must wait before it may have a Job; None when it has a place or may take one."""
    if view.run.status.place == "Taken" or view.policy is None:
        return None
    limit, taken = view.policy.spec.concurrency, view.queue.taken
    before = _before(view)
    if len(taken) + len(before) < limit:
        return None
    runs = "run" if limit == 1 else "runs"
    text = f"waits for its turn, number {len(before) + 1} in line: spec.concurrency of FineTunePolicy "
    text += f"{view.policy.metadata.name} lets {limit} {runs} have Jobs at a time; now {listed(list(taken), most=3)}"
    text += f"; before this one {listed(before, most=3)}" if before else ""
    explanation = Explanation(WAITING_FOR_TURN, text)
    status = mark(view, status, "Accepted", "Unknown", explanation.reason, explanation.message)
    return Decision(say(status, "Pending", explanation.message))


def _before(view: RunView) -> list[str]:
    """Return who waits and is older, oldest first."""
    metadata = view.run.metadata
    mine = (metadata.creation_timestamp or _LAST, metadata.name)
    older = sorted(key for entry in view.queue.line if (key := _key(entry)) < mine and _goes_first(view, entry))
    return [name for _, name in older]


def _key(entry: InLine) -> tuple[datetime, str]:
    return entry.created or _LAST, entry.name


def _goes_first(view: RunView, entry: InLine) -> bool:
    """Tell whether an older run is waited for, though it does not wait for its turn yet.

    What blocked it is over if this run has not begun: then it was blocked by the same.
    """
    if entry.is_blocked:
        return view.run.status.snapshot is None
    return not entry.is_new or (entry.created is not None and view.now - entry.created <= _NEW)
