"""Every story, in real pods of baked images, with real training: what is promised of a run's end."""

import json

import pytest

from e2e.stories import LENIENT, USUAL, Stories, quick
from finetune_demo import summary
from finetune_demo.story import Story

STRICT = {"gates": {"newSamples": {"minimum": "0.9999"}}}
EVERY_RULE = {
    "regression": {"reviewAtPoints": "0", "rejectAbovePoints": "100"},
    "newSamples": {"minimum": "1"},
    "fields": {"reviewAtPoints": "0", "minBoxesLost": 0},
    "floor": {"minimum": "1"},
    "yardstick": {"testImages": 1_000_000, "newBoxes": 1_000_000},
}
"""Limits that no model keeps, and none that rejects: every rule that has a limit objects, whatever was trained."""

RUIN = {"epochs": 1, "lr0": "1"}
"""A thousand times the learning rate: what comes out finds nothing, so that nothing can have been gained."""

RULES = {
    "Forgetting", "TooFewFound", "FieldWorse", "FieldBelowFloor",
    "TestSetTooSmall", "NewSetTooSmall", "YardstickMoved", "NoGain",
}  # fmt: skip
"""The reason of every gate that asks for a person."""

SHORTER_ANCHOR = """
import json, pathlib, shutil
shutil.rmtree("/data/pool/anchor-moved", ignore_errors=True)
shutil.copytree("/data/anchor", "/data/pool/anchor-moved")
path = pathlib.Path("/data/pool/anchor-moved/finetune-index.json")
index = json.loads(path.read_text())
index["splits"]["test"].pop()
path.write_text(json.dumps(index))
"""
"""The same data set without one of its test pages: another yardstick, where the trainer's pods can read it."""


def test_the_demo_keeps_every_promise(demo: Story) -> None:
    """A run of 60 new samples passes and goes live, a rollback goes back, and no request is lost."""
    if not demo.facts:
        pytest.skip("--on-demo: the demo was not played here")
    bad = [check for check in summary.checks(demo.facts) if not check[2]]
    assert not bad


def test_swapped_labels_do_not_pass_and_change_nothing_live(stories: Stories) -> None:
    """The same run on a pool with swapped labels ends by a gate's number; with the right labels it passed."""
    stories.tale.fill_pool("poisoned", "poisoned")
    before = stories.replica_sets()
    stories.patch_policy(data={"pool": {"uri": "file:///data/pool/poisoned"}})
    try:
        stories.start("poisoned")
        status = stories.until("poisoned", "InReview", "Rejected", "Promoted", "Passed", "Failed")
    finally:
        stories.patch_policy(data={"pool": {"uri": "file:///data/pool/invoices"}})
    assert status["phase"] in ("InReview", "Rejected")
    assert any(gate["verdict"] != "Pass" for gate in status["gates"])
    assert all(gate["value"] for gate in status["gates"] if gate["name"] in ("regression", "newSamples"))
    assert stories.replica_sets() == before
    if status["phase"] == "InReview":
        stories.review("poisoned", "Reject")
        assert stories.until("poisoned")["phase"] == "Rejected"
    assert stories.policy()["status"]["live"]["version"] == "base_v1"


def test_a_review_approved_by_a_patch_goes_live(stories: Stories) -> None:
    """REVIEW waits for a person; an approval of other evidence is not taken, of this evidence it is."""
    stories.patch_policy(**STRICT)
    try:
        stories.start("reviewed", **quick("reviewed"))
        status = stories.until("reviewed", "InReview", "Rejected", "Promoted", "Failed")
        assert status["phase"] == "InReview", json.dumps(status["gates"])
        wrong = {"decision": "Approve", "evidence": "sha256:" + "0" * 64, "by": "ann@example.com"}
        stories.kube.kubectl(
            "patch", "finetunerun", "reviewed", "--type=merge", "-p", json.dumps({"spec": {"review": wrong}})
        )
        stories.kube.wait(
            "the wrong approval is named",
            lambda: "ReviewNotForThisEvidence" in json.dumps(stories.run_status("reviewed")["conditions"]),
            60,
        )
        stories.review("reviewed", "Approve")
        status = stories.until("reviewed")
    finally:
        stories.patch_policy(**USUAL)
    assert status["phase"] == "Promoted"
    assert status["decision"]["by"] == "ann@example.com"
    stories.tale.wait_live(status["version"])


