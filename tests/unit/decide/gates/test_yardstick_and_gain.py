"""Whether the yardstick is big enough and stays, and whether anything is gained."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.api.policy import GainGate, NewSamplesGate, YardstickGate, YardstickMovedGate
from finetune_operator.api.run import GateVerdict
from finetune_operator.api.step_result import EvaluateResult
from finetune_operator.api.value import parse
from finetune_operator.decide.gates.gain import judge as judge_gain
from finetune_operator.decide.gates.gate import Evaluation, Known, Standing
from finetune_operator.decide.gates.moved import judge as judge_moved
from finetune_operator.decide.gates.new_samples import judge as judge_new_samples
from finetune_operator.decide.gates.yardstick import judge as judge_yardstick
from unit.decide.run.results import BASE, CANDIDATE, CLASSES, DIGESTS, LIVE, evaluate_result, scores

FIELDS = len(CLASSES)
NOW, OTHER = DIGESTS["testSet"], "0e" * 32


def sizes(images: int, boxes: int) -> tuple[GateVerdict, ...]:
    result = evaluate_result()
    result["testSet"]["images"] = images
    result["models"]["candidate"]["pool"] = scores(boxes, boxes) if boxes > 0 else {**scores(1, 1), "boxes": boxes}
    return judge_yardstick(YardstickGate(), Evaluation(parse(result, EvaluateResult)))


@pytest.mark.row("R93")
@pytest.mark.parametrize(
    ("images", "boxes", "reasons"),
    [
        (100, 50, ("", "")),
        (101, 51, ("", "")),
        (99, 50, ("TestSetTooSmall", "")),
        (100, 49, ("", "NewSetTooSmall")),
        (1, 1, ("TestSetTooSmall", "NewSetTooSmall")),
    ],
)
def test_a_small_yardstick_is_a_review(images: int, boxes: int, reasons: tuple[str, str]) -> None:
    gates = sizes(images, boxes)
    assert tuple(g.reason for g in gates) == reasons
    assert [g.verdict for g in gates] == ["Review" if reason else "Pass" for reason in reasons]
    assert [(g.name, g.value, g.threshold) for g in gates] == [
        ("testSetSize", str(images), "at least 100"),
        ("newSetSize", str(boxes), "at least 50"),
    ]


@pytest.mark.parametrize("count", [0, -1, 2**31])
def test_a_count_that_is_none_is_an_error(count: int) -> None:
    assert sizes(count, 50)[0].verdict == "Error"
    assert sizes(100, count)[1].verdict == "Error"


def moved(standing: Standing, limits: YardstickMovedGate | None = None) -> GateVerdict:
    (gate,) = judge_moved(
        limits or YardstickMovedGate(), Evaluation(parse(evaluate_result(), EvaluateResult), CLASSES, standing)
    )
    return gate


@pytest.mark.row("R94")
@pytest.mark.parametrize(
    ("standing", "verdict"),
    [
        (Standing("ft_v1.1", NOW, is_live=True), "Pass"),
        (Standing("ft_v1.1", OTHER, is_live=True), "Review"),
        (Standing("ft_v1.1", None, is_live=True), "Review"),
        (Standing(None, None, is_live=True), "Review"),
        (Standing("base_v1", NOW), "Pass"),
        (Standing("base_v1", OTHER), "Review"),
        (Standing("base_v1", None), "Pass"),
    ],
)
def test_a_yardstick_that_moved_or_that_nobody_knows_is_a_review(standing: Standing, verdict: str) -> None:
    gate = moved(standing)
    assert (gate.verdict, gate.reason) == (verdict, "YardstickMoved" if verdict == "Review" else "")
    if verdict == "Review":
        assert NOW in gate.message
        assert standing.test_set is None or standing.test_set in gate.message
        assert moved(standing, YardstickMovedGate(review=False)).verdict == "Pass"


def known(sha256: str, map50: str, *, split: str = NOW, images: int = 200, fields: int = FIELDS) -> Standing:
    return Standing("ft_v1.1", NOW, is_live=True, known=(Known(sha256, "v", split, images, map50, fields),))


@pytest.mark.row("R122")
@pytest.mark.parametrize(
    ("standing", "verdict"),
    [
        (known(BASE, "0.985000"), "Pass"),
        (known(BASE, "0.990000"), "Pass"),  # at the line
        (known(BASE, "0.990001"), "Review"),
        (known(BASE, "0.979999"), "Review"),
        (known(BASE, "NaN"), "Review"),
        (known(BASE, "0.985000", images=199), "Review"),
        (known(BASE, "0.500000", fields=FIELDS + 1), "Pass"),  # a mean over other fields
        (known(LIVE, "0.980000"), "Pass"),
        (known(LIVE, "0.960000"), "Review"),
        (known(LIVE, "0.960000", split=OTHER), "Pass"),  # figures of other pages do not compare
        (known(CANDIDATE, "0.5"), "Pass"),
    ],
)
def test_what_is_measured_otherwise_than_before_on_the_same_pages_is_a_review(standing: Standing, verdict: str) -> None:
    result = parse(evaluate_result(live_map50="0.980000"), EvaluateResult)
    (gate,) = judge_moved(YardstickMovedGate(), Evaluation(result, CLASSES, standing))
    assert (gate.verdict, gate.reason) == (verdict, "YardstickMoved" if verdict == "Review" else ""), gate.message
    (off,) = judge_moved(YardstickMovedGate(review=False), Evaluation(result, CLASSES, standing))
    assert off.verdict == "Pass"


def gain(
    candidate: Any, base: Any, live: Any = None, *, fresh: int = 60, limits: GainGate | None = None
) -> GateVerdict:
    result = evaluate_result(live_map50="0.98" if live is not None else None)
    result["newSet"]["fresh"] = fresh
    for name, value in (("candidate", candidate), ("base", base), ("live", live)):
        if result["models"][name] is not None:
            result["models"][name]["fresh"] = value
    (gate,) = judge_gain(limits or GainGate(), Evaluation(parse(result, EvaluateResult), (), Standing("ft_v1.1", NOW)))
    return gate


def matched(matched: int, boxes: int = 308) -> dict[str, Any]:
    return scores(matched, boxes)


@pytest.mark.row("R95")
@pytest.mark.parametrize(
    ("candidate", "base", "live", "verdict"),
    [
        (36, 35, None, "Pass"),
        (35, 35, None, "Review"),
        (34, 35, None, "Review"),
        (36, 10, 35, "Pass"),
        (36, 10, 36, "Review"),
        (36, 50, 35, "Pass"),  # against what is live, whatever the base found
        (308, 308, None, "Pass"),  # nothing is left to gain
        (307, 308, None, "Review"),
    ],
)
def test_a_candidate_has_to_find_more_than_what_is_live(
    candidate: int, base: int, live: int | None, verdict: str
) -> None:
    gate = gain(matched(candidate), matched(base), matched(live) if live is not None else None)
    assert (gate.verdict, gate.reason) == (verdict, "NoGain" if verdict == "Review" else "")
    assert gate.threshold == "more boxes found than by what is live"
    assert float(gate.value) == pytest.approx((candidate - (base if live is None else live)) / 308, abs=1e-6)
    beside = f"base {base}" + (f", live {live}" if live is not None else "")
    assert f"{candidate} of 308 fresh boxes found; {beside}" in gate.message
    assert gate.message.startswith("nothing is left to gain") == (candidate == 308)
    off = gain(
        matched(candidate), matched(base), matched(live) if live is not None else None, limits=GainGate(review=False)
    )
    assert off.verdict == "Pass"


@pytest.mark.row("R95")
def test_where_nothing_is_fresh_nothing_has_to_be_gained_and_the_gate_says_so() -> None:
    gate = gain(None, None, fresh=0)
    assert (gate.verdict, gate.message) == ("Pass", "does not apply: no sample is fresh since ft_v1.1")


@pytest.mark.row("R124")
@pytest.mark.parametrize("live", [False, True])
def test_fresh_samples_without_a_labelled_box_are_a_review_and_no_error(live: bool) -> None:
    """Pages that are verified to have no field are samples too: a run beside them ends with a person."""
    none = matched(0, 0)
    gate = gain(none, none, none if live else None)
    assert (gate.verdict, gate.reason) == ("Review", "NoGain")
    assert "none of 60 fresh documents has a labelled box" in gate.message
    assert gain(none, none, none if live else None, limits=GainGate(review=False)).verdict == "Pass"
    result = evaluate_result(live_map50="0.98" if live else None)
    result["models"]["candidate"]["fresh"] = none
    _, fresh = judge_new_samples(NewSamplesGate(), Evaluation(parse(result, EvaluateResult)))
    assert (fresh.verdict, fresh.reason, fresh.value) == ("Review", "TooFewFound", "")


BROKEN: dict[str, tuple[Any, ...]] = {
    "fresh samples that were not measured": (None, None),
    "of the candidate alone": (matched(5), None),
    "of all but the live version": (matched(5), matched(4), {**matched(4), "rate": ""}),
    "other boxes": (matched(5), matched(4, 307)),
    "more found than there are": ({**matched(5), "matched": 309}, matched(4)),
    "a rate of something else": ({**matched(5), "rate": "0.9"}, matched(4)),
}


@pytest.mark.row("R95")
@pytest.mark.parametrize("measured", [(matched(5), None), (None, matched(5)), (None, None, matched(5))])
def test_nothing_fresh_of_which_something_was_measured_is_an_error(measured: tuple[Any, ...]) -> None:
    assert gain(*measured, fresh=0).verdict == "Error"


@pytest.mark.row("R95")
def test_without_new_samples_the_gate_is_an_error_and_not_left_out() -> None:
    result = parse({**evaluate_result(), "newSet": None}, EvaluateResult)
    assert [gate.verdict for gate in judge_gain(GainGate(), Evaluation(result))] == ["Error"]


@pytest.mark.row("R95")
@pytest.mark.parametrize("what", BROKEN)
def test_a_gain_of_figures_that_contradict_each_other_is_an_error(what: str) -> None:
    assert gain(*BROKEN[what]).verdict == "Error"


@given(candidate=st.integers(0, 40), less=st.integers(0, 40), live=st.integers(0, 40))
def test_who_finds_fewer_is_never_judged_milder(candidate: int, less: int, live: int) -> None:
    one = gain(matched(candidate, 40), matched(0, 40), matched(live, 40))
    other = gain(matched(max(candidate - less, 0), 40), matched(0, 40), matched(live, 40))
    assert (one.verdict, other.verdict) != ("Review", "Pass")
