"""Whole stories on a real API server: what people do to a cluster, and what must hold afterwards."""

import copy
import time

import pytest

from finetune_operator.api.names import snapshot_name
from house.api_server import Object
from simulation.stories import promotion, run, stage
from simulation.trainer_script import Trainer

from .node import ScriptedNode
from .world import Operator, Space, at_rest, eventually

pytestmark = pytest.mark.control_plane
SSA = "application/apply-patch+yaml"


def base_live(space: Space) -> None:
    """Bring the base live: verified, promoted, watched."""
    eventually(
        lambda: space.phase("invoice-fields-base-v1", "modelversions") == "Verified", what="the base is verified"
    )
    space.apply(promotion("first-base", "base_v1"))
    eventually(lambda: _live(space) == "base_v1", seconds=60, what="the base is live")


def tuned_live(space: Space, name: str = "first") -> None:
    base_live(space)
    space.apply(run(name))
    eventually(lambda: _live(space) == "ft_v1.1", seconds=90, what="the fine-tune is live")
    eventually(lambda: space.phase(name) == "Promoted", what="the run says so")


def taken_back(space: Space) -> None:
    """Let a run pass whose version does not come up, until the base serves again."""
    space.patch("deployments", "invoice-detector", {"spec": {"progressDeadlineSeconds": 5}})
    base_live(space)
    space.apply(run())
    eventually(lambda: space.phase("first") == "RolledBack", seconds=120, what="it is taken back")
    assert space.served() == "base_v1"


def _live(space: Space) -> str | None:
    version: str | None = (space.policy_status().get("live") or {}).get("version")
    return version


def _hold(space: Space) -> str:
    return str((space.policy_status().get("hold") or {}).get("reason", ""))


def _message(space: Space) -> str:
    return str(space.there("finetuneruns", "first")["status"].get("message", ""))


def _job_owners(space: Space) -> set[str]:
    return {job["metadata"]["labels"]["finetune-operator.io/owner-uid"] for job in space.all("jobs")}


def _jobs(space: Space) -> list[str]:
    return sorted(job["metadata"]["name"] for job in space.all("jobs"))


def _pods_of(space: Space, job: str) -> list[str]:
    names = (pod["metadata"]["name"] for pod in space.all("pods"))
    return [name for name in names if name.startswith(f"{job}-")]


