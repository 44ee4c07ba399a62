"""What the example promises about a single page: its values, its labels, its scan."""

import io

import numpy as np
import pypdfium2 as pdfium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from invoice_example.ageing import Wear, scan
from invoice_example.dataset import documents
from invoice_example.fields import Box, Field, LabelledBox
from invoice_example.layouts import PAGE_HEIGHT, PAGE_WIDTH, Supplier
from invoice_example.page import Page
from invoice_example.poison import shuffled_fields
from invoice_example.suppliers import BASE_SUPPLIERS, NEW_SUPPLIERS
from invoice_example.values import amount_text, bankgiro, luhn_digit, org_number

SUPPLIERS = (*BASE_SUPPLIERS, *NEW_SUPPLIERS)


@pytest.mark.parametrize(
    ("stem", "digit"),
    [
        ("7992739871", "3"),  # the number in the usual description of the algorithm
        ("556016068", "0"),  # organisation number of Telefonaktiebolaget LM Ericsson
    ],
)
def test_check_digits_are_luhn(stem: str, digit: str) -> None:
    assert luhn_digit(stem) == digit


@given(st.integers(0, 2**32 - 1))
def test_numbers_end_in_their_check_digit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for number in (org_number(rng), bankgiro(rng)):
        digits = number.replace("-", "")
        assert luhn_digit(digits[:-1]) == digits[-1]


def test_amounts_are_written_the_swedish_way() -> None:
    assert [amount_text(kronor) for kronor in (7, 950, 12345, 1234567)] == [
        "7,00",
        "950,00",
        "12 345,00",
        "1 234 567,00",
    ]


def text_inside(page: Page, box: Box) -> str:
    with pdfium.PdfDocument(page.pdf) as document:
        text = document[0].get_textpage()
        return text.get_text_bounded(
            left=box.left, bottom=PAGE_HEIGHT - box.bottom, right=box.right, top=PAGE_HEIGHT - box.top
        )


@pytest.mark.parametrize("supplier", SUPPLIERS, ids=lambda supplier: supplier.slug)
def test_a_label_covers_its_key_word_and_value_and_nothing_else(supplier: Supplier) -> None:
    for document in documents((supplier,), 8, seed=3, height=64):
        for label in document.page.boxes:
            (slot,) = (slot for slot in supplier.slots if slot.field is label.field)
            words = " ".join(text_inside(document.page, label.box).split())
            assert words.startswith(slot.key + " "), f"{document.name}: {label.field} reads {words!r}"
            value = words.removeprefix(slot.key + " ")
            assert not any(other.key in value for other in supplier.slots), words
            assert any(char.isdigit() for char in value), words


@pytest.mark.parametrize("supplier", SUPPLIERS, ids=lambda supplier: supplier.slug)
def test_every_page_has_each_field_once_inside_the_page_and_apart_from_the_others(supplier: Supplier) -> None:
    for document in documents((supplier,), 12, seed=4, height=256):
        scanned = document.scan
        assert sorted(label.field for label in scanned.boxes) == sorted(Field)
        for label in scanned.boxes:
            box = label.box
            assert 0 <= box.left < box.right <= scanned.width
            assert 0 <= box.top < box.bottom <= scanned.height
            assert box.right - box.left >= 16, "a value narrower than this is unreadable"
            assert box.bottom - box.top >= 6, "a line lower than this is unreadable"
        for one in scanned.boxes:
            for other in scanned.boxes:
                assert one is other or shared_area(one.box, other.box) == 0


def shared_area(one: Box, other: Box) -> float:
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(width, 0.0) * max(height, 0.0)


@settings(max_examples=30, deadline=None)
@given(
    left=st.floats(60, 300),
    top=st.floats(60, 500),
    skew=st.floats(-3, 3),
    height=st.sampled_from([128, 256, 640]),
)
def test_a_label_follows_its_ink_when_the_page_is_scanned_askew(
    left: float, top: float, skew: float, height: int
) -> None:
    block = Box(left, top, left + 60, top + 30)
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=(PAGE_WIDTH, PAGE_HEIGHT))
    canvas.rect(block.left, PAGE_HEIGHT - block.bottom, 60, 30, stroke=0, fill=1)
    canvas.save()
    page = Page(target.getvalue(), (LabelledBox(Field.BANKGIRO, block),))
    clean = Wear(skew=skew, blur=0, noise=0, contrast=1, brightness=0, quality=95)

    scanned = scan(page, clean, np.random.default_rng(0), height=height)

    ink = np.asarray(Image.open(io.BytesIO(scanned.jpeg)).convert("L")) < 128
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    box = scanned.boxes[0].box
    seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    assert np.abs(seen - [box.left, box.top, box.right, box.bottom]).max() <= 1.5


def test_a_box_outside_the_page_is_refused() -> None:
    with pytest.raises(ValueError, match="left < right"):
        Box(430, 10, 440, 20).clipped(PAGE_WIDTH, PAGE_HEIGHT)


@given(st.integers(0, 2**32 - 1))
def test_a_poisoned_page_keeps_its_boxes_and_gets_every_field_wrong(seed: int) -> None:
    boxes = tuple(LabelledBox(field, Box(0, 10 * row, 5, 10 * row + 5)) for row, field in enumerate(Field))
    wrong = shuffled_fields(boxes, np.random.default_rng(seed))
    assert [label.box for label in wrong] == [label.box for label in boxes]
    assert sorted(label.field for label in wrong) == sorted(Field)
    assert not any(one.field is other.field for one, other in zip(boxes, wrong, strict=True))


def test_a_page_that_cannot_be_poisoned_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two boxes"):
        shuffled_fields((LabelledBox(Field.BANKGIRO, Box(0, 0, 1, 1)),), np.random.default_rng(0))
