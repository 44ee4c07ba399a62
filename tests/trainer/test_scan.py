"""Step `scan` as a Job: what it counts, what it leaves behind, and that it needs nothing heavy for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.documents.codec import encode
from finetune_trainer.documents.result import RESULT_LIMIT
from trainer.captured import Production
from trainer.pods import Pod
from trainer.policy import Policy
from trainer.world import CLASSES, NONCE, World, owner_document

INPUTS = {"attempt": 40_000, "nonce": NONCE, "basePlan": None, "judged": []}
HEAVY = ("torch", "ultralytics", "numpy", "cv2", "onnx", "onnxruntime", "matplotlib")
NAMES_HEAVY = f"""
import atexit, sys
from finetune_trainer.cli import main
code = main(sys.argv[1:])
print("heavy:", sorted(set({HEAVY}) & sys.modules.keys()), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def job(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "job")


def document_of(world: World, **changes: Any) -> dict[str, Any]:
    data = {"anchor": {"uri": world.anchor.as_uri()}, "pool": {"uri": world.pool.as_uri()}, "production": None}
    return {
        "schema": "finetune-operator.io/run-document/v1",
        "owner": {"kind": "FineTunePolicy", "namespace": "ml", "name": "marks", "uid": "policy-uid"},
        "mode": "Scan",
        "model": "marks",
        "classes": list(CLASSES),
        "deployment": "reader",
        "data": data | changes,
        "holdout": "0",
        "artifacts": {"uri": (world.artifacts / "ml" / "policy-uid").as_uri()},
    }


def test_pool_and_production_pages_are_counted_and_what_is_too_old_goes(job: Pod, world: World, policy: Policy) -> None:
    judged = policy.run()
    policy.add(8000, 5)
    production = world.root / "production"
    today = datetime.now(UTC).date()
    prefix = production / "ml" / "reader"
    for days, stratum in ((0, "random"), (0, "uncertain"), (3, "random"), (90, "reported"), (91, "reported")):
        folder = prefix / "days" / (today - timedelta(days=days)).isoformat() / "pages" / stratum
        folder.mkdir(parents=True)
        (folder / f"{days:032x}.json").write_text("{}")
    (prefix / "capture.json").write_bytes(encode(owner_document("ml", "reader")))
    document = document_of(world, production={"uri": production.as_uri(), "keepDays": 90})
    inputs = INPUTS | {"judged": [{"uri": judged.uri, "sha256": judged.sha256}]}
    code, lines = job.run("scan", document, inputs)
    assert code == 0, lines
    message = job.message()
    assert "manifest" not in message
    result = message["result"]
    listing = result.pop("listing")
    assert (message["attempt"], len(listing)) == (40_000, 64)
    assert result == {
        "pool": 17, "heldOut": 0, "withdrawn": 0, "outside": 17, "new": 5, "corrected": 0, "byImage": 0,
        "pages": {"random": 2, "uncertain": 1, "reported": 0, "oldest": (today - timedelta(days=3)).isoformat()},
        "waiting": {"pages": 0, "fields": [0, 0, 0]}, "reports": [], "answered": None, "expiredDays": 2,
    }  # fmt: skip
    assert len(json.dumps(message)) < RESULT_LIMIT
    assert not world.artifacts.exists(), "a scan every quarter of an hour leaves no files there"


def test_what_waits_to_be_labelled_is_counted_by_field(job: Pod, world: World, policy: Policy) -> None:
    """What the pool has does not wait."""
    policy.run()
    pages = Production(world.root / "production", deployment="reader")
    today = {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    pages.image(1, stratum="Uncertain", missing=[CLASSES[1]], **today)
    pages.image(2, stratum="Reported", **today)
    document = document_of(world, production={"uri": (world.root / "production").as_uri(), "keepDays": 90})
    code, lines = job.run("scan", document, INPUTS)
    assert code == 0, lines
    assert job.message()["result"]["waiting"] == {"pages": 2, "fields": [0, 1, 0]}


def test_a_pool_that_nobody_has_added_to_has_no_samples(job: Pod, world: World) -> None:
    code, _ = job.run("scan", document_of(world, pool={"uri": (world.root / "none").as_uri()}), INPUTS)
    assert (code, job.message()["result"]["outside"], job.message()["result"]["pages"]) == (0, 0, None)


def test_a_judged_plan_that_is_lost_is_passed_over_and_named(job: Pod, world: World) -> None:
    lost = {"uri": (world.root / "lost.json").as_uri(), "sha256": "0" * 64}
    code, lines = job.run("scan", document_of(world), INPUTS | {"judged": [lost]})
    assert (code, job.message()["result"]["new"]) == (0, 12)
    assert any("lost.json" in line.get("activity", "") for line in lines)


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"classes": ["date", "number"]}, "ClassListDiffers", "index 0: 'number' instead of 'date'"),
        ({"mode": "FineTune"}, "ContractViolated", "run document"),
    ],
)
def test_what_cannot_be_counted_is_said(
    job: Pod, world: World, changes: dict[str, Any], reason: str, said: str
) -> None:
    code, _ = job.run("scan", document_of(world) | changes, INPUTS)
    error = job.message()["error"]
    assert (code, error["reason"]) == (10, reason)
    assert said in error["message"] + error["remedy"]


def test_production_pages_expire_whatever_is_wrong_with_the_pool(job: Pod, world: World) -> None:
    production = world.root / "production"
    old = production / "ml" / "reader" / "days" / "2020-01-01"
    (old / "files").mkdir(parents=True)
    (old / "files" / "a").write_bytes(b"a page")
    document = document_of(world, production={"uri": production.as_uri(), "keepDays": 1}) | {"classes": ["other"]}
    code, _ = job.run("scan", document, INPUTS)
    assert (code, old.exists()) == (10, False)


def test_a_scan_loads_nothing_heavy(job: Pod, world: World, capfd: pytest.CaptureFixture[str]) -> None:
    job.main = ("-c", NAMES_HEAVY)
    code, _ = job.run("scan", document_of(world), INPUTS)
    assert (code, "heavy: []" in capfd.readouterr().out) == (0, True)


def test_a_scan_that_is_collected_has_left_nothing(job: Pod, world: World) -> None:
    code, lines = job.run("scan", document_of(world), INPUTS, FINETUNE_COLLECT="true")
    assert (code, lines[-1]["error"]["reason"]) == (1, "ResultMissing")
