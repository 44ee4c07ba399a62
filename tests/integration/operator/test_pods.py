"""Pods as clusters have them: sidecars, helpers, volumes that do not come, nodes that reject or are lost."""

from collections.abc import Callable

import pytest

from house.api_server import Object
from simulation.stories import promotion, run, stage

from .node import ScriptedNode, _container, now
from .world import Operator, Space, eventually

BASE = "invoice-fields-base-v1"
CREATING = {"waiting": {"reason": "ContainerCreating"}}


def of(step: str, kubelet: Callable[[Object, str], bool | None]) -> Callable[[Object], bool]:
    """Return a node's hook for the pods of one step; unless it returns False, the pod is its."""

    def takes(pod: Object) -> bool:
        labels, phase = pod["metadata"]["labels"], pod.get("status", {}).get("phase", "")
        if labels["finetune-operator.io/step"] != step or labels.get("finetune-operator.io/collect") == "true":
            return False
        return kubelet(pod, phase) is not False

    return takes


def beside(node: ScriptedNode, helper: Object, phase: str) -> Callable[[Object, str], None]:
    """Return a kubelet whose trainer ends well beside a helper in that state, in a pod of that phase."""

    def kubelet(pod: Object, now_in: str) -> None:
        document = node._document(pod)
        if now_in == "Pending" and document is not None and ("train", "first") not in node.started:
            node.started.append(("train", "first"))
            _, ended = node.end(pod, "train", document)
            statuses = [_container("trainer", ended, ready=False), _container("helper", helper, ready=False)]
            node._status(pod, {"phase": phase, "startTime": now(), "containerStatuses": statuses})

    return kubelet


def message(space: Space) -> str:
    return str(space.there("finetuneruns", "first")["status"].get("message", ""))


def running_pods(space: Space) -> list[str]:
    return [pod["metadata"]["name"] for pod in space.all("pods")
            if "first-train" in pod["metadata"]["name"] and pod["status"]["phase"] == "Running"]  # fmt: skip


def ended_jobs(space: Space) -> list[str]:
    return [job["metadata"]["name"] for job in space.all("jobs")
            if "first-train" in job["metadata"]["name"] and job["status"].get("succeeded")]  # fmt: skip


def training(space: Space) -> list[tuple[str, str]]:
    attempts = space.there("finetuneruns", "first")["status"]["attempts"]
    return [(a["outcome"], a.get("reason", "")) for a in attempts if a["step"] == "train"]


@pytest.fixture
def live(operator: Operator, space: Space, node: ScriptedNode) -> Space:
    """A space whose base is live and whose PodTemplate has a helper beside the trainer."""
    eventually(lambda: space.phase(BASE, "modelversions") == "Verified", seconds=60, what="the base is measured")
    space.apply(promotion("first-base", "base_v1"))
    eventually(lambda: space.phase("first-base", "modelpromotions") == "Succeeded", seconds=60, what="the base is live")
    template = space.there("podtemplates", "gpu-trainer")["template"]
    template["spec"]["containers"].append({"name": "helper", "image": "helper:1"})
    assert space.patch("podtemplates", "gpu-trainer", {"template": template}).accepted
    return space


def mend(space: Space) -> None:
    mended = {"template": {"metadata": {"annotations": {"mended": "yes"}}}}
    assert space.patch("podtemplates", "gpu-trainer", mended).accepted


FAILED = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": now(), "finishedAt": now()}}


@pytest.mark.row("R40")
@pytest.mark.row("R41")
@pytest.mark.parametrize(
    ("helper", "phase"),
    [({"running": {"startedAt": now()}}, "Running"), pytest.param(FAILED, "Failed", marks=pytest.mark.deep)],
    ids=["stays", "fails"],
)
def test_a_result_counts_whatever_a_helper_does(live: Space, node: ScriptedNode, helper: Object, phase: str) -> None:
    node.takes = of("train", beside(node, helper, phase))
    live.apply(run())
    eventually(lambda: live.phase("first") == "Promoted", seconds=90, what="the run goes live")
    assert training(live) == [("Succeeded", "")]
    eventually(lambda: not running_pods(live), seconds=60, what="a Job that would not end is deleted")


