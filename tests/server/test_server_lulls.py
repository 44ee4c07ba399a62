"""Pages that are kept wait for moments in which nothing is answered; what they wait for no longer; who comes first."""

from __future__ import annotations

from contextlib import ExitStack
from time import sleep

import pytest

from finetune_server.capture.backlog import LARGEST_RECORD
from finetune_server.capture.capture import Capture
from finetune_server.capture.records import new_prediction
from server.support import wait_until
from server.test_server_writer import KEPT, Files, answer, capturing, report


@pytest.fixture(autouse=True)
def _for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page waits for a lull longer than any test takes."""
    monkeypatch.setattr("finetune_server.capture.backlog._LULL_SECONDS", 600)


def test_while_something_is_answered_pages_wait_and_reports_do_not() -> None:
    files = Files()
    capture = capturing(files)
    with capture.answering():
        answer(capture)
        assert report(capture, new_prediction()).report
        assert not files.of("pages/random")
    wait_until(lambda: len(files.of("pages/random")) == 1)
    assert capture.close(10)


def test_a_report_comes_after_its_page_that_waits_which_stays_in_its_stratum() -> None:
    files = Files()
    capture = capturing(files)
    with capture.answering():
        answer(capture)
        reported = answer(capture)
        assert report(capture, reported) == KEPT
        assert reported in files.of("pages/random")[0]
    assert capture.close(10)
    assert (len(files.of("pages/random")), len(files.of("pages/reported"))) == (2, 0)


@pytest.mark.parametrize(
    ("pressed", "pages_that_fit"),
    [("two more would not fit", 2.9), ("it has waited for long", 10), ("the server drains", 10)],
)
def test_a_page_waits_for_no_lull_when(pressed: str, pages_that_fit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files()
    # A page of few bytes counts for 64 KiB, most of which its record may have.
    capture = capturing(files, queue_bytes=int(LARGEST_RECORD * pages_that_fit))
    with capture.answering():
        answer(capture)
        if pressed.startswith("it has"):
            monkeypatch.setattr("finetune_server.capture.backlog._LULL_SECONDS", 0)
        if pressed.endswith("drains"):
            assert capture.close(10)
        wait_until(lambda: len(files.of("pages")) == 1)
    assert capture.close(10)


def test_no_page_waits_for_a_lull_once_half_of_the_queue_is_taken() -> None:
    files = Files()
    capture = capturing(files, queue_bytes=LARGEST_RECORD * 10)
    with capture.answering():
        for _ in range(5):
            answer(capture)
        wait_until(lambda: len(files.of("pages")) >= 1)
        assert len(files.of("pages")) < 5, "the others wait"
    assert capture.close(10)


class AnswersMeanwhile(Files):
    """A store that has taken a file when something comes to be answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = ExitStack()
        self.capture: Capture | None = None

    def write(self, path: str, content: bytes) -> None:
        super().write(path, content)
        if "/files/" in path and self.capture is not None:
            self.answered.enter_context(self.capture.answering())


def test_a_page_gives_way_between_its_file_and_its_record_to_an_answer_and_that_to_a_report() -> None:
    files = AnswersMeanwhile()
    capture = files.capture = capturing(files)
    answer(capture)
    wait_until(lambda: len(files.of("files")) == 1)
    sleep(0.1)
    assert not files.of("pages")
    assert report(capture, new_prediction()) == KEPT
    assert files.of("pages/random"), "for which the report would have waited"
    files.answered.close()
    assert capture.close(10)


def test_a_page_that_an_answer_came_into_is_written_after_it() -> None:
    files = AnswersMeanwhile()
    capture = files.capture = capturing(files)
    answer(capture)
    wait_until(lambda: len(files.of("files")) == 1)
    files.answered.close()
    wait_until(lambda: len(files.of("pages")) == 1)
    assert capture.close(10)
