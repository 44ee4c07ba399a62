"""Slots are for work: clients that send slowly or never, and accidents, cost nobody else a request."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from select import select
from typing import Any, BinaryIO

import pytest

from finetune_server.web.middleware import AccidentMiddleware
from server import hostile
from server.support import (
    ServerProcess,
    StartServer,
    children,
    connect,
    encode,
    page_with,
    predict_head,
    receive_answer,
    running,
    wait_until,
)

PAGE = encode(page_with("red", at=(32, 48)))


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with small limits on connections."""
    folder = tmp_path_factory.mktemp("bounded")
    limits = {
        "FINETUNE_HEADER_SECONDS": "0.5",
        "FINETUNE_BODY_SECONDS": "1.5",
        "FINETUNE_KEEP_ALIVE_SECONDS": "2",
        "FINETUNE_MAX_CONNECTIONS": "8",
        "FINETUNE_MAX_IN_FLIGHT": "2",
        "FINETUNE_DOCUMENT_SECONDS": "2",
        "FINETUNE_MAX_BODY_BYTES": "300000",
    }
    with running(folder, limits) as server:
        yield server


def said_until_closed(connection: socket.socket) -> bytes:
    """What the other end says until it closes, which it must."""
    said = b""
    while data := connection.recv(65536):
        said += data
    return said


def is_refused(connection: socket.socket, piece: bytes) -> bool:
    """Whether the other end comes to refuse a piece after the other."""
    try:
        connection.sendall(piece)
    except OSError:
        return True
    return False


def has_said(connection: socket.socket) -> bool:
    """Whether there is something to receive."""
    return bool(select([connection], [], [], 0)[0])


def next_answer(answers: BinaryIO) -> tuple[int, dict[str, str]]:
    """The next of several answers on one connection, the others left where they are."""
    status = int(answers.readline().split()[1])
    lines = iter(lambda: answers.readline().decode().strip(), "")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    answers.read(int(headers["content-length"]))
    return status, headers


def test_a_refused_page_leaves_the_connection_to_the_next(server: ServerProcess) -> None:
    refused = [
        (hostile.pdf_of(b"", extra=b"/CropBox[500 500 600 600]"), 422),
        (hostile.lying_tiff(), 422),
        (b"%PDF-1.4\n1 0 obj", 422),
        (b"", 400),
        (b"hello", 415),
        (PAGE[:60], 422),
    ]
    with connect(server) as kept, kept.makefile("rb") as answers:
        for body, status in refused:
            kept.sendall(predict_head(body, "application/octet-stream") + body + predict_head(PAGE) + PAGE)
            assert next_answer(answers)[0] == status
            assert next_answer(answers)[0] == 200, "the next one, sent before the answer came"


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [(RuntimeError("unforeseen"), 500, "Internal"), (asyncio.CancelledError(), 503, "Draining")],
)
def test_an_accident_is_answered_and_goes_no_further(what: BaseException, status: int, reason: str) -> None:
    async def accident(_scope: Any, _receive: Any, _send: Any) -> None:
        raise what

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
    asyncio.run(AccidentMiddleware(accident)(scope, receive, send))
    assert sent[0]["status"] == status
    assert json.loads(sent[1]["body"])["error"]["reason"] == reason


def test_bodies_that_trickle_take_no_place_from_others(bounded: ServerProcess) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(bounded)) for _ in range(6)]
        for connection in slow:
            connection.sendall(predict_head(PAGE) + PAGE[:10])
        for _ in range(3):
            assert bounded.predict(PAGE).status == 200
        assert [receive_answer(connection)[0] for connection in slow] == [408] * 6


def test_a_body_that_fills_the_room_goes_when_another_needs_it(model_dir: Path, start_server: StartServer) -> None:
    server = start_server(model_dir, FINETUNE_BODY_SECONDS="600", FINETUNE_MAX_RECEIVING_BYTES="400000")
    server.wait_ready()
    with connect(server) as first:
        body = bytes(250_000)
        first.sendall(predict_head(body) + body[:-1])

        def is_displaced() -> bool:
            """Once its bytes have come."""
            assert server.predict(body, "image/png").status == 415, "it was received"
            return has_said(first)

        wait_until(is_displaced)
        assert receive_answer(first)[0] == 503


def test_a_head_that_never_ends_is_ended(bounded: ServerProcess) -> None:
    with connect(bounded) as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\n")
        said = said_until_closed(slow)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"RequestTooSlow" in said


def test_a_head_that_trickles_is_ended(bounded: ServerProcess) -> None:
    with connect(bounded) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\n")
        wait_until(lambda: is_refused(slow, b"X: y\r\n"))


def test_a_head_has_a_size(bounded: ServerProcess) -> None:
    with connect(bounded) as wide:
        wide.sendall(b"GET /livez HTTP/1.1\r\n" + b"X: " + b"y" * 70_000)
        assert said_until_closed(wide).startswith(b"HTTP/1.1 431 ")


