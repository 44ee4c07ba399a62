"""Reconcile one key: observe, decide, act. What cannot be parsed or written is said in the object's status."""

from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from ..api.meta import Condition, with_condition
from ..api.model_version import VersionStatus
from ..api.policy import Policy, PolicyStatus
from ..api.promotion import PromotionStatus
from ..api.run import RunStatus
from ..api.value import InvalidObject, parse, plain
from ..cluster.act import Done, Recorder, act, write_status
from ..cluster.errors import FieldConflict, Forbidden, Invalid
from ..cluster.observe import Observed, Observer
from ..cluster.port import Cluster, Kind, Object
from ..decide.decision import Decision
from ..decide.policy import machine as decide_policy
from ..decide.promotion import machine as decide_promotion
from ..decide.run import machine as decide_run
from ..decide.version import machine as decide_version
from ..decide.views import PolicyView
from .keys import Key

S = TypeVar("S", RunStatus, VersionStatus, PolicyStatus, PromotionStatus)

_CONDITION: Final = {
    Kind.RUN: "Accepted",
    Kind.PROMOTION: "Accepted",
    Kind.POLICY: "Ready",
    Kind.MODEL_VERSION: "Verified",
}
"""The condition of each kind that says whether its object can be worked on at all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconcile came to; `after` is when to look again, in any case."""

    gone: bool = False
    wrote: bool = False
    again: bool = False
    after: timedelta | None = None
    judged: RunStatus | None = None
    model: str = ""


@dataclass(slots=True)
class Reconciler:
    """Reconciles keys against one cluster. `clock` gives the wall clock in UTC."""

    cluster: Cluster
    observer: Observer
    record: Recorder
    clock: Callable[[], datetime]
    _trouble: dict[str, str] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> Outcome:
        """Bring the object of `key` one decision further. Raises ClusterError when the API server refuses."""
        raw = await self.cluster.get(key.kind, key.namespace, key.name)
        if raw is None:
            return Outcome(gone=True)
        uid = raw["metadata"]["uid"]
        if raw["metadata"].get("deletionTimestamp"):
            return Outcome()
        now = self.clock().replace(microsecond=0)
        try:
            outcome = await self._decided(key.kind, raw, now)
        except InvalidObject as error:
            changed = await self._say_invalid(key.kind, raw, str(error), now)
            return Outcome(wrote=changed)
        except (Forbidden, Invalid) as error:
            # Said in the status by the next try, which is due at once; it stays until a try succeeds.
            self._trouble[uid] = str(error)
            raise
        if self._trouble.pop(uid, None) is not None:
            return with_changes(outcome, again=True)
        return outcome

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._trouble.pop(uid, None)
        self.observer.forget(uid)

    async def _decided(self, kind: Kind, raw: Object, now: datetime) -> Outcome:
        match kind:
            case Kind.RUN:
                run = await self.observer.run(raw, now)
                return await self._judged(run, decide_run.decide(run.view), run.view.run.status)
            case Kind.MODEL_VERSION:
                version = await self.observer.version(raw, now)
                return await self._act(version, decide_version.decide(version.view))
            case Kind.POLICY:
                policy = await self.observer.policy(raw, now)
                return await self._act(policy, decide_policy.decide(policy.view), _refuser(policy))
            case Kind.PROMOTION:
                promotion = await self.observer.promotion(raw, now)
                return await self._act(promotion, decide_promotion.decide(promotion.view))
            case _:
                raise AssertionError(f"{kind} is not reconciled")

    async def _judged(self, observed: Observed[Any], decision: Decision[RunStatus], before: RunStatus) -> Outcome:
        outcome = await self._act(observed, decision)
        status = decision.status
        new = status.evidence is not None and status.evidence != before.evidence
        snapshot = observed.view.snapshot
        return with_changes(outcome, judged=status, model=snapshot.model if snapshot else "") if new else outcome

    async def _act(
        self,
        observed: Observed[Any],
        decision: Decision[S],
        refuse: Callable[[Object, FieldConflict], Decision[S]] | None = None,
    ) -> Outcome:
        trouble = self._trouble.get(observed.raw["metadata"]["uid"])
        if trouble is not None:
            now = observed.view.now
            decision = with_changes(decision, status=_with_trouble(decision.status, trouble, now))
        done: Done = await act(self.cluster, observed, decision, self.record, refuse)
        return Outcome(wrote=done.wrote, again=done.again, after=_soonest(decision.requeue_after, observed.poll))

    async def _say_invalid(self, kind: Kind, raw: Object, message: str, now: datetime) -> bool:
        """Put what is wrong with the object into its condition; it is looked at again when it changes."""
        status: dict[str, Any] = raw.get("status") or {}
        generation = int(raw["metadata"].get("generation") or 0)
        found = Condition(
            type=_CONDITION[kind],
            status="False",
            reason="Invalid",
            message=f"this object cannot be read: {message}; correct it, or update the operator",
            observed_generation=generation,
        )
        new = {**status, "conditions": plain(with_condition(_conditions(status), found, now))}
        written = await write_status(self.cluster, kind, raw, new)
        return written is not raw


def _refuser(observed: Observed[PolicyView]) -> Callable[[Object, FieldConflict], Decision[PolicyStatus]]:
    def refuse(raw: Object, conflict: FieldConflict) -> Decision[PolicyStatus]:
        now_there = parse(raw, Policy)
        return decide_policy.refused(with_changes(observed.view, policy=now_there), conflict.manager, str(conflict))

    return refuse


def _with_trouble(status: S, trouble: str, now: datetime) -> S:
    """Return `status` saying that the API server refuses a write of ours, and why."""
    message = f"the API server refuses: {trouble}"[:1024]
    if not isinstance(status, PolicyStatus):
        return replace(status, message=message)
    ready = Condition(
        type="Ready",
        status="False",
        reason="WriteRefused",
        message=message,
        observed_generation=status.observed_generation,
    )
    return replace(status, conditions=with_condition(status.conditions, ready, now))


def _conditions(status: dict[str, Any]) -> tuple[Condition, ...]:
    try:
        return parse(status.get("conditions") or [], tuple[Condition, ...])
    except InvalidObject:
        return ()


def _soonest(*delays: timedelta | None) -> timedelta | None:
    return min((delay for delay in delays if delay is not None), default=None)
