"""Step `verify`: an imported base is hashed, opened and measured before it may be promoted."""

from __future__ import annotations

import msgspec

from ..data.anchor import anchor_sample, check_labels, check_splits, pages_digest, read_index
from ..data.density import check_density
from ..documents.anchor import AnchorIndex
from ..documents.classes import labelled_fields
from ..documents.codec import encode
from ..documents.plan import Sample
from ..documents.report import REPORT_SCHEMA, Report
from ..documents.result import Artifact, VerifiedModels, VerifyResult
from ..documents.run import VerifyDocument
from ..evaluation.evaluate import EVALUATOR, settings_digest
from ..evaluation.pages import load_pages
from ..storage import normalise
from .context import StepContext
from .evaluate import count_test_set, details, publish_curves
from .measure import measure
from .models import fetch_base


def verify(context: StepContext, document: VerifyDocument) -> VerifyResult:
    """Measure the base on the anchor's test split; publish the report."""
    context.progress.report(percent=0, activity="fetching the base")
    base = document.base
    detector = fetch_base(context, document)
    context.storage.fetch(
        normalise(base.checkpoint.uri),
        context.scratch / "checkpoint.pt",
        sha256=base.checkpoint.sha256,
        fetched=context.progress.fetching("the checkpoint", percent=0),
    )
    index, samples = _read_test_set(context, document)
    context.progress.report(percent=30, activity="measuring")
    reading = context.progress.counting("reading labels of the test set", "pages", percent=(30, 35))
    pages = load_pages(context.storage, samples, len(document.classes), reading)
    measurement = measure(
        detector,
        base.artifact.sha256,
        document.serving,
        test=pages,
        new=None,
        counted=context.progress.counting("measuring", "pages", percent=(35, 95)),
        must_answer=True,
    )
    result = VerifyResult(
        settings=settings_digest(document.serving),
        evaluator=EVALUATOR,
        test_set=count_test_set(pages_digest(index.splits.test), pages, len(document.classes)),
        models=VerifiedModels(base=measurement.measured),
        artifact=Artifact(base.artifact.uri, base.artifact.sha256, _size(context, base.artifact.uri)),
    )
    report = Report(
        schema=REPORT_SCHEMA,
        classes=document.classes,
        result=msgspec.to_builtins(result),
        details={"base": details(measurement, document.classes)},
    )
    context.publisher.file("report.json", encode(report))
    publish_curves(context, {"base": measurement.curves}, document.classes)
    context.progress.report(percent=100)
    return result


def _read_test_set(context: StepContext, document: VerifyDocument) -> tuple[AnchorIndex, list[Sample]]:
    anchor = normalise(document.data.anchor.uri)
    index = read_index(context.storage, anchor)
    fields = labelled_fields(index.classes, f"The anchor {anchor}", expected=document.classes)
    check_splits(index, anchor)
    samples = [anchor_sample(anchor, page, fields) for page in index.splits.test]
    check_labels(context.storage, samples, len(document.classes), "the anchor " + anchor)
    check_density(samples, document.serving.max_detections)
    return index, samples


def _size(context: StepContext, uri: str) -> int:
    uri = normalise(uri)
    return context.storage.sizes([uri])[uri] or 0
