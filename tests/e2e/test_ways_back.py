"""Ways back on a cluster as they are: quotas, drains, sidecars, restores, lost namespaces, and the brake."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.restore import restored_without_status
from e2e.stories import LENIENT, Stories, quick
from e2e.stories import USUAL as GATES
from finetune_demo.settings import SYSTEM

USUAL = {**GATES, "promotion": "Automatic", "watch": {"seconds": 20}}
VERSION_KEY = "finetune-operator.io/model-version"


@contextmanager
def rules(stories: Stories, **spec: Any) -> Iterator[None]:
    """Lenient gates and other rules for the policy, and the usual ones afterwards."""
    stories.patch_policy(**LENIENT, **spec)
    try:
        yield
    finally:
        stories.patch_policy(**USUAL)


def test_a_namespace_taken_away_stops_nobody_elses_run(stories: Stories) -> None:
    """The second watched namespace is deleted while a run trains in the first: the run goes on, nothing restarts."""
    kube = stories.kube
    with rules(stories), stories.watching_too("others"):
        before = _operator_pod(stories)
        stories.start("neighbour", **quick("neighbour", epochs=3))
        stories.until("neighbour", "Training")
        kube.kubectl("delete", "namespace", "others", "--wait=true", timeout=180)
        status = stories.until("neighbour")
        after = _operator_pod(stories)
    assert status["phase"] == "Promoted", status.get("message")
    assert after == before, "the operator's container was restarted"


def test_a_surge_that_a_quota_refuses_is_no_fault_of_the_version(stories: Stories) -> None:
    """The flip goes back for want of quota, nothing is quarantined, and the version goes live when asked again."""
    kube = stories.kube
    with rules(stories, promotion="Manual"):
        stories.start("quota", **quick("quota"))
        version = stories.until("quota", "Passed", "Rejected", "Failed")["version"]
        kube.wait("no Job's pod left running", lambda: not stories.pods_of_jobs(), 60)
        running = [p for p in kube.items("pods") if p["status"]["phase"] in ("Running", "Pending")]
        kube.kubectl("create", "quota", "full", f"--hard=pods={len(running)}")
        stories.patch_deployment({"spec": {"progressDeadlineSeconds": 15}})
        try:
            refused = stories.promote("refused", version, "base_v1")
        finally:
            kube.kubectl("delete", "quota", "full")
        assert refused["phase"] == "RolledBack", refused
        assert "exceeded quota" in refused["message"], refused["message"]
        assert not stories.quarantined(version)
        stories.tale.wait_live("base_v1")
        again = stories.promote("again", version, "base_v1", releaseHold=True)
        stories.patch_deployment({"spec": {"progressDeadlineSeconds": 600}})
    assert again["phase"] == "Succeeded", again
    stories.tale.wait_live(version)


def test_an_eviction_in_the_watch_is_no_fault_of_the_version(stories: Stories) -> None:
    """A pod of the new version is drained away while it is watched: its replacement comes, and the version stays."""
    kube = stories.kube
    with rules(stories, watch={"seconds": 60}):
        stories.start("drained", **quick("drained"))
        version = stories.until_flight("drained", "Watching")
        pod = next(p for p in stories.serving(version) if not p["metadata"].get("deletionTimestamp"))
        stories.evict(pod["metadata"]["name"])
        kube.wait("evicted", lambda: kube.get("pod", pod["metadata"]["name"]) is None, 60)
        status = stories.until("drained")
    assert status["phase"] == "Promoted", status.get("message")
    stories.tale.wait_live(version)


def test_a_sidecar_that_outlives_the_trainer_holds_nothing_up(stories: Stories) -> None:
    """Every Job has a helper that never ends: each result counts when the trainer has ended, and the pods go."""
    with rules(stories), stories.sidecar():
        stories.start("sidecar", **quick("sidecar"))
        status = stories.until("sidecar")
        assert status["phase"] == "Promoted", status.get("message")
        assert stories.jobs("sidecar") == {"prepare": 1, "train": 1, "evaluate": 1}
        stories.kube.wait("no pod of a Job is left running", lambda: not stories.pods_of_jobs(), 90)


def test_a_cluster_restored_without_status_remembers_what_was_judged(stories: Stories) -> None:
    """Objects come back without their statuses: what is live is adopted, what was taken back stays out, none trains."""
    stories.kube.kubectl("delete", "finetuneruns", "--all", "--wait=true")
    with rules(stories):
        stories.start("restored", **quick("restored"))
        taken_back = stories.until("restored")["version"]
        stories.promote("taken-back", "base_v1", taken_back)
        with restored_without_status(stories):
            pass
        stories.kube.wait("adopted", lambda: stories.live() == "base_v1", 120)
        assert stories.policy()["status"]["hold"], "what cannot be known is held"
        again = stories.until("restored", seconds=120)
        assert (again["phase"], again["version"]) == ("RolledBack", taken_back), again
        assert stories.jobs("restored") == {"prepare": 1}
    release = stories.promote("release", "base_v1", "base_v1", releaseHold=True)
    assert release["phase"] == "Succeeded", release
    refused = stories.promote("forgot", taken_back, "base_v1")
    assert "TakenBack" in json.dumps(refused["conditions"]), refused
    despite = {"checks": ["TakenBack"], "reason": "a story"}
    waits = stories.promote("knowingly", taken_back, "base_v1", wait=("Pending",), despite=despite)
    stories.kube.wait(
        "the keys are the restorer's", lambda: "velero-server" in stories.promotion("knowingly")["message"], 30
    )
    assert waits["phase"] == "Pending"
    stories.follow(stories.promotion("knowingly")["message"], "kubectl patch deployment")
    stories.tale.wait_promotion("knowingly", 240)
    stories.tale.wait_live(taken_back)


def test_a_rollback_in_the_middle_of_a_watch_acts_at_once(stories: Stories) -> None:
    """Ten minutes of watch are left; one object brings the base back before a minute is over."""
    with rules(stories, watch={"seconds": 600}):
        stories.start("braked", **quick("braked"))
        version = stories.until_flight("braked", "Watching")
        assert stories.policy()["status"]["serving"] == f"{version} (watching)"
        began = time.monotonic()
        stories.apply(
            "ModelPromotion",
            "brake",
            {"policy": "invoice-fields", "version": "base_v1", "from": version, "reason": "users complain"},
        )
        stories.kube.wait("keys of the base", lambda: stories.template_version() == "base_v1", 30, every=0.2)
        decided = time.monotonic() - began
        stories.kube.wait("pods of the base alone", lambda: not stories.serving(version), 120, every=0.5)
        served = time.monotonic() - began
        status = stories.until("braked")
        stories.tale.wait_promotion("brake", 120)
    print(f"\nbrake: keys after {decided:.1f} s, only the base serves after {served:.1f} s")
    assert status["phase"] == "RolledBack", status
    assert served < 60
    stories.tale.wait_live("base_v1")


def _operator_pod(stories: Stories) -> list[tuple[str, int]]:
    pods = json.loads(stories.kube.kubectl("-n", SYSTEM, "get", "pods", "-o", "json"))["items"]
    return [
        (p["metadata"]["uid"], c["restartCount"])
        for p in pods
        for c in p["status"].get("containerStatuses", ())
        if not p["metadata"].get("deletionTimestamp")
    ]
