"""What waits to be written: bounded by bytes, from the event loop to the threads.

Reports and pages have turns; pages wait for moments in which nothing is answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock
from time import monotonic
from typing import Final, TypeAlias

from ..preprocess import Page
from ..reading import InSource
from .records import Json, Source
from .sampling import Stratum
from .windows import Window

LARGEST_RECORD: Final = 64 * 1024
"""Bytes that a record or report counts for, which is more than nearly all of them have."""

_LULL_SECONDS: Final = 5
"""For so long a page waits until nothing is answered: digested or written meanwhile, it would make answers late."""

_CALM_SECONDS: Final = 0.005
"""For so long nothing is answered before a page is dealt with: an answer's last bytes leave after it is made."""

_FADING: Final = 0.95
"""How much of a large page's size is remembered at the next one: half of it for 13 pages."""


@dataclass(slots=True, eq=False)
class HeldSource:
    """The bytes of a source, counted once however many of its pages wait."""

    source: Source
    users: int = 0


@dataclass(slots=True, eq=False)
class PageTask:
    """A page to be written. Its `record` lacks the digest of `pixels`, which are let go of when that is known."""

    held: HeldSource
    record: Json
    stratum: Stratum
    window: Window
    pixels: Page | InSource | None
    prediction: str
    digest: str = ""
    since: float = field(default_factory=monotonic)


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of a report: the report, the page, and why not all of it."""

    report: bool
    page: bool
    reason: str = ""


@dataclass(slots=True, eq=False)
class ReportTask:
    """A report to be written, with its page where that is to be kept; `done` is what was kept.

    `seen` is the id of the answer that it is about, and `crowded_out` the window of a page that found no room in the
    queue. `kept_before` says whether its page was kept then, once that is known: only then is anything lost, or taken
    of a cap.
    """

    day: str
    report: Json
    page: PageTask | None
    seen: str | None
    crowded_out: Window | None = None
    kept_before: bool | None = None
    done: Future[Kept] = field(default_factory=Future)
    since: float = field(default_factory=monotonic)


Task: TypeAlias = PageTask | ReportTask | Window


class Budget:
    """Bytes that may wait. Used from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._large = 0.0
        self.held = 0

    @property
    def is_crowded(self) -> bool:
        """Tell whether less than half is left, or than two pages take that are as large as lately the largest.

        Then what waits is to be dealt with, whoever is answered meanwhile.
        """
        return self._most - self.held < max(self._most / 2, 2 * self._large)

    def admit(self, task: PageTask) -> bool:
        """Take a page in; False when there is no room for it."""
        with self._lock:
            cost = LARGEST_RECORD + _bytes_of(task.pixels)
            cost += 0 if task.held.users else len(task.held.source.content)
            self._large = max(cost, _FADING * self._large)
            if self.held + cost > self._most:
                return False
            self.held += cost
            task.held.users += 1
            return True

    def digested(self, task: PageTask) -> None:
        """Let go of a page's pixels, which takes a while: not while others wait for the lock."""
        with self._lock:
            pixels, task.pixels = task.pixels, None
            self.held -= _bytes_of(pixels)

    def release(self, task: PageTask) -> None:
        """Let go of a page."""
        self.digested(task)
        with self._lock:
            task.held.users -= 1
            self.held -= LARGEST_RECORD + (0 if task.held.users else len(task.held.source.content))


