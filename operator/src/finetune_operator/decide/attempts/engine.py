"""The attempt engine: how one step (a Job, its retries, its result) goes on; shared by runs and versions."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Literal, TypeVar

from msgspec.structs import replace

from ...api.contract import StepResult
from ...api.names import job_name
from ...api.run import Attempt, Step
from ..decision import Action, CreateJob, TemplateRole
from ..views import Explanation, JobView, Problem, TemplateView
from .history import as_failed, backoff, compact, deletions, latest, leftovers, running_time
from .termination import envelope, failure_of

T = TypeVar("T")

# A disruption is nobody's fault, so it costs no retry; without an end a broken node pool would loop for ever.
MAX_DISRUPTIONS = 20
# In a burst Kubernetes' Job controller makes about twenty pods a second; a Job may be without one for so long.
PODLESS = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class AttemptsView:
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
    suspended: Explanation | None = None


@dataclass(frozen=True, slots=True)
class StepRequest(Generic[T]):
    """One step: where its Job comes from, what it is told, and which result it may give."""

    step: Step
    role: TemplateRole
    template: TemplateView | Problem
    step_inputs: Callable[[Attempt], str]
    accept: Callable[[Attempt, StepResult], T | Problem]
    round: int = 0
    live: str | None = None


@dataclass(frozen=True, slots=True)
class StepUnderway:
    """The step is not over; `explanation` says what it is doing or what it waits for."""

    attempts: tuple[Attempt, ...]
    state: Literal["Running", "Waiting", "Suspended", "Blocked"]
    explanation: Explanation
    actions: tuple[Action, ...] = ()
    requeue_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class StepSucceeded(Generic[T]):
    """The step's result, accepted."""

    attempts: tuple[Attempt, ...]
    value: T


@dataclass(frozen=True, slots=True)
class StepFailed:
    """No attempt is left, or none can help."""

    attempts: tuple[Attempt, ...]
    problem: Problem


StepState = StepUnderway | StepSucceeded[T] | StepFailed
"""Where a step stands: under way, succeeded with its result, or failed for good."""


def advance(view: AttemptsView, request: StepRequest[T]) -> StepState[T]:
    """Return where the step stands now, with the attempts as they are to be recorded."""
    current = latest(view.attempts, request.step, request.round)
    match current.outcome if current else None:
        case "Planned" | "Running" if current:
            return _follow(view, request, current)
        case "Failed" if current:
            return _retry(view, request, current)
        case _:
            return _start(view, request)


def _start(view: AttemptsView, request: StepRequest[T]) -> StepUnderway | StepFailed:
    """StepRequest the next attempt, unless something stands in its way."""
    left = leftovers(view.attempts, view.jobs)
    if left:
        names = ", ".join(job.name for job in left)
        ending = Explanation("PodsEnding", f"waiting for the pods of an earlier attempt to end: {names}")
        state: Literal["Suspended", "Waiting"] = "Suspended" if view.suspended else "Waiting"
        return StepUnderway(view.attempts, state, view.suspended or ending, deletions(left))
    if view.suspended:
        return StepUnderway(view.attempts, "Suspended", view.suspended)
    if isinstance(request.template, Problem):
        return StepUnderway(view.attempts, "Blocked", request.template)
    if _overdue(view):
        return StepFailed(view.attempts, _deadline_problem(view))
    number = 1 + max((a.attempt for a in view.attempts if a.step == request.step), default=0)
    attempt = Attempt(
        step=request.step,
        attempt=number,
        job=job_name(view.owner, request.step, number, view.uid),
        outcome="Planned",
        round=request.round,
        live=request.live,
        template_hash=request.template.hash,
    )
    return StepUnderway(
        (*compact(view.attempts), attempt), "Running", _running(attempt), (_job(view, request, attempt),)
    )


def _retry(view: AttemptsView, request: StepRequest[T], failed: Attempt) -> StepUnderway | StepFailed:
    """Decide whether another attempt follows a failed one, and when."""
    problem = Problem(failed.reason or "Internal", failed.message)
    if failed.fatal:
        return StepFailed(view.attempts, problem)
    counted = sum(a.outcome == "Failed" and a.counted for a in view.attempts if a.step == request.step)
    if counted > view.backoff_limit:
        message = (
            f"{request.step} failed {counted} times, backoffLimit is {view.backoff_limit}; last: {_in_words(problem)}"
        )
        return StepFailed(view.attempts, Problem("BackoffLimitExceeded", message))
    disruptions = sum(a.outcome == "Failed" and not a.counted for a in view.attempts)
    if disruptions >= MAX_DISRUPTIONS:
        return StepFailed(
            view.attempts, Problem("TooManyDisruptions", f"disrupted {disruptions} times; last: {_in_words(problem)}")
        )
    wait = backoff(max(counted, 1)) - (view.now - (failed.finished_at or view.now))
    if wait <= timedelta() or view.suspended:
        return _start(view, request)
    left = leftovers(view.attempts, view.jobs)
    explanation = Problem(problem.reason, f"attempt {failed.attempt} failed, another follows: {problem.message}")
    return StepUnderway(view.attempts, "Waiting", explanation, deletions(left), wait)


