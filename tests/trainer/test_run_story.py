"""The main story on a real, tiny model: import, verify, prepare, train, evaluate."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.digests import set_digest
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EvaluateInputs, LiveModel, PrepareInputs, TrainInputs
from finetune_trainer.documents.result import EvaluateResult, PrepareResult, TrainResult
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.detector import Detector
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.models import fetch_base, fetch_candidate
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.train import train
from finetune_trainer.steps.verify import verify
from finetune_trainer.steps.yardstick import read_yardstick
from finetune_trainer.storage import local_path
from finetune_trainer.training.precision import detect_hardware
from house.crds import ROOT
from trainer.world import NONCE, World, context, withdraw_from


@pytest.fixture(scope="module")
def prepared(base: dict[str, Any], shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> PrepareResult:
    document = shared_world.parsed(base)
    return prepare(context("prepare", document, tmp_path_factory.mktemp("p")), document, PrepareInputs(1, NONCE))


@pytest.fixture(scope="module")
def trained(
    base: dict[str, Any], shared_world: World, prepared: PrepareResult, tmp_path_factory: pytest.TempPathFactory
) -> TrainResult:
    document = shared_world.parsed(base)
    return train(
        context("train", document, tmp_path_factory.mktemp("t")), document, TrainInputs(1, NONCE, prepared.plan)
    )


@pytest.fixture(scope="module")
def evaluated(
    base: dict[str, Any],
    shared_world: World,
    prepared: PrepareResult,
    trained: TrainResult,
    tmp_path_factory: pytest.TempPathFactory,
) -> EvaluateResult:
    document = shared_world.parsed(base)
    candidate = FileReference(trained.artifact.uri, trained.artifact.sha256)
    inputs = EvaluateInputs(1, NONCE, 1, prepared.plan, candidate)
    return evaluate(context("evaluate", document, tmp_path_factory.mktemp("e")), document, inputs)


@pytest.mark.parametrize(("erase", "reason"), [(True, Reason.SAMPLE_WITHDRAWN), (False, Reason.DATA_UNREADABLE)])
def test_training_tells_pages_that_were_erased_since_from_files_that_are_lost(
    base: dict[str, Any], world: World, tmp_path: Path, erase: bool, reason: Reason
) -> None:
    document = world.parsed(base, artifacts__uri=(tmp_path / "out").as_uri())
    prepared = prepare(context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE))
    [batch] = (world.pool / "batches").iterdir()
    if erase:
        withdraw_from(world.pool, batches=(batch.stem,), erase=True)
    else:
        next(world.pool.rglob("*.png")).unlink()
    with pytest.raises(StepError) as caught:
        train(context("train", document, tmp_path / "t"), document, TrainInputs(1, NONCE, prepared.plan))
    assert caught.value.reason is reason
    assert ("12 pages that the plan was drawn from were erased" in caught.value.message) == erase


def test_an_evaluation_tells_pages_that_were_erased_while_it_measured(
    base: dict[str, Any], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = world.parsed(base, artifacts__uri=(tmp_path / "out").as_uri())
    prepared = prepare(context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE))
    [batch] = (world.pool / "batches").iterdir()
    detector = fetch_base(context("evaluate", document, tmp_path / "b"), document)

    def meanwhile(*_: object) -> dict[str, tuple[Detector, str]]:
        withdraw_from(world.pool, batches=(batch.stem,), erase=True)
        return {"candidate": (detector, "0" * 64), "base": (detector, "0" * 64)}

    monkeypatch.setattr("finetune_trainer.steps.evaluate._fetch_models", meanwhile)
    inputs = EvaluateInputs(1, NONCE, 1, prepared.plan, FileReference("file:///candidate", "0" * 64))
    with pytest.raises(StepError, match="12 pages that the plan was drawn from were erased") as caught:
        evaluate(context("evaluate", document, tmp_path / "e"), document, inputs)
    assert caught.value.reason is Reason.SAMPLE_WITHDRAWN


def test_the_mix_is_all_new_pages_and_the_row_of_the_table(prepared: PrepareResult) -> None:
    assert (prepared.pool, prepared.outside, prepared.new, prepared.fresh) == (12, 12, 12, 12)
    assert prepared.ratio == "50"
    assert prepared.old == 64, "50 x 12 is more than the anchor has"
    assert prepared.train == 76


def test_training_reports_what_ran(trained: TrainResult) -> None:
    assert (trained.epochs, trained.batch, trained.images, trained.device) == (2, 16, 76, detect_hardware().name)
    assert set(trained.losses) >= {"box", "cls"}


def test_the_candidate_is_measured_beside_its_base(evaluated: EvaluateResult) -> None:
    candidate, old = evaluated.models.candidate, evaluated.models.base
    assert candidate.pool is not None
    assert old.pool is not None
    assert min(float(candidate.map50), float(old.map50)) > 0.5
    assert candidate.pool.boxes == 36
    floor = evaluated.new_set.floor
    assert floor is not None
    assert (floor.measured, floor.field) == (0, ()), "36 boxes of three fields: none has 30"
    assert evaluated.new_set.trained_on


def test_every_published_file_is_in_the_report_of_its_step(evaluated: EvaluateResult, shared_world: World) -> None:
    folder = shared_world.artifacts / "ml" / "uid-1" / "evaluations" / f"evaluate-attempt-1-round-1-{NONCE}"
    [report] = folder.glob("*/report.json")
    content = json.loads(report.read_text())
    assert content["result"]["models"]["candidate"]["map50"] == evaluated.models.candidate.map50
    assert len(content["details"]["candidate"]["test"]) == 24
    assert {p.name for p in folder.rglob("plots/*")} == {"precision-recall.png", "new-pages.jpg"}


def test_the_page_of_a_review_names_the_files_as_they_lie_beside_the_manifest(
    evaluated: EvaluateResult, shared_world: World
) -> None:
    assert evaluated.models.candidate
    [report] = (shared_world.artifacts / "ml" / "uid-1" / "evaluations").glob("evaluate-*/*/report.json")
    there = {path.relative_to(report.parent).as_posix() for path in report.parent.rglob("*") if path.is_file()}
    page = (ROOT / "docs" / "guide" / "7-review.md").read_text()
    assert set(re.findall(r"^\| `([^`]+[.](?:json|png|jpg))` \|", page, re.MULTILINE)) == there


def test_an_imported_base_is_verified_by_measuring_it(
    base: dict[str, Any], shared_world: World, evaluated: EvaluateResult, tmp_path: Path
) -> None:
    document = shared_world.verification(base)
    result = verify(context("verify", document, tmp_path), document)
    assert result.models.base.map50 == evaluated.models.base.map50
    assert (result.artifact.sha256, result.artifact.bytes > 0) == (base["artifact"]["sha256"], True)
    test_set = evaluated.test_set
    assert (result.test_set.digest, result.test_set.images) == (test_set.digest, test_set.images)
    assert (result.test_set.drops, result.test_set.floor) == (None, None)
    assert result.settings == evaluated.settings


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("confidence", "0.3", "confidence 0.25, not 0.3"),
        ("maxDetections", 20, "max_detections"),
        ("nmsIou", "0.5", "nms"),
    ],
)
def test_an_artifact_that_is_served_otherwise_than_the_document_says_is_not_measured(
    base: dict[str, Any],
    shared_world: World,
    trained: TrainResult,
    tmp_path: Path,
    setting: str,
    value: object,
    said: str,
) -> None:
    document = shared_world.parsed(base, **{f"serving__{setting}": value})
    with pytest.raises(StepError, match=said) as caught:
        fetch_base(context("evaluate", document, tmp_path / "b"), document)
    assert caught.value.reason is Reason.BASE_UNUSABLE
    artifact = FileReference(trained.artifact.uri, trained.artifact.sha256)
    with pytest.raises(StepError, match="would be served otherwise") as caught:
        fetch_candidate(context("evaluate", document, tmp_path / "c"), document, artifact)
    assert caught.value.reason is Reason.CONTRACT_VIOLATED


def swapped(prepared: PrepareResult, folder: Path, **changes: Any) -> FileReference:
    """Return another plan in the place of the run's own, as whoever writes to the store could leave one."""
    path = local_path(prepared.plan.uri)
    assert path is not None
    plan = json.loads(path.read_text())
    for name, change in changes.items():
        plan[name] = change(plan[name])
    data = json.dumps(plan).encode()
    (folder / "plan.json").write_bytes(data)
    return FileReference((folder / "plan.json").as_uri(), hashlib.sha256(data).hexdigest())


