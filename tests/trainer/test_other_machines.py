"""Numbers that are other ones on other machines decide nothing: what they tell is neither a page's nor a model's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.preprocess import Tensor
from finetune_trainer.evaluation.rounding import CHANGES, LARGEST, check_rounding
from trainer.networks import BOX, SERVED, SIZE, network, nothing_of_the_page

CHANCE: Final = 7
PAGE: Final = np.random.default_rng(CHANCE).uniform(size=(1, 3, SIZE, SIZE)).astype(np.float32)
Weights = dict[str, float]


def convolution(made: str, of: str, weight: str, bias: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [of, weight, bias], [made])


def deciding(folder: Path, nodes: Sequence[onnx.NodeProto], weights: Weights) -> bytes:
    """A network that finds a box, by as much less surely as the greatest number of what its layers call `told` is.

    Weights are of one channel to one, but for those of a name that begins with `bias`.
    """
    by_page = helper.make_node("ReduceMean", ["images"], ["page"], axes=[1], keepdims=1)
    last = [
        helper.make_node("Abs", ["told"], ["far"]),
        helper.make_node("ReduceMax", ["far"], ["farthest"], keepdims=0),
        helper.make_node("Mul", ["farthest", "score"], ["of_the_score"]),
        helper.make_node("Sub", ["boxes", "of_the_score"], ["output0"]),
    ]
    score = (BOX[0, 4, 0] == BOX).astype(np.float32)
    initial = {"boxes": BOX, "score": score} | {
        name: np.full((1,) if name.startswith("bias") else (1, 1, 1, 1), value, np.float32)
        for name, value in weights.items()
    }
    stored = (numpy_helper.from_array(value, name) for name, value in initial.items())
    return network(folder, [by_page, *nodes, *last], *stored).read_bytes()


def refused(content: bytes, said: str, pages: Sequence[Tensor] = (PAGE,)) -> None:
    with pytest.raises(StepError, match=said) as caught:
        check_rounding(content, "The candidate", pages, SERVED, threads=1, seed=CHANCE)
    assert caught.value.reason is Reason.BASE_UNUSABLE


@pytest.mark.row("R254")
@pytest.mark.parametrize("function", ["Sigmoid", "HardSigmoid"])
def test_what_a_function_comes_to_where_it_is_nearly_nothing_decides_nothing(tmp_path: Path, function: str) -> None:
    """Sigmoid of -20 is 0 by the formula of one CPU, and 0.000000002 in truth: 30,000 times 30,000 make that 2."""
    nodes = [
        convolution("low", "page", "none", "bias_low"),
        helper.make_node(function, ["low"], ["nearly"]),
        convolution("more", "nearly", "large", "bias_none"),
        convolution("told", "more", "large", "bias_none"),
    ]
    weights = {"none": 0, "bias_low": -20, "large": 3e4, "bias_none": 0}
    refused(deciding(tmp_path, nodes, weights), "answers a page otherwise where its weights")


@pytest.mark.row("R254")
def test_numbers_with_few_digits_decide_nothing(tmp_path: Path) -> None:
    """Of 2**-147 a quarter is lost or not by the order of a sum, and no change by a millionth makes a difference."""
    nodes = [
        convolution("small", "page", "small_weight", "bias_none"),
        convolution("smaller", "small", "smaller_weight", "bias_smallest"),
        convolution("larger", "smaller", "large", "bias_less"),
        convolution("told", "larger", "large", "bias_none"),
    ]
    large = 2.0**58
    weights = {"small_weight": 0, "smaller_weight": 2.0**-73, "large": large, "bias_none": 0, "bias_less": 0}
    refused(deciding(tmp_path, nodes, weights | {"bias_smallest": 2.0**-147}), "answers a page otherwise")


@pytest.mark.row("R257")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e19])
def test_weights_that_are_no_numbers_or_too_large_are_refused(tmp_path: Path, value: float) -> None:
    """Nothing is made of what they come to here."""
    nodes = [convolution("any", "page", "none", "bias"), convolution("told", "page", "none", "bias_none")]
    refused(deciding(tmp_path, nodes, {"none": 0, "bias": value, "bias_none": 0}), "add up to (nan|inf|1e[+]22)")


@pytest.mark.row("R257")
def test_sums_that_are_too_large_on_their_way_are_refused(tmp_path: Path) -> None:
    """Each weight is a sound one: one and the other take 3e38 from 3e38, or add first, by the order alone."""
    nodes = [
        convolution("large", "page", "none", "bias_large"),
        convolution("larger", "large", "much", "bias_none"),
        convolution("told", "larger", "none", "bias_none"),
    ]
    weights = {"none": 0, "bias_large": 1e17, "much": 1e17, "bias_none": 0}
    refused(deciding(tmp_path, nodes, weights), r"add up to 1e\+37, and more than 1e\+18 are too large")


@pytest.mark.row("R257")
def test_large_numbers_below_that_are_nobodys_fault(tmp_path: Path) -> None:
    nodes = [convolution("told", "page", "none", "bias_none"), convolution("large", "page", "none", "bias_large")]
    content = deciding(tmp_path, nodes, {"none": 0, "bias_large": LARGEST / SIZE**2 / 2, "bias_none": 0})
    check_rounding(content, "The candidate", [PAGE], SERVED, threads=1, seed=CHANCE)


@pytest.mark.row("R254")
@pytest.mark.parametrize(("height", "other"), [(0.4, True), (8, False)])
def test_a_box_moves_by_little_of_its_own_height(tmp_path: Path, height: float, other: bool) -> None:
    """By the last digit of a sum, and by less than a hundredth of the page: as much as a line is high."""
    lower = np.zeros_like(BOX)
    lower[0, 1, 0] = 0.6
    boxes = BOX.copy()
    boxes[0, 3, 0] = height
    sums = {f"sum_{n}": np.full((1, 3, 1, 1), 0.3, np.float32) for n in (0, 1)}
    nodes = [
        *(helper.make_node("Conv", ["images", name], [f"of_{name}"]) for name in sums),
        helper.make_node("Sub", ["of_sum_0", "of_sum_1"], ["apart"]),
        helper.make_node("ReduceMax", ["apart"], ["farthest"], keepdims=0),
        helper.make_node("Mul", ["farthest", "much"], ["large"]),
        helper.make_node("Sigmoid", ["large"], ["half_or_all"]),
        helper.make_node("Mul", ["half_or_all", "lower"], ["moved"]),
        helper.make_node("Add", ["boxes", "moved"], ["output0"]),
    ]
    initial = sums | {"boxes": boxes, "lower": lower, "much": np.array(1e9, np.float32)}
    stored = (numpy_helper.from_array(value, name) for name, value in initial.items())
    content = network(tmp_path, nodes, *stored).read_bytes()
    if other:
        refused(content, "answers a page otherwise where its weights differ")
    else:
        check_rounding(content, "The candidate", [PAGE], SERVED, threads=1, seed=CHANCE)


TWO: Final = ((12, 16, 16, 16), (14, 16, 16, 16))
TWO_LINES: Final = ((16, 16, 16, 1.2), (16, 16.15, 16, 1.2))
"""Two that hide each other, an eighth of their height apart."""


def of_two_boxes(
    folder: Path,
    first: float,
    second: float,
    two: Sequence[tuple[float, float, float, float]] = TWO,
    *,
    fields: int = 1,
) -> bytes:
    """A network that finds two boxes that hide each other, by the scores that the sigmoid makes of these.

    Each is one of the first `fields` fields.
    """
    boxes = np.array(two, np.float32).T[None]
    logits = np.array([[each] * fields + [-30] * (3 - fields) for each in (first, second)], np.float32).T[None]
    nodes = [
        *nothing_of_the_page(),
        helper.make_node("Add", ["logits", "nothing"], ["sums"]),
        helper.make_node("Sigmoid", ["sums"], ["scores"]),
        helper.make_node("Add", ["boxes", "nothing"], ["places"]),
        helper.make_node("Concat", ["places", "scores"], ["output0"], axis=1),
    ]
    stored = [numpy_helper.from_array(each, name) for each, name in ((boxes, "boxes"), (logits, "logits"))]
    return network(folder, nodes, *stored).read_bytes()


PAGES: Final = [PAGE] * 8
AT_CONFIDENCE: Final = -1.0986122
"""What the sigmoid makes the confidence of, and a little more."""


@pytest.mark.row("R271")
@pytest.mark.parametrize("logits", [(20, 20), (17, 17.5), (2, 2), (AT_CONFIDENCE, -30)])
def test_the_last_digit_of_a_score_does_not_choose_what_is_found(tmp_path: Path, logits: tuple[float, float]) -> None:
    """Near 1 a score has few digits: 17 and 17.5 are the same by the formula of one CPU, and not by another's."""
    refused(of_two_boxes(tmp_path, *logits), "answers a page otherwise where its weights differ", PAGES)


