"""The store of captured pages in its own process: what it says comes back, and its end costs no page."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from finetune_server.capture.apart import NoProcessError, StoreApart, StoreError
from finetune_server.capture.child import serve
from finetune_server.capture.store import RemoteStore
from finetune_server.pages.formats import Kind
from finetune_server.pages.images import decode_image
from finetune_server.pages.pixels import pixels_digest
from server.s3 import Bucket
from server.support import (
    ServerProcess,
    StartServer,
    children_of,
    encode,
    install_model,
    page_with,
    tiny_model,
    wait_until,
)
from server.test_server_capture import ALL, on_disk, records, wait_stored

PAGE = encode(page_with("red", at=(32, 48)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreApart]:
    store = StoreApart((tmp_path / "kept").as_uri())
    yield store
    store.close()


def writers(server: ServerProcess) -> list[int]:
    """The processes of its store."""
    named = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children_of(server.process.pid)}
    return [pid for pid, command in named.items() if b"finetune_server.capture.child" in command]


def test_what_is_written_is_read_as_it_was(store: StoreApart) -> None:
    content = bytes(range(256)) * 100_000  # 25 MB: more than any page
    assert (store.read("a/b"), store.exists("a/b")) == (None, False)
    store.write("a/b", content)
    assert (store.read("a/b"), store.exists("a/b")) == (content, True)
    store.write("a/b", b"")
    assert (store.read("a/b"), store.exists("a/b")) == (b"", True)


def test_what_a_store_refuses_is_said_in_its_words_and_the_next_call_works(
    tmp_path: Path, store: StoreApart, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("no folder")
    with pytest.raises(StoreError, match=r"^(FileExistsError|NotADirectoryError): .*file"):
        store.write("file/below", b"x")
    store.write("other", b"x")
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    nowhere = StoreApart("s3://no-such-bucket/kept")
    with pytest.raises(StoreError, match="bucket"):
        nowhere.write("a", b"x")
    nowhere.close()


def test_an_image_is_decoded_there_as_the_server_has_it(store: StoreApart) -> None:
    photo = encode(page_with("red", at=(32, 48)), ".jpg")
    for content, kind in ((PAGE, Kind.PNG), (photo, Kind.JPEG)):
        assert store.pixels_digest(content, kind) == pixels_digest(decode_image(content, kind, max_pixels=10**6))
    with pytest.raises(StoreError, match="ends before the image does"):
        store.pixels_digest(photo[:-100], Kind.JPEG)
    assert not store.exists("a"), "and it goes on"


def test_a_process_that_was_killed_is_started_anew(store: StoreApart) -> None:
    store.write("a", b"1")
    (pid,) = [pid for pid in children_of(os.getpid()) if b"capture.child" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(StoreError, match="process that writes there"):
        store.write("b", b"2")
    store.write("b", b"2")
    assert (store.read("a"), store.read("b")) == (b"1", b"2")


def test_an_order_that_broke_off_is_not_mixed_with_the_next(store: StoreApart, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise MemoryError

    store.write("a", b"1")
    store.write("b", b"2")
    with monkeypatch.context() as patched:
        patched.setattr("finetune_server.capture.apart.json.loads", fails)
        with pytest.raises(MemoryError):
            store.read("a")
    assert store.read("b") == b"2"


def test_a_process_that_cannot_be_started_is_said(store: StoreApart, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(NoProcessError, match="no process that writes there can be started"):
            store.exists("a")
    assert not store.exists("a")


def test_a_file_system_that_hangs_holds_nobody_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")  # read, it waits for somebody who writes
    store = StoreApart(tmp_path.as_uri(), seconds=3)
    with pytest.raises(StoreError, match="failed"):
        store.read("a")
    store.close()


class Lines(io.BytesIO):
    """Orders, and the replies to them."""

    replies = b""

    def write(self, content: Any, /) -> int:
        self.replies += content
        return len(content)


def test_half_a_page_is_not_written(tmp_path: Path) -> None:
    whole = b'{"do": "write", "path": "whole", "bytes": 4}\n1234'
    half = b'{"do": "write", "path": "half", "bytes": 4}\n12'
    lines = Lines(whole + half)
    serve(lines, tmp_path.as_uri())
    assert json.loads(lines.replies) == {"isThere": True, "bytes": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_pods_that_write_the_same_bytes_at_once_do_not_meet(tmp_path: Path) -> None:
    def write(_: int) -> None:
        store = RemoteStore(tmp_path.as_uri())
        for number in range(100):
            store.write(f"days/{number}", b"x" * 1000)

    with ThreadPoolExecutor(2) as pods:  # with one process number, as in containers
        list(pods.map(write, range(2)))
    assert len(list((tmp_path / "days").iterdir())) == 100


def test_a_full_disk_is_said_and_leaves_no_part_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RemoteStore(tmp_path.as_uri())

    def full(path: str, content: bytes) -> None:
        Path(path.removeprefix("file://")).write_bytes(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store._files, "pipe_file", full)
    with pytest.raises(OSError, match="No space left"):
        store.write("days/a", b"1234")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_page_is_lost_when_the_process_that_writes_is_killed(tmp_path: Path, start_server: StartServer) -> None:
    settings = {"FINETUNE_CAPTURE_URI": (tmp_path / "kept").as_uri(), "FINETUNE_DRAIN_QUIET_SECONDS": "0.2", **ALL}
    server = start_server(install_model(tmp_path / "model", tiny_model()), **settings)
    server.wait_ready()
    assert server.predict(PAGE).status == 200
    wait_stored(server, 1)
    (first,) = writers(server)
    assert os.getpriority(os.PRIO_PROCESS, first) == 19, "it gives way to all others"
    os.kill(first, signal.SIGKILL)
    assert server.predict(PAGE).status == 200
    wait_stored(server, 2)
    (second,) = writers(server)
    assert second != first
    # Kubernetes tells the container's first process alone, a terminal all of them.
    os.kill(second, signal.SIGTERM)
    assert server.predict(PAGE).status == 200
    server.terminate()
    assert server.wait_end() == 0
    assert len(records(on_disk(tmp_path / "kept"))) == 3
    wait_until(lambda: not Path(f"/proc/{second}").exists() or "Z" in _state(second))


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]


def test_a_kill_of_the_server_leaves_no_writer_behind(tmp_path: Path, start_server: StartServer) -> None:
    settings = {"FINETUNE_CAPTURE_URI": (tmp_path / "kept").as_uri(), **ALL}
    server = start_server(install_model(tmp_path / "model", tiny_model()), **settings)
    server.wait_ready()
    server.predict(PAGE)
    wait_stored(server, 1)
    (left,) = writers(server)
    server.kill()
    wait_until(lambda: not Path(f"/proc/{left}").exists() or "Z" in _state(left))
