"""Bad input on a real cluster: each case has its condition, reason and remedy in a status, and nothing live changes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.stories import Stories, quick

POOLS = "/data/pool"


@pytest.fixture(scope="module")
def pools(demo: Any) -> str:
    """The bad pools, made in the workbench pod from the good one."""
    script = Path(__file__).with_name("bad_pools.py").read_text()
    words = ("exec", "-i", "workbench", "--", "python3", "-", f"{POOLS}/invoices", "/data/anchor", POOLS)
    demo.cluster.kube.kubectl(*words, stdin=script)
    return POOLS


@pytest.fixture
def unchanged(stories: Stories) -> Iterator[None]:
    """What is live, its epoch and its ReplicaSets are the same afterwards."""
    before = (stories.policy()["status"]["live"], stories.replica_sets())
    yield
    assert (stories.policy()["status"]["live"], stories.replica_sets()) == before


def conditions(item: dict[str, Any]) -> str:
    """Return the conditions and the message of a status as text."""
    status = item.get("status", {})
    return json.dumps([status.get("conditions"), status.get("message")])


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        ("out-of-range", "LabelsOutOfRange"),
        ("six-columns", "LabelColumns"),
        ("missing-label", "LabelMissing"),
        ("other-classes", "ClassListDiffers"),
        ("held-out-page", "HeldOutPageInPool"),
        ("too-small", "PoolTooSmall"),
        ("nobody-verified", "VerifierMissing"),
        ("does-not-exist", "DataUnreadable"),
    ],
)
def test_a_bad_pool_fails_the_run_in_prepare(
    stories: Stories, pools: str, unchanged: None, pool: str, reason: str
) -> None:
    """One prepare Job, no training, the trainer's reason and a remedy in the run's status."""
    name = f"bad-{pool}"
    stories.patch_policy(data={"pool": {"uri": f"file://{pools}/{pool}"}})
    try:
        stories.start(name, **quick(name))
        status = stories.until(name, seconds=180)
    finally:
        stories.patch_policy(data={"pool": {"uri": f"file://{pools}/invoices"}})
    assert status["phase"] == "Failed"
    finished = next(c for c in status["conditions"] if c["type"] == "Finished")
    assert finished["reason"] == reason, finished
    assert len(finished["message"]) > 40, "what is wrong, where, and how to mend it"
    assert stories.jobs(name) == {"prepare": 1}


@pytest.mark.parametrize(
    ("base", "phase", "reason"), [("base_v9", "Pending", "BaseNotFound"), ("ft_v1.1", "Failed", "BaseIsFineTuned")]
)
def test_a_base_that_cannot_be_used(stories: Stories, unchanged: None, base: str, phase: str, reason: str) -> None:
    """An unknown base is waited for, a fine-tune is refused for good; no Job either way."""
    name = f"base-{reason.lower()}"
    stories.start(name, baseVersion=base)
    stories.until(name, phase, seconds=60)
    stories.kube.wait(reason, lambda: reason in conditions(stories.kube.get("finetunerun", name) or {}), 30)
    assert stories.jobs(name) == {}
    stories.kube.kubectl("delete", "finetunerun", name)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("not-there", "PodTemplateNotFound"),
        ("unlabelled", "PodTemplateNotLabelled"),
        ("nameless", "NoTrainerContainer"),
    ],
)
def test_a_pod_template_that_cannot_be_used(stories: Stories, unchanged: None, template: str, reason: str) -> None:
    """The run waits and says what the PodTemplate lacks; the policy says so, too."""
    container = {"name": "main" if template == "nameless" else "trainer", "image": "localhost/none:1"}
    if template != "not-there":
        labels = {} if template == "unlabelled" else {"finetune-operator.io/pod-template": "true"}
        meta = {"name": template, "namespace": stories.kube.namespace, "labels": labels}
        item = {
            "apiVersion": "v1",
            "kind": "PodTemplate",
            "metadata": meta,
            "template": {"spec": {"containers": [container]}},
        }
        stories.kube.apply(json.dumps(item))
    name = f"template-{template}"
    stories.patch_policy(podTemplates={"train": template, "cpu": template})
    try:
        stories.start(name, **quick(name))
        stories.kube.wait(reason, lambda: reason in conditions(stories.kube.get("finetunerun", name) or {}), 60)
        assert reason in conditions(stories.policy())
        assert stories.jobs(name) == {}
    finally:
        stories.kube.kubectl("delete", "finetunerun", name)
        stories.patch_policy(podTemplates={"train": "trainer", "cpu": "trainer"})


def test_an_image_that_cannot_be_pulled(stories: Stories, unchanged: None) -> None:
    """The run says that the image is not to be had while its pod waits; nothing is lost."""
    container = {
        "name": "trainer",
        "image": "localhost/not-there:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    labels = {"finetune-operator.io/pod-template": "true"}
    meta = {"name": "no-image", "namespace": stories.kube.namespace, "labels": labels}
    stories.kube.apply(
        json.dumps({"apiVersion": "v1", "kind": "PodTemplate", "metadata": meta, "template": {"spec": pod}})
    )
    stories.patch_policy(podTemplates={"train": "no-image", "cpu": "no-image"})
    try:
        stories.start("no-image", **quick("no-image"))
        stories.kube.wait(
            "ImagePullFailed",
            lambda: "ImagePullFailed" in conditions(stories.kube.get("finetunerun", "no-image") or {}),
            90,
        )
    finally:
        stories.kube.kubectl("delete", "finetunerun", "no-image")
        stories.patch_policy(podTemplates={"train": "trainer", "cpu": "trainer"})


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "DeploymentNotFound"), ("unmanaged", "DeploymentNotManaged"), ("null-annotations", "AnnotationsNull")],
)
def test_a_deployment_that_cannot_be_used(stories: Stories, unchanged: None, name: str, reason: str) -> None:
    """A second policy on a bad Deployment says what is wrong; its runs wait; the Deployment is not touched."""
    spec = stories.policy()["spec"] | {"deployment": name}
    if name != "missing":
        stories.kube.apply(_deployment(name, managed=name != "unmanaged", null=name == "null-annotations"))
    stories.apply("FineTunePolicy", name, spec)
    try:
        stories.kube.wait(reason, lambda: reason in conditions(stories.kube.get("finetunepolicy", name) or {}), 60)
        stories.apply("FineTuneRun", f"on-{name}", {"policy": name})
        stories.kube.wait(
            "the run waits",
            lambda: "PolicyNotReady" in conditions(stories.kube.get("finetunerun", f"on-{name}") or {}),
            60,
        )
        assert stories.jobs(f"on-{name}") == {}
        deployment = stories.kube.get("deployment", name)
        assert deployment is None or "finetune-operator.io/model-version" not in json.dumps(deployment["spec"])
    finally:
        stories.kube.kubectl("delete", "finetunerun", f"on-{name}", "--ignore-not-found")
        stories.kube.kubectl("delete", "finetunepolicy", name)
        stories.kube.kubectl("delete", "deployment", name, "--ignore-not-found")


def _deployment(name: str, *, managed: bool, null: bool) -> str:
    labels = {"app": name} | ({"finetune-operator.io/managed": "true"} if managed else {})
    meta: dict[str, Any] = {"labels": {"app": name}} | ({"annotations": None} if null else {})
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": meta, "spec": _pod()}}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "invoices", "labels": labels},
            "spec": spec,
        }
    )


def _pod() -> dict[str, Any]:
    return {"containers": [{"name": "server", "image": "localhost/none:1"}]}
