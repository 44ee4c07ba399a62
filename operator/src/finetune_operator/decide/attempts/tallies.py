"""What lists of single fields leave for the fields that they do not name, and whether the totals agree with that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import Final

from ...api.run_document import RunDocument
from ...api.step_result import EvaluateResult, Scores
from ..gates.fields import is_worse
from ..gates.floor import is_above
from ..gates.rows import WHOLE, Cell, Row
from ..gates.shares import share

_ROUNDED: Final = Decimal("0.000001")
"""What a share of six digits may be off by."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A list of fields with at least `limit` boxes each, the worst of `measured` such fields."""

    limit: int
    measured: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers from `least` to `most`; None: there is no most."""

    least: int
    most: int | None


def detections_of(scores: Scores) -> Range | None:
    """Return how many detections there can have been for so many boxes found at that precision; None: no number."""
    if scores.precision == "":
        return Range(0, 0) if scores.matched == 0 else None
    precision = share(scores.precision)
    if precision is None:
        return None
    if scores.matched == 0:
        return Range(1, None) if precision == 0 else None
    least = int((scores.matched / (precision + _ROUNDED)).to_integral_value(ROUND_CEILING))
    least = max(least, scores.matched)
    if precision <= _ROUNDED:
        return Range(least, None)
    most = int((scores.matched / (precision - _ROUNDED)).to_integral_value(ROUND_FLOOR))
    return Range(least, most) if least <= most else None


def test_set(run_document: RunDocument, result: EvaluateResult, drops: Tally, floors: Tally) -> Iterator[str]:
    """Yield where the two lists of the test set contradict each other, its boxes, or the models' mAP50."""
    rows = {row.field: row for row in drops.rows}
    for row in floors.rows:
        other = rows.setdefault(row.field, row)
        if (other.boxes, _found(other)) != (row.boxes, _found(row)):
            yield f"{row.name} has other boxes, or other boxes found, in testSet.floor than in testSet.drops"
    yield from _hidden(run_document, drops, floors)
    total, classes = result.test_set.boxes, len(run_document.classes)
    wrong = _boxes("the test set", total, classes, (drops, floors), rows)
    if wrong is not None:
        yield wrong
        return
    most = result.test_set.images * run_document.serving.max_detections
    for name, cells in _columns(floors.rows):
        detections = sum(cell.detections for cell in cells)
        if detections > most:
            yield f"{name}: {detections} detections on {result.test_set.images} test images, {most} are possible"
    yield from _means(run_document, result, drops, _labelled(total, classes, (drops, floors), rows))


def new_samples(run_document: RunDocument, result: EvaluateResult, floors: Tally) -> Iterator[str]:
    """Yield where the list of the new samples contradicts what was found on all of them."""
    models = result.models
    scores = [m.pool for m in (models.candidate, models.base, models.live) if m is not None]
    rows = {row.field: row for row in floors.rows}
    total = next((pool.boxes for pool in scores if pool is not None), 0)
    wrong = _boxes("new samples", total, len(run_document.classes), (floors,), rows)
    if wrong is not None:
        yield wrong
        return
    left = total - sum(row.boxes for row in floors.rows)
    every = len(rows) == len(run_document.classes)
    for (name, cells), pool in zip(_columns(floors.rows), scores, strict=False):
        if pool is None:
            continue
        unlisted = pool.matched - sum(cell.matched for cell in cells)
        if not 0 <= unlisted <= left:
            yield f"{name}: the fields of newSet.floor and {pool.matched} of {total} boxes found contradict each other"
        detections, possible = sum(cell.detections for cell in cells), detections_of(pool)
        least = detections + max(unlisted, 0)
        beyond = possible is not None and possible.most is not None and least > possible.most
        if beyond or (every and possible is not None and detections < possible.least):
            yield f"{name}: {detections} detections in newSet.floor do not go with precision {pool.precision}"


def _hidden(run_document: RunDocument, drops: Tally, floors: Tally) -> Iterator[str]:
    """Yield the fields below the floor by one list that the other, which ends above it, does not name."""
    gates, listed = run_document.gates, {row.field for row in floors.rows}
    if gates is None or not floors.rows or not is_above(gates.floor, floors.rows[-1]):
        return
    for row in drops.rows:
        by_recall = row.candidate.matched <= gates.floor.minimum * row.boxes
        if row.field not in listed and row.boxes >= floors.limit and by_recall:
            yield f"{row.name} is below the floor by testSet.drops, and not in testSet.floor"


