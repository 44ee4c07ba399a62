"""Reconcile one key: observe, decide, act. What cannot be parsed or written is said in the object's status."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from ..api.meta import Condition, set_condition
from ..api.model_version import VersionStatus
from ..api.policy import Policy
from ..api.policy_status import PolicyStatus
from ..api.promotion import PromotionStatus
from ..api.run import RunStatus
from ..api.value import InvalidObject, parse, plain
from ..cluster.act import Acted, Outlets, Refuse, act, regarding, write_status
from ..cluster.errors import ClusterError, FieldConflict, Forbidden, Invalid, Unauthenticated
from ..cluster.kinds import Kind, reconciled
from ..cluster.object_ref import ObjectRef
from ..cluster.observe import Observed, Observer
from ..cluster.port import Cluster, Object
from ..cluster.refusals import refusal_of
from ..decide.decision import Decision, Emit, RecordMetric
from ..decide.refusal import Refusal, event
from ..decide.run.view import RunView
from ..decide.version.view import VersionView
from ..decide.views import OBSERVED_STEP, PolicyView
from ..manifests.events import Regarding
from . import failures
from .failures import Failures
from .repeats import Repeats, says_nothing_new
from .stopwatch import Stopwatch
from .words import Words, only_words

NEW_WORDS: Final = timedelta(minutes=1)
"""How long a refusal keeps its words. Those of a webhook may differ at every try, and a write wakes its object."""

NO_SOONER: Final = timedelta(seconds=1)
"""How soon a refused write of a policy in flight is repeated at the soonest."""

log = logging.getLogger(__name__)

S = TypeVar("S", RunStatus, VersionStatus, PolicyStatus, PromotionStatus)


class Unread(Forbidden):
    """Something that a decision needs may not be read; it is said already."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconcile came to; `after` is when to look again, in any case."""

    gone: bool = False
    wrote: bool = False
    again: bool = False
    after: timedelta | None = None