CHUNKED = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("story", "begin", "goes_on"),
    [
        ("trailers", b"1\r\nx\r\n0\r\n", b"a: b\r\n"),
        ("a trailer", b"1\r\nx\r\n0\r\na: ", b"b"),
        ("the name of a trailer", b"1\r\nx\r\n0\r\n", b"b"),
        ("what is said of a chunk", b"1;a=", b"b"),
        ("chunks of one byte", b"", b"1\r\nx\r\n"),
    ],
)
def test_what_comes_around_a_body_has_a_size(server: ServerProcess, story: str, begin: bytes, goes_on: bytes) -> None:
    before, sent = memory_of(server), 0
    with connect(server) as wide, suppress(OSError):
        wide.sendall(CHUNKED + begin)
        while sent < 100 * 2**20:
            wide.sendall(goes_on * (2**16 // len(goes_on)))
            sent += 2**16
    assert sent < 20 * 2**20, story
    assert memory_of(server) < before + 30 * 2**20, story


def test_a_body_in_small_chunks_and_its_trailers_are_taken(server: ServerProcess) -> None:
    pieces = [PAGE[at : at + 100] for at in range(0, len(PAGE), 100)]
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    with connect(server) as kept, kept.makefile("rb") as answers:
        for _ in range(2):
            kept.sendall(CHUNKED + chunks + b"0\r\nX-Request-ID: mine\r\n\r\n" + predict_head(PAGE) + PAGE)
            status, headers = next_answer(answers)
            assert (status, headers["x-request-id"] != "mine") == (200, True)
            assert next_answer(answers)[0] == 200


def test_what_is_not_http_is_answered_in_the_form_of_errors(bounded: ServerProcess) -> None:
    with connect(bounded) as odd:
        odd.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        said = said_until_closed(odd)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["reason"] == "RequestInvalid"


def test_a_body_that_goes_on_after_its_answer_is_ended(bounded: ServerProcess) -> None:
    with connect(bounded) as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nsome")
        assert receive_answer(slow)[0] == 413
        wait_until(lambda: is_refused(slow, b"x" * 100))


def test_a_kept_connection_that_is_silent_is_closed_after_the_time_set(bounded: ServerProcess) -> None:
    with connect(bounded) as kept, connect(bounded) as silent:
        asked = time.monotonic()
        kept.sendall(predict_head(PAGE) + PAGE)
        assert receive_answer(kept)[0] == 200
        assert said_until_closed(kept) == b""
        assert time.monotonic() - asked >= 2
        assert said_until_closed(silent) == b""


def test_more_connections_than_may_be_close_the_idle_ones_and_never_one_that_is_answered(
    bounded: ServerProcess,
) -> None:
    with ExitStack() as stack:
        busy = stack.enter_context(connect(bounded))
        body = hostile.slow_pdf()
        busy.sendall(predict_head(body, "application/pdf") + body)
        wait_until(lambda: bool(children(bounded)) or has_said(busy))
        for _ in range(20):
            stack.enter_context(connect(bounded))
        assert bounded.predict(PAGE).status == 200
        assert bounded.get("/readyz").status == 200
        assert receive_answer(busy)[0] == 422, "for its own sake"


def sockets_of(server: ServerProcess) -> int:
    held = 0
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            held += descriptor.readlink().name.startswith("socket:")
    return held


def test_connections_that_come_all_at_once_are_no_more_than_may_be(bounded: ServerProcess) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(bounded))
        assert bounded.predict(PAGE).status == 200
        assert sockets_of(bounded) < 20


def test_a_client_of_http_1_0_and_one_that_asks_first_are_served(server: ServerProcess) -> None:
    with connect(server) as old:
        old.sendall(predict_head(PAGE).replace(b"HTTP/1.1", b"HTTP/1.0") + PAGE)
        assert b"200 OK" in said_until_closed(old)
    with connect(server) as polite:
        polite.sendall(predict_head(PAGE, "image/png", "Expect: 100-continue"))
        assert polite.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        polite.sendall(PAGE)
        response = http.client.HTTPResponse(polite)
        response.begin()
        assert response.status == 200


@pytest.mark.parametrize(
    "offer",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        ("Connection: keep-alive, Upgrade", "Upgrade: TLS/1.0"),
    ],
)
@pytest.mark.parametrize("cut", [0, 30, -1])
def test_a_client_that_offers_another_protocol_is_served_in_this_one(
    server: ServerProcess, offer: tuple[str, ...], cut: int
) -> None:
    with connect(server) as kept, kept.makefile("rb") as answers:
        for _ in range(2):
            sent = predict_head(PAGE, "image/png", *offer) + PAGE
            kept.sendall(sent[:cut])
            time.sleep(0.05)
            kept.sendall(sent[cut:] + predict_head(PAGE) + PAGE)
            assert next_answer(answers)[0] == 200
            assert next_answer(answers)[0] == 200, "the connection goes on"
        kept.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + "\r\n".join([*offer, "", ""]).encode())
        assert next_answer(answers)[0] == 200


def memory_of(server: ServerProcess) -> int:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


ASKS = b"GET /openapi.json HTTP/1.1\r\n\r\n"


