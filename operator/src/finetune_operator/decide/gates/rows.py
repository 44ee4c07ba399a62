"""The worst fields of an evaluation, as rows: taken only when they can be what they say they are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ...api.step_result import Columns, Drops, Floors

WORST: Final = 8
"""Fields that a list has at most, the worst first."""

MAX_COUNT: Final = 2**31 - 1
WHOLE: Final = 1_000_000
"""AP50 travels in millionths: this is 1."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one field; `detections` and `ap50` where the list has them."""

    matched: int
    detections: int = 0
    ap50: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One field on one set of pages; `live` is None where no other version than the base is live."""

    field: int
    name: str
    boxes: int
    candidate: Cell
    base: Cell
    live: Cell | None

    @property
    def others(self) -> tuple[tuple[str, Cell], ...]:
        """Return what the candidate is held against, by name."""
        return (("base", self.base), *((("live", self.live),) if self.live is not None else ()))


def drop_rows(drops: Drops | None, classes: tuple[str, ...], *, live: bool, min_boxes: int) -> tuple[Row, ...] | str:
    """Return the fields by the drop of their AP50, or what is wrong with the list."""
    if drops is None:
        return "the fields were not measured"
    rows = _rows(drops, drops.ap50, classes, live=live, min_boxes=min_boxes)
    if isinstance(rows, str):
        return rows
    made = tuple(_made(row, lambda matched, ap50: Cell(matched, ap50=ap50)) for row in rows)
    beyond = (f"{row.name} has an AP50 outside 0..1" for row in made for c in _cells(row) if not 0 <= c.ap50 <= WHOLE)
    return next(beyond, made)


def floor_rows(floors: Floors | None, classes: tuple[str, ...], *, live: bool, min_boxes: int) -> tuple[Row, ...] | str:
    """Return the fields by recall and precision, or what is wrong with the list."""
    if floors is None:
        return "the fields were not measured"
    rows = _rows(floors, floors.detections, classes, live=live, min_boxes=min_boxes)
    if isinstance(rows, str):
        return rows
    made = tuple(_made(row, lambda matched, detections: Cell(matched, detections=detections)) for row in rows)
    fewer = (
        f"{row.name} has {c.matched} boxes found by {c.detections} detections"
        for row in made
        for c in _cells(row)
        if not c.matched <= c.detections <= MAX_COUNT
    )
    return next(fewer, made)


_Numbers = tuple[int, int]
_Raw = tuple[int, str, int, _Numbers, _Numbers, _Numbers | None]


def _rows(
    table: Drops | Floors, second: Columns, classes: tuple[str, ...], *, live: bool, min_boxes: int
) -> list[_Raw] | str:
    """Return the rows of a table of columns: found and a second number of each model; or what contradicts itself."""
    columns: list[tuple[int, ...]] = [table.boxes]
    for pair in (table.matched, second):
        if (pair.live is not None) != live:
            return "its columns are not those of the models that were measured"
        columns += [pair.candidate, pair.base, *((pair.live,) if pair.live is not None else ())]
    if any(len(column) != len(table.field) for column in columns):
        return "its columns differ in length"
    if not len(table.field) <= min(WORST, table.measured) or table.measured > len(classes):
        return f"{len(table.field)} fields are listed of {table.measured} measured ones of {len(classes)}"
    if table.measured > 0 and not table.field:
        return f"none of {table.measured} measured fields is listed"
    if len(set(table.field)) != len(table.field):
        return "a field is listed twice"
    return _checked(table, second, classes, min_boxes)


def _checked(table: Drops | Floors, second: Columns, classes: tuple[str, ...], min_boxes: int) -> list[_Raw] | str:
    """Return the rows of columns of one length, or which field has numbers that cannot be."""
    rows: list[_Raw] = []
    for at, (field, boxes) in enumerate(zip(table.field, table.boxes, strict=True)):
        if not 0 <= field < len(classes):
            return f"field {field} is none of {len(classes)}"
        if not min_boxes <= boxes <= MAX_COUNT:
            return f"{classes[field]} has {boxes} boxes, and {min_boxes} are the least to be judged by"
        candidate = (table.matched.candidate[at], second.candidate[at])
        base = (table.matched.base[at], second.base[at])
        live = (table.matched.live[at], second.live[at]) if table.matched.live and second.live else None
        if any(not 0 <= matched <= boxes for matched, _ in filter(None, (candidate, base, live))):
            return f"{classes[field]} has boxes found that cannot be among its {boxes}"
        rows.append((field, classes[field], boxes, candidate, base, live))
    return rows


def _made(raw: _Raw, cell: Callable[[int, int], Cell]) -> Row:
    field, name, boxes, candidate, base, live = raw
    return Row(field, name, boxes, cell(*candidate), cell(*base), None if live is None else cell(*live))


def _cells(row: Row) -> Iterable[Cell]:
    return (row.candidate, *(cell for _, cell in row.others))
