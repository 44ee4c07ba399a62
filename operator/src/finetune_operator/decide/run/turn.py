"""A policy's concurrency: so many of its runs have Jobs at a time, the others wait, oldest first (rows R56 to R58)."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from ...api.meta import find
from ...api.run import FINAL_PHASES, Place, Run, RunStatus
from ..commands import suspending
from ..decision import Decision
from ..text import listed
from ..times import stamp
from .status import WAITING_FOR_TURN, mark, say
from .view import RunView, Stuck

_WITH_JOBS: Final = frozenset(("Preparing", "Training", "Evaluating"))
# What stands in the way of every run of the policy ends for all of them at once: age decides then, not who looks first.
_SHARED: Final = frozenset(
    ("PolicyNotFound", "PolicyNotReady", "PodTemplateNotFound", "PodTemplateNotLabelled", "NoTrainerContainer")
)
_NEW: Final = timedelta(minutes=1)
"""So long an older run that nobody could look at yet goes first; one that cannot be looked at must not block others."""

_LATE: Final = timedelta(minutes=5)
"""A step that gets no further for so long is worth a word to those that wait for it."""

_LAST: Final = "~"
_SHOWN: Final = 3


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
    number, before = _before(view)
    if len(taken) + number < limit:
        return None
    runs = "run" if limit == 1 else "runs"
    text = f"waits for its turn, number {number + 1} in line: spec.concurrency of FineTunePolicy "
    text += f"{view.policy.metadata.name} lets {limit} {runs} have Jobs at a time; now {_named(taken, len(taken))}"
    text += f"; before this one {_named(before, number)}" if number else ""
    text += held_up(view, view.queue.stuck)
    status = mark(view, status, "Accepted", "Unknown", WAITING_FOR_TURN, text)
    return Decision(say(status, "Pending", text))


def held_up(view: RunView, stuck: Sequence[Stuck]) -> str:
    """Return which of those that are waited for gets no further itself, and how others go first: it keeps its place.

    Its pod may start at any moment, and to take its Job away would cost it its place in the cluster's own queues.
    """
    late = min((one for one in stuck if view.now - one.since >= _LATE), key=lambda one: one.since, default=None)
    if late is None:
        return ""
    way = suspending(late.run, view.run.metadata.namespace)
    return (
        f"; {late.run} itself gets no further since {stamp(late.since)} ({late.reason}): mend that, or suspend it, so "
        f"that others go first: {way}"
    )


def wait_for_landing(view: RunView, status: RunStatus) -> Decision[RunStatus] | None:
    """Return the status of a run that is not measured again yet; None when nothing is about to change what is live.

    What it would be measured against may be gone before it is done, and there are few rounds.
    """
    policy = view.policy
    flight = policy.status.in_flight if policy is not None else None
    if view.ahead:
        text = f"run {listed(list(view.ahead), most=_SHOWN)} may go live first"
    elif flight is not None:
        text = f"promotion {flight.promotion} is in flight"
    else:
        return None
    text += "; then this run is measured again, against what is live by then"
    status = mark(view, status, "Accepted", "Unknown", "PromotionUnderway", text)
    return Decision(say(status, "Pending", text))


def _before(view: RunView) -> tuple[int, list[str]]:
    """Return how many wait and are older, and the oldest of them.

    What blocked others is over if this run has not begun: then it was blocked by the same.
    """
    metadata, queue = view.run.metadata, view.queue
    mine = (stamp(metadata.creation_timestamp) if metadata.creation_timestamp else _LAST, metadata.name)
    blocked = queue.blocked if view.run.status.snapshot is None else ()
    older = (
        queue.waiting[: bisect_left(queue.waiting, mine)],
        blocked[: bisect_left(blocked, mine)],
        queue.new[bisect_left(queue.new, (stamp(view.now - _NEW), "")) : bisect_left(queue.new, mine)],
    )
    oldest = sorted(turn for turns in older for turn in turns[:_SHOWN])
    return sum(map(len, older)), [name for _, name in oldest]


def _named(names: Sequence[str], number: int) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if number <= _SHOWN else f"{shown} and {number - _SHOWN} more"
