"""What a real API server would refuse is not tried for ever: results that fit the contract and not the CRDs, poison."""

from typing import Any

import pytest

from finetune_operator.api import names
from house.api_server import Object
from simulation.stories import promotion, run
from simulation.trainer_script import Trainer

from .node import ScriptedNode
from .test_stories import base_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane


def wrong(what: str) -> Any:
    honest = Trainer()

    def answer(step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        code, message = honest(step, document, inputs)
        result, root = message["result"], document["artifacts"]["uri"]
        changes: dict[str, tuple[str, Object]] = {
            "bytes": ("train", {"artifact": {"bytes": 10**17}}),
            "space": ("train", {"artifact": {"uri": f"{root}/attempt-1/train/my model.onnx"}}),
            "long": ("train", {"artifact": {"uri": f"{root}/{'x' * 2100}/model.onnx"}}),
            "dot": ("train", {"checkpoint": {"uri": f"{root}/./checkpoint.pt"}}),
            "at": ("prepare", {"plan": {"uri": f"{root}/a@b/plan.json"}}),
            "surrogate": ("train", {"device": "\ud800"}),
        }
        at, change = changes[what]
        for name, value in change.items() if step == at else ():
            result[name] = {**result[name], **value} if isinstance(value, dict) else value
        return code, message

    return answer


@pytest.mark.parametrize(
    "what",
    ["bytes", *(pytest.param(what, marks=pytest.mark.deep) for what in ("space", "long", "dot", "at")), "surrogate"],
)
def test_a_result_that_cannot_be_recorded_fails_its_attempt(
    what: str, space: Space, node: ScriptedNode, operator: Operator
) -> None:
    base_live(space)
    node.answer = wrong(what)
    manifest = run()
    manifest["spec"]["backoffLimit"] = 0
    space.apply(manifest)
    eventually(lambda: space.there("finetuneruns", "first")["status"].get("finishedAt"), seconds=60)
    status = space.there("finetuneruns", "first")["status"]
    assert status["phase"] == "Failed"
    assert status["attempts"][-1]["reason"] == "ResultInvalid"


@pytest.mark.deep
@pytest.mark.long
@pytest.mark.parametrize("boxes", [2**31, 10**17])
def test_counts_that_no_status_holds_are_no_evidence(
    boxes: int, space: Space, node: ScriptedNode, operator: Operator
) -> None:
    """Whatever the gates make of them: the run ends, with words."""
    base_live(space)
    honest = Trainer()

    def answer(step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        code, message = honest(step, document, inputs)
        if step == "evaluate":
            for kind in ("pool", "fresh"):
                scores = {"boxes": boxes, "matched": boxes * 95 // 100, "rate": "0.950000"}
                message["result"]["models"]["candidate"][kind] |= scores
        return code, message

    node.answer = answer
    space.apply(run())
    eventually(lambda: space.there("finetuneruns", "first")["status"].get("finishedAt"), seconds=90)


@pytest.mark.parametrize(
    ("key", "text"),
    [(names.EPOCH_KEY, "9" * 5000), ("kubectl.kubernetes.io/last-applied-configuration", "[" * 100_000)],
    ids=["epoch", "last-applied"],
)
def test_poison_on_a_deployment_stops_nothing(
    key: str, text: str, space: Space, node: ScriptedNode, operator: Operator
) -> None:
    base_live(space)
    space.patch("deployments", "invoice-detector", {"metadata": {"annotations": {key: text}}})
    space.apply(promotion("again", "base_v1", **{"from": "base_v1", "releaseHold": True}))
    eventually(lambda: space.phase("again", "modelpromotions") == "Succeeded", seconds=30)
    conditions = {c["type"]: c["status"] for c in space.policy_status()["conditions"]}
    assert "Reconciled" not in conditions
    assert operator.probe("livez") == 200


@pytest.mark.deep
@pytest.mark.row("R281")
def test_a_run_that_leaves_its_status_no_room_in_etcd_says_so_by_an_event(space: Space, operator: Operator) -> None:
    """Labels have no bound but etcd's; without a word it was taken for an API server that does not answer."""

    def labelled(count: int) -> Object:
        metadata = {"name": "large", "namespace": space.namespace}
        return {**run(), "metadata": {**metadata, "labels": {f"{'k' * 50}-{i:06d}": "v" * 60 for i in range(count)}}}

    assert any(space.server.create(labelled(count)).accepted for count in range(12_900, 12_000, -8))
    path = f"/apis/events.k8s.io/v1/namespaces/{space.namespace}/events"

    def messages() -> list[str]:
        events = space.server.request("GET", path).body["items"]
        return [event["note"] for event in events if event["regarding"]["name"] == "large"]

    eventually(
        lambda: any("request is too large (the object is" in each for each in messages()), what="an Event says so"
    )
    assert "status" not in (space.get("finetuneruns", "large") or {})
