"""The attempt engine: how one step (a Job, its retries, its result) goes on; shared by runs and versions."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Literal, TypeVar

from msgspec.structs import replace

from ...api.contract import (
    EXIT_BAD_INPUT,
    EXIT_BAD_TRAINING,
    EXIT_OUT_OF_MEMORY,
    EXIT_PREEMPTED,
    EXIT_UNAVAILABLE,
    RESULT_SCHEMA,
    StepResult,
)
from ...api.names import job_name
from ...api.run import Attempt, Step
from ...api.value import InvalidObject, parse_json
from ..decision import Action, CreateJob
from ..text import reason_or
from ..views import JobView, Problem, TemplateView
from .history import backoff, compact, deletions, latest, leftovers, running_time
from .history import failed as as_failed

T = TypeVar("T")

# A disruption is nobody's fault, so it costs no retry; without an end a broken node pool would loop for ever.
MAX_DISRUPTIONS = 20
# In a burst Kubernetes' Job controller makes about twenty pods a second; a Job may be without one for so long.
PODLESS = timedelta(seconds=60)
_FATAL = frozenset(("BadInput", "BadTraining", "OutOfMemory"))
_CLASS_BY_EXIT = {
    EXIT_BAD_INPUT: "BadInput",
    EXIT_BAD_TRAINING: "BadTraining",
    EXIT_OUT_OF_MEMORY: "OutOfMemory",
    EXIT_UNAVAILABLE: "Unavailable",
    EXIT_PREEMPTED: "Preempted",
    137: "Killed",
}
_EXPLAINED = {
    "BadInput": "the trainer refused its input and left no details; see the pod's log",
    "BadTraining": "the training diverged and left no details; lower training.lr0",
    "OutOfMemory": "out of GPU memory; lower training.batch, or use a larger GPU",
    "Unavailable": "storage or network was not available",
    "Preempted": "the pod was told to stop (SIGTERM)",
    "Killed": "the pod was killed (SIGKILL), most likely for memory: raise resources.limits.memory",
    "Internal": "the trainer failed without a result; see the pod's log",
}


@dataclass(frozen=True, slots=True)
class Work:
    """Whose step it is, what was tried so far, and what is seen of it."""

    owner: str
    uid: str
    snapshot: str
    attempts: tuple[Attempt, ...]
    jobs: tuple[JobView, ...]
    now: datetime
    backoff_limit: int
    deadline: timedelta | None = None
    """Limit of the running time of all attempts together, from the start of their pods."""
    suspended: Problem | None = None


@dataclass(frozen=True, slots=True)
class Plan(Generic[T]):
    """One step: where its Job comes from, what it is told, and which result it may give."""

    step: Step
    source: Literal["train", "cpu"]
    template: TemplateView | Problem
    inputs: Callable[[Attempt], str]
    accept: Callable[[Attempt, StepResult], T | Problem]
    round: int = 0
    live: str | None = None


@dataclass(frozen=True, slots=True)
class Moving:
    """The step is not over; `note` says what it is doing or what it waits for."""

    attempts: tuple[Attempt, ...]
    state: Literal["Running", "Waiting", "Suspended", "Blocked"]
    note: Problem
    actions: tuple[Action, ...] = ()
    requeue_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The step's result, accepted."""

    attempts: tuple[Attempt, ...]
    value: T


@dataclass(frozen=True, slots=True)
class Over:
    """No attempt is left, or none can help."""

    attempts: tuple[Attempt, ...]
    problem: Problem


def advance(work: Work, plan: Plan[T]) -> Moving | Done[T] | Over:
    """Return where the step stands now, with the attempts as they are to be recorded."""
    current = latest(work.attempts, plan.step, plan.round)
    match current.outcome if current else None:
        case "Planned" | "Running" if current:
            return _follow(work, plan, current)
        case "Failed" if current:
            return _retry(work, plan, current)
        case _:
            return _start(work, plan)


