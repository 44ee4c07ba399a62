"""Seen from outside: requests are counted and named, and the log is JSON whoever writes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from finetune_server import logs
from finetune_server.config import DrainConfig
from finetune_server.drain import Drain
from finetune_server.server import DrainingServer
from server import hostile
from server.support import (
    ServerProcess,
    connect,
    encode,
    page_with,
    predict_head,
    receive_answer,
    running,
    wait_until,
)

PAGE = encode(page_with("red", at=(32, 48)))
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("seen")
    settings = {"FINETUNE_LOG_ALL_REQUESTS": "1", "FINETUNE_HEADER_SECONDS": "0.3"}
    with running(folder, settings) as server:
        yield server


def counted(server: ServerProcess, status: int, reason: str) -> float:
    labels = f'deployment="invoice-detector",namespace="ml",reason="{reason}",status="{status}"'
    series = {
        ",".join(sorted(name.partition("{")[2].rstrip("}").split(","))): value
        for name, value in server.metrics().items()
        if name.startswith("finetune_requests_total")
    }
    return series.get(labels, 0)


def entries(server: ServerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.read_text().splitlines()]


def wait_for_entry(server: ServerProcess, word: str, **fields: str) -> dict[str, Any]:
    """The last entry with the word in its message, and these fields."""

    def matching() -> list[dict[str, Any]]:
        return [entry for entry in entries(server) if word in entry["message"] and entry.items() >= fields.items()]

    wait_until(lambda: bool(matching()))
    return matching()[-1]


def test_requests_are_counted_by_status_and_reason(seen: ServerProcess) -> None:
    cases = [(PAGE, 200, "OK"), (b"hello", 415, "ContentUnsupported"), (PAGE[:60], 422, "ImageTruncated")]
    for body, status, reason in cases:
        before = counted(seen, status, reason)
        assert seen.predict(body).status == status
        assert counted(seen, status, reason) == before + 1
    before = counted(seen, 404, "NotFound")
    assert seen.get("/nowhere").status == 404
    assert counted(seen, 404, "NotFound") == before + 1


def test_probes_and_scrapes_are_not_counted(seen: ServerProcess) -> None:
    before = counted(seen, 200, "OK")
    for path in ("/readyz", "/livez", "/metrics"):
        assert seen.get(path).status == 200
    assert counted(seen, 200, "OK") == before


def test_a_head_that_is_refused_is_counted(seen: ServerProcess) -> None:
    before = counted(seen, 408, "RequestTooSlow")
    with connect(seen) as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\n")
        assert receive_answer(slow)[0] == 408
    assert counted(seen, 408, "RequestTooSlow") == before + 1


def test_requests_at_hand_are_seen(seen: ServerProcess) -> None:
    def at_hand() -> float:
        name = 'finetune_requests_in_flight{deployment="invoice-detector",namespace="ml"}'
        return seen.metrics()[name]

    with connect(seen) as slow:
        slow.sendall(predict_head(PAGE) + PAGE[:-1])
        wait_until(lambda: at_hand() == 1)
        slow.sendall(PAGE[-1:])
        assert receive_answer(slow)[0] == 200
    wait_until(lambda: at_hand() == 0)


def named(server: ServerProcess, *headers: str, body: bytes = PAGE) -> dict[str, str]:
    with connect(server) as connection:
        connection.sendall(predict_head(body, "image/png", *headers) + body)
        return receive_answer(connection)[1]


def test_a_request_bears_its_clients_names_in_answer_and_log(seen: ServerProcess) -> None:
    headers = named(seen, "X-Request-ID: order-17", f"traceparent: {PARENT}", body=PAGE[:60])
    assert (headers["x-request-id"], headers["traceparent"]) == ("order-17", PARENT)
    entry = wait_for_entry(seen, "ImageTruncated", request="order-17")
    assert (entry["traceparent"], entry["level"]) == (PARENT, "warning")


def test_a_request_without_a_name_gets_one(seen: ServerProcess) -> None:
    first, second = named(seen), named(seen)
    assert first["x-request-id"] != second["x-request-id"]
    assert "traceparent" not in first


@pytest.mark.parametrize("given", ["a b", "x" * 200, "ä", ""])
def test_a_name_that_does_not_fit_is_replaced(seen: ServerProcess, given: str) -> None:
    headers = named(seen, f"X-Request-ID: {given}", "traceparent: 00-xyz")
    assert len(headers["x-request-id"]) == 32
    assert "traceparent" not in headers


def test_what_libraries_say_is_an_entry_too(seen: ServerProcess) -> None:
    jpeg = encode(page_with("red", at=(32, 48)), ".jpg")
    assert seen.predict(jpeg[:20] + b"\1\2\3\4" + jpeg[20:], "image/jpeg").status == 200
    assert wait_for_entry(seen, "extraneous bytes")["level"] == "warning"
    assert seen.predict(hostile.lying_tiff(width=100, height=100), "image/tiff").status in (200, 422)
    wait_for_entry(seen, "not sorted")
    assert all(entry.keys() >= {"at", "level", "logger", "message"} for entry in entries(seen))


def test_a_flood_of_complaints_is_shortened(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    times = iter([100.0] * 200 + [101.5])
    monkeypatch.setattr(logs, "monotonic", lambda: next(times))
    reader, writer = os.pipe()
    os.write(writer, b"extraneous bytes\n" * 201)
    os.close(writer)
    logs._relay(reader)
    said = ["on standard error: extraneous bytes"] * 20 + ["180 more lines on standard error"]
    assert [record.message for record in caplog.records] == [*said, said[0]]


def test_requests_are_not_logged_unless_refused_or_asked_for(server: ServerProcess) -> None:
    assert named(server, "X-Request-ID: quiet")["x-request-id"] == "quiet"
    assert "quiet" not in server.log.read_text()


def test_a_thread_that_hangs_does_not_hold_the_pod_beyond_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[float, Any]] = []

    class Timer:
        def __init__(self, seconds: float, act: Any, given: Any) -> None:
            timers.append((seconds, act))
            assert given == (0,)

        def start(self) -> None:
            assert self.daemon is True  # type: ignore[attr-defined]

    monkeypatch.setattr("threading.Timer", Timer)
    server = DrainingServer.__new__(DrainingServer)
    server._drain = Drain(DrainConfig(seconds=15, quiet_seconds=3), time.monotonic)
    server.handle_exit(signal.SIGTERM, None)
    server.handle_exit(signal.SIGTERM, None)
    assert timers == [(26, os._exit)], "once"


def test_a_path_in_the_log_cannot_forge_an_entry(seen: ServerProcess) -> None:
    assert seen.get("/x%0a%7b%22level%22").status == 404
    assert all(isinstance(entry, dict) for entry in entries(seen))
