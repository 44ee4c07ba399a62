"""The main story on a real, tiny model: import, verify, prepare, train, evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EvaluateInputs, PrepareInputs, TrainInputs
from finetune_trainer.documents.result import EvaluateResult, PrepareResult, TrainResult
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.train import train
from finetune_trainer.steps.verify import verify
from trainer.world import World, context


@pytest.fixture(scope="module")
def prepared(base: dict[str, Any], shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> PrepareResult:
    document = shared_world.parsed(base)
    return prepare(context("prepare", document, tmp_path_factory.mktemp("p")), document, PrepareInputs(1))


@pytest.fixture(scope="module")
def trained(
    base: dict[str, Any], shared_world: World, prepared: PrepareResult, tmp_path_factory: pytest.TempPathFactory
) -> TrainResult:
    document = shared_world.parsed(base)
    return train(context("train", document, tmp_path_factory.mktemp("t")), document, TrainInputs(1, prepared.plan))


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
    inputs = EvaluateInputs(1, 1, prepared.plan, candidate)
    return evaluate(context("evaluate", document, tmp_path_factory.mktemp("e")), document, inputs)


def test_the_mix_is_all_new_pages_and_the_row_of_the_table(prepared: PrepareResult) -> None:
    assert (prepared.pool, prepared.new, prepared.fresh) == (12, 12, 12)
    assert prepared.ratio == "50"
    assert prepared.old == 64, "50 x 12 is more than the anchor has"
    assert prepared.train == 76


def test_training_reports_what_ran(trained: TrainResult) -> None:
    assert (trained.epochs, trained.batch, trained.images, trained.device) == (2, 16, 76, "cpu")
    assert set(trained.losses) >= {"box", "cls"}


def test_the_candidate_is_measured_beside_its_base(evaluated: EvaluateResult) -> None:
    candidate, old = evaluated.models.candidate, evaluated.models.base
    assert candidate.pool is not None
    assert old.pool is not None
    assert min(float(candidate.map50), float(old.map50)) > 0.5
    assert candidate.pool.boxes == 36
    assert candidate.pool.field_rate is not None
    assert old.pool.field_rate is None
    assert evaluated.new_set.trained_on


def test_every_published_file_is_in_the_report_of_its_step(evaluated: EvaluateResult, shared_world: World) -> None:
    folder = shared_world.artifacts / "ml" / "uid-1" / "attempt-1" / "evaluate-round-1"
    [report] = folder.rglob("report.json")
    content = json.loads(report.read_text())
    assert content["result"]["models"]["candidate"]["map50"] == evaluated.models.candidate.map50
    assert len(content["details"]["candidate"]["test"]) == 24
    assert {p.name for p in folder.rglob("plots/*")} == {"precision-recall.png", "new-pages.jpg"}


def test_an_imported_base_is_verified_by_measuring_it(
    base: dict[str, Any], shared_world: World, evaluated: EvaluateResult, tmp_path: Path
) -> None:
    document = shared_world.verification(base)
    result = verify(context("verify", document, tmp_path), document)
    assert result.models.base.map50 == evaluated.models.base.map50
    assert (result.artifact.sha256, result.artifact.bytes > 0) == (base["artifact"]["sha256"], True)
    assert result.test_set == evaluated.test_set
    assert result.settings == evaluated.settings
