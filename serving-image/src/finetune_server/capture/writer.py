"""The threads that digest and write: whatever the store does, requests only ever hand something over."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import InvalidStateError
from contextlib import suppress
from functools import partial
from threading import Thread
from time import monotonic
from typing import Final

from ..pages.pixels import pixels_digest
from ..reading import InSource
from ..remembered import Remembered
from .apart import NoProcessError, ProcessEndedError, StoreError
from .backlog import Backlog, Budget, Kept, PageTask, ReportTask, Task
from .metrics import CaptureMetrics, Loss
from .records import Json, Place, Source, day_of, encoded, window_record
from .sampling import Stratum
from .store import DigestingStore
from .windows import Outcome, Window

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 60
"""For so long after it was answered a page is tried to be written; then it is lost, and counted."""

REPORT_SECONDS: Final = 5
"""So long a report's client waits to hear that it was kept."""

_WRITTEN_SECONDS: Final = 600
"""For so long a file that was written is taken to be there. Not for its day: a person may have erased it."""

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 10.0
_LOG_SECONDS: Final = 60

_OUTCOMES: Final = {
    Loss.QUEUE: Outcome.QUEUE,
    Loss.CAP: Outcome.CAP,
    Loss.STORAGE: Outcome.STORAGE,
    Loss.PREFIX_SHARED: Outcome.STORAGE,
}


class PrefixSharedError(Exception):
    """Somebody else's pages lie where these should: nothing is written."""


class UndigestedError(Exception):
    """A page's pixels cannot be digested, whatever the store does: nobody else is to wait for that."""


