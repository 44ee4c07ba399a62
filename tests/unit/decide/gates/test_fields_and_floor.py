"""Field by field: at, below and above each line, and nothing passes by figures that contradict themselves."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.api.policy import FieldsGate, FloorGate
from finetune_operator.api.run import GateVerdict
from finetune_operator.api.step_result import EvaluateResult
from finetune_operator.api.value import parse
from finetune_operator.decide.gates.fields import judge as judge_fields
from finetune_operator.decide.gates.floor import judge as judge_floor
from finetune_operator.decide.gates.gate import Evaluation
from finetune_operator.decide.gates.verdict import worst
from unit.decide.run.results import CLASSES, evaluate_result

STRICTNESS = {"Pass": 0, "Review": 1, "Reject": 2, "Error": 3}

Numbers = tuple[int, int]
"""Boxes found, and AP50 in millionths or detections."""


def table(
    second: str, candidate: Numbers, base: Numbers, live: Numbers | None = None, *, boxes: int = 100, field: int = 0
) -> dict[str, Any]:
    def columns(which: int) -> dict[str, Any]:
        return {"candidate": [candidate[which]], "base": [base[which]], "live": [live[which]] if live else None}

    return {"measured": 1, "field": [field], "boxes": [boxes], "matched": columns(0), second: columns(1)}


def case(*, drops: Any = None, floor: Any = None, new_floor: Any = None, live: bool = False) -> Evaluation:
    result = evaluate_result(live_map50="0.98" if live else None)
    for place, name, value in (
        ("testSet", "drops", drops),
        ("testSet", "floor", floor),
        ("newSet", "floor", new_floor),
    ):
        if value is not None:
            result[place][name] = value
    return Evaluation(parse(result, EvaluateResult), CLASSES)


def fields(drops: dict[str, Any], limits: FieldsGate | None = None, *, live: bool = False) -> GateVerdict:
    (verdict,) = judge_fields(limits or FieldsGate(), case(drops=drops, live=live))
    return verdict


def floor(floors: dict[str, Any], limits: FloorGate | None = None, *, live: bool = False) -> tuple[GateVerdict, ...]:
    return judge_floor(limits or FloorGate(), case(floor=floors, new_floor=floors, live=live))


@pytest.mark.row("R90")
@pytest.mark.parametrize(
    ("candidate", "base", "live", "verdict"),
    [
        ((90, 900_000), (93, 930_000), None, "Review"),  # at both lines
        ((90, 900_001), (93, 930_000), None, "Pass"),  # a millionth less
        ((91, 900_000), (93, 930_000), None, "Pass"),  # a box less
        ((90, 899_999), (93, 930_000), None, "Review"),
        ((10, 100_000), (93, 930_000), None, "Review"),
        ((93, 930_000), (93, 930_000), None, "Pass"),
        ((99, 990_000), (93, 930_000), None, "Pass"),
        ((90, 900_000), (90, 900_000), (93, 930_000), "Review"),  # live was better than base
        ((90, 900_000), (93, 900_000), (90, 930_000), "Review"),  # one in boxes, the other in AP50
        ((90, 900_000), (92, 930_000), (92, 930_000), "Pass"),
    ],
)
def test_a_field_is_worse_when_points_and_boxes_are_both_lost(
    candidate: Numbers, base: Numbers, live: Numbers | None, verdict: str
) -> None:
    gate = fields(table("ap50", candidate, base, live), live=live is not None)
    assert (gate.verdict, gate.reason) == (verdict, "FieldWorse" if verdict == "Review" else "")


@pytest.mark.row("R90")
def test_a_worse_field_is_named_with_base_and_live_beside_it() -> None:
    gate = fields(table("ap50", (75, 800_000), (90, 900_000), (91, 950_000), boxes=308), live=True)
    assert gate.message == (
        "1 of 1 measured fields is worse: invoice_number AP50 0.8000 (base 0.9000, live 0.9500), 75 of 308 boxes found "
        "(base 90, live 91)"
    )
    assert (gate.value, gate.threshold) == ("15", "review at 3 points and 3 boxes, of fields with 30 boxes")


@pytest.mark.row("R91")
@pytest.mark.parametrize(
    ("matched", "detections", "verdict"),
    [
        (51, 60, "Pass"),
        (50, 60, "Review"),
        (49, 60, "Review"),
        (60, 119, "Pass"),
        (60, 120, "Review"),
        (0, 0, "Review"),
    ],
)
def test_a_field_is_hopeless_at_or_below_the_floor_in_recall_or_precision(
    matched: int, detections: int, verdict: str
) -> None:
    gates = floor(table("detections", (matched, detections), (35, 40)))
    assert [(g.name, g.verdict) for g in gates] == [("floor", verdict), ("floorNew", verdict)]
    assert {g.reason for g in gates} == {"FieldBelowFloor" if verdict == "Review" else ""}


@pytest.mark.row("R91")
def test_a_hopeless_field_is_named_with_base_and_live_beside_it() -> None:
    gate, _ = floor(table("detections", (75, 100), (35, 50), (35, 0x46), boxes=308), live=True)
    assert gate.message == (
        "1 of 1 measured fields at or below it on the test set: invoice_number 75 of 308 boxes found, precision 0.75; "
        "base 35 (0.70), live 35 (0.50)"
    )


def without_fields(second: str) -> dict[str, Any]:
    none: dict[str, Any] = {"candidate": [], "base": [], "live": None}
    return {"measured": 0, "field": [], "boxes": [], "matched": none, second: none}


@pytest.mark.parametrize("boxes", [29, 30, 31])
def test_a_field_with_too_few_boxes_is_not_judged_and_may_not_be_listed(boxes: int) -> None:
    drops = table("ap50", (0, 0), (29, 900_000), boxes=boxes)
    assert fields(drops).verdict == ("Error" if boxes < 30 else "Review")
    assert fields(without_fields("ap50")).message == "does not apply: no field has 30 boxes on the test set"
    assert worst(floor(without_fields("detections"))) == "Pass"


def lists() -> dict[str, Any]:
    """Ways in which a list contradicts itself, or the models that were measured."""

    def two(first: int, second: int) -> dict[str, Any]:
        columns: dict[str, Any] = {"candidate": [90, 90], "base": [90, 90], "live": None}
        return {"measured": 2, "field": [first, second], "boxes": [100, 100], "matched": columns}

    fine = table("ap50", (90, 900_000), (90, 900_000))
    ap50 = {"ap50": {"candidate": [900_000] * 2, "base": [900_000] * 2, "live": None}}
    return {
        "not measured": None,
        "found more than there are": table("ap50", (101, 900_000), (90, 900_000)),
        "found less than none": table("ap50", (-1, 900_000), (90, 900_000)),
        "base found more than there are": table("ap50", (90, 900_000), (101, 900_000)),
        "AP50 above 1": table("ap50", (90, 1_000_001), (90, 900_000)),
        "AP50 below 0": table("ap50", (90, 900_000), (90, -1)),
        "a field that is none": table("ap50", (90, 900_000), (90, 900_000), field=2),
        "a field below none": table("ap50", (90, 900_000), (90, 900_000), field=-1),
        "boxes beyond counting": table("ap50", (90, 900_000), (90, 900_000), boxes=2**31),
        "a field twice": two(0, 0) | ap50,
        "fewer measured than listed": two(0, 1) | ap50 | {"measured": 1},
        "more measured than there are": fine | {"measured": 3},
        "measured and none listed": without_fields("ap50") | {"measured": 1},
        "measured less than none": without_fields("ap50") | {"measured": -1},
        "a column that is too short": two(0, 1) | ap50 | {"boxes": [100]},
        "live that was not measured": table("ap50", (90, 900_000), (90, 900_000), (90, 900_000)),
    }


@pytest.mark.row("R92")
@pytest.mark.parametrize("what", lists())
def test_a_list_that_contradicts_itself_is_an_error(what: str) -> None:
    drops = lists()[what]
    if drops is None:
        result = evaluate_result()
        del result["testSet"]["drops"], result["testSet"]["floor"], result["newSet"]["floor"]
        bare = Evaluation(parse(result, EvaluateResult), CLASSES)
        assert worst(judge_fields(FieldsGate(), bare) + judge_floor(FloorGate(), bare)) == "Error"
    else:
        assert fields(drops).verdict == "Error"


def floor_lists() -> dict[str, dict[str, Any]]:
    """Ways in which a list of the floor contradicts itself; of a list that says nothing no field would be below it."""
    fine = table("detections", (90, 95), (90, 95))
    twice = {"candidate": [90, 90], "base": [90, 90], "live": None}
    none: dict[str, Any] = {"candidate": [], "base": [], "live": None}
    two = {"measured": 2, "field": [0, 0], "boxes": [100, 100], "matched": twice, "detections": twice}
    return {
        "found more than there are": table("detections", (101, 101), (90, 95)),
        "base found less than none": table("detections", (90, 95), (-1, 95)),
        "a field that is none": table("detections", (90, 95), (90, 95), field=2),
        "boxes beyond counting": table("detections", (90, 95), (90, 95), boxes=2**31),
        "fewer boxes than a field is judged by": table("detections", (3, 3), (3, 3), boxes=3),
        "detections beyond counting": table("detections", (90, 2**31), (90, 95)),
        "a field twice": two,
        "fewer measured than listed": fine | {"measured": 0},
        "more measured than there are": fine | {"measured": 3},
        "measured and none listed": {"measured": 1, "field": [], "boxes": [], "matched": none, "detections": none},
        "a column that is too short": two | {"field": [0, 1], "boxes": [100]},
        "live that was not measured": table("detections", (90, 95), (90, 95), (90, 95)),
    }


@pytest.mark.row("R92")
@pytest.mark.parametrize("what", floor_lists())
def test_a_floor_that_contradicts_itself_is_an_error_and_not_one_without_fields(what: str) -> None:
    assert [gate.verdict for gate in floor(floor_lists()[what])] == ["Error", "Error"]


@pytest.mark.row("R92")
def test_more_than_eight_fields_are_no_list() -> None:
    nine = {"candidate": [90] * 9, "base": [90] * 9, "live": None}
    drops = {"measured": 9, "field": list(range(9)), "boxes": [100] * 9, "matched": nine, "ap50": nine}
    result = evaluate_result()
    result["testSet"]["drops"] = drops
    (gate,) = judge_fields(FieldsGate(), Evaluation(parse(result, EvaluateResult), tuple(map(str, range(20)))))
    assert gate.verdict == "Error"


@pytest.mark.row("R91")
@pytest.mark.parametrize(
    ("candidate", "value"),
    [((90, 95), "0.900000"), ((40, 80), "0.400000"), ((40, 160), "0.250000"), ((0, 0), "0.000000")],
    ids=["recall of more detections", "recall", "precision", "nothing found"],
)
def test_the_floors_value_is_the_lesser_of_recall_and_precision(candidate: Numbers, value: str) -> None:
    assert {gate.value for gate in floor(table("detections", candidate, (35, 40)))} == {value}


@pytest.mark.row("R92")
def test_fewer_detections_than_boxes_found_is_an_error() -> None:
    assert {g.verdict for g in floor(table("detections", (90, 89), (35, 40)))} == {"Error"}
    assert {g.verdict for g in floor(table("detections", (90, 95), (35, 34)))} == {"Error"}


@pytest.mark.row("R92")
def test_a_list_that_hides_the_worst_behind_others_is_an_error() -> None:
    good, bad = (90, 900_000), (10, 100_000)
    columns = {
        second: {"candidate": [good[at], bad[at]], "base": [good[at]] * 2, "live": None}
        for at, second in enumerate(("matched", "ap50"))
    }
    assert fields({"measured": 2, "field": [0, 1], "boxes": [100, 100], **columns}).verdict == "Error"
    hidden = {"matched": columns["matched"], "detections": {"candidate": [100, 100], "base": [100, 100], "live": None}}
    assert {g.verdict for g in floor({"measured": 2, "field": [0, 1], "boxes": [100, 100], **hidden})} == {"Error"}


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity"])
def test_limits_that_are_no_numbers_judge_no_field(number: str) -> None:
    limit = Decimal(number)
    assert fields(table("ap50", (90, 900_000), (90, 900_000)), FieldsGate(review_at_points=limit)).verdict == "Error"
    assert worst(floor(table("detections", (90, 95), (90, 95)), FloorGate(minimum=limit))) == "Error"


boxes_found = st.integers(0, 100)
shares = st.integers(0, 1_000_000)


@given(
    candidate=st.tuples(boxes_found, shares),
    base=st.tuples(boxes_found, shares),
    live=st.tuples(boxes_found, shares),
    less=st.tuples(boxes_found, shares),
)
def test_a_worse_field_is_never_judged_milder(candidate: Numbers, base: Numbers, live: Numbers, less: Numbers) -> None:
    worse = (max(candidate[0] - less[0], 0), max(candidate[1] - less[1], 0))
    one, other = (fields(table("ap50", each, base, live), live=True) for each in (candidate, worse))
    assert STRICTNESS[other.verdict] >= STRICTNESS[one.verdict]
    drop, lost = max(base[1], live[1]) - candidate[1], max(base[0], live[0]) - candidate[0]
    assert (one.verdict == "Review") == (drop >= 30_000 and lost >= 3)


@given(matched=boxes_found, more=boxes_found, less=boxes_found)
def test_a_field_that_is_found_less_or_more_wrongly_is_never_judged_milder(matched: int, more: int, less: int) -> None:
    fewer = max(matched - less, 0)
    one = floor(table("detections", (matched, matched + more), (35, 40)))
    other = floor(table("detections", (fewer, matched + more), (35, 40)))
    assert STRICTNESS[worst(other)] >= STRICTNESS[worst(one)]
    wrong = floor(table("detections", (matched, matched + more + less), (35, 40)))
    assert STRICTNESS[worst(wrong)] >= STRICTNESS[worst(one)]
    assert (worst(one) == "Pass") == (2 * matched > 100 and 2 * matched > matched + more)