def test_a_run_is_held_back_by_each_rule_and_goes_live_after_its_review(stories: Stories) -> None:
    """Each rule objects by its name, the moved test split too; nothing is touched until a person approves."""
    stories.tale.cluster.kube.kubectl("exec", "workbench", "--", "python3", "-c", SHORTER_ANCHOR)
    stories.patch_policy(gates=EVERY_RULE, data={"anchor": {"uri": "file:///data/pool/anchor-moved"}})
    before = stories.replica_sets()
    try:
        stories.start("held-back", **{**quick("held-back"), "training": RUIN})
        status = stories.until("held-back", "InReview", "Rejected", "Promoted", "Failed")
        assert status["phase"] == "InReview", json.dumps(status["gates"])
        reasons = {gate["reason"] for gate in status["gates"] if gate["verdict"] == "Review"}
        assert reasons == RULES, json.dumps(status["gates"])
        assert all(reason in status["message"].partition(":")[0] for reason in reasons), status["message"]
        assert stories.replica_sets() == before
        stories.review("held-back", "Approve")
        status = stories.until("held-back")
    finally:
        stories.patch_policy(**USUAL, data={"anchor": {"uri": "file:///data/anchor"}})
    assert status["phase"] == "Promoted", status.get("message")
    evidence = (stories.kube.get("modelversion", status["modelVersion"]) or {})["spec"]["evidence"]
    moved = next(gate for gate in status["gates"] if gate["name"] == "yardstickMoved")
    assert evidence["testSet"]["digest"] in moved["message"], "what was approved brings the new yardstick"


def test_a_candidate_whose_pod_cannot_start_is_taken_back(stories: Stories) -> None:
    """The artifact is damaged after its evaluation: the pod refuses it, the base serves on, a hold is set."""
    stories.patch_policy(**STRICT)
    try:
        stories.start("damaged", **quick("damaged"))
        status = stories.until("damaged", "InReview", "Rejected", "Promoted", "Failed")
        assert status["phase"] == "InReview", json.dumps(status["gates"])
        path = status["candidate"]["uri"].removeprefix("file://")
        damage = f"import os; os.chmod({path!r}, 0o644); open({path!r}, 'ab').write(b'x')"
        stories.kube.kubectl("exec", "workbench", "--", "python3", "-c", damage)
        stories.review("damaged", "Approve")
        status = stories.until("damaged")
    finally:
        stories.patch_policy(**USUAL)
    assert status["phase"] == "RolledBack"
    assert "ContainerFails: container 'fetch'" in status["message"], status["message"]
    policy = stories.policy()["status"]
    assert policy["live"]["version"] == "base_v1"
    assert policy["hold"]["reason"] == "RolledBack"
    assert status["version"] in [item["version"] for item in policy["quarantined"]]
    stories.tale.wait_live("base_v1")


def test_a_killed_trainer_pod_leads_to_one_outcome(stories: Stories) -> None:
    """The pod dies half-way: a second attempt of that step, and one version in the end."""
    stories.patch_policy(**LENIENT)
    try:
        stories.start("killed", **quick("killed", epochs=3))
        stories.until("killed", "Training")
        selector = "finetune-operator.io/owner-name=killed,finetune-operator.io/step=train"
        stories.kube.wait(
            "trainer pod",
            lambda: any(p["status"].get("phase") == "Running" for p in stories.kube.items("pods", selector)),
            120,
        )
        stories.kube.kubectl("delete", "pods", "-l", selector, "--grace-period=0", "--force")
        status = stories.until("killed")
    finally:
        stories.patch_policy(**USUAL)
    assert status["phase"] == "Promoted", status.get("message")
    assert stories.jobs("killed") == {"prepare": 1, "train": 2, "evaluate": 1}
    assert stories.versions_of("killed") == [status["version"]]


def _phase(*phases: str) -> object:
    return lambda stories, run: stories.run_status(run).get("phase") in phases


def _watching(stories: Stories, run: str) -> bool:
    return (stories.policy()["status"].get("inFlight") or {}).get("phase") == "Watching"


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("k-prepare", lambda s, run: bool(s.kube.items("jobs", f"finetune-operator.io/owner-name={run}"))),
        ("k-training", _phase("Training")),
        ("k-version", _phase("Evaluating")),
        ("k-flip", lambda s, run: bool(s.run_status(run).get("promotion"))),
        ("k-watching", _watching),
    ],
)
def test_the_operator_killed_at_any_moment_ends_the_same(stories: Stories, name: str, moment: object) -> None:
    """Whatever the operator was doing when it was killed: one Job per step, one version, promoted."""
    assert callable(moment)
    stories.patch_policy(**LENIENT)
    try:
        stories.start(name, **quick(name))
        stories.kube.wait(f"{name}: the moment", lambda: bool(moment(stories, name)), 600, every=0.2)
        stories.kill_operator()
        status = stories.until(name)
    finally:
        stories.patch_policy(**USUAL)
    assert status["phase"] == "Promoted", status.get("message")
    assert stories.jobs(name) == {"prepare": 1, "train": 1, "evaluate": 1}
    assert stories.versions_of(name) == [status["version"]]
    stories.tale.wait_live(status["version"])
