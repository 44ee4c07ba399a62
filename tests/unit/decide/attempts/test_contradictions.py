"""An evaluation that contradicts itself is no evidence; every honest one passes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from finetune_operator.api.policy import FieldsGate, FloorGate, Gates, Serving
from finetune_operator.api.run_document import RunDocument
from finetune_operator.api.step_result import EvaluateResult
from finetune_operator.api.value import InvalidObject, parse
from finetune_operator.decide.attempts.contradictions import contradictions
from finetune_operator.decide.gates.gate import Standing
from finetune_operator.decide.gates.verdict import judge
from finetune_operator.decide.snapshot import snapshot_of_run
from house.honest_evaluator import Result, Setting, measurement
from unit.decide.run.results import BASE, CANDIDATE, DIGESTS, LIVE, evaluate_result, sha
from unit.decide.run.world import base, policy, run

DOCUMENT = snapshot_of_run(run(), policy(), base())


def document(setting: Setting) -> RunDocument:
    gates = Gates(
        fields=FieldsGate(
            review_at_points=setting.points, min_boxes=setting.drop_boxes, min_boxes_lost=setting.boxes_lost
        ),
        floor=FloorGate(minimum=setting.minimum, min_boxes=setting.floor_boxes),
    )
    names = tuple(f"field {number}" for number in range(setting.classes))
    serving = Serving(image_size=320, max_detections=setting.most_boxes * 3)
    return replace(DOCUMENT, classes=names, gates=gates, serving=serving)


def honest(setting: Setting, seed: int) -> Result:
    parts, models = measurement(setting, seed)
    digests = {"candidate": CANDIDATE, "base": BASE, "live": LIVE}
    return {
        "settings": sha("settings"),
        "evaluator": "finetune-trainer 0.1.0",
        "testSet": {"digest": DIGESTS["testSet"], **parts["testSet"]},
        "newSet": {"digest": DIGESTS["newSet"], "trainedOn": True, **parts["newSet"]},
        "models": {name: {"sha256": digests[name], **model} for name, model in models.items()},
    }


def against(result: Result, run_document: RunDocument = DOCUMENT, *, all_fresh: bool = True) -> list[str]:
    return contradictions(run_document, parse(result, EvaluateResult), all_fresh=all_fresh)


SETTINGS = st.builds(
    Setting,
    classes=st.sampled_from([1, 2, 5, 12, 80]),
    drop_boxes=st.sampled_from([1, 5, 30, 60]),
    floor_boxes=st.sampled_from([1, 5, 30, 60]),
    points=st.sampled_from([Decimal(0), Decimal("2.5"), Decimal(3), Decimal(50)]),
    boxes_lost=st.sampled_from([0, 3]),
    minimum=st.sampled_from([Decimal(0), Decimal("0.5"), Decimal("0.95")]),
    live=st.booleans(),
    all_fresh=st.booleans(),
    rows=st.sampled_from([1, 2, 4, 6, 8]),
)


@pytest.mark.row("R120")
@given(setting=SETTINGS, seed=st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_no_honest_evaluation_contradicts_itself(setting: Setting, seed: int) -> None:
    assert against(honest(setting, seed), document(setting), all_fresh=setting.all_fresh) == []


def appended(setting: Setting, fields: int, chance: Random) -> Result:
    """Return what an honest evaluator says of so many appended fields: of each set the worst measured ones."""
    said: Result = {"known": setting.classes}
    for name in ("test", "new"):
        least = setting.floor_boxes
        boxes = [chance.choice((0, least - 1, least, 3 * least)) for _ in range(fields)]
        matched = [chance.randint(0, count) for count in boxes]
        detected = [hits + chance.randint(0, 9) for hits in matched]
        shares = {field: Decimal(matched[field]) / max(boxes[field], detected[field], 1) for field in range(fields)}
        measured = [field for field in range(fields) if boxes[field] >= least]
        listed = sorted(measured, key=lambda field, shares=shares: (shares[field], field))[: setting.rows]  # type: ignore[misc]
        columns = {"boxes": boxes, "matched": matched, "detections": detected}
        said[f"{name}Boxes"] = sum(boxes)
        said[name] = {
            "measured": len(measured),
            "field": [setting.classes + field for field in listed],
            **{column: [counts[field] for field in listed] for column, counts in columns.items()},
        }
    return said


@pytest.mark.row("R238")
@given(setting=SETTINGS, fields=st.sampled_from([1, 2, 9, 20]), seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_no_honest_evaluation_of_appended_fields_contradicts_itself(setting: Setting, fields: int, seed: int) -> None:
    asked = document(setting)
    names = (*asked.classes, *(f"appended {number}" for number in range(fields)))
    asked = replace(asked, classes=names, serving=replace(asked.serving, max_detections=10_000))
    said = {**honest(setting, seed), "added": appended(setting, fields, Random(seed))}
    assert against(said, asked, all_fresh=setting.all_fresh) == []
    gates = judge(asked, parse(said, EvaluateResult), Standing(fields=setting.classes)).gates
    assert next(gate.verdict for gate in gates if gate.name == "addedFields") != "Error"


def test_the_figures_that_other_tests_begin_with_are_honest() -> None:
    for matched in (0, 400, 801, 950, 1000):
        assert against(evaluate_result(live_map50="0.98", matched=matched)) == []


def put(*path: Any, value: Any) -> Callable[[Result], None]:
    def change(result: Result) -> None:
        node: Any = result
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = value(node[path[-1]]) if callable(value) else value

    return change


def both(name: str, **figures: Any) -> Callable[[Result], None]:
    """Change the figures of one model on all new samples, and on the fresh ones alike."""

    def change(result: Result) -> None:
        for kind in ("pool", "fresh"):
            result["models"][name][kind].update(figures)

    return change


def shortened(node: Any, measured: int) -> Any:
    """Return a list of so many fields, all of those that were measured."""
    if isinstance(node, list):
        return node[:measured]
    if isinstance(node, dict):
        return {key: measured if key == "measured" else shortened(value, measured) for key, value in node.items()}
    return node


def add(*path: Any, by: int = 1) -> Callable[[Result], None]:
    return put(*path, value=lambda number: number + by)


TEST, NEW = "testSet", "newSet"
CONTRADICTIONS: dict[str, Callable[[Result], None]] = {
    "more boxes in all than in the fields": add(TEST, "boxes"),
    "fewer boxes in all than in the fields": add(TEST, "boxes", by=-1),
    "other boxes of a field in the two lists": add(TEST, "floor", "boxes", 0, by=-1),
    "other boxes found of a field in the two lists": add(TEST, "floor", "matched", "candidate", 0),
    "other boxes found of the base": add(TEST, "drops", "matched", "base", 0, by=-5),
    "other boxes found of the live version": add(TEST, "drops", "matched", "live", 1, by=-5),
    "a field that the other list does not have": put(TEST, "floor", value=lambda floor: shortened(floor, 1)),
    "AP50 above the mean": put(TEST, "drops", "ap50", "candidate", value=[990_000, 990_000]),
    "AP50 below the mean": put(TEST, "drops", "ap50", "base", value=[900_000, 900_000]),
    "a mean that no field has": put("models", "candidate", "map50", value="0.999000"),
    "a mean of the live version that no field has": put("models", "live", "map50", value="0.100000"),
    "more detections than pages can have": put(TEST, "floor", "detections", "base", 0, value=10**6),
    "fewer images than the boxes need": put(TEST, "images", value=3),
    "more found in the fields than in all": add(NEW, "floor", "matched", "candidate", 0),
    "fewer found in the fields than in all": add(NEW, "floor", "matched", "candidate", 0, by=-1),
    "more found by the base in the fields": add(NEW, "floor", "matched", "base", 0, by=2),
    "more detections in the fields than the precision has": add(NEW, "floor", "detections", "candidate", 0, by=9),
    "fewer detections in the fields than the precision has": add(NEW, "floor", "detections", "live", 0, by=-3),
    "more boxes in the fields than in all": add(NEW, "floor", "boxes", 0),
    "fewer boxes in the fields than in all": add(NEW, "floor", "boxes", 0, by=-1),
    "a rate of something else": both("base", rate="0.900000"),
    "a rate that is no number": both("live", rate="NaN"),
    "no rate": both("base", rate=""),
    "more found than there are": both("base", matched=1001),
    "less than none": both("live", matched=-1),
    "every document complete, and boxes missed": both("candidate", documentRate="1.000000"),
    "no document complete, and nothing missed": both(
        "candidate", matched=1000, rate="1.000000", precision="1.000000", documentRate="0.000000"
    ),
    "a precision that is no number": both("base", precision="NaN"),
    "no precision, and boxes found": both("base", precision=""),
    "a precision that no count of detections gives": both("candidate", precision="0.999999"),
    "other figures on the same samples": put("models", "base", "fresh", "documentRate", value="0.300000"),
    "more fresh documents than documents": put(NEW, "fresh", value=61),
    "nothing fresh, and measured on it": put(NEW, "fresh", value=0),
    "something fresh, and not measured on it": put("models", "live", "fresh", value=None),
    "not measured on new samples": put("models", "live", "pool", value=None),
    "fewer boxes for one model": put(
        "models", "live", value=lambda live: {**live, "pool": None, "fresh": {**live["fresh"], "boxes": 10**3 - 1}}
    ),
    "not trained on what is not held out": put(NEW, "trainedOn", value=False),
    "counts beyond counting": put(TEST, "boxes", value=2**64),
}


@pytest.mark.row("R120")
@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_each_contradiction_is_named(what: str) -> None:
    result = copy.deepcopy(evaluate_result(live_map50="0.980000"))
    assert against(result) == []
    CONTRADICTIONS[what](result)
    assert against(result) != []


@pytest.mark.row("R120")
def test_a_field_below_the_floor_by_one_list_is_not_left_out_of_the_other() -> None:
    """Three fields with enough boxes, of which the floor names two that are above it."""
    setting = Setting(classes=3)
    result = honest(setting, 0)
    counts = {"candidate": [10, 90, 90], "base": [90] * 3, "live": None}
    result[TEST].update(
        images=200,
        boxes=300,
        drops={"measured": 3, "field": [0, 1, 2], "boxes": [100] * 3, "matched": counts,
               "ap50": {"candidate": [900_000] * 3, "base": [900_000] * 3, "live": None}},
        floor={"measured": 3, "field": [1, 2], "boxes": [100] * 2,
               "matched": {"candidate": [90] * 2, "base": [90] * 2, "live": None},
               "detections": {"candidate": [95] * 2, "base": [95] * 2, "live": None}},
    )  # fmt: skip
    for name in ("candidate", "base"):
        result["models"][name]["map50"] = "0.900000"
    assert [why for why in against(result, document(setting)) if "below the floor" in why]


@pytest.mark.row("R120")
def test_a_drop_of_the_mean_that_the_worst_listed_field_is_too_good_for_is_named() -> None:
    """Twenty fields, the listed ones lost nothing, and yet the mean fell."""
    setting = Setting(classes=20)
    result = honest(setting, 0)
    same = {"candidate": [90] * 8, "base": [90] * 8, "live": None}
    ap50 = {"candidate": [900_000] * 8, "base": [900_000] * 8, "live": None}
    listed = {"measured": 20, "field": list(range(8)), "boxes": [100] * 8, "matched": same}
    floor = {**listed, "detections": same}
    result[TEST].update(images=200, boxes=2000, drops={**listed, "ap50": ap50}, floor=floor)
    for name, map50 in (("candidate", "0.900000"), ("base", "0.900000")):
        result["models"][name]["map50"] = map50
    assert against(result, document(setting)) == []
    result["models"]["candidate"]["map50"] = "0.880000"
    assert against(result, document(setting)) != []


NASTY: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([-1, 0, 1, 2**31, 2**64, 10**40, "NaN", "-0", "1e-7", "1E400", "", "x" * 99, None, [], True]),
    st.integers(),
    st.decimals(0, 1, places=6).map(str),
)


def paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [*([path] if path else []), *(inside for key, value in inner for inside in paths(value, (*path, key)))]


@pytest.mark.row("R120")
@given(place=st.integers(0, 300), value=NASTY, other=st.integers(0, 300), again=NASTY)
@settings(max_examples=400, deadline=None)
def test_whatever_is_said_there_is_an_answer_and_judging_what_is_taken_never_raises(
    place: int, value: Any, other: int, again: Any
) -> None:
    result = copy.deepcopy(evaluate_result(live_map50="0.980000"))
    for number, what in ((place, value), (other, again)):
        places = paths(result)
        put(*places[number % len(places)], value=what)(result)
    try:
        read = parse(result, EvaluateResult)
    except InvalidObject:
        return
    if not contradictions(DOCUMENT, read, all_fresh=True):
        judge(DOCUMENT, read, Standing())
