"""Bugs in drawing and counting documents of production: each is planted, and must be found by what is promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from finetune_trainer.documents.production import parse_page
from finetune_trainer.evaluation import production as counting
from finetune_trainer.production import drawing
from finetune_trainer.production.layout import Production as Layout
from finetune_trainer.steps import production_documents, production_draw, production_replay
from house.deep import first_of
from trainer.replaying import NOW, Gate, Seer

LAST = 7040


def wrong(gate: Gate) -> Iterator[str]:
    """Draw from pages of every sort, run two models whose faults are known, and yield every promise that is broken."""
    gate.policy.holdout = "0.5"
    gate.documents = 12
    gate.keep_days = 25
    gate.verify(7000, 7001, held_out=True)
    gate.verify(7002, 7003, held_out=False)
    good = set(gate.capture(7000, 7001))
    gate.capture(7002, 7003)
    good |= set(gate.capture(*range(7010, LAST), days_ago=1))
    gate.capture(7050, 7051, stratum="Uncertain")
    gate.capture(7052, 7053, days_ago=gate.keep_days - gate.review_days)
    gate.capture(7054, 7055, days_ago=31)
    drawn_wrong = list(_of_the_draw(gate, good))
    yield from drawn_wrong or _of_the_counts(gate)


def _of_the_draw(gate: Gate, good: set[str]) -> Iterator[str]:
    drawn = gate.predictions()
    if len(drawn) != gate.documents:
        yield f"{len(drawn)} documents were drawn"
    if gate.predictions() != drawn:
        yield "the same seed draws other documents"
    gate.documents = 60
    every = gate.predictions()
    if not every <= good:
        yield f"drawn and should not be: {sorted(int(name, 16) for name in every - good)}"
    if every != good:
        yield f"should be drawn and is not: {sorted(int(name, 16) for name in good - every)}"


def _of_the_counts(gate: Gate) -> Iterator[str]:
    plan = gate.plan()
    assert plan.production is not None
    gone = gate.production.records[f"{7020:032x}"]
    day = gate.production.folder / "days" / (NOW - timedelta(days=1)).date().isoformat()
    (day / "files" / gone["page"]["sha256"]).unlink()
    old = Seer(misses={7011: [0], 7012: [2]})
    new = Seer(misses={7012: [2], 7013: [0], 7014: [0], 7015: [0], 7016: [0]}, invents={7000: [1]}, moves={7001: [1]})
    result = gate.replay(old, new, plan).result
    seen = {
        field: (before, lost, gained)
        for field, before, lost, gained in zip(result.field, result.old, result.lost, result.gained, strict=True)
    }
    documents = len(plan.production) - 1
    promised = {0: (documents - 1, 4, 1), 1: (documents, 2, 0), 2: (documents - 1, 0, 0)}
    if seen != promised:
        yield f"counted {seen}, not {promised}"
    if (result.documents, result.vanished, result.labelled) != (documents, 1, 2):
        yield f"{result.documents} documents, {result.vanished} vanished, {result.labelled} labelled"
    if result.field[0] != 0:
        yield "the field that is worse does not come first"


def draws_what_models_learnt_from(patch: pytest.MonkeyPatch) -> None:
    """Pages and documents that train are not left out."""
    honest = drawing.draw_documents

    def careless(storage: Any, production: Any, days: Any, known: Any, **more: Any) -> Any:
        return honest(storage, production, days, drawing.Known((), (), known.labels), **more)

    patch.setattr(production_draw, "draw_documents", careless)


def draws_uncertain_pages(patch: pytest.MonkeyPatch) -> None:
    """Pages that were kept for another reason are drawn as well."""
    honest = Layout.pages
    patch.setattr(Layout, "pages", lambda self, day, stratum: honest(self, day, "Uncertain"))
    patch.setattr(drawing, "_parsed", parse_page)


def draws_by_chance(patch: pytest.MonkeyPatch) -> None:
    """The seed does not decide."""
    numbers = count()

    class Chance:
        @staticmethod
        def sha256(_: bytes) -> Any:
            number = next(numbers)
            return type("Digest", (), {"hexdigest": lambda self: f"{number * 7919 % 1009:08}"})()

    patch.setattr(drawing, "hashlib", Chance)


def draws_what_expires_in_review(patch: pytest.MonkeyPatch) -> None:
    """How long a page still lies there is not looked at."""
    honest = drawing.days_to_draw_from

    def careless(there: Any, now: Any, *, last: int, keep: int, review: int) -> Any:
        return honest(there, now, last=last, keep=3650, review=0)

    patch.setattr(production_draw, "days_to_draw_from", careless)


def draws_of_any_age(patch: pytest.MonkeyPatch) -> None:
    """The last days are all days."""
    honest = drawing.days_to_draw_from

    def careless(there: Any, now: Any, *, last: int, keep: int, review: int) -> Any:
        return honest(there, now, last=3650, keep=3650, review=0)

    patch.setattr(production_draw, "days_to_draw_from", careless)


def counts_gained_as_lost(patch: pytest.MonkeyPatch) -> None:
    """What the candidate gained is what it lost."""
    honest = counting.count_replayed

    def swapped(*args: Any) -> Any:
        counts = honest(*args)
        return counting.ReplayCounts(counts.old, counts.gained, counts.lost)

    patch.setattr(production_replay, "count_replayed", swapped)


def counts_no_box_that_is_too_much(patch: pytest.MonkeyPatch) -> None:
    """On labelled documents only what was missed counts."""
    patch.setattr(
        counting, "_agrees", lambda page, field: bool((page.served.fields == field).any())
        or not (page.truth.fields == field).any(),
    )  # fmt: skip


def counts_as_if_nothing_were_labelled(patch: pytest.MonkeyPatch) -> None:
    """Labels do not tell."""
    honest = counting.is_right
    patch.setattr(counting, "is_right", lambda pages, field, *, labelled: honest(pages, field, labelled=False))


def runs_the_candidate_twice(patch: pytest.MonkeyPatch) -> None:
    """What is live is the candidate."""
    honest = production_documents.compare

    def twice(context: Any, models: Any, there: Any, **named: Any) -> Any:
        return honest(context, {**models, "base": models["candidate"]}, there, **named)

    patch.setattr(production_replay, "compare", twice)


def counts_what_vanished(patch: pytest.MonkeyPatch) -> None:
    """A document that is not there any more counts as one that nothing was lost of."""
    honest = production_documents.fetch_documents

    def kept(context: Any, drawn: Any, classes: int) -> Any:
        there = honest(context, drawn, classes)
        return [*there, *there[: len(drawn) - len(there)]]

    patch.setattr(production_replay, "fetch_documents", kept)


PLANTED = (
    draws_what_models_learnt_from,
    draws_uncertain_pages,
    draws_by_chance,
    draws_what_expires_in_review,
    draws_of_any_age,
    counts_gained_as_lost,
    counts_no_box_that_is_too_much,
    counts_as_if_nothing_were_labelled,
    runs_the_candidate_twice,
    counts_what_vanished,
)


def test_nothing_is_wrong_without_a_bug(gate: Gate) -> None:
    assert list(wrong(gate)) == []


@pytest.mark.parametrize("plant", first_of(PLANTED), ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert list(wrong(gate)) != []
