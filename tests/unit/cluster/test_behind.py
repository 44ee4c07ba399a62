"""A cache that is behind: what is taken, taken back or written is decided by what the API server has."""

import asyncio
import copy
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from finetune_operator.api.names import ARTIFACT_SHA256_KEY, ARTIFACT_URI_KEY, MODEL_VERSION_KEY
from finetune_operator.api.policy_status import PolicyStatus
from finetune_operator.api.run import RunStatus
from finetune_operator.cluster.act import NameTaken, Outlets, act
from finetune_operator.cluster.errors import Conflict, FieldConflict, Unavailable
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.observe import Observed, Observer
from finetune_operator.cluster.port import Object
from finetune_operator.controller.decision_log import Journal
from finetune_operator.controller.reconcile import Reconciler
from finetune_operator.decide.decision import Action, ApplyKeys, CreateJob, Decision, ReserveVersion
from simulation.api_server import START, ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import promotion, run, stage

T = TypeVar("T")
JOB = CreateJob("first-prepare-1", "prepare", 1, "cpu", "document", '{"attempt":1}')
DIGEST = "b" * 64


@dataclass
class Behind(Client):
    """Reads that are not fresh see what was there when `stop` was called."""

    seen: dict[Kind, tuple[Object, ...]] = field(default_factory=dict)
    away: frozenset[Kind] = frozenset()

    def stop(self) -> None:
        self.seen = {kind: copy.deepcopy(self.server.list(kind, NAMESPACE)) for kind in Kind}

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        if fresh or kind not in self.seen:
            return await super().get(kind, namespace, name)
        return next((obj for obj in self.seen[kind] if obj["metadata"]["name"] == name), None)

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        if kind in self.away:
            raise Unavailable("no answer")
        if fresh or kind not in self.seen:
            return await super().list(kind, namespace, labels)
        wanted = (labels or {}).items()
        return tuple(o for o in self.seen[kind] if wanted <= (o["metadata"].get("labels") or {}).items())


