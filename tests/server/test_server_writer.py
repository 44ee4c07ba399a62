"""What the writer makes of stores that lie, of floods of reports, and of windows that begin in one minute."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from finetune_server.capture import writer
from finetune_server.capture.backlog import Kept
from finetune_server.capture.capture import Capture, Context
from finetune_server.capture.metrics import CaptureMetrics
from finetune_server.capture.records import AnsweredPage, Place, Source, new_prediction
from finetune_server.capture.sampling import Stratum
from finetune_server.config import CaptureConfig
from finetune_server.pages.formats import Kind
from finetune_server.pages.images import decode_image
from finetune_server.pages.pixels import pixels_digest
from finetune_server.reading import Field, InSource, Reading
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

    def pixels_digest(self, content: bytes, kind: Kind) -> str:
        return pixels_digest(decode_image(content, kind, max_pixels=0))

    def of(self, folder: str) -> list[str]:
        return [path for path in list(self) if f"/{folder}/" in path]


def capturing(
    files: Files,
    now: Callable[[], datetime] = lambda: NOON,
    *,
    random: float = 1.0,
    per_hour: int = 1000,
    queue_bytes: int = 2**24,
    registry: CollectorRegistry | None = None,
) -> Capture:
    """Capture of every page into `files`, at work."""
    config = CaptureConfig("file:///kept", "pod", random, True, 0.1, per_hour, 1000, queue_bytes)
    metrics = CaptureMetrics(registry or CollectorRegistry(), namespace="ml", deployment="invoice-detector")
    capture = Capture(config, PLACE, metrics, opened=lambda _: files, now=now)
    capture.start()
    return capture


def answered_page(prediction: str | None = None, number: int = 1, fields: tuple[Field, ...] = ()) -> AnsweredPage:
    """A page with these fields."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    return AnsweredPage(prediction or new_prediction(), number, Reading(2, 2, fields, None), pixels)


def answer(capture: Capture, context: Context = CONTEXT) -> str:
    """Answer a page without a field; its prediction."""
    page = answered_page()
    capture.answered(SOURCE, [page], context)
    return page.prediction


def found(*confidences: float) -> tuple[Field, ...]:
    """Boxes of one field, the best first, as answers have them."""
    return tuple(Field("total", confidence, (0, 0, 1, 1)) for confidence in confidences)


def report(capture: Capture, prediction: str) -> Kept:
    """Report a page, which comes along; what was kept."""
    said = {"id": new_prediction()}
    task = capture.report(said, seen=prediction, source=SOURCE, page=answered_page(prediction), context=CONTEXT)
    return task if isinstance(task, Kept) else task.done.result(10)


def windows(files: Files, stratum: Stratum) -> dict[str, int]:
    """The counts of a stratum in all windows."""
    counts: Counter[str] = Counter()
    for path in files.of("windows"):
        counts.update(json.loads(files[path])["strata"][stratum.value])
    return dict(counts)


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


def test_digesting_gives_way_and_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_server.pages.pixels._SLICE_BYTES", 4)
    page = np.arange(30, dtype=np.uint8).reshape((2, 5, 3))
    pauses: list[None] = []
    digest = pixels_digest(page, lambda: pauses.append(None))
    assert len(pauses) == 8
    assert digest == hashlib.sha256(b"5x2:" + page.tobytes()).hexdigest()


def test_a_page_that_cannot_be_digested_is_lost_and_counted_and_the_next_one_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files, registry = Files(), CollectorRegistry()
    capture = capturing(files, registry=registry)

    def fails(*_: object) -> str:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(writer, "PATIENCE_SECONDS", 0)
        patched.setattr(writer, "pixels_digest", fails)
        answer(capture)
        lost = {"namespace": "ml", "deployment": "invoice-detector", "stratum": "Random", "outcome": "Storage"}
        wait_until(lambda: registry.get_sample_value("finetune_capture_pages_total", lost) == 1)
    kept = answer(capture)
    assert capture.close(10)
    assert [kept in path for path in files.of("pages")] == [True]


