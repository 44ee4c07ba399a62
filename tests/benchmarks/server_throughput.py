"""Pages a second of the server, beside ultralytics' predict and a bare loop of decode, letterbox, onnxruntime, NMS.

All with as many threads, on the same pages, each in a fresh process. Rounds alternate, so that whatever else the
machine does meets all of them; what is compared are the medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import onnxruntime as ort

from finetune_server.metadata import SERVING_KEY, parse_settings
from finetune_server.postprocess import select
from finetune_server.preprocess import letterbox_geometry, to_page, to_tensor
from server.support import ServerProcess, clean_environment, install_model

CLIENTS = (1, 4, 16)
EARLIER = {
    (256, 1): (1.17, 0.59), (256, 4): (1.98, 0.96), (256, 16): (1.88, 0.92),
    (640, 1): (1.51, 1.01), (640, 4): (1.95, 1.32), (640, 16): (1.82, 1.24),
}  # fmt: skip
"""By size and clients: what an earlier state had on two idle cores, to predict and to the loop. Shown, not checked."""


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
        b"POST /predict HTTP/1.1\r\nHost: b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
        % len(page.read_bytes())
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


Ratios = dict[tuple[int, int], list[tuple[float, float]]]
"""By size and clients: of each round, the server's pages a second to predict's and to the loop's."""


def measured(given: argparse.Namespace, size: int, ratios: Ratios) -> None:
    """Add the ratios of every round at one size."""
    spawn = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="bench-throughput-") as folder:
        yolo(given.trainer_python, "make", folder, str(size))
        model, pages = Path(folder, "model.onnx"), sorted(Path(folder, "pages").iterdir())
        directory = install_model(Path(folder, "served"), model.read_bytes())
        server = ServerProcess(directory, Path(folder, "log"), {"FINETUNE_THREADS": str(given.threads)})
        try:
            server.wait_ready()
            for number in range(1, given.rounds + 1):
                words = ("predict", folder, str(size), str(given.threads), str(given.seconds))
                predict = float(yolo(given.trainer_python, *words))
                with spawn.Pool(1) as pool:
                    loop = pool.apply(bare, (model, pages, given.threads, given.seconds))
                print(f"{size} pixels, round {number}: predict {predict:.1f}/s, loop {loop:.1f}/s", end="")
                for clients in CLIENTS:
                    with spawn.Pool(1) as pool:
                        served = pool.apply(load, (server.port, pages, clients, given.seconds))
                    ratios.setdefault((size, clients), []).append((served / predict, served / loop))
                    print(f", server with {clients}: {served:.1f}/s", end="", flush=True)
                print()
        finally:
            server.kill()


def yolo(python: str, *words: str) -> str:
    """Run ultralytics' side in the trainer's environment; return the last line that it printed."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(map(str, (root / "tests", root / "trainer-image" / "src")))
    command = [python, "-m", "benchmarks.yolo_predict", *words]
    ended = subprocess.run(command, check=False, env=clean_environment(PYTHONPATH=path), capture_output=True, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return ended.stdout.strip().rpartition("\n")[2]


def report(ratios: Ratios) -> None:
    """Print the table, and what is below the earlier figures."""
    print(f"{'server to':34}{'min':>7}{'median':>8}{'max':>7}{'earlier':>9}")
    below = []
    for (size, clients), rounds in ratios.items():
        earlier = EARLIER.get((size, clients), (0.0, 0.0))
        for whom, each, before in zip(("predict", "the loop"), zip(*rounds, strict=True), earlier, strict=True):
            title = f"{whom}, {size} pixels, {clients} client{'s' if clients > 1 else ''}"
            middle = median(each)
            print(f"{title:34}{min(each):7.2f}{middle:8.2f}{max(each):7.2f}{before or '':>9}")
            if middle < before:
                below.append(f"{title}: {middle:.2f} of {before}")
    print("\n".join(f"below the earlier figure: {line}" for line in below) or "none is below the earlier figures")


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_throughput", description=__doc__)
    parser.add_argument("--trainer-python", required=True, help="python of the trainer's environment")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 640], help="of the model's input (256 640)")
    parser.add_argument("--threads", type=int, default=2, help="of each of the three (default 2)")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default 5)")
    parser.add_argument("--rounds", type=int, default=5, help="at each size (default 5)")
    given = parser.parse_args(arguments)
    ratios: Ratios = {}
    for size in given.sizes:
        measured(given, size, ratios)
    report(ratios)


if __name__ == "__main__":
    main(sys.argv[1:])
