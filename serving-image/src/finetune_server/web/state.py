"""What the routes share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from ..config import Limits
from ..drain import Drain
from ..errors import RequestError
from ..metrics import Metrics, RequestMetrics
from ..model import Detector
from ..pages.rasteriser import Rasteriser
from .lanes import Lane
from .receiving import Receiving


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


@dataclass(slots=True)
class ServingState:
    """What the routes share: `loaded` is None until the model may answer; images never wait for documents."""

    limits: Limits
    drain: Drain
    pool: ThreadPoolExecutor
    receiving: Receiving
    images: Lane
    large_images: asyncio.Semaphore
    documents: Lane
    rasteriser: Rasteriser
    registry: CollectorRegistry
    requests: RequestMetrics
    loaded: Loaded | None = None

    def require_loaded(self) -> Loaded:
        """Return the loaded model; raises `RequestError` 503 while there is none."""
        if self.loaded is None:
            raise RequestError(503, "NotReady", "the model is being verified and loaded")
        return self.loaded
