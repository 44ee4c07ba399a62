"""What hangs on rounding is looked for on pages of each field: few pages drawn by chance have none of a rare one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pytest
from onnx import helper, numpy_helper

from finetune_trainer.data.labels import Box
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EvaluateInputs
from finetune_trainer.documents.plan import Sample
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.detector import open_detector
from finetune_trainer.evaluation.pages import Page
from finetune_trainer.steps.candidate_network import check_candidate_answers
from trainer.networks import BLACK, WHITE, network, nothing_of_the_page
from trainer.test_candidate_network import named
from trainer.world import NONCE, World, context

COMMON, RARE = 0, 1
COUNT: Final = 60
AT_CONFIDENCE: Final = -1.0986122
"""What the sigmoid makes the confidence of, and a little more."""


def finding(folder: Path, logit: float) -> Path:
    """A network that finds a box of the common field on each page, and on black pages, by that logit, a rare one."""
    boxes = np.array([[16, 16, 8, 8], [4, 4, 4, 4]], np.float32).T[None]
    logits = np.array([[2, logit, -30], [-30, -30, -30]], np.float32).T[None]
    where_white = np.zeros_like(logits)
    where_white[0, RARE, 0] = -60
    nodes = [
        *nothing_of_the_page(),
        helper.make_node("Mul", ["least", "where_white"], ["less"]),
        helper.make_node("Add", ["logits", "less"], ["sums"]),
        helper.make_node("Sigmoid", ["sums"], ["scores"]),
        helper.make_node("Add", ["boxes", "nothing"], ["places"]),
        helper.make_node("Concat", ["places", "scores"], ["output0"], axis=1),
    ]
    initial = {"boxes": boxes, "logits": logits, "where_white": where_white}
    return network(folder, nodes, *(numpy_helper.from_array(value, name) for name, value in initial.items()))


class Set:
    """Pages by number, of which the first few are black; it counts those that are read."""

    def __init__(self, rare: int) -> None:
        self.read: Counter[str] = Counter()
        self._images = {image: cv2.imencode(".png", pixels)[1].tobytes() for image, pixels in self._kinds()}
        self.pages = [self._page(number, rare=number < rare) for number in range(COUNT)]

    @staticmethod
    def _kinds() -> list[tuple[str, Any]]:
        return [("black", BLACK), ("white", WHITE)]

    def _page(self, number: int, *, rare: bool) -> Page:
        image = FileReference(f"file:///{'black' if rare else 'white'}/{number}", "0" * 64)
        fields = (COMMON, RARE) if rare else (COMMON,)
        labels = tuple(Box(field, 0.5, 0.5, 0.25, 0.25) for field in fields)
        return Page(Sample(image=image, label=None, bytes=1, boxes=len(labels)), labels, self._image)

    def _image(self, image: FileReference) -> bytes:
        kind = image.uri.split("/")[3]
        self.read[kind] += 1
        return self._images[kind]


def answered(base: dict[str, Any], world: World, folder: Path, model: Path, pages: Set) -> None:
    candidate = open_detector(model, "the candidate", threads=1)
    inputs = EvaluateInputs(1, NONCE, 1, FileReference("file:///plan", "0" * 64), FileReference(**named(model)))
    check_candidate_answers(context("evaluate", world.parsed(base), folder / "e"), inputs, candidate, pages.pages, None)


@pytest.mark.row("R272")
def test_no_digit_decides_on_a_field_that_few_pages_have(
    base: dict[str, Any], shared_world: World, tmp_path: Path
) -> None:
    pages = Set(rare=4)
    with pytest.raises(StepError, match="and so on the machine") as caught:
        answered(base, shared_world, tmp_path, finding(tmp_path, AT_CONFIDENCE), pages)
    assert caught.value.reason is Reason.BASE_UNUSABLE
    assert pages.read["black"] == 4


@pytest.mark.row("R272")
@pytest.mark.parametrize(("rare", "most"), [(0, 8), (4, 12), (COUNT, 8)])
def test_pages_are_added_for_fields_with_few_boxes_alone(
    base: dict[str, Any], shared_world: World, tmp_path: Path, rare: int, most: int
) -> None:
    pages = Set(rare=rare)
    answered(base, shared_world, tmp_path, finding(tmp_path, 2), pages)
    assert 8 <= pages.read.total() <= most
