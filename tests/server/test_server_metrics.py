"""The monitoring contract: names, labels, presence at 0, and what a count means."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from finetune_server.metrics import SECONDS_BUCKETS
from finetune_server.remembered import Remembered
from server.support import CLASSES, ServerProcess, StartServer, encode, install_model, page_with, tiny_model

LABELS = 'deployment="invoice-detector",model="invoice-fields",namespace="ml",version="ft_v1.1"'
SIMPLE = ("finetune_documents_total", "finetune_feedback_total")
BY_FIELD = ("finetune_field_expected_total", "finetune_field_detected_total", "finetune_detection_confidence_count")
STAGES = ("queue", "decode", "preprocess", "inference", "postprocess", "total")


def sample(name: str, **extra: str) -> str:
    labels = sorted([*LABELS.split(","), *(f'{k}="{v}"' for k, v in extra.items())])
    return f"{name}{{{','.join(labels)}}}"


def read(server: ServerProcess) -> dict[str, float]:
    """Samples with their labels in alphabetical order, so that a test need not know the server's order."""
    samples = {}
    for key, value in server.metrics().items():
        name, _, labels = key.rstrip("}").partition("{")
        samples[f"{name}{{{','.join(sorted(labels.split(',')))}}}" if labels else name] = value
    return samples


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that nobody but the test at hand asks; blue is not expected of a page."""
    folder = tmp_path_factory.mktemp("metered")
    directory = install_model(folder / "model", tiny_model())
    server = ServerProcess(directory, folder / "log", {"FINETUNE_EXPECTED_FIELDS": "red, green"})
    server.wait_ready()
    yield server
    server.kill()


def increase(server: ServerProcess, before: dict[str, float]) -> dict[str, float]:
    """By how much each sample grew."""
    return {name: value - before[name] for name, value in read(server).items() if name in before}


def test_every_series_exists_at_zero_from_the_start(model_dir: Path, start_server: StartServer) -> None:
    fresh = start_server(model_dir)
    fresh.wait_ready()
    samples = read(fresh)
    expected = [sample(name) for name in SIMPLE]
    expected += [sample(name, field=field) for name in BY_FIELD for field in CLASSES]
    expected += [sample("finetune_inference_duration_seconds_count", stage=stage) for stage in STAGES]
    assert {name: samples.get(name) for name in expected} == dict.fromkeys(expected, 0)
    digest = fresh.get("/version").json["sha256"]
    assert samples[sample("finetune_model_info", digest=digest)] == 1


def test_no_series_carries_a_label_beyond_the_contract(metered: ServerProcess) -> None:
    metered.predict(encode(page_with("red", at=(0, 0))))
    names = {
        pair.split("=")[0]
        for key in read(metered)
        if key.startswith("finetune_") and not key.startswith(("finetune_requests", "finetune_capture"))
        for pair in key.rstrip("}").partition("{")[2].split(",")
    }
    assert names == {"namespace", "deployment", "model", "version", "field", "stage", "digest", "le"}
    assert not [key for key in read(metered) if "_created" in key]


def test_expected_and_detected_are_counted_once_a_page(metered: ServerProcess) -> None:
    before = read(metered)
    page = page_with("red", at=(0, 0)) | page_with("red", at=(64, 64)) | page_with("blue", at=(96, 0))
    for body in (encode(page), encode(page_with("red", at=(32, 0)) * 0)):
        assert metered.predict(body).status == 200
    samples = increase(metered, before)
    assert samples[sample("finetune_documents_total")] == 2
    expected = {field: samples[sample("finetune_field_expected_total", field=field)] for field in CLASSES}
    detected = {field: samples[sample("finetune_field_detected_total", field=field)] for field in CLASSES}
    assert expected == {"red": 2, "green": 2, "blue": 0}  # blue is not expected by configuration
    assert detected == {"red": 1, "green": 0, "blue": 1}  # two red boxes are one detection
    for stage in STAGES:
        assert samples[sample("finetune_inference_duration_seconds_count", stage=stage)] == 2


def test_confidence_is_that_of_the_best_box(metered: ServerProcess) -> None:
    before = read(metered)
    page = page_with("red", at=(0, 0))
    page[64:80, 64:80, 2] = 178  # 0.7
    assert len(metered.predict(encode(page)).json["fields"]) == 2
    samples = increase(metered, before)
    assert samples[sample("finetune_detection_confidence_count", field="red")] == 1
    assert samples[sample("finetune_detection_confidence_sum", field="red")] == pytest.approx(1)


def test_the_total_stage_covers_the_parts(metered: ServerProcess) -> None:
    before = read(metered)
    metered.predict(encode(page_with("red", at=(0, 0), width=2000, height=2000)))
    samples = increase(metered, before)
    seconds = {stage: samples[sample("finetune_inference_duration_seconds_sum", stage=stage)] for stage in STAGES}
    assert seconds["total"] >= sum(value for stage, value in seconds.items() if stage != "total")
    assert all(value > 0 for value in seconds.values())


@pytest.mark.parametrize("body", [b'{"document": "doc-17"}', b'{"document": "doc-18", "fields": ["red"]}'])
def test_feedback_is_counted(metered: ServerProcess, body: bytes) -> None:
    before = read(metered)
    assert metered.request("POST", "/feedback", body, "application/json").status == 202
    assert increase(metered, before)[sample("finetune_feedback_total")] == 1


def test_pages_of_a_document_are_expected_and_detected_once(metered: ServerProcess) -> None:
    before = read(metered)
    for colour in ("red", "red", "blue"):
        assert metered.predict(encode(page_with(colour, at=(0, 0))), query="?document=of-three-pages").status == 200
    samples = increase(metered, before)
    assert samples[sample("finetune_documents_total")] == 3
    assert samples[sample("finetune_field_expected_total", field="red")] == 1
    assert samples[sample("finetune_field_expected_total", field="green")] == 1
    assert samples[sample("finetune_field_detected_total", field="red")] == 1
    assert samples[sample("finetune_field_detected_total", field="blue")] == 1
    assert samples[sample("finetune_detection_confidence_count", field="red")] == 2


def test_a_document_is_forgotten_when_there_are_too_many_or_it_is_too_old() -> None:
    now = 0.0
    memory: Remembered[str, int] = Remembered(most=3, seconds=10, clock=lambda: now)
    for number in range(5):
        memory.put(f"document-{number}", number)
    assert [memory.get(f"document-{number}") for number in range(5)] == [None, None, 2, 3, 4]
    now = 11.0
    assert memory.get("document-4") is None
    memory.put("document-5", 5)
    assert len(memory) == 1


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "BodyNotJson"),
        (b"{", 400, "BodyNotJson"),
        (b"[" * 10_000, 400, "BodyNotJson"),
        (b"[]", 422, "FeedbackInvalid"),
        (b'{"fields": ["red"]}', 422, "FeedbackInvalid"),
        (b'{"document": ""}', 422, "FeedbackInvalid"),
        (b'{"document": 17}', 422, "FeedbackInvalid"),
        (b'{"document": "d", "fields": "red"}', 422, "FeedbackInvalid"),
        (b'{"document": "d", "fields": ["colour"]}', 422, "FeedbackInvalid"),
        (b'{"document": "d", "fields": [["red"]]}', 422, "FeedbackInvalid"),
        (b'{"document": "d", "label": "x"}', 422, "FeedbackInvalid"),
        (b'{"document": "' + b"d" * 300 + b'"}', 422, "FeedbackInvalid"),
        (b" " * 20_000, 413, "BodyTooLarge"),
    ],
)
def test_feedback_that_cannot_be_used_is_not_counted(
    server: ServerProcess, body: bytes, status: int, reason: str
) -> None:
    before = read(server)[sample("finetune_feedback_total")]
    answer = server.request("POST", "/feedback", body, "application/json")
    assert (answer.status, answer.reason) == (status, reason)
    assert read(server)[sample("finetune_feedback_total")] == before


def test_a_document_id_cannot_forge_a_log_line(metered: ServerProcess) -> None:
    forged = b'{"document": "a\\n{\\"level\\": \\"critical\\"}"}'
    assert metered.request("POST", "/feedback", forged, "application/json").status == 202
    lines = metered.log.read_text().splitlines()
    assert not [line for line in lines if line.startswith('{"level"')]


def test_no_two_bounds_of_a_duration_are_so_far_apart_that_the_same_time_could_look_doubled() -> None:
    assert (SECONDS_BUCKETS[0], SECONDS_BUCKETS[-1]) == (0.001, 10.0)
    assert all(1.3 < after / before < 1.55 for before, after in pairwise(SECONDS_BUCKETS))
