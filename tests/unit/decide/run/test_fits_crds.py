"""What decisions write is what the CRDs take: a status that the API server refuses or prunes would stop a run."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import jsonschema
import pytest

from finetune_operator.api.policy import Gates, ProductionGate, RegressionGate, YardstickGate
from finetune_operator.api.run import Review
from finetune_operator.api.value import plain
from finetune_operator.decide.decision import CreateModelVersion, CreatePromotion
from house.crds import Schema, crds
from unit.decide.run.results import (
    envelope,
    evaluate_result,
    prepare_result,
    prepared_with_production,
    production_set,
    train_result,
)
from unit.decide.run.world import World, base, capture


def closed(schema: Schema) -> Schema:
    """The schema with pruning as an error: fields that it does not know would silently be lost."""
    closed_ = {key: closed(value) if isinstance(value, dict) else value for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed_["additionalProperties"] = False
    return closed_


def misfits(schema: Schema, value: Any) -> list[str]:
    validator = jsonschema.Draft7Validator(closed(schema))
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]


def rejected_by_hand() -> World:
    world = World().in_review()
    assert world.status.evidence is not None
    world.edit(review=Review(decision="Approve", evidence=world.status.evidence.digest, by="ann", reason="y" * 900))
    world.settle()
    return world


def failing(step: str, text: str) -> World:
    """A trainer that says as much as a termination message holds."""
    world = World.at(step)
    error = {"class": "Internal", "reason": "R" * 400, "message": text * 3000, "remedy": text * 400}
    for _ in range(3):
        world.fail(step, 2**31 - 1, error)
        world.wait(300)
        world.settle()
    return world


MANY_PAGES = dict.fromkeys(("pool", "outside", "new", "fresh", "train"), 2**31 - 1) | {"old": 0}
"""As many pages of the pool as can be counted."""


def extreme_results() -> World:
    """Figures at the edge of what the contract allows."""
    world = World.at("prepare")
    world.complete("prepare", prepare_result(ratio="999999.999999", **MANY_PAGES))
    job = world.job("train")
    uri = f"{envelope(job, {})['manifest']['uri'].rsplit('/', 1)[0]}/{'x' * 1900}.onnx"
    artifact = {"uri": uri, "sha256": "ca" * 32, "bytes": 2**40, "format": "onnx"}
    world.complete("train", train_result(artifact=artifact, device="d" * 3000, images=2**31 - 1))
    world.complete("evaluate", evaluate_result(candidate="0.970000000000000000000000000000000001"))
    return world


MANY = tuple(f"{'ж' * 60}{number:03}" for number in range(80))
"""As many classes as there can be, with names as long as they can be."""


def eighty_fields() -> World:
    """Every rule about fields broken by all of 80 fields, with the largest counts, and a review of it."""
    each = (2**31 - 1) // len(MANY)
    every, images = each * len(MANY), 2**31 - 1
    world = World()
    regression = RegressionGate(reject_above_points=Decimal(100))
    gates = Gates(
        regression=regression, yardstick=YardstickGate(new_boxes=1), production=ProductionGate(documents=1000)
    )
    world.set_rules(classes=MANY, gates=gates)
    capture(world)
    world.versions = (base(classes=MANY),)

    def columns(candidate: int, other: int) -> dict[str, Any]:
        return {"candidate": [candidate] * 8, "base": [other] * 8, "live": [other] * 8}

    listed = {"measured": 80, "field": list(range(72, 80)), "boxes": [each] * 8, "matched": columns(0, each)}
    floor = {**listed, "detections": columns(each, each)}
    result = evaluate_result("0.000000", "1.000000", "1.000000")
    result["testSet"].update(images=images, boxes=every, drops={**listed, "ap50": columns(0, 10**6)}, floor=floor)
    result["newSet"].update(floor=floor)
    lost = {"old": [900] * 8, "lost": [900] * 8, "gained": [0] * 8}
    listed_ = {"measured": 80, "field": list(range(72, 80)), **lost}
    result["production"] = production_set(drawn=1000, vanished=30, documents=960, labelled=0, **listed_)
    for name, matched in (("candidate", 0), ("base", every), ("live", every)):
        share = "1.000000" if matched else "0.000000"
        scores = {"boxes": every, "matched": matched, "rate": share, "documentRate": share, "precision": share}
        result["models"][name].update(pool=scores, fresh=scores)
    world.go_live("ft_v1.9")
    new_set = {"documents": 60, "boxes": every, "fresh": 60}
    world.trained(prepared_with_production(1000, 0, test=images, newSet=new_set, **MANY_PAGES), images=2**31 - 1)
    world.start("evaluate")
    world.complete("evaluate", result)
    assert world.status.evidence is not None
    world.edit(review=Review(decision="Approve", evidence=world.status.evidence.digest, by="ann"))
    world.settle()
    return world


PLACES: dict[str, Callable[[], World]] = {
    **{place: lambda place=place: World.at(place) for place in ("new", "prepare", "train", "evaluate", "review")},  # type: ignore[misc]
    "passed": lambda: World().judged(),
    "rejected": lambda: World().judged(candidate="0.9"),
    "error": lambda: World().judged(candidate="NaN" * 500),
    "error in rates": lambda: World().judged(matched=-7),
    "approved": rejected_by_hand,
    "failing": lambda: failing("train", "x"),
    "failing in Unicode": lambda: failing("prepare", "ж\n\x00"),
    "extreme": extreme_results,
    "eighty fields": eighty_fields,
}


def written(world: World) -> Iterator[tuple[str, Schema, Any]]:
    yield "status", crds()["FineTuneRun"].status, plain(world.status)
    for action in world.history:
        if isinstance(action, CreateModelVersion):
            yield action.name, crds()["ModelVersion"].spec, plain(action.spec)
        if isinstance(action, CreatePromotion):
            yield action.name, crds()["ModelPromotion"].spec, plain(action.spec)


@pytest.mark.parametrize("place", PLACES)
def test_what_a_run_writes_fits_its_crd(place: str) -> None:
    wrong_by_place = {what: misfits(schema, value) for what, schema, value in written(PLACES[place]())}
    assert {what: wrong for what, wrong in wrong_by_place.items() if wrong} == {}


@pytest.mark.row("R92")
def test_every_field_that_breaks_a_rule_is_named_whole_in_status_and_record() -> None:
    world = eighty_fields()
    gates = {gate.name: gate for gate in world.status.gates}
    for name in ("fields", "floor", "floorNew"):
        assert gates[name].verdict == "Review"
        assert "8 or more of 80 measured fields" in gates[name].message
        assert all(field in gates[name].message for field in MANY[72:])
    assert "8 or more of 80 fields are worse" in gates["production"].message
    assert all(f"{field} lost 900 and gained 0" in gates["production"].message for field in MANY[72:])
    [made] = [action for action in world.history if isinstance(action, CreateModelVersion)]
    assert made.spec.evidence is not None
    assert made.spec.evidence.gates == world.status.gates


def test_a_field_that_the_crd_does_not_know_is_found() -> None:
    status = json.loads(json.dumps(plain(World.at("train").status)))
    status["attempts"][0]["surprise"] = 1
    assert misfits(crds()["FineTuneRun"].status, status) != []