def _start(work: Work, plan: Plan[T]) -> Moving | Over:
    """Plan the next attempt, unless something stands in its way."""
    left = leftovers(work.attempts, work.jobs)
    if left:
        names = ", ".join(job.name for job in left)
        ending = Problem("PodsEnding", f"waiting for the pods of an earlier attempt to end: {names}")
        state: Literal["Suspended", "Waiting"] = "Suspended" if work.suspended else "Waiting"
        return Moving(work.attempts, state, work.suspended or ending, deletions(left))
    if work.suspended:
        return Moving(work.attempts, "Suspended", work.suspended)
    if isinstance(plan.template, Problem):
        return Moving(work.attempts, "Blocked", plan.template)
    if _overdue(work):
        return Over(work.attempts, _deadline_problem(work))
    number = 1 + max((a.attempt for a in work.attempts if a.step == plan.step), default=0)
    attempt = Attempt(
        step=plan.step,
        attempt=number,
        job=job_name(work.owner, plan.step, number, work.uid),
        outcome="Planned",
        round=plan.round,
        live=plan.live,
        template_hash=plan.template.hash,
    )
    return Moving((*compact(work.attempts), attempt), "Running", _running(attempt), (_job(work, plan, attempt),))


def _retry(work: Work, plan: Plan[T], failed: Attempt) -> Moving | Over:
    """Decide whether another attempt follows a failed one, and when."""
    problem = Problem(failed.reason or "Internal", failed.message)
    if failed.fatal:
        return Over(work.attempts, problem)
    counted = sum(a.outcome == "Failed" and a.counted for a in work.attempts if a.step == plan.step)
    if counted > work.backoff_limit:
        told = f"{plan.step} failed {counted} times, backoffLimit is {work.backoff_limit}; last: {_told(problem)}"
        return Over(work.attempts, Problem("BackoffLimitExceeded", told))
    disruptions = sum(a.outcome == "Failed" and not a.counted for a in work.attempts)
    if disruptions >= MAX_DISRUPTIONS:
        return Over(
            work.attempts, Problem("TooManyDisruptions", f"disrupted {disruptions} times; last: {_told(problem)}")
        )
    wait = backoff(max(counted, 1)) - (work.now - (failed.finished_at or work.now))
    if wait <= timedelta() or work.suspended:
        return _start(work, plan)
    left = leftovers(work.attempts, work.jobs)
    note = Problem(problem.reason, f"attempt {failed.attempt} failed, another follows: {problem.message}")
    return Moving(work.attempts, "Waiting", note, deletions(left), wait)


def _follow(work: Work, plan: Plan[T], attempt: Attempt) -> Moving | Done[T] | Over:
    """Look after the Job of an attempt that is planned or running."""
    job = next((job for job in work.jobs if job.name == attempt.job), None)
    if attempt.job_uid is not None and (job is None or job.uid != attempt.job_uid):
        gone = Problem("JobVanished", f"Job {attempt.job} was deleted before its result was read")
        return _failed(work, plan, attempt, gone)
    if job is None:
        return _create_again(work, plan, attempt)
    seen = replace(
        attempt,
        job_uid=job.uid,
        outcome="Running",
        # Time in a queue does not count; a pod that replaces a disrupted one goes on counting.
        started_at=None if job.suspended else attempt.started_at or job.running_since,
    )
    work = _with(work, seen)
    if job.state == "Active":
        return _watch(work, plan, seen, job)
    return _harvest(work, plan, seen, job)


def _create_again(work: Work, plan: Plan[T], attempt: Attempt) -> Moving:
    """Repeat the creation of a planned Job: a crash came between the status and the Job."""
    if work.suspended:
        held = replace(attempt, outcome="Suspended", finished_at=work.now, counted=False)
        return Moving(_with(work, held).attempts, "Suspended", work.suspended)
    if isinstance(plan.template, Problem):
        return Moving(work.attempts, "Blocked", plan.template)
    attempt = replace(attempt, template_hash=plan.template.hash)
    return Moving(_with(work, attempt).attempts, "Running", _running(attempt), (_job(work, plan, attempt),))