def _follow(view: AttemptsView, request: StepRequest[T], attempt: Attempt) -> StepState[T]:
    """Look after the Job of an attempt that is planned or running."""
    job = next((job for job in view.jobs if job.name == attempt.job), None)
    if attempt.job_uid is not None and (job is None or job.uid != attempt.job_uid):
        gone = Problem("JobVanished", f"Job {attempt.job} was deleted before its result was read")
        return _failed(view, request, attempt, gone)
    if job is None:
        return _create_again(view, request, attempt)
    seen = replace(
        attempt,
        job_uid=job.uid,
        outcome="Running",
        # Time in a queue does not count; a pod that replaces a disrupted one goes on counting.
        started_at=None if job.suspended else attempt.started_at or job.running_since,
    )
    view = _with(view, seen)
    if job.state == "Active":
        return _watch(view, request, seen, job)
    return _harvest(view, request, seen, job)


def _create_again(view: AttemptsView, request: StepRequest[T], attempt: Attempt) -> StepUnderway:
    """Repeat the creation of a planned Job: a crash came between the status and the Job."""
    if view.suspended:
        held = replace(attempt, outcome="Suspended", finished_at=view.now, counted=False)
        return StepUnderway(_with(view, held).attempts, "Suspended", view.suspended)
    if isinstance(request.template, Problem):
        return StepUnderway(view.attempts, "Blocked", request.template)
    attempt = replace(attempt, template_hash=request.template.hash)
    return StepUnderway(_with(view, attempt).attempts, "Running", _running(attempt), (_job(view, request, attempt),))


def _watch(view: AttemptsView, request: StepRequest[T], attempt: Attempt, job: JobView) -> StepUnderway | StepFailed:
    """Look after an active Job: suspension, deadline, reasons why it does not start."""
    if job.deleting:
        explanation = Explanation(
            "JobDeleting", f"Job {job.name} is being deleted, not by this run; its pods are ending"
        )
        return StepUnderway(view.attempts, "Waiting", explanation)
    if view.suspended:
        held = replace(attempt, outcome="Suspended", finished_at=view.now, counted=False)
        return StepUnderway(_with(view, held).attempts, "Suspended", view.suspended, deletions((job,)))
    if _overdue(view):
        problem = _deadline_problem(view)
        ended = as_failed(attempt, view.now, problem, fatal=True)
        return StepFailed(_with(view, ended).attempts, problem)
    if job.suspended and _admission_mended(request, attempt):
        return _replaced(view, attempt, job)
    if job.suspended:
        return StepUnderway(view.attempts, "Waiting", job.waiting or Explanation("Queued", f"Job {job.name} is queued"))
    waiting = job.waiting or _podless(view, attempt, job)
    if waiting and attempt.started_at is None and _template_mended(request, attempt):
        return _replaced(view, attempt, job)
    if waiting:
        return StepUnderway(view.attempts, "Waiting", waiting, (), _until_deadline(view, attempt))
    return StepUnderway(view.attempts, "Running", _running(attempt), (), _next_look(view, attempt, job))


def _podless(view: AttemptsView, attempt: Attempt, job: JobView) -> Problem | None:
    """Return that no pod could be made, which only the Job's Events explain."""
    if job.podless_since is None or attempt.started_at is not None or view.now - job.podless_since < PODLESS:
        return None
    text = (
        f"Job {job.name} has no pod: a missing RuntimeClass or PriorityClass, a quota or Pod Security may refuse it; "
        f"kubectl describe job {job.name} says why; mend that, or the PodTemplate"
    )
    return Problem("PodNotCreated", text)


def _next_look(view: AttemptsView, attempt: Attempt, job: JobView) -> timedelta | None:
    """Return the time until the deadline or, before any pod ran, until the lack of one is worth a word."""
    if attempt.started_at is not None or job.podless_since is None:
        return _until_deadline(view, attempt)
    return max(job.podless_since + PODLESS - view.now, timedelta(seconds=1))


def _template_mended(request: StepRequest[T], attempt: Attempt) -> bool:
    """Tell whether the PodTemplate was edited since the attempt was planned, and can be used."""
    return isinstance(request.template, TemplateView) and request.template.hash != attempt.template_hash


def _admission_mended(request: StepRequest[T], attempt: Attempt) -> bool:
    """Tell whether what admits a Job was edited; a template edited otherwise costs it no place in its queue (R54)."""
    return isinstance(request.template, TemplateView) and not request.template.admits_like(attempt.template_hash)


