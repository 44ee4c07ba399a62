"""The attempt engine: how one step (a Job, its retries, its result) goes on; shared by runs and versions."""

from datetime import datetime, timedelta
from typing import Final, Literal, TypeVar

from msgspec.structs import replace

from ...api.names import job_name
from ...api.run import Attempt, Step
from ...api.step_result import StepResult
from .. import limits
from ..decision import CreateJob
from ..times import soonest
from ..views import Explanation, Failure, JobView, Problem
from .clock import is_running, timed
from .genuine import not_as_made
from .history import as_failed, attempt_text, compact, latest, leftovers
from .pods import has_spoken, listen, not_ending, until_overdue
from .results import manifest_digest
from .retries import deadline_problem, given_up, is_overdue, pause, until_deadline
from .step import (
    AttemptsView,
    StepFailed,
    StepRequest,
    StepState,
    StepSucceeded,
    StepUnderway,
    admission_mended,
    template_mended,
    with_attempt,
)
from .termination import envelope, failure_of

T = TypeVar("T")

COLLECTED: Final[frozenset[Step]] = frozenset(("prepare", "train"))
"""These alone leave a manifest that is as good as their result; the others measure, and measure anew."""


def advance(view: AttemptsView, request: StepRequest[T]) -> StepState[T]:
    """Return where the step stands now, with the attempts as they are to be recorded."""
    current = latest(view.attempts, request.step, request.round)
    match current.outcome if current else None:
        case "Planned" | "Running" if current:
            return _follow(view, request, current)
        case "Failed" if current:
            return _retry(view, request, current, waited=_waited(view, current))
        case _:
            return _start(view, request)


def _start(view: AttemptsView, request: StepRequest[T]) -> StepUnderway | StepFailed:
    """StepRequest the next attempt, unless something stands in its way."""
    left = leftovers(view.attempts, view.jobs)
    if left:
        state: Literal["Suspended", "Waiting"] = "Suspended" if view.suspended else "Waiting"
        return StepUnderway(view.attempts, state, _ending(view, left), (), until_overdue(left, view.now))
    if view.suspended:
        return StepUnderway(view.attempts, "Suspended", view.suspended)
    if isinstance(request.template, Problem):
        return StepUnderway(view.attempts, "Blocked", request.template)
    if request.ends is None and is_overdue(view, request):
        return StepFailed(view.attempts, deadline_problem(view, request))
    number = 1 + max((a.attempt for a in view.attempts if a.step == request.step), default=0)
    attempt = Attempt(
        step=request.step,
        attempt=number,
        job=job_name(view.owner, request.step, number, view.uid),
        outcome="Planned",
        round=request.round,
        live=request.live,
        judged=request.judged,
        template_hash=request.template.hash,
    )
    attempt, job = _planned(view, request, attempt)
    kept = compact(view.attempts, limits.VERIFY_ATTEMPTS if request.ends else None)
    return StepUnderway((*kept, attempt), "Running", _running(attempt), (job,))


def _planned(view: AttemptsView, request: StepRequest[T], attempt: Attempt) -> tuple[Attempt, CreateJob]:
    """Return the attempt as it is written before its Job is made, with all that tells that Job from others'."""
    if not attempt.collect:  # what is collected was told what the attempt was
        attempt = replace(attempt, live_plan=request.live_plan(attempt))
    attempt = replace(attempt, nonce=attempt.nonce or view.nonce)
    job = _job(view, request, attempt)
    return replace(attempt, made=view.fingerprint(job)), job


def _waited(view: AttemptsView, failed: Attempt) -> timedelta:
    """Return how long ago an attempt failed; a clock that was set neither shortens nor lengthens the pause."""
    return view.now - (failed.finished_at or view.now) if view.observed is None else view.observed


