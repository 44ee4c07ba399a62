"""Labels: what is accepted, what is refused and why, and that ultralytics agrees with what is accepted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_trainer.data.labels import LabelProblem, parse_label
from finetune_trainer.errors import Reason


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [
        ("0 0.5 0.5 0.2 0.2 0.91", Reason.LABEL_COLUMNS, "line 1: 6 columns"),
        ("0 0.5 0.5 0.2", Reason.LABEL_COLUMNS, "line 1: 4 columns"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", Reason.LABEL_COLUMNS, "7 columns"),
        ("0 a b c d", Reason.LABEL_COLUMNS, "not numbers: '0 a b c d'"),
        ("0 0,5 0,5 0,2 0,2", Reason.LABEL_COLUMNS, "whose decimals stand behind a comma and not a point"),
        ("0,0.5,0.5,0.2,0.2", Reason.LABEL_COLUMNS, "separated by commas and not by spaces"),
        ("0;0,5;0,5;0,2;0,2", Reason.LABEL_COLUMNS, "separated by semicolons and not by spaces"),
        ("0 0.5 0.5 0.2 0.2\n3 0.5 0.5 0.2 0.2", Reason.LABELS_OUT_OF_RANGE, "line 2: class 3, expected 0..2"),
        ("-1 0.5 0.5 0.2 0.2", Reason.LABELS_OUT_OF_RANGE, "class -1"),
        ("0.5 0.5 0.5 0.2 0.2", Reason.LABELS_OUT_OF_RANGE, "class 0.5"),
        ("0 320 200 40 20", Reason.LABELS_OUT_OF_RANGE, "not shares of the page"),
        ("0 0.5 0.5 0 0.2", Reason.LABELS_OUT_OF_RANGE, "has no width or no height"),
        ("0 0.95 0.5 0.2 0.2", Reason.LABELS_OUT_OF_RANGE, "reaches out of the page"),
        ("0 nan 0.5 0.2 0.2", Reason.LABELS_OUT_OF_RANGE, "not finite"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(text: str, reason: Reason, said: str) -> None:
    problem = parse_label(text.encode(), classes=3)
    assert isinstance(problem, LabelProblem)
    assert problem.reason is reason
    assert said in problem.message


def test_binary_garbage_is_no_label() -> None:
    assert isinstance(parse_label(b"\xff\xfe\x00\x01", 3), LabelProblem)


def test_a_byte_order_mark_blank_lines_and_repeated_rows_do_no_harm() -> None:
    boxes = parse_label("\ufeff0 0.5 0.5 0.2 0.2\n\n0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n".encode(), 3)
    assert not isinstance(boxes, LabelProblem)
    assert [b.field for b in boxes] == [0, 1]


@st.composite
def rows(draw: st.DrawFn) -> str:
    width, height = draw(st.floats(0.001, 1)), draw(st.floats(0.001, 1))
    x, y = draw(st.floats(width / 2, 1 - width / 2)), draw(st.floats(height / 2, 1 - height / 2))
    return f"{draw(st.integers(0, 2))} {x:.6f} {y:.6f} {width:.6f} {height:.6f}"


@settings(max_examples=60, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=8))
def test_ultralytics_reads_the_same_boxes_from_every_label_that_we_accept(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    from ultralytics.data.utils import verify_image_label

    folder = tmp_path_factory.mktemp("label")
    image, label = folder / "a.png", folder / "a.txt"
    cv2.imwrite(str(image), np.zeros((20, 20, 3), np.uint8))
    label.write_text("\n".join(lines))
    ours = parse_label(label.read_bytes(), 3)
    assert not isinstance(ours, LabelProblem)
    _, theirs, *_, corrupt, _ = verify_image_label((str(image), str(label), "", False, 3, 0, 0, False))
    assert corrupt == 0
    mine = np.array([[b.field, b.x, b.y, b.width, b.height] for b in ours], dtype=np.float32)
    assert sorted(map(tuple, theirs.tolist())) == sorted(map(tuple, mine.tolist()))


def test_this_table_is_what_ultralytics_would_have_dropped_silently(tmp_path: Path) -> None:
    from ultralytics.data.utils import verify_image_label

    image, label = tmp_path / "a.png", tmp_path / "a.txt"
    cv2.imwrite(str(image), np.zeros((20, 20, 3), np.uint8))
    label.write_text("0 0.5 0.5 0.2 0.2 0.91")
    kept = verify_image_label((str(image), str(label), "", False, 3, 0, 0, False))
    assert kept[0] is None, "the page is left out, with no error"
