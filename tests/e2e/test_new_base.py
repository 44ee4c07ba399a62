"""A new base in real pods: made by the policy, held back once, killed half-way, live, and what comes after it."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.deciding import AT_ONCE, Pool, counted, due, fired, new_pool, run_names, trigger, wait_due
from e2e.stories import LENIENT, Stories, quick

POLICY = "rebuilt-fields"
DETECTOR = "rebuilt-detector"
EPOCHS = 8
LEARNS_NOTHING: dict[str, Any] = {"epochs": 1, "lr0": "0.000001"}
"""From random weights: what comes of it finds nothing."""

AS_THE_FIRST: dict[str, Any] = {
    "epochs": EPOCHS,
    "batch": 16,
    "nominalBatch": 16,
    "optimizer": "AdamW",
    "lr0": "0.004",
    "lrf": "0.02",
    "cosLr": True,
    "warmupEpochs": "1",
    "warmupBiasLr": "0",
    "closeMosaic": 0,
    "patience": 0,
}
"""How the example trains its first base from random weights (invoice_example/recipe.py)."""


@contextmanager
def line_of_its_own(stories: Stories, pool: Pool) -> Iterator[None]:
    """Have a second policy on a Deployment of its own that serves base_v1, so that other stories keep their base."""
    kube, tale = stories.kube, stories.tale
    manifest = tale.manifest("50-serving.yaml").replace("invoice-detector", DETECTOR)
    kube.apply(manifest)
    spec = copy.deepcopy(stories.policy()["spec"])
    spec["data"]["pool"] = {"uri": pool.uri}
    stories.apply(
        "FineTunePolicy", POLICY, spec | {"deployment": DETECTOR, "scan": {"intervalSeconds": 60}, "minPoolSamples": 1}
    )
    stories.apply("ModelPromotion", "rebuilt-first", {"policy": POLICY, "version": "base_v1", "reason": "a story"})
    try:
        tale.wait_promotion("rebuilt-first", 300)
        yield
    finally:
        kube.kubectl("delete", "finetunepolicy", POLICY)
        for run in run_names(stories, POLICY):
            kube.kubectl("delete", "finetunerun", run, "--ignore-not-found")
        kube.kubectl("delete", "modelpromotion", "rebuilt-first", "--ignore-not-found")
        kube.kubectl("delete", "deployment,service", DETECTOR, "--ignore-not-found")


def decide(stories: Stories, training: dict[str, Any], pool_samples: int, **spec: Any) -> None:
    """Say how rebuilds are trained and from how many samples on they are made."""
    rules = {"rebuild": {"poolSamples": pool_samples, "training": training}, "triggers": AT_ONCE} | spec
    stories.kube.kubectl("patch", "finetunepolicy", POLICY, "--type=merge", "-p", json.dumps({"spec": rules}))


def kill_half_way(stories: Stories, run: str) -> int:
    """Kill the training's pod without grace once half of its epochs are over; return how many were."""

    def half() -> int:
        progress = stories.run_status(run).get("progress") or {}
        return progress.get("epoch", 0) if progress.get("step") == "train" else 0

    stories.kube.wait(f"{run}: half of the epochs", lambda: half() >= EPOCHS // 2, 600, every=0.5)
    selector = f"finetune-operator.io/owner-name={run},finetune-operator.io/step=train"
    stories.kube.kubectl("delete", "pods", "-l", selector, "--grace-period=0", "--force")
    return half()


def live(stories: Stories) -> str | None:
    """Return what is live by the second policy's record."""
    status = (stories.kube.get("finetunepolicy", POLICY) or {}).get("status", {})
    version: str | None = (status.get("live") or {}).get("version")
    return version


def test_a_policy_makes_a_new_base_in_the_end_and_fine_tunes_start_from_it(stories: Stories) -> None:
    """Rejected, it is not tried again before the pool has grown by a tenth; killed half-way, the next one goes on.

    The rejected one is base_v2, and keeps the number.
    """
    pool = new_pool(stories)
    pool.add(0, 50)
    with line_of_its_own(stories, pool):
        decide(stories, LEARNS_NOTHING, 50)
        first = fired(stories, set(), policy=POLICY)
        assert trigger(stories, first)["kind"] == "Rebuild", trigger(stories, first)
        status = stories.until(first, "InReview", "Rejected", "Promoted", "Failed")
        assert status["phase"] == "Rejected", json.dumps(status.get("gates"))
        _not_tried_again(stories, first)
        assert live(stories) == "base_v1"

        decide(stories, AS_THE_FIRST, 50, **LENIENT)
        pool.add(50, 56)
        second = fired(stories, {first}, policy=POLICY)
        epochs = kill_half_way(stories, second)
        status = stories.until(second, "InReview", "Rejected", "Promoted", "Failed")
        assert (status["phase"], status["version"]) == ("Promoted", "base_v3"), json.dumps(status)
        _went_on(stories, second, epochs)
        base = (stories.kube.get("modelversion", status["modelVersion"]) or {})["spec"]
        assert (base["type"], live(stories)) == ("Base", "base_v3")
        wait_due(stories, "NotEnoughOutside", "0 of 50", policy=POLICY)

        pool.add(56, 60)
        stories.start("from-the-new-base", **{**quick("from-the-new-base", epochs=2), "policy": POLICY})
        status = stories.until("from-the-new-base", "InReview", "Rejected", "Promoted", "Failed")
        assert (status["phase"], "NewSetTooSmall" in status["message"]) == ("InReview", True), status["message"]
        stories.review("from-the-new-base", "Approve")
        status = stories.until("from-the-new-base")
        assert (status["phase"], status["version"]) == ("Promoted", "ft_v3.1"), json.dumps(status)
        tuned = (stories.kube.get("modelversion", status["modelVersion"]) or {})["spec"]
        assert (tuned["base"], tuned["lineage"]["baseSha256"]) == ("base_v3", base["artifact"]["sha256"]), tuned
        assert status["inputs"]["outside"] == 4, status["inputs"]
    assert stories.live() == "base_v1"


def _not_tried_again(stories: Stories, run: str) -> None:
    """Check by two scans more that the policy waits for a tenth more, and says so."""
    wait_due(stories, "RebuiltBefore", "55", policy=POLICY)
    scanned = counted(stories, POLICY)["at"]
    stories.kube.wait("another scan", lambda: counted(stories, POLICY)["at"] > scanned, 180)
    assert run_names(stories, POLICY) == {run}, due(stories, POLICY)


def _went_on(stories: Stories, run: str, epochs: int) -> None:
    """Check that a second attempt went on after the epochs that the first one had kept."""
    status = stories.run_status(run)
    attempts = [one for one in status["attempts"] if one["step"] == "train"]
    assert [one["outcome"] for one in attempts] == ["Failed", "Succeeded"], attempts
    written = stories.tale.settings.state / "data" / status["candidate"]["uri"].removeprefix("file:///data/")
    (before,) = json.loads((written.parent.parent / "manifest.json").read_text())["emitted"]["result"]["resumed"]
    assert before["attempt"] == 1
    assert epochs - 1 <= before["epoch"] < EPOCHS, before
