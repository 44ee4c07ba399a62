"""Measuring a model for a verdict: the numbers of the result, and the details of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..documents.report import FieldLine, PageLine
from ..documents.result import Added, AddedFields, Drops, Floors, Measured, Rates
from ..documents.run import Gates
from ..documents.serving import Serving
from ..evaluation.average_precision import PrecisionRecall, match, mean_average_precision
from ..evaluation.detector import Detector
from ..evaluation.evaluate import Speed, measure_map, run_model, validation
from ..evaluation.fields import FieldCounts, Model, count_fields, millionths, worst_drops, worst_floors
from ..evaluation.pages import Page, PageResult
from ..evaluation.postprocess import Thresholds
from ..evaluation.production import mean_confidence
from ..evaluation.rates import rates
from ..progress import Counted, uncounted


@dataclass(frozen=True, slots=True)
class Span:
    """How many classes an evaluation is of, and how many of them, the first ones, all its models have."""

    classes: int
    known: int

    @property
    def shared(self) -> range:
        """The classes that all models have."""
        return range(self.known)

    @property
    def added(self) -> range:
        """The classes that some model does not have."""
        return range(self.known, self.classes)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A model's result with what the report and the plots show beside it."""

    measured: Measured
    test_counts: FieldCounts
    new_counts: FieldCounts
    curves: dict[int, PrecisionRecall]
    test: Sequence[PageResult]
    new: Sequence[PageResult]
    speed: Speed


def measure(
    detector: Detector,
    sha256: str,
    serving: Serving,
    *,
    test: Sequence[Page],
    new: Sequence[Page] | None,
    counted: Counted = uncounted,
    span: Span | None = None,
    must_answer: bool = False,
) -> Measurement:
    """Measure mAP50 on `test`, and rates on `new` (all of it, and its fresh pages) at the serving settings.

    `counted` is called after each page, of all. Both are of the classes that all models have, by `span`; None: of the
    detector's own. What is to be served by it `must_answer` each page, as run_model has it.
    """
    total = len(test) + len(new or ())
    own = len(detector.serving.classes)
    classes, known = (span.classes, span.known) if span is not None else (own, own)
    test_results, speed = run_model(
        detector,
        test,
        validation(serving),
        lambda count, _: counted(count, total),
        served=Thresholds.of(serving),
        must_answer=must_answer,
    )
    curves = {field: curve for field, curve in measure_map(test_results, classes).items() if field < own}
    pool: Rates | None = None
    fresh: Rates | None = None
    new_results: list[PageResult] = []
    if new is not None:
        new_results, _ = run_model(
            detector,
            new,
            Thresholds.of(serving),
            lambda count, _: counted(len(test) + count, total),
            must_answer=must_answer,
        )
        comparable = [result.of_first(known) for result in new_results]
        pool = rates(comparable)
        fresh_results = [result for result in comparable if result.fresh]
        fresh = rates(fresh_results) if fresh_results else None
    measured = Measured(
        sha256=sha256,
        map50=f"{mean_average_precision({f: c for f, c in curves.items() if f < known}):.6f}",
        pool=pool,
        fresh=fresh,
        mean_confidence=mean_confidence(test_results),
        inference_seconds=f"{speed.own / 1000:.6f}" if test_results else "",
    )
    counts = (count_fields(test_results, classes), count_fields(new_results, classes))
    return Measurement(measured, *counts, curves, test_results, new_results, speed)


def worst_on_test(gates: Gates, models: Mapping[Model, Measurement], span: Span) -> tuple[Drops, Floors]:
    """Return the fields that dropped most on the test set, and those of least recall or precision there."""
    counts = {name: model.test_counts for name, model in models.items()}
    ap50 = {name: millionths(model.curves, len(model.test_counts.boxes)) for name, model in models.items()}
    return worst_drops(gates.fields, counts, ap50, span.shared), worst_floors(gates.floor, counts, span.shared)


def worst_on_new(gates: Gates, models: Mapping[Model, Measurement], span: Span) -> Floors:
    """Return the fields of least recall or precision on the new samples."""
    return worst_floors(gates.floor, {name: model.new_counts for name, model in models.items()}, span.shared)


def count_added(gates: Gates, models: Mapping[Model, Measurement], span: Span) -> Added | None:
    """Return what was measured of the classes that some model does not have; None where all have all."""
    if not span.added:
        return None
    test = {name: model.test_counts for name, model in models.items()}
    new = {name: model.new_counts for name, model in models.items()}
    return Added(
        known=span.known,
        test_boxes=sum(test["candidate"].boxes[field] for field in span.added),
        new_boxes=sum(new["candidate"].boxes[field] for field in span.added),
        test=added_fields(worst_floors(gates.floor, test, span.added)),
        new=added_fields(worst_floors(gates.floor, new, span.added)),
    )


def added_fields(floors: Floors) -> AddedFields:
    """Return the candidate's part of a list: no other model has all of these fields."""
    matched, detections = floors.matched.candidate, floors.detections.candidate
    return AddedFields(floors.measured, floors.field, floors.boxes, matched, detections)


def field_lines(
    counts: FieldCounts, classes: Sequence[str], curves: Mapping[int, PrecisionRecall]
) -> tuple[FieldLine, ...]:
    """Return the report's line of every field, with AP50 where `curves` has it."""
    return tuple(
        FieldLine(
            name=name,
            boxes=counts.boxes[index],
            matched=counts.matched[index],
            detections=counts.detections[index],
            ap50=f"{curves[index].ap:.6f}" if index in curves else "",
        )
        for index, name in enumerate(classes)
    )


def page_counts(result: PageResult) -> PageLine:
    """Return one page's line in the report: labels, detections as they are served, and matches of these."""
    shown = result.served
    return PageLine(
        image=result.page.sample.image.uri,
        sha256=result.page.sample.image.sha256,
        labels=len(result.truth.fields),
        detections=len(shown.scores),
        matched=int((match(shown, result.truth) >= 0).sum()),
    )
