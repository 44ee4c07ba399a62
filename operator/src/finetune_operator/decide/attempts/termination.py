"""What the pod of a Job left behind: its termination message, or what its exit code says."""

from dataclasses import dataclass
from typing import Final

from ...api.contract import (
    EXIT_BAD_INPUT,
    EXIT_BAD_TRAINING,
    EXIT_OUT_OF_MEMORY,
    EXIT_PREEMPTED,
    EXIT_UNAVAILABLE,
    RESULT_SCHEMA,
    StepResult,
)
from ...api.run import Attempt, Step
from ...api.value import InvalidObject, parse_json
from ..text import reason_or
from ..views import JobView, Problem

_FATAL: Final = frozenset(("BadInput", "BadTraining", "OutOfMemory"))
_CLASS_BY_EXIT: Final = {
    EXIT_BAD_INPUT: "BadInput",
    EXIT_BAD_TRAINING: "BadTraining",
    EXIT_OUT_OF_MEMORY: "OutOfMemory",
    EXIT_UNAVAILABLE: "Unavailable",
    EXIT_PREEMPTED: "Preempted",
    137: "Killed",
}
_EXPLAINED: Final = {
    "BadInput": "the trainer refused its input and left no details; see the pod's log",
    "BadTraining": "the training diverged and left no details; lower training.lr0",
    "OutOfMemory": "out of GPU memory; lower training.batch, or use a larger GPU",
    "Unavailable": "storage or network was not available",
    "Preempted": "the pod was told to stop (SIGTERM)",
    "Killed": "the pod was killed (SIGKILL), most likely for memory: raise resources.limits.memory",
    "Internal": "the trainer failed without a result; see the pod's log",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed; `fatal`: another attempt cannot help."""

    problem: Problem
    fatal: bool = False


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
    """Sort a failed Job by what the trainer said, else by its exit code."""
    if isinstance(said, StepResult) and said.outcome == "Succeeded":
        return Failure(Problem("ResultInvalid", f"{step} reported success but its pod failed ({_exit(job)})"))
    error = said.error if isinstance(said, StepResult) else None
    if error:
        problem = Problem(reason_or(error.reason, "Internal"), f"{error.message} {error.remedy}".strip())
        return Failure(problem, fatal=error.kind in _FATAL)
    if job.disrupted:
        message = f"the pod of {step} was disrupted (evicted, preempted, or its node went away)"
        return Failure(Problem("Disrupted", message))
    kind = _CLASS_BY_EXIT.get(job.exit_code or 0, "Internal")
    return Failure(Problem(kind, f"{_EXPLAINED[kind]} ({_exit(job)})"), fatal=kind in _FATAL)


def _exit(job: JobView) -> str:
    return "no exit code" if job.exit_code is None else f"exit code {job.exit_code}"
