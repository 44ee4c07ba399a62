"""A trainer that lies about what it measured: nothing of it goes live, whatever figures it has."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .controllers import NAMESPACE
from .invariants import served, violations
from .stories import STORIES, USER, World, promotion, stage
from .trainer_script import Trainer, digest

PASS = next(story for story in STORIES if story.name == "pass")


@dataclass(frozen=True, slots=True)
class Liar(Trainer):
    """A trainer whose result of evaluate is changed before it is said."""

    lie: Callable[[Object], None] = lambda result: None

    def _evaluate(self, document: Object, inputs: Object) -> Object:
        result = Trainer._evaluate(self, document, inputs)
        self.lie(result)
        return result


def swap(result: Object) -> None:
    models = result["models"]
    models["candidate"], models["base"] = models["base"], models["candidate"]


LIES: dict[str, Callable[[Object], None]] = {
    "another test set": lambda result: result["testSet"].update(digest=digest("easy")),
    "one test image": lambda result: result["testSet"].update(images=1),
    "nothing fresh": lambda result: result["newSet"].update(fresh=0),
    "one document": lambda result: result["newSet"].update(documents=1, fresh=1),
    "fewer boxes": lambda result: result["models"]["candidate"]["pool"].update(boxes=10, matched=10, rate="1.000000"),
    "as many boxes as there are grains of sand": lambda result: result["models"]["base"]["pool"].update(boxes=10**17),
    "candidate and base swapped": swap,
}


def assert_refused(lie: Callable[[Object], None], reason: str) -> None:
    """Play the story with a trainer that lies so: each evaluation fails for that reason, and nothing goes live."""
    world = World(replace(PASS, trainer=Liar(lie=lie)))
    world.play()
    status = world.get(Kind.RUN, "first")["status"]
    reasons = {a["reason"] for a in status["attempts"] if a["step"] == "evaluate"}
    assert (status["phase"], reasons) == ("Failed", {reason}), status["message"]
    assert (served(world.server.get(Kind.DEPLOYMENT, NAMESPACE, "invoice-detector")) or ("",))[0] == "base_v1"
    assert violations(world) == []


@pytest.mark.row("R81")
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_what_was_measured_ends_as_a_mismatch_and_nothing_goes_live(lie: str) -> None:
    assert_refused(LIES[lie], "EvidenceMismatch")


@dataclass(frozen=True, slots=True)
class Boaster(Trainer):
    """A trainer whose `prepare` says of the pool what its plan does not list; its evaluation is honest."""

    lie: Callable[[Object], None] = lambda result: None

    def _prepare(self, document: Object, inputs: Object) -> Object:
        result = Trainer._prepare(self, document, inputs)
        self.lie(result)
        return result

    def _evaluate(self, document: Object, inputs: Object) -> Object:
        listed = {"digest": digest("pool"), "samples": 60, "withdrawn": 0, "outside": 60}
        return Trainer._evaluate(self, document, inputs) | {"pool": listed}


BOASTS: dict[str, Callable[[Object], None]] = {
    "another pool": lambda result: result["digests"].update(pool=digest("that of an honest run")),
    "a million pages that were withdrawn": lambda result: result.update(withdrawn=1_000_000),
}


@pytest.mark.row("R315")
@pytest.mark.parametrize("boast", BOASTS)
def test_what_prepare_says_of_the_pool_alone_is_on_no_record(boast: str) -> None:
    world = World(replace(PASS, trainer=Boaster(lie=BOASTS[boast])))
    world.play()
    status = world.get(Kind.RUN, "first")["status"]
    reasons = {a["reason"] for a in status["attempts"] if a["step"] == "evaluate"}
    assert (status["phase"], reasons) == ("Failed", {"EvidenceMismatch"}), status["message"]
    assert "modelVersion" not in status
    assert violations(world) == []


def of(result: Object, model: str, **figures: object) -> None:
    for kind in ("pool", "fresh"):
        result["models"][model][kind].update(figures)


CONTRADICTIONS: dict[str, Callable[[Object], None]] = {
    "a worse base than its fields": lambda result: result["models"]["base"].update(map50="0.900000"),
    "a better candidate than its fields": lambda result: result["models"]["candidate"].update(map50="0.999000"),
    "more found than in the fields": lambda result: of(result, "candidate", matched=360, rate="1.000000"),
    "a base that finds less than in its fields": lambda result: of(result, "base", matched=0, rate="0.000000"),
    "fields without the one that is worst": lambda result: result["testSet"]["floor"].update(
        measured=0, field=[], boxes=[],
        matched={"candidate": [], "base": [], "live": None}, detections={"candidate": [], "base": [], "live": None},
    ),
    "samples that the model was not trained on": lambda result: result["newSet"].update(trainedOn=False),
    "fewer fresh boxes": lambda result: result["models"]["candidate"]["fresh"].update(boxes=342, rate="1.000000"),
}  # fmt: skip


@pytest.mark.row("R120")
@pytest.mark.parametrize("lie", CONTRADICTIONS)
def test_a_lie_that_does_not_go_with_the_rest_ends_as_a_contradiction_and_nothing_goes_live(lie: str) -> None:
    assert_refused(CONTRADICTIONS[lie], "ResultContradictory")


@dataclass(frozen=True, slots=True)
class Copyist(Trainer):
    """A trainer whose training gives out the base's bytes as its own."""

    def _train(self, document: Object, inputs: Object) -> Object:
        result = Trainer._train(self, document, inputs)
        result["artifact"]["sha256"] = document["base"]["artifact"]["sha256"]
        return result


@pytest.mark.row("R99")
def test_a_training_that_gives_out_what_is_live_as_its_own_is_not_taken() -> None:
    world = World(replace(PASS, trainer=Copyist()))
    world.play()
    status = world.get(Kind.RUN, "first")["status"]
    messages = {a["message"] for a in status["attempts"] if a["step"] == "train"}
    assert (status["phase"], len(messages)) == ("Failed", 1)
    assert "its artifact is base_v1, byte by byte" in messages.pop()
    assert violations(world) == []


@pytest.mark.row("D18")
@pytest.mark.row("D44")
def test_the_live_bytes_under_a_name_that_fails_to_roll_out_neither_leave_nothing_live_nor_are_quarantined() -> None:
    story = next(story for story in STORIES if story.name == "reject")
    world = World(replace(story, broken=frozenset(("base_v2",))))
    base = next(m for kind, m in stage() if kind is Kind.MODEL_VERSION)
    spec = base["spec"] | {"version": "base_v2"}
    spec["artifact"] = spec["artifact"] | {"uri": "file:///artifacts/moved/model.onnx"}
    world.server.create(USER, Kind.MODEL_VERSION, NAMESPACE, base | {"metadata": {"name": "moved"}, "spec": spec})
    world.play()
    live = world.get(Kind.POLICY, "invoice-fields")["status"]["live"]["version"]
    world.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion("move", "base_v2", **{"from": live}))
    world.play()
    policy = world.get(Kind.POLICY, "invoice-fields")["status"]
    assert world.get(Kind.PROMOTION, "move")["status"]["phase"] == "RolledBack"
    assert policy["live"]["version"] == live == "base_v1"
    assert not policy.get("quarantined")
