"""What alerts hold production against: on which documents it is measured, and that no step ever fails for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finetune_trainer.documents.codec import FileReference, encode
from finetune_trainer.documents.inputs import EvaluateInputs, PrepareInputs
from finetune_trainer.errors import ErrorClass, Reason, StepError
from finetune_trainer.steps import production_baseline
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.models import fetch_base
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.storage import Storage
from trainer.captured import TODAY, Production
from trainer.policy import Policy
from trainer.replaying import NOW, Gate, Seer
from trainer.world import NONCE, context

SURE = f"{(0.9 + 0.85 + 0.8) / 3:.6f}"
"""How sure a model of these tests is of three marks."""


@pytest.fixture
def gate(policy: Policy, tmp_path: Path) -> Gate:
    return Gate(policy, Production(tmp_path / "production"), asked=False)


def documents(gate: Gate) -> int:
    made = gate.baseline(Seer(), Seer())
    return 0 if made is None else made.result.documents


def test_without_the_third_gate_documents_are_drawn_for_it_and_the_plan_has_none(gate: Gate) -> None:
    gate.capture(*range(7000, 7004))
    made = gate.baseline(Seer(misses={7000: [2]}), Seer(misses={7000: [0], 7001: [0], 7002: [1]}))
    assert made is not None
    assert gate.plan().production is None
    assert (made.result.documents, made.result.field) == (4, (0, 1, 2))
    assert made.result.detected == (2, 3, 4)
    assert [(row.name, row.candidate, row.live) for row in made.report.fields] == [
        ("number", 2, 4), ("date", 3, 4), ("total", 4, 3),
    ]  # fmt: skip


@pytest.mark.row("R327")
def test_a_page_that_the_candidate_does_not_answer_ends_the_third_gate_and_not_what_alerts_go_by(gate: Gate) -> None:
    gate.capture(*range(7000, 7004))
    silent = Seer(silent=[7000])
    made = gate.baseline(silent, silent)
    assert made is not None
    assert made.result.detected == (3, 3, 3)
    gate.asked = True
    assert sorted(gate.replay(silent, Seer()).result.gained) == [1, 1, 1], "what is live finds nothing there"
    with pytest.raises(StepError, match="would be answered with an error") as caught:
        gate.replay(Seer(), silent)
    assert caught.value.reason is Reason.BASE_UNUSABLE


def test_how_sure_a_model_is_counts_each_fields_best_box_on_each_page(gate: Gate) -> None:
    gate.capture(*range(7000, 7004))
    made = gate.baseline(Seer(), Seer(misses={seed: [0, 1, 2] for seed in range(7000, 7004)}))
    assert made is not None
    assert (made.report.live_confidence, made.report.candidate_confidence, made.result.confidence) == (SURE, "", "")


def test_with_the_third_gate_its_documents_are_taken_and_no_page_is_read_twice(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.asked = True
    monkeypatch.setattr(production_baseline, "ENOUGH", gate.documents)
    gate.capture(*range(7000, 7020))
    old, new = Seer(), Seer()
    made = gate.baseline(old, new)
    assert made is not None
    assert made.result.documents == old.asked == new.asked == gate.documents


@pytest.mark.parametrize("today", [0, 2])
@pytest.mark.row("V85")
def test_where_the_third_gate_may_draw_too_few_others_are_drawn_for_it(gate: Gate, today: int) -> None:
    """The gate's pages lie there until a review is over, which leaves few days: alerts lose nothing by it."""
    gate.asked, gate.keep_days = True, 16
    gate.capture(*range(7000, 7000 + today))
    gate.capture(*range(7010, 7018), days_ago=20)
    assert len(gate.plan().production or ()) == today
    made = gate.baseline(Seer(), Seer())
    assert made is not None
    assert made.result.documents == today + 8


def test_and_where_there_are_no_others_those_of_the_gate_are_taken(gate: Gate) -> None:
    gate.asked = True
    gate.capture(7000, 7001)
    made = gate.baseline(Seer(), Seer())
    assert made is not None
    assert made.result.documents == 2


