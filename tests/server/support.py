"""A tiny real detector, pages that it reads, and the server as a child process."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_PIXELS = 1_000_000
DEADLINE = 60.0
"""Seconds for what an idle machine does at once: a loaded one may take that long, and only what never comes fails."""
# OpenCV reads its limit once: this process decodes small pages only, as the server's processes do by their setting.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MOST_PIXELS)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from finetune_server.pages.documents import open_document  # noqa: E402
from finetune_server.pages.formats import needs_process  # noqa: E402
from finetune_server.pages.images import decode_image  # noqa: E402
from finetune_server.pages.selection import kind_of  # noqa: E402
from local_cluster.ports import free_ports  # noqa: E402

MESSAGE = Path(__file__).resolve().parents[1] / "contract" / "messages" / "artifact-metadata.json"
CLASSES = ("red", "green", "blue")
SIZE = 64
GRID = 8


def tiny_model(
    classes: tuple[str, ...] = CLASSES,
    settings: dict[str, Any] | None = None,
    *,
    lineage: dict[str, Any] | None = None,
    poison: float | None = None,
    size: int = SIZE,
    kind: int = TensorProto.FLOAT,
) -> bytes:
    """A network with a detect head's shape that sees colours: class c's score in a cell is channel c % 3's mean there.

    So what it answers depends on order of channels, scaling, padding and boxes, like a trained one.
    Boxes are 1.5 cells wide, which gives NMS something to do. `poison` is added to every score, `kind` is the
    type of the numbers that come out.
    """
    cell = size // GRID
    centres = (np.arange(GRID) + 0.5) * cell
    boxes = np.stack([*np.meshgrid(centres, centres), *np.full((2, GRID, GRID), 1.5 * cell)]).reshape(1, 4, -1)
    initial = [
        numpy_helper.from_array(boxes.astype(np.float32), "boxes"),
        numpy_helper.from_array(np.array([1, 3, -1], np.int64), "shape"),
        numpy_helper.from_array(np.arange(len(classes), dtype=np.int64) % 3, "channels"),
        numpy_helper.from_array(np.array(poison or 0.0, np.float32), "poison"),
    ]
    nodes = [
        helper.make_node("AveragePool", ["images"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Reshape", ["cells", "shape"], ["colours"]),
        helper.make_node("Gather", ["colours", "channels"], ["clean"], axis=1),
        helper.make_node("Add", ["clean", "poison"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["rows"], axis=1),
        helper.make_node("Cast", ["rows"], ["output0"], to=kind),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("output0", kind, [1, 4 + len(classes), GRID * GRID])],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    metadata = serving_settings(classes, size) if settings is None else settings
    properties = {"finetune.serving": metadata, "finetune.lineage": lineage}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in properties.items() if value})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def serving_settings(classes: tuple[str, ...] = CLASSES, size: int = SIZE, **changes: Any) -> dict[str, Any]:
    """The metadata of contract section 4: the contract's message, for the tiny model."""
    message: dict[str, Any] = json.loads(MESSAGE.read_text())["finetune.serving"]
    return message | {"classes": list(classes), "imageSize": size, "confidence": "0.6"} | changes


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def install_model(directory: Path, content: bytes, version: str = "ft_v1.1") -> Path:
    """Lay out the model volume as `fetch` does."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.onnx").write_bytes(content)
    record = {"version": version, "uri": f"file:///artifacts/{version}/model.onnx", "sha256": sha256(content)}
    (directory / "model.json").write_text(json.dumps(record))
    return directory


def page_with(
    colour: str, *, at: tuple[int, int], side: int = 16, width: int = 128, height: int = 128
) -> npt.NDArray[np.uint8]:
    """A black page with one coloured square; the tiny model's cells are 16 pixels on a 128 pixel page."""
    page = np.zeros((height, width, 3), np.uint8)
    x, y = at
    page[y : y + side, x : x + side, {"blue": 0, "green": 1, "red": 2}[colour]] = 255
    return page


def encode(page: npt.NDArray[Any], suffix: str = ".png") -> bytes:
    ok, data = cv2.imencode(suffix, page)
    assert ok
    return bytes(data)


def ink(colour: str) -> str:
    return " ".join("1" if name == colour else "0" for name in CLASSES)


