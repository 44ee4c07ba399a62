"""Classes that are appended to a policy: fine-tunes keep those of their base, a rebuild learns all."""

from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.policy import NewSamplesGate, YardstickMovedGate
from finetune_operator.api.run import GateVerdict
from finetune_operator.api.run_document import document_json
from finetune_operator.api.step_result import EvaluateResult
from finetune_operator.api.value import parse
from finetune_operator.decide.decision import CreateModelVersion, CreatePromotion
from finetune_operator.decide.gates.gate import Evaluation
from finetune_operator.decide.gates.new_samples import judge as judge_new_samples
from finetune_operator.decide.gates.recorded import disbelief
from unit.decide.run.results import (
    BASE,
    CLASSES,
    LIVE,
    columns,
    evaluate_result,
    prepare_result,
    scores,
    train_result,
)
from unit.decide.run.world import World, base, live, review, run

MORE = (*CLASSES, "iban")
NEW_BASE = "b2" * 32


def appended(**spec: Any) -> World:
    world = World(run=run(**spec))
    world.set_rules(classes=MORE)
    return world


def of_one(boxes: int = 40, matched: int = 38, detections: int = 40, field: int = len(CLASSES)) -> dict[str, Any]:
    return {"measured": 1, "field": [field], "boxes": [boxes], "matched": [matched], "detections": [detections]}


NOTHING: dict[str, Any] = {"measured": 0, "field": [], "boxes": [], "matched": [], "detections": []}


