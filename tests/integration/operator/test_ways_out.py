"""Every way out leads somewhere: runs side by side, results that were left behind, and messages that are followed."""

import time
from typing import Any

import pytest

from house.api_server import Object
from house.following import manifest
from simulation.stories import run, stage
from simulation.trainer_script import Trainer, digest

from .node import ScriptedNode
from .test_stories import base_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane
ENDED = {"Promoted", "Passed", "Adopted", "Rejected", "Expired", "Superseded", "RolledBack", "Failed"}


def differing(name: str, epochs: int) -> Object:
    """A run that asks for something of its own."""
    manifest_ = run(name)
    manifest_["spec"]["training"] = {"epochs": epochs}
    return manifest_


def live(space: Space) -> str | None:
    version: str | None = (space.policy_status().get("live") or {}).get("version")
    return version


def status(space: Space, name: str, resource: str = "finetuneruns") -> Any:
    return space.there(resource, name)["status"]


def ends(space: Space, name: str, *, seconds: float = 120) -> str:
    eventually(lambda: space.phase(name) in ENDED, seconds=seconds, what=f"{name} ends")
    return space.phase(name)


def followed(space: Space, message: str, kind: str, resource: str) -> str:
    """Create what the message has a command for; return its name."""
    answer = space.server.request("POST", space.path(resource), manifest(message, kind))
    assert answer.accepted, answer.message
    return str(answer.body["metadata"]["name"])


def trained(node: ScriptedNode) -> list[str]:
    return [owner for step, owner in node.started if step == "train"]


def left_over(space: Space) -> Object:
    """The record of a run that is gone, under the number that the next run gets."""
    base = space.there("modelversions", "invoice-fields-base-v1")["spec"]
    plan = {"uri": "file:///artifacts/plan.json", "sha256": digest("plan")}
    lineage = {
        "run": "gone", "runUid": "gone", "policy": "invoice-fields", "baseSha256": base["artifact"]["sha256"],
        "inputs": plan, "specHash": digest("spec"), "inputsHash": digest("inputs"), "pool": 60, "seed": 1,
        "createdAt": "2026-11-21T12:00:00Z",
    }  # fmt: skip
    evidence = {"digest": f"sha256:{digest('e')}", "verdict": "Pass", "gates": [], "uri": plan["uri"],
                "figures": [{"name": "candidateMap50", "value": "0.970000"}]}  # fmt: skip
    more = {"version": "ft_v1.1", "type": "FineTuned", "base": "base_v1", "lineage": lineage, "evidence": evidence}
    artifact = {**base["artifact"], "sha256": digest("left over")}
    return {
        "apiVersion": "finetune-operator.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": "invoice-fields-ft-v1.1"},
        "spec": {**base, **more, "artifact": artifact},
    }