def with_own_digest(plan: dict[str, Any]) -> str:
    """Return the digest of a plan's new samples, so that the plan agrees with itself."""
    return set_digest((s["image"]["sha256"], s["label"] and s["label"]["sha256"]) for s in plan["newSet"])


def strange_page() -> dict[str, Any]:
    """Return an entry of a plan that trains on a page of neither pool nor anchor."""
    file = {"uri": "file:///elsewhere/page.png", "sha256": "9" * 64}
    return {"image": file, "label": file | {"sha256": "8" * 64}, "bytes": 1, "boxes": 1, "origin": "anchor"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"digests": lambda digests: digests | {"testSet": "0" * 64}}, "test split"),
        ({"newSet": lambda samples: samples[:1]}, "new samples"),
        ({"listing": lambda listing: listing[:-1]}, "lists 1 samples otherwise"),
        ({"listing": lambda listing: listing[:3]}, "lists 9 samples otherwise"),
        ({"listing": lambda listing: [*listing, listing[0] | {"label": "0" * 64}]}, "lists 1 samples otherwise"),
        ({"listing": lambda listing: [listing[0] | {"use": "withdrawn"}, *listing[1:]]}, "withdrawn .*and not train"),
        ({"listing": lambda listing: [listing[0], *listing]}, "twice, or in another order"),
        ({"newSet": lambda samples: [s | {"document": "one"} for s in samples]}, "says other documents"),
        ({"newSet": lambda samples: [s | {"heldOut": True} for s in samples]}, "holds out others"),
        ({"newSet": lambda samples: [*samples[1:], samples[0]]}, "in another order"),
        ({"newSet": lambda samples: [s | {"bytes": 1} for s in samples]}, "files or classes"),
        ({"newSet": lambda samples: [s | {"fields": 2} for s in samples]}, "files or classes"),
        ({"train": lambda samples: [s | {"fields": 2} for s in samples]}, "files or classes"),
        ({"test": lambda samples: [s | {"fields": 2} for s in samples]}, "the anchor's labels"),
        ({"owner": lambda _: "uid-2"}, "uid-2"),
        ({"poolUri": lambda uri: uri + "-2"}, "it was drawn from the pool .*-2, not from"),
        ({"train": lambda samples: samples[1:]}, "other pages of the pool"),
        ({"train": lambda samples: [s | {"origin": "anchor"} for s in samples]}, "other pages of the pool"),
        ({"train": lambda samples: [*samples, strange_page()]}, "not in the anchor's train split"),
        ({"val": lambda samples: samples[1:]}, "val pages"),
    ],
)
def test_a_plan_that_names_another_yardstick_is_refused(
    base: dict[str, Any],
    shared_world: World,
    prepared: PrepareResult,
    tmp_path: Path,
    changes: dict[str, Any],
    said: str,
) -> None:
    document = shared_world.parsed(base)
    inputs = EvaluateInputs(1, NONCE, 1, swapped(prepared, tmp_path, **changes), FileReference("file:///c", "c" * 64))
    with pytest.raises(StepError, match=said) as caught:
        read_yardstick(context("evaluate", document, tmp_path / "s"), document, inputs)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_a_plan_with_fewer_new_samples_is_refused_even_where_it_agrees_with_itself(
    base: dict[str, Any], shared_world: World, prepared: PrepareResult, tmp_path: Path
) -> None:
    path = local_path(prepared.plan.uri)
    assert path is not None
    easy = json.loads(path.read_text())["newSet"][:4]
    own = with_own_digest({"newSet": easy})
    plan = swapped(prepared, tmp_path, newSet=lambda _: easy, digests=lambda digests: digests | {"newSet": own})
    document = shared_world.parsed(base)
    inputs = EvaluateInputs(1, NONCE, 1, plan, FileReference("file:///c", "c" * 64))
    with pytest.raises(StepError, match="new samples"):
        read_yardstick(context("evaluate", document, tmp_path / "s"), document, inputs)