def added(test: dict[str, Any] | None = None, new: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What is measured of one appended class: on new samples alone, unless somebody labelled the anchor for it."""
    test, new = test or NOTHING, new or of_one()
    boxes = {"testBoxes": sum(test["boxes"]), "newBoxes": sum(new["boxes"]) or 20}
    return {"known": len(CLASSES), **boxes, "test": test, "new": new, **changes}


def evaluated(world: World, said: dict[str, Any] | None, drawn: int | None = None) -> World:
    """A world whose rebuild was measured with that of the appended class; None: with nothing of it.

    `drawn` is how many of its boxes prepare counted; None: as many as evaluate.
    """
    drawn = (said or {}).get("newBoxes", 40) if drawn is None else drawn
    new_set = {"documents": 60, "boxes": 1000 + drawn, "fresh": 60}
    world.trained(prepare_result(train=1560, old=1500, ratio="0", newSet=new_set), images=1560)
    world.start("evaluate")
    result = evaluate_result()
    world.complete("evaluate", result if said is None else {**result, "added": said})
    return world


@pytest.mark.row("R237")
def test_a_fine_tune_has_the_classes_of_its_base_and_is_asked_for_as_before() -> None:
    before, after = World(), appended()
    before.settle()
    after.settle()
    assert after.phase() == "Preparing"
    assert after.snapshot is not None
    assert after.snapshot.classes == CLASSES
    assert after.status.asks == before.status.asks
    assert "fields" not in document_json(after.snapshot)["base"]


@pytest.mark.row("R237")
def test_a_rebuild_has_the_policys_classes_and_says_how_many_the_base_has() -> None:
    world, same = appended(mode="Rebuild"), World(run=run(mode="Rebuild"))
    world.settle()
    same.settle()
    assert world.snapshot is not None
    assert (world.snapshot.classes, document_json(world.snapshot)["base"]["fields"]) == (MORE, len(CLASSES))
    assert same.snapshot is not None
    assert "fields" not in document_json(same.snapshot)["base"]
    assert same.status.asks != world.status.asks


@pytest.mark.row("R237")
@pytest.mark.parametrize("mode", ["FineTune", "Rebuild"])
def test_a_base_of_more_classes_than_the_policys_is_refused(mode: str) -> None:
    world = World(run=run(mode=mode), versions=(base(classes=MORE),))
    world.settle()
    assert (world.phase(), world.condition("Accepted")) == ("Failed", ("False", "ClassListDiffers"))
    assert "only in the base: iban; append iban to the policy's spec.classes, in this order" in world.status.message


@pytest.mark.row("R237")
def test_all_classes_that_the_policy_lacks_are_named_however_many_they_are() -> None:
    lacking = tuple(f"field-{number}" for number in range(8))
    world = World(versions=(base(classes=(*CLASSES, *lacking)),))
    world.settle()
    assert f"append {', '.join(lacking)} to the policy's spec.classes, in this order" in world.status.message


@pytest.mark.row("R238")
def test_what_is_new_is_judged_by_the_floor_and_compared_with_nothing() -> None:
    world = evaluated(appended(mode="Rebuild"), added())
    assert world.status.verdict == "Pass"
    gate = next(gate for gate in world.status.gates if gate.name == "addedFields")
    assert gate.message == (
        "iban is new, so nothing is compared: on the test set 1 of 1 not measured; on new samples iban 38 of 40 boxes "
        "found, 40 detections"
    )
    made = next(action for action in world.history if isinstance(action, CreateModelVersion))
    assert made.spec.classes == MORE
    assert made.spec.evidence is not None
    assert made.spec.evidence.test_set is not None
    assert made.spec.evidence.test_set.fields == len(CLASSES)


@pytest.mark.row("R238")
@pytest.mark.parametrize(
    ("said", "verdict", "reason"),
    [
        (added(of_one()), "Pass", ""),
        (added(new=of_one(matched=20)), "Review", "FieldBelowFloor"),
        (added(new=of_one(detections=76)), "Review", "FieldBelowFloor"),
        (added(of_one(matched=0, detections=0)), "Review", "FieldBelowFloor"),
        (added(new=NOTHING), "Review", "FieldNotMeasured"),
        (added(new=of_one(boxes=29, matched=29)), "Error", ""),
        (added(new=of_one(matched=41, detections=41)), "Error", ""),
        (added(new=of_one(field=0)), "Error", ""),
        (added(new=of_one(field=3)), "Error", ""),
        (added(new={**of_one(), "measured": 2}), "Error", ""),
        (added(new={**of_one(), "matched": []}), "Error", ""),
    ],
)
def test_appended_fields_at_and_around_the_floor(said: dict[str, Any], verdict: str, reason: str) -> None:
    world = evaluated(appended(mode="Rebuild"), said)
    gate = next(gate for gate in world.status.gates if gate.name == "addedFields")
    assert (gate.verdict, gate.reason) == (verdict, reason)
    assert world.status.verdict == verdict


@pytest.mark.row("R238")
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, "EvidenceMismatch"),  # the base cannot have been measured on a field that it does not have
        (added(known=1), "EvidenceMismatch"),
        (added(newBoxes=41), "EvidenceMismatch"),
        (added(new=of_one(boxes=41), newBoxes=40), "ResultContradictory"),
        (added(of_one(), testBoxes=39), "ResultContradictory"),
        (added(of_one(), testBoxes=41), "ResultContradictory"),  # one field is appended, and it is listed
        (added(testBoxes=30), "ResultContradictory"),  # then it is measured there
        (added({**NOTHING, "measured": 1}, testBoxes=29), "ResultContradictory"),  # then it has 30
        (added(of_one(boxes=200 * 300 - 1199, matched=60_000)), "ResultContradictory"),  # pages have 300 at most
    ],
)
def test_figures_of_other_fields_than_base_and_live_version_have_are_not_taken(
    said: dict[str, Any] | None, reason: str
) -> None:
    world = evaluated(appended(mode="Rebuild"), said, drawn=40)
    assert world.status.verdict is None
    assert [a.reason for a in world.status.attempts if a.step == "evaluate" and a.outcome == "Failed"] == [reason]


@pytest.mark.row("R238")
def test_a_fine_tune_of_what_has_all_fields_may_not_leave_one_out() -> None:
    world = World()
    world.trained()
    world.start("evaluate")
    said = {**evaluate_result(), "added": added(known=1, newBoxes=0, new=NOTHING)}
    world.complete("evaluate", said)
    assert [a.reason for a in world.status.attempts if a.step == "evaluate" and a.outcome == "Failed"] == [
        "EvidenceMismatch"
    ]


def live_with_more() -> World:
    """A world in which a rebuilt base with the longer list is live."""
    rebuilt = base("base_v2", NEW_BASE, classes=MORE)
    world = World(run=run(base_version="base_v1"), versions=(base(), rebuilt))
    world.set_rules(classes=MORE)
    served = live("base_v2", NEW_BASE)
    world.set_policy(live=served, last_good=(served,))
    return world


@pytest.mark.row("R239")
def test_a_fine_tune_that_would_lose_a_field_that_is_live_is_refused() -> None:
    world = live_with_more()
    world.settle()
    assert (world.phase(), world.condition("Accepted")) == ("Failed", ("False", "ClassListDiffers"))
    assert "base_v2 is live and has iban, which base_v1 has not" in world.status.message


@pytest.mark.row("R239")
def test_a_rebuild_and_a_fine_tune_of_what_is_live_are_not_refused() -> None:
    world = live_with_more()
    world.run = updated(world.run, spec=updated(world.run.spec, base_version="base_v2"))
    world.settle()
    assert world.phase() == "Preparing"
    assert world.snapshot is not None
    assert world.snapshot.classes == MORE
    rebuild = live_with_more()
    rebuild.run = updated(rebuild.run, spec=updated(rebuild.run.spec, mode="Rebuild"))
    rebuild.settle()
    assert rebuild.phase() == "Preparing"


def judged_beside(world: World, base_digest: str, live_digest: str, said: dict[str, Any]) -> GateVerdict:
    """The verdict on appended fields of a run that was measured beside base and live version."""
    rebuilds = world.run.spec.mode == "Rebuild"
    world.settle()
    world.start("prepare")
    mix: dict[str, Any] = {"train": 1560, "old": 1500, "ratio": "0"} if rebuilds else {}
    new_set = {"documents": 60, "boxes": 1000 + said["newBoxes"], "fresh": 60}
    world.complete("prepare", prepare_result(newSet=new_set, **mix))
    world.start("train")
    world.complete("train", train_result(images=1560 if rebuilds else 1260))
    world.start("evaluate")
    result = {**evaluate_result(live_map50="0.985000"), "added": said}
    result["models"]["base"]["sha256"] = base_digest
    result["models"]["live"]["sha256"] = live_digest
    world.complete("evaluate", result)
    return next(gate for gate in world.status.gates if gate.name == "addedFields")


@pytest.mark.row("R260")
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (added(of_one()), "FieldNotCompared"),
        (added(new=of_one(matched=20)), "FieldBelowFloor"),
        (added(new=NOTHING), "FieldNotMeasured"),
    ],
)
def test_a_rebuild_that_names_a_base_without_what_is_live_asks_a_person(said: dict[str, Any], reason: str) -> None:
    """Else whoever makes runs chooses what the new base is held to, and the floor would do for a field that serves."""
    world = live_with_more()
    world.run = updated(world.run, spec=updated(world.run.spec, mode="Rebuild"))
    gate = judged_beside(world, BASE, NEW_BASE, said)
    assert (gate.verdict, gate.reason) == ("Review", reason)
    assert gate.message.startswith("of base and live version one alone has iban, so nothing is compared: ")
    assert world.status.verdict == "Review"


@pytest.mark.row("R260")
def test_a_fine_tune_whose_base_has_more_than_what_is_live_asks_a_person() -> None:
    """People went back, and a run names the base that they went back from."""
    rebuilt, tuned = base("base_v2", NEW_BASE, classes=MORE), base("ft_v1.1", LIVE, type="FineTuned")
    world = World(run=run(base_version="base_v2"), versions=(base(), rebuilt, tuned))
    world.set_rules(classes=MORE)
    served = live("ft_v1.1", LIVE)
    world.set_policy(live=served, last_good=(served,))
    gate = judged_beside(world, NEW_BASE, LIVE, added(of_one()))
    assert (gate.verdict, gate.reason) == ("Review", "FieldNotCompared")


@pytest.mark.row("R260")
def test_what_neither_base_nor_live_version_has_is_new_and_is_said_beside_what_one_has() -> None:
    world = live_with_more()
    world.set_rules(classes=(*MORE, "bic"))
    world.run = updated(world.run, spec=updated(world.run.spec, mode="Rebuild"))
    both = {"measured": 2, "field": [2, 3], "boxes": [40, 40], "matched": [38, 38], "detections": [40, 40]}
    said = {"known": len(CLASSES), "testBoxes": 80, "newBoxes": 40, "test": both, "new": NOTHING}
    gate = judged_beside(world, BASE, NEW_BASE, said)
    assert gate.message.startswith("of base and live version one alone has iban and bic is new, so nothing is compared")


def forgotten(world: World) -> World:
    """The world without the record of what is live: people delete ModelVersions, and what serves goes on."""
    world.versions = tuple(v for v in world.versions if v.spec.artifact.sha256 != NEW_BASE)
    world.run = updated(world.run, spec=updated(world.run.spec, mode="Rebuild"))
    return world


@pytest.mark.row("R261")
def test_what_is_live_without_a_record_may_have_what_is_called_new() -> None:
    """Else whoever deletes a record makes a field that serves one that nobody has."""
    world = forgotten(live_with_more())
    assert world.policy is not None
    review = updated(world.policy.spec.gates, yardstick_moved=YardstickMovedGate(review=False))
    world.set_rules(gates=review)
    gate = judged_beside(world, BASE, NEW_BASE, added(of_one()))
    assert (gate.verdict, gate.reason) == ("Review", "FieldNotCompared")
    assert gate.message.startswith("no record tells whether the live version has iban, so nothing is compared: ")
    assert world.status.verdict == "Review"


@pytest.mark.row("R261")
@pytest.mark.parametrize(("new", "reason"), [(of_one(matched=20), "FieldBelowFloor"), (NOTHING, "FieldNotMeasured")])
def test_the_floor_is_named_first_where_a_record_is_missing(new: dict[str, Any], reason: str) -> None:
    gate = judged_beside(forgotten(live_with_more()), BASE, NEW_BASE, added(new=new))
    assert (gate.verdict, gate.reason) == ("Review", reason)


@pytest.mark.row("R262")
def test_what_was_measured_without_a_field_that_is_live_is_not_taken() -> None:
    """What went live while it trained has one more: an honest evaluation ends with that, and another one is none."""
    world = World(
        run=run(base_version="base_v1"), versions=(base(), base("base_v2", NEW_BASE, classes=MORE))
    ).prepared()
    world.set_rules(classes=MORE)
    world.go_live("base_v2", NEW_BASE)
    world.start("train")
    world.complete("train", train_result())
    world.start("evaluate")
    result = evaluate_result(live_map50="0.980000")
    result["models"]["live"]["sha256"] = NEW_BASE
    world.complete("evaluate", result)
    (failed,) = [a for a in world.status.attempts if a.step == "evaluate" and a.outcome == "Failed"]
    assert failed.reason == "EvidenceMismatch"
    assert "2 fields, and the live version has 3" in failed.message
    assert world.status.verdict is None


@pytest.mark.row("R267")
def test_a_rebuild_by_a_policy_that_lacks_a_field_that_is_live_is_refused_before_it_trains() -> None:
    """A policy that was restored from before an edit: else it trains for days, and only then nothing compares."""
    world = live_with_more()
    world.set_rules(classes=CLASSES)
    world.run = updated(world.run, spec=updated(world.run.spec, mode="Rebuild"))
    world.settle()
    assert (world.phase(), world.condition("Accepted")) == ("Failed", ("False", "ClassListDiffers"))
    said = (
        "base_v2 is live and has iban, which policy 'invoice-fields' has not; append iban to the policy's spec.classes"
    )
    assert said in world.status.message


def rebuilt_otherwise() -> World:
    """What is live has one class more, and a policy that was restored from before that got another one instead."""
    world = live_with_more()
    world.set_rules(classes=(*CLASSES, "swift"))
    return world


@pytest.mark.row("R276")
@pytest.mark.parametrize("mode", ["FineTune", "Rebuild"])
def test_a_run_that_cannot_be_measured_beside_what_is_live_is_refused_before_it_trains(mode: str) -> None:
    """It trained for days, and only evaluate saw that neither list of classes begins with the other."""
    world = rebuilt_otherwise()
    other = base("base_v3", "c3" * 32, classes=(*CLASSES, "swift"))
    world.versions = (*world.versions, other)
    world.run = updated(world.run, spec=updated(world.run.spec, mode=mode, base_version="base_v3"))
    world.settle()
    assert (world.phase(), world.condition("Accepted")) == ("Failed", ("False", "ClassListDiffers"))
    whose = "policy 'invoice-fields'" if mode == "Rebuild" else "base_v3"
    assert f"base_v2 is live and has iban where {whose} has swift" in world.status.message


@pytest.mark.row("R276")
@pytest.mark.parametrize("mode", ["FineTune", "Rebuild"])
def test_what_is_live_has_the_classes_of_its_own_record(mode: str) -> None:
    """The same checkpoint was imported again by a wrong list, which its verification refuses: that says nothing."""
    world = World(run=run(mode=mode), versions=(base("a_copy", classes=MORE), base()))
    served = live("base_v1", BASE)
    world.set_policy(live=served, last_good=(served,))
    world.run = updated(world.run, spec=updated(world.run.spec, base_version="base_v1"))
    world.settle()
    assert world.phase() == "Preparing"


def beside_what_lacks_it(said: dict[str, Any], **pool: Any) -> World:
    """A fine-tune of a base with one class more than what is live, measured on pages that show that class alone."""
    rebuilt, tuned = base("base_v2", NEW_BASE, classes=MORE), base("ft_v1.1", LIVE, type="FineTuned")
    world = World(run=run(base_version="base_v2"), versions=(base(), rebuilt, tuned))
    world.set_rules(classes=MORE)
    served = live("ft_v1.1", LIVE)
    world.set_policy(live=served, last_good=(served,))
    world.trained(prepare_result(newSet={"documents": 60, "boxes": 40, "fresh": 60}))
    world.start("evaluate")
    result = {**evaluate_result(live_map50="0.985000"), "added": said}
    result["models"]["base"]["sha256"] = NEW_BASE
    none = {"measured": 0, "field": [], "boxes": []}
    result["newSet"]["floor"] = none | {"matched": columns([], [], []), "detections": columns([], [], [])}
    for model in result["models"].values():
        model |= {"pool": scores(0, 0) | pool, "fresh": scores(0, 0) | pool}
    world.complete("evaluate", result)
    return world


@pytest.mark.row("R305")
def test_new_pages_that_show_only_what_the_live_version_lacks_ask_a_person_who_can_say_yes() -> None:
    """What went live while it trained may be the one that lacks it: an Error would throw its training away."""
    world = beside_what_lacks_it(added())
    gates = {gate.name: gate for gate in world.status.gates}
    assert world.status.verdict == "Review", {gate.name: gate.message for gate in world.status.gates}
    assert [gates[name].reason for name in ("newSamples", "newSamplesFresh", "newSetSize", "addedFields")] == [
        "TooFewFound",
        "TooFewFound",
        "NewSetTooSmall",
        "FieldNotCompared",
    ]
    assert gates["newSamples"].value == ""
    assert "none of 60 documents of the new samples has a labelled box of a field that all models have" in (
        gates["newSamples"].message
    )
    review(world, "Approve")
    made = next(action for action in world.history if isinstance(action, CreateModelVersion))
    assert made.spec.evidence is not None
    assert disbelief(made.spec.evidence) is None
    assert any(isinstance(action, CreatePromotion) for action in world.history)
    forged = tuple(updated(gate, verdict="Pass") for gate in made.spec.evidence.gates)
    assert disbelief(updated(made.spec.evidence, gates=forged)) is not None, "no share, no Pass"


@pytest.mark.row("R305")
@pytest.mark.parametrize("pool", [{"rate": "0.000000"}, {"matched": 1}])
def test_figures_of_no_box_that_are_none_are_no_review(pool: dict[str, Any]) -> None:
    world = beside_what_lacks_it(added(), **pool)
    assert world.status.verdict is None
    assert [a.reason for a in world.status.attempts if a.outcome == "Failed"] == ["ResultContradictory"]


@pytest.mark.row("R305")
def test_new_pages_that_show_nothing_at_all_are_an_error_as_before() -> None:
    """Prepare ends such a run: what is measured on no box at all has not been measured."""
    no_box = {"added": added(new=NOTHING, newBoxes=0)}
    said = {**evaluate_result(), **no_box}
    for model in (said["models"]["candidate"], said["models"]["base"]):
        model |= {"pool": scores(0, 0), "fresh": scores(0, 0)}
    result = parse(said, EvaluateResult)
    names = [gate.verdict for gate in judge_new_samples(NewSamplesGate(), Evaluation(result, CLASSES, added=("iban",)))]
    assert names[0] == "Error"
