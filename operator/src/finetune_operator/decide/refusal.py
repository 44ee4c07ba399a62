"""A write that the API server refuses: what is said of it while it is tried again (row R50)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, assert_never

from ..api.meta import Condition, ConditionStatus, find, set_condition
from . import limits
from .decision import (
    Action,
    Annotate,
    ApplyKeys,
    CreateJob,
    CreateModelVersion,
    CreatePromotion,
    CreateRun,
    CreateSnapshot,
    DeleteJob,
    Emit,
    RecordMetric,
    ReserveVersion,
)

RefusalReason = Literal["QuotaExceeded", "AdmissionUnavailable", "JobRefused", "NameTaken", "WriteRefused"]

REMEDIES: Final[dict[RefusalReason, str]] = {
    "QuotaExceeded": "raise the quota or free some of it; finished Jobs count, spec.jobs.keep of the policy says how "
    "many stay",
    "AdmissionUnavailable": "bring the webhook's server back: kubectl get validatingwebhookconfigurations,"
    "mutatingwebhookconfigurations names it",
    "JobRefused": "mend the PodTemplate: its own labels and annotations go to the Job, its template's to the pod",
    "NameTaken": "rename or delete what has the name",
    "WriteRefused": "see rights, quotas and admission rules",
}

_WHAT: Final[dict[type, str]] = {
    CreateJob: "Job",
    DeleteJob: "the deletion of Job",
    CreateSnapshot: "ConfigMap",
    CreateModelVersion: "ModelVersion",
    CreatePromotion: "ModelPromotion",
    CreateRun: "FineTuneRun",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that was refused, in the API server's words; `action` None means the status itself."""

    reason: RefusalReason
    message: str
    action: Action | None
    at: datetime

    @property
    def text(self) -> str:
        """Return what a condition says: what is refused and why, how to mend it, and that it goes on by itself."""
        said = self.message[: limits.REFUSAL]
        return f"the API server refuses {_name(self.action)}: {said}; tried again by itself; {REMEDIES[self.reason]}"

    def is_like(self, other: "Refusal") -> bool:
        """Tell whether it is the same write, refused for the same reason; the words may have other numbers."""
        return (self.reason, _name(self.action)) == (other.reason, _name(other.action))

    def is_repeated_by(self, actions: Iterable[Action]) -> bool:
        """Tell whether these actions try the same write again."""
        return self.action is not None and any(_name(action) == _name(self.action) for action in actions)


def with_refusal(
    after: tuple[Condition, ...],
    before: tuple[Condition, ...],
    kind: str,
    status: ConditionStatus,
    refusal: Refusal,
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions `after` with that one telling of the refusal.

    It stays as it stood `before`, with its time, while the same is refused: tries that change nothing write nothing.
    """
    old = find(before, kind)
    conditions = tuple(old if old is not None and c.type == kind else c for c in after)
    return set_condition(conditions, kind, status, refusal.reason, refusal.text, generation=generation, now=now)


def events(before: tuple[Condition, ...], kind: str, refusal: Refusal) -> tuple[Action, ...]:
    """Return the Event of a refusal, once for each reason: not when the condition has it already."""
    old = find(before, kind)
    return () if old is not None and old.reason == refusal.reason else (event(refusal),)


def event(refusal: Refusal) -> Emit:
    """Return the Event of a refusal."""
    return Emit("Warning", refusal.reason, refusal.text)


def _name(action: Action | None) -> str:
    match action:
        case None:
            return "the status"
        case ReserveVersion(policy=policy):
            return f"a version number in the status of FineTunePolicy {policy!r}"
        case ApplyKeys(deployment=deployment):
            return f"the keys on Deployment {deployment!r}"
        case Annotate(key=key):
            return f"the annotation {key!r}"
        case Emit() | RecordMetric():
            return type(action).__name__
        case CreateJob() | DeleteJob() | CreateSnapshot() | CreateModelVersion() | CreatePromotion() | CreateRun():
            return f"{_WHAT[type(action)]} {action.name!r}"
        case _:
            assert_never(action)
