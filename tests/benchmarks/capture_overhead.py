"""What keeping every page costs those who ask: p99 of an answer at 100 % capture against none.

python -m benchmarks.capture_overhead MODEL.onnx PAGE_FOLDER [--clients 2] [--seconds 15] [--rounds 5] [--most 1.05]
(with `tests` and `serving-image/src` on PYTHONPATH). Both servers are up all the time, and are asked in turn, so that
whatever else the machine does meets both. The store is a process that takes all it gets. Prints the ratio of each round
and their median; ends with 1 when that is above `--most`, or when a page that was answered was not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles

from contract.kinds import MEDIA_TYPES
from server.s3 import CREDENTIALS
from server.support import ServerProcess, free_port, install_model, wait_until

WITH_ALL = {
    "FINETUNE_CAPTURE_URI": "s3://kept/benchmark",
    "FINETUNE_CAPTURE_RANDOM": "1",
    "FINETUNE_CAPTURE_PER_HOUR": "1000000",
    "FINETUNE_CAPTURE_PER_DAY": "10000000",
    **CREDENTIALS,
}


def sink(port: int, ready: Connection) -> None:
    """Be a store: whatever is put is there from then on, its bytes only where they are few."""
    files: dict[bytes, bytes] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the server is done with this connection
            await take(reader, writer)
        writer.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            method, path, _ = head.split(b" ", 2)
            fields = {k.lower(): v for k, _, v in (line.partition(b": ") for line in head.split(b"\r\n")[1:])}
            if b"expect" in fields:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
            status, said = b"200 OK", b""
            if method == b"PUT":
                files[path] = body if len(body) < 1000 else b""
            elif path in files:
                said = files[path]
            else:
                status = b"404 Not Found"
            writer.write(b'HTTP/1.1 %s\r\nETag: "0"\r\nContent-Length: %d\r\n\r\n' % (status, len(said)))
            if method != b"HEAD":
                writer.write(said)

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", port, limit=2**20)
        ready.send(True)
        await server.serve_forever()

    asyncio.run(run())


def latencies(port: int, pages: list[Path], clients: int, seconds: float) -> list[float]:
    """Seconds of each answer that kept-alive connections got, one request at a time on each."""
    requests = [
        b"POST /predict HTTP/1.1\r\nHost: b\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
        % (MEDIA_TYPES[page.suffix].encode(), page.stat().st_size)
        + page.read_bytes()
        for page in pages
    ]
    took: list[float] = []

    async def client(offset: int, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done = 0
        while (started := time.perf_counter()) < until:
            writer.write(requests[(offset + done) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            took.append(time.perf_counter() - started)
            done += 1
        writer.close()

    async def run() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(client(7 * number, until) for number in range(clients)))

    asyncio.run(run())
    return took


def p99(port: int, pages: list[Path], clients: int, seconds: float) -> tuple[float, int]:
    """Return the 99th percentile in seconds, and of how many answers."""
    took = latencies(port, pages, clients, seconds)
    return quantiles(took, n=100, method="inclusive")[98], len(took)


def kept(server: ServerProcess, outcome: str) -> int:
    """Return how many pages had this outcome."""
    wanted = f'outcome="{outcome}"'
    series = server.metrics().items()
    return int(sum(v for k, v in series if k.startswith("finetune_capture_pages_total") and wanted in k))


def measured(given: argparse.Namespace, off: ServerProcess, on: ServerProcess, pages: list[Path]) -> tuple[float, bool]:
    """Ask both in turn; return the median of the ratios, and whether every answered page was kept."""
    spawn, ratios, answered = get_context("spawn"), [], 0
    for number in range(-1, given.rounds):
        seconds = given.seconds if number >= 0 else 3  # the first round warms both up
        order = (off, on) if number % 2 == 0 else (on, off)
        figures = {}
        for server in order:
            with spawn.Pool(1) as pool:
                figures[server] = pool.apply(p99, (server.port, pages, given.clients, seconds))
        answered += figures[on][1]
        if number >= 0:
            ratios.append(figures[on][0] / figures[off][0])
            without, with_all = (f"{1000 * figures[s][0]:.1f} ms of {figures[s][1]}" for s in (off, on))
            print(f"round {number + 1}: p99 without {without}, with {with_all}, ratio {ratios[-1]:.3f}", flush=True)
    wait_until(lambda: kept(on, "Stored") + kept(on, "Queue") == answered, 60)
    print(
        f"{answered} answered, {kept(on, 'Stored')} kept, {kept(on, 'Queue')} lost; median ratio {median(ratios):.3f}"
    )
    return median(ratios), kept(on, "Queue") == 0


def main() -> int:
    """Measure and print; return the exit code."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=float, default=1.05)
    given = parser.parse_args()
    pages = sorted(page for page in given.pages.rglob("*") if page.suffix in MEDIA_TYPES)[:100]
    spawn, port = get_context("spawn"), free_port()
    ours, theirs = spawn.Pipe()
    store = spawn.Process(target=sink, args=(port, theirs), daemon=True)
    store.start()
    ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        directory = install_model(Path(folder), given.model.read_bytes())
        threads = {"FINETUNE_THREADS": str(given.threads), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        off = ServerProcess(directory, Path(folder, "off.log"), threads)
        on = ServerProcess(directory, Path(folder, "on.log"), {**threads, **WITH_ALL})
        try:
            off.wait_ready()
            on.wait_ready()
            ratio, whole = measured(given, off, on, pages)
        finally:
            off.kill()
            on.kill()
            store.kill()
    return 0 if ratio <= given.most and whole else 1


if __name__ == "__main__":
    sys.exit(main())