def test_a_passing_run_goes_live_and_a_promotion_rolls_it_back(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    tuned_live(space)
    version = space.there("modelversions", "invoice-fields-ft-v1.1")
    assert version["spec"]["evidence"]["verdict"] == "Pass"
    assert space.keys() == {
        "finetune-operator.io/model-version": "ft_v1.1",
        "finetune-operator.io/artifact-uri": version["spec"]["artifact"]["uri"],
        "finetune-operator.io/artifact-sha256": version["spec"]["artifact"]["sha256"],
    }
    names = [name.rsplit("-", 1)[0] for name in _jobs(space)]
    assert names == ["first-evaluate-1", "first-prepare-1", "first-train-1", "invoice-fields-base-v1-verify-1"]
    space.apply(promotion("back", "base_v1", **{"from": "ft_v1.1"}))
    eventually(lambda: space.phase("back", "modelpromotions") == "Succeeded", seconds=60, what="back on the base")
    assert space.served() == "base_v1"
    assert (
        space.there("deployments", "invoice-detector")["metadata"]["annotations"]["finetune-operator.io/epoch"] == "3"
    )


def test_at_rest_nothing_is_written(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    objects = [("finetunepolicies", "invoice-fields"), ("modelversions", "invoice-fields-base-v1"),
               ("modelpromotions", "first-base"), ("deployments", "invoice-detector")]  # fmt: skip

    def written() -> tuple[list[str], float]:
        return [space.there(*o)["metadata"]["resourceVersion"] for o in objects], _writes(operator)

    at_rest(written, seconds=5, what="it is written")


def _writes(operator: Operator) -> float:
    count = "finetune_api_request_duration_seconds_count"
    return sum(operator.metric(f'{count}{{verb="{verb}"}}') for verb in ("patch_status", "create", "annotate"))


def test_a_run_deleted_and_created_again_starts_anew_and_leaves_no_job(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    node.holds.add("train")
    base_live(space)
    first = space.apply(run())["metadata"]["uid"]
    eventually(lambda: ("train", "first") in node.started, what="training runs")
    space.delete("finetuneruns", "first")
    second = space.apply(run())["metadata"]["uid"]
    node.holds.clear()
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="the second run ends")
    assert first != second
    assert second in _job_owners(space)
    # Kubernetes' garbage collector looks for new kinds every half minute, so it may be late on a fresh control plane.
    eventually(lambda: first not in _job_owners(space), seconds=90, what="the first run's Jobs are collected")
    assert space.there("finetuneruns", "first")["status"]["attempts"][0]["attempt"] == 1


@pytest.mark.parametrize(
    "step", ["train", *(pytest.param(step, marks=pytest.mark.deep) for step in ("prepare", "evaluate"))]
)
def test_a_killed_operator_goes_on_where_it_was(
    operator: Operator, space: Space, node: ScriptedNode, step: str
) -> None:
    base_live(space)
    node.holds.add(step)
    space.apply(run())
    eventually(lambda: (step, "first") in node.started, what=f"{step} runs")
    operator.kill()
    node.holds.clear()
    time.sleep(1)
    operator.start()
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="the run ends")
    attempts = space.there("finetuneruns", "first")["status"]["attempts"]
    assert [(a["step"], a["attempt"], a["outcome"]) for a in attempts] == [
        ("prepare", 1, "Succeeded"), ("train", 1, "Succeeded"), ("evaluate", 1, "Succeeded")]  # fmt: skip
    assert space.served() == "ft_v1.1"


@pytest.mark.deep
def test_an_operator_killed_while_it_watches_a_flip_finishes_it(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    assert space.patch("finetunepolicies", "invoice-fields", {"spec": {"watch": {"seconds": 15}}}).accepted
    space.apply(run())
    eventually(lambda: (space.policy_status().get("inFlight") or {}).get("phase") == "Watching", seconds=60)
    operator.kill()
    operator.start()
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="the run ends")
    assert _live(space) == "ft_v1.1"


def test_sigterm_ends_the_operator_with_status_0(operator: Operator) -> None:
    assert operator.stop() == 0


def test_rollout_undo_is_respected_and_held(operator: Operator, space: Space, node: ScriptedNode) -> None:
    tuned_live(space)
    old = copy.deepcopy(space.there("deployments", "invoice-detector")["spec"]["template"]["metadata"])
    base = space.there("modelversions", "invoice-fields-base-v1")["spec"]["artifact"]
    old["annotations"] |= {
        "finetune-operator.io/model-version": "base_v1",
        "finetune-operator.io/artifact-uri": base["uri"],
        "finetune-operator.io/artifact-sha256": base["sha256"],
    }
    undo = [{"op": "replace", "path": "/spec/template/metadata", "value": old}]
    path = space.path("deployments") + "/invoice-detector?fieldManager=kubectl-rollout"
    assert space.server.request("PATCH", path, undo, "application/json-patch+json").accepted  # type: ignore[arg-type]
    eventually(lambda: _hold(space) == "External", what="a hold")
    assert "kubectl-rollout" in space.policy_status()["hold"]["message"] + space.policy_status()["hold"]["by"]
    time.sleep(2)
    assert space.served() == "base_v1"


@pytest.mark.deep
def test_a_deployment_created_again_serves_what_was_live(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    space.delete("deployments", "invoice-detector")
    eventually(lambda: space.get("deployments", "invoice-detector") is None, what="it is gone")
    deployment = next(m for _, m in stage() if m["kind"] == "Deployment")
    space.apply(deployment)
    eventually(lambda: space.served() == "base_v1", what="the keys are back")


@pytest.mark.deep
def test_a_restored_promotion_does_not_act_again(operator: Operator, space: Space, node: ScriptedNode) -> None:
    tuned_live(space)
    space.delete("modelpromotions", "first-base")
    space.apply(promotion("first-base", "base_v1"))
    eventually(lambda: space.phase("first-base", "modelpromotions") == "Superseded", what="it says what serves instead")
    assert "none acts twice; live is 'ft_v1.1'" in space.there("modelpromotions", "first-base")["status"]["message"]
    time.sleep(2)
    assert space.served() == "ft_v1.1"


def test_keys_that_git_owns_are_never_forced(operator: Operator, space: Space, node: ScriptedNode) -> None:
    eventually(lambda: space.phase("invoice-fields-base-v1", "modelversions") == "Verified")
    key = "finetune-operator.io/artifact-uri"
    manifest: Object = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "invoice-detector"},
        "spec": {"template": {"metadata": {"annotations": {key: "file:///from/git"}}}},
    }  # fmt: skip
    path = f"{space.path('deployments')}/invoice-detector?fieldManager=argocd-controller"
    assert space.server.request("PATCH", path, manifest, SSA).accepted
    space.apply(promotion("first-base", "base_v1", releaseHold=True))
    eventually(lambda: space.phase("first-base", "modelpromotions") in {"Failed", "Pending"}, what="it is not done")
    eventually(lambda: "argocd-controller" in str(space.policy_status()), what="the manager is named")
    assert space.keys() == {key: "file:///from/git"}


