"""An editor of the namespace on a real node: objects under our names, and no verdict by them."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from e2e.stories import API, LENIENT, USUAL, Stories, quick
from finetune_operator.api.names import job_name, snapshot_name

EVE: Final = "eve"
OURS: Final = {"app.kubernetes.io/managed-by": "finetune-operator"}
LIES: Final = "trap 'exit 0' TERM; echo lies > /dev/termination-log"


@contextmanager
def editor(stories: Stories) -> Iterator[None]:
    """Let eve edit the namespace, under lenient gates, and clean up behind her."""
    stories.patch_policy(**LENIENT)
    stories.kube.kubectl("create", "rolebinding", EVE, "--clusterrole=edit", f"--user={EVE}")
    try:
        yield
    finally:
        stories.kube.kubectl("delete", "rolebinding", EVE)
        stories.patch_policy(**USUAL)


def as_eve(stories: Stories, manifest: dict[str, Any]) -> None:
    """Create an object in her name."""
    stories.kube.kubectl("--as", EVE, "create", "-f", "-", stdin=json.dumps(manifest))


def suspended(stories: Stories, name: str) -> str:
    """Apply a run that waits, and return its uid: all of its names are known before anything is made."""
    stories.start(name, suspend=True, **quick(name))
    stories.until(name, "Suspended", seconds=60)
    uid: str = stories.kube.get("finetunerun", name)["metadata"]["uid"]  # type: ignore[index]
    return uid


def resume(stories: Stories, name: str) -> None:
    stories.kube.kubectl(
        "--as", EVE, "patch", "finetunerun", name, "--type=merge", "-p", '{"spec": {"suspend": false}}'
    )


def labels(name: str, uid: str, step: str) -> dict[str, str]:
    ours = {
        "owner-kind": "FineTuneRun",
        "owner-name": name,
        "owner-uid": uid,
        "step": step,
        "attempt": "1",
        "round": "1",
    }
    return OURS | {f"finetune-operator.io/{key}": value for key, value in ours.items()}


def controller(api: str, kind: str, name: str, uid: str) -> list[dict[str, Any]]:
    return [{"apiVersion": api, "kind": kind, "name": name, "uid": uid, "controller": True}]


def lying(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's spec whose trainer says what eve wants."""
    spec = copy.deepcopy(spec) | {"restartPolicy": "Never"}
    trainer = next(c for c in spec["containers"] if c["name"] == "trainer")
    trainer |= {"command": ["sh", "-c", LIES], "args": []}
    spec.pop("nodeName", None)
    return spec


def test_an_editors_document_is_not_judged_by(stories: Stories) -> None:
    """She makes the run's ConfigMap before the operator does: the run ends, says so, and nothing live changes."""
    name = "other-document"
    with editor(stories):
        uid = suspended(stories, name)
        metadata = {"name": snapshot_name(name, uid), "labels": labels(name, uid, "prepare"),
                    "ownerReferences": controller(API, "FineTuneRun", name, uid)}  # fmt: skip
        as_eve(stories, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"run.json": "{}"}})
        resume(stories, name)
        status = stories.until(name, seconds=120)
    assert status["phase"] == "Failed", status
    assert "SnapshotInvalid" in json.dumps(status["conditions"]), status
    assert stories.live() == "base_v1"


def test_an_editors_job_and_pod_are_not_listened_to(stories: Stories) -> None:
    """A Job is there before it is made, then a pod under a Job's labels lies: the evaluation is the trainer's."""
    name, kube = "other-job", stories.kube
    template = (kube.get("podtemplate", "trainer") or {})["template"]["spec"]
    with editor(stories):
        uid = suspended(stories, name)
        marks = labels(name, uid, "evaluate")
        metadata = {"name": job_name(name, "evaluate", 1, uid), "labels": marks,
                    "ownerReferences": controller(API, "FineTuneRun", name, uid)}  # fmt: skip
        pods = {"metadata": {"labels": marks}, "spec": lying(template)}
        as_eve(stories, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
                         "spec": {"suspend": True, "backoffLimit": 0, "template": pods}})  # fmt: skip
        resume(stories, name)
        job = job_name(name, "train", 1, uid)
        kube.wait(
            "a pod trains", lambda: bool(kube.items("pods", f"batch.kubernetes.io/job-name={job}")), 300, every=0.5
        )
        real = kube.items("pods", f"batch.kubernetes.io/job-name={job}")[0]
        owner = controller("batch/v1", "Job", job, real["metadata"]["ownerReferences"][0]["uid"])
        meta = {"name": "not-the-trainer", "labels": real["metadata"]["labels"], "ownerReferences": owner}
        as_eve(stories, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": lying(template)})
        status = stories.until(name)
    tries = [(a["step"], a["outcome"], a.get("reason", "")) for a in status["attempts"]]
    assert ("evaluate", "Failed", "JobNotOurs") in tries, tries
    assert ("evaluate", "Succeeded", "") in tries, tries
    assert [outcome for step, outcome, _ in tries if step == "train"] == ["Succeeded"], tries
    assert status["phase"] == "Promoted", status
