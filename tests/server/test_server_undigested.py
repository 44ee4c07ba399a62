"""Pages whose pixels cannot be read once more: lost and counted, while nobody else waits."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from finetune_server.capture.apart import NoProcessError, ProcessEndedError, StoreError
from finetune_server.capture.backlog import Kept, ReportTask
from finetune_server.capture.capture import Capture
from finetune_server.capture.records import AnsweredPage, new_prediction
from finetune_server.pages.formats import Kind
from finetune_server.reading import InSource
from server.support import wait_until
from server.test_server_writer import CONTEXT, KEPT, SOURCE, Files, answer, answered_page, capturing, outcomes, report

PLACE_LABELS = {"namespace": "ml", "deployment": "invoice-detector"}
PROMPT = 0.9
"""Seconds: less than the first pause of a store that is away."""


class Decodes(Files):
    """A store in memory, whose process fails to decode as it is told, and then does."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)

    def pixels_digest(self, content: bytes, kind: Kind) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "d" * 64


def image() -> AnsweredPage:
    return replace(answered_page(), pixels=InSource(12))


def reported(capture: Capture, page: AnsweredPage) -> Kept:
    task = capture.report({"id": "1"}, seen=page.prediction, source=SOURCE, page=page, context=CONTEXT)
    assert isinstance(task, ReportTask)
    return task.done.result(10)


@pytest.mark.parametrize(
    "failures",
    [
        [StoreError("RequestError: 422 ImageUnreadable")],
        [StoreError("the process that writes there failed (TimeoutError: timed out)")],
        [ProcessEndedError("killed"), ProcessEndedError("killed again")],
    ],
)
def test_a_page_that_cannot_be_read_once_more_holds_nobody_up(failures: list[Exception]) -> None:
    files, registry = Decodes(*failures), CollectorRegistry()
    capture = capturing(files, registry=registry)
    capture.answered(SOURCE, [image()], CONTEXT)
    wait_until(lambda: not files.failures)
    started = time.monotonic()
    assert report(capture, new_prediction()) == KEPT
    answer(capture)
    wait_until(lambda: outcomes(registry).get(("Random", "Stored")) == 1)
    assert time.monotonic() - started < PROMPT
    assert outcomes(registry)["Random", "Storage"] == 1
    assert capture.close(10)


def test_a_page_under_which_its_process_was_killed_is_kept_by_the_next_one() -> None:
    files, registry = Decodes(ProcessEndedError("killed")), CollectorRegistry()
    capture = capturing(files, registry=registry)
    capture.answered(SOURCE, [image()], CONTEXT)
    wait_until(lambda: outcomes(registry) == {("Random", "Stored"): 1})
    assert capture.close(10)


def test_a_page_waits_for_a_process_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_server.capture.writer._FIRST_PAUSE", 0.01)
    files, registry = Decodes(*[NoProcessError("too many processes")] * 4), CollectorRegistry()
    capture = capturing(files, registry=registry)
    capture.answered(SOURCE, [image()], CONTEXT)
    wait_until(lambda: outcomes(registry) == {("Random", "Stored"): 1})
    assert capture.close(10)


def test_a_report_is_kept_though_its_page_cannot_be_read_once_more() -> None:
    files, registry = Decodes(StoreError("RequestError: 422 ImageUnreadable")), CollectorRegistry()
    capture = capturing(files, registry=registry)
    started = time.monotonic()
    assert reported(capture, image()) == Kept(report=True, page=False)
    assert time.monotonic() - started < PROMPT
    assert (len(files.of("reports")), files.of("pages")) == (1, [])
    assert outcomes(registry) == {("Reported", "Storage"): 1}
    assert capture.close(10)
    assert registry.get_sample_value("finetune_capture_queue_bytes", PLACE_LABELS) == 0


def test_a_report_is_kept_without_a_page_that_has_more_pixels_than_may_wait() -> None:
    files, registry = Files(), CollectorRegistry()
    capture = capturing(files, queue_bytes=2**20, registry=registry)
    assert capture.worth_holding(InSource(2**20)) is not None
    assert capture.worth_holding(InSource(2**20 + 1)) is None
    assert capture.worth_holding(InSource(2**19), before=2**19 + 1) is None
    assert reported(capture, replace(image(), pixels=None)) == Kept(report=True, page=False)
    assert outcomes(registry) == {("Reported", "Queue"): 1}
    assert capture.close(10)
