"""How a run's status is written: conditions, phases, endings, progress, and the Events of a change."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec.structs import replace

from ...api.meta import ConditionStatus, find, set_condition, with_all
from ...api.progress import ProgressLine
from ...api.run import FINAL_PHASES, Progress, RunPhase, RunStatus, Step
from .. import limits
from ..attempts.clock import as_recorded
from ..attempts.history import active_jobs, attempt_text, deletions, latest, newly_failed
from ..attempts.pods import not_ending, until_overdue
from ..commands import in_events
from ..decision import Action, Decision, Emit
from ..templates import QUEUE_NOT_ALLOWED, unused_queue
from ..text import quoted
from ..views import Explanation
from .view import RunView

CONDITIONS: Final = ("Accepted", "Prepared", "Trained", "Evaluated", "GatesPassed", "Promoted", "Finished")
PHASE_OF: Final[dict[Step, RunPhase]] = {
    "prepare": "Preparing",
    "train": "Training",
    "evaluate": "Evaluating",
    "verify": "Evaluating",
}
CONDITION_OF: Final[dict[Step, str]] = {
    "prepare": "Prepared",
    "train": "Trained",
    "evaluate": "Evaluated",
    "verify": "Evaluated",
}
WAITING_FOR_TURN: Final = "WaitingForTurn"
PROGRESS_EVERY: Final = timedelta(seconds=30)
_MAX_LOSSES: Final = 8
_NO_WAITS: Final = frozenset(
    (
        "NotYet",
        "Starting",
        "Running",
        "Collecting",
        "Suspended",
        "PolicySuspended",
        "LiveChanged",
        "Requested",
        "Promoting",
    )
)
"""Reasons of a condition that is Unknown though nothing is waited for, or that the phase's Event tells of."""
_LONGEST_ACTIVITY: Final = 200
_WARNINGS: Final = frozenset(("Rejected", "Expired", "RolledBack", "Failed"))


def first_visit(view: RunView) -> RunStatus:
    """Return the status with every known condition present, from the first visit on."""
    status = view.run.status
    if status.started_at is None:
        status = replace(status, phase="Pending", started_at=view.now)
    generation = view.run.metadata.generation
    conditions = with_all(status.conditions, CONDITIONS, generation=generation, now=view.now)
    finished = find(conditions, "Finished")
    if finished is not None and finished.status == "False":  # a write was refused; whether it still is shows anew
        conditions = set_condition(conditions, "Finished", "Unknown", "NotYet", generation=generation, now=view.now)
    return status if conditions == status.conditions else replace(status, conditions=conditions)


def mark(
    view: RunView, status: RunStatus, kind: str, value: ConditionStatus, reason: str, message: str = ""
) -> RunStatus:
    """Return the status with one condition set."""
    generation = view.run.metadata.generation
    conditions = set_condition(status.conditions, kind, value, reason, message, generation=generation, now=view.now)
    return status if conditions == status.conditions else replace(status, conditions=conditions)


def say(status: RunStatus, phase: RunPhase, message: str) -> RunStatus:
    """Return the status with its summary set."""
    return replace(status, phase=phase, message=message[: limits.MESSAGE])


def blocked(view: RunView, status: RunStatus, explanation: Explanation, phase: RunPhase) -> Decision[RunStatus]:
    """Wait for something that people have to bring; `Accepted` says what."""
    status = mark(view, status, "Accepted", "False", explanation.reason, explanation.message)
    return Decision(say(status, phase, explanation.message))


def unblocked(view: RunView, status: RunStatus) -> RunStatus:
    """Return the status with `Accepted` True; it says so when the run's queue is not used."""
    message, unused = "policy, base and PodTemplates are there", unused_queue(view.policy, view.run.spec)
    if unused is None:
        return mark(view, status, "Accepted", "True", "Accepted", message)
    return mark(view, status, "Accepted", "True", unused.reason, f"{message}; {unused.message}")


def finish(view: RunView, status: RunStatus, phase: RunPhase, reason: str, message: str) -> Decision[RunStatus]:
    """End the run for good. `concluded` holds the final phase back until nothing of the run is left to do."""
    status = mark(view, status, "Finished", "True", reason, message)
    return Decision(replace(say(status, phase, message), finished_at=status.finished_at or view.now))


