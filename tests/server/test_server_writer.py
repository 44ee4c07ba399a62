"""What the writer makes of stores that lie, of floods of reports, and of windows that begin in one minute."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from finetune_server.capture import writer
from finetune_server.capture.backlog import Backlog, HeldSource, PageTask, ReportTask
from finetune_server.capture.capture import Capture, Context
from finetune_server.capture.metrics import CaptureMetrics
from finetune_server.capture.records import AnsweredPage, Place, Source, new_prediction
from finetune_server.capture.sampling import Stratum
from finetune_server.capture.windows import window_from
from finetune_server.config import CaptureConfig
from finetune_server.pages.formats import Kind
from finetune_server.reading import Reading
from server.support import wait_until

NOON = datetime(2026, 11, 26, 12, 3, 20, tzinfo=UTC)
SOURCE = Source(b"page", "a" * 64, Kind.PNG, None)
CONTEXT = Context({"name": "m", "version": "v", "sha256": "b" * 64}, 0.5, (), None)
PLACE = Place("ml", "invoice-detector", "pod")


class Files(dict[str, bytes]):
    """A store in memory."""

    loses = False

    def write(self, path: str, content: bytes) -> None:
        if not self.loses:
            self[path] = content

    def read(self, path: str) -> bytes | None:
        return self.get(path)

    def exists(self, path: str) -> bool:
        return path in self

    def of(self, folder: str) -> list[str]:
        return [path for path in list(self) if f"/{folder}/" in path]


def capturing(files: Files, now: Callable[[], datetime] = lambda: NOON) -> Capture:
    """Capture of every page into `files`, at work."""
    config = CaptureConfig("file:///kept", "pod", 1.0, True, 0.1, 1000, 1000, 2**24)
    metrics = CaptureMetrics(CollectorRegistry(), namespace="ml", deployment="invoice-detector")
    capture = Capture(config, PLACE, metrics, opened=lambda _: files, now=now)
    capture.start()
    return capture


def answer(capture: Capture) -> str:
    """Answer a page; its prediction."""
    page = AnsweredPage(new_prediction(), 1, Reading(2, 2, (), None), np.zeros((2, 2, 3), np.uint8))
    capture.answered(SOURCE, [page], CONTEXT)
    return page.prediction


def test_windows_that_begin_in_one_minute_have_files_of_their_own() -> None:
    files = Files()
    for _ in range(2):  # a container that starts anew in its pod, before the minute is over
        capture = capturing(files)
        answer(capture)
        assert capture.close(10)
    windows = [json.loads(files[path]) for path in files.of("windows")]
    assert [window["answered"]["pages"] for window in windows] == [1, 1]


def test_what_a_clock_that_is_set_back_says_twice_is_counted_twice() -> None:
    files, now = Files(), [NOON, NOON.replace(hour=11, minute=59), NOON]
    capture = capturing(files, now=lambda: now[0])
    for _ in range(3):
        answer(capture)
        now.append(now.pop(0))
    assert capture.close(10)
    assert sum(json.loads(files[path])["answered"]["pages"] for path in files.of("windows")) == 3


def test_a_store_that_loses_what_it_took_is_not_taken_for_another_deployments(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_FIRST_PAUSE", 0.01)
    files = Files()
    files.loses = True
    capture = capturing(files)
    prediction = answer(capture)
    wait_until(lambda: "capture.json was written, and is not there" in caplog.text)
    files.loses = False
    wait_until(lambda: any(prediction in path for path in files.of("pages")))
    assert "PrefixShared" not in caplog.text
    assert capture.close(10)


def test_a_file_that_a_person_erased_is_there_again_when_its_bytes_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "_WRITTEN_SECONDS", 0)  # what was remembered of it is over
    files = Files()
    capture = capturing(files)
    answer(capture)
    wait_until(lambda: len(files.of("pages")) == 1)
    for path in files.of("files"):
        del files[path]
    answer(capture)
    wait_until(lambda: len(files.of("pages")) == 2)
    assert len(files.of("files")) == 1
    assert capture.close(10)


def test_a_flood_of_reports_leaves_every_second_turn_to_pages() -> None:
    backlog = Backlog(most_reports=10, most_windows=10)
    for number in range(4):
        assert backlog.add_report(ReportTask("2026-11-26", {"id": str(number)}, None, None))
    for number in range(2):
        task = PageTask(HeldSource(SOURCE), {}, Stratum.RANDOM, window_from(NOON, 1, 1), None, str(number))
        backlog.add_page(task)
        backlog.digested(backlog.to_digest())
    turns = [type(backlog.to_write(0)) for _ in range(6)]
    assert turns == [ReportTask, PageTask, ReportTask, PageTask, ReportTask, ReportTask]