def test_an_image_that_cannot_be_decoded_once_more_is_lost_and_counted_and_the_next_one_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "PATIENCE_SECONDS", 0)
    files, registry = Files(), CollectorRegistry()
    capture = capturing(files, registry=registry)
    damaged = replace(answered_page(), pixels=InSource(12))
    capture.answered(SOURCE, [damaged], CONTEXT)
    wait_until(lambda: outcomes(registry) == {("Random", "Storage"): 1})
    kept = answer(capture)
    assert capture.close(10)
    assert [kept in path for path in files.of("pages")] == [True]


KEPT = Kept(report=True, page=True)
REPORT_ALONE = Kept(report=True, page=False)
NOTHING = {"selected": 0, "stored": 0, "queue": 0, "cap": 0, "storage": 0}


def test_a_report_whose_page_was_kept_before_takes_nothing_of_a_cap() -> None:
    files = Files()
    capture = capturing(files, random=0, per_hour=1)
    capture_all = capturing(files)  # another pod of the Deployment, which kept the page
    kept = answer(capture_all)
    assert capture_all.close(10)
    files_before = len(files.of("pages"))
    assert [report(capture, kept) for _ in range(3)] == [KEPT] * 3
    assert len(files.of("pages")) == files_before == 1
    assert capture.close(10)
    assert windows(files, Stratum.REPORTED) == NOTHING


@pytest.mark.parametrize(
    ("outcome", "per_hour", "queue_bytes", "stored"), [("cap", 2, 2**24, 1), ("queue", 1000, 1, 0)]
)
def test_a_page_that_was_kept_before_is_no_loss_whatever_is_used_up(
    outcome: str, per_hour: int, queue_bytes: int, stored: int
) -> None:
    files = Files()
    capture_all = capturing(files)
    kept = answer(capture_all)
    assert capture_all.close(10)
    capture = capturing(files, random=0, per_hour=per_hour, queue_bytes=queue_bytes)
    report(capture, new_prediction())
    assert report(capture, new_prediction()) == REPORT_ALONE, "nothing is left for another page"
    assert report(capture, kept) == KEPT
    assert capture.close(10)
    expected = {**NOTHING, "selected": 2, "stored": stored, outcome: 2 - stored}
    assert windows(files, Stratum.REPORTED) == expected


def test_a_report_that_is_lost_does_not_lose_the_page_that_was_kept_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "REPORT_SECONDS", 0.0)

    class NoReports(Files):
        def write(self, path: str, content: bytes) -> None:
            if "/reports/" in path:
                raise OSError("full")
            super().write(path, content)

    files = NoReports()
    capture = capturing(files)
    kept = answer(capture)
    wait_until(lambda: any(kept in path for path in files.of("pages")))
    assert report(capture, kept) == Kept(report=False, page=True, reason="StorageUnavailable")
    assert report(capture, new_prediction()) == Kept(report=False, page=False, reason="StorageUnavailable")
    assert capture.close(10)
    assert windows(files, Stratum.REPORTED) == {**NOTHING, "selected": 1, "storage": 1}


LACKING = replace(CONTEXT, expected=("total",))


def written(files: Files) -> list[dict[str, Any]]:
    """All windows, by when they began."""
    return sorted((json.loads(files[path]) for path in files.of("windows")), key=lambda window: str(window["from"]))


