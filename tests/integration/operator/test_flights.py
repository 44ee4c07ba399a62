"""Flips on a cluster as it is: quotas, evictions, neighbours, people in a hurry; and whose fault it is."""

import json
import re
import time

import pytest

from finetune_operator.decide.views import OBSERVED_STEP
from house.api_server import Object
from simulation.stories import promotion, run

from .node import ScriptedNode, now
from .test_stories import base_live, tuned_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane
VERSION = "finetune-operator.io/model-version"
STARTING: Object = {
    "phase": "Pending",
    "containerStatuses": [
        {
            "name": "server",
            "image": "none",
            "imageID": "none",
            "restartCount": 0,
            "ready": False,
            "state": {"waiting": {"reason": "ContainerCreating"}},
        }
    ],
}
ENDED = frozenset(("Succeeded", "RolledBack", "Failed"))


def policy(space: Space, **spec: object) -> None:
    assert space.patch("finetunepolicies", "invoice-fields", {"spec": spec}).accepted


def deployment(space: Space, **spec: object) -> None:
    assert space.patch("deployments", "invoice-detector", {"spec": spec}).accepted


def passed(space: Space) -> None:
    """Bring the base live, and a fine-tune as far as a person has to promote it."""
    policy(space, promotion="Manual")
    base_live(space)
    space.apply(run())
    eventually(lambda: space.phase("first") == "Passed", seconds=60, what="the run passed")


def phase_of_flight(space: Space) -> str:
    return str((space.policy_status().get("inFlight") or {}).get("phase", ""))


def ends(space: Space, name: str, *, seconds: float = 120) -> str:
    eventually(lambda: space.phase(name, "modelpromotions") in ENDED, seconds=seconds, what=f"{name} ends")
    return space.phase(name, "modelpromotions")


def proposed(text: str, version: str) -> Object:
    """The promotion of that version that a message proposes, as `kubectl create` would send it."""
    manifests = [json.loads(one) for one in re.findall(r"echo '(\{[^']*\})' \| kubectl create -f -", text)]
    manifest: Object = next(one for one in manifests if one["spec"]["version"] == version)
    name = manifest["metadata"].pop("generateName")
    manifest["metadata"]["name"] = f"{name}{version.replace('_', '-').replace('.', '-')}"
    return manifest


def pods_of(space: Space, version: str) -> list[Object]:
    return [p for p in space.all("pods") if (p["metadata"].get("annotations") or {}).get(VERSION) == version]


def watched(space: Space, *, seconds: int) -> None:
    """Let promotion `go` bring the fine-tune into its watch, which lasts so long."""
    passed(space)
    policy(space, watch={"seconds": seconds})
    space.apply(promotion("go", "ft_v1.1", **{"from": "base_v1"}))
    eventually(lambda: phase_of_flight(space) == "Watching", seconds=60, what="the watch")


@pytest.mark.row("D28")
def test_a_surge_that_a_quota_refuses_is_taken_back_without_blame_and_promoted_again_as_the_message_says(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    deployment(space, progressDeadlineSeconds=8)
    passed(space)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}}
    quotas = f"/api/v1/namespaces/{space.namespace}/resourcequotas"
    assert space.server.request("POST", quotas, quota).accepted
    eventually(
        lambda: (space.server.request("GET", f"{quotas}/q").body.get("status") or {}).get("used"), what="it counts"
    )
    space.apply(promotion("go", "ft_v1.1", **{"from": "base_v1"}))
    said = "QuotaExceeded: pods are refused"
    eventually(lambda: said in str(space.policy_status()["conditions"]), what="the policy says so in flight")
    eventually(lambda: said in str(space.there("modelpromotions", "go")["status"]), what="so does the promotion")
    assert ends(space, "go") == "RolledBack"
    status = space.policy_status()
    assert "quarantined" not in status
    assert space.server.request("DELETE", f"{quotas}/q").accepted
    again = proposed(status["hold"]["message"], "ft_v1.1")
    space.apply(again)
    assert ends(space, again["metadata"]["name"]) == "Succeeded"
    assert space.policy_status()["serving"] == "ft_v1.1"


