"""The third gate: which documents of production are drawn."""

from __future__ import annotations

import json
import unicodedata
from datetime import timedelta
from typing import Any

import pytest

from finetune_trainer.data.pool import read_pool
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import digest, encode
from finetune_trainer.documents.inputs import PrepareInputs
from finetune_trainer.documents.plan import parse_plan
from finetune_trainer.documents.result import DrawnDocuments
from finetune_trainer.production.expiry import expire
from finetune_trainer.production.layout import Production as Layout
from finetune_trainer.steps.production_draw import count_drawn, with_production
from finetune_trainer.storage import Storage
from trainer.captured import vanishing
from trainer.replaying import NOW, Gate, Seer
from trainer.world import CLASSES, NONCE, context, withdraw_from


def pool_samples(gate: Gate) -> Any:
    return read_pool(Storage(), gate.policy.pool.as_uri(), CLASSES).samples


def test_so_many_documents_are_drawn_the_same_by_the_same_seed(gate: Gate) -> None:
    everything = gate.capture(*range(7000, 7030))
    first = gate.predictions()
    assert len(first) == gate.documents
    assert first < set(everything)
    assert gate.predictions() == first
    by_rank = sorted(everything, key=lambda prediction: sha256_of(f"{gate.seed}:{prediction}".encode()))
    assert first == set(by_rank[: gate.documents]), "any language can repeat it"
    gate.seed = 8
    assert gate.predictions() != first


def test_the_plan_binds_what_was_drawn_by_digest(full: Gate) -> None:
    plan = full.plan()
    assert plan.production is not None
    assert plan.digests.production == digest(plan.production)
    assert parse_plan(encode(plan), "plan.json") == plan
    full.seed = 8
    other = full.plan()
    assert other.production is not None
    assert set(other.production) == set(plan.production)


def test_pages_that_are_wanted_for_another_reason_are_not_drawn(gate: Gate) -> None:
    drawn = gate.capture(7000)
    gate.capture(7001, stratum="Uncertain")
    gate.capture(7002, stratum="Reported")
    assert gate.predictions() == set(drawn)


@pytest.mark.parametrize(("days_ago", "is_drawn"), [(0, True), (30, True), (31, False), (-1, False)])
def test_pages_are_of_the_last_days(gate: Gate, days_ago: int, is_drawn: bool) -> None:
    drawn = gate.capture(7000, days_ago=days_ago)
    assert gate.predictions() == (set(drawn) if is_drawn else set())


@pytest.mark.parametrize(("days_ago", "is_drawn"), [(3, True), (4, True), (5, False)])
def test_pages_are_left_out_that_expire_before_a_review_may_end(gate: Gate, days_ago: int, is_drawn: bool) -> None:
    """Kept for 20 days, needed for 15 from now on: a page of four days ago is there until the end of the last."""
    gate.keep_days = 20
    drawn = gate.capture(7000, days_ago=days_ago)
    assert gate.predictions() == (set(drawn) if is_drawn else set())
    last = NOW + timedelta(days=gate.review_days)
    layout = Layout(gate.production.folder.as_uri())
    expire(Storage(), layout, keep_days=gate.keep_days, now=last)
    assert bool(layout.dates(Storage())) == is_drawn


def test_what_candidate_base_and_live_learnt_from_is_not_drawn(gate: Gate) -> None:
    gate.verify(7001, held_out=False)
    gate.policy.base = gate.policy.run()
    gate.verify(7002, held_out=False)
    gate.policy.live = gate.policy.run()
    gate.verify(7003, held_out=False)
    unknown = gate.capture(7000)
    gate.capture(7001, 7002, 7003)
    gate.capture(3, 1000, 2000)  # pages of the anchor's three splits
    assert gate.predictions() == set(unknown)


@pytest.mark.parametrize("model", ["live", "base"])
def test_a_page_that_only_base_or_live_version_learnt_from_is_not_drawn(gate: Gate, model: str) -> None:
    first = gate.policy.pool
    gate.verify(7001, held_out=False)
    setattr(gate.policy, model, gate.policy.run())
    gate.policy.add(6000, 1)
    gate.policy.pool = gate.policy.world.root / "second"
    gate.policy.add(5000, 12)
    gate.policy.add(6000, 1)
    assert gate.policy.pool != first
    unknown = gate.capture(7000)
    gate.capture(7001)
    assert gate.predictions() == set(unknown)


def test_another_page_of_a_document_that_trains_is_not_drawn(gate: Gate) -> None:
    gate.verify(7001, held_out=False)
    [known] = [s.document for s in pool_samples(gate) if s.document.startswith("invoice 7001")]
    gate.capture(7002, document=known)
    unknown = gate.capture(7003, document="another")
    assert gate.predictions() == set(unknown)


def test_a_document_is_left_out_whole_when_the_draw_comes_upon_a_page_that_is_known(gate: Gate) -> None:
    gate.verify(7001, held_out=False)
    gate.capture(*range(7001, 7010), document="one")
    unknown = gate.capture(7020)
    assert gate.predictions() == set(unknown)


def test_pages_of_one_document_are_drawn_as_one(gate: Gate) -> None:
    gate.documents = 2
    gate.capture(7000, 7001, 7002, document="one")
    gate.capture(7003, document="two")
    plan = gate.plan()
    assert plan.production is not None
    assert sorted(len(pages) for pages in plan.production) in ([1, 1], [1, 2], [1, 3])
    assert len(plan.production) == 2


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "räkning 7") for form in ("NFC", "NFD"))