def pdf(*sizes: tuple[float, float], colours: tuple[str, ...] = ()) -> bytes:
    """A PDF of black pages of these sizes in points, with one 18 point square of a colour, 36 from left and top."""
    streams = [
        f"0 0 0 rg 0 0 {width} {height} re f {ink(name)} rg 36 {height - 54} 18 18 re f".encode()
        for (width, height), name in zip(sizes, colours or ("red",) * len(sizes), strict=True)
    ]
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(len(sizes)))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {len(sizes)}>>".encode()]
    for index, ((width, height), stream) in enumerate(zip(sizes, streams, strict=True)):
        content = 4 + 2 * index
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]/Contents {content} 0 R>>".encode())
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream))
    body, offsets = b"%PDF-1.4\n", []
    for number, content_bytes in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, content_bytes)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return body + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (
        len(objects) + 1, table, len(objects) + 1, len(body),
    )  # fmt: skip


def decode(content: bytes, max_pixels: int = MOST_PIXELS) -> npt.NDArray[np.uint8]:
    """What the server makes of these bytes, in this process."""
    kind = kind_of(content, "")
    if needs_process(content, kind):
        return open_document(content, kind, max_pixels).draw(1, 72).page
    return decode_image(content, kind, max_pixels)


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without settings of the server or credentials, with `changes`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FINETUNE_", "AWS_", "GOOGLE_"))}
    return kept | changes


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def reason(self) -> str:
        return str(self.json["error"]["reason"])


class ServerProcess:
    """`finetune-server serve` as the pod would run it, on a free loopback port; `within` a command that runs it."""

    def __init__(self, directory: Path, log: Path, environment: dict[str, str], *within: str) -> None:
        (self.port,) = free_ports(1)
        self.log = log
        record = json.loads((directory / "model.json").read_text()) if (directory / "model.json").exists() else {}
        settings = {
            "FINETUNE_MODEL_VERSION": record.get("version", "ft_v1.1"),
            "FINETUNE_ARTIFACT_URI": record.get("uri", "file:///artifacts/ft_v1.1/model.onnx"),
            "FINETUNE_ARTIFACT_SHA256": record.get("sha256", "0" * 64),
            "FINETUNE_NAMESPACE": "ml",
            "FINETUNE_DEPLOYMENT": "invoice-detector",
            "FINETUNE_MODEL": "invoice-fields",
            "FINETUNE_MODEL_DIR": str(directory),
            "FINETUNE_HOST": "127.0.0.1",
            "FINETUNE_PORT": str(self.port),
            "FINETUNE_THREADS": "1",
        }
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", "finetune_server", "serve"],
                env=clean_environment(**settings | environment),
                stderr=stream,
            )

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        timeout: float = DEADLINE,
    ) -> Answer:
        """One request on a connection of its own, sent once."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def predict(self, body: bytes, content_type: str = "image/png", query: str = "") -> Answer:
        return self.request("POST", f"/predict{query}", body, content_type)

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name and labels, as the text has them."""
        lines = self.get("/metrics").content.decode().splitlines()
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def status_of_readyz(self) -> int | None:
        """None while nobody listens."""
        try:
            return self.get("/readyz").status
        except (OSError, http.client.HTTPException):
            return None

    def predict_status(self) -> int | None:
        """None while nobody listens."""
        try:
            return self.predict(b"anything").status
        except (OSError, http.client.HTTPException):
            return None

    def wait_ready(self) -> None:
        deadline = time.monotonic() + DEADLINE
        while self.status_of_readyz() != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"not ready: {self.log.read_text()}"
            time.sleep(0.05)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait_end(self, seconds: float = DEADLINE) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def last_message(self) -> str:
        return str(json.loads(self.log.read_text().splitlines()[-1])["message"])


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)


def peak_bytes(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def children(server: ServerProcess) -> list[int]:
    """Processes of documents: what the process that forks them has for children."""
    return [grand for child in children_of(server.process.pid) for grand in children_of(child)]


def children_of(process: int) -> list[int]:
    """Its children; none of a thread, or a process, that ends meanwhile."""
    pids: list[int] = []
    with suppress(FileNotFoundError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                pids += map(int, (task / "children").read_text().split())
    return pids


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def receive_answer(connection: socket.socket) -> tuple[int, dict[str, str]]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status, {k.lower(): v for k, v in response.getheaders()}


def predict_head(body: bytes, content_type: str = "image/png", *headers: str) -> bytes:
    """The head of a request for a page, as bytes."""
    lines = ["POST /predict HTTP/1.1", "Host: x", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()


StartServer = Callable[..., ServerProcess]


@contextmanager
def running(folder: Path, settings: dict[str, str]) -> Iterator[ServerProcess]:
    """Run a server of the tiny model, ready, with its files in `folder`; it is killed afterwards, whatever happens."""
    server = ServerProcess(install_model(folder / "model", tiny_model()), folder / "log", settings)
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()