class World:
    """The simulated API server with a policy and a run, looked at through a cache and the decision log's port."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.client = Behind(self.server)
        self.cluster = Journal(self.client)
        self.observer = Observer(self.cluster)
        for kind, manifest in stage():
            self.server.create("user", kind, NAMESPACE, manifest)
        self.uid = self.server.create("user", Kind.RUN, NAMESPACE, run())["metadata"]["uid"]

    def raw(self, kind: Kind, name: str) -> Object:
        obj = self.server.get(kind, NAMESPACE, name)
        assert obj is not None
        return obj

    def status(self, kind: Kind, name: str, status: Object) -> None:
        meta = self.raw(kind, name)["metadata"]
        patch = {"status": status}
        self.server.patch_status("user", kind, NAMESPACE, name, meta["uid"], meta["resourceVersion"], patch)

    def child(self, kind: Kind, name: str, owner: str, **more: str) -> str:
        labels = {"finetune-operator.io/owner-uid": self.uid, "finetune-operator.io/attempt": "1"}
        labels |= {"finetune-operator.io/step": "train"} | more
        metadata = {"name": name, "labels": labels, "ownerReferences": [{"uid": owner, "controller": True}]}
        return str(self.server.create("user", kind, NAMESPACE, {"metadata": metadata})["metadata"]["uid"])

    def run(self) -> Observed[Any]:
        return self.do(self.observer.run(self.raw(Kind.RUN, "first"), START))

    def policy(self) -> Observed[Any]:
        return self.do(self.observer.policy(self.raw(Kind.POLICY, "invoice-fields"), START))

    def fly(self) -> None:
        to = {"version": "ft_v1.1", "modelVersion": "ft", "uri": "file:///m", "sha256": DIGEST}
        moment = dict.fromkeys(("startedAt", "phaseSince", "deadline"), "2026-11-21T12:00:00Z")
        flight = {"promotion": "p", "promotionUid": "u", "specHash": "h", "phase": "Watching", "to": to, "epoch": 2,
                  "deploymentUid": "d", "templateHash": "t", "generation": 1, **moment}  # fmt: skip
        self.status(Kind.POLICY, "invoice-fields", {"inFlight": flight})

    def act(self, observed: Observed[Any], *actions: Action, status: Any) -> None:
        outlets = Outlets(lambda *_: None, lambda _: None)
        self.do(act(self.cluster, observed, Decision(status, actions), outlets))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.row("R74")
@pytest.mark.parametrize("kind", [Kind.JOB, Kind.POD])
def test_a_result_is_taken_from_the_job_and_the_pods_that_are_there(world: World, kind: Kind) -> None:
    job = world.child(Kind.JOB, "first-train-1", world.uid)
    world.child(Kind.POD, "p", job)
    attempt = {"step": "train", "attempt": 1, "job": "first-train-1", "outcome": "Running", "jobUid": job}
    world.status(Kind.RUN, "first", {"attempts": [attempt]})
    ended = {"exitCode": 0, "message": "{}", "finishedAt": "2026-11-21T12:00:09Z"}
    trainer = {"name": "trainer", "state": {"terminated": ended}}
    world.status(Kind.POD, "p", {"phase": "Succeeded", "containerStatuses": [trainer]})
    world.client.stop()
    name = "first-train-1" if kind is Kind.JOB else "p"
    world.server.delete("user", kind, NAMESPACE, name)
    world.child(kind, name, world.uid if kind is Kind.JOB else job)
    (there,) = [view for view in world.run().view.jobs if not view.orphaned]
    assert (there.uid != job) is (kind is Kind.JOB)
    assert there.termination_message is None


@pytest.mark.row("R97")
def test_a_job_whose_labels_somebody_took_is_read_past_the_cache_all_the_same(world: World) -> None:
    """It is found by its name, and must be found so again when all is read anew: else its result is lost."""
    job = world.child(Kind.JOB, "first-train-1", world.uid)
    world.child(Kind.POD, "p", job)
    attempt = {"step": "train", "attempt": 1, "job": "first-train-1", "outcome": "Running", "jobUid": job}
    world.status(Kind.RUN, "first", {"attempts": [attempt]})
    ended = {"exitCode": 0, "message": "{}", "finishedAt": "2026-11-21T12:00:09Z"}
    trainer = {"name": "trainer", "state": {"terminated": ended}}
    world.status(Kind.POD, "p", {"phase": "Succeeded", "containerStatuses": [trainer]})
    taken = "finetune-operator.io/owner-uid"
    world.server.update_spec("user", Kind.JOB, NAMESPACE, "first-train-1", lambda o: o["metadata"]["labels"].pop(taken))
    assert [view.uid for view in world.run().view.jobs] == [job]


@pytest.mark.row("D59")
def test_a_flight_looks_at_the_deployment_that_is_there(world: World) -> None:
    before = world.raw(Kind.DEPLOYMENT, "invoice-detector")["metadata"]["resourceVersion"]
    world.client.stop()
    world.status(Kind.DEPLOYMENT, "invoice-detector", {"availableReplicas": 0})
    assert world.policy().view.deployment.resource_version == before, "at rest the watch is enough"
    world.fly()
    assert world.policy().view.deployment.resource_version != before


@pytest.mark.row("D59")
def test_a_look_that_could_not_read_the_pods_of_a_flight_takes_nothing_back_by_time(world: World) -> None:
    world.status(Kind.DEPLOYMENT, "invoice-detector", {"availableReplicas": 0})
    world.fly()
    assert world.policy().view.read_anew
    world.client.away = frozenset((Kind.POD,))
    assert not world.policy().view.read_anew


def keys(observed: Observed[Any]) -> ApplyKeys:
    seen = observed.view.deployment
    return ApplyKeys(seen.name, seen.uid, seen.resource_version, "base_v1", "file:///m", "ab", 1)


def served(world: World) -> Any:
    return world.raw(Kind.DEPLOYMENT, "invoice-detector")["spec"]["template"]["metadata"].get("annotations")


def test_a_repeated_apply_is_not_made_from_a_policy_that_only_the_cache_still_has(world: World) -> None:
    world.act(world.policy(), status=PolicyStatus(epoch=1))
    stale = world.policy()
    world.client.stop()
    world.act(world.policy(), status=PolicyStatus(epoch=2))
    with pytest.raises(Conflict):
        world.act(stale, keys(stale), status=PolicyStatus(epoch=1))
    assert served(world) is None


def test_an_apply_is_tried_again_at_the_deployment_that_is_there(world: World) -> None:
    observed = world.policy()
    world.client.stop()
    world.status(Kind.DEPLOYMENT, "invoice-detector", {"replicas": 3})
    world.act(observed, keys(observed), status=PolicyStatus(epoch=1))
    assert served(world)["finetune-operator.io/model-version"] == "base_v1"


def test_what_stands_in_the_way_of_a_create_is_what_the_api_server_has(world: World) -> None:
    world.client.stop()
    world.child(Kind.JOB, JOB.name, "somebody")
    with pytest.raises(NameTaken):
        world.act(world.run(), JOB, status=RunStatus(phase="Pending"))


def test_a_number_is_reserved_in_the_policy_that_is_there(world: World) -> None:
    world.client.stop()
    world.status(Kind.POLICY, "invoice-fields", {"epoch": 7})
    world.act(world.run(), ReserveVersion("invoice-fields", "run-1", 1), status=RunStatus(phase="Pending"))
    status = world.raw(Kind.POLICY, "invoice-fields")["status"]
    assert (status["epoch"], [r["version"] for r in status["reservations"]]) == (7, ["ft_v1.1"])


def held_behind_a_release(world: World) -> tuple[Object, str]:
    """Return the hold that the policy comes to behind a release which its watch does not show, and when that came."""
    world.client.stop()
    world.server.advance(300)
    world.server.create("user", Kind.PROMOTION, NAMESPACE, promotion("release", "base_v1", releaseHold=True))
    made = world.raw(Kind.PROMOTION, "release")["metadata"]["creationTimestamp"]
    outlets = Outlets(lambda *_: None, lambda _: None)
    reconciler = Reconciler(world.cluster, world.observer, outlets, lambda: world.server.now)
    world.do(reconciler.reconcile(ObjectRef(Kind.POLICY, NAMESPACE, "invoice-fields")))
    hold = world.raw(Kind.POLICY, "invoice-fields")["status"]["hold"]
    return hold, made


@pytest.mark.row("D83")
def test_a_hold_knows_the_newest_promotion_though_its_watch_lags(world: World) -> None:
    """Else a release that is older than the hold would seem to be younger than all promotions that were there."""
    keys = {MODEL_VERSION_KEY: "ft_v1.1", ARTIFACT_URI_KEY: "file:///m", ARTIFACT_SHA256_KEY: DIGEST}

    def serve(deployment: Object) -> None:
        deployment["spec"]["template"].setdefault("metadata", {})["annotations"] = keys

    world.server.update_spec("user", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", serve)
    hold, made = held_behind_a_release(world)
    assert hold["newestPromotion"] == made


@pytest.mark.row("D20")
@pytest.mark.row("D83")
def test_a_hold_that_comes_of_a_refused_apply_knows_the_newest_promotion_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is live lost its keys, somebody took one of them, and a release was made just before anybody knew."""
    live = {"version": "base_v1", "modelVersion": "b", "uri": "file:///m", "sha256": DIGEST, "epoch": 1}
    good = {key: live[key] for key in ("version", "modelVersion", "uri", "sha256")}
    since = "2026-11-21T11:00:00Z"
    world.status(Kind.POLICY, "invoice-fields", {"epoch": 1, "live": live | {"since": since}, "lastGood": [good]})

    async def owned(*_: object, **__: object) -> Object:
        raise FieldConflict("conflict with argocd", "argocd")

    monkeypatch.setattr(world.client, "apply", owned)
    hold, made = held_behind_a_release(world)
    assert (hold["reason"], hold["newestPromotion"]) == ("FieldOwned", made)