def _found(row: Row) -> tuple[int, ...]:
    return (row.candidate.matched, *(cell.matched for _, cell in row.others))


def _columns(rows: Sequence[Row]) -> list[tuple[str, list[Cell]]]:
    """Return the cells of each model that was measured; none where no field is listed."""
    if not rows:
        return []
    names = ("candidate", *(name for name, _ in rows[0].others))
    return [(name, [(row.candidate, *(c for _, c in row.others))[at] for row in rows]) for at, name in enumerate(names)]


def _unlisted(tallies: Sequence[Tally], rows: Mapping[int, Row]) -> list[tuple[int, int]]:
    """Return (limit, fields with so many boxes that no list names), by limit."""
    known = [row.boxes for row in rows.values()]
    return sorted((t.limit, t.measured - sum(boxes >= t.limit for boxes in known)) for t in tallies)


def _boxes(what: str, total: int, classes: int, tallies: Sequence[Tally], rows: Mapping[int, Row]) -> str | None:
    """Return why so many boxes cannot be on the listed fields and on those that are not listed."""
    unlisted, others = _unlisted(tallies, rows), classes - len(rows)
    fewer = any(more < less or (low == high and more != less) for (low, more), (high, less) in pairwise(unlisted))
    if fewer or unlisted[-1][1] < 0 or unlisted[0][1] > others:
        return f"the lists of {what} name other fields than they say were measured"
    listed = sum(row.boxes for row in rows.values())
    # Of the others so many fields have at least the limit; below the least limit a field may have no box at all.
    least = listed + sum((more - less) * low for (low, more), (_, less) in pairwise([*unlisted, (0, 0)]))
    most = listed + (others - unlisted[0][1]) * (unlisted[0][0] - 1)
    most += sum((more - less) * (high - 1) for (_, more), (high, less) in pairwise(unlisted))
    if total < least or (unlisted[-1][1] == 0 and total > most):
        return f"{total} boxes on {what}, which are not those of the fields in its lists and of the others"
    return None


def _labelled(total: int, classes: int, tallies: Sequence[Tally], rows: Mapping[int, Row]) -> range:
    """Return how many fields can have a label at all; mAP50 is the mean over these."""
    known, left = sum(row.boxes > 0 for row in rows.values()), total - sum(row.boxes for row in rows.values())
    least = max(_unlisted(tallies, rows)[0][1], 1 if left else 0)
    return range(known + least, known + min(classes - len(rows), left) + 1)


def _means(run_document: RunDocument, result: EvaluateResult, drops: Tally, labelled: range) -> Iterator[str]:
    """Yield that the listed AP50 and the models' mAP50, their mean, contradict each other."""
    gates, models = run_document.gates, result.models
    measured = [m for m in (models.candidate, models.base, models.live) if m is not None]
    means = [share(model.map50) for model in measured]
    if gates is None or not gates.fields.review_at_points.is_finite() or any(mean is None for mean in means):
        return  # the gates make an Error of it
    means_ = [mean * WHOLE for mean in means if mean is not None]
    columns = _columns(drops.rows)
    sums = [sum(cell.ap50 for cell in cells) for _, cells in columns] or [0] * len(means_)
    last = drops.rows[-1] if drops.rows else None
    spread = WHOLE
    if last is not None and not is_worse(gates.fields, last):
        spread = max(cell.ap50 for _, cell in last.others) - last.candidate.ap50
    if not any(_agree(fields, means_, sums, drops, spread) for fields in labelled or (0,)):
        shown = ", ".join(str(model.map50[:16]) for model in measured)
        yield f"mAP50 {shown} is not the mean of what testSet.drops has for single fields"


def _agree(fields: int, means: Sequence[Decimal], sums: Sequence[int], drops: Tally, spread: int) -> bool:
    """Tell whether the means can be over so many fields, of which the list has the sums of some.

    `spread` is the most that a measured field which is not listed can have dropped, in millionths.
    """
    listed = len(drops.rows)
    if fields == 0:
        return not any(means)
    slack = Decimal(fields + listed) / 2 + 1
    if any(not -slack <= fields * mean - part <= (fields - listed) * WHOLE + slack
           for mean, part in zip(means, sums, strict=True)):  # fmt: skip
        return False
    most = (drops.measured - listed) * spread + (fields - drops.measured) * WHOLE + 2 * slack
    gaps = ((mean - means[0]) * fields - (part - sums[0]) for mean, part in zip(means[1:], sums[1:], strict=True))
    return all(gap <= most for gap in gaps)
