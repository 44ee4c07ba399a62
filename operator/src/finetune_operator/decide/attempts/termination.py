"""What the pod of a Job left behind: its termination message, or what its exit code says."""

from typing import Final

from ...api.run import Attempt, Step
from ...api.step_result import (
    EXIT_BAD_INPUT,
    EXIT_BAD_TRAINING,
    EXIT_OUT_OF_MEMORY,
    EXIT_PREEMPTED,
    EXIT_UNAVAILABLE,
    RESULT_SCHEMA,
    StepResult,
)
from ...api.value import InvalidObject, parse_json
from ..text import reason_or
from ..views import Failure, JobView, Problem

_FATAL: Final = frozenset(("BadInput", "BadTraining", "OutOfMemory"))
_CLASS_BY_EXIT: Final = {
    EXIT_BAD_INPUT: "BadInput",
    EXIT_BAD_TRAINING: "BadTraining",
    EXIT_OUT_OF_MEMORY: "OutOfMemory",
    EXIT_UNAVAILABLE: "Unavailable",
    EXIT_PREEMPTED: "Preempted",
    137: "Killed",
}
_SAYS_LESS: Final = frozenset(("Preempted", "Internal"))
_EXPLAINED: Final = {
    "BadInput": "the trainer refused its input and left no details; see the pod's log",
    "BadTraining": "the training diverged and left no details; lower training.lr0",
    "OutOfMemory": "out of GPU memory; lower training.batch, or use a larger GPU",
    "Unavailable": "storage or network was not available",
    "Preempted": "the pod was told to stop (SIGTERM)",
    "Killed": "SIGKILL from outside; where the node ran out of memory, raise resources.requests.memory",
    "Internal": "the trainer failed without a result; see the pod's log",
}


def envelope(job: JobView, attempt: Attempt, uid: str) -> StepResult | Problem | None:
    """Return the termination message as the envelope of this very attempt of the owner `uid`, or why it is none."""
    if not job.termination_message:
        return None
    try:
        said = parse_json(job.termination_message, StepResult)
    except InvalidObject as error:
        return Problem("ResultInvalid", f"the result of {attempt.step} cannot be read: {error}")
    expected = (RESULT_SCHEMA, attempt.step, uid, attempt.attempt)
    actual = (said.schema, said.step, said.owner, said.attempt)
    if actual != expected:
        wrong = "; ".join(f"{a!r}, not {e!r}" for a, e in zip(actual, expected, strict=True) if a != e)
        return Problem("ResultInvalid", f"the result in {job.name} belongs to something else: {wrong[:400]}")
    return said


def failure_of(step: Step, job: JobView, said: StepResult | Problem | None) -> Failure:
    """Sort a failed step by what the trainer said, by what its pod's status says, else by its exit code.

    A trainer that was asked to end, or that does not know what ended it, says less than its pod.
    """
    if isinstance(said, StepResult) and said.outcome == "Succeeded":
        return Failure(Problem("ResultInvalid", f"{step} reported success but its container failed ({_exit(job)})"))
    error = said.error if isinstance(said, StepResult) else None
    if job.failure is not None and (error is None or error.kind in _SAYS_LESS):
        return job.failure
    if error is not None:
        problem = Problem(reason_or(error.reason, "Internal"), f"{error.message} {error.remedy}".strip())
        return Failure(problem, fatal=error.kind in _FATAL, counted=not job.disrupted)
    if job.disrupted:
        return Failure(Problem("Disrupted", f"the pod of {step} was disrupted"), counted=False)
    kind = _CLASS_BY_EXIT.get(job.exit_code or 0, "Internal")
    return Failure(Problem(kind, f"{_EXPLAINED[kind]} ({_exit(job)})"), fatal=kind in _FATAL)


def _exit(job: JobView) -> str:
    return "no exit code" if job.exit_code is None else f"exit code {job.exit_code}"
