"""Draws one invoice as a PDF page, and tells where each field came to stand."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reportlab.pdfgen.canvas import Canvas

from .fields import Box, LabelledBox
from .fonts import register_fonts, text_width
from .layouts import PAGE_HEIGHT, PAGE_WIDTH, Header, Look, Slot, Supplier
from .values import Invoice, amount_text, field_text

_WHITE = (1.0, 1.0, 1.0)
_TEXT = (0.08, 0.08, 0.08)
_PALE = (0.90, 0.90, 0.88)
_MARGIN = 3.0  # around key word and value: a label that touches the ink is lost by one pixel
_PADDING = 6.0  # inside a drawn cell
_ROW = 21.0
_BODY = 11.0

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Page:
    """One rendered document: the PDF's bytes, and the fields' boxes in points."""

    pdf: bytes
    boxes: tuple[LabelledBox, ...]


@dataclass(frozen=True, slots=True)
class _Pen:
    """A canvas whose origin is the top left corner, as in an image."""

    canvas: Canvas

    def text(self, x: float, top: float, text: str, font: str, size: float, ink: Colour) -> None:
        self.canvas.setFillColorRGB(*ink)
        self.canvas.setFont(font, size)
        self.canvas.drawString(x, PAGE_HEIGHT - top - 0.8 * size, text)

    def fill(self, box: Box, ink: Colour) -> None:
        self.canvas.setFillColorRGB(*ink)
        self._rectangle(box, fill=True)

    def frame(self, box: Box, ink: Colour) -> None:
        self.canvas.setStrokeColorRGB(*ink)
        self.canvas.setLineWidth(1.2)
        self._rectangle(box, fill=False)

    def rule(self, x: float, y: float, width: float, ink: Colour) -> None:
        self.fill(Box(x, y, x + width, y + 1.0), ink)

    def _rectangle(self, box: Box, *, fill: bool) -> None:
        self.canvas.rect(
            box.left,
            PAGE_HEIGHT - box.bottom,
            box.right - box.left,
            box.bottom - box.top,
            stroke=0 if fill else 1,
            fill=1 if fill else 0,
        )


def draw_page(supplier: Supplier, invoice: Invoice, shift: tuple[float, float]) -> Page:
    """The invoice in the supplier's layout, everything but the header moved by `shift` points."""
    register_fonts()
    target = io.BytesIO()
    # invariant: no creation time and no random id, so equal input gives equal bytes.
    canvas = Canvas(target, pagesize=(PAGE_WIDTH, PAGE_HEIGHT), invariant=1)
    pen = _Pen(canvas)
    _draw_header(pen, supplier)
    with _shifted(canvas, shift):
        _draw_buyer(pen, supplier, invoice)
        table_end = _draw_table(pen, supplier, invoice)
        boxes = [
            _draw_slot(pen, supplier, invoice, slot, table_end if slot.below_table else 0.0) for slot in supplier.slots
        ]
    canvas.showPage()
    canvas.save()
    right, down = shift
    return Page(
        target.getvalue(),
        tuple(
            LabelledBox(
                label.field,
                Box(
                    label.box.left + right,
                    label.box.top + down,
                    label.box.right + right,
                    label.box.bottom + down,
                ).clipped(PAGE_WIDTH, PAGE_HEIGHT),
            )
            for label in boxes
        ),
    )


@contextmanager
def _shifted(canvas: Canvas, shift: tuple[float, float]) -> Iterator[None]:
    canvas.saveState()
    canvas.translate(shift[0], -shift[1])
    yield
    canvas.restoreState()


def _draw_header(pen: _Pen, supplier: Supplier) -> None:
    bold, ink, name = supplier.family.bold, supplier.ink, supplier.name
    match supplier.header:
        case Header.PLAIN:
            pen.text(28, 36, name, bold, 24, ink)
        case Header.CENTRED:
            pen.text((PAGE_WIDTH - text_width(name, bold, 26)) / 2, 30, name, bold, 26, ink)
            pen.rule(28, 66, PAGE_WIDTH - 56, ink)
        case Header.BAND:
            pen.fill(Box(0, 0, PAGE_WIDTH, 62), ink)
            pen.text(28, 20, name, bold, 24, _WHITE)
        case Header.LEFT_BAR:
            pen.fill(Box(0, 0, 148, PAGE_HEIGHT), _PALE)
            pen.text(180, 34, name, bold, 22, ink)
        case Header.RIGHT_BAR:
            pen.fill(Box(272, 0, PAGE_WIDTH, PAGE_HEIGHT), _PALE)
            pen.text(28, 34, name, bold, 26, ink)
        case Header.FOOT:
            pen.fill(Box(0, 535, PAGE_WIDTH, PAGE_HEIGHT), ink)
            pen.text(28, 552, name, bold, 24, _WHITE)