def _retry(
    view: AttemptsView, request: StepRequest[T], failed: Attempt, waited: timedelta = timedelta()
) -> StepUnderway | StepFailed:
    """Decide whether another attempt follows a failed one, and when."""
    problem = Problem(failed.reason or "Internal", failed.message)
    end = given_up(view, request, failed, problem)
    if end is not None:
        return StepFailed(view.attempts, end)
    wait = pause(view, request, failed) - waited
    if wait <= timedelta() or view.suspended:
        return _start(view, request)
    explanation = Problem(problem.reason, f"attempt {failed.attempt} failed, another follows: {problem.message}")
    return StepUnderway(view.attempts, "Waiting", explanation, (), wait)


def _follow(view: AttemptsView, request: StepRequest[T], attempt: Attempt) -> StepState[T]:
    """Look after the Job of an attempt that is planned or running."""
    job = next((job for job in view.jobs if job.name == attempt.job), None)
    if attempt.job_uid is not None and (job is None or job.uid != attempt.job_uid or _is_emptied(job)):
        gone = Problem("JobVanished", f"Job {attempt.job} was deleted before its result was read")
        return _unheard(view, request, attempt, gone)
    if job is None:
        return _create_again(view, request, attempt)
    if job.orphaned and attempt.job_uid is None:
        # Nobody ever saw that Job: pods that say they are of it may be anybody's, and what they say is no result.
        return StepUnderway(view.attempts, "Waiting", _ending(view, (job,)), (), until_overdue((job,), view.now))
    strange = not_as_made(attempt, job)
    if strange is not None:
        return _failed(view, request, attempt, strange)
    seen = timed(replace(attempt, job_uid=job.uid, outcome="Running"), job, view.now, view.observed)
    view = with_attempt(view, seen)
    if job.state == "Active" and not has_spoken(job, view.now):
        return _watch(view, request, seen, job)
    return _harvest(view, request, seen, job)


def _is_emptied(job: JobView) -> bool:
    """Tell whether the Job is as good as gone, and nobody can be asked what came of it."""
    return job.emptied and job.state == "Active" and not job.spoke


def _unheard(view: AttemptsView, request: StepRequest[T], attempt: Attempt, gone: Problem) -> StepUnderway | StepFailed:
    """Look for the result of a trainer that nobody can ask any more, where its manifest is as good as its words."""
    if attempt.collect or attempt.step not in COLLECTED:
        return _failed(view, request, attempt, Failure(gone))
    return _collect(view, request, attempt, gone)


def _podless_end(job: JobView) -> Problem:
    said = f" ({job.said})" if job.said else ""
    return Problem("PodVanished", f"Job {job.name} failed{said}, and its pod is gone")


def _create_again(view: AttemptsView, request: StepRequest[T], attempt: Attempt) -> StepUnderway:
    """Create the Job of a planned attempt: a crash came between the status and the Job, or a suspension."""
    if view.suspended:
        held = attempt if attempt.collect else _ended(attempt, view.now)
        return StepUnderway(with_attempt(view, held).attempts, "Suspended", view.suspended)
    if isinstance(request.template, Problem):
        return StepUnderway(view.attempts, "Blocked", request.template)
    attempt, job = _planned(view, request, replace(attempt, template_hash=request.template.hash))
    return StepUnderway(with_attempt(view, attempt).attempts, "Running", _running(attempt), (job,))


def _watch(view: AttemptsView, request: StepRequest[T], attempt: Attempt, job: JobView) -> StepUnderway | StepFailed:
    """Look after an active Job: suspension, deadline, what its pod does or waits for.

    A Job that collects reads one file: neither a suspension nor another PodTemplate ends it.
    """
    if job.spoke:
        left = listen(job, view.now, started=True).after
        return StepUnderway(view.attempts, "Running", _running(attempt), (), left)
    if job.deleting:
        return StepUnderway(view.attempts, "Waiting", _deleting(view, job), (), until_overdue((job,), view.now))
    if view.suspended and not attempt.collect:
        return StepUnderway(with_attempt(view, _ended(attempt, view.now)).attempts, "Suspended", view.suspended)
    if is_overdue(view, request):
        return _out_of_time(view, request, attempt)
    if _outdated(request, attempt, job):
        return _replaced(view, attempt, job)
    if job.suspended:
        queued = job.waiting or Problem("Queued", f"Job {job.name} is queued")
        return StepUnderway(view.attempts, "Waiting", _as_it_was_made(request, attempt, job, queued))
    pods = listen(job, view.now, started=attempt.started_at is not None, seen=view.observed)
    after = soonest(pods.after, until_deadline(view, request, job))
    if pods.problem is not None:
        problem = _as_it_was_made(request, attempt, job, pods.problem)
        return StepUnderway(view.attempts, "Waiting", problem, (), after)
    return StepUnderway(view.attempts, "Running", _running(attempt, pods.doing), (), after)


