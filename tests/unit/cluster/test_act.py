"""Decisions are carried out status first, once, and only on what was looked at."""

import asyncio
import copy
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import pytest

from finetune_operator.api.meta import FileReference
from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy import Serving, Source
from finetune_operator.api.policy_status import PolicyStatus
from finetune_operator.api.promotion import PromotionSpec
from finetune_operator.api.run import RunStatus
from finetune_operator.api.run_document import DocumentBase, DocumentData, DocumentOwner, Location, RunDocument
from finetune_operator.api.value import parse
from finetune_operator.cluster.act import NameTaken, Outlets, act
from finetune_operator.cluster.errors import AlreadyExists, Conflict, FieldConflict, Unavailable
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.observe import Observed, Observer
from finetune_operator.cluster.port import Object
from finetune_operator.decide.decision import (
    Action,
    Annotate,
    ApplyKeys,
    CreateJob,
    CreateModelVersion,
    CreatePromotion,
    CreateSnapshot,
    Decision,
    DeleteJob,
    Emit,
    RecordMetric,
    ReserveVersion,
)
from finetune_operator.manifests.events import Regarding
from simulation.api_server import START, ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import run, stage

T = TypeVar("T")
DOCUMENT = RunDocument(
    owner=DocumentOwner(kind="FineTuneRun", namespace=NAMESPACE, name="first", uid="u"),
    mode="FineTune",
    model="invoice-fields",
    classes=("number",),
    serving=Serving(),
    data=DocumentData(anchor=Source(uri="file:///a")),
    artifacts=Location(uri="file:///b"),
    base=DocumentBase(
        version="base_v1",
        artifact=FileReference(uri="file:///c", sha256="c"),
        checkpoint=FileReference(uri="file:///d", sha256="d"),
    ),
)
JOB = CreateJob("first-prepare-1", "prepare", 1, "cpu", "document", '{"attempt":1}')


