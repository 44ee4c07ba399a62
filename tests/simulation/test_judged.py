"""What is new: what no run of the policy was judged with, whatever became of the runs, and of the policy's status."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .controllers import NAMESPACE
from .invariants import violations
from .stories import STORIES, USER, Story, World, run
from .test_records import Watched
from .test_records import rejected as rejected_by_a_person
from .test_restored import Restored, backed_up
from .test_two_policies import Beside
from .trainer_script import Trainer, digest

PASS, REJECT, REVIEW, FAILED = STORIES
ALL, NONE = 60, 0


def another(name: str = "second", policy: str = "invoice-fields") -> Object:
    """A run that asks for something else, so that it takes nothing over."""
    manifest = run(name)
    manifest["spec"] |= {"policy": policy, "mixing": {"ratio": "5"}}
    return manifest


def remembered(world: World, policy: str = "invoice-fields") -> list[str]:
    """The runs that the policy remembers as judged."""
    return [entry["run"] for entry in world.get(Kind.POLICY, policy)["status"].get("judged", [])]


def ask(world: Watched, name: str = "second", policy: str = "invoice-fields") -> Object:
    """Apply one more run, and return what it drew."""
    world.server.create(USER, Kind.RUN, NAMESPACE, another(name, policy))
    world.wait()
    return dict(world.get(Kind.RUN, name)["status"]["inputs"])


def played(story: Story) -> Watched:
    world = Watched(story)
    world.play()
    return world


def phase(world: World) -> str:
    return str(world.get(Kind.RUN, "first")["status"]["phase"])


def edited(world: World, **spec: Any) -> None:
    world.server.update_spec(USER, Kind.POLICY, NAMESPACE, "invoice-fields", lambda item: item["spec"].update(spec))


def expired() -> Watched:
    world = Watched(replace(REVIEW, approves=False))
    edited(world, review={"timeoutSeconds": 60})
    world.play()
    return world


def superseded() -> Watched:
    """What went live while the run was in review was trained on more of the pool."""
    world = Watched(replace(REVIEW, approves=False))

    def overtake(world: Watched) -> None:
        item = world.server.get(Kind.RUN, NAMESPACE, "first")
        if item is None or (item.get("status") or {}).get("phase") != "InReview":
            return
        world.act = None
        status = world.get(Kind.POLICY, "invoice-fields")["status"]
        live = status["live"] | {"version": "ft_v1.9", "sha256": digest("larger"), "modelVersion": "larger"}
        world.server.create("admin", Kind.MODEL_VERSION, NAMESPACE, larger(world, item))
        policy = world.get(Kind.POLICY, "invoice-fields")["metadata"]
        body = {"status": {"live": live}}
        world.server.believed = frozenset(("admin",))
        world.server.patch_status(
            "admin", Kind.POLICY, NAMESPACE, "invoice-fields", policy["uid"], policy["resourceVersion"], body
        )

    world.act = overtake
    world.play()
    return world


def larger(world: Watched, item: Object) -> Object:
    """A fine-tune of the same policy, of a larger pool, that no gate could judge."""
    base = world.get(Kind.MODEL_VERSION, "invoice-fields-base-v1")["spec"]
    plan = item["status"]["inputs"]["plan"]
    lineage = {
        "run": "larger", "runUid": "larger", "policy": "invoice-fields", "baseSha256": base["artifact"]["sha256"],
        "inputs": plan, "specHash": "s", "inputsHash": "i", "pool": 99, "seed": 1,
        "createdAt": "2026-11-21T12:00:00Z",
    }  # fmt: skip
    evidence = {"digest": f"sha256:{digest('e')}", "verdict": "Error", "gates": [],
                "figures": [{"name": "boxes", "value": "0"}]}  # fmt: skip
    more = {"version": "ft_v1.9", "type": "FineTuned", "base": "base_v1", "lineage": lineage, "evidence": evidence}
    artifact = base["artifact"] | {"sha256": digest("larger")}
    return {
        "apiVersion": "finetune-operator.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": "larger"},
        "spec": base | more | {"artifact": artifact},
    }


class Failing(Trainer):
    """A trainer whose training of the first run fails for good."""

    def __call__(self, step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        code, message = super().__call__(step, document, inputs)
        if step != "train" or document["owner"]["name"] != "first":
            return code, message
        error = {"class": "BadTraining", "reason": "Diverged", "message": "the loss is NaN", "remedy": "lower lr0"}
        return 11, {**message, "outcome": "Failed", "result": {}, "error": error}


class Speechless(Trainer):
    """A trainer whose evaluation of the first run has a figure that no gate can judge."""

    def __call__(self, step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        code, message = super().__call__(step, document, inputs)
        if step == "evaluate" and document["owner"]["name"] == "first":
            message["result"]["models"]["candidate"]["map50"] = "NaN"
        return code, message


FATES: dict[str, tuple[Callable[[], Watched], str, int]] = {
    "promoted": (lambda: played(PASS), "Promoted", NONE),
    "rejected by gates": (lambda: played(REJECT), "Rejected", NONE),
    "rejected by a person": (rejected_by_a_person, "Rejected", NONE),
    "review expired": (expired, "Expired", NONE),
    "superseded": (superseded, "Superseded", NONE),
    "rolled back": (lambda: played(FAILED), "RolledBack", NONE),
    "failed": (lambda: played(replace(PASS, trainer=Failing())), "Failed", ALL),
    "gates could not judge": (lambda: played(replace(PASS, trainer=Speechless())), "Failed", ALL),
}


@pytest.mark.row("D90")
@pytest.mark.row("R150")
@pytest.mark.parametrize("fate", FATES)
def test_what_is_new_for_the_next_run(fate: str) -> None:
    play, ends, new = FATES[fate]
    world = play()
    assert phase(world) == ends
    assert remembered(world) == (["first"] if new == NONE else [])
    drawn = ask(world)
    assert (drawn["new"], drawn["outside"]) == (new, 60)
    assert violations(world) == []


@pytest.mark.row("R150")
@pytest.mark.parametrize("story", [PASS, REJECT, REVIEW], ids=lambda story: story.name)
def test_a_run_that_waited_for_the_judged_one_is_told_of_it_before_the_policy_looked(story: Story) -> None:
    world = Watched(replace(story, approves=False))
    edited(world, review={"timeoutSeconds": 60})
    world.act = queue_up
    world.play()
    world.wait()
    assert world.get(Kind.RUN, "second")["status"]["inputs"]["new"] == NONE


def queue_up(world: Watched) -> None:
    """Apply a second run while the first one trains: it waits for the place."""
    item = world.server.get(Kind.RUN, NAMESPACE, "first") or {}
    if (item.get("status") or {}).get("phase") == "Training":
        world.server.create(USER, Kind.RUN, NAMESPACE, another())
        world.act = None


@pytest.mark.row("D90")
@pytest.mark.parametrize("story", [PASS, REJECT], ids=lambda story: story.name)
def test_it_outlives_run_and_version(story: Story) -> None:
    world = played(story)
    world.user_acts = False
    world.server.delete("admin", Kind.RUN, NAMESPACE, "first")
    world.server.delete("admin", Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-ft-v1.1")
    world.wait(2)
    assert (remembered(world), ask(world)["new"]) == (["first"], NONE)


def lose_status(world: Watched) -> None:
    policy = world.get(Kind.POLICY, "invoice-fields")["metadata"]
    world.server.patch_status(
        "admin", Kind.POLICY, NAMESPACE, "invoice-fields", policy["uid"], policy["resourceVersion"], {"status": None}
    )
    world.wait(2)


@pytest.mark.row("D91")
@pytest.mark.parametrize("lost", [lose_status, Watched.forget], ids=["status lost", "policy made anew"])
@pytest.mark.parametrize("left", ["run", "version"])
def test_a_status_that_is_lost_makes_nothing_new_again(lost: Callable[[Watched], None], left: str) -> None:
    world = played(REJECT)
    world.user_acts = False
    if left == "version":
        world.server.delete("admin", Kind.RUN, NAMESPACE, "first")
    else:
        world.server.delete("admin", Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-ft-v1.1")
    world.wait(2)
    before = world.get(Kind.POLICY, "invoice-fields")["status"]["judged"]
    lost(world)
    assert world.get(Kind.POLICY, "invoice-fields")["status"]["judged"] == before
    assert ask(world)["new"] == NONE
    log = len(world.server.log)
    world.wait(3)
    assert world.server.log[log:] == [], "at rest nothing is written"


@pytest.mark.row("D91")
@pytest.mark.parametrize("story", [PASS, REJECT], ids=lambda story: story.name)
def test_a_restore_without_statuses_makes_nothing_new_again(story: Story) -> None:
    """The restored run prepares anew, and is told the plan that its first life was judged by."""
    world = Restored(story, backup=backed_up(played(story)))
    world.play()
    status = world.get(Kind.RUN, "first")["status"]
    assert status["inputs"]["new"] == NONE
    assert remembered(world)[0] == "first"


@pytest.mark.row("D91")
@pytest.mark.parametrize("made", [False, True], ids=["before its version was made", "after"])
def test_a_run_that_is_deleted_before_the_policy_looks_is_known_by_its_version(made: bool) -> None:
    """Who deletes run and record alike has nothing judged."""
    world = Watched(PASS)

    def delete(world: Watched) -> None:
        item = world.server.get(Kind.RUN, NAMESPACE, "first") or {}
        there = bool(world.server.get(Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-ft-v1.1"))
        if (item.get("status") or {}).get("verdict") and there == made:
            world.user_acts, world.act = False, None
            world.server.delete(USER, Kind.RUN, NAMESPACE, "first")

    world.act = delete
    for _ in range(60):
        world.wait(1)
    assert world.server.get(Kind.RUN, NAMESPACE, "first") is None
    assert remembered(world) == (["first"] if made else [])
    assert ask(world)["new"] == (NONE if made else ALL)


@pytest.mark.row("D92")
def test_each_of_two_policies_of_a_model_remembers_its_own_runs() -> None:
    world = Beside(PASS)
    world.play()
    for _ in range(60):
        world.settle()
        world.server.advance(10)
    assert (remembered(world), remembered(world, "prod")) == (["first"], ["second"])
    first, second = (world.get(Kind.RUN, name)["status"]["inputs"] for name in ("first", "second"))
    assert (first["new"], second["new"]) == (ALL, ALL)
    world.server.create(USER, Kind.RUN, NAMESPACE, another("third", "prod"))
    for _ in range(60):
        world.settle()
        world.server.advance(10)
    assert world.get(Kind.RUN, "third")["status"]["inputs"]["new"] == NONE


@pytest.mark.row("D92")
def test_two_policies_on_one_deployment_remember_their_own_runs() -> None:
    """The younger one only waits for the Deployment, and its memory is its own all the same."""
    world = played(REJECT)
    manifest = world.get(Kind.POLICY, "invoice-fields")
    rival = {key: manifest[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "rival"}}
    world.server.create(USER, Kind.POLICY, NAMESPACE, rival)
    world.wait(3)
    assert (remembered(world), remembered(world, "rival")) == (["first"], [])


@pytest.mark.row("D90")
def test_nine_judged_runs_are_remembered_as_the_newest_eight() -> None:
    world = played(REJECT)
    for n in range(9):
        manifest = run(f"run-{n}")
        manifest["spec"]["mixing"] = {"ratio": str(n + 1)}
        world.server.create(USER, Kind.RUN, NAMESPACE, manifest)
        world.wait()
    assert remembered(world) == [f"run-{n}" for n in range(1, 9)]
    last = world.get(Kind.RUN, "run-8")["status"]["attempts"][0]["judged"]
    plans = [digest(f"plan of {name}") for name in ("first", *(f"run-{n}" for n in range(8)))]
    assert last == plans[-8:]
