"""The Job keeps what the platform team wrote in the PodTemplate, and has what the contract sets."""

import copy
from typing import Any, cast

import pytest

from finetune_operator.api.policy import JobRules, Policy
from finetune_operator.api.run import RunSpec, Step
from finetune_operator.decide.decision import CreateJob
from finetune_operator.manifests.job import build_job
from finetune_operator.manifests.owner import Owner
from unit.decide.run.world import policy

OWNER = Owner("FineTuneRun", "ml", "first", "uid-1")
TEMPLATE: dict[str, Any] = {
    "metadata": {"name": "gpu-trainer"},
    "template": {
        "metadata": {"labels": {"team": "vision"}, "annotations": {"sidecar": "no"}},
        "spec": {
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "priorityClassName": "low",
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
            "containers": [
                {
                    "name": "trainer",
                    "image": "trainer:1",
                    "command": ["finetune-trainer"],
                    "env": [{"name": "A", "value": "1"}, {"name": "FINETUNE_SCRATCH", "value": "/elsewhere"}],
                    "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
                    "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"nvidia.com/gpu": "1"}},
                    "securityContext": {"readOnlyRootFilesystem": True},
                },
                {"name": "sidecar", "image": "sidecar:1"},
            ],
        },
    },
}


def job(
    step: str = "train",
    run: RunSpec | None = None,
    template: dict[str, Any] = TEMPLATE,
    policy: Policy | None = None,
    **more: Any,
) -> Any:
    action = CreateJob(
        name=f"first-{step}-1-abc",
        step=cast("Step", step),
        attempt=1,
        template="train",
        snapshot="document",
        step_inputs='{"attempt":1}',
        **more,
    )
    return build_job(action, OWNER, template, run, policy)


def pod(manifest: Any) -> Any:
    return manifest["spec"]["template"]["spec"]


def trainer(manifest: Any) -> Any:
    return next(c for c in pod(manifest)["containers"] if c["name"] == "trainer")


def test_the_trainer_is_told_its_step_and_inputs_and_where_it_reads_and_writes() -> None:
    container = trainer(job())
    assert container["args"] == ["job", "train", "--inputs", '{"attempt":1}']
    assert {e["name"]: e["value"] for e in container["env"]} == {
        "A": "1",
        "FINETUNE_DOCUMENT": "/finetune/document/run.json",
        "FINETUNE_SCRATCH": "/finetune/scratch",
    }
    assert {m["mountPath"]: m["name"] for m in container["volumeMounts"]} == {
        "/dev/shm": "shm",
        "/finetune/scratch": "finetune-scratch",
        "/finetune/document": "finetune-document",
    }
    volumes = {v["name"]: v for v in pod(job())["volumes"]}
    assert volumes["finetune-document"]["configMap"] == {"name": "document"}
    assert volumes["finetune-scratch"]["emptyDir"] == {}


def test_what_the_template_says_is_kept() -> None:
    container = trainer(job())
    wrote = TEMPLATE["template"]["spec"]["containers"][0]
    for key in ("image", "command", "resources", "securityContext"):
        assert container[key] == wrote[key]
    assert pod(job())["containers"][1] == {"name": "sidecar", "image": "sidecar:1"}
    assert job()["spec"]["template"]["metadata"]["labels"]["team"] == "vision"
    assert job()["spec"]["template"]["metadata"]["annotations"] == {"sidecar": "no"}


def test_a_scratch_volume_of_the_template_is_used() -> None:
    template = copy.deepcopy(TEMPLATE)
    fast = {"name": "finetune-scratch", "ephemeral": {"volumeClaimTemplate": {}}}
    template["template"]["spec"]["volumes"].append(fast)
    assert [v for v in pod(job(template=template))["volumes"] if v["name"] == "finetune-scratch"] == [fast]


def test_the_template_itself_is_never_changed() -> None:
    before = copy.deepcopy(TEMPLATE)
    job(run=RunSpec(policy="p", resources={"limits": {"nvidia.com/gpu": 2}}, node_selector={"gpu": "h100"}))
    assert before == TEMPLATE


@pytest.mark.parametrize(("says", "gets"), [(None, False), (False, False), (True, True)])
def test_pods_get_no_api_token_unless_the_template_says_so(says: bool | None, gets: bool) -> None:
    template = copy.deepcopy(TEMPLATE)
    if says is not None:
        template["template"]["spec"]["automountServiceAccountToken"] = says
    assert pod(job(template=template))["automountServiceAccountToken"] is gets


def test_a_retry_is_an_attempt_and_a_disruption_is_no_failure() -> None:
    spec = job()["spec"]
    assert spec["backoffLimit"] == 0
    assert pod(job())["restartPolicy"] == "Never"
    assert spec["podFailurePolicy"]["rules"] == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    ]