@pytest.mark.parametrize("measures", ["test", "newSet"])
def test_a_plan_that_trains_on_what_measures_the_model_is_refused(
    base: dict[str, Any], shared_world: World, tmp_path: Path, measures: str
) -> None:
    document = shared_world.parsed(base, holdout="0.5", mixing__minPoolSamples=1)
    honest = prepare(context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE))
    path = local_path(honest.plan.uri)
    assert path is not None
    keep, origin = ("image", "label", "bytes", "boxes"), "anchor" if measures == "test" else "pool"
    taught = [{k: s[k] for k in keep} | {"origin": origin} for s in json.loads(path.read_text())[measures]]
    assert taught

    def read(plan: FileReference) -> None:
        inputs = EvaluateInputs(1, NONCE, 1, plan, FileReference("file:///c", "c" * 64))
        read_yardstick(context("evaluate", document, tmp_path / "s"), document, inputs)

    read(honest.plan)
    with pytest.raises(StepError, match="it trains on") as caught:
        read(swapped(honest, tmp_path, train=lambda samples: [*samples, *taught]))
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_an_anchor_that_was_indexed_anew_needs_a_new_run(
    base: dict[str, Any], shared_world: World, prepared: PrepareResult, tmp_path: Path
) -> None:
    moved = tmp_path / "anchor"
    document = shared_world.parsed(base)
    anchor = local_path(document.data.anchor.uri)
    assert anchor is not None
    shutil.copytree(anchor, moved)
    index_file = moved / "finetune-index.json"
    content = json.loads(index_file.read_text())
    content["splits"]["test"].pop()
    index_file.write_text(json.dumps(content))
    document = shared_world.parsed(base, data__anchor={"uri": moved.as_uri()})
    inputs = EvaluateInputs(1, NONCE, 1, prepared.plan, FileReference("file:///c", "c" * 64))
    with pytest.raises(StepError, match="make a new run"):
        read_yardstick(context("evaluate", document, tmp_path / "s"), document, inputs)


