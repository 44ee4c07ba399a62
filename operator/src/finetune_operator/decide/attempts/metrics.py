"""The metrics of attempts, for runs and versions alike: how they ended, and how long steps took."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ...api.run import Attempt
from ...api.step_result import EXIT_BAD_INPUT, EXIT_BAD_TRAINING, EXIT_OUT_OF_MEMORY, EXIT_PREEMPTED, EXIT_UNAVAILABLE
from ..decision import RecordMetric
from .clock import running_time
from .genuine import JOB_NOT_OURS

RESULTS: Final = (
    "Succeeded",
    "Suspended",
    "Disrupted",
    "BadInput",
    "BadTraining",
    "OutOfMemory",
    "Unavailable",
    "ResultLost",
    "JobVanished",
    "DeadlineExceeded",
    "Other",
)
"""What becomes of attempts. Reasons are many and grow; these are the kinds of them that call for different people."""

_BY_REASON: Final[Mapping[str, str]] = {
    "OutOfMemory": "OutOfMemory",
    "Killed": "OutOfMemory",
    "BadInput": "BadInput",
    "BadTraining": "BadTraining",
    "Unavailable": "Unavailable",
    "Preempted": "Disrupted",
    "Disrupted": "Disrupted",
    "RejectedByNode": "Disrupted",
    "TooManyDisruptions": "Disrupted",
    "ResultMissing": "ResultLost",
    "ResultInvalid": "ResultLost",
    "EvidenceMismatch": "ResultLost",
    "JobVanished": "JobVanished",
    "PodVanished": "JobVanished",
    "DeadlineExceeded": "DeadlineExceeded",
    "PodDeadlineExceeded": "DeadlineExceeded",
}
_BY_EXIT: Final[Mapping[int | None, str]] = {
    EXIT_BAD_INPUT: "BadInput",
    EXIT_BAD_TRAINING: "BadTraining",
    EXIT_OUT_OF_MEMORY: "OutOfMemory",
    EXIT_UNAVAILABLE: "Unavailable",
    EXIT_PREEMPTED: "Disrupted",
}


def result_of(attempt: Attempt) -> str:
    """Return the kind of result, one of RESULTS, of an attempt that has ended."""
    if attempt.outcome != "Failed":
        return "Succeeded" if attempt.outcome == "Succeeded" else "Suspended"
    if not attempt.counted and attempt.reason != JOB_NOT_OURS:
        return "Disrupted"
    return _BY_REASON.get(attempt.reason) or _BY_EXIT.get(attempt.exit_code) or "Other"


def metrics(
    before: Iterable[Attempt], after: Iterable[Attempt], *, namespace: str, model: str
) -> Iterator[RecordMetric]:
    """Yield what is to be recorded of the attempts that ended between two statuses."""
    ended = {(a.step, a.attempt) for a in before if _has_ended(a)}
    for attempt in after:
        if not _has_ended(attempt) or (attempt.step, attempt.attempt) in ended:
            continue
        labels = {"namespace": namespace, "model": model, "step": attempt.step}
        yield RecordMetric("finetune_attempts", {**labels, "result": result_of(attempt)})
        if attempt.outcome == "Succeeded" and attempt.started_at is not None and attempt.finished_at is not None:
            took = running_time((attempt,), attempt.step, attempt.finished_at).total_seconds()
            yield RecordMetric("finetune_step_duration_seconds", labels, took)


def _has_ended(attempt: Attempt) -> bool:
    return attempt.outcome not in ("Planned", "Running")