@pytest.mark.deep
@pytest.mark.long
@pytest.mark.row("R39")
@pytest.mark.row("R43")
def test_a_volume_that_does_not_come_is_said_within_a_minute_and_a_mended_template_heals_it(
    live: Space, node: ScriptedNode
) -> None:
    def kubelet(pod: Object, phase: str) -> bool | None:
        if "mended" in (pod["metadata"].get("annotations") or {}):
            return False
        if not pod["status"].get("containerStatuses"):
            at = {"lastTransitionTime": now()}
            conditions = [{"type": "PodScheduled", "status": "True", **at},
                          {"type": "PodReadyToStartContainers", "status": "False", **at}]  # fmt: skip
            statuses = [_container("trainer", CREATING, ready=False), _container("helper", CREATING, ready=False)]
            node._status(pod, {"phase": "Pending", "conditions": conditions, "containerStatuses": statuses})
        return True

    node.takes = of("train", kubelet)
    live.apply(run())
    eventually(lambda: "is prepared by" in message(live), seconds=30, what="it says what the pod does")
    eventually(lambda: "PodNotStarting" in message(live), seconds=60, what="it says that the pod gets no further")
    assert "kubectl describe pod first-train-1-" in message(live)
    mend(live)
    eventually(lambda: live.phase("first") == "Promoted", seconds=90, what="the mended template heals it")
    assert training(live) == [("Suspended", "PodTemplateChanged"), ("Succeeded", "")]


@pytest.mark.deep
@pytest.mark.row("R44")
def test_a_node_that_rejects_a_pod_costs_no_retry(live: Space, node: ScriptedNode) -> None:
    rejected: list[str] = []

    def kubelet(pod: Object, phase: str) -> bool | None:
        if phase != "Pending" or len(rejected) == 1:
            return False
        rejected.append(pod["metadata"]["name"])
        words = "Pod was rejected: Allocate failed due to no healthy devices present"
        node._status(pod, {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": words})
        return True

    node.takes = of("train", kubelet)
    manifest = run()
    live.apply({**manifest, "spec": {**manifest["spec"], "backoffLimit": 0}})
    eventually(lambda: live.phase("first") == "Promoted", seconds=120, what="the next node takes it")
    assert training(live) == [("Failed", "RejectedByNode"), ("Succeeded", "")]


@pytest.mark.row("R45")
def test_a_result_that_came_while_nobody_looked_is_collected_though_its_job_is_gone(
    operator: Operator, live: Space, node: ScriptedNode
) -> None:
    node.holds.add("train")
    live.apply(run())
    eventually(lambda: ("train", "first") in node.started, seconds=60, what="training runs")
    eventually(lambda: training(live) == [("Running", "")], what="its Job is on record")
    operator.kill()
    node.holds.clear()
    (job,) = eventually(lambda: ended_jobs(live), what="training ends")
    live.delete("jobs", job)
    eventually(lambda: live.get("jobs", job) is None, what="its Job is gone")
    operator.start()
    eventually(lambda: live.phase("first") == "Promoted", seconds=90, what="the run goes on with it")
    assert training(live) == [("Succeeded", "")]
    assert node.started.count(("train", "first")) == 1, "nothing was trained twice"


@pytest.mark.deep
@pytest.mark.row("V8")
def test_a_base_is_verified_after_a_hiccup(operator: Operator, space: Space, node: ScriptedNode) -> None:
    failures: list[str] = []

    def kubelet(pod: Object, phase: str) -> bool | None:
        if phase != "Pending" or len(failures) == 2:
            return False
        failures.append(pod["metadata"]["name"])
        node._status(pod, {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no healthy devices"})
        return True

    node.takes = of("verify", kubelet)
    space.delete("modelversions", BASE)
    space.apply(next(m for _, m in stage() if m["kind"] == "ModelVersion"))
    eventually(lambda: len(failures) == 2, seconds=60, what="two nodes reject it")
    eventually(lambda: space.phase(BASE, "modelversions") == "Verified", seconds=90, what="it is measured all the same")


@pytest.mark.row("R4")
@pytest.mark.row("R5")
def test_somebodys_finalizer_on_a_job_keeps_no_pod_of_a_suspended_run_and_no_other_attempt(
    live: Space, node: ScriptedNode
) -> None:
    node.holds.add("train")
    live.apply(run())
    eventually(lambda: running_pods(live), seconds=60, what="it trains")
    (job,) = [job["metadata"]["name"] for job in live.all("jobs") if "first-train" in job["metadata"]["name"]]
    assert live.patch("jobs", job, {"metadata": {"finalizers": ["example.com/keep"]}}).accepted
    assert live.patch("finetuneruns", "first", {"spec": {"suspend": True}}).accepted
    eventually(lambda: not running_pods(live), seconds=30, what="no pod of a suspended run trains on")
    node.holds.clear()
    assert live.patch("finetuneruns", "first", {"spec": {"suspend": False}}).accepted
    eventually(lambda: live.phase("first") == "Promoted", seconds=90, what="another attempt trains")
    assert live.get("jobs", job) is not None
    assert live.patch("jobs", job, {"metadata": {"finalizers": None}}).accepted
