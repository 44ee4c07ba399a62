"""The evaluator's arithmetic against naive references and against ultralytics' own functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from finetune_trainer.data.decoding import PIXEL_RULE
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.plan import PoolSample
from finetune_trainer.documents.serving import Serving
from finetune_trainer.evaluation.average_precision import Truth, average_precision, match, per_class
from finetune_trainer.evaluation.evaluate import VALIDATION, settings_digest, validation
from finetune_trainer.evaluation.fields import FieldCounts, count_fields
from finetune_trainer.evaluation.pages import Page, PageResult
from finetune_trainer.evaluation.postprocess import (
    Detections,
    non_maximum_suppression,
    overlap,
    postprocess,
    to_page,
)
from finetune_trainer.evaluation.preprocess import decode, geometry, prepare
from finetune_trainer.evaluation.production import mean_confidence
from finetune_trainer.evaluation.rates import rates

SIDES = st.integers(8, 400)


@st.composite
def boxes(draw: st.DrawFn, most: int = 25) -> np.ndarray[Any, np.dtype[np.float32]]:
    count = draw(st.integers(0, most))
    corners = draw(hnp.arrays(np.float32, (count, 2), elements=st.integers(0, 60)))
    extents = draw(hnp.arrays(np.float32, (count, 2), elements=st.integers(1, 40)))
    return np.concatenate([corners, corners + extents], axis=1).astype(np.float32)


@given(SIDES, SIDES, st.sampled_from([64, 96, 320]))
def test_boxes_go_to_the_square_and_back(height: int, width: int, size: int) -> None:
    letterbox = geometry(height=height, width=width, size=size)
    assert max(letterbox.scaled_width, letterbox.scaled_height) == size
    page = np.array([[0, 0, width, height], [width / 4, height / 4, width / 2, height / 2]], dtype=np.float32)
    scale = np.array([letterbox.scaled_width / width, letterbox.scaled_height / height] * 2)
    square = (page * scale + np.array([letterbox.left, letterbox.top] * 2)).astype(np.float32)
    np.testing.assert_allclose(to_page(square, letterbox), page, atol=0.01)
    assert 0 <= letterbox.left <= size - letterbox.scaled_width
    assert 0 <= letterbox.top <= size - letterbox.scaled_height


@given(SIDES, SIDES, st.sampled_from([64, 96]))
@settings(deadline=None, max_examples=40)
def test_the_square_is_the_one_that_ultralytics_validates_on(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, size: int
) -> None:
    from ultralytics.data.augment import LetterBox
    from ultralytics.data.base import BaseDataset

    image = np.random.default_rng(height * 1000 + width).integers(0, 255, (height, width, 3), np.uint8)
    file = tmp_path_factory.mktemp("page") / "page.png"
    cv2.imwrite(str(file), image)
    dataset = BaseDataset.__new__(BaseDataset)  # only the loading of one image is wanted
    dataset.ims, dataset.im_files, dataset.npy_files = [None], [str(file)], [file.with_suffix(".npy")]
    dataset.imgsz, dataset.augment, dataset.cv2_flag, dataset.cache = size, False, cv2.IMREAD_COLOR, None
    theirs = LetterBox((size, size), scaleup=False)(image=dataset.load_image(0)[0])
    tensor, _ = prepare(image, size)
    np.testing.assert_array_equal(np.round(tensor[0] * 255).astype(np.uint8), theirs[:, :, ::-1].transpose(2, 0, 1))


def test_the_square_is_grey_around_the_page_and_rgb() -> None:
    red = np.zeros((10, 40, 3), np.uint8)
    red[:, :, 2] = 255  # BGR
    tensor, letterbox = prepare(red, 32)
    assert tensor.shape == (1, 3, 32, 32)
    assert (letterbox.left, letterbox.top) == (0, 12)
    np.testing.assert_allclose(tensor[0, :, 0, 0], 114 / 255)
    np.testing.assert_allclose(tensor[0, :, 15, 15], [1, 0, 0])


def test_what_opencv_cannot_decode_is_none() -> None:
    assert decode(b"GIF?") is None


@given(boxes(), st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.7]), st.integers(1, 30))
@settings(deadline=None)
def test_suppression_keeps_what_the_naive_loop_keeps(
    detected: np.ndarray[Any, np.dtype[np.float32]], seed: int, iou: float, most: int
) -> None:
    fields = np.random.default_rng(seed).integers(0, 2, len(detected))
    overlaps = overlap(detected, detected)
    kept: list[int] = []
    for i in range(len(detected)):
        if all(fields[i] != fields[k] or overlaps[k, i] <= np.float32(iou) for k in kept):
            kept.append(i)
    assert non_maximum_suppression(detected, fields, iou=iou, most=most).tolist() == kept[:most]


@given(boxes(12), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_postprocessing_returns_what_ultralytics_returns(
    detected: np.ndarray[Any, np.dtype[np.float32]], seed: int
) -> None:
    import torch
    from ultralytics.utils.nms import non_max_suppression

    # Six candidates look like a head without NMS to ultralytics: (1, n, 6).
    detected = detected[:5] if len(detected) == 6 else detected
    random = np.random.default_rng(seed)
    centre = np.concatenate([(detected[:, :2] + detected[:, 2:]) / 2, detected[:, 2:] - detected[:, :2]], axis=1)
    scores = random.permutation(np.linspace(0.0005, 0.99, 3 * len(detected))).reshape(len(detected), 3)
    output = np.concatenate([centre, scores], axis=1).T.astype(np.float32)
    letterbox = geometry(height=128, width=128, size=128)
    ours = postprocess(output, letterbox, VALIDATION)
    [theirs] = non_max_suppression(torch.from_numpy(output[None]), 0.001, 0.7, multi_label=True, max_det=300)
    expected = theirs.numpy()
    np.testing.assert_allclose(ours.scores, expected[:, 4], rtol=1e-6)
    np.testing.assert_array_equal(ours.fields, expected[:, 5].astype(int))
    np.testing.assert_allclose(ours.boxes, np.clip(expected[:, :4], 0, 128), atol=1e-4)


@pytest.mark.parametrize(("served", "measured"), [(100, 300), (300, 300), (700, 700)])
def test_a_model_that_may_answer_with_more_boxes_is_measured_with_as_many(served: int, measured: int) -> None:
    serving = Serving(128, "0.25", "0.7", served)
    assert validation(serving).max_detections == measured
    assert (settings_digest(serving) == settings_digest(Serving(128, "0.25", "0.7", 300))) == (served == 300)


def test_figures_of_other_pixels_are_of_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    serving = Serving(128, "0.25", "0.7", 300)
    now = settings_digest(serving)
    monkeypatch.setattr("finetune_trainer.evaluation.evaluate.PIXEL_RULE", PIXEL_RULE + 1)
    assert settings_digest(serving) != now


@st.composite
def pages(draw: st.DrawFn) -> list[tuple[Detections, Truth]]:
    result = []
    for _ in range(draw(st.integers(1, 5))):
        detected, labels = draw(boxes(12)), draw(boxes(6))
        random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        if len(labels):  # so that some detections hit
            near = labels[random.integers(0, len(labels), len(detected))] + random.normal(0, 2, (len(detected), 4))
            detected = np.where(random.random((len(detected), 1)) < 0.6, near, detected).astype(np.float32)
        scores = np.sort(random.random(len(detected)).astype(np.float32))[::-1]
        detections = Detections(detected, scores, random.integers(0, 3, len(detected)))
        result.append((detections, Truth(labels, random.integers(0, 3, len(labels)))))
    return result


@given(pages())
@settings(deadline=None, max_examples=100)
def test_average_precision_is_ultralytics_formula(detected: list[tuple[Detections, Truth]]) -> None:
    from ultralytics.utils.metrics import ap_per_class

    hits = [match(d, t) >= 0 for d, t in detected]
    target = np.concatenate([t.fields for _, t in detected])
    ours = per_class(detected, 3)
    assert set(ours) == set(target.tolist())
    if not len(target):
        return
    theirs = ap_per_class(
        np.concatenate(hits)[:, None],
        np.concatenate([d.scores for d, _ in detected]),
        np.concatenate([d.fields for d, _ in detected]),
        target,
    )
    np.testing.assert_allclose([ours[i].ap for i in theirs[6]], theirs[5][:, 0], atol=1e-9)


@given(pages())
@settings(deadline=None, max_examples=60)
def test_matching_is_one_to_one_within_a_class_and_as_ultralytics_matches(
    detected: list[tuple[Detections, Truth]],
) -> None:
    import torch
    from ultralytics.models.yolo.detect import DetectionValidator

    validator = DetectionValidator.__new__(DetectionValidator)
    validator.iouv = torch.tensor([0.5])
    for detections, truth in detected:
        taken = match(detections, truth)
        claimed = taken[taken >= 0].tolist()
        assert len(claimed) == len(set(claimed))
        overlaps = overlap(truth.boxes, detections.boxes)
        assert all(overlaps[label, i] >= 0.5 for i, label in enumerate(taken) if label >= 0)
        assert all(truth.fields[label] == detections.fields[i] for i, label in enumerate(taken) if label >= 0)
        theirs = validator.match_predictions(
            torch.from_numpy(detections.fields.copy()),
            torch.from_numpy(truth.fields.copy()),
            torch.from_numpy(overlaps.copy()),
        )
        assert (taken >= 0).tolist() == theirs[:, 0].tolist()


@pytest.mark.parametrize(("hits", "labels", "ap"), [([], 3, 0.0), ([True], 1, 1.0), ([False, False], 2, 0.0)])
def test_the_ends_of_average_precision(hits: list[bool], labels: int, ap: float) -> None:
    assert average_precision(np.array(hits, dtype=bool), labels).ap == pytest.approx(ap, abs=0.006)


FILE = FileReference("file:///page", "0" * 64)


def judged(document: str, detected: list[tuple[list[int], int]], labels: list[tuple[list[int], int]]) -> PageResult:
    def array(rows: list[tuple[list[int], int]]) -> tuple[Any, Any]:
        corners = np.array([box for box, _ in rows], dtype=np.float32).reshape(-1, 4)
        return corners, np.array([field for _, field in rows], dtype=np.int64)

    corners, fields = array(detected)
    sample = PoolSample(FILE, FILE, bytes=0, boxes=len(labels), document=document, fresh=True, held_out=False)
    detections = Detections(corners, np.linspace(0.9, 0.5, len(detected), dtype=np.float32), fields)
    return PageResult(Page(sample, (), lambda _: b""), detections, Truth(*array(labels)), detections)


A, B = [0, 0, 10, 10], [20, 20, 30, 30]


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([judged("a", [(A, 0), (B, 1)], [(A, 0), (B, 1)])], ("1.000000", "1.000000", "1.000000")),
        ([judged("a", [(A, 1), (B, 0)], [(A, 0), (B, 1)])], ("0.000000", "0.000000", "0.000000")),  # fields swapped
        ([judged("a", [(A, 0), (A, 0)], [(A, 0)])], ("1.000000", "1.000000", "0.500000")),  # a label is taken once
        ([judged("a", [(A, 0)], [(A, 0), (A, 0)])], ("0.500000", "0.000000", "1.000000")),
        ([judged("a", [], [(A, 0)]), judged("b", [(A, 0)], [(A, 0)])], ("0.500000", "0.500000", "1.000000")),
        ([judged("a", [], [(A, 0)]), judged("a", [(A, 0)], [(A, 0)])], ("0.500000", "0.000000", "1.000000")),
        ([judged("a", [(A, 0)], [])], ("", "", "0.000000")),  # a background page has nothing to find
        ([], ("", "", "")),
    ],
)
def test_rates_mean_what_gate_2_says(pages: list[PageResult], expected: tuple[str, str, str]) -> None:
    result = rates(pages)
    assert (result.rate, result.document_rate, result.precision) == expected


def test_each_field_is_counted_for_itself() -> None:
    pages = [judged("a", [(A, 0), (B, 1)], [(A, 0)]), judged("b", [(A, 1)], [(A, 0), (B, 1)])]
    assert count_fields(pages, 3) == FieldCounts(boxes=(2, 1, 0), matched=(1, 0, 0), detections=(1, 2, 0))


def test_fields_are_counted_as_they_are_served_not_as_ap_is_measured() -> None:
    page = judged("a", [(A, 0), (B, 0)], [(A, 0)])
    every = page.detections
    served = replace(page, served=Detections(every.boxes[:1], every.scores[:1], every.fields[:1]))
    assert count_fields([served], 1) == FieldCounts(boxes=(1,), matched=(1,), detections=(1,))


def test_a_field_that_is_found_without_a_label_still_counts_against_precision() -> None:
    assert rates([judged("a", [(A, 0), (B, 1)], [(A, 0)])]).precision == "0.500000"


def test_the_mean_confidence_is_of_each_fields_best_box_as_the_server_observes_it() -> None:
    pages = [judged("a", [(A, 0), (B, 0)], []), judged("b", [(A, 0), (B, 1)], []), judged("c", [], [(A, 0)])]
    # 0.9 of field 0 on the first page; 0.9 of field 0 and 0.5 of field 1 on the second; nothing on the third.
    assert mean_confidence(pages) == f"{(0.9 + 0.9 + 0.5) / 3:.6f}"


def test_where_nothing_is_found_there_is_no_mean_confidence() -> None:
    assert mean_confidence([judged("a", [], [(A, 0)])]) == ""
    assert mean_confidence([]) == ""
