"""Plans whose documents of production were picked: what the candidate learnt from, and what hides what it loses."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference, digest
from finetune_trainer.documents.plan import DrawnPage, Plan
from finetune_trainer.errors import Reason, StepError
from trainer.policy import forget_pixels
from trainer.replaying import Gate, Seer


def drawn(gate: Gate, seed: int, label: FileReference | None = None) -> DrawnPage:
    """Return a captured page as a plan has it."""
    place = gate.production.folder / "days" / "2026-11-26" / "pages" / "random" / f"{seed:032x}.json"
    data = place.read_bytes()
    return DrawnPage(
        prediction=f"{seed:032x}",
        record=FileReference(place.as_uri(), sha256_of(data)),
        pixels=json.loads(data)["page"]["pixels"],
        label=label,
    )


def bound(plan: Plan, *documents: tuple[DrawnPage, ...], listing: Any = None) -> Plan:
    """Return the plan with these documents, whose digest is theirs."""
    digests = msgspec.structs.replace(plan.digests, production=digest(documents))
    said = plan.listing if listing is None else listing
    return msgspec.structs.replace(plan, production=documents, digests=digests, listing=said)


def with_pixels(plan: Plan, page: DrawnPage, pixels: str | None) -> Any:
    """Return the plan's listing with other pixels for a page."""
    return tuple(msgspec.structs.replace(s, pixels=pixels) if s.pixels == page.pixels else s for s in plan.listing)


def refused(gate: Gate, plan: Plan, said: str) -> None:
    with pytest.raises(StepError, match=said) as caught:
        gate.replay(Seer(), Seer(misses={7000: [0, 1, 2], 7003: [0, 1, 2]}), plan)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


@pytest.mark.row("R308")
@pytest.mark.parametrize("earlier", [False, True], ids=["pool", "pool of an earlier release"])
@pytest.mark.parametrize("pixels", [None, "e" * 64], ids=["without", "others"])
def test_what_the_candidate_learnt_from_is_known_by_the_pages_own_pixels(
    gate: Gate, pixels: str | None, earlier: bool
) -> None:
    gate.verify(7002, held_out=False)
    gate.capture(7000, 7001, 7002)
    if earlier:
        forget_pixels(gate.policy.pool)
    plan = gate.plan()
    assert gate.replay(Seer(), Seer(), plan).result.documents == 2
    learnt = drawn(gate, 7002)
    refused(gate, bound(plan, (drawn(gate, 7001),), (learnt,)), "pages that it trains on")
    hidden = with_pixels(plan, learnt, pixels)
    refused(gate, bound(plan, (drawn(gate, 7001),), (learnt,), listing=hidden), "lists 1 samples otherwise")


@pytest.mark.row("R314")
@pytest.mark.parametrize("model", ["anchor", "base"])
def test_what_a_model_learnt_of_anchor_or_base_is_not_compared(gate: Gate, model: str) -> None:
    """Both models read it right. But the anchor may have it since the draw, so nobody is accused."""
    seed = 3
    if model == "base":
        seed = 7002
        first = gate.policy.pool
        gate.verify(seed, held_out=False)
        gate.policy.base = gate.policy.run()
        gate.policy.pool = gate.policy.world.root / "second"
        gate.policy.add(5000, 12)
        gate.policy.add(6000, 1)
        assert gate.policy.pool != first
    gate.capture(7000, 7001, seed)
    plan = gate.plan()
    assert plan.production is not None
    result = gate.replay(Seer(), Seer(), bound(plan, *plan.production, (drawn(gate, seed),))).result
    assert (result.drawn, result.vanished, result.documents) == (3, 0, 2)


@pytest.mark.row("R314")
def test_a_document_that_trains_is_not_compared_by_another_of_its_pages(gate: Gate) -> None:
    [name] = gate.verify(7002, held_out=False)
    gate.capture(7001)
    gate.capture(7003, document=name)
    plan = gate.plan()
    assert gate.replay(Seer(), Seer(), plan).result.documents == 1
    refused(gate, bound(plan, (drawn(gate, 7001),), (drawn(gate, 7003),)), "trains on other pages of")


@pytest.mark.row("R314")
def test_two_documents_are_not_one_in_which_a_page_hides_what_is_lost_on_the_other(gate: Gate) -> None:
    gate.capture(7000, 7001)
    plan = gate.plan()
    pages = drawn(gate, 7000), drawn(gate, 7001)
    refused(gate, bound(plan, pages), "pages of one document under two, or the reverse")


@pytest.mark.row("R314")
def test_a_label_is_not_left_out(gate: Gate) -> None:
    """Without it a field is right wherever the candidate sees it."""
    gate.policy.holdout = "0.5"
    gate.verify(7000, held_out=True)
    gate.capture(7000, 7001)
    plan = gate.plan()
    assert gate.replay(Seer(), Seer(moves={7000: [0]}), plan).result.lost == (1, 0, 0)
    refused(gate, bound(plan, (drawn(gate, 7000),), (drawn(gate, 7001),)), "lack labels")


@pytest.mark.row("R314")
def test_a_label_that_was_completed_since_was_none(gate: Gate) -> None:
    gate.policy.holdout = "0.5"
    gate.verify(7000, held_out=True)
    *_, newest = sorted((gate.policy.pool / "batches").iterdir())
    whole = json.loads(newest.read_text())
    label = gate.policy.pool / whole["samples"][0]["label"]["path"]
    rows = [row for row in label.read_text().splitlines() if not row.startswith("2")]
    short = ("\n".join(rows) + "\n").encode()
    whole["samples"][0]["label"] = {"path": f"files/{sha256_of(short)}.txt", "sha256": sha256_of(short)}
    (gate.policy.pool / f"files/{sha256_of(short)}.txt").write_bytes(short)
    newest.write_text(json.dumps(whole | {"classes": whole["classes"][:-1]}))
    gate.capture(7000, 7001)
    plan = gate.plan()
    assert {page.label for pages in plan.production or () for page in pages} == {None}
    later = f"{whole['id']}z"
    (newest.parent / f"{later}.json").write_text(json.dumps(whole | {"id": later}))
    result = gate.replay(Seer(), Seer(), plan).result
    assert (result.documents, result.labelled) == (2, 0)


@pytest.mark.row("R308")
def test_a_label_is_not_another_pages_by_pixels_that_an_earlier_release_did_not_note(gate: Gate) -> None:
    gate.policy.holdout = "0.5"
    gate.verify(7000, held_out=True)
    gate.capture(7000, 7003)
    forget_pixels(gate.policy.pool)
    plan = gate.plan()
    labels = {page.prediction: page.label for pages in plan.production or () for page in pages}
    page, other = drawn(gate, 7000), drawn(gate, 7003, labels[f"{7000:032x}"])
    refused(gate, bound(plan, (other,), listing=with_pixels(plan, page, other.pixels)), "lists 1 samples otherwise")