class Backlog:
    """Pages to be digested, and what is to be written: a report, whose client waits, and a page in turn; then windows.

    So that a flood of reports takes no page. While something is answered, pages wait, for a while and where there is
    room. For several threads.
    """

    def __init__(self, budget: Budget, *, most_reports: int, most_windows: int) -> None:
        self._budget = budget
        self._changed = Condition()
        self._answering = 0
        self._calm_since = 0.0
        self._most_reports = most_reports
        self._windows: deque[Window] = deque(maxlen=most_windows)
        self._undigested: deque[PageTask] = deque()
        self._unwritten: set[str] = set()
        self._pages: deque[PageTask] = deque()
        self._reports: deque[ReportTask] = deque()
        self._at_work = 0
        self._report_was_last = False
        self.closing = False

    def add_page(self, task: PageTask) -> None:
        """Add a page, whose pixels are digested first where they are held."""
        with self._changed:
            (self._pages if isinstance(task.pixels, InSource) else self._undigested).append(task)
            self._unwritten.add(task.prediction)
            self._changed.notify_all()

    def add_report(self, task: ReportTask) -> bool:
        """Add a report; False when too many wait."""
        with self._changed:
            if len(self._reports) >= self._most_reports:
                return False
            self._reports.append(task)
            self._changed.notify_all()
            return True

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Say that something is answered for the block."""
        with self._changed:
            self._answering += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering -= 1
                self._calm_since = monotonic()
                if self._waiting() or self._at_work:
                    self._changed.notify_all()

    def to_digest(self) -> PageTask:
        """Wait for a page to digest, and return it."""
        with self._changed:
            while not (self._undigested and self._is_due(self._undigested[0])):
                self._changed.wait(self._until_calm() if self._undigested else None)
            self._at_work += 1
            return self._taken(self._undigested)

    def give_way(self, task: PageTask) -> None:
        """Wait, in the middle of a page, as it waited for its turn; not while a report waits, whose client does."""
        with self._changed:
            while not (self._is_due(task) or self._reports):
                self._changed.wait(self._until_calm())

    def _is_due(self, task: PageTask) -> bool:
        """Tell whether a page is to wait no longer."""
        is_pressed = self._budget.is_crowded or self.closing or monotonic() - task.since >= _LULL_SECONDS
        return self._until_calm() <= 0 or is_pressed or any(map(self._awaits, self._reports))

    def _until_calm(self) -> float:
        """Return in how many seconds pages may be dealt with, if nothing comes; after a second, ask again."""
        return self._calm_since + _CALM_SECONDS - monotonic() if self._answering == 0 else 1

    def _awaits(self, report: ReportTask) -> bool:
        """Tell whether a report is of a page that waits: written before it, that would be kept a second time."""
        return report.seen in self._unwritten

    def _taken(self, pages: deque[PageTask]) -> PageTask:
        """Take a page out: the one that a report waits for, whose client waits too, else the first."""
        awaited = {report.seen for report in self._reports} & self._unwritten
        task = next((page for page in pages if page.prediction in awaited), pages[0]) if awaited else pages[0]
        pages.remove(task)
        return task

    def digested(self, task: PageTask) -> None:
        """Have a page written, which is digested."""
        with self._changed:
            self._at_work -= 1
            self._pages.append(task)
            self._changed.notify_all()

    def add_window(self, window: Window) -> Window | None:
        """Have a window written once its pages are dealt with; of too many, return the oldest, which is lost."""
        with self._changed:
            lost = self._windows[0] if len(self._windows) == self._windows.maxlen else None
            self._windows.append(window)
            self._changed.notify_all()
            return lost

    def to_write(self, seconds: float) -> Task | None:
        """Wait for something to write, and return it; None after `seconds`."""
        with self._changed:
            until = monotonic() + seconds
            while (task := self._next()) is None and (left := until - monotonic()) > 0:
                self._changed.wait(min(left, self._until_calm()) if self._pages else left)
            self._at_work += task is not None
            return task

    def _next(self) -> Task | None:
        has_page = bool(self._pages) and self._is_due(self._pages[0])
        report = next((report for report in self._reports if not self._awaits(report)), None)
        if report is not None and not (has_page and self._report_was_last):
            self._report_was_last = True
            self._reports.remove(report)
            return report
        self._report_was_last = False
        if has_page:
            page = self._taken(self._pages)
            self._unwritten.discard(page.prediction)
            return page
        if self._windows and self._windows[0].pending == 0:
            return self._windows.popleft()
        return None

    def put_back(self, task: Task) -> bool:
        """Have a task tried again, as the next of its kind; False of a window that is one too many."""
        with self._changed:
            self._at_work -= 1
            self._changed.notify_all()
            if isinstance(task, PageTask):
                self._pages.appendleft(task)
                self._unwritten.add(task.prediction)
            elif isinstance(task, ReportTask):
                self._reports.appendleft(task)
            elif len(self._windows) == self._windows.maxlen:
                return False
            else:
                self._windows.appendleft(task)
            return True

    def finished(self) -> None:
        """Note that a task came to its end, well or not."""
        with self._changed:
            self._at_work -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Say that nothing will come any more, and that nobody waits between two tries."""
        with self._changed:
            self.closing = True
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait, unless it is being closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closing, seconds)

    def wait_empty(self, seconds: float) -> bool:
        """Wait until nothing is left; False after `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting() or self._at_work), seconds)

    def _waiting(self) -> bool:
        return bool(self._undigested or self._pages or self._reports or self._windows)


def _bytes_of(pixels: Page | InSource | None) -> int:
    """Return how many bytes are held."""
    return 0 if pixels is None or isinstance(pixels, InSource) else pixels.nbytes
