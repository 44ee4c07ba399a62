"""Capture as requests see it: they say what was answered, and go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Final

from ..config import CaptureConfig
from ..metadata import ServingSettings
from ..preprocess import Page
from ..reading import InSource
from ..remembered import Remembered
from .apart import StoreApart
from .backlog import Backlog, Budget, HeldSource, Kept, PageTask, ReportTask
from .metrics import CaptureMetrics, Loss
from .records import AnsweredPage, Json, Place, Source, moment, page_record
from .sampling import Draw, Sampler, Stratum
from .store import DigestingStore
from .windows import Outcome, Window, window_from
from .writer import Writer

_MOST_DOCUMENTS: Final = 10_000
_DOCUMENT_SECONDS: Final = 3600
_MOST_REPORTS: Final = 100
_MOST_WINDOWS: Final = 200


def clock() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)  # noqa: TID251 - the default of an argument


@dataclass(frozen=True, slots=True)
class Context:
    """What a record says beside the page: the model, its serving confidence, the expected fields, the document."""

    model: Json
    confidence: float
    expected: tuple[str, ...]
    document: str | None

    @classmethod
    def of(cls, model: Json, settings: ServingSettings, expected: tuple[str, ...], document: str | None) -> Context:
        """Return the context of an answer."""
        return cls(model, settings.confidence, expected, document)


class Capture:
    """Keeps a sample of what is answered. Only called from the event loop; nothing here waits for the store."""

    def __init__(
        self,
        config: CaptureConfig,
        place: Place,
        metrics: CaptureMetrics,
        *,
        opened: Callable[[str], DigestingStore] = StoreApart,
        now: Callable[[], datetime] = clock,
    ) -> None:
        assert config.uri is not None  # or there is no capture
        self._config = config
        self._place = place
        self._metrics = metrics
        self._now = now
        self._sampler = Sampler(config, clock=monotonic)
        self._budget = Budget(config.queue_bytes)
        self._backlog = Backlog(self._budget, most_reports=_MOST_REPORTS, most_windows=_MOST_WINDOWS)
        self._writer = Writer(
            place, partial(opened, config.uri), self._backlog, self._budget, metrics, another=self._sampler.another
        )
        self._documents: Remembered[str, bool] = Remembered(most=_MOST_DOCUMENTS, seconds=_DOCUMENT_SECONDS)
        self._window: Window | None = None
        metrics.watch_queue(lambda: self._budget.held)

    def worth_holding(self, pixels: Page | InSource | None, before: int = 0) -> Page | InSource | None:
        """Return a page's pixels, None where there are more than may wait beside `before` bytes of its request."""
        return None if pixels is None or before + pixels.nbytes > self._config.queue_bytes else pixels

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()

    def close(self, seconds: float) -> bool:
        """Write what waits, the window at hand too, for `seconds` at most; tell whether nothing is left. This waits."""
        if self._window is not None:
            self._window.end = min(self._window.end, self._now())
            self._end(self._window)
            self._window = None
        return self._writer.close(seconds)

    def tick(self) -> None:
        """Close the window that is over, where nothing is answered that would."""
        if self._window is not None:
            self._window_now()

    def answering(self) -> AbstractContextManager[None]:
        """Say that something is answered for the block: what is kept waits meanwhile."""
        return self._backlog.answering()

    def answered(self, source: Source, pages: Sequence[AnsweredPage], context: Context) -> None:
        """Note the pages of an answer, and keep those that are drawn or uncertain."""
        missing = self._missing(pages, context)
        first = context.document is not None and self._documents.get(context.document) is None
        if context.document is not None:
            self._documents.put(context.document, True)
        held = HeldSource(source)
        window = self._window_now()
        for index, page in enumerate(pages):
            lacking = missing if index == 0 or context.document is None else ()
            if context.document is None:
                lacking = _lacking([page], context.expected)
            best = _best(page)
            draw = self._sampler.draw(missing=lacking, best=best.values(), confidence=context.confidence)
            window.answered(draw.probability, documents=1 if context.document is None else int(first and index == 0))
            if draw.stratum is not None:
                self._keep(held, page, draw, context, lacking)

    def report(
        self, report: Json, *, seen: str | None, source: Source | None, page: AnsweredPage | None, context: Context
    ) -> ReportTask | Kept:
        """Have a report written, with its page where it came; return what will be told, or was decided at once."""
        waiting = ReportTask(self._now().date().isoformat(), report, None, seen)
        if source is not None and page is not None:
            task = self._reported(source, page, context)
            if page.pixels is not None and self._budget.admit(task):
                waiting.page = task
            else:
                waiting.crowded_out = task.window
        if self._backlog.add_report(waiting):
            return waiting
        self._writer.lose(waiting, Loss.QUEUE)
        return Kept(report=False, page=False, reason="QueueFull")

    def stamp(self) -> Json:
        """Return what a report says of now and here."""
        return {"at": moment(self._now()), **self._place.names}

    def _reported(self, source: Source, page: AnsweredPage, context: Context) -> PageTask:
        draw = Draw(Stratum.REPORTED, self._sampler.probability)
        task = self._task(HeldSource(source), page, draw, context, _lacking([page], context.expected))
        task.window.begun()
        return task

    def _keep(self, held: HeldSource, page: AnsweredPage, draw: Draw, context: Context, missing: Sequence[str]) -> None:
        assert draw.stratum is not None  # asked before
        window = self._window_now()
        if draw.capped:
            self._lose(window, draw.stratum, Outcome.CAP, Loss.CAP)
            return
        task = self._task(held, page, draw, context, missing)
        if page.pixels is None or not self._budget.admit(task):
            self._lose(window, draw.stratum, Outcome.QUEUE, Loss.QUEUE)
            return
        window.begun()
        self._backlog.add_page(task)

    def _task(
        self, held: HeldSource, page: AnsweredPage, draw: Draw, context: Context, missing: Sequence[str]
    ) -> PageTask:
        assert draw.stratum is not None  # asked before
        record = page_record(
            self._place, held.source, page, draw,
            missing=missing, document=context.document, model=context.model, at=self._now(),
        )  # fmt: skip
        return PageTask(held, record, draw.stratum, self._window_now(), page.pixels, page.prediction)

    def _lose(self, window: Window, stratum: Stratum, outcome: Outcome, loss: Loss) -> None:
        window.ended(stratum, outcome, was_pending=False)
        self._metrics.page_lost(stratum, loss)

    def _window_now(self) -> Window:
        now = self._now()
        window = self._window
        if window is not None and not window.begin <= now < window.end:
            self._end(window)
            window = None
        if window is None:
            window = self._window = window_from(now, self._config.random, self._sampler.probability)
        return window

    def _end(self, window: Window) -> None:
        lost = self._backlog.add_window(window)
        if lost is not None:
            self._writer.lose(lost, Loss.QUEUE)

    def _missing(self, pages: Sequence[AnsweredPage], context: Context) -> tuple[str, ...]:
        """Return what a document lacks on the pages that were asked for; of pages that follow, nothing is missed."""
        if context.document is None or self._documents.get(context.document) is not None:
            return ()
        return _lacking(pages, context.expected)


def digest_of(content: bytes) -> str:
    """Return the digest of a source's bytes."""
    return hashlib.sha256(content).hexdigest()


def _best(page: AnsweredPage) -> Mapping[str, float]:
    # Reversed, so that the best box of a field, which comes first, is the one that stays.
    return {field.name: field.confidence for field in reversed(page.reading.fields)}


def _lacking(pages: Sequence[AnsweredPage], expected: Sequence[str]) -> tuple[str, ...]:
    detected = {field.name for page in pages for field in page.reading.fields}
    return tuple(name for name in expected if name not in detected)