def _watch(work: Work, plan: Plan[T], attempt: Attempt, job: JobView) -> Moving | Over:
    """Look after an active Job: suspension, deadline, reasons why it does not start."""
    if job.deleting:
        note = Problem("JobDeleting", f"Job {job.name} is being deleted, not by this run; its pods are ending")
        return Moving(work.attempts, "Waiting", note)
    if work.suspended:
        held = replace(attempt, outcome="Suspended", finished_at=work.now, counted=False)
        return Moving(_with(work, held).attempts, "Suspended", work.suspended, deletions((job,)))
    if _overdue(work):
        problem = _deadline_problem(work)
        ended = as_failed(attempt, work.now, problem, fatal=True)
        return Over(_with(work, ended).attempts, problem)
    if job.suspended:
        return Moving(work.attempts, "Waiting", job.waiting or Problem("Queued", f"Job {job.name} is queued"))
    waiting = job.waiting or _podless(work, attempt, job)
    if waiting and attempt.started_at is None and _template_mended(plan, attempt):
        return _replaced(work, attempt, job)
    if waiting:
        return Moving(work.attempts, "Waiting", waiting, (), _until_deadline(work, attempt))
    return Moving(work.attempts, "Running", _running(attempt), (), _next_look(work, attempt, job))


def _podless(work: Work, attempt: Attempt, job: JobView) -> Problem | None:
    """Return that no pod could be made, which only the Job's Events explain."""
    if job.podless_since is None or attempt.started_at is not None or work.now - job.podless_since < PODLESS:
        return None
    text = (
        f"Job {job.name} has no pod: a missing RuntimeClass, a quota or Pod Security may refuse it; "
        f"kubectl describe job {job.name} says why; mend that, or the PodTemplate"
    )
    return Problem("PodNotCreated", text)


def _next_look(work: Work, attempt: Attempt, job: JobView) -> timedelta | None:
    """Return the time until the deadline or, before any pod ran, until the lack of one is worth a word."""
    if attempt.started_at is not None or job.podless_since is None:
        return _until_deadline(work, attempt)
    return max(job.podless_since + PODLESS - work.now, timedelta(seconds=1))


def _template_mended(plan: Plan[T], attempt: Attempt) -> bool:
    """Tell whether the PodTemplate was edited since the attempt was planned, and can be used."""
    return isinstance(plan.template, TemplateView) and plan.template.hash != attempt.template_hash


def _replaced(work: Work, attempt: Attempt, job: JobView) -> Moving:
    """Give up a Job whose pod never ran: a Job keeps the pod template that it was made with (R39)."""
    text = f"the PodTemplate changed before the pod of {job.name} ran; another attempt follows"
    note = Problem("PodTemplateChanged", text)
    ended = replace(
        attempt, outcome="Suspended", finished_at=work.now, counted=False, reason=note.reason, message=note.message
    )
    return Moving(_with(work, ended).attempts, "Waiting", note, deletions((job,)))


def _harvest(work: Work, plan: Plan[T], attempt: Attempt, job: JobView) -> Moving | Done[T] | Over:
    """Read what a finished Job left behind; anything but a matching result is a failed attempt."""
    said = _envelope(work, plan, attempt, job)
    if job.state == "Failed" and not (attempt.collect and said is None):
        return _job_failed(work, plan, attempt, job, said)
    match said:
        case None if not attempt.collect:
            return _collect(work, plan, attempt)
        case None:
            lost = Problem(
                "ResultMissing", f"the result of {attempt.step} was lost, and {attempt.job} could not find it"
            )
            return _failed(work, plan, attempt, lost, job)
        case Problem():
            return _failed(work, plan, attempt, said, job)
        case StepResult(outcome="Failed"):
            return _job_failed(work, plan, attempt, job, said)
        case StepResult():
            value = plan.accept(attempt, said)
    if isinstance(value, Problem):
        return _failed(work, plan, attempt, value, job)
    ended = replace(attempt, outcome="Succeeded", finished_at=job.finished_at or work.now, exit_code=job.exit_code)
    return Done(_with(work, ended).attempts, value)


def _collect(work: Work, plan: Plan[T], attempt: Attempt) -> Moving:
    """Ask for the result once more: a small Job reads the manifest that the step wrote last."""
    name = job_name(work.owner, attempt.step, attempt.attempt, work.uid, collect=True)
    again = replace(attempt, job=name, job_uid=None, outcome="Planned", collect=True)
    note = Problem("Collecting", f"the pod of {attempt.step} vanished before its result was read; collecting it")
    return Moving(_with(work, again).attempts, "Running", note, (_job(work, plan, again),))