def test_a_field_is_found_on_a_document_by_whichever_page_and_a_page_without_one_is_its_own(gate: Gate) -> None:
    gate.capture(7000, 7001, document="one")
    gate.capture(7002)
    made = gate.baseline(Seer(), Seer(misses={7000: [0], 7002: [1]}))
    assert made is not None
    assert (made.result.documents, dict(zip(made.result.field, made.result.detected, strict=True))) == (
        2, {0: 2, 1: 1, 2: 2},
    )  # fmt: skip


def test_what_candidate_base_or_live_version_learnt_from_is_left_out_and_so_are_other_strata(gate: Gate) -> None:
    gate.verify(7001, held_out=False)
    gate.policy.base = gate.policy.run()
    gate.verify(7002, held_out=False)
    live = gate.policy.run()
    gate.verify(7003, held_out=False)
    gate.capture(7000, 7001, 7002, 7003, 3, 1000, 2000)
    gate.capture(7004, stratum="Uncertain")
    made = gate.baseline(Seer(), Seer(), live=live)
    assert made is not None
    assert made.result.documents == 1


def test_what_only_the_live_version_learnt_from_is_left_out(gate: Gate) -> None:
    gate.verify(7001, held_out=False)
    live = gate.policy.run()
    gate.policy.pool = gate.policy.world.root / "second"
    gate.policy.add(5000, 12)
    gate.capture(7000, 7001)
    made = gate.baseline(Seer(), Seer(), live=live)
    assert made is not None
    assert made.result.documents == 1


@pytest.mark.parametrize("holdout", ["0", "0.5"])
def test_another_page_of_a_document_that_trained_is_left_out_too(gate: Gate, holdout: str) -> None:
    gate.policy.holdout = holdout
    [trained] = gate.verify(7001, held_out=False)
    [measured] = gate.verify(7002, held_out=True) if holdout != "0" else ["none"]
    gate.capture(7003, document=trained)
    gate.capture(7004, document=measured)
    gate.capture(7005)
    assert documents(gate) == 2


def test_days_to_come_are_left_out_as_the_third_gate_leaves_them_out(gate: Gate) -> None:
    """A pod with a wrong clock, or who writes the bucket, keeps pages there that never expire."""
    gate.capture(*range(7000, 7004))
    for ahead in range(1, 32):
        gate.capture(7010 + ahead, days_ago=-ahead)
    assert documents(gate) == 4


