"""The monitoring contract of the server: names, labels and meanings that alerts and dashboards rest on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from threading import Lock
from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .artifact import Artifact
from .remembered import Remembered

CONFIDENCE_BUCKETS: Final = (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 1.0)
"""Finer towards 1, where a healthy model's confidences lie and a drop begins."""

_MOST_DOCUMENTS: Final = 10_000
_DOCUMENT_SECONDS: Final = 3600
"""For so long after its last page a document is known, so that its next one is no document of its own."""

_DECADE: Final = (1.0, 1.5, 2.2, 3.3, 4.7, 6.8)
SECONDS_BUCKETS: Final = (*(round(step * 10.0**power, 4) for power in (-3, -2, -1, 0) for step in _DECADE), 10.0)
"""From a millisecond to ten seconds, each half as much again as the one before.

A quantile lies anywhere between two bounds. With bounds of 0.1 and 0.25 a model that needs 0.11 seconds could look as
if it needed 0.24: more than twice its base's time, which is alerted on.
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """The labels of every series: where this server runs, and the model that it serves."""

    namespace: str
    deployment: str
    model: str


class Stage(Enum):
    """Parts of a request. `TOTAL` is the whole of it, `QUEUE` the wait for a free worker."""

    QUEUE = "queue"
    DECODE = "decode"
    PREPROCESS = "preprocess"
    INFERENCE = "inference"
    POSTPROCESS = "postprocess"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class _Families:
    """The metrics, before they have labels."""

    documents: Counter
    feedback: Counter
    expected: Counter
    detected: Counter
    confidence: Histogram
    duration: Histogram
    info: Gauge


def _families(registry: CollectorRegistry, names: tuple[str, ...]) -> _Families:
    def counter(name: str, text: str, *extra: str) -> Counter:
        return Counter(name, text, (*names, *extra), registry=registry)

    return _Families(
        documents=counter("finetune_documents", "Pages answered"),
        feedback=counter("finetune_feedback", "Documents that a user reported as read wrongly, each once in this pod"),
        expected=counter(
            "finetune_field_expected", "Pages, or documents where they are named, that should carry the field", "field"
        ),
        detected=counter(
            "finetune_field_detected",
            "Pages, or documents where they are named, with a box of the field at the serving confidence",
            "field",
        ),
        confidence=Histogram(
            "finetune_detection_confidence",
            "Confidence of the best box of the field, for pages on which it was detected",
            (*names, "field"),
            buckets=CONFIDENCE_BUCKETS,
            registry=registry,
        ),
        duration=Histogram(
            "finetune_inference_duration_seconds",
            "Seconds spent in a stage of answering a page; stage total is the whole request",
            (*names, "stage"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        ),
        info=Gauge("finetune_model_info", "1, for the digest that is loaded", (*names, "digest"), registry=registry),
    )


class Metrics:
    """The series of one loaded model, all present at 0 once this is made.

    `expected` are the fields that a document of this kind must carry; of a field that is not
    expected only the detections are counted.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        identity: Identity,
        artifact: Artifact,
        *,
        classes: Iterable[str],
        expected: Sequence[str],
    ) -> None:
        fields = tuple(classes)
        common = {**asdict(identity), "version": artifact.version}
        families = _families(registry, tuple(common))
        families.info.labels(**common, digest=artifact.sha256).set(1)
        self._documents = families.documents.labels(**common)
        self._feedback = families.feedback.labels(**common)
        every_expected = {field: families.expected.labels(**common, field=field) for field in fields}
        self._expected = [every_expected[field] for field in expected]
        self.expected = tuple(expected)
        self._detected = {field: families.detected.labels(**common, field=field) for field in fields}
        self._confidence = {field: families.confidence.labels(**common, field=field) for field in fields}
        self._open: Remembered[str, set[str]] = Remembered(most=_MOST_DOCUMENTS, seconds=_DOCUMENT_SECONDS)
        self._counting = Lock()
        self._stages = {stage: families.duration.labels(**common, stage=stage.value) for stage in Stage}

    def document(self, best: Mapping[str, float], document: str | None = None) -> None:
        """Count one answered page; `best` gives the highest confidence (0..1) of each field that was found.

        Of a `document` each field is expected and detected once: page 2 misses nothing that page 1 has.
        """
        self._documents.inc()
        first, new = self._of_document(best, document)
        for series in self._expected if first else ():
            series.inc()
        for field, confidence in best.items():
            if field in new:
                self._detected[field].inc()
            self._confidence[field].observe(confidence)

    def _of_document(self, best: Mapping[str, float], document: str | None) -> tuple[bool, set[str]]:
        """Return whether this is the document's first page, and the fields that no page of it had before."""
        if document is None:
            return True, set(best)
        with self._counting:
            known = self._open.get(document)
            new = set(best) - (known or set())
            self._open.put(document, (known or set()) | new)
        return known is None, new

    def feedback(self) -> None:
        """Count one document that a user reported."""
        self._feedback.inc()

    def observe(self, stage: Stage, seconds: float) -> None:
        """Record how long a stage took."""
        self._stages[stage].observe(seconds)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Record how long the block takes, also when it fails."""
        start = perf_counter()
        try:
            yield
        finally:
            self.observe(stage, perf_counter() - start)


class RequestMetrics:
    """What is seen of requests from outside, from the start on: also while no model is loaded."""

    def __init__(self, registry: CollectorRegistry, *, namespace: str, deployment: str) -> None:
        self._place = {"namespace": namespace, "deployment": deployment}
        self._requests = Counter(
            "finetune_requests",
            "Requests that were answered, by status and reason; probes and scrapes are not counted",
            (*self._place, "status", "reason"),
            registry=registry,
        )
        self._in_flight = Gauge(
            "finetune_requests_in_flight",
            "Requests that are arriving or being answered",
            tuple(self._place),
            registry=registry,
        ).labels(**self._place)
        self._series = {(200, "OK"): self._requests.labels(**self._place, status=200, reason="OK")}

    def answered(self, status: int, reason: str) -> None:
        """Count a request."""
        series = self._series.get((status, reason))
        if series is None:
            series = self._series[status, reason] = self._requests.labels(**self._place, status=status, reason=reason)
        series.inc()

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count the request of the block among those at hand."""
        self._in_flight.inc()
        try:
            yield
        finally:
            self._in_flight.dec()