@dataclass(slots=True)
class Reconciler:
    """Reconciles keys against one cluster. `clock` gives the wall clock in UTC."""

    cluster: Cluster
    observer: Observer
    outlets: Outlets
    clock: Callable[[], datetime]
    steady: Callable[[], float] | None = None
    """Gives monotonic seconds, which no one sets; None: as the wall clock goes, never back (tests in virtual time)."""
    _stopwatch: Stopwatch = field(default_factory=Stopwatch)
    _faults: Stopwatch = field(default_factory=Stopwatch)
    _refused: dict[str, Refusal] = field(default_factory=dict)
    """By uid: the last write that was refused, until a try succeeds."""
    _posted: set[str] = field(default_factory=set)
    """Uids whose refusal has its Event from here, because no condition can tell of it."""
    _words: Words = field(default_factory=Words)
    _failures: Failures = field(default_factory=Failures)
    _repeats: Repeats = field(default_factory=Repeats)

    async def reconcile(self, key: ObjectRef) -> Outcome:
        """Bring the object of `key` one decision further. Raises ClusterError when the API server refuses."""
        raw = await self.cluster.get(key.kind, key.namespace, key.name)
        if raw is None:
            return Outcome(gone=True)
        if raw["metadata"].get("deletionTimestamp"):
            return Outcome()
        try:
            return await self._looked_at(key, raw)
        finally:
            await self._forget_if_gone(key, raw["metadata"]["uid"])

    async def _looked_at(self, key: ObjectRef, raw: Object) -> Outcome:
        uid, now = raw["metadata"]["uid"], self.clock().replace(microsecond=0)
        try:
            outcome = await self._guarded(key.kind, raw, now)
        except InvalidObject as error:
            changed = await self._say_invalid(key.kind, raw, str(error), now)
            return Outcome(wrote=changed)
        except Unread:
            raise
        except (Forbidden, Invalid) as error:
            # Said in the status by the next try, which is due at once; it stays until a try succeeds.
            self._remember(uid, refusal_of(error, now))
            raise
        self._failures.forget(uid)
        if self._refused.pop(uid, None) is not None:
            self._posted.discard(uid)
            return with_changes(outcome, again=True)
        return outcome

    async def _forget_if_gone(self, key: ObjectRef, uid: str) -> None:
        """Drop what a look left behind of an object that went, and was forgotten, while it was looked at."""
        try:
            there = await self.cluster.get(key.kind, key.namespace, key.name)
        except ClusterError:  # its namespace is out of reach, and all of it is forgotten
            there = None
        if there is None or there["metadata"]["uid"] != uid:
            self.forget(uid)

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._refused.pop(uid, None)
        self._posted.discard(uid)
        self._words.forget(uid)
        self._failures.forget(uid)
        self._repeats.forget(uid)
        self._stopwatch.forget(uid)
        self._faults.forget(uid)
        self.observer.forget(uid)

    def _remember(self, uid: str, refusal: Refusal) -> None:
        known = self._refused.get(uid)
        if known is not None and known.is_like(refusal):
            if timedelta() <= refusal.at - known.at < NEW_WORDS:  # else the clock was set back
                return
        else:
            self._posted.discard(uid)
        self._refused[uid] = refusal

    async def _guarded(self, kind: Kind, raw: Object, now: datetime) -> Outcome:
        """Decide, and say in the object what kept us from it where nobody else will: a bug, or a status refused."""
        try:
            return await self._decided(kind, raw, now)
        except Invalid as error:
            if error.action is None:
                await self._say_failed(kind, raw, failures.refused_in_words(error), now)
            raise
        except (ClusterError, InvalidObject):
            raise
        except Exception as error:
            await self._say_failed(kind, raw, failures.in_words(error), now)
            raise

    async def _decided(self, kind: Kind, raw: Object, now: datetime) -> Outcome:
        try:
            observed = await self.observer.observe(kind, raw, now)
        except Unauthenticated:
            raise
        except Forbidden as error:
            await self._say_unread(kind, raw, str(error))
            raise Unread(str(error)) from error
        observed = self._timed(observed, now)
        decision = reconciled(kind).decide(observed.view)
        if isinstance(observed.view, PolicyView) and dates_promotions(observed.view.policy.status, decision.status):
            # A watch that lags would leave out the newest, and a release that is older than the hold lift it (D83).
            there = await self.observer.objects.promotions(observed.view.policy, fresh=True)
            observed = with_changes(observed, view=with_changes(observed.view, promotions=there))
            decision = reconciled(kind).decide(observed.view)
        decision = _reconciled_again(self._with_refusal(observed, decision))
        waits = self._chatter(raw, decision, now), self._repeated(raw, decision, now)
        if waits != (None, None):
            return Outcome(after=_soonest(decision.requeue_after, observed.poll, *waits))
        with self.observer.places.claimed(observed.view, decision.status):
            try:
                return await self._act(observed, decision, now, self._refuser(observed))
            except ClusterError as error:
                error.within = _flies_on(decision)
                raise

    def _timed(self, observed: Observed[Any], now: datetime) -> Observed[Any]:
        """Return what was observed with how long it has been so, as far as anybody looked."""
        view = observed.view
        if not isinstance(view, PolicyView | RunView | VersionView):
            return observed
        at, uid = self._at(now), observed.raw["metadata"]["uid"]
        view = with_changes(view, observed=self._stopwatch.lap(uid, view.timed, at=at, now=now))
        if isinstance(view, PolicyView):
            lasted = self._faults.lap(uid, view.fault_timed, at=at, now=now)
            view = with_changes(view, fault_observed=lasted)
        return with_changes(observed, view=view)

    def _at(self, now: datetime) -> float:
        """Return the moment in seconds that nobody sets, where such a clock is there."""
        return now.timestamp() if self.steady is None else self.steady()

    def _with_refusal(self, observed: Observed[Any], decision: Decision[Any]) -> Decision[Any]:
        """Return the decision, saying what was refused at the last try; where no condition can, an Event does."""
        uid = observed.raw["metadata"]["uid"]
        refusal, say = self._refused.get(uid), reconciled(observed.kind).say_refused
        if refusal is None:
            return decision
        said = decision if say is None else say(observed.view, decision, refusal)
        due = refusal.action is None or refusal.is_repeated_by(decision.actions)
        if due and said is decision and uid not in self._posted:
            self._posted.add(uid)
            self.outlets.events(regarding(observed), event(refusal))
        return said

    def _chatter(self, raw: Object, decision: Decision[Any], now: datetime) -> timedelta | None:
        """Return how long a decision is to wait that does nothing but choose other words, and did so too often."""
        does = any(not isinstance(action, Emit | RecordMetric) for action in decision.actions)
        if does or not only_words(raw.get("status") or {}, plain(decision.status)):
            return None
        return self._words.wait(raw["metadata"]["uid"], now)

    def _repeated(self, raw: Object, decision: Decision[Any], now: datetime) -> timedelta | None:
        """Return how long a decision is to wait that says nothing new, and does what did not stay the last times."""
        left = self._repeats.left(raw["metadata"]["uid"], decision.actions, self._at(now))
        if left is None or not says_nothing_new(raw.get("status") or {}, plain(decision.status)):
            return None
        return left

    async def _act(
        self,
        observed: Observed[Any],
        decision: Decision[S],
        now: datetime,
        refuse: Refuse[S] | None = None,
    ) -> Outcome:
        acted: Acted = await act(self.cluster, observed, decision, self.outlets, refuse)
        pause = self._repeats.pause(observed.raw["metadata"]["uid"], decision.actions, self._at(now))
        after = _soonest(decision.requeue_after, observed.poll, pause if acted.again else None)
        return Outcome(wrote=acted.wrote, again=acted.again and pause is None, after=after)

    def _refuser(self, observed: Observed[Any]) -> Refuse[Any] | None:
        """Return what records a refused apply in the object as it is by then; None for a kind that applies nothing."""
        refused = reconciled(observed.kind).refused
        if refused is None:
            return None

        async def refuse(raw: Object, conflict: FieldConflict) -> Decision[Any]:
            now_there = parse(raw, Policy)
            # Its hold says which promotions were there, as any other does (D83).
            there = await self.observer.objects.promotions(now_there, fresh=True)
            view = with_changes(observed.view, policy=now_there, promotions=there)
            return refused(view, conflict.manager, str(conflict))

        return refuse

    async def _say_failed(self, kind: Kind, raw: Object, words: str, now: datetime) -> None:
        """Say that the operator fails on the object, by a patch as small as can be, and end a run that it cannot help.

        Whatever goes wrong with that is only logged: the failure itself is what the queue has to hear of.
        """
        metadata = raw["metadata"]
        ends = self._failures.count(metadata["uid"]) >= failures.TRIES and kind is Kind.RUN
        try:
            changed = failures.patch(kind, raw, words, now, ends=ends)
            if not changed:
                return
            where = Regarding(reconciled(kind).name, metadata.get("namespace", ""), metadata["name"], metadata["uid"])
            self.outlets.events(where, Emit("Warning", failures.REASON, changed["message"]))
            await self.cluster.patch_status(kind, where.namespace, where.name, where.uid,
                                            metadata["resourceVersion"], {"status": changed})  # fmt: skip
        except ClusterError as error:
            log.warning("a failure could not be said in the status: %s", error)

    async def _say_unread(self, kind: Kind, raw: Object, error: str) -> None:
        """Say what may not be read: by an Event, and in the summary, which the next decision writes anew."""
        message = f"the operator may not read what this needs: {error}; give the rights back: it goes on by itself"
        status: dict[str, Any] = raw.get("status") or {}
        if status.get("message") == message:
            return
        metadata = raw["metadata"]
        where = Regarding(reconciled(kind).name, metadata.get("namespace", ""), metadata["name"], metadata["uid"])
        await write_status(self.cluster, kind, raw, {**status, "message": message})
        self.outlets.events(where, Emit("Warning", "ReadRefused", message))

    async def _say_invalid(self, kind: Kind, raw: Object, message: str, now: datetime) -> bool:
        """Put what is wrong with the object into its condition; it is looked at again when it changes."""
        status: dict[str, Any] = raw.get("status") or {}
        generation = int(raw["metadata"].get("generation") or 0)
        message = f"this object cannot be read: {message}; correct it, or update the operator"
        conditions = set_condition(
            _conditions(status), reconciled(kind).condition, "False", "Invalid", message, generation=generation, now=now
        )
        new = {**status, "conditions": plain(conditions)}
        written = await write_status(self.cluster, kind, raw, new)
        return written is not raw


