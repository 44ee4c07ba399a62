"""What is seen of capture from outside: pages and reports by what became of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Gauge

from .sampling import Stratum


class Loss(Enum):
    """Why something was not kept."""

    QUEUE = "Queue"
    CAP = "Cap"
    STORAGE = "Storage"
    PREFIX_SHARED = "PrefixShared"


_STORED = "Stored"


class CaptureMetrics:
    """The series of capture, all present at 0; also where nothing is captured."""

    def __init__(self, registry: CollectorRegistry, *, namespace: str, deployment: str) -> None:
        place = {"namespace": namespace, "deployment": deployment}
        outcomes = (_STORED, *(loss.value for loss in Loss))
        pages = Counter(
            "finetune_capture_pages",
            "Answered pages that were selected to be kept, by stratum and what became of them",
            (*place, "stratum", "outcome"),
            registry=registry,
        )
        reports = Counter(
            "finetune_capture_reports",
            "Reports, by what became of them",
            (*place, "outcome"),
            registry=registry,
        )
        self._pages = {(s, o): pages.labels(**place, stratum=s.value, outcome=o) for s in Stratum for o in outcomes}
        self._reports = {o: reports.labels(**place, outcome=o) for o in outcomes}
        self._refused = Gauge(
            "finetune_capture_refused",
            "1 when another Deployment's pages lie at FINETUNE_CAPTURE_URI, so that nothing is written there",
            tuple(place),
            registry=registry,
        ).labels(**place)
        self._queue = Gauge(
            "finetune_capture_queue_bytes", "Bytes that wait to be written", tuple(place), registry=registry
        ).labels(**place)

    def watch_queue(self, held: Callable[[], float]) -> None:
        """Have the queue's bytes asked for at each scrape."""
        self._queue.set_function(held)

    def page_stored(self, stratum: Stratum) -> None:
        """Count a page that was written."""
        self._pages[stratum, _STORED].inc()

    def page_lost(self, stratum: Stratum, loss: Loss) -> None:
        """Count a page that was not."""
        self._pages[stratum, loss.value].inc()

    def report_stored(self) -> None:
        """Count a report that was written."""
        self._reports[_STORED].inc()

    def report_lost(self, loss: Loss) -> None:
        """Count a report that was not."""
        self._reports[loss.value].inc()

    def refused(self) -> None:
        """Say that somebody else's pages lie there."""
        self._refused.set(1)
