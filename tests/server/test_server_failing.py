"""The server when the network or memory fails under it: who is told what, and whether it is ready."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from starlette.types import Message, Receive, Scope, Send

from finetune_server.web.middleware import AccidentMiddleware
from server.support import (
    ServerProcess,
    StartServer,
    connect,
    encode,
    install_model,
    page_with,
    pdf,
    tiny_model,
    wait_until,
)

PAGE = encode(page_with("red", at=(32, 48)))


def afraid_of_white() -> bytes:
    """The tiny model, whose scores are not finite on a page that is brighter than most."""
    model = onnx.load_from_string(tiny_model())
    (add,) = (node for node in model.graph.node if node.op_type == "Add")
    add.output[0] = "sum"
    model.graph.initializer.append(helper.make_tensor("bound", onnx.TensorProto.FLOAT, [], [0.95]))
    at = list(model.graph.node).index(add) + 1
    for node in (
        helper.make_node("Sub", ["bound", "sum"], ["room"]),
        helper.make_node("Sqrt", ["room"], ["root"]),
        helper.make_node("Mul", ["root", "root"], ["same"]),
        helper.make_node("Sub", ["bound", "same"], ["scores"]),
    ):
        model.graph.node.insert(at, node)
        at += 1
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_a_page_on_which_the_network_fails_does_not_take_the_pod(tmp_path: Path, start_server: StartServer) -> None:
    server = start_server(install_model(tmp_path / "afraid", afraid_of_white()))
    server.wait_ready()
    for _ in range(3):
        answer = server.predict(encode(np.full((128, 128, 3), 255, np.uint8)))
        assert (answer.status, answer.reason) == (500, "OutputNotFinite")
        assert server.status_of_readyz() == 200


def twice_on_white() -> bytes:
    """The tiny model, which makes two of a page with much white on it."""
    model = onnx.load_from_string(tiny_model())
    model.graph.node[-1].output[0] = "one"
    model.graph.initializer.append(helper.make_tensor("bound", onnx.TensorProto.FLOAT, [], [0.95]))
    for name, often in (("once", 1), ("twice", 2)):
        model.graph.initializer.append(helper.make_tensor(name, onnx.TensorProto.INT64, [3], [often, 1, 1]))
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
            helper.make_node("Greater", ["mean", "bound"], ["white"]),
            helper.make_node("Where", ["white", "twice", "once"], ["often"]),
            helper.make_node("Tile", ["one", "often"], ["output0"]),
        ]
    )
    return bytes(model.SerializeToString())


@pytest.mark.row("R327")
def test_what_an_evaluation_would_not_read_is_not_answered(tmp_path: Path, start_server: StartServer) -> None:
    server = start_server(install_model(tmp_path / "twice", twice_on_white()))
    server.wait_ready()
    answer = server.predict(encode(np.full((128, 128, 3), 255, np.uint8)))
    assert (answer.status, answer.reason) == (500, "InferenceFailed")
    assert server.predict(PAGE).status == 200
    assert server.status_of_readyz() == 200


def limit_memory(server: ServerProcess, more: int | None) -> None:
    """Let the process have so many bytes beyond what it has, or any."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    data = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
    limit = resource.RLIM_INFINITY if more is None else data + more
    resource.prlimit(server.process.pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))


def test_a_server_without_memory_for_any_page_is_not_ready(tmp_path: Path, start_server: StartServer) -> None:
    server = start_server(install_model(tmp_path / "large", tiny_model(size=2048)))
    server.wait_ready()
    assert server.predict(PAGE).status == 200
    limit_memory(server, 2**20)
    answers = [server.predict(PAGE) for _ in range(3)]
    assert {answer.reason for answer in answers} <= {"Overloaded", "InferenceFailed"}
    ready = server.get("/readyz")
    assert (ready.status, ready.reason) == (503, "InferenceFailed")
    limit_memory(server, None)
    assert server.status_of_readyz() == 200
    assert server.predict(PAGE).status == 200


def test_a_page_for_which_memory_is_short_is_not_called_damaged(model_dir: Path, start_server: StartServer) -> None:
    server = start_server(model_dir, FINETUNE_DOCUMENT_BYTES=str(32 * 2**20))
    server.wait_ready()
    large = np.zeros((5000, 5000, 3), np.uint8)
    assert server.predict(encode(large, ".tiff")).reason == "TooMuchMemory"
    limit_memory(server, 32 * 2**20)
    answer = server.predict(encode(large))
    assert (answer.status, answer.reason, answer.headers["retry-after"]) == (503, "Overloaded", "1")
    assert server.predict(PAGE).status == 200
    assert server.status_of_readyz() == 200


NO_TEMPORARY_FOLDER = """
import sys, tempfile
tempfile._candidate_tempdir_list = lambda: ["/proc"]
from finetune_server.cli import main
if __name__ == "__main__":
    sys.exit(main(["serve"]))
"""


def test_documents_are_read_where_no_temporary_folder_can_be_written(
    model_dir: Path, tmp_path: Path, start_server: StartServer
) -> None:
    start = tmp_path / "start.py"
    start.write_text(NO_TEMPORARY_FOLDER)
    server = start_server(model_dir, sys.executable, str(start))
    server.wait_ready()
    assert server.predict(pdf((144, 144)), "application/pdf").status == 200


def test_documents_are_read_within_a_limit_of_memory_from_outside(model_dir: Path, start_server: StartServer) -> None:
    server = start_server(model_dir, "prlimit", "--data=400000000")
    server.wait_ready()
    assert server.predict(pdf((144, 144)), "application/pdf").status == 200


def test_what_keeps_documents_away_is_logged_once(model_dir: Path, start_server: StartServer) -> None:
    server = start_server(model_dir)
    server.wait_ready()
    files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (files + 3, 1024))
    for _ in range(9):
        assert server.predict(pdf((144, 144)), "application/pdf").reason == "DocumentsUnavailable"
        assert server.status_of_readyz() == 503
        assert server.predict(PAGE).status == 200
    said = [line for line in server.log.read_text().splitlines() if "can be started" in line and "trace" in line]
    assert 1 <= len(said) <= 3
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    wait_until(lambda: server.status_of_readyz() == 200)
    assert server.predict(pdf((144, 144)), "application/pdf").status == 200


def test_a_drain_begins_and_ends_when_no_thread_can_be_started(model_dir: Path, start_server: StartServer) -> None:
    start = (
        "import sys, threading, finetune_server.cli as cli; threading.Timer.start = lambda _: threading._no_thread()"
    )
    start += '\ndef no_thread(): raise RuntimeError("can\'t start new thread")\nthreading._no_thread = no_thread'
    start += "\nsys.exit(cli.main(['serve']))"
    server = start_server(model_dir, sys.executable, "-c", start, FINETUNE_DRAIN_QUIET_SECONDS="0.5")
    server.wait_ready()
    with connect(server):  # whose end the drain waits for
        server.terminate()
        assert server.predict(PAGE).status == 200
    assert server.wait_end() == 0


def test_a_request_for_which_there_is_no_thread_may_be_tried_again() -> None:
    async def no_thread(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("can't start new thread")

    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(AccidentMiddleware(no_thread)({"type": "http", "method": "POST", "path": "/predict"}, receive, send))
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]