def outcomes(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Pages by stratum and outcome, as the series of capture say; those at 0 left out."""
    samples = [sample for family in registry.collect() for sample in family.samples]
    pages = [sample for sample in samples if sample.name == "finetune_capture_pages_total" and sample.value]
    return {(page.labels["stratum"], page.labels["outcome"]): page.value for page in pages}


def test_a_window_counts_what_was_answered_and_not_what_was_kept() -> None:
    files = Files()
    capture = capturing(files, random=0)
    for _ in range(3):
        answer(capture)
    answer(capture, LACKING)
    assert capture.close(10)
    [window] = written(files)
    assert window["answered"] == {"pages": 4, "documents": 4}
    assert window["strata"]["Uncertain"] == {**NOTHING, "selected": 1, "stored": 1}


def test_a_named_document_counts_once_and_misses_a_field_on_its_first_page_alone() -> None:
    files = Files()
    capture = capturing(files, random=0)
    named = replace(LACKING, document="d")
    capture.answered(SOURCE, [answered_page(number=1), answered_page(number=2)], named)
    capture.answered(SOURCE, [answered_page(number=3)], named)
    capture.answered(SOURCE, [answered_page(fields=found(0.9)), answered_page()], replace(named, document="e"))
    assert capture.close(10)
    [window] = written(files)
    assert window["answered"] == {"pages": 5, "documents": 2}
    assert window["strata"]["Uncertain"]["selected"] == 1
    [record] = [json.loads(files[path]) for path in files.of("pages")]
    assert (record["document"], record["page"]["number"], record["missing"]) == ("d", 1, ["total"])


def test_a_fields_best_box_says_whether_a_page_is_uncertain() -> None:
    files = Files()
    capture = capturing(files, random=0)
    for confidences in ((0.9, 0.55), (0.55, 0.51)):
        capture.answered(SOURCE, [answered_page(fields=found(*confidences))], CONTEXT)
    assert capture.close(10)
    assert windows(files, Stratum.UNCERTAIN)["selected"] == 1


def test_a_page_at_the_full_ten_minutes_is_of_the_next_window() -> None:
    files, now = Files(), [NOON]
    capture = capturing(files, now=lambda: now[0])
    answer(capture)
    now[0] = NOON.replace(minute=9, second=59)
    answer(capture)
    now[0] = NOON.replace(minute=10, second=0)
    answer(capture)
    assert capture.close(10)
    assert [window["answered"]["pages"] for window in written(files)] == [2, 1]


def test_a_window_says_the_probability_that_was_in_force_first_to_last() -> None:
    files, now = Files(), [NOON]
    capture = capturing(files, now=lambda: now[0], per_hour=4)
    for _ in range(3):  # two may be drawn
        answer(capture)
    now[0] = NOON.replace(minute=13)
    report(capture, new_prediction())  # in a window without an answer
    assert capture.close(10)
    said = [window["probability"] for window in written(files)]
    assert said == [{"configured": "1", "lowest": "0", "last": "0"}] * 2
    kept = [json.loads(files[path]) for path in files.of("pages")]
    drawn = {(record["stratum"], record["probability"]) for record in kept}
    assert drawn == {("Random", "1"), ("Reported", "0")}


@pytest.mark.parametrize(("outcome", "per_hour", "queue_bytes"), [("Cap", 1, 2**24), ("Queue", 1000, 1)])
def test_an_uncertain_page_that_is_lost_counts_as_what_it_is_lost_to(
    outcome: str, per_hour: int, queue_bytes: int
) -> None:
    files, registry = Files(), CollectorRegistry()
    capture = capturing(files, random=0, per_hour=per_hour, queue_bytes=queue_bytes, registry=registry)
    for _ in range(3):
        answer(capture, LACKING)
    assert capture.close(10)
    assert windows(files, Stratum.UNCERTAIN) == {**NOTHING, "selected": 3, outcome.lower(): 3}
    assert windows(files, Stratum.RANDOM) == NOTHING
    assert outcomes(registry) == {("Uncertain", outcome): 3}


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_page_counts_once_however_often_its_writing_is_tried(
    comes_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(writer, "PATIENCE_SECONDS", 60 if comes_back else 0.05)
    tries = []

    class Away(Files):
        def write(self, path: str, content: bytes) -> None:
            if "/pages/" in path:
                tries.append(path)
                if not comes_back or len(tries) < 3:
                    raise OSError("away")
            super().write(path, content)

    files, registry = Away(), CollectorRegistry()
    capture = capturing(files, registry=registry)
    answer(capture)
    wait_until(lambda: bool(outcomes(registry)))
    assert capture.close(10)
    assert len(tries) > 1
    outcome = "Stored" if comes_back else "Storage"
    assert outcomes(registry) == {("Random", outcome): 1}
    assert windows(files, Stratum.RANDOM) == {**NOTHING, "selected": 1, outcome.lower(): 1}
