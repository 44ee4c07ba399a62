"""Gate 3 in a run: what its Jobs are told, which results are taken, and what people are asked."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_operator.api.policy import Gates, ReviewRules
from finetune_operator.api.run import DrawnDocuments
from finetune_operator.api.run_document import document_json
from finetune_operator.decide.decision import CreateModelVersion
from finetune_operator.decide.snapshot import snapshot_of_run, spec_hash
from unit.decide.run.results import (
    DIGESTS,
    evaluate_result,
    prepare_result,
    prepared_with_production,
    production_set,
    train_result,
)
from unit.decide.run.world import World, base, capture, run


def asked(**limits: Any) -> World:
    """A world whose policy asks for the third gate."""
    world = World()
    capture(world, **limits)
    return world


def evaluated(world: World, **figures: Any) -> World:
    """Play until the candidate is evaluated, with those figures of documents of production."""
    world.trained(prepared_with_production())
    world.start("evaluate")
    world.complete("evaluate", evaluate_result() | {"production": production_set(**figures)})
    return world


def gates(world: World) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in world.status.gates}


@pytest.mark.row("R224")
def test_the_run_document_says_whose_pages_are_drawn_from_and_how_long_they_must_stay() -> None:
    world = asked(documents=50, days=14, rule="Literal")
    world.set_rules(review=ReviewRules(timeout_seconds=4 * 86_400 - 7199))
    assert world.policy is not None
    document = document_json(snapshot_of_run(run(active_deadline_seconds=3600), world.policy, base()))
    assert document["data"]["production"] == {
        "uri": "s3://bucket/production",
        "keepDays": 30,
        "deployment": "invoice-detector",
        "reviewDays": 5,
    }
    assert document["gates"]["production"] == {"documents": 50, "days": 14, "rule": "Literal"}


@pytest.mark.row("R224")
def test_a_run_without_the_gate_names_the_pages_and_asks_for_what_it_did_before() -> None:
    captured = asked()
    assert captured.policy is not None
    without = World()
    assert without.policy is not None
    world = World()
    capture(world)
    world.set_rules(gates=Gates())
    assert world.policy is not None
    plain_, capturing, gated = (
        snapshot_of_run(run(), rules, base()) for rules in (without.policy, world.policy, captured.policy)
    )
    said = document_json(capturing)
    assert said["data"].pop("production") == document_json(gated)["data"]["production"], "what alerts go by"
    assert said == document_json(plain_)
    assert "production" not in document_json(plain_)["data"] | document_json(plain_)["gates"]
    assert spec_hash(plain_, run()) == spec_hash(capturing, run()) != spec_hash(gated, run())


@pytest.mark.row("R220")
def test_a_run_whose_documents_read_as_before_passes_and_goes_live() -> None:
    world = evaluated(asked())
    assert gates(world)["production"] == "Pass"
    assert (world.phase(), world.status.verdict) == ("Promoting", "Pass")


@pytest.mark.row("R220")
def test_a_policy_without_it_has_no_such_verdict() -> None:
    assert "production" not in gates(World().judged())


@pytest.mark.row("R220")
@pytest.mark.row("R221")
@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"lost": [4, 0], "gained": [1, 0]}, "FieldLost"),
        ({"documents": 90, "vanished": 10}, "TooFewDocuments"),
    ],
    ids=["a field lost", "too few"],
)
def test_what_is_worse_or_too_few_waits_for_a_person(figures: dict[str, Any], reason: str) -> None:
    world = evaluated(asked(), **figures)
    assert (world.phase(), world.status.verdict) == ("InReview", "Review")
    assert world.status.message.startswith(f"{reason}: a person decides until")
    [said] = [gate for gate in world.status.gates if gate.name == "production"]
    assert said.message in world.status.message


@pytest.mark.row("R222")
def test_documents_that_were_not_compared_fail_the_run() -> None:
    world = evaluated(asked(), lost=[91, 0])
    assert (world.phase(), world.status.verdict) == ("Failed", "Error")


@pytest.mark.row("R223")
@pytest.mark.parametrize("digest", [None, "", "A5" * 32])
def test_a_draw_without_a_digest_is_not_taken(digest: str | None) -> None:
    world = asked()
    world.settle()
    world.start("prepare")
    said = DIGESTS if digest is None else {**DIGESTS, "production": digest}
    world.complete("prepare", prepared_with_production(digests=said))
    (attempt,) = world.status.attempts
    assert (attempt.outcome, attempt.reason, attempt.counted) == ("Failed", "ResultInvalid", True)
    assert "'production' is missing" in attempt.message


@pytest.mark.row("R223")
@pytest.mark.parametrize(
    ("drawn", "reason"),
    [
        (None, "ResultContradictory"),
        ({"documents": 101, "labelled": 0}, "ResultContradictory"),
        ({"documents": 3, "labelled": 4}, "ResultContradictory"),
        ({"documents": 3, "labelled": 1}, "ResultContradictory"),  # nothing is held out
        ({"documents": -1, "labelled": 0}, "ResultInvalid"),
        ({"documents": 10**17, "labelled": 0}, "ResultInvalid"),
        ({"documents": 3}, "ResultInvalid"),
    ],
    ids=str,
)
def test_a_draw_whose_counts_cannot_be_is_not_taken(drawn: Any, reason: str) -> None:
    world = asked()
    world.settle()
    world.start("prepare")
    said = prepared_with_production()
    world.complete("prepare", said | {"production": drawn} if drawn else without(said, "production"))
    (attempt,) = world.status.attempts
    assert (attempt.outcome, attempt.reason, attempt.counted) == ("Failed", reason, True)


@pytest.mark.row("R223")
def test_how_many_documents_were_drawn_is_on_record_before_anything_trains() -> None:
    world = asked()
    world.settle()
    world.start("prepare")
    world.complete("prepare", prepared_with_production(documents=60))
    assert world.status.inputs is not None
    assert world.status.inputs.production == DrawnDocuments(documents=60, labelled=0)


def without(message: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != name}


@pytest.mark.row("R223")
@pytest.mark.parametrize(
    ("world", "production"),
    [
        (asked(), production_set(digest="a6" * 32)),
        (asked(), production_set(drawn=99, documents=99)),
        (asked(), production_set(labelled=1)),
        (asked(), None),
        (World(), production_set()),
    ],
    ids=["others", "fewer", "labelled", "none", "unasked"],
)
def test_figures_of_documents_that_were_not_drawn_are_not_taken(world: World, production: Any) -> None:
    world.trained(prepared_with_production())
    world.start("evaluate")
    world.complete("evaluate", evaluate_result() | ({} if production is None else {"production": production}))
    attempt = world.status.attempts[-1]
    assert (attempt.outcome, attempt.reason, attempt.counted) == ("Failed", "EvidenceMismatch", True)
    assert "production" in attempt.message


@pytest.mark.row("R223")
def test_a_digest_that_nobody_asked_for_is_not_kept() -> None:
    world = World()
    world.settle()
    world.start("prepare")
    world.complete("prepare", prepared_with_production())
    assert world.status.inputs is not None
    assert world.status.inputs.digests == DIGESTS
    assert world.status.inputs.production is None


@pytest.mark.row("V85")
def test_what_a_candidate_saw_on_production_goes_into_the_record_of_its_version() -> None:
    """Without the third gate, too: the document named the captured pages."""
    world = World()
    capture(world)
    world.set_rules(gates=Gates())
    world.settle()
    for step, result in (("prepare", prepare_result()), ("train", train_result())):
        world.start(step)
        world.complete(step, result)
    seen = {"documents": 60, "field": [1, 0], "detected": [41, 58], "confidence": "0.861200"}
    world.start("evaluate")
    world.complete("evaluate", evaluate_result() | {"baseline": seen})
    [made] = [action for action in world.history if isinstance(action, CreateModelVersion)]
    assert made.spec.evidence is not None
    assert made.spec.evidence.figure("productionConfidence") == "0.861200"
    assert made.spec.evidence.figure("productionDetected.1") == "41"


@pytest.mark.row("R226")
@pytest.mark.parametrize(("mode", "days"), [("FineTune", 13), ("Rebuild", 1)])
def test_a_run_says_from_which_days_it_could_draw(mode: str, days: int) -> None:
    """Pages stay 30 days; a review may take 14, and a step a day, or of a rebuild a week."""
    world = World(run=run(mode=mode))
    capture(world)
    counts: dict[str, Any] = {"train": 1560, "old": 1500, "ratio": "0"} if mode == "Rebuild" else {}
    world.trained(prepared_with_production(documents=0, **counts), **({"images": 1560} if mode == "Rebuild" else {}))
    world.start("evaluate")
    nothing = production_set(drawn=0, documents=0, old=[0, 0])
    world.complete("evaluate", evaluate_result() | {"production": nothing})
    assert world.phase() == "InReview"
    assert f"100 were not there to be drawn from the last {days} days (pages stay 30 days" in world.status.message
