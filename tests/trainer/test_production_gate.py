"""The third gate: what two models make of the documents of production that were drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from finetune_trainer import local_files
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference, digest, encode
from finetune_trainer.documents.inputs import EvaluateInputs, PrepareInputs
from finetune_trainer.documents.plan import Plan
from finetune_trainer.documents.report import Difference
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.detector import Detector
from finetune_trainer.production.counts import count_captured
from finetune_trainer.production.expiry import expire
from finetune_trainer.production.layout import Production as Layout
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.models import fetch_base
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.storage import Storage, local_path
from trainer.captured import vanishing
from trainer.replaying import NOW, Gate, Seer
from trainer.world import NONCE, context


def path(place: str | None) -> Path:
    assert place is not None
    path_ = local_path(place)
    assert path_ is not None
    return path_


class TestCounting:
    def test_equal_models_differ_on_nothing(self, full: Gate) -> None:
        made = full.replay(Seer(), Seer())
        assert (made.result.drawn, made.result.documents, made.result.vanished, made.result.labelled) == (6, 6, 0, 0)
        assert (made.result.old, made.result.lost, made.result.gained) == ((6, 6, 6), (0, 0, 0), (0, 0, 0))
        assert made.report.differences == ()

    def test_of_each_field_is_told_what_was_lost_and_what_was_gained_the_worst_first(self, full: Gate) -> None:
        old = Seer(misses={7000: [2], 7001: [2]})
        new = Seer(misses={7000: [2], 7002: [2], 7003: [1], 7004: [1], 7005: [1]})
        result = full.replay(old, new).result
        assert (result.measured, result.field) == (3, (1, 2, 0))
        by_field = dict(zip(result.field, zip(result.old, result.lost, result.gained, strict=True), strict=True))
        assert by_field == {0: (6, 0, 0), 1: (6, 3, 0), 2: (4, 1, 1)}
        assert result.digest == full.plan().digests.production

    def test_a_field_that_was_appended_is_neither_lost_nor_gained(self, full: Gate) -> None:
        every = {7000 + n: [2] for n in range(6)}
        made = full.replay(Seer(misses=every), Seer(misses={7000: [0]}), known=2)
        assert (made.result.measured, made.result.field) == (2, (0, 1))
        assert (made.result.lost, made.result.gained) == ((1, 0), (0, 0))
        assert [line.name for line in made.report.fields] == ["number", "date"]
        assert {difference.field for difference in made.report.differences} == {"number"}

    def test_it_is_held_against_what_is_live_where_that_is_not_the_base(self, full: Gate) -> None:
        """What is live has learned more: a candidate that is as good as the base alone would be a step back."""
        base, live = Seer(misses={7000: [0], 7001: [0], 7002: [0]}), Seer()
        result = full.replay(live, base, base=base).result
        assert dict(zip(result.field, result.lost, strict=True))[0] == 3
        assert full.replay(live, live, base=base).result.gained == (0, 0, 0)

    @pytest.mark.row("R266")
    def test_each_model_reads_a_page_as_it_serves(self, full: Gate) -> None:
        """Else a policy that raises its confidence takes a field from production, and the gate sees both without it."""
        live, candidate = Seer(confidence="0.25"), Seer(confidence="0.82")
        result = full.replay(live, candidate, base=candidate).result
        assert dict(zip(result.field, result.lost, strict=True)) == {0: 0, 1: 0, 2: 6}
        assert full.replay(candidate, live, base=live).result.gained == (0, 0, 6)

    def test_a_field_is_found_on_whichever_page_of_a_document(self, gate: Gate) -> None:
        gate.documents = 1
        gate.capture(7000, 7001, document="one")
        plan = gate.plan()
        gate.documents = 2
        assert plan.production is not None
        seeds = [int(page.prediction, 16) for page in plan.production[0]]
        assert gate.replay(Seer(), Seer(misses={seeds[0]: [0]}), plan).result.lost == (
            (1, 0, 0) if len(seeds) == 1 else (0, 0, 0)
        )
        every = Seer(misses={seed: [0] for seed in seeds})
        assert gate.replay(Seer(), every, plan).result.lost == (1, 0, 0)

    def test_labels_tell_what_was_missed_and_what_is_too_much(self, gate: Gate) -> None:
        gate.policy.holdout = "0.5"
        gate.verify(7000, 7001, held_out=True)
        gate.capture(7000, 7001, 7002)
        new = Seer(invents={7000: [0], 7002: [0]}, moves={7001: [1], 7002: [1]}, misses={7000: [2]})
        made = gate.replay(Seer(), new)
        by_field = dict(zip(made.result.field, made.result.lost, strict=True))
        assert made.result.labelled == 2
        assert by_field == {0: 1, 1: 1, 2: 1}, "of the page without labels nobody knows"
        assert {(d.field, d.outcome, d.labelled) for d in made.report.differences} == {
            ("number", "Lost", True),
            ("date", "Lost", True),
            ("total", "Lost", True),
            ("date", "Moved", False),
        }
        ap50 = {line.name: (line.ap50_old, line.ap50_new) for line in made.report.fields}
        assert ap50["number"][0] == "0.995000"
        assert float(ap50["date"][1]) < 0.6

    def test_a_label_that_is_erased_while_documents_are_read_takes_its_document_along(
        self, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate.policy.holdout = "0.5"
        gate.verify(7000, 7001, held_out=True)
        gate.capture(7000, 7001, 7002)
        given = gate.evaluating(Seer(), Seer(), None, None)
        label = next(page.label for pages in given[3].production or () for page in pages if page.label is not None)
        vanishing(monkeypatch, path(label.uri))
        made = gate.replayed(given)
        assert (made.result.drawn, made.result.vanished, made.result.documents, made.result.labelled) == (3, 1, 2, 1)

    def test_without_labels_there_is_no_ap(self, full: Gate) -> None:
        assert {(line.ap50_old, line.ap50_new) for line in full.replay(Seer(), Seer()).report.fields} == {("", "")}

    @pytest.mark.parametrize("rule", ["Paired", "Literal"])
    def test_fields_that_break_the_rule_come_first(self, full: Gate, rule: str) -> None:
        full.rule = rule
        new = Seer(misses={7000 + n: [2] for n in range(3)} | {7003: [1], 7004: [0]})
        result = full.replay(Seer(misses={7005: [0]}), new).result
        assert (result.field, result.lost, result.gained) == ((2, 1, 0), (3, 1, 1), (0, 0, 1))

    @pytest.mark.parametrize("what", ["record", "bytes", "another record", "other bytes"])
    def test_a_page_that_vanished_is_counted_and_no_error(self, full: Gate, what: str) -> None:
        plan = full.plan()
        day = full.production.folder / "days" / "2026-11-26"
        prediction, record = next(iter(full.production.records.items()))
        place = day / "pages" / "random" / f"{prediction}.json" if "record" in what else (
            day / "files" / record["page"]["sha256"]
        )  # fmt: skip
        place.write_bytes(b"{}") if "other" in what else place.unlink()
        result = full.replay(Seer(), Seer(), plan).result
        assert (result.drawn, result.vanished, result.documents, result.old) == (6, 1, 5, (5, 5, 5))

    def test_a_document_of_which_one_page_vanished_is_not_compared_by_the_others(self, gate: Gate) -> None:
        gate.capture(7000, 7001, 7002, document="one")
        gate.capture(7003, document="two")
        plan = gate.plan()
        assert plan.production is not None
        [pages] = [pages for pages in plan.production if len(pages) == 3]
        gone = gate.production.records[pages[-1].prediction]["page"]["sha256"]
        (gate.production.folder / "days" / "2026-11-26" / "files" / gone).unlink()
        every = {seed: [0] for seed in (7000, 7001, 7002)}
        result = gate.replay(Seer(), Seer(misses=every), plan).result
        assert (result.drawn, result.vanished, result.documents, result.lost) == (2, 1, 1, (0, 0, 0))

    def test_a_store_that_is_away_is_an_error(self, full: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
        plan, honest = full.plan(), Storage.read

        def away(storage: Storage, uri: str) -> bytes:
            if "/files/" in uri and "production" in uri:
                raise StepError("Unavailable", Reason.STORAGE_UNAVAILABLE, "away", "wait")  # type: ignore[arg-type]
            return honest(storage, uri)

        monkeypatch.setattr(Storage, "read", away)
        with pytest.raises(StepError, match="away"):
            full.replay(Seer(), Seer(), plan)

    def test_what_is_live_now_may_have_learnt_from_a_document_since(self, full: Gate) -> None:
        plan = full.plan()
        full.verify(7002, held_out=False)
        live = full.policy.run()
        result = full.replay(Seer(), Seer(), plan, live=live).result
        assert (result.drawn, result.vanished, result.documents) == (6, 0, 5)

    @pytest.mark.parametrize("how", ["other documents", "one that trains", "another place", "one twice", "not random"])
    def test_a_plan_that_was_not_drawn_so_is_refused(self, full: Gate, how: str) -> None:
        plan = full.plan()
        assert plan.production is not None
        drawn, first = plan.production, plan.production[0][0]
        if how == "one twice":
            plan = bound(plan, (*drawn[:-1], drawn[0]))
        elif how == "not random":
            [uncertain] = full.capture(7050, stratum="Uncertain")
            record = full.production.folder / "days" / "2026-11-26" / "pages" / "uncertain" / f"{uncertain}.json"
            named = msgspec.structs.replace(
                first, pixels="e" * 64, record=FileReference(record.as_uri(), sha256_of(record.read_bytes()))
            )
            plan = bound(plan, ((named,), *drawn[1:]))
        elif how == "other documents":
            plan = msgspec.structs.replace(plan, production=drawn[1:])
        else:
            pixels = next(s.pixels for s in plan.listing if s.use == "train")
            assert pixels is not None
            elsewhere = FileReference(first.record.uri.replace("/invoice-detector/", "/another/"), first.record.sha256)
            changed = (
                msgspec.structs.replace(first, pixels=pixels)
                if how == "one that trains"
                else msgspec.structs.replace(first, record=elsewhere)
            )
            plan = bound(plan, ((changed,), *drawn[1:]))
        with pytest.raises(StepError, match="documents of production") as caught:
            full.replay(Seer(), Seer(), plan)
        assert caught.value.reason is Reason.DIGEST_MISMATCH

    @pytest.mark.row("R307")
    @pytest.mark.parametrize("how", ["other pixels", "another name", "beside the random stratum", "above the days"])
    def test_one_page_is_not_many_documents(self, full: Gate, how: str) -> None:
        """A plan lies in the store: one page that both models read right, a hundred times, would pass any candidate."""
        plan = full.plan()
        assert plan.production is not None
        drawn, first = plan.production, plan.production[0][0]
        uri = {
            "beside the random stratum": first.record.uri.replace("/random/", "/random/../random/"),
            "above the days": first.record.uri.replace("/days/", "/days/../days/"),
        }.get(how, first.record.uri)
        name = "e" * 32 if how == "another name" else first.prediction
        again = msgspec.structs.replace(
            first, pixels="e" * 64, prediction=name, record=FileReference(uri, first.record.sha256)
        )
        plan = bound(plan, (*drawn[:-1], (again,)))
        with pytest.raises(StepError, match="its documents of production") as caught:
            full.replay(Seer(), Seer(misses={7000: [0]}), plan)
        assert caught.value.reason is Reason.DIGEST_MISMATCH

    @pytest.mark.row("R307")
    def test_pages_of_one_document_are_not_many_documents(self, gate: Gate) -> None:
        gate.capture(7000, 7001, 7002, document="one")
        plan = gate.plan()
        assert plan.production is not None
        [pages] = plan.production
        plan = bound(plan, tuple((page,) for page in pages))
        with pytest.raises(StepError, match="pages of one document under two") as caught:
            gate.replay(Seer(), Seer(), plan)
        assert caught.value.reason is Reason.DIGEST_MISMATCH

    @pytest.mark.row("R307")
    @pytest.mark.parametrize("how", ["empty", "of another page", "of a page that trains"])
    def test_a_label_is_the_one_that_people_gave_the_page(self, gate: Gate, tmp_path: Path, how: str) -> None:
        """By an empty label both models are wrong alike, and nothing is lost, whatever the candidate misses."""
        gate.policy.holdout = "0.5"
        gate.verify(7000, 7001, held_out=True)
        gate.verify(7002, held_out=False)
        gate.capture(7000, 7001, 7003)
        plan = gate.plan()
        assert plan.production is not None
        pages = [page for document in plan.production for page in document]
        labels = {page.prediction: page.label for page in pages}
        empty = tmp_path / "empty.txt"
        empty.write_bytes(b"")
        label = {
            "empty": FileReference(empty.as_uri(), sha256_of(b"")),
            "of another page": labels[f"{7001:032x}"],
            "of a page that trains": next(s.label for s in plan.train if s.origin == "pool"),
        }[how]
        forged = [msgspec.structs.replace(page, label=label) for page in pages if page.prediction != f"{7001:032x}"]
        plan = bound(plan, tuple((page,) for page in forged))
        with pytest.raises(StepError, match="labels that no held-out page of the pool has") as caught:
            gate.replay(Seer(), Seer(misses={7000: [0, 1, 2]}), plan)
        assert caught.value.reason is Reason.DIGEST_MISMATCH


class TestShowing:
    def test_each_difference_lies_with_its_page_as_old_beside_new_and_expires_with_it(self, gate: Gate) -> None:
        gate.capture(*range(7000, 7003), days_ago=4)
        gate.capture(*range(7003, 7006))
        new = Seer(misses={7000: [2], 7004: [0]}, moves={7005: [1]})
        made = gate.replay(Seer(misses={7001: [2]}), new)
        outcomes = {d.field + " " + d.outcome: d for d in made.report.differences}
        assert outcomes.keys() == {"total Lost", "number Lost", "total Gained", "date Moved"}
        assert [d.outcome for d in made.report.differences] == ["Lost", "Lost", "Gained", "Moved"]
        lost = outcomes["total Lost"]
        assert lost.predictions == (f"{7000:032x}",)
        picture = cv2.imread(str(path(lost.crop)))
        assert picture is not None
        half = (picture.shape[1] - 6) // 2
        assert not np.array_equal(picture[:, :half], picture[:, -half:])
        layout = Layout(gate.production.folder.as_uri())
        assert count_captured(Storage(), layout).total == 6, "a picture is no page"
        assert path(lost.crop).parts[-4] == "2026-11-22"
        expire(Storage(), layout, keep_days=4, now=NOW)
        assert not path(lost.crop).exists()
        assert path(outcomes["date Moved"].crop).exists()

    def test_what_the_report_keeps_has_ids_alone(self, gate: Gate) -> None:
        gate.capture(7000, document="INV-2026-0417 of Erika Mustermann")
        made = gate.replay(Seer(), Seer(misses={7000: [0, 1, 2]}))
        written = encode(made.report) + encode(made.result) + encode(gate.plan())
        assert b"Mustermann" not in written
        assert f"{7000:032x}".encode() in written

    def test_of_very_many_differences_the_first_are_shown(self, full: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("finetune_trainer.steps.production_replay.MOST_CROPS", 4)
        made = full.replay(Seer(), Seer(misses={seed: [0, 1] for seed in range(7000, 7006)}))
        shown = [difference.crop is not None for difference in made.report.differences]
        assert shown == [True] * 4 + [False] * 8
        assert made.report.not_drawn == 8

    @pytest.mark.parametrize(
        "why", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system"), OSError(28, "Full")]
    )
    def test_where_no_picture_may_be_written_what_was_measured_stands(
        self, full: Gate, monkeypatch: pytest.MonkeyPatch, why: OSError
    ) -> None:
        """A training of days is not thrown away because pages lie where the pod may only read."""
        honest = local_files.create

        def create(path: Path, data: bytes) -> None:
            if "crops" in path.parts:
                raise why
            honest(path, data)

        monkeypatch.setattr(local_files, "create", create)
        made = full.replay(Seer(), Seer(misses={7000: [0]}))
        assert made.result.lost == (1, 0, 0)
        assert [(d.outcome, d.crop) for d in made.report.differences] == [("Lost", None)]

    def test_a_store_that_is_away_when_pictures_are_written_is_an_error(
        self, full: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def create(path: Path, data: bytes) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(local_files, "create", create)
        with pytest.raises(StepError, match="Input/output"):
            full.replay(Seer(), Seer(misses={7000: [0]}))

    def test_two_rounds_leave_pictures_of_their_own(self, full: Gate) -> None:
        plan = full.plan()
        crops = [crops_of(full.replay(Seer(), Seer(misses={7000: [0]}), plan).report.differences) for _ in range(2)]
        assert len(set(crops[0] + crops[1])) == 2


@pytest.mark.parametrize("mode", ["FineTune", "Rebuild"])
def test_prepare_and_evaluate_carry_the_gate_from_draw_to_report(
    base: dict[str, Any], gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """With a real model on both sides: nothing differs, and everything is told."""
    gate.capture(*range(7000, 7006))
    asked = gate.parsed()
    made: Any = gate.policy.world.parsed if mode == "FineTune" else gate.policy.world.rebuild
    named = made(base, artifacts__uri=(tmp_path / "out").as_uri())
    document = msgspec.structs.replace(named, data=asked.data, gates=asked.gates)
    prepared = prepare(
        context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE), clock=lambda: NOW
    )
    assert prepared.digests.production is not None
    assert prepared.production is not None
    assert (prepared.production.documents, prepared.production.labelled) == (6, 0)
    detector = fetch_base(context("evaluate", document, tmp_path / "b"), document)
    monkeypatch.setattr("finetune_trainer.steps.evaluate._fetch_models", lambda *_: both(detector))
    step = context("evaluate", document, tmp_path / "e")
    inputs = EvaluateInputs(1, NONCE, 1, prepared.plan, FileReference("file:///candidate", "1" * 64))
    result = evaluate(step, document, inputs)
    assert result.production is not None
    assert result.production.digest == prepared.digests.production
    assert (result.production.documents, result.production.lost) == (6, (0, 0, 0))
    [report] = (tmp_path / "out").rglob("report.json")
    written = json.loads(report.read_text())
    assert [field["name"] for field in written["production"]["fields"]] == ["number", "date", "total"]
    assert written["result"]["production"]["documents"] == 6
    assert written["plan"]["production"] == prepared.digests.production


def both(detector: Detector) -> dict[str, tuple[Detector, str]]:
    return {"candidate": (detector, "1" * 64), "base": (detector, "0" * 64)}


def bound(plan: Plan, production: Any) -> Plan:
    """A plan with other documents, whose digest is theirs."""
    digests = msgspec.structs.replace(plan.digests, production=digest(production))
    return msgspec.structs.replace(plan, production=production, digests=digests)


def crops_of(differences: tuple[Difference, ...]) -> list[str]:
    return [difference.crop for difference in differences if difference.crop is not None]