def _deleting(view: AttemptsView, job: JobView) -> Explanation:
    ending = f"Job {job.name} is being deleted, not by its owner; its pods are ending"
    return not_ending((job,), view.now) or Explanation("JobDeleting", ending)


def _ending(view: AttemptsView, left: tuple[JobView, ...]) -> Explanation:
    """Return what is waited for while pods of an earlier attempt end; who suspended says so first."""
    stuck = not_ending(left, view.now)
    names = ", ".join(job.name for job in left)
    ending = stuck or Explanation("PodsEnding", f"waiting for the pods of an earlier attempt to end: {names}")
    if view.suspended is None:
        return ending
    return Explanation(
        view.suspended.reason, f"{view.suspended.message}; {ending.message}" if stuck else view.suspended.message
    )


def _out_of_time(view: AttemptsView, request: StepRequest[T], attempt: Attempt) -> StepUnderway | StepFailed:
    """End an attempt whose step ran too long; of an endless step another one follows."""
    problem = deadline_problem(view, request)
    if request.ends is not None:
        return _failed(view, request, attempt, Failure(problem))
    return StepFailed(with_attempt(view, as_failed(attempt, view.now, problem, fatal=True)).attempts, problem)


def _outdated(request: StepRequest[T], attempt: Attempt, job: JobView) -> bool:
    """Tell whether a Job of which no trainer runs is to be made anew from what was edited since (R39, R54, R336).

    A training that ran goes on from what it kept, and with another trainer it would begin anew: it stays as it is.
    """
    if attempt.collect or is_running(job) or (attempt.started_at is not None and attempt.step == "train"):
        return False
    return _was_edited(request, attempt, job)


def _was_edited(request: StepRequest[T], attempt: Attempt, job: JobView) -> bool:
    return admission_mended(request, attempt) if job.suspended else template_mended(request, attempt)


def _as_it_was_made(request: StepRequest[T], attempt: Attempt, job: JobView, problem: Problem) -> Problem:
    """Return what a Job waits for, and how a training that ran gets what was edited since (R336)."""
    if attempt.collect or attempt.started_at is None or not _was_edited(request, attempt, job):
        return problem
    way = (
        "the PodTemplate, or the policy's queue, was edited since: its trainer ran before, and may begin anew with "
        "another one, so that its Job is kept; to use it, set spec.suspend of the run to true, then to false"
    )
    return Problem(problem.reason, f"{problem.message}; {way}")


def _replaced(view: AttemptsView, attempt: Attempt, job: JobView) -> StepUnderway:
    """Give up a Job of which no trainer runs: it keeps the pod template that it was made with (R39)."""
    text = (
        f"the PodTemplate, or the policy's queue, changed while no trainer of {job.name} ran; another attempt follows"
    )
    explanation = Explanation("PodTemplateChanged", text)
    ended = _ended(attempt, view.now, explanation)
    return StepUnderway(with_attempt(view, ended).attempts, "Waiting", explanation)


def _ended(attempt: Attempt, now: datetime, why: Explanation | None = None) -> Attempt:
    """Return the attempt as ended by its owner: nothing failed, and nothing is counted."""
    reason, message = (why.reason, why.message) if why else ("", "")
    return replace(attempt, outcome="Suspended", finished_at=now, counted=False, reason=reason, message=message)