class World:
    """The simulated API server with one run, and what `act` did to it."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.client = Client(self.server)
        self.events: list[tuple[str, str]] = []
        self.metrics: list[RecordMetric] = []
        self.outlets = Outlets(self.record, self.metrics.append)
        for kind, manifest in stage():
            self.server.create("user", kind, NAMESPACE, manifest)
        self.server.create("user", Kind.RUN, NAMESPACE, run())

    def run(self) -> Observed[Any]:
        raw = self.server.get(Kind.RUN, NAMESPACE, "first")
        assert raw is not None
        return self.do(Observer(self.client).run(raw, START))

    def policy(self) -> Observed[Any]:
        raw = self.server.get(Kind.POLICY, NAMESPACE, "invoice-fields")
        assert raw is not None
        return self.do(Observer(self.client).policy(raw, START))

    def act(self, observed: Observed[Any], *actions: Action, status: Any = None, refuse: Any = None) -> Any:
        status = status if status is not None else RunStatus(phase="Pending")
        return self.do(act(self.client, observed, Decision(status, actions), self.outlets, refuse))

    def record(self, regarding: Regarding, emit: Emit) -> None:
        self.events.append((regarding.name, emit.reason))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def written(self) -> list[tuple[str, str]]:
        return [(w.verb, w.name) for w in self.server.log if w.actor == "finetune-operator"]


@pytest.fixture
def world() -> World:
    return World()


def test_the_status_is_written_before_the_action_that_it_announces(world: World) -> None:
    world.act(world.run(), CreateSnapshot("document", DOCUMENT), JOB)
    assert world.written() == [("patch_status", "first"), ("create", "document"), ("create", "first-prepare-1")]


def test_an_unchanged_status_is_not_written(world: World) -> None:
    world.act(world.run())
    done = world.act(world.run())
    assert (done.wrote, world.written()) == (False, [("patch_status", "first")])


def test_an_annotation_is_put_on_the_object_as_its_status_left_it(world: World) -> None:
    done = world.act(world.run(), Annotate("finetune-operator.io/outcome", "{}"))
    assert (done.wrote, done.again) == (True, True)
    assert world.written() == [("patch_status", "first"), ("annotate", "first")]
    there = world.server.get(Kind.RUN, NAMESPACE, "first")
    assert there is not None
    assert there["metadata"]["annotations"] == {"finetune-operator.io/outcome": "{}"}


def test_an_annotation_from_a_stale_view_is_not_written(world: World) -> None:
    world.act(world.run())
    seen = world.run()
    world.server.update_spec("user", Kind.RUN, NAMESPACE, "first", lambda item: item["spec"].update(suspend=True))
    with pytest.raises(Conflict):
        world.act(seen, Annotate("finetune-operator.io/outcome", "{}"))
    assert world.written() == [("patch_status", "first")]


VERDICT = RecordMetric("finetune_verdicts", {"verdict": "Pass"})


def test_a_metric_is_recorded_once_its_status_is_written_whatever_comes_of_the_actions_after_it(world: World) -> None:
    world.server.create("user", Kind.JOB, NAMESPACE, {"metadata": {"name": JOB.name, "namespace": NAMESPACE}})
    with pytest.raises(NameTaken):
        world.act(world.run(), VERDICT, JOB)
    assert (world.written(), world.metrics) == ([("patch_status", "first")], [VERDICT])


def test_a_decision_from_a_stale_view_is_not_counted(world: World) -> None:
    stale = world.run()
    world.server.update_spec("user", Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(suspend=True))
    with pytest.raises(Conflict):
        world.act(stale, VERDICT)
    assert world.metrics == []


def test_a_decision_from_a_stale_view_does_nothing(world: World) -> None:
    stale = world.run()
    world.server.update_spec("user", Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(suspend=True))
    with pytest.raises(Conflict):
        world.act(stale, JOB)
    assert world.written() == []


def test_a_field_that_left_the_status_leaves_the_object(world: World) -> None:
    world.act(world.run(), status=RunStatus(phase="Pending", message="waits"))
    world.act(world.run(), status=RunStatus(phase="Pending"))
    raw = world.server.get(Kind.RUN, NAMESPACE, "first")
    assert raw is not None
    assert raw["status"] == {"phase": "Pending"}


@pytest.mark.parametrize("again", [JOB, CreateSnapshot("document", DOCUMENT)])
def test_an_action_repeated_after_a_crash_changes_nothing(world: World, again: Action) -> None:
    world.act(world.run(), again)
    before = len(world.server.objects)
    world.act(world.run(), again)
    assert len(world.server.objects) == before


@pytest.mark.parametrize(
    ("kind", "action"),
    [(Kind.JOB, JOB), (Kind.CONFIG_MAP, CreateSnapshot("first-prepare-1", DOCUMENT))],
)
def test_an_object_of_somebody_else_is_never_adopted(world: World, kind: Kind, action: Action) -> None:
    foreign = {"metadata": {"name": "first-prepare-1"}, "spec": {}, "data": {}}
    made = world.server.create("user", kind, NAMESPACE, foreign)
    with pytest.raises(NameTaken, match="first-prepare-1"):
        world.act(world.run(), action)
    assert world.server.get(kind, NAMESPACE, "first-prepare-1") == made


FORGED: dict[str, Callable[[Object], object]] = {
    "another owner": lambda made: made["metadata"]["ownerReferences"][0].update(uid="somebody"),
    "no owner": lambda made: made["metadata"].pop("ownerReferences"),
    "another content": lambda made: made.update(
        data={"run.json": "{}"}, spec={"template": {"spec": {"containers": [{"name": "trainer", "image": "evil"}]}}}
    ),
    "no content": lambda made: (made.pop("data", None), made.pop("spec", None)),
}


@pytest.mark.row("R70")
@pytest.mark.parametrize("what", FORGED)
@pytest.mark.parametrize(
    ("kind", "action"),
    [(Kind.JOB, JOB), (Kind.CONFIG_MAP, CreateSnapshot("first-prepare-1", DOCUMENT))],
)
def test_what_is_ours_in_all_but_one_is_not_adopted(world: World, kind: Kind, action: Action, what: str) -> None:
    world.act(world.run(), action)
    ours = world.server.get(kind, NAMESPACE, "first-prepare-1")
    assert ours is not None
    forged = copy.deepcopy(ours)
    for key in ("uid", "resourceVersion", "creationTimestamp"):
        forged["metadata"].pop(key, None)
    FORGED[what](forged)
    world.server.delete("user", kind, NAMESPACE, "first-prepare-1")
    made = world.server.create("user", kind, NAMESPACE, forged)
    with pytest.raises(NameTaken):
        world.act(world.run(), action)
    assert world.server.get(kind, NAMESPACE, "first-prepare-1") == made


def test_a_document_of_ours_with_other_content_is_not_taken_for_the_same(world: World) -> None:
    world.act(world.run(), CreateSnapshot("document", DOCUMENT))
    other = msgspec.structs.replace(DOCUMENT, model="receipts")
    with pytest.raises(NameTaken):
        world.act(world.run(), CreateSnapshot("document", other))


def test_records_are_adopted_when_equal_and_refused_when_not(world: World) -> None:
    raw = world.server.get(Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-base-v1")
    spec = parse(raw, ModelVersion).spec
    world.act(world.run(), CreateModelVersion("invoice-fields-base-v1", spec))
    other = msgspec.structs.replace(spec, classes=("number",))
    with pytest.raises(NameTaken):
        world.act(world.run(), CreateModelVersion("invoice-fields-base-v1", other))
    promotion = PromotionSpec(policy="invoice-fields", version="ft_v1.1", from_version="base_v1")
    for _ in range(2):
        world.act(world.run(), CreatePromotion("p", promotion))
    with pytest.raises(NameTaken):
        world.act(world.run(), CreatePromotion("p", msgspec.structs.replace(promotion, from_version=None)))


def test_a_job_created_again_under_the_same_name_is_not_deleted(world: World) -> None:
    world.act(world.run(), JOB)
    world.act(world.run(), DeleteJob(JOB.name, "another-uid"))
    assert world.server.get(Kind.JOB, NAMESPACE, JOB.name) is not None
    job = world.server.get(Kind.JOB, NAMESPACE, JOB.name)
    assert job is not None
    world.act(world.run(), DeleteJob(JOB.name, job["metadata"]["uid"]))
    assert world.server.get(Kind.JOB, NAMESPACE, JOB.name) is None


def test_a_number_is_reserved_once_for_a_run(world: World) -> None:
    for uid in ("run-1", "run-1", "run-2"):
        world.act(world.run(), ReserveVersion("invoice-fields", uid, 1))
    raw = world.server.get(Kind.POLICY, NAMESPACE, "invoice-fields")
    assert raw is not None
    assert [(r["runUid"], r["version"]) for r in raw["status"]["reservations"]] == [
        ("run-1", "ft_v1.1"),
        ("run-2", "ft_v1.2"),
    ]


def keys(observed: Observed[Any]) -> ApplyKeys:
    seen = observed.view.deployment
    return ApplyKeys(seen.name, seen.uid, seen.resource_version, "base_v1", "file:///m", "ab", 1)


def touch(world: World, change: Callable[[Object], None]) -> None:
    world.server.update_spec("user", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", change)


def served(world: World) -> Any:
    raw = world.server.get(Kind.DEPLOYMENT, NAMESPACE, "invoice-detector")
    assert raw is not None
    return raw["spec"]["template"]["metadata"].get("annotations")


def test_an_apply_goes_through_while_pods_come_and_go(world: World) -> None:
    observed = world.policy()
    touch(world, lambda o: o.update(status={"replicas": 3}))
    world.act(observed, keys(observed), status=PolicyStatus(epoch=1))
    assert served(world)["finetune-operator.io/model-version"] == "base_v1"


class Restless(Client):
    """A Deployment whose status moves on before every write of it arrives."""

    tries = 0

    async def apply(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        self.tries += 1
        self.server.update_spec("user", kind, namespace, name, lambda o: o.update(status={"replicas": self.tries}))
        return await super().apply(kind, namespace, name, manifest)


def test_an_apply_that_never_arrives_is_no_apply(world: World) -> None:
    observed = world.policy()
    world.client = restless = Restless(world.server)
    with pytest.raises(Conflict):
        world.act(observed, keys(observed), status=PolicyStatus(epoch=1))
    assert served(world) is None
    assert restless.tries > 1


def test_an_apply_gives_way_to_a_change_of_the_template(world: World) -> None:
    observed = world.policy()
    touch(world, lambda o: o["spec"]["template"]["spec"]["containers"][0].update(image="server:2"))
    with pytest.raises(Conflict):
        world.act(observed, keys(observed), status=PolicyStatus(epoch=1))
    assert served(world) is None


def test_an_apply_that_writes_no_status_first_checks_that_its_view_is_current(world: World) -> None:
    world.act(world.policy(), status=PolicyStatus(epoch=1))
    stale = world.policy()
    world.act(world.policy(), status=PolicyStatus(epoch=2))
    with pytest.raises(Conflict):
        world.act(stale, keys(stale), status=PolicyStatus(epoch=1))
    assert served(world) is None


def test_a_field_conflict_is_recorded_and_not_forced(world: World) -> None:
    uri = {"finetune-operator.io/artifact-uri": "file:///git"}
    touch(world, lambda o: o["spec"]["template"]["metadata"].update(annotations=uri))
    observed = world.policy()

    async def refuse(raw: Object, conflict: FieldConflict) -> Decision[PolicyStatus]:
        assert raw["status"]["epoch"] == 1
        return Decision(PolicyStatus(epoch=1, observed_generation=7), (Emit("Warning", conflict.manager, "m"),))

    world.act(observed, keys(observed), status=PolicyStatus(epoch=1), refuse=refuse)
    raw = world.server.get(Kind.POLICY, NAMESPACE, "invoice-fields")
    assert raw is not None
    assert raw["status"] == {"epoch": 1, "observedGeneration": 7}
    assert served(world) == uri
    assert world.events == [("invoice-fields", "user")]


class LostAnswers(Client):
    """Commits every create, and loses the answer of the first."""

    lost = False

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        made = await super().create(kind, namespace, manifest)
        if not self.lost:
            self.lost = True
            raise Unavailable("connection reset")
        return made


def test_a_create_whose_answer_was_lost_is_found_and_not_made_twice(world: World) -> None:
    world.client = LostAnswers(world.server)
    with pytest.raises(Unavailable):
        world.act(world.run(), JOB)
    world.act(world.run(), JOB)
    assert [name for verb, name in world.written() if verb == "create"] == [JOB.name]


class Vanishing(Client):
    """Has a name taken by an object that is gone when it is looked at."""

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        raise AlreadyExists("taken")


def test_a_name_that_is_free_again_is_tried_again_later(world: World) -> None:
    world.client = Vanishing(world.server)
    with pytest.raises(Exception, match="look again"):
        world.act(world.run(), replace(JOB, name="other"))