@pytest.mark.row("R271")
def test_of_two_lines_no_digit_chooses_one(tmp_path: Path) -> None:
    refused(of_two_boxes(tmp_path, 2, 2, TWO_LINES), "answers a page otherwise", PAGES)


@pytest.mark.row("R271")
def test_two_boxes_of_few_are_not_lost_together(tmp_path: Path) -> None:
    refused(of_two_boxes(tmp_path, AT_CONFIDENCE, -30), "answers a page otherwise", PAGES[:2])


@pytest.mark.row("R271")
@pytest.mark.parametrize("logits", [(2.01, 2), (AT_CONFIDENCE + 0.01, -30)])
def test_what_is_better_by_more_than_a_digit_is_found(tmp_path: Path, logits: tuple[float, float]) -> None:
    check_rounding(of_two_boxes(tmp_path, *logits), "The candidate", PAGES, SERVED, threads=1, seed=CHANCE)


@pytest.mark.row("R271")
def test_one_box_that_is_another_is_nobodys_fault(tmp_path: Path) -> None:
    content = of_two_boxes(tmp_path, 2, 2)
    check_rounding(content, "The candidate", PAGES[:1], SERVED, threads=1, seed=CHANCE)


def test_each_change_is_counted_before_its_pages_are_answered(tmp_path: Path) -> None:
    """A large network takes minutes, and a step that says nothing meanwhile looks as if it hung."""
    counts: list[tuple[int, int]] = []
    content = of_two_boxes(tmp_path, 2, 2)
    check_rounding(
        content, "The candidate", PAGES[:1], SERVED, threads=1, seed=CHANCE, counted=lambda *each: counts.append(each)
    )
    assert counts == [(count, CHANGES) for count in range(CHANGES)]


@pytest.mark.row("R278")
def test_all_boxes_of_a_page_are_not_lost_together(tmp_path: Path) -> None:
    """One of each field is nobody's fault, and all of these are: a page of one kind has one of each."""
    content = of_two_boxes(tmp_path, AT_CONFIDENCE, -30, fields=3)
    refused(content, "answers a page otherwise", PAGES[:1])