def _draw_buyer(pen: _Pen, supplier: Supplier, invoice: Invoice) -> None:
    x, y = supplier.buyer_at
    for row, line in enumerate(invoice.buyer):
        pen.text(x, y + 15 * row, line, supplier.family.regular, _BODY, _TEXT)


def _draw_table(pen: _Pen, supplier: Supplier, invoice: Invoice) -> float:
    table, family = supplier.table, supplier.family
    right = table.x + table.width
    head = Box(table.x, table.y, right, table.y + _ROW)
    if table.dark_head:
        pen.fill(head, supplier.ink)
    else:
        pen.rule(table.x, table.y + _ROW - 2, table.width, supplier.ink)
    head_ink = _WHITE if table.dark_head else supplier.ink
    pen.text(table.x + 6, table.y + 5, "Vara", family.bold, _BODY, head_ink)
    _right_aligned(pen, right - 6, table.y + 5, "Pris", family.bold, head_ink)
    y = table.y + _ROW + 3
    for line in invoice.lines:
        text = f"{line.quantity} {line.text}"
        pen.text(table.x + 6, y + 4, text, family.regular, _BODY, _TEXT)
        price = amount_text(line.quantity * line.price)
        _right_aligned(pen, right - 6, y + 4, price, family.regular, _TEXT)
        y += _ROW
    pen.rule(table.x, y + 2, table.width, supplier.ink)
    return y


def _right_aligned(pen: _Pen, right: float, y: float, text: str, font: str, ink: Colour) -> None:
    pen.text(right - text_width(text, font, _BODY), y, text, font, _BODY, ink)


def _draw_slot(pen: _Pen, supplier: Supplier, invoice: Invoice, slot: Slot, offset: float) -> LabelledBox:
    value = field_text(invoice, slot.field, supplier.dates)
    draw = _LOOKS[slot.look]
    return LabelledBox(slot.field, draw(pen, supplier, slot, slot.y + offset, value))


def _stacked(pen: _Pen, supplier: Supplier, slot: Slot, y: float, value: str) -> Box:
    """Draws key word over value; the box of both, without margin."""
    regular, bold = supplier.family.regular, supplier.family.bold
    key_size = slot.size * 0.75
    pen.text(slot.x, y, slot.key, regular, key_size, supplier.ink)
    pen.text(slot.x, y + key_size + 2, value, bold, slot.size, _TEXT)
    width = max(text_width(slot.key, regular, key_size), text_width(value, bold, slot.size))
    return Box(slot.x, y, slot.x + width, y + key_size + 2 + slot.size)


def _draw_stacked(pen: _Pen, supplier: Supplier, slot: Slot, y: float, value: str) -> Box:
    return _stacked(pen, supplier, slot, y, value).grown(_MARGIN)


def _draw_cell(pen: _Pen, supplier: Supplier, slot: Slot, y: float, value: str) -> Box:
    box = _stacked(pen, supplier, slot, y, value).grown(_PADDING)
    pen.frame(box, supplier.ink)
    return box


def _draw_inline(pen: _Pen, supplier: Supplier, slot: Slot, y: float, value: str) -> Box:
    regular, bold = supplier.family.regular, supplier.family.bold
    gap = text_width(slot.key, regular, slot.size) + 8
    pen.text(slot.x, y, slot.key, regular, slot.size, supplier.ink)
    pen.text(slot.x + gap, y, value, bold, slot.size, _TEXT)
    right = slot.x + gap + text_width(value, bold, slot.size)
    return Box(slot.x, y, right, y + slot.size).grown(_MARGIN)


_LOOKS: dict[Look, Callable[[_Pen, Supplier, Slot, float, str], Box]] = {
    Look.STACKED: _draw_stacked,
    Look.CELL: _draw_cell,
    Look.INLINE: _draw_inline,
}
