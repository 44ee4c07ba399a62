"""What the routes share."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry

from ..capture.capture import Capture
from ..config import FeedbackConfig, Limits
from ..drain import Drain
from ..errors import RequestError
from ..metrics import Metrics, RequestMetrics
from ..model import Detector
from ..pages.rasteriser import Rasteriser
from ..remembered import Remembered
from .feedback import ReportedPage
from .lanes import Lane
from .opening import Opening
from .readers import Readers
from .receiving import Receiving

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_MOST_ANSWERS: Final = 4000
"""Entries of about 400 bytes, two for a page: what a report finds in the pod that answered.

In other pods, and where that one has forgotten it, a report counts by what it says itself."""


@dataclass(slots=True)
class Loaded:
    """A model that may answer: verified, loaded, warmed up, and the name that answers and series give it.

    `failed` says what was wrong with the network at the last page, None when it has read that; it changes with pages.
    """

    name: str
    detector: Detector
    metrics: Metrics
    failed: str | None = None

    def check(self) -> None:
        """Tell after a failure whether the network fails altogether, or failed on a page."""
        try:
            self.detector.check()
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base class but Exception
            self.failed = f"the network fails ({type(error).__name__}: {error})"
        else:
            self.failed = None

    @property
    def identity(self) -> dict[str, str]:
        """Return how answers name it."""
        artifact = self.detector.artifact
        return {"name": self.name, "version": artifact.version, "sha256": artifact.sha256}


@dataclass(frozen=True, slots=True)
class Answered:
    """What is remembered of an answer."""

    prediction: str
    document: str | None
    page: ReportedPage
    model: dict[str, str]


Answers: TypeAlias = Remembered[str, Answered]
"""The latest answers, by the id of a prediction and by the digest of a page's bytes."""


@dataclass(slots=True)
class ServingState:
    """What the routes share: `loaded` is None until the model may answer; images never wait for documents.

    `capture` is None where nothing is captured. `answers`, `reported` (what was) and `reporters` (who did, since when,
    how often) have an end, each.
    """

    limits: Limits
    drain: Drain
    readers: Readers
    receiving: Receiving
    opening: Opening
    images: Lane
    large_images: asyncio.Semaphore
    documents: Lane
    rasteriser: Rasteriser
    registry: CollectorRegistry
    requests: RequestMetrics
    feedback: FeedbackConfig
    capture: Capture | None
    answers: Answers = field(default_factory=lambda: Remembered(most=_MOST_ANSWERS, seconds=_DAY))
    reported: Remembered[str, bool] = field(default_factory=lambda: Remembered(most=10_000, seconds=30 * _DAY))
    reporters: Remembered[str, tuple[float, int]] = field(
        default_factory=lambda: Remembered(most=10_000, seconds=_HOUR)
    )
    loaded: Loaded | None = None

    def answering(self) -> AbstractContextManager[None]:
        """Have what is kept of answers wait for the block."""
        return nullcontext() if self.capture is None else self.capture.answering()

    def require_loaded(self) -> Loaded:
        """Return the loaded model; raises `RequestError` 503 while there is none."""
        if self.loaded is None:
            raise RequestError(503, "NotReady", "the model is being verified and loaded")
        return self.loaded