def _harvest(view: AttemptsView, request: StepRequest[T], attempt: Attempt, job: JobView) -> StepState[T]:
    """Read what the trainer left behind; anything but a matching result is a failed attempt.

    What counts is the trainer's own end: a container beside it may fail, or run on, and its Job with it.
    """
    if job.doubt is not None:
        return _failed(view, request, attempt, Failure(job.doubt), job)
    said = envelope(job, attempt, view.uid)
    nobody_says = job.exit_code is None and not job.has_pods
    if job.state == "Failed" and nobody_says and not attempt.collect:
        return _unheard(view, request, attempt, _podless_end(job))
    if job.state != "Complete" and job.exit_code != 0:
        return _step_failed(view, request, attempt, job, said)
    match said:
        case None if not attempt.collect:
            lost = f"the pod of {attempt.step} vanished before its result was read"
            return _unheard(view, request, attempt, Problem("ResultMissing", lost))
        case None | StepResult(outcome="Failed"):
            return _step_failed(view, request, attempt, job, said)
        case Problem():
            return _failed(view, request, attempt, Failure(said), job)
        case StepResult():
            value = request.accept(attempt, said)
    if isinstance(value, Problem):
        return _failed(view, request, attempt, Failure(value), job)
    finished = min(job.finished_at or view.now, view.now)
    ended = replace(
        attempt,
        outcome="Succeeded",
        finished_at=finished,
        exit_code=job.exit_code,
        reason="",
        message=job.additions[: limits.ATTEMPT_MESSAGE],
        image_id=job.image_id,
        manifest=manifest_digest(said),
    )
    return StepSucceeded(with_attempt(view, ended).attempts, value)


def _collect(view: AttemptsView, request: StepRequest[T], attempt: Attempt, why: Problem) -> StepUnderway:
    """Ask for the result once more: a small Job reads the manifest that the step wrote last."""
    name = job_name(view.owner, attempt.step, attempt.attempt, view.uid, collect=True)
    again = replace(
        attempt,
        job=name,
        job_uid=None,
        outcome="Planned",
        collect=True,
        reason=why.reason,
        message=why.message,
    )
    again, job = _planned(view, request, again)
    attempts = with_attempt(view, again).attempts
    if view.suspended:
        return StepUnderway(attempts, "Suspended", view.suspended)
    explanation = Explanation("Collecting", f"{why.message}; collecting it")
    return StepUnderway(attempts, "Running", explanation, (job,))


def _step_failed(
    view: AttemptsView, request: StepRequest[T], attempt: Attempt, job: JobView, said: StepResult | Problem | None
) -> StepUnderway | StepFailed:
    """Record a step that failed; one that was to be collected failed for the reason why."""
    failure = failure_of(attempt.step, job, said)
    if attempt.collect:
        words = failure.problem.message if said is not None else "it left no words"
        lost = f"{attempt.message or 'the result was lost'}, and {attempt.job} could not bring it: {words}"
        failure = Failure(Problem(attempt.reason or "ResultMissing", lost))
    return _failed(view, request, attempt, failure, job)


def _failed(
    view: AttemptsView, request: StepRequest[T], attempt: Attempt, failure: Failure, job: JobView | None = None
) -> StepUnderway | StepFailed:
    """Record a failed attempt and go on with what follows it."""
    ended = as_failed(
        attempt,
        view.now,  # back-off is waited by one clock, whatever those of nodes and API server say
        failure.problem,
        fatal=failure.fatal,
        counted=failure.counted,
        exit_code=job.exit_code if job else None,
    )
    return _retry(with_attempt(view, ended), request, ended)


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
        nonce=attempt.nonce,
        snapshot_sha256=view.snapshot_sha256,
    )


def _running(attempt: Attempt, doing: Explanation | None = None) -> Explanation:
    """Return what goes on: what the pod does, whose name begins with the Job's, or the Job."""
    what = doing or Explanation("Running", f"Job {attempt.job}")
    return Explanation(what.reason, f"{attempt_text(attempt)}: {what.message}")
