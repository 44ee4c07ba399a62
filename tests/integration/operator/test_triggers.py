"""A policy with triggers on a real API server: it scans, fires one run, and none again, whatever is deleted or lost."""

import pytest

from house.api_server import Object

from .node import ScriptedNode
from .test_stories import base_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane

TRIGGERS: Object = {"volume": {"newSamples": 50}, "cooldownSeconds": 0}


def runs(space: Space) -> list[Object]:
    answer = space.server.request(
        "GET", f"/apis/finetune-operator.io/v1alpha1/namespaces/{space.namespace}/finetuneruns"
    )
    return list(answer.body["items"])


def due(space: Space) -> str:
    conditions = space.policy_status().get("conditions", [])
    return next((str(c["reason"]) for c in conditions if c["type"] == "Due"), "")


@pytest.mark.row("D141")
@pytest.mark.row("D152")
def test_a_pool_is_trained_once_and_not_again_when_the_run_is_deleted(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    assert runs(space) == []
    space.patch("finetunepolicies", "invoice-fields", {"spec": {"triggers": TRIGGERS, "scan": {"intervalSeconds": 60}}})
    eventually(lambda: len(runs(space)) == 1, seconds=60, what="a run is fired")
    (run,) = runs(space)
    assert run["spec"]["trigger"]["kind"] == "Volume"
    assert {"name": "new", "value": "60"} in run["spec"]["trigger"]["figures"]
    name = run["metadata"]["name"]
    eventually(
        lambda: "finishedAt" in (space.there("finetuneruns", name).get("status") or {}), seconds=120, what="it is over"
    )
    eventually(lambda: due(space) == "NotEnoughNewSamples", seconds=60, what="nothing is new any more")
    space.delete("finetuneruns", name)
    eventually(lambda: runs(space) == [], what="it is gone")
    space.patch(
        "finetunepolicies", "invoice-fields", {"spec": {"triggers": {**TRIGGERS, "volume": {"newSamples": 49}}}}
    )
    eventually(lambda: due(space) == "NotEnoughNewSamples", seconds=60, what="it was looked at")
    assert runs(space) == []
    assert [entry["outcome"] for entry in space.policy_status()["fired"]] == ["Judged"]