def test_a_version_that_never_becomes_ready_is_taken_back(operator: Operator, space: Space, node: ScriptedNode) -> None:
    node.broken.add("ft_v1.1")
    taken_back(space)
    assert _hold(space) == "RolledBack"
    assert [q["version"] for q in space.policy_status()["quarantined"]] == ["ft_v1.1"]


@pytest.mark.deep
def test_a_version_whose_pods_find_no_room_is_taken_back_and_not_blamed(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    node.crowded.add("ft_v1.1")
    taken_back(space)
    assert "Unschedulable: no node takes the pod: Insufficient cpu" in _message(space)
    assert space.policy_status().get("quarantined", []) == []


@pytest.mark.deep
def test_a_failing_gate_touches_nothing(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    before = space.there("deployments", "invoice-detector")["metadata"]["generation"]
    node.answer = Trainer(candidate="0.900000")
    space.apply(run())
    eventually(lambda: space.phase("first") == "Rejected", seconds=60, what="it is rejected")
    eventually(lambda: "judged" in space.there("finetunepolicies", "invoice-fields")["status"], what="it is remembered")
    (judged,) = space.there("finetunepolicies", "invoice-fields")["status"]["judged"]
    drawn = space.there("finetuneruns", "first")["status"]["inputs"]
    assert (judged["run"], judged["inputs"], drawn["new"]) == ("first", drawn["plan"], 60)
    assert space.there("deployments", "invoice-detector")["metadata"]["generation"] == before
    named = f'namespace="{space.namespace}"'
    assert operator.metric("finetune_verdicts_total", named) == 1
    assert operator.metric("finetune_verdicts_total", f'{named},verdict="Reject"') == 1


@pytest.mark.deep
def test_bad_input_reaches_the_status_with_its_remedy(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    node.answer = lambda step, document, inputs: (10, {
        "schema": "finetune-operator.io/step-result/v1", "step": step, "owner": document["owner"]["uid"],
        "attempt": inputs["attempt"], "outcome": "Failed",
        "error": {"class": "BadInput", "reason": "PoolTooSmall", "message": "12 samples", "remedy": "add 38 more"},
    })  # fmt: skip
    space.apply(run())
    eventually(lambda: space.phase("first") == "Failed", seconds=60, what="it fails")
    conditions = {c["type"]: c for c in space.there("finetuneruns", "first")["status"]["conditions"]}
    assert conditions["Finished"]["reason"] == "PoolTooSmall" or conditions["Prepared"]["reason"] == "PoolTooSmall"
    assert "add 38 more" in space.there("finetuneruns", "first")["status"]["message"]


def test_a_foreign_object_with_our_name_is_named_and_left_alone(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    operator.kill()
    uid = space.apply(run())["metadata"]["uid"]
    foreign = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": snapshot_name("first", uid)},
        "data": {"a": "b"},
    }
    assert space.server.request("POST", space.path("configmaps"), foreign).accepted
    operator.start()
    eventually(lambda: space.phase("first") == "Failed", seconds=60, what="the run gives up")
    assert "NameTaken" in str(space.there("finetuneruns", "first")["status"]["conditions"])
    assert space.there("configmaps", snapshot_name("first", uid))["data"] == {"a": "b"}


def test_an_image_bumped_by_git_during_a_flip_does_not_lose_it(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    space.apply(run())
    eventually(lambda: space.policy_status().get("inFlight"), seconds=60, what="a flight")
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "server:2"}]
    path = space.path("deployments") + "/invoice-detector?fieldManager=argocd-controller"
    assert space.server.request("PATCH", path, image, "application/json-patch+json").accepted  # type: ignore[arg-type]
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="the run ends")
    assert space.served() == "ft_v1.1"
    containers = space.there("deployments", "invoice-detector")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == "server:2"


@pytest.mark.deep
def test_a_review_approved_by_a_patch_goes_live(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    node.answer = Trainer(candidate="0.951000")
    space.apply(run())
    eventually(lambda: space.phase("first") == "InReview", seconds=60, what="it waits for a person")
    time.sleep(1)
    assert space.served() == "base_v1"
    digest = space.there("finetuneruns", "first")["status"]["evidence"]["digest"]
    review = {"decision": "Approve", "evidence": digest, "by": "ann@example.com", "reason": "looked at the crops"}
    assert space.patch("finetuneruns", "first", {"spec": {"review": review}}).accepted
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="it goes live")
    assert space.there("finetuneruns", "first")["status"]["decision"]["by"] == "ann@example.com"


@pytest.mark.deep
def test_a_suspended_run_frees_its_pods_and_goes_on_later(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    node.holds.add("train")
    space.apply(run())
    eventually(lambda: ("train", "first") in node.started, what="training runs")
    assert space.patch("finetuneruns", "first", {"spec": {"suspend": True}}).accepted
    eventually(lambda: space.phase("first") == "Suspended", what="it is suspended")
    eventually(lambda: not [j for j in _jobs(space) if "train" in j], what="its Job is gone")
    node.holds.clear()
    assert space.patch("finetuneruns", "first", {"spec": {"suspend": False}}).accepted
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="it ends")
    train = [a for a in space.there("finetuneruns", "first")["status"]["attempts"] if a["step"] == "train"]
    assert [(a["attempt"], a["outcome"]) for a in train] == [(1, "Suspended"), (2, "Succeeded")]


@pytest.mark.deep
def test_a_job_deleted_by_somebody_is_a_failed_attempt_and_not_the_end(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    node.holds.add("prepare")
    space.apply(run())
    eventually(lambda: ("prepare", "first") in node.started, what="prepare runs")
    deleted = next(j for j in _jobs(space) if "prepare" in j)
    space.delete("jobs", deleted)
    # Its pod outlives a Job by a moment, and what it published by then would be collected.
    eventually(lambda: not _pods_of(space, deleted), what="its pod is gone too")
    node.holds.clear()
    eventually(lambda: space.phase("first") == "Promoted", seconds=120, what="a second attempt makes it")
    prepare = [a for a in space.there("finetuneruns", "first")["status"]["attempts"] if a["step"] == "prepare"]
    assert [(a["attempt"], a["outcome"]) for a in prepare] == [(1, "Failed"), (2, "Succeeded")]


@pytest.mark.deep
def test_a_run_waits_for_a_pod_template_and_says_so(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    template = space.there("podtemplates", "cpu-trainer")
    space.delete("podtemplates", "cpu-trainer")
    space.apply(run())
    eventually(lambda: "cpu-trainer" in space.there("finetuneruns", "first")["status"].get("message", ""))
    assert space.phase("first") == "Pending"
    fresh = {"metadata": {"name": "cpu-trainer", "labels": template["metadata"]["labels"]}}
    space.apply({"apiVersion": "v1", "kind": "PodTemplate", "template": template["template"], **fresh})
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="it goes on by itself")


@pytest.mark.deep
@pytest.mark.long
def test_a_run_whose_pods_are_refused_says_so_and_heals(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    refused = {"template": {"spec": {"runtimeClassName": "not-there"}}}
    assert space.patch("podtemplates", "gpu-trainer", refused).accepted
    space.apply(run())
    eventually(lambda: "PodNotCreated" in _message(space), seconds=150, what="it says that no pod is made")
    assert space.patch("podtemplates", "gpu-trainer", {"template": {"spec": {"runtimeClassName": None}}}).accepted
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="it goes on by itself")
