"""The arithmetic between pages and boxes, checked against naive references, and the drain's rules as a table."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from finetune_server.config import DrainConfig
from finetune_server.cpu import available_cpus
from finetune_server.drain import Drain
from finetune_server.errors import RequestError
from finetune_server.metadata import parse_settings
from finetune_server.pages.selection import Selection, selection
from finetune_server.postprocess import select, suppress
from finetune_server.preprocess import letterbox_geometry, to_page, to_tensor
from house import cpu_quotas
from server.support import serving_settings

SIDES = st.integers(1, 4000)
SIZES = st.sampled_from([32, 320, 640])


@given(SIDES, SIDES, SIZES)
def test_the_letterbox_lies_in_the_square_and_is_centred(width: int, height: int, size: int) -> None:
    box = letterbox_geometry(width=width, height=height, size=size)
    right, below = size - box.left - box.inner_width, size - box.top - box.inner_height
    assert max(box.inner_width, box.inner_height) == size
    assert min(box.left, box.top, right, below) >= 0
    assert right - box.left in (0, 1)
    assert below - box.top in (0, 1)


@given(SIDES, SIDES, SIZES, st.data())
def test_a_box_comes_back_to_where_it_was_on_the_page(width: int, height: int, size: int, data: st.DataObject) -> None:
    xs = sorted(data.draw(st.lists(st.floats(0, width, width=32), min_size=2, max_size=2)))
    ys = sorted(data.draw(st.lists(st.floats(0, height, width=32), min_size=2, max_size=2)))
    there = np.array([[xs[0], ys[0], xs[1], ys[1]]], np.float32)
    box = letterbox_geometry(width=width, height=height, size=size)
    scale = np.array([box.inner_width / width, box.inner_height / height] * 2, np.float32)
    inside = there * scale + np.array([box.left, box.top] * 2, np.float32)
    np.testing.assert_allclose(to_page(inside, box), there, atol=2e-3 * max(1, 1 / float(scale.min())))


@given(SIDES, SIDES, SIZES, hnp.arrays(np.float32, (5, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_boxes_never_leave_the_page(width: int, height: int, size: int, raw: npt.NDArray[np.float32]) -> None:
    boxes = to_page(raw, letterbox_geometry(width=width, height=height, size=size))
    assert boxes.min() >= 0
    assert boxes[:, ::2].max() <= width
    assert boxes[:, 1::2].max() <= height


@settings(max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_the_tensor_is_the_page_resized_padded_and_turned_to_rgb(width: int, height: int, seed: int) -> None:
    page = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    scale = min(64 / height, 64 / width)
    wide, high = min(math.ceil(width * scale), 64), min(math.ceil(height * scale), 64)
    inner = page if (wide, high) == (width, height) else cv2.resize(page, (wide, high), interpolation=cv2.INTER_LINEAR)
    left, top = round((64 - wide) / 2 - 0.1), round((64 - high) / 2 - 0.1)
    grey = (114, 114, 114)
    square = cv2.copyMakeBorder(inner, top, 64 - high - top, left, 64 - wide - left, cv2.BORDER_CONSTANT, value=grey)
    expected = cv2.cvtColor(square, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(to_tensor(page, letterbox_geometry(width=width, height=height, size=64)), expected)


def naive_iou(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    overlap = float(width * height)
    return overlap / (float((a[2] - a[0]) * (a[3] - a[1])) + float((b[2] - b[0]) * (b[3] - b[1])) - overlap)


def naive_nms(
    boxes: npt.NDArray[np.float32], scores: list[float], classes: list[int], iou: float, limit: int
) -> set[int]:
    """Class by class, box by box, as the definition reads."""
    kept: list[int] = []
    for label in sorted(set(classes)):
        alive = sorted((i for i in range(len(boxes)) if classes[i] == label), key=lambda i: (-scores[i], i))
        while alive:
            best, *rest = alive
            kept.append(best)
            alive = [i for i in rest if naive_iou(boxes[best], boxes[i]) <= iou]
    return set(sorted(kept, key=lambda i: (-scores[i], i))[:limit])


@st.composite
def candidates(draw: st.DrawFn) -> tuple[npt.NDArray[np.float32], list[float], list[int]]:
    """Boxes on a coarse grid, so that many overlap, touch, coincide or are empty; scores with ties."""
    count = draw(st.integers(0, 25))
    corners = draw(st.lists(st.tuples(*[st.integers(0, 12)] * 4), min_size=count, max_size=count))
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in corners], np.float32).reshape(-1, 4)
    scores = draw(st.lists(st.sampled_from([0.3, 0.5, 0.5, 0.75, 0.9]), min_size=count, max_size=count))
    classes = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    return boxes, scores, classes


@settings(max_examples=300)
@given(candidates(), st.sampled_from([0.3, 0.45, 0.7]), st.integers(1, 30))
def test_nms_keeps_what_the_definition_keeps(
    drawn: tuple[npt.NDArray[np.float32], list[float], list[int]], iou: float, limit: int
) -> None:
    boxes, scores, classes = drawn
    kept = suppress(boxes, np.array(scores, np.float32), np.array(classes, np.intp), nms_iou=iou, limit=limit)
    assert set(kept.tolist()) == naive_nms(boxes, scores, classes, iou, limit)
    assert [scores[i] for i in kept] == sorted((scores[i] for i in kept), reverse=True)


SERVED = parse_settings(json.dumps(serving_settings(confidence="0.25")))


def test_every_class_above_the_threshold_is_a_detection_of_its_own() -> None:
    output = np.array([[10, 40], [10, 40], [8, 8], [8, 8], [0.9, 0.25], [0.6, 0.1]], np.float32)
    detections = select(output, SERVED)
    assert detections.classes.tolist() == [0, 1]  # and 0.25 is not above 0.25
    assert detections.boxes.tolist() == [[6, 6, 14, 14]] * 2


def test_no_candidate_is_no_detection() -> None:
    detections = select(np.zeros((7, 0), np.float32), SERVED)
    assert detections.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("story", "connections", "now", "finished"),
    [
        ("no signal yet", 0, 99, False),
        ("signal", 0, 0, False),
        ("signal", 0, 2.9, False),
        ("signal", 0, 3, True),
        ("signal", 1, 14.9, False),  # somebody may still send on it
        ("signal", 1, 15, True),
        ("signal, request at 2", 0, 4.9, False),
        ("signal, request at 2", 0, 5, True),
        ("signal, request without end", 0, 14.9, False),
        ("signal, request without end", 0, 15, True),
        ("signal twice", 0, 3, True),
    ],
)
def test_the_drain_ends_when_nobody_is_left(story: str, connections: int, now: float, finished: bool) -> None:
    time = 0.0
    drain = Drain(DrainConfig(seconds=15, quiet_seconds=3), lambda: time)
    if story != "no signal yet":
        drain.begin()
    if "request" in story:
        time = 2
        drain.entered()
        if "without end" not in story:
            drain.left()
    if story == "signal twice":
        time = 1
        drain.begin()
    time = now
    assert drain.finished(connections) is finished


@pytest.mark.parametrize(("files", "cpus"), cpu_quotas.QUOTAS)
def test_threads_follow_the_cgroups_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpu_quotas.AFFINITY)))
    cpu_quotas.write(tmp_path, files)
    assert available_cpus(tmp_path) == cpus


def test_a_range_that_is_named_again_is_one() -> None:
    assert selection({"pages": "1-3,5," + "1-3," * 10_000 + "01-03"}).ranges == ((1, 3), (5, 5))


RANGES = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)).map(lambda r: (r[0], min(9, sum(r)))), min_size=1)


@given(RANGES, st.integers(1, 9))
def test_a_page_that_is_asked_for_twice_counts_once(ranges: list[tuple[int, int | None]], most: int) -> None:
    wanted = list(dict.fromkeys(n for first, last in ranges for n in range(first, (last or 9) + 1)))
    if len(wanted) > most:
        with pytest.raises(RequestError, match=f"{len(wanted)} pages asked for, at most {most}"):
            Selection(tuple(ranges), many=True).of(9, most=most)
    else:
        assert Selection(tuple(ranges), many=True).of(9, most=most) == wanted