class Writer:
    """Digests pages, and writes them, reports and windows, one after the other."""

    def __init__(
        self,
        place: Place,
        opened: Callable[[], DigestingStore],
        backlog: Backlog,
        budget: Budget,
        metrics: CaptureMetrics,
        *,
        another: Callable[[], bool],
    ) -> None:
        self._place = place
        self._opened = opened
        self._backlog = backlog
        self._budget = budget
        self._metrics = metrics
        self._another = another
        self._store: DigestingStore | None = None
        self._below = f"{place.namespace}/{place.deployment}"
        self._written: Remembered[tuple[str, str], bool] = Remembered(most=1000, seconds=_WRITTEN_SECONDS)
        self._pause = _FIRST_PAUSE
        self._logged = -_LOG_SECONDS * 1.0
        self.refused: str | None = None

    def start(self) -> None:
        """Start both threads. They end with the process, wherever they are."""
        for name, work in (("digest", self._digest), ("write", self._write)):
            Thread(target=work, name=f"capture-{name}", daemon=True).start()

    def close(self, seconds: float) -> bool:
        """Write what waits, for `seconds` at most; tell whether nothing is left."""
        self._backlog.close()
        return self._backlog.wait_empty(seconds)

    def _digest(self) -> None:
        while True:
            task = self._backlog.to_digest()
            assert not isinstance(task.pixels, InSource | None)  # such a page is not among these
            with suppress(Exception):  # who writes it tries again, and loses a page that cannot be digested
                task.digest = pixels_digest(task.pixels, partial(self._backlog.give_way, task))
                self._budget.digested(task)
            self._backlog.digested(task)

    def _write(self) -> None:
        # Opening a store takes seconds that somebody who reports would wait. What fails here is said by the first task.
        with suppress(Exception):
            self._claim()
        while True:
            task = self._backlog.to_write(1)
            if task is not None:
                self._try(task)

    def _try(self, task: Task) -> None:
        try:
            self._claim()
            self._do(task)
        except PrefixSharedError:
            self.lose(task, Loss.PREFIX_SHARED)
        except UndigestedError as error:
            self._complain(error)
            self.lose(task, Loss.STORAGE)
        except Exception as error:  # noqa: BLE001 - stores raise errors of their own, without a common base
            self._complain(error)
            if not self._backlog.closing and _is_worth_another(task):
                if not self._backlog.put_back(task):
                    self.lose(task, Loss.QUEUE)
                self._backlog.pause(self._pause)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                return
            self.lose(task, Loss.STORAGE)
        else:
            self._pause = _FIRST_PAUSE
        self._backlog.finished()

    def _do(self, task: Task) -> None:
        match task:
            case PageTask():
                self._write_page(task, day=day_of(task.prediction), between=partial(self._backlog.give_way, task))
                self._end(task, None)
            case ReportTask():
                self._write_report(task)
            case Window():
                name = f"{self._place.pod}-{task.begin:%H%M}-{task.token}.json"
                record = encoded(window_record(self._place, task))
                self._put(f"days/{task.begin:%Y-%m-%d}/windows/{name}", record)

    def _write_page(self, task: PageTask, *, day: str, between: Callable[[], None] = lambda: None) -> None:
        source = task.held.source
        if not task.digest:
            task.digest = self._digest_of(task)
            between()
        if self._written.get((day, source.sha256)) is None:
            self._put(f"days/{day}/files/{source.sha256}", source.content)
            self._written.put((day, source.sha256), True)
            between()
        record = {**task.record, "page": {**task.record["page"], "pixels": task.digest}}
        self._put(_record(day, task.stratum, task.prediction), encoded(record))

    def _digest_of(self, task: PageTask) -> str:
        try:
            if isinstance(task.pixels, InSource):
                return self._decoded_once_more(task.held.source)
            assert task.pixels is not None  # let go of with the digest
            return pixels_digest(task.pixels)
        except NoProcessError:
            raise
        except Exception as error:
            raise UndigestedError(f"{task.prediction} cannot be read once more ({_said(error)})") from error

    def _decoded_once_more(self, source: Source) -> str:
        try:
            return self._claimed().pixels_digest(source.content, source.kind)
        except ProcessEndedError:  # perhaps not under this page, or for another reason: it has a new one
            return self._claimed().pixels_digest(source.content, source.kind)

    def _write_report(self, task: ReportTask) -> None:
        """Write the page first, which the report names; a page that was kept before stays in its stratum."""
        if task.done.cancelled():  # its client was told that it is not kept
            self.lose(task, Loss.STORAGE)
            return
        if task.kept_before is None:
            task.kept_before = task.seen is not None and self._was_kept(task.seen, task.day)
            self._settle_page(task)
        page = task.page
        if page is not None and not self._is_written(page, task.day):
            self._lose_page(task, Loss.STORAGE)
            page = None
        report = {**task.report, "record": page.prediction if page is not None else None}
        self._put(f"days/{task.day}/reports/{report['id']}.json", encoded(report))
        if page is not None:
            self._end(page, None)
        self._metrics.report_stored()
        _answer(task, Kept(report=True, page=task.kept_before or page is not None))

    def _is_written(self, page: PageTask, day: str) -> bool:
        """Write a report's page; False where it cannot be, which keeps no report."""
        try:
            self._write_page(page, day=day)
        except UndigestedError as error:
            self._complain(error)
            return False
        return True

    def _settle_page(self, task: ReportTask) -> None:
        """Let go of a page that was kept before, which costs nothing, and of one that the queue or a cap keeps out."""
        if task.kept_before:
            self._let_go(task)
        elif task.page is None:
            self._lose_page(task, Loss.QUEUE)
        elif not self._another():
            self._lose_page(task, Loss.CAP)

    def _let_go(self, task: ReportTask) -> None:
        if task.page is not None:
            self._budget.release(task.page)
            task.page.window.cancelled()
        if task.crowded_out is not None:
            task.crowded_out.cancelled()
        task.page = task.crowded_out = None

    def _lose_page(self, task: ReportTask, loss: Loss) -> None:
        if task.page is not None:
            self._end(task.page, loss)
        if task.crowded_out is not None:
            self._count(task.crowded_out, Stratum.REPORTED, Loss.QUEUE)
        task.page = task.crowded_out = None

    def _was_kept(self, prediction: str, today: str) -> bool:
        days = dict.fromkeys((day_of(prediction), today))
        return any(self._exists(_record(day, stratum, prediction)) for day in days for stratum in Stratum)

    def _end(self, task: PageTask, loss: Loss | None) -> None:
        self._budget.release(task)
        self._count(task.window, task.stratum, loss)

    def _count(self, window: Window, stratum: Stratum, loss: Loss | None) -> None:
        window.ended(stratum, Outcome.STORED if loss is None else _OUTCOMES[loss])
        if loss is None:
            self._metrics.page_stored(stratum)
        else:
            self._metrics.page_lost(stratum, loss)

    def lose(self, task: Task, loss: Loss) -> None:
        """Count what will not be written, and tell who waits for it."""
        match task:
            case PageTask():
                self._end(task, loss)
            case ReportTask():
                self._lose_page(task, loss)
                self._metrics.report_lost(loss)
                reason = "PrefixShared" if loss is Loss.PREFIX_SHARED else "StorageUnavailable"
                _answer(task, Kept(report=False, page=bool(task.kept_before), reason=reason))
            case Window():
                log.warning("the window from %s is lost: %s", task.begin.isoformat(), loss.value)

    def _claim(self) -> None:
        """Open the store, and write or read whose it is, once. Raises `PrefixSharedError`, or what the store does."""
        if self.refused is not None:
            raise PrefixSharedError(self.refused)
        if self._store is not None:
            return
        store = self._opened()
        path = f"{self._below}/capture.json"
        if store.read(path) is None:
            store.write(path, encoded(self._place.owner))
        said = store.read(path)
        if said is None:
            raise StoreError(f"{path} was written, and is not there")
        owner = _parsed(said)
        if owner != self._place.owner:
            self.refused = f"{path} says that the pages there are of {json.dumps(owner)[:200]}"
            self._metrics.refused()
            log.error(
                "PrefixShared: %s, and this is %s/%s: nothing is captured. "
                "Give each Deployment a FINETUNE_CAPTURE_URI of its own",
                self.refused, self._place.namespace, self._place.deployment,
            )  # fmt: skip
            raise PrefixSharedError(self.refused)
        self._store = store

    def _put(self, path: str, content: bytes) -> None:
        self._claimed().write(f"{self._below}/{path}", content)

    def _exists(self, path: str) -> bool:
        return self._claimed().exists(f"{self._below}/{path}")

    def _claimed(self) -> DigestingStore:
        assert self._store is not None  # `_claim` comes first
        return self._store

    def _complain(self, error: Exception) -> None:
        if monotonic() - self._logged >= _LOG_SECONDS:
            self._logged = monotonic()
            log.warning("pages cannot be written to FINETUNE_CAPTURE_URI: %s", _said(error)[:500])


def _record(day: str, stratum: Stratum, prediction: str) -> str:
    """Return where the record of a captured page lies: by stratum, so that a scan counts them by listing."""
    return f"days/{day}/pages/{stratum.value.lower()}/{prediction}.json"


def _is_worth_another(task: Task) -> bool:
    match task:
        case PageTask():
            return monotonic() - task.since < PATIENCE_SECONDS
        case ReportTask():
            return monotonic() - task.since < REPORT_SECONDS
        case Window():
            return True


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, StoreError | UndigestedError) else f"{type(error).__name__}: {error}"


def _answer(task: ReportTask, kept: Kept) -> None:
    with suppress(InvalidStateError):  # its client has waited long enough
        task.done.set_result(kept)


def _parsed(content: bytes) -> Json | None:
    try:
        owner: Json = json.loads(content)
    except ValueError:
        return None
    return owner