def unread(server: ServerProcess, asks: bytes = ASKS * 1000) -> socket.socket:
    """A connection whose client takes nothing, and asks as often as is taken of it."""
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect(("127.0.0.1", server.port))
    lazy.settimeout(0.3)
    with suppress(OSError):
        for _ in range(100):
            lazy.sendall(asks)
    return lazy


def test_a_client_that_asks_without_end_and_takes_no_answer_costs_others_nothing(bounded: ServerProcess) -> None:
    before = memory_of(bounded)
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(closing(unread(bounded)))
        assert memory_of(bounded) < before + 60 * 2**20
        wait_until(lambda: bounded.status_of_readyz() == 200)
        assert bounded.predict(PAGE).status == 200
        wait_until(lambda: sockets_of(bounded) < 8)


@pytest.mark.parametrize("behind_a_body", [False, True])
def test_requests_sent_ahead_wait_where_they_came_from(
    model_dir: Path, start_server: StartServer, behind_a_body: bool
) -> None:
    server = start_server(model_dir)  # what others have freed would hide what these take
    server.wait_ready()
    before = memory_of(server)
    asks = ASKS * 270
    if behind_a_body:  # which begins where a head ends, and a piece that is parsed
        body = bytes(8192 - len(asks))
        padding = "x" * (512 - len(predict_head(body, "image/png", "X: ")))
        asks = predict_head(body, "image/png", f"X: {padding}") + body + asks
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(closing(unread(server, asks * 4)))
        assert memory_of(server) < before + 4 * 2**20, "asyncio alone takes 256 KiB of each, and requests a hundredfold"


def test_nobody_is_sent_to_where_a_header_says(server: ServerProcess) -> None:
    answer = server.request("POST", "/predict/", PAGE)
    assert (answer.status, answer.reason) == (404, "NotFound")
    assert "location" not in answer.headers


def test_a_path_of_any_length_is_told_in_a_short_line(server: ServerProcess) -> None:
    answer = server.get("/" + "x" * 50_000)
    assert (answer.status, answer.reason) == (404, "NotFound")
    assert len(answer.content) < 500
    wait_until(lambda: "404 NotFound" in server.last_message())
    assert len(server.last_message()) < 500


@pytest.mark.parametrize("slow", ["a body", "an answer"])
def test_who_is_slow_on_every_connection_keeps_nobody_out(
    model_dir: Path, start_server: StartServer, slow: str
) -> None:
    server = start_server(model_dir, FINETUNE_MAX_CONNECTIONS="6")
    server.wait_ready()
    with ExitStack() as stack:
        for _ in range(6):
            if slow == "an answer":
                stack.enter_context(closing(unread(server)))
                continue
            stack.enter_context(connect(server)).sendall(predict_head(bytes(10**6)) + b"x")
        wait_until(lambda: server.status_of_readyz() == 200)
        assert [server.get("/livez").status for _ in range(9)] == [200] * 9
        assert server.predict(PAGE).status == 200


def test_requests_sent_ahead_are_answered_each_in_order(server: ServerProcess) -> None:
    body = b"".join(
        b"POST /predict?page=%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nX-Request-ID: n%d\r\n\r\n%s"
        % (1 + n % 2, len(PAGE), n, PAGE)
        for n in range(300)
    )
    with connect(server) as eager, eager.makefile("rb") as answers, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(eager.sendall, body)
        for n in range(300):
            status, headers = next_answer(answers)
            assert (status, headers["x-request-id"]) == (422 if n % 2 else 200, f"n{n}")
        sending.result()


@pytest.mark.parametrize("last", ["Connection: close", "HTTP/1.0"])
def test_the_last_answer_is_not_lost_to_who_still_sends_the_body(server: ServerProcess, last: str) -> None:
    body = bytes(10**6)
    head = predict_head(body, "image/png", "Connection: close").replace(b"/predict", b"/predict?page=0")
    with connect(server) as hasty, connect(server) as other:
        hasty.sendall(head.replace(b"HTTP/1.1", b"HTTP/1.0") if last == "HTTP/1.0" else head)
        wait_until(lambda: has_said(hasty))
        hasty.sendall(body[:-1])
        other.sendall(predict_head(PAGE) + PAGE)
        assert receive_answer(other)[0] == 200
        hasty.sendall(body[-1:])
        said = said_until_closed(hasty)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in said


def test_a_body_sent_ahead_is_not_slow_while_the_request_before_it_is_answered(
    model_dir: Path, start_server: StartServer
) -> None:
    server = start_server(
        model_dir, FINETUNE_MAX_CONNECTIONS="1", FINETUNE_DOCUMENT_SECONDS="4", FINETUNE_BODY_SECONDS="1",
        FINETUNE_HEADER_SECONDS="1",
    )  # fmt: skip
    server.wait_ready()
    document = hostile.slow_pdf()
    with connect(server) as eager, eager.makefile("rb") as answers:
        eager.sendall(predict_head(document, "application/pdf") + document + predict_head(PAGE) + PAGE[:9])
        time.sleep(3)
        with connect(server) as newcomer, suppress(ConnectionResetError):
            assert said_until_closed(newcomer) == b""
        assert next_answer(answers)[0] == 422
        eager.sendall(PAGE[9:])
        assert next_answer(answers)[0] == 200