@pytest.mark.deep
def test_runs_of_one_policy_train_one_after_the_other_and_none_is_thrown_away(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    node.holds.add("train")
    for number in range(4):
        space.apply(differing(f"run-{number}", 5 + number))
    eventually(lambda: ("train", "run-0") in node.started, what="the first one trains")
    eventually(lambda: "number 3 in line" in status(space, "run-3").get("message", ""), what="the last one says so")
    time.sleep(1)
    assert {owner for _, owner in node.started if owner.startswith("run-")} == {"run-0"}
    assert "now run-0; before this one run-1, run-2" in status(space, "run-3")["message"]
    assert space.phase("run-3") == "Pending"
    node.holds.clear()
    assert [ends(space, f"run-{number}") for number in range(4)] == ["Promoted"] * 4
    assert trained(node) == [f"run-{number}" for number in range(4)]
    assert live(space) in {status(space, f"run-{number}")["version"] for number in range(4)}


@pytest.mark.deep
@pytest.mark.long
def test_runs_that_pass_at_once_all_go_live_and_each_trains_once(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    """More of them than there are rounds: a round is not spent on what is about to be replaced."""
    base_live(space)
    rules = {"spec": {"concurrency": 5, "watch": {"seconds": 6}}}
    assert space.patch("finetunepolicies", "invoice-fields", rules).accepted
    names = [f"run-{number}" for number in range(5)]
    for number, name in enumerate(names):
        space.apply(differing(name, 5 + number))
    assert [ends(space, name, seconds=240) for name in names] == ["Promoted"] * 5
    assert sorted(trained(node)) == names
    last = next(number for number, name in enumerate(names) if status(space, name)["version"] == live(space))
    space.apply(differing("again", 5 + last))
    assert ends(space, "again") == "Adopted"
    assert (status(space, "again")["verdict"], status(space, "again")["version"]) == ("Pass", live(space))


@pytest.mark.deep
def test_of_two_that_ask_for_the_same_one_trains_while_the_other_waits_for_its_review(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    node.answer = Trainer(candidate="0.951000")
    space.apply(run("first"))
    eventually(lambda: space.phase("first") == "InReview", seconds=60, what="it is in review")
    space.apply(run("second"))
    eventually(lambda: "run first asks for the same" in status(space, "second").get("message", ""), seconds=60)
    space.apply(differing("third", 7))
    eventually(lambda: space.phase("third") == "InReview", seconds=60, what="another one passes by")
    evidence = status(space, "first")["evidence"]["digest"]
    review = {"decision": "Approve", "evidence": evidence, "by": "ann@example.com"}
    assert space.patch("finetuneruns", "first", {"spec": {"review": review}}).accepted
    assert (ends(space, "first"), ends(space, "second")) == ("Promoted", "Adopted")
    assert trained(node) == ["first", "third"]


@pytest.mark.deep
@pytest.mark.long
def test_after_a_review_that_nobody_made_a_new_run_asks_again_without_training(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    node.answer = Trainer(candidate="0.951000")
    assert space.patch("finetunepolicies", "invoice-fields", {"spec": {"review": {"timeoutSeconds": 60}}}).accepted
    space.apply(run("r"))
    assert ends(space, "r") == "Expired"
    again = followed(space, status(space, "r")["message"], "FineTuneRun", "finetuneruns")
    eventually(lambda: space.phase(again) == "InReview", seconds=60, what="it asks for a review again")
    evidence = status(space, again)["evidence"]["digest"]
    review = {"decision": "Reject", "evidence": evidence, "by": "ann@example.com", "reason": "blurred"}
    assert space.patch("finetuneruns", again, {"spec": {"review": review}}).accepted
    assert ends(space, again) == "Rejected"
    space.apply(run("third"))
    assert ends(space, "third") == "Rejected"
    assert "rejected by ann@example.com: blurred" in status(space, "third")["message"]
    (no,) = space.there("finetunepolicies", "invoice-fields")["status"]["rejected"]
    assert (no["by"], no["run"], no["version"]) == ("ann@example.com", again, status(space, "third")["version"])
    assert trained(node) == ["r"]
    anew = followed(space, status(space, "third")["message"], "FineTuneRun", "finetuneruns")
    eventually(lambda: space.phase(anew) == "InReview", seconds=60, what="another seed trains anew")
    assert trained(node) == ["r", anew]


def test_a_flip_that_found_no_room_is_promoted_again_as_its_run_says(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    space.patch("deployments", "invoice-detector", {"spec": {"progressDeadlineSeconds": 5}})
    node.crowded.add("ft_v1.1")
    space.apply(run("first"))
    assert ends(space, "first") == "RolledBack"
    node.crowded.clear()
    again = followed(space, status(space, "first")["message"], "ModelPromotion", "modelpromotions")
    eventually(lambda: space.phase(again, "modelpromotions") == "Succeeded", seconds=60, what="it is promoted again")
    assert live(space) == "ft_v1.1"


@pytest.mark.deep
def test_a_history_of_runs_from_git_in_an_empty_cluster_comes_out_one_by_one(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    """Runs first, then all that they wait for: nothing orders them but their age."""
    for kind in ("finetunepolicies", "modelversions"):
        for item in space.all(kind):
            space.delete(kind, item["metadata"]["name"])
    for number in range(5):
        space.apply(differing(f"run-{number}", 5 + number))
    eventually(lambda: all(space.phase(f"run-{n}") == "Pending" for n in range(5)), what="they wait for their policy")
    node.holds.add("train")
    for _, item in stage():
        if item["kind"] in ("ModelVersion", "FineTunePolicy"):
            space.apply(item)
    assert space.patch("finetunepolicies", "invoice-fields", {"spec": {"watch": {"seconds": 2}}}).accepted
    eventually(lambda: trained(node), seconds=60, what="one trains")
    time.sleep(3)
    assert trained(node) == ["run-0"]
    base_live(space)
    node.holds.clear()
    assert [ends(space, f"run-{number}", seconds=200) for number in range(5)] == ["Promoted"] * 5
    assert trained(node) == [f"run-{number}" for number in range(5)]


@pytest.mark.deep
def test_a_number_left_over_from_before_a_restore_is_passed_over(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    node.holds.add("evaluate")
    space.apply(run("first"))
    eventually(lambda: ("evaluate", "first") in node.started, what="it evaluates")
    space.apply(left_over(space))
    node.holds.clear()
    assert ends(space, "first") == "Promoted"
    assert live(space) == "ft_v1.2"


@pytest.mark.deep
def test_a_promotion_overtaken_while_it_waits_is_measured_again(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    assert space.patch("deployments", "invoice-detector", {"spec": {"progressDeadlineSeconds": 600}}).accepted
    node.broken.add("ft_v1.1")
    space.apply(differing("one", 5))
    eventually(lambda: space.policy_status().get("inFlight"), seconds=60, what="one flies")
    space.apply(differing("two", 6))
    eventually(lambda: space.phase("two") == "Promoting", seconds=60, what="two waits behind one")
    node.broken.clear()
    assert (ends(space, "one"), ends(space, "two")) == ("Promoted", "Promoted")
    rounds = [a.get("round", 0) for a in status(space, "two")["attempts"] if a["step"] == "evaluate"]
    assert (rounds, sorted(trained(node))) == ([1, 2], ["one", "two"])


@pytest.mark.deep
def test_people_who_promote_by_hand_find_the_command(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    assert space.patch("finetunepolicies", "invoice-fields", {"spec": {"promotion": "Manual"}}).accepted
    space.apply(differing("one", 5))
    space.apply(differing("two", 6))
    assert (ends(space, "one"), ends(space, "two")) == ("Passed", "Passed")
    first = followed(space, status(space, "one")["message"], "ModelPromotion", "modelpromotions")
    eventually(lambda: space.phase(first, "modelpromotions") == "Succeeded", seconds=60, what="one is live")
    # What was measured against the base says nothing against one: the run that is told to measures anew.
    late = followed(space, status(space, "two")["message"], "ModelPromotion", "modelpromotions")
    eventually(lambda: space.phase(late, "modelpromotions") in {"Superseded", "Failed"}, what="it is refused")
    space.apply(differing("two-again", 6))
    assert ends(space, "two-again") == "Passed"
    second = followed(space, status(space, "two-again")["message"], "ModelPromotion", "modelpromotions")
    eventually(lambda: space.phase(second, "modelpromotions") == "Succeeded", seconds=60, what="two is live")
    assert sorted(trained(node)) == ["one", "two"]
