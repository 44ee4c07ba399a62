"""When no attempt follows another, how long it waits if one does, and when the time of a step is up."""

from datetime import timedelta
from typing import Final, TypeVar

from ...api.run import Attempt, Step
from ..views import JobView, Problem
from .clock import is_running, running_time
from .genuine import JOB_NOT_OURS
from .history import MAX_BACKOFF, backoff
from .step import AttemptsView, StepRequest, template_mended

T = TypeVar("T")

MAX_DISRUPTIONS: Final = 20
"""A disruption is nobody's fault, so it costs no retry; without an end a broken node pool would loop for ever.

So would a cluster whose admission changes every Job, or somebody who takes every name.
"""

MOST_DISRUPTIONS: Final = 100
"""The same with those that got somewhere; a status takes 256 attempts."""

WORTH_WHILE: Final = timedelta(hours=1)
"""Whose trainer ran so long got on: what it kept, the next attempt goes on from. Running time has its own end."""

ENDLESS_BACKOFF: Final = timedelta(minutes=30)
"""An endless step that fails again and again costs a pod in half an hour."""


def given_up(view: AttemptsView, request: StepRequest[T], failed: Attempt, problem: Problem) -> Problem | None:
    """Return why no attempt follows a failed one, if none does."""
    if request.ends is not None:
        return problem if failed.fatal and request.ends(problem) else None
    if failed.fatal:
        return problem
    counted = _counted(view, request.step)
    if counted > view.backoff_limit:
        message = (
            f"{request.step} failed {counted} times, backoffLimit is {view.backoff_limit}; last: {_in_words(problem)}"
        )
        return Problem("BackoffLimitExceeded", message)
    uncounted = [a for a in view.attempts if a.outcome == "Failed" and not a.counted]
    strange = sum(a.reason == JOB_NOT_OURS for a in uncounted)
    if failed.reason == JOB_NOT_OURS and strange >= MAX_DISRUPTIONS:
        return Problem(JOB_NOT_OURS, f"{strange} Jobs were not the ones that were to be made; last: {problem.message}")
    disruptions = len(uncounted) - strange
    if disruptions - sum(map(_got_on, uncounted)) >= MAX_DISRUPTIONS or disruptions >= MOST_DISRUPTIONS:
        return Problem("TooManyDisruptions", f"disrupted {disruptions} times; last: {_in_words(problem)}")
    return None


def _got_on(attempt: Attempt) -> bool:
    """Tell whether an attempt that was disrupted left more than it found: training alone goes on (R227)."""
    ran = timedelta(seconds=attempt.ran_seconds)
    return attempt.step == "train" and attempt.reason != JOB_NOT_OURS and ran >= WORTH_WHILE


def _counted(view: AttemptsView, step: Step) -> int:
    return sum(a.outcome == "Failed" and a.counted for a in view.attempts if a.step == step)


def pause(view: AttemptsView, request: StepRequest[T], failed: Attempt) -> timedelta:
    """Return how long after a failed attempt the next one begins; a mended PodTemplate is tried at once.

    A node that rejects pods does so in a second, and a Job that is not ours is seen at once: such attempts are not
    counted, but the pause grows with them. In an endless step, which no count ends, it grows with every failure.
    """
    if template_mended(request, failed):
        return timedelta()
    ended = [a for a in view.attempts if a.outcome == "Failed"]
    if request.ends is not None:
        return backoff(max(sum(a.step == request.step for a in ended), 1), ENDLESS_BACKOFF)
    quick = sum(a.reason in ("RejectedByNode", JOB_NOT_OURS) for a in ended)
    return backoff(max(_counted(view, request.step) + quick, 1), MAX_BACKOFF)


def is_overdue(view: AttemptsView, request: StepRequest[T]) -> bool:
    """Tell whether the step has used up its running time."""
    return view.deadline is not None and _time_used(view, request) >= view.deadline


def _time_used(view: AttemptsView, request: StepRequest[T]) -> timedelta:
    attempts = view.attempts[-1:] if request.ends is not None else view.attempts
    return running_time(attempts, request.step, view.now)


def until_deadline(view: AttemptsView, request: StepRequest[T], job: JobView) -> timedelta | None:
    """Return the running time that is left while a trainer runs; None while the clock stands."""
    return view.deadline - _time_used(view, request) if view.deadline is not None and is_running(job) else None


def deadline_problem(view: AttemptsView, request: StepRequest[T]) -> Problem:
    """Return that the running time is used up, with what can be done."""
    limit = int(view.deadline.total_seconds()) if view.deadline else 0
    if request.ends is not None:
        text = f"its trainer ran for {limit} s, the most for one attempt of {request.step}; its log says what it did"
        return Problem("DeadlineExceeded", text)
    message = f"its pods ran longer than activeDeadlineSeconds ({limit} s); train less, on faster hardware, or raise it"
    return Problem("DeadlineExceeded", message)


def _in_words(problem: Problem) -> str:
    return f"{problem.reason}: {problem.message}"
