"""Pages a second of the server against a bare loop of decode, letterbox, onnxruntime and NMS with as many threads.

python -m server.benchmark MODEL.onnx PAGE_FOLDER [--threads 2] [--clients 4] [--seconds 5] [--rounds 5]
(with `tests` on PYTHONPATH). Rounds alternate, so that whatever else the machine does meets both; prints medians.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import onnxruntime as ort

from finetune_server.metadata import SERVING_KEY, parse_settings
from finetune_server.postprocess import select
from finetune_server.preprocess import letterbox_geometry, to_page, to_tensor
from server.support import ServerProcess, install_model

MEDIA_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}


def bare(model: Path, pages: list[Path], threads: int, seconds: float) -> float:
    """Pages a second of the loop, in this process, with onnxruntime's defaults."""
    cv2.setNumThreads(threads)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    settings = parse_settings(session.get_modelmeta().custom_metadata_map[SERVING_KEY])
    name = session.get_inputs()[0].name
    contents = [page.read_bytes() for page in pages]

    def read(content: bytes) -> None:
        page = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        box = letterbox_geometry(width=page.shape[1], height=page.shape[0], size=settings.image_size)
        output = session.run(None, {name: to_tensor(page, box)})[0][0]
        detections = select(output, settings)
        to_page(detections.boxes, box)

    for content in contents[:5]:
        read(content)
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        read(contents[done % len(contents)])
        done += 1
    return done / elapsed


def load(port: int, pages: list[Path], clients: int, seconds: float) -> float:
    """Pages a second that `clients` kept-alive connections get answered."""
    requests = [
        b"POST /predict HTTP/1.1\r\nHost: b\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
        % (MEDIA_TYPES[page.suffix].encode(), len(page.read_bytes()))
        + page.read_bytes()
        for page in pages
    ]

    async def client(offset: int, until: float) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done = 0
        while time.perf_counter() < until:
            writer.write(requests[(offset + done) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            done += 1
        writer.close()
        return done

    async def run() -> float:
        started = time.perf_counter()
        counts = await asyncio.gather(*(client(7 * n, started + seconds) for n in range(clients)))
        return sum(counts) / (time.perf_counter() - started)

    return asyncio.run(run())


def main() -> None:
    """Measure and print."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    pages = sorted(page for page in given.pages.rglob("*") if page.suffix in MEDIA_TYPES)[:100]
    spawn = get_context("spawn")  # each loop in a fresh process, like the server
    loops, servers = [], []
    with tempfile.TemporaryDirectory() as folder:
        directory = install_model(Path(folder), given.model.read_bytes())
        server = ServerProcess(directory, Path(folder, "log"), {"FINETUNE_THREADS": str(given.threads)})
        try:
            server.wait_ready()
            for number in range(given.rounds):
                with spawn.Pool(1) as pool:
                    loops.append(pool.apply(bare, (given.model, pages, given.threads, given.seconds)))
                    servers.append(pool.apply(load, (server.port, pages, given.clients, given.seconds)))
                ratio = servers[-1] / loops[-1]
                print(f"round {number + 1}: loop {loops[-1]:.1f}/s, server {servers[-1]:.1f}/s, ratio {ratio:.2f}")
        finally:
            server.kill()
    print(f"median: loop {median(loops):.1f}/s, server {median(servers):.1f}/s, {len(pages)} pages, "
          f"ratio {median(s / b for s, b in zip(servers, loops, strict=True)):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