@pytest.mark.deep
@pytest.mark.row("D28")
def test_a_volume_that_hangs_is_nobodys_fault(operator: Operator, space: Space, node: ScriptedNode) -> None:
    deployment(space, progressDeadlineSeconds=5)
    passed(space)
    node.serves = lambda pod: None if _version(pod) != "ft_v1.1" else {} if _started(pod) else STARTING
    space.apply(promotion("go", "ft_v1.1", **{"from": "base_v1"}))
    assert ends(space, "go") == "RolledBack"
    assert "ContainerCreating" in space.there("modelpromotions", "go")["status"]["message"]
    assert "quarantined" not in space.policy_status()


def _version(pod: Object) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(VERSION, ""))


def _started(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("containerStatuses"))


@pytest.mark.deep
@pytest.mark.long
@pytest.mark.row("D29")
def test_an_eviction_in_the_watch_is_waited_for(operator: Operator, space: Space, node: ScriptedNode) -> None:
    deployment(space, replicas=1)
    passed(space)
    policy(space, watch={"seconds": 8})
    space.apply(promotion("go", "ft_v1.1", **{"from": "base_v1"}))
    eventually(lambda: phase_of_flight(space) == "Watching", seconds=60, what="the watch")
    (old,) = [pod["metadata"]["name"] for pod in pods_of(space, "ft_v1.1")]
    since = time.monotonic()

    def slow(pod: Object) -> Object | None:
        if pod["metadata"]["name"] == old or time.monotonic() - since > 36:
            return None
        return {} if _started(pod) else STARTING

    node.serves = slow
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": old, "namespace": space.namespace},
    }
    assert space.server.request("POST", f"{space.path('pods')}/{old}/eviction", eviction).accepted
    assert ends(space, "go") == "Succeeded"
    assert time.monotonic() - since > 36, "longer than a server may fail"


@pytest.mark.deep
@pytest.mark.long
@pytest.mark.row("D29")
def test_a_log_shipper_that_crashes_takes_the_version_back_and_blames_nobody(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    watched(space, seconds=60)
    sick = pods_of(space, "ft_v1.1")[0]["metadata"]["name"]
    container = {"image": "none", "imageID": "none", "restartCount": 2}
    ended = {"exitCode": 1, "reason": "Error", "message": "cannot reach loki", "startedAt": now(), "finishedAt": now()}
    status: Object = {
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now()}],
        "containerStatuses": [
            {**container, "name": "server", "ready": True, "state": {"running": {"startedAt": now()}}},
            {**container, "name": "log-shipper", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
             "lastState": {"terminated": ended}},
        ],
    }  # fmt: skip
    done: list[str] = []

    def crash(pod: Object) -> Object | None:
        if pod["metadata"]["name"] != sick:
            return None
        done.append(sick)
        return status if len(done) == 1 else {}

    node.serves = crash
    assert ends(space, "go") == "RolledBack"
    assert "cannot reach loki" in space.there("modelpromotions", "go")["status"]["message"]
    assert "quarantined" not in space.policy_status()