def test_the_job_goes_with_its_run_and_says_whose_it_is() -> None:
    metadata = job(round=2, collect=True)["metadata"]
    assert metadata["ownerReferences"] == [{
        "apiVersion": "finetune-operator.io/v1alpha1", "kind": "FineTuneRun", "name": "first", "uid": "uid-1",
        "controller": True, "blockOwnerDeletion": False,
    }]  # fmt: skip
    marks = {
        "app.kubernetes.io/managed-by": "finetune-operator",
        "finetune-operator.io/owner-kind": "FineTuneRun",
        "finetune-operator.io/owner-name": "first",
        "finetune-operator.io/owner-uid": "uid-1",
        "finetune-operator.io/step": "train",
        "finetune-operator.io/attempt": "1",
        "finetune-operator.io/round": "2",
        "finetune-operator.io/collect": "true",
    }
    assert metadata["labels"] == marks
    assert marks.items() <= job(round=2, collect=True)["spec"]["template"]["metadata"]["labels"].items()


RUN = RunSpec(
    policy="p",
    resources={"requests": {"memory": "8Gi"}, "limits": {"nvidia.com/gpu": 2}},
    node_selector={"gpu": "h100"},
    tolerations=({"key": "spot", "operator": "Exists"},),
    priority_class_name="high",
    queue_name="night",
)


def test_a_run_places_its_training() -> None:
    manifest = job(run=RUN)
    assert trainer(manifest)["resources"] == {
        "requests": {"cpu": "2", "memory": "8Gi"},
        "limits": {"nvidia.com/gpu": 2},
    }
    assert pod(manifest)["nodeSelector"] == {"zone": "a", "gpu": "h100"}
    assert [t["key"] for t in pod(manifest)["tolerations"]] == ["gpu", "spot"]


def test_other_steps_get_the_runs_priority_and_queue_but_not_its_gpus() -> None:
    manifest = job(step="prepare", run=RUN)
    assert trainer(manifest)["resources"] == TEMPLATE["template"]["spec"]["containers"][0]["resources"]
    assert pod(manifest)["nodeSelector"] == {"zone": "a"}
    assert pod(manifest)["priorityClassName"] == "high"
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "night"


QUEUE = "kueue.x-k8s.io/queue-name"
RULED = {
    **TEMPLATE,
    "metadata": {
        "name": "gpu-trainer",
        "labels": {
            "cost-centre": "42",
            QUEUE: "templates",
            "finetune-operator.io/pod-template": "true",
            "finetune-operator.io/step": "prepare",
            "app.kubernetes.io/managed-by": "Helm",
            "app.kubernetes.io/instance": "trainers",
            "app.kubernetes.io/part-of": "invoices",
            "argocd.argoproj.io/instance": "trainers",
            "helm.sh/chart": "trainers-1",
            "kustomize.toolkit.fluxcd.io/name": "trainers",
        },
        "annotations": {
            "audit.example.com/owner": "vision",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "argocd.argoproj.io/tracking-id": "trainers:/PodTemplate:ml/gpu-trainer",
            "argocd.argoproj.io/sync-options": "Prune=false",
            "meta.helm.sh/release-name": "trainers",
            "helm.sh/resource-policy": "keep",
        },
    },
}


def test_labels_and_annotations_of_the_pod_template_itself_go_to_the_job() -> None:
    metadata = job(template=RULED)["metadata"]
    assert metadata["labels"].items() >= {"cost-centre": "42", "app.kubernetes.io/part-of": "invoices"}.items()
    assert metadata["annotations"] == {"audit.example.com/owner": "vision"}
    pods = job(template=RULED)["spec"]["template"]["metadata"]
    assert pods["labels"]["team"] == "vision"
    assert "cost-centre" not in pods["labels"]


def test_what_is_ours_and_what_tools_find_their_objects_by_is_not_taken_over() -> None:
    labels = job(template=RULED)["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "finetune-operator"
    assert labels["finetune-operator.io/step"] == "train"
    tools = ("argocd.argoproj.io", "helm.sh", "toolkit.fluxcd.io", "app.kubernetes.io/instance", "pod-template")
    assert [key for key in labels if any(tool in key for tool in tools)] == []


@pytest.mark.row("R53")
@pytest.mark.parametrize("step", ["prepare", "train", "evaluate", "verify"])
@pytest.mark.parametrize(
    ("by_policy", "by_run", "queue"),
    [
        ("rules", "night", "rules"),
        ("rules", None, "rules"),
        (None, "night", "night"),
        (None, None, "templates"),
    ],
)
def test_the_policys_queue_goes_before_the_runs_and_that_before_the_templates(
    step: str, by_policy: str | None, by_run: str | None, queue: str
) -> None:
    rules = policy(jobs=JobRules(queue_name=by_policy))
    run = None if step == "verify" else RunSpec(policy="p", queue_name=by_run)
    if step == "verify":
        queue = by_policy or "templates"
    assert job(step=step, run=run, template=RULED, policy=rules)["metadata"]["labels"][QUEUE] == queue


def test_a_job_names_its_policy() -> None:
    assert job(policy=policy())["metadata"]["labels"]["finetune-operator.io/policy"] == "invoice-fields"
