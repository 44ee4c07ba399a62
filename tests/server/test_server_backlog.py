"""What waits to be written: whose turn it is, and when pages wait no longer."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from finetune_server.capture.backlog import LARGEST_RECORD, Backlog, Budget, HeldSource, PageTask, ReportTask
from finetune_server.capture.records import Source
from finetune_server.capture.sampling import Stratum
from finetune_server.capture.windows import Outcome, window_from
from finetune_server.pages.formats import Kind
from finetune_server.reading import InSource

NOON = datetime(2026, 11, 26, 12, 3, 20, tzinfo=UTC)
SOURCE = Source(b"page", "a" * 64, Kind.PNG, None)


def test_a_flood_of_reports_leaves_every_second_turn_to_pages() -> None:
    backlog = Backlog(Budget(2**24), most_reports=10, most_windows=10)
    for number in range(4):
        assert backlog.add_report(ReportTask("2026-11-26", {"id": str(number)}, None, None))
    for number in range(2):
        task = PageTask(HeldSource(SOURCE), {}, Stratum.RANDOM, window_from(NOON, 1, 1), None, str(number))
        backlog.add_page(task)
        backlog.digested(backlog.to_digest())
    turns = [type(backlog.to_write(0)) for _ in range(6)]
    assert turns == [ReportTask, PageTask, ReportTask, PageTask, ReportTask, ReportTask]


def test_a_report_does_not_wait_for_the_pages_before_its_own() -> None:
    waiting = Backlog(Budget(2**24), most_reports=10, most_windows=10)
    for number in range(3):
        window = window_from(NOON, 1, 1)
        waiting.add_page(PageTask(HeldSource(SOURCE), {}, Stratum.RANDOM, window, None, str(number)))
    for _ in range(2):
        waiting.digested(waiting.to_digest())
    assert waiting.add_report(ReportTask("2026-11-26", {"id": "of the last page"}, None, "2"))
    with waiting.answering():
        waiting.digested(waiting.to_digest())
        turns = [waiting.to_write(0) for _ in range(2)]
    assert isinstance(turns[0], PageTask)
    assert turns[0].prediction == "2"
    assert isinstance(turns[1], ReportTask)


def test_where_a_large_page_found_no_room_small_ones_wait_no_more() -> None:
    budget, window = Budget(10 * LARGEST_RECORD), window_from(NOON, 1, 1)

    def admitted(pixels: int) -> bool:
        page = np.zeros((1, pixels // 3, 3), np.uint8)
        return budget.admit(PageTask(HeldSource(SOURCE), {}, Stratum.RANDOM, window, page, "1"))

    assert admitted(3)
    assert not budget.is_crowded
    assert not admitted(10 * LARGEST_RECORD)
    assert admitted(3)
    assert budget.is_crowded


def test_an_image_takes_room_for_what_it_came_as_and_not_for_its_pixels() -> None:
    budget, window = Budget(2 * (LARGEST_RECORD + len(SOURCE.content))), window_from(NOON, 1, 1)
    images = [PageTask(HeldSource(SOURCE), {}, Stratum.RANDOM, window, InSource(10**9), str(n)) for n in range(3)]
    assert [budget.admit(image) for image in images] == [True, True, False]
    for image in images[:2]:
        budget.release(image)
    assert budget.held == 0


def test_nothing_is_dealt_with_in_the_moment_after_an_answer_whose_last_bytes_are_sent() -> None:
    backlog = Backlog(Budget(2**24), most_reports=10, most_windows=10)
    for _ in range(3):
        with backlog.answering():
            backlog.add_page(
                PageTask(HeldSource(SOURCE), {}, Stratum.RANDOM, window_from(NOON, 1, 1), InSource(1), "1")
            )
        assert backlog.to_write(0) is None
        assert isinstance(backlog.to_write(1), PageTask)


def test_the_oldest_of_too_many_windows_is_lost_and_said() -> None:
    backlog = Backlog(Budget(2**24), most_reports=10, most_windows=2)
    windows = [window_from(NOON, 1, 1) for _ in range(4)]
    assert [backlog.add_window(window) for window in windows[:3]] == [None, None, windows[0]]
    first = backlog.to_write(0)
    assert first is windows[1]
    assert backlog.add_window(windows[3]) is None
    assert not backlog.put_back(windows[1])
    assert [backlog.to_write(0), backlog.to_write(0)] == windows[2:]


def test_a_window_waits_for_its_pages() -> None:
    backlog, window = Backlog(Budget(2**24), most_reports=10, most_windows=10), window_from(NOON, 1, 1)
    window.begun()
    backlog.add_page(PageTask(HeldSource(SOURCE), {}, Stratum.RANDOM, window, None, "1"))
    backlog.add_window(window)
    assert backlog.to_write(0) is None, "its page is not digested"
    backlog.digested(backlog.to_digest())
    assert isinstance(backlog.to_write(0), PageTask)
    assert backlog.to_write(0) is None, "its page is being written"
    window.ended(Stratum.RANDOM, Outcome.STORED)
    assert backlog.to_write(0) is window
