"""Step `evaluate`: measure candidate, base and live version alike, on bytes that this step hashed itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from ..documents.codec import encode
from ..documents.inputs import EvaluateInputs
from ..documents.plan import Digests
from ..documents.report import REPORT_SCHEMA, Milliseconds, ModelDetails, Report
from ..documents.result import EvaluateResult, Models, NewSet, TestSet
from ..documents.run import TrainingDocument, limits_of
from ..evaluation.average_precision import PrecisionRecall
from ..evaluation.detector import Detector
from ..evaluation.evaluate import EVALUATOR, settings_digest
from ..evaluation.fields import Model
from ..evaluation.pages import Page, load_pages
from ..progress import utc_now
from ..report.evaluation import class_table, gallery, precision_recall
from .candidate_network import check_candidate_answers, check_candidate_network
from .context import StepContext
from .listed_pool import erasures_named
from .measure import (
    Measurement,
    Span,
    count_added,
    field_lines,
    measure,
    page_counts,
    worst_on_new,
    worst_on_test,
)
from .models import fetch_base, fetch_candidate, fetch_live
from .production_baseline import MeasuredBaseline, measure_baseline
from .production_replay import Replay, replay
from .yardstick import Yardstick, read_yardstick


def evaluate(
    context: StepContext,
    document: TrainingDocument,
    inputs: EvaluateInputs,
    clock: Callable[[], datetime] = utc_now,
) -> EvaluateResult:
    """Measure all models on the test set and the new set; publish report and plots."""
    progress = context.progress
    progress.report(percent=0, activity="fetching models")
    limits = limits_of(document)
    yardstick = read_yardstick(context, document, inputs)
    models = _fetch_models(context, document, inputs)
    of_checkpoint = check_candidate_network(context, document, inputs, models["candidate"][0], models["base"][0])
    span = Span(len(document.classes), min(len(detector.serving.classes) for detector, _ in models.values()))
    with erasures_named(context.storage, yardstick.plan):
        test, new, measurements = _measure(context, document, yardstick, models, span)
        check_candidate_answers(context, inputs, models["candidate"][0], [*test, *new], of_checkpoint)
        replayed = replay(context, document, inputs, yardstick, models, known=span.known)
        today = clock().astimezone(UTC).date()
        baseline = measure_baseline(context, document, inputs, yardstick, models, replayed, today)
    drops, floor = worst_on_test(limits, measurements, span)
    result = EvaluateResult(
        settings=settings_digest(document.serving),
        evaluator=EVALUATOR,
        test_set=msgspec.structs.replace(
            count_test_set(yardstick.test_digest, test, span.known), drops=drops, floor=floor
        ),
        new_set=msgspec.structs.replace(_count_new_set(yardstick), floor=worst_on_new(limits, measurements, span)),
        models=Models(
            candidate=measurements["candidate"].measured,
            base=measurements["base"].measured,
            live=measurements["live"].measured if "live" in measurements else None,
        ),
        production=None if replayed is None else replayed.result,
        baseline=None if baseline is None else baseline.result,
        added=count_added(limits, measurements, span),
        pool=yardstick.listed,
    )
    progress.report(percent=95, activity="writing the report")
    with erasures_named(context.storage, yardstick.plan):
        _publish(context, document, yardstick.plan.digests, result, measurements, replayed, baseline)
    progress.report(percent=100)
    return result


def _measure(
    context: StepContext,
    document: TrainingDocument,
    yardstick: Yardstick,
    models: Mapping[Model, tuple[Detector, str]],
    span: Span,
) -> tuple[list[Page], list[Page], dict[Model, Measurement]]:
    """Return the test set, the new samples, and what each model comes to on both."""
    progress, classes = context.progress, len(document.classes)
    progress.report(percent=10, activity="reading labels")
    reading = progress.counting("reading labels of the test set", "pages", percent=(10, 12))
    test = load_pages(context.storage, yardstick.test, classes, reading)
    reading = progress.counting("reading labels of new samples", "pages", percent=(12, 15))
    new = load_pages(context.storage, yardstick.new_set, classes, reading)
    measurements: dict[Model, Measurement] = {}
    for number, (name, (detector, sha256)) in enumerate(models.items()):
        first, last = (15 + 75 * part // len(models) for part in (number, number + 1))
        progress.report(percent=first, activity=f"measuring {name}")
        counted = progress.counting(f"measuring {name}", "pages", percent=(first, last))
        measurements[name] = measure(
            detector,
            sha256,
            document.serving,
            test=test,
            new=new,
            counted=counted,
            span=span,
            must_answer=name == "candidate",
        )
    return test, new, measurements


def _fetch_models(
    context: StepContext, document: TrainingDocument, inputs: EvaluateInputs
) -> dict[Model, tuple[Detector, str]]:
    """Return each model by its part in the verdict, with the digest of its artifact."""
    base = document.base.artifact
    models: dict[Model, tuple[Detector, str]] = {
        "candidate": (fetch_candidate(context, document, inputs.candidate), inputs.candidate.sha256),
        "base": (fetch_base(context, document), base.sha256),
    }
    if inputs.live is not None:
        live = inputs.live.artifact
        models["live"] = (fetch_live(context, document, live), live.sha256)
    return models


def count_test_set(digest: str, pages: Sequence[Page], fields: int) -> TestSet:
    """Return what mAP50 is measured on, by digest and count; boxes are those of the first `fields` classes."""
    boxes = sum(box.field < fields for page in pages for box in page.labels)
    return TestSet(digest, images=len(pages), boxes=boxes)


def _count_new_set(yardstick: Yardstick) -> NewSet:
    counts = yardstick.counts
    return NewSet(
        digest=yardstick.new_digest,
        documents=counts.documents,
        fresh=counts.fresh,
        trained_on=any(not s.held_out for s in yardstick.new_set),
    )


def _publish(
    context: StepContext,
    document: TrainingDocument,
    digests: Digests,
    result: EvaluateResult,
    measurements: Mapping[Model, Measurement],
    replayed: Replay | None,
    baseline: MeasuredBaseline | None,
) -> None:
    report = Report(
        schema=REPORT_SCHEMA,
        classes=document.classes,
        result=msgspec.to_builtins(result),
        details={name: details(m, document.classes) for name, m in measurements.items()},
        plan=digests,
        production=None if replayed is None else replayed.report,
        baseline=None if baseline is None else baseline.report,
    )
    context.publisher.file("report.json", encode(report))
    publish_curves(context, {name: m.curves for name, m in measurements.items()}, document.classes)
    before = measurements.get("live", measurements["base"])
    picture = gallery(document.classes, before=before.new, after=measurements["candidate"].new)
    if picture is not None:
        context.publisher.file("plots/new-pages.jpg", picture)


def publish_curves(
    context: StepContext, curves: Mapping[str, Mapping[int, PrecisionRecall]], classes: Sequence[str]
) -> None:
    """Publish the precision-recall curves, and the table of classes where plots write indices for names."""
    context.publisher.file("plots/precision-recall.png", precision_recall(curves, classes))
    if (table := class_table(classes)) is not None:
        context.publisher.file("plots/classes.txt", table)


def details(measurement: Measurement, classes: Sequence[str]) -> ModelDetails:
    """Return a model's part of the report beside its measured figures."""
    return ModelDetails(
        milliseconds=Milliseconds(f"{measurement.speed.p50:.2f}", f"{measurement.speed.p95:.2f}"),
        test_fields=field_lines(measurement.test_counts, classes, measurement.curves),
        new_fields=field_lines(measurement.new_counts, classes, {}) if measurement.new else (),
        test=tuple(page_counts(r) for r in measurement.test),
        new=tuple(page_counts(r) for r in measurement.new),
    )