def test_pages_of_one_document_that_clients_write_in_two_ways_are_drawn_as_one(gate: Gate) -> None:
    """One whose file lay on macOS writes accents otherwise."""
    gate.capture(7000, document=COMPOSED)
    gate.capture(7001, document=f"{DECOMPOSED} ")
    plan = gate.plan()
    assert plan.production is not None
    assert [len(pages) for pages in plan.production] == [2]


@pytest.mark.parametrize(("trains", "came"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_another_page_of_a_document_that_trains_is_not_drawn_however_it_is_written(
    gate: Gate, trains: str, came: str
) -> None:
    gate.verify(7001, held_out=False)
    [known] = [s.document for s in pool_samples(gate) if s.document.startswith("invoice 7001")]
    for manifest in (gate.policy.pool / "batches").iterdir():
        said = json.loads(manifest.read_text())
        for sample in said["samples"]:
            sample["document"] = trains if sample["document"] == known else sample["document"]
        manifest.write_text(json.dumps(said, ensure_ascii=False))
    gate.capture(7002, document=came)
    unknown = gate.capture(7003, document="another")
    assert gate.predictions() == set(unknown)


def test_a_page_that_came_twice_is_one(gate: Gate) -> None:
    gate.capture(7000)
    record = gate.production.records[f"{7000:032x}"]
    data = (gate.production.folder / "days" / "2026-11-26" / "files" / record["page"]["sha256"]).read_bytes()
    shown = {key: value for key, value in record["page"].items() if key != "sha256"}
    gate.production.keep(data, "image/png", shown, {"fields": [], "document": "sent once more"}, 7999)
    assert len(gate.predictions()) == 1


def test_a_held_out_page_has_its_label_and_any_other_has_none(gate: Gate) -> None:
    gate.policy.holdout = "0.5"
    gate.verify(7001, held_out=True)
    labelled, unlabelled = gate.capture(7001, 7002)
    plan = gate.plan()
    assert plan.production is not None
    labels = {page.prediction: page.label for pages in plan.production for page in pages}
    assert labels[unlabelled] is None
    [sample] = [s for s in pool_samples(gate) if s.document.startswith("invoice 7001")]
    assert labels[labelled] == sample.label


def test_a_document_of_which_one_page_has_no_label_counts_as_unlabelled(gate: Gate) -> None:
    gate.policy.holdout = "0.5"
    gate.verify(7001, held_out=True)
    gate.capture(7001, 7002, document="half")
    assert len(gate.predictions()) == 2
    assert count_drawn(gate.plan()) == DrawnDocuments(1, 0)


def test_a_page_that_was_withdrawn_is_not_drawn(gate: Gate) -> None:
    gate.verify(7001, held_out=False)
    withdraw_from(gate.policy.pool, digests=(pool_samples(gate)[-1].image.sha256,))
    unknown = gate.capture(7000)
    gate.capture(7001)
    assert gate.predictions() == set(unknown)


def test_a_label_for_fewer_classes_is_none(gate: Gate) -> None:
    """A document is right or not by all of its fields."""
    gate.policy.holdout = "0.5"
    gate.verify(7001, held_out=True)
    for file in (gate.policy.pool / "batches").iterdir():
        content = json.loads(file.read_text())
        for sample in content["samples"]:
            label = gate.policy.pool / sample["label"]["path"]
            rows = [row for row in label.read_text().splitlines() if not row.startswith(str(len(CLASSES) - 1))]
            short = ("\n".join(rows) + "\n").encode()
            sample["label"] = {"path": f"files/{sha256_of(short)}.txt", "sha256": sha256_of(short)}
            (gate.policy.pool / sample["label"]["path"]).write_bytes(short)
        file.write_text(json.dumps(content | {"classes": list(CLASSES[:-1])}))
    gate.capture(7001)
    plan = gate.plan()
    assert plan.production is not None
    assert [page.label for pages in plan.production for page in pages] == [None]


def test_nothing_captured_is_a_draw_of_nothing(gate: Gate) -> None:
    plan = gate.plan()
    assert plan.production == ()
    assert plan.digests.production == digest(())


def test_what_lies_there_and_is_no_record_is_passed_over(full: Gate) -> None:
    folder = full.production.folder / "days" / "2026-11-26" / "pages" / "random"
    (folder / ("f" * 32 + ".json")).write_text("{}")
    (folder / "notes.txt").write_text("x")
    assert len(full.predictions()) == 6


def test_a_record_that_calls_itself_otherwise_is_passed_over(full: Gate) -> None:
    """Two pages of one name would leave pictures of one name, of which the second cannot be written."""
    folder = full.production.folder / "days" / "2026-11-26" / "pages" / "random"
    full.capture(7010)
    record = json.loads((folder / f"{7010:032x}.json").read_text())
    (folder / f"{7010:032x}.json").write_text(json.dumps(record | {"prediction": f"{7000:032x}"}))
    full.documents = 7
    made = full.replay(Seer(), Seer(misses={7000: [0], 7010: [0]}))
    assert (made.result.documents, made.result.lost) == (6, (1, 0, 0))


def test_a_record_that_goes_while_others_are_read_is_passed_over(full: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    vanishing(monkeypatch, next(full.production.folder.glob("days/*/pages/random/*.json")))
    assert len(full.predictions()) == 5


def test_a_run_without_the_gate_draws_nothing(full: Gate) -> None:
    document = full.policy.document()
    made = full.policy.drawn()
    step = context("prepare", document, full.policy.world.root / "s")
    assert with_production(step, document, PrepareInputs(1, NONCE), made, NOW) is made.plan
    assert b"production" not in encode(made.plan)