def concluded(view: RunView, decision: Decision[RunStatus]) -> Decision[RunStatus]:
    """Hold a final phase back while Jobs or pods are left, or actions are to be taken; delete the Jobs.

    A final status is never looked at again, so nothing may be left for a crash to lose.
    """
    if decision.status.phase not in FINAL_PHASES:
        return decision
    left = active_jobs(view.jobs)
    if not left and not decision.actions:
        return decision
    before = first_visit(view)
    unfinished = find(before.conditions, "Finished")
    conditions = (unfinished if c.type == "Finished" and unfinished else c for c in decision.status.conditions)
    status = replace(decision.status, phase=before.phase or "Pending", finished_at=None, conditions=tuple(conditions))
    stuck = not_ending(left, view.now)
    if stuck is not None:
        status = say(status, status.phase or "Pending", f"{status.message}; {stuck.message}")
    return Decision(status, (*decision.actions, *deletions(left)), until_overdue(left, view.now))


def progressed(view: RunView, status: RunStatus, step: Step) -> RunStatus:
    """Return the status with the trainer's progress: at most once an epoch, or every 30 s."""
    line, old = view.progress, status.progress
    if line is None or line.step != step:
        return status
    new = _progress(line, view.now)
    if old is not None and old.step == step:
        if replace(old, updated_at=None) == replace(new, updated_at=None):
            return status
        recent = old.updated_at is not None and abs(view.now - old.updated_at) < PROGRESS_EVERY
        if recent and old.epoch == new.epoch:
            return status
    return replace(status, progress=new)


def progress_text(progress: Progress | None, step: Step) -> str:
    """Return "epoch 3 of 10, 30 %, about 84 s left", or nothing while nothing is known; what goes on says more."""
    if progress is None or progress.step != step:
        return ""
    parts = []
    if progress.activity:
        parts.append(progress.activity)
    elif progress.epoch is not None and progress.epochs is not None:
        parts.append(f"epoch {progress.epoch} of {progress.epochs}")
    parts.append(f"{progress.percent} %")
    if progress.remaining_seconds is not None:
        parts.append(f"about {progress.remaining_seconds} s left")
    return ", ".join(parts)


def worth_writing(before: RunStatus, after: RunStatus) -> RunStatus:
    """Return `before` if time went by and that is all: it is recorded with the next real change."""
    if len(before.attempts) != len(after.attempts):
        return after
    started = tuple(as_recorded(old, new) for old, new in zip(before.attempts, after.attempts, strict=True))
    return before if replace(after, attempts=started) == before else after


def events(before: RunStatus, after: RunStatus) -> tuple[Action, ...]:
    """Return the Events of a change: phases, what the run waits for, and failed attempts."""
    actions: list[Action] = []
    if after.phase != before.phase and after.phase is not None and after.phase != "Pending":
        weight: Literal["Normal", "Warning"] = "Warning" if after.phase in _WARNINGS else "Normal"
        actions.extend(Emit(weight, after.phase, text) for text in in_events(after.message))
    actions.extend(_waits(before, after))
    actions.extend(
        Emit("Warning", attempt.reason, f"{attempt_text(attempt)}: {attempt.message}")
        for attempt in newly_failed(before.attempts, after.attempts)
    )
    return tuple(actions)


def _waits(before: RunStatus, after: RunStatus) -> Iterator[Emit]:
    """Yield an Event for each wait that is new, or has another reason now (R55)."""
    for kind in ("Accepted", "Prepared", "Trained", "Evaluated", "Promoted"):
        old, new = find(before.conditions, kind), find(after.conditions, kind)
        if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
            continue
        if new.status == "False" and kind != "Promoted":  # which is False at the end alone: the phase tells of that
            yield from (Emit("Warning", new.reason, text) for text in in_events(new.message))
        elif new.status == "Unknown" and new.reason not in _NO_WAITS:
            yield from (Emit("Normal", new.reason, text) for text in in_events(new.message))
        elif new.reason == QUEUE_NOT_ALLOWED:
            yield Emit("Warning", new.reason, new.message)


def _progress(line: ProgressLine, now: datetime) -> Progress:
    """Return the trainer's words within the bounds of a status: they are only shown, never judged."""
    return Progress(
        step=line.step,
        epoch=_natural(line.epoch),
        epochs=_natural(line.epochs),
        percent=min(max(line.percent, 0), 100),
        remaining_seconds=_natural(line.remaining_seconds),
        losses={key[:32]: value[:32] for key, value in list(line.losses.items())[:_MAX_LOSSES]},
        activity=quoted(line.activity, _LONGEST_ACTIVITY),
        updated_at=now,
    )


def _natural(number: int | None) -> int | None:
    return None if number is None else min(max(number, 0), 1_000_000)


def current_round(status: RunStatus) -> int:
    """Return the evaluation round that is due: a judged round whose verdict is void calls for the next one."""
    rounds = [a.round for a in status.attempts if a.step == "evaluate"]
    newest = max(rounds, default=1)
    last = latest(status.attempts, "evaluate", newest)
    return newest + 1 if last is not None and last.outcome == "Succeeded" else newest