@pytest.mark.deep
@pytest.mark.long
@pytest.mark.row("D34")
def test_a_quarantine_names_its_evidence_and_is_lifted_by_the_promotion_that_the_hold_proposes(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    deployment(space, progressDeadlineSeconds=6)
    passed(space)
    node.broken.add("ft_v1.1")
    space.apply(promotion("go", "ft_v1.1", **{"from": "base_v1"}))
    assert ends(space, "go") == "RolledBack"
    status = space.policy_status()
    (entry,) = status["quarantined"]
    assert re.search(r"container 'server' of pod 'invoice-detector-\S+' runs and is not ready", entry["evidence"])
    node.broken.clear()
    again = proposed(status["hold"]["message"], "ft_v1.1")
    assert again["spec"]["despite"]["checks"] == ["Quarantined"]
    space.apply(again)
    assert ends(space, again["metadata"]["name"]) == "Succeeded"
    (entry,) = space.policy_status()["quarantined"]
    assert entry["lifted"]["by"] == again["metadata"]["name"]


@pytest.mark.row("D30")
def test_a_rollback_in_the_middle_of_a_watch_acts_before_the_next_look_that_was_due(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    watched(space, seconds=300)
    assert space.policy_status()["serving"] == "ft_v1.1 (watching)"
    eventually(lambda: "kubectl create" in space.there("modelpromotions", "go")["status"]["message"])
    back = proposed(space.there("modelpromotions", "go")["status"]["message"], "base_v1")
    began = time.monotonic()
    space.apply(back)
    eventually(lambda: space.served() == "base_v1", seconds=10, what="the old keys")
    took = time.monotonic() - began
    assert ends(space, back["metadata"]["name"]) == "Succeeded"
    assert space.phase("go", "modelpromotions") == "RolledBack"
    assert "quarantined" not in space.policy_status()
    # A fifth of a second on an idle machine.
    assert took < OBSERVED_STEP.total_seconds() - 5, f"{took:.2f} s from the apply of the brake to the old keys"


@pytest.mark.deep
@pytest.mark.row("D33")
def test_a_sick_live_version_gives_way_to_a_promotion_that_says_so(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    passed(space)
    crashed = {"exitCode": 1, "reason": "Error", "message": "x", "startedAt": now(), "finishedAt": now()}
    sick: Object = {
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now()}],
        "containerStatuses": [
            {"image": "none", "imageID": "none", "restartCount": 2, "name": "server", "ready": False,
             "state": {"terminated": crashed}}
        ],
    }  # fmt: skip
    node.serves = lambda pod: None if _version(pod) == "ft_v1.1" else sick
    eventually(
        lambda: not space.there("deployments", "invoice-detector")["status"].get("availableReplicas"), what="it is sick"
    )
    space.apply(promotion("go", "ft_v1.1", **{"from": "base_v1"}))
    eventually(lambda: "NotSettled" in str(space.there("modelpromotions", "go")["status"]), what="it waits")
    ahead = proposed(space.there("modelpromotions", "go")["status"]["message"], "ft_v1.1")
    assert ahead["spec"]["despite"]["checks"] == ["NotSettled"]
    space.apply(ahead)
    assert ends(space, ahead["metadata"]["name"]) == "Succeeded"
    assert ends(space, "go") == "Succeeded", "what it asked for is live"


@pytest.mark.deep
@pytest.mark.row("D35")
def test_after_an_undo_both_ways_out_that_the_hold_names_lead_out(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    tuned_live(space)
    base = space.there("modelversions", "invoice-fields-base-v1")["spec"]
    _write_keys(space, base)
    eventually(lambda: (space.policy_status().get("hold") or {}).get("reason") == "External", what="a hold")
    message = space.policy_status()["hold"]["message"]
    release = proposed(message, "ft_v1.1")
    space.apply(release)
    name = release["metadata"]["name"]
    eventually(lambda: "ForeignKeys" in str(space.there("modelpromotions", name)["status"]), what="it waits")
    (patch,) = re.findall(r"kubectl patch deployment \S+ -n \S+ --type=merge -p '(\{[^']*\})'", message)
    lowest = [99]
    assert space.patch("deployments", "invoice-detector", json.loads(patch)).accepted

    def over() -> bool:
        there = space.there("deployments", "invoice-detector")["status"]
        lowest.append(there.get("availableReplicas", 0))
        return space.phase(name, "modelpromotions") == "Succeeded"

    eventually(over, seconds=60, what="the release ends")
    assert (space.served(), space.policy_status().get("hold")) == ("ft_v1.1", None)
    assert min(lowest) == 2, "nobody was missed meanwhile"
    _write_keys(space, base)
    eventually(lambda: (space.policy_status().get("hold") or {}).get("reason") == "External", what="another hold")
    keep = proposed(space.policy_status()["hold"]["message"], "base_v1")
    space.apply(keep)
    assert ends(space, keep["metadata"]["name"]) == "Succeeded"
    assert (space.policy_status()["serving"], space.policy_status().get("hold")) == ("base_v1", None)


def _write_keys(space: Space, version: Object) -> None:
    """Set the keys as `kubectl rollout undo` does: by a patch of the template, under another manager."""
    keys = {
        VERSION: version["version"],
        "finetune-operator.io/artifact-uri": version["artifact"]["uri"],
        "finetune-operator.io/artifact-sha256": version["artifact"]["sha256"],
    }
    path = f"{space.path('deployments')}/invoice-detector?fieldManager=kubectl-rollout"
    body: Object = {"spec": {"template": {"metadata": {"annotations": keys}}}}
    assert space.server.request("PATCH", path, body, "application/merge-patch+json").accepted