def test_what_is_fresh_is_counted_against_what_is_live_at_the_evaluation(
    base: dict[str, Any], shared_world: World, prepared: PrepareResult, tmp_path: Path
) -> None:
    document = shared_world.parsed(base)
    candidate = FileReference("file:///c", "c" * 64)
    live = LiveModel("ft_v1.1", FileReference("file:///live", "1" * 64), prepared.plan)

    def fresh(live: LiveModel | None) -> tuple[int, int]:
        inputs = EvaluateInputs(1, NONCE, 1, prepared.plan, candidate, live)
        counts = read_yardstick(context("evaluate", document, tmp_path / "s"), document, inputs).counts
        return counts.fresh, counts.documents

    assert prepared.new_set.fresh == prepared.new_set.documents
    assert (prepared.new_set.documents, prepared.new_set.boxes) == (fresh(None)[1], 36)
    assert fresh(None) == (prepared.new_set.documents, prepared.new_set.documents)
    assert fresh(live) == (0, prepared.new_set.documents), "the live version was trained on all of them"


def test_what_ultralytics_said_is_kept_where_training_fails(
    base: dict[str, Any], shared_world: World, prepared: PrepareResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune_trainer.training.yolo.placed_name", lambda number, _: f"other-{number}")
    document = shared_world.parsed(base, owner__uid="uid-failed", artifacts__uri=(tmp_path / "uid-failed").as_uri())
    plan = swapped(prepared, tmp_path, owner=lambda _: "uid-failed")
    with pytest.raises(StepError, match="Training would not see 76 of 76 pages") as caught:
        train(context("train", document, tmp_path / "t"), document, TrainInputs(1, NONCE, plan))
    log = local_path(caught.value.remedy.rpartition("The log: ")[2].removesuffix("."))
    assert log is not None
    assert "Transferred" in log.read_text()
