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


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that may answer: verified, loaded, warmed up, and the name that answers and series give it."""

    name: str
    detector: Detector
    metrics: Metrics

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
