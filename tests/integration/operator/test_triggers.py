"""A policy with triggers on a real API server: it scans, fires one run, and none again, whatever is deleted or lost."""

import pytest

from house.api_server import Object

from .node import ScriptedNode
from .prometheus import FewWords
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


@pytest.mark.deep
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


def monitored(space: Space) -> tuple[str, str]:
    conditions = space.policy_status().get("conditions", [])
    return next(((str(c["status"]), str(c["reason"])) for c in conditions if c["type"] == "Monitored"), ("", ""))


@pytest.mark.row("D200")
@pytest.mark.row("D203")
def test_an_alert_that_fires_makes_a_run_once_prometheus_can_be_believed(
    operator: Operator, space: Space, node: ScriptedNode, prometheus: FewWords
) -> None:
    base_live(space)
    prometheus.instead[space.namespace] = "<html>sign in</html>"
    prometheus.firing[space.namespace] = ("FinetuneFieldDetectionRateLow",)
    performance: Object = {"performance": {"newSamples": 60}, "cooldownSeconds": 0}
    space.patch(
        "finetunepolicies", "invoice-fields", {"spec": {"triggers": performance, "scan": {"intervalSeconds": 60}}}
    )
    eventually(lambda: due(space) == "PrometheusAnswerInvalid", seconds=60, what="what answers is no Prometheus")
    assert monitored(space) == ("False", "PrometheusAnswerInvalid")
    assert runs(space) == []
    del prometheus.instead[space.namespace]
    # Another list of alerts is asked for at once, else it were a minute.
    named = {"triggers": {"performance": {"alerts": ["FinetuneFieldDetectionRateLow"]}}}
    space.patch("finetunepolicies", "invoice-fields", {"spec": named})
    eventually(lambda: len(runs(space)) == 1, seconds=60, what="a run is fired")
    trigger = runs(space)[0]["spec"]["trigger"]
    assert trigger["kind"] == "Performance"
    assert trigger["reason"] == (
        "alert fires: FinetuneFieldDetectionRateLow (total); 60 new samples, and 60 are enough"
    )
    assert {"name": "alertSeconds", "value": "1800"} in trigger["figures"]
    over(space, runs(space)[0]["metadata"]["name"])
    eventually(lambda: due(space) == "LabelsNeeded", seconds=120, what="what is there was trained")
    assert monitored(space) == ("True", "PrometheusAnswers")
    assert len(runs(space)) == 1


def over(space: Space, name: str) -> None:
    eventually(
        lambda: "finishedAt" in (space.there("finetuneruns", name).get("status") or {}), seconds=120, what="it is over"
    )


@pytest.mark.deep
@pytest.mark.row("D152")
@pytest.mark.row("D172")
def test_a_memory_that_is_lost_and_a_copy_of_the_run_fire_nothing_again(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    """A restore without what was fired, counted and judged; the run is gone, and applied under another name."""
    base_live(space)
    space.patch("finetunepolicies", "invoice-fields", {"spec": {"triggers": TRIGGERS, "scan": {"intervalSeconds": 60}}})
    eventually(lambda: len(runs(space)) == 1, seconds=60, what="a run is fired")
    (run,) = runs(space)
    name = run["metadata"]["name"]
    over(space, name)
    eventually(lambda: due(space) == "NotEnoughNewSamples", seconds=60, what="nothing is new any more")
    operator.kill()
    space.delete("finetuneruns", name)
    lost = dict.fromkeys(("fired", "scan", "judged", "schedule", "conditions"))
    assert space.patch("finetunepolicies", "invoice-fields/status", {"status": lost}).accepted
    copy = {"apiVersion": run["apiVersion"], "kind": run["kind"], "metadata": {"name": "copy"}, "spec": run["spec"]}
    space.apply(copy)
    operator.start()
    over(space, "copy")
    eventually(lambda: due(space) == "NotEnoughNewSamples", seconds=120, what="the pool is counted anew")
    assert [item["metadata"]["name"] for item in runs(space)] == ["copy"]
    assert "copy" not in [entry["run"] for entry in space.policy_status().get("fired", [])]


@pytest.mark.deep
@pytest.mark.row("D170")
def test_a_run_that_is_deleted_as_soon_as_it_is_there_stays_deleted(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    space.patch("finetunepolicies", "invoice-fields", {"spec": {"triggers": TRIGGERS, "scan": {"intervalSeconds": 60}}})
    (name,) = eventually(lambda: [item["metadata"]["name"] for item in runs(space)], seconds=60, what="a run is fired")
    space.delete("finetuneruns", name)
    eventually(lambda: due(space) == "FiredBefore", seconds=60, what="the policy saw it")
    assert runs(space) == []
    assert [entry["outcome"] for entry in space.policy_status()["fired"]] == ["Deleted"]