def _job_failed(
    work: Work, plan: Plan[T], attempt: Attempt, job: JobView, said: StepResult | Problem | None
) -> Moving | Over:
    """Sort a failed Job by what the trainer said, else by its exit code."""
    if isinstance(said, StepResult) and said.outcome == "Succeeded":
        text = f"{attempt.step} reported success but its pod failed ({_exit(job)})"
        return _failed(work, plan, attempt, Problem("ResultInvalid", text), job)
    error = said.error if isinstance(said, StepResult) else None
    if error:
        problem = Problem(reason_or(error.reason, "Internal"), f"{error.message} {error.remedy}".strip())
        return _failed(work, plan, attempt, problem, job, fatal=error.kind in _FATAL)
    if job.disrupted:
        text = f"the pod of {attempt.step} was disrupted (evicted, preempted, or its node went away)"
        return _failed(work, plan, attempt, Problem("Disrupted", text), job)
    kind = _CLASS_BY_EXIT.get(job.exit_code or 0, "Internal")
    text = f"{_EXPLAINED[kind]} ({_exit(job)})"
    return _failed(work, plan, attempt, Problem(kind, text), job, fatal=kind in _FATAL)


def _exit(job: JobView) -> str:
    return "no exit code" if job.exit_code is None else f"exit code {job.exit_code}"


def _failed(
    work: Work, plan: Plan[T], attempt: Attempt, problem: Problem, job: JobView | None = None, *, fatal: bool = False
) -> Moving | Over:
    """Record a failed attempt and go on with what follows it."""
    finished = (job.finished_at if job else None) or work.now
    counted = not (job and job.disrupted)
    ended = as_failed(
        attempt, finished, problem, fatal=fatal, counted=counted, exit_code=job.exit_code if job else None
    )
    return _retry(_with(work, ended), plan, ended)


def _envelope(work: Work, plan: Plan[T], attempt: Attempt, job: JobView) -> StepResult | Problem | None:
    """Return the termination message as the envelope of this very attempt, or why it is none."""
    if not job.termination_message:
        return None
    try:
        said = parse_json(job.termination_message, StepResult)
    except InvalidObject as error:
        return Problem("ResultInvalid", f"the result of {plan.step} cannot be read: {error}")
    expected = (RESULT_SCHEMA, plan.step, work.uid, attempt.attempt)
    found = (said.schema, said.step, said.owner, said.attempt)
    if found != expected:
        wrong = "; ".join(f"{f!r}, not {e!r}" for f, e in zip(found, expected, strict=True) if f != e)
        return Problem("ResultInvalid", f"the result in {job.name} belongs to something else: {wrong[:400]}")
    return said


def _job(work: Work, plan: Plan[T], attempt: Attempt) -> CreateJob:
    return CreateJob(
        name=attempt.job,
        step=attempt.step,
        attempt=attempt.attempt,
        template="cpu" if attempt.collect else plan.source,
        snapshot=work.snapshot,
        inputs=plan.inputs(attempt),
        round=attempt.round,
        collect=attempt.collect,
    )


def _with(work: Work, attempt: Attempt) -> Work:
    """Return the work with this attempt in the place of its former self."""
    key = (attempt.step, attempt.attempt)
    attempts = tuple(attempt if (a.step, a.attempt) == key else a for a in work.attempts)
    return Work(
        owner=work.owner,
        uid=work.uid,
        snapshot=work.snapshot,
        attempts=attempts,
        jobs=work.jobs,
        now=work.now,
        backoff_limit=work.backoff_limit,
        deadline=work.deadline,
        suspended=work.suspended,
    )


def _overdue(work: Work) -> bool:
    return work.deadline is not None and running_time(work.attempts, work.now) >= work.deadline


def _until_deadline(work: Work, attempt: Attempt) -> timedelta | None:
    if work.deadline is None or attempt.started_at is None:
        return None
    return work.deadline - running_time(work.attempts, work.now)


def _deadline_problem(work: Work) -> Problem:
    limit = int(work.deadline.total_seconds()) if work.deadline else 0
    told = f"its pods ran longer than activeDeadlineSeconds ({limit} s); train less, on faster hardware, or raise it"
    return Problem("DeadlineExceeded", told)


def _running(attempt: Attempt) -> Problem:
    return Problem("Running", f"{attempt.step}, attempt {attempt.attempt}: Job {attempt.job}")


def _told(problem: Problem) -> str:
    return f"{problem.reason}: {problem.message}"