def _replaced(view: AttemptsView, attempt: Attempt, job: JobView) -> StepUnderway:
    """Give up a Job whose pod never ran: a Job keeps the pod template that it was made with (R39)."""
    text = f"the PodTemplate, or the policy's queue, changed before the pod of {job.name} ran; another attempt follows"
    explanation = Explanation("PodTemplateChanged", text)
    ended = replace(
        attempt,
        outcome="Suspended",
        finished_at=view.now,
        counted=False,
        reason=explanation.reason,
        message=explanation.message,
    )
    return StepUnderway(_with(view, ended).attempts, "Waiting", explanation, deletions((job,)))


def _harvest(view: AttemptsView, request: StepRequest[T], attempt: Attempt, job: JobView) -> StepState[T]:
    """Read what a finished Job left behind; anything but a matching result is a failed attempt."""
    said = envelope(job, attempt, view.uid)
    if job.state == "Failed" and not (attempt.collect and said is None):
        return _job_failed(view, request, attempt, job, said)
    match said:
        case None if not attempt.collect:
            return _collect(view, request, attempt)
        case None:
            lost = Problem(
                "ResultMissing", f"the result of {attempt.step} was lost, and {attempt.job} could not find it"
            )
            return _failed(view, request, attempt, lost, job)
        case Problem():
            return _failed(view, request, attempt, said, job)
        case StepResult(outcome="Failed"):
            return _job_failed(view, request, attempt, job, said)
        case StepResult():
            value = request.accept(attempt, said)
    if isinstance(value, Problem):
        return _failed(view, request, attempt, value, job)
    ended = replace(attempt, outcome="Succeeded", finished_at=job.finished_at or view.now, exit_code=job.exit_code)
    return StepSucceeded(_with(view, ended).attempts, value)


def _collect(view: AttemptsView, request: StepRequest[T], attempt: Attempt) -> StepUnderway:
    """Ask for the result once more: a small Job reads the manifest that the step wrote last."""
    name = job_name(view.owner, attempt.step, attempt.attempt, view.uid, collect=True)
    again = replace(attempt, job=name, job_uid=None, outcome="Planned", collect=True)
    explanation = Explanation(
        "Collecting", f"the pod of {attempt.step} vanished before its result was read; collecting it"
    )
    return StepUnderway(_with(view, again).attempts, "Running", explanation, (_job(view, request, again),))


def _job_failed(
    view: AttemptsView, request: StepRequest[T], attempt: Attempt, job: JobView, said: StepResult | Problem | None
) -> StepUnderway | StepFailed:
    """Record a failed Job with what the trainer said, else with what its exit code says."""
    failure = failure_of(attempt.step, job, said)
    return _failed(view, request, attempt, failure.problem, job, fatal=failure.fatal)


def _failed(
    view: AttemptsView,
    request: StepRequest[T],
    attempt: Attempt,
    problem: Problem,
    job: JobView | None = None,
    *,
    fatal: bool = False,
) -> StepUnderway | StepFailed:
    """Record a failed attempt and go on with what follows it."""
    finished = (job.finished_at if job else None) or view.now
    counted = not (job and job.disrupted)
    ended = as_failed(
        attempt, finished, problem, fatal=fatal, counted=counted, exit_code=job.exit_code if job else None
    )
    return _retry(_with(view, ended), request, ended)


def _job(view: AttemptsView, request: StepRequest[T], attempt: Attempt) -> CreateJob:
    return CreateJob(
        name=attempt.job,
        step=attempt.step,
        attempt=attempt.attempt,
        template="cpu" if attempt.collect else request.role,
        snapshot=view.snapshot,
        step_inputs=request.step_inputs(attempt),
        round=attempt.round,
        collect=attempt.collect,
    )


def _with(view: AttemptsView, attempt: Attempt) -> AttemptsView:
    """Return the view with this attempt in the place of its former self."""
    key = (attempt.step, attempt.attempt)
    attempts = tuple(attempt if (a.step, a.attempt) == key else a for a in view.attempts)
    return AttemptsView(
        owner=view.owner,
        uid=view.uid,
        snapshot=view.snapshot,
        attempts=attempts,
        jobs=view.jobs,
        now=view.now,
        backoff_limit=view.backoff_limit,
        deadline=view.deadline,
        suspended=view.suspended,
    )


def _overdue(view: AttemptsView) -> bool:
    return view.deadline is not None and running_time(view.attempts, view.now) >= view.deadline


def _until_deadline(view: AttemptsView, attempt: Attempt) -> timedelta | None:
    if view.deadline is None or attempt.started_at is None:
        return None
    return view.deadline - running_time(view.attempts, view.now)


def _deadline_problem(view: AttemptsView) -> Problem:
    limit = int(view.deadline.total_seconds()) if view.deadline else 0
    message = f"its pods ran longer than activeDeadlineSeconds ({limit} s); train less, on faster hardware, or raise it"
    return Problem("DeadlineExceeded", message)


def _running(attempt: Attempt) -> Explanation:
    return Explanation("Running", f"{attempt.step}, attempt {attempt.attempt}: Job {attempt.job}")


def _in_words(problem: Problem) -> str:
    return f"{problem.reason}: {problem.message}"
