"""Plots name classes so that people can read them, in whatever script a class has its name."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ImageFont

from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.plan import Sample
from finetune_trainer.evaluation.average_precision import PrecisionRecall, Truth
from finetune_trainer.evaluation.pages import Page, PageResult
from finetune_trainer.evaluation.postprocess import Detections
from finetune_trainer.fonts import font_file
from finetune_trainer.report.evaluation import class_labels, class_table, gallery, precision_recall
from finetune_trainer.report.evaluation import curves as curves_figure

READABLE = ("total", "Gesamtbetrag €", "номер счёта", "αριθμός", "Số hoá đơn", "_total", "$x_1$")
OTHERS = ("発行日", "합계", "รวม", "कुल", "رقم الفاتورة", "סכום", "total 発行日", "🧾")


def is_box(character: str) -> bool:
    """Whether the font draws a character as it draws one that it does not have."""
    font = ImageFont.truetype(str(font_file()), 20, layout_engine=ImageFont.Layout.BASIC)
    missing, drawn = (font.getmask(text) for text in ("\U0010fffd", character))
    return missing.size == drawn.size and bytes(missing) == bytes(drawn)


def test_the_check_sees_boxes() -> None:
    assert is_box("発")
    assert not is_box("ж")


def test_no_label_has_a_box_in_it() -> None:
    labels = class_labels((*READABLE, *OTHERS))
    assert not [label for label in labels if any(is_box(character) for character in label)]
    assert labels[: len(READABLE)] == READABLE
    assert labels[len(READABLE) :] == tuple(f"class {len(READABLE) + index}" for index in range(len(OTHERS)))


def test_a_table_says_which_class_a_number_means() -> None:
    assert class_table(READABLE) is None
    table = class_table(("total", "発行日"))
    assert table is not None
    assert table.decode() == "class 0: total\nclass 1: 発行日\n"


def test_no_name_passes_for_the_number_of_another_class() -> None:
    names = ("class 1", "発行日", "total")
    assert class_labels(names) == ("class 0", "class 1", "class 2")
    assert class_table(names) == "class 0: class 1\nclass 1: 発行日\nclass 2: total\n".encode()
    assert class_labels(("class 1", "class 0")) == ("class 1", "class 0")


def test_curves_are_drawn_with_a_legend_that_can_be_read() -> None:
    names = (*READABLE, *OTHERS)
    curve = PrecisionRecall(0.5, np.array([0.0, 1.0]), np.array([1.0, 0.5]))
    models = {"candidate": dict.fromkeys(range(len(names)), curve)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of each glyph that its font does not have
        picture = precision_recall(models, names)
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) is not None
    legend = curves_figure(models, names).axes[0].get_legend()
    assert legend is not None
    texts = legend.get_texts()
    assert [text.get_text() for text in texts] == [f"{label} 0.500" for label in class_labels(names)]
    assert not any(text.get_parse_math() for text in texts)


@pytest.mark.parametrize("name", [*READABLE, *OTHERS])
def test_the_gallery_is_drawn_whatever_the_names(tmp_path: Path, name: str) -> None:
    page = np.full((200, 160, 3), 255, np.uint8)
    encoded = bytes(cv2.imencode(".png", page)[1].tobytes())
    box, field = np.array([[20, 60, 90, 90]], np.float32), np.array([0])
    file = FileReference("file:///page.png", "0" * 64)
    result = PageResult(
        Page(Sample(file, None, len(encoded), 1), (), lambda _: encoded),
        detections := Detections(box, np.array([0.9], np.float32), field),
        Truth(box, field),
        detections,
    )
    picture = gallery([name], before=[result], after=[result])
    assert picture is not None
    drawn = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None
    above = drawn[: round(60 * drawn.shape[0] / 200), : drawn.shape[1] // 2]  # the caption lies above the box
    assert (above < 200).any(axis=2).sum() > 50