def test_documents_pages_and_days_have_a_bound(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.capture(*range(7000, 7004), document="of many pages")
    gate.capture(7004, 7005, days_ago=1)
    assert documents(gate) == 3
    with monkeypatch.context() as patch:
        patch.setattr(production_baseline, "DOCUMENTS", 2)
        assert documents(gate) == 2
    with monkeypatch.context() as patch:
        patch.setattr(production_baseline, "PAGES", 1)
        assert documents(gate) == 1
    with monkeypatch.context() as patch:
        patch.setattr(production_baseline, "DAYS", 1)
        assert documents(gate) == 1


def test_of_a_document_with_very_many_pages_no_more_are_run_than_the_bound(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.capture(*range(7000, 7004), document="of many pages")
    monkeypatch.setattr(production_baseline, "PAGES", 2)
    old, new = Seer(), Seer()
    assert gate.baseline(old, new) is not None
    assert (old.asked, new.asked) == (2, 2)


def test_where_no_page_is_captured_there_is_none_and_it_is_said(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.baseline(Seer(), Seer()) is None
    said = [json.loads(line).get("activity", "") for line in capsys.readouterr().out.splitlines()]
    assert any("alerts go by the test set" in activity for activity in said)


def test_a_document_that_names_no_captured_pages_measures_none(gate: Gate) -> None:
    gate.capture(7000)
    step, document, inputs, plan, models = gate.evaluating(Seer(), Seer(), None, None)
    document = msgspec.structs.replace(document, data=msgspec.structs.replace(document.data, production=None))
    assert gate.measured((step, document, inputs, plan, models)) is None


def test_anchor_and_pool_are_not_read_again_for_it(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.capture(7000)
    given = step, document, inputs, _, models = gate.evaluating(Seer(), Seer(), None, None)
    yardstick = gate.yardstick(given)
    honest, places = Storage.read, []

    def watched(storage: Storage, uri: str) -> bytes:
        places.append(uri)
        return honest(storage, uri)

    monkeypatch.setattr(Storage, "read", watched)
    made = production_baseline.measure_baseline(step, document, inputs, yardstick, models, None, TODAY)
    assert made is not None
    assert places
    assert not [uri for uri in places if uri.startswith((document.data.anchor.uri, document.data.pool.uri))]


@pytest.mark.parametrize("error_class", [ErrorClass.UNAVAILABLE, ErrorClass.BAD_INPUT])
@pytest.mark.parametrize("part", ["/pages/", "/files/"])
def test_pages_that_cannot_be_read_fail_no_step(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error_class: ErrorClass, part: str
) -> None:
    gate.capture(7000)
    given = gate.evaluating(Seer(), Seer(), None, None)
    honest = Storage.read

    def away(storage: Storage, uri: str) -> bytes:
        if part in uri and "production" in uri:
            raise StepError(error_class, Reason.STORAGE_UNAVAILABLE, "no right to read there", "give it")
        return honest(storage, uri)

    monkeypatch.setattr(Storage, "read", away)
    assert gate.measured(given) is None
    assert "no right to read there" in capsys.readouterr().out


def test_pages_of_another_deployment_at_the_place_fail_no_step(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    gate.capture(7000)
    given = gate.evaluating(Seer(), Seer(), None, None)
    owner = gate.production.folder / "capture.json"
    owner.write_text(json.dumps(json.loads(owner.read_text()) | {"deployment": "another"}))
    assert gate.measured(given) is None
    assert "another" in capsys.readouterr().out


def test_an_error_that_is_not_of_the_pages_ends_the_step(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.capture(7000)

    def broken(*_: Any, **__: Any) -> None:
        raise StepError(ErrorClass.INTERNAL, Reason.INTERNAL, "a bug", "report it")

    monkeypatch.setattr(production_baseline, "draw_documents", broken)
    with pytest.raises(StepError, match="a bug"):
        gate.baseline(Seer(), Seer())


def test_an_evaluation_carries_it_into_result_and_report(
    base: dict[str, Any], gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real model on both sides; and where the pages went away meanwhile, all else is the same."""
    gate.capture(*range(7000, 7006))
    named = gate.policy.world.parsed(base, artifacts__uri=(tmp_path / "out").as_uri())
    document = msgspec.structs.replace(named, data=gate.parsed().data)
    asked = PrepareInputs(1, NONCE)
    prepared = prepare(context("prepare", document, tmp_path / "p"), document, asked, clock=lambda: NOW)
    assert (prepared.production, prepared.digests.production) == (None, None)
    detector = fetch_base(context("evaluate", document, tmp_path / "b"), document)
    models = {"candidate": (detector, "1" * 64), "base": (detector, "0" * 64)}
    monkeypatch.setattr("finetune_trainer.steps.evaluate._fetch_models", lambda *_: models)
    inputs = EvaluateInputs(1, NONCE, 1, prepared.plan, FileReference("file:///candidate", "1" * 64))
    result = evaluate(context("evaluate", document, tmp_path / "e"), document, inputs, clock=lambda: NOW)
    assert result.production is None
    assert result.baseline is not None
    assert result.baseline.documents == 6
    [report] = (tmp_path / "out").rglob("report.json")
    written = json.loads(report.read_text())
    rows = written["baseline"]["fields"]
    assert [row["name"] for row in rows] == ["number", "date", "total"]
    assert [row["candidate"] for row in rows] == [row["live"] for row in rows]
    assert written["baseline"]["documents"] == 6
    assert written["result"]["baseline"] == json.loads(encode(result.baseline))
    shutil.rmtree(gate.production.folder)
    again = msgspec.structs.replace(inputs, attempt=2, round=2)
    without = evaluate(context("evaluate", document, tmp_path / "e", attempt=2), document, again, clock=lambda: NOW)
    assert without.baseline is None
    assert without.models.candidate.map50 == result.models.candidate.map50
    assert without.test_set == result.test_set