def _flies_on(decision: Decision[Any]) -> timedelta | None:
    """Return when a flight has to be looked at whatever else was refused: a longer pause is no time of it (D58)."""
    status = decision.status
    flies = isinstance(status, PolicyStatus) and status.in_flight is not None
    return max(decision.requeue_after or OBSERVED_STEP, NO_SOONER) if flies else None


def dates_promotions(before: PolicyStatus, after: PolicyStatus) -> bool:
    """Tell whether a decision records which promotions were there when a hold, a flight or a way back began."""
    return _newest(before) != _newest(after)


def _newest(status: PolicyStatus) -> tuple[object, ...]:
    hold, flight = status.hold, status.in_flight
    return (
        None if hold is None else (hold.since, hold.newest_promotion),
        None if flight is None else (flight.promotion_uid, flight.phase == "Returning", flight.newest_promotion),
    )


def _reconciled_again(decision: Decision[S]) -> Decision[S]:
    """Return the decision without the condition that the operator fails on the object: it was made."""
    conditions = tuple(c for c in decision.status.conditions if c.type != failures.CONDITION)
    if len(conditions) == len(decision.status.conditions):
        return decision
    return with_changes(decision, status=replace(decision.status, conditions=conditions))


def _conditions(status: dict[str, Any]) -> tuple[Condition, ...]:
    try:
        return parse(status.get("conditions") or [], tuple[Condition, ...])
    except InvalidObject:
        return ()


def _soonest(*delays: timedelta | None) -> timedelta | None:
    return min((delay for delay in delays if delay is not None), default=None)
