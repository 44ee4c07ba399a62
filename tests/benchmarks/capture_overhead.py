"""What keeping every page costs those who ask: p99 of an answer at 100 % capture against none, and CPU a page.

Two servers are asked in turn for a few seconds each, so that whatever else the machine does meets both. They start anew
for each round, because two processes of one program differ by several percent for as long as they live: `--control`
keeps nothing in both, and shows what comes of that alone. The store takes all it gets. No page comes twice. Pages
arrive at random moments, as from people who do not wait for each other: `--load` of what the server without capture
answers at its limit, at the same moments for both. An answer's time counts from then. With `--load 1` `--clients` ask
one page after the other: at its limit whatever is done beside an answer makes the next one late. With `--cpus` both
share so many CPUs, and who asks and stores uses the others, as in a cluster. Prints both for each round, the median
ratio of the p99s, and a verdict: as it should be when that is at most `--most` and every answered page was kept, else
the exit status is 1. On a busy machine p99s are of its other work; CPU a page is the figure that holds.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import accumulate, cycle, takewhile
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median, quantiles
from typing import TypeAlias

import cv2

from benchmarks.page_files import drawn
from benchmarks.server_throughput import yolo
from local_cluster.ports import free_ports
from server.s3 import CREDENTIALS
from server.support import ServerProcess, children_of, install_model, wait_until

WITH_ALL = {
    "FINETUNE_CAPTURE_URI": "s3://kept/benchmark",
    "FINETUNE_CAPTURE_RANDOM": "1",
    "FINETUNE_CAPTURE_PER_HOUR": "1000000",
    "FINETUNE_CAPTURE_PER_DAY": "10000000",
    "FINETUNE_CAPTURE_QUEUE_BYTES": str(256 * 1024 * 1024),  # what is measured is that all are kept
    **CREDENTIALS,
}
PAGES = 40
ROWS, COLUMNS = 1754, 1240
"""Of the pages that are made: A4 at 150 dots an inch."""
MODEL_SIZE = 640
WARM_SECONDS = 4
TURN_SECONDS = 5
"""So long one server is asked before it is the other's turn."""
TICK = 1 / os.sysconf("SC_CLK_TCK")


Asking: TypeAlias = Callable[[float], Awaitable[None]]
"""Asks for a page that came at a moment of `time.perf_counter`, and waits for its answer."""


def sink(port: int, ready: Connection) -> None:
    """Be a store: whatever is put is there from then on, its bytes only where they are few.

    A store is on machines of its own, so this one leaves the CPUs to those who answer, as far as it can.
    """
    os.nice(19)
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


@dataclass(frozen=True)
class Limit:
    """So many clients, each of which asks as soon as it is answered, for some seconds: the server is at its limit."""

    clients: int
    seconds: float

    async def ask(self, one: Asking) -> None:
        """Ask page after page."""
        until = time.perf_counter() + self.seconds

        async def client() -> None:
            while (now := time.perf_counter()) < until:
                await one(now)

        await asyncio.gather(*(client() for _ in range(self.clients)))


@dataclass(frozen=True)
class Arrivals:
    """Pages that come so many seconds after the beginning, whether or not those before them are answered."""

    after: tuple[float, ...]

    @classmethod
    def of(cls, rate: float, seconds: float, seed: int) -> Arrivals:
        """Return a Poisson process of `rate` a second; with one seed the same moments."""
        chance = random.Random(seed)
        gaps = (chance.expovariate(rate) for _ in range(math.ceil(2 * rate * seconds) + 100))
        return cls(tuple(takewhile(lambda moment: moment < seconds, accumulate(gaps))))

    async def ask(self, one: Asking) -> None:
        """Ask for each page at its moment."""
        begin = time.perf_counter()

        async def at(moment: float) -> None:
            await asyncio.sleep(begin + moment - time.perf_counter())
            await one(begin + moment)

        await asyncio.gather(*map(at, self.after))


def latencies(port: int, pages: list[Path], demand: Limit | Arrivals) -> list[float]:
    """Seconds from the moment at which each page came to its answer, on connections that are kept."""
    contents = cycle(page.read_bytes() for page in pages)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    took: list[float] = []

    async def one(came: float) -> None:
        request = request_of(next(contents))
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        took.append(time.perf_counter() - came)
        idle.append((reader, writer))

    async def run() -> None:
        await demand.ask(one)
        for _, writer in idle:
            writer.close()

    asyncio.run(run())
    return took


def request_of(jpeg: bytes) -> bytes:
    """Return a request with a JPEG that nobody has sent before: a comment in it says another number each time."""
    content = jpeg[:2] + b"\xff\xfe\x00\x12" + secrets.token_bytes(16) + jpeg[2:]
    return (
        b"POST /predict HTTP/1.1\r\nHost: b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content)
        + content
    )


def cpu_seconds(server: ServerProcess) -> float:
    """Return what the server has computed, with its children that live: the one that writes pages."""
    pids = (server.process.pid, *children_of(server.process.pid))
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in pids)
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) * TICK


def outcomes(server: ServerProcess) -> tuple[int, int]:
    """Return how many pages were kept, and how many were dealt with."""
    series = [(k, v) for k, v in server.metrics().items() if k.startswith("finetune_capture_pages_total")]
    return int(sum(v for k, v in series if 'outcome="Stored"' in k)), int(sum(v for _, v in series))


def percentile(took: Sequence[float], percent: int) -> float:
    """Return a percentile, 1 to 99."""
    return quantiles(took, n=100, method="inclusive")[percent - 1]


@dataclass
class Asked:
    """A server in a round: seconds of each answer, and CPU seconds until all were kept."""

    server: ServerProcess
    keeps: bool
    took: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def ask(self, pool: Pool, pages: list[Path], demand: Limit | Arrivals) -> None:
        """Ask the server, and wait until nothing of it is left to do."""
        (_, dealt), before = outcomes(self.server), cpu_seconds(self.server)
        took = pool.apply(latencies, (self.server.port, pages, demand))
        if self.keeps:
            wait_until(lambda: outcomes(self.server)[1] == dealt + len(took))
        self.took += took
        self.cpu += cpu_seconds(self.server) - before

    @property
    def p99(self) -> float:
        """Return the 99th percentile in seconds."""
        return percentile(self.took, 99)

    @property
    def cpu_a_page(self) -> float:
        """Return CPU seconds a page."""
        return self.cpu / len(self.took)

    def __str__(self) -> str:
        """Return it in milliseconds."""
        return f"p99 {1000 * self.p99:.1f} ms, CPU {1000 * self.cpu_a_page:.1f} ms a page, of {len(self.took)}"


class Servers:
    """Both servers, and the process that asks."""

    def __init__(self, off: ServerProcess, on: ServerProcess, pool: Pool, pages: list[Path], *, keeps: bool) -> None:
        self.off, self.on, self._pool, self._pages, self._keeps = off, on, pool, pages, keeps

    def rate(self, clients: int) -> float:
        """Warm both up, and return how many pages a second the one without capture answers at its limit."""
        self.asked([Limit(clients, WARM_SECONDS)])
        return len(self.asked([Limit(clients, WARM_SECONDS)])[0].took) / WARM_SECONDS

    def asked(self, demands: Sequence[Limit | Arrivals]) -> tuple[Asked, Asked]:
        """Ask both for the same, in turns of one demand each, so that what else the machine does meets both."""
        off, on = Asked(self.off, keeps=False), Asked(self.on, keeps=self._keeps)
        for number, demand in enumerate(demands):
            for one in (off, on) if number % 2 == 0 else (on, off):
                one.ask(self._pool, self._pages, demand)
        return off, on


@dataclass(frozen=True)
class Rack:
    """What servers are started from: a model, the pages that they are asked for, a store, a command they run within."""

    directory: Path
    pages: list[Path]
    pool: Pool
    settings: dict[str, str]
    within: Sequence[str]
    keeps: bool

    @contextmanager
    def servers(self, number: int) -> Iterator[Servers]:
        """Start both for a round, in turn the one or the other first."""
        on = self.settings | (WITH_ALL if self.keeps else {})
        named = [("off", self.settings), ("on", on)]
        logs = self.directory.parent
        started = {
            name: ServerProcess(self.directory, logs / f"{name}.log", settings, *self.within)
            for name, settings in (named if number % 2 == 0 else reversed(named))
        }
        try:
            for server in started.values():
                server.wait_ready()
            yield Servers(started["off"], started["on"], self.pool, self.pages, keeps=self.keeps)
        finally:
            for server in started.values():
                server.kill()


def demanded(given: argparse.Namespace, rate: float, number: int) -> list[Limit | Arrivals]:
    """Return what is asked in a round, of a server that answers `rate` pages a second at its limit."""
    turns = math.ceil(given.seconds / TURN_SECONDS)
    if given.load >= 1:
        return [Limit(given.clients, TURN_SECONDS)] * turns
    return [Arrivals.of(given.load * rate, TURN_SECONDS, seed=number * turns + turn) for turn in range(turns)]


def measured(given: argparse.Namespace, rack: Rack) -> list[str]:
    """Ask both in turn, print what came out, and return what is not as it should be."""
    rounds: list[tuple[Asked, Asked]] = []
    lost = 0
    for number in range(given.rounds):
        with rack.servers(number) as servers:
            rate = servers.rate(given.clients)
            off, on = servers.asked(demanded(given, rate, number))
            kept, dealt = outcomes(servers.on)
            lost += dealt - kept
        rounds.append((off, on))
        print(f"round {number + 1}, {rate:.1f} pages a second at the limit: off {off}; on {on}", end="; ")
        print(f"ratio {on.p99 / off.p99:.3f}", flush=True)
    ratio = median(on.p99 / off.p99 for off, on in rounds)
    what = "all pages kept" if rack.keeps else "nothing kept"
    print(
        f"p99 with {what} to none: {ratio:.3f} of {given.most} (median of {given.rounds} rounds of load {given.load})"
    )
    for percent in (50, 90, 99):
        off_all, on_all = (
            percentile([t for one in some for t in one.took], percent) for some in zip(*rounds, strict=True)
        )
        print(
            f"p{percent} of all rounds: off {1000 * off_all:.1f} ms, on {1000 * on_all:.1f} ms, {on_all / off_all:.3f}"
        )
    cpu = median(on.cpu_a_page - off.cpu_a_page for off, on in rounds)
    print(f"CPU that keeping takes: {1000 * cpu:+.1f} ms a page; 1-minute load {os.getloadavg()[0]:.1f}")
    said = [f"p99 is {ratio:.3f} of what it is without capture, {given.most} allowed"] if ratio > given.most else []
    return said + ([f"{lost} pages were not kept"] if lost else [])


def apart(count: int) -> list[str]:
    """Leave the first CPUs to the servers, and return the command that runs a program on these alone."""
    cpus = sorted(os.sched_getaffinity(0))
    if count >= len(cpus):
        raise SystemExit(f"--cpus {count}: there are {len(cpus)}, and at least one is for those who ask")
    os.sched_setaffinity(0, cpus[count:])
    return ["taskset", "--cpu-list", ",".join(map(str, cpus[:count]))]


@contextmanager
def store() -> Iterator[int]:
    """Run the store; its port."""
    spawn, (port,) = get_context("spawn"), free_ports(1)
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=sink, args=(port, theirs), daemon=True)
    process.start()
    ours.recv()
    try:
        yield port
    finally:
        process.kill()


def made(folder: Path, trainer_python: str) -> tuple[Path, Path]:
    """Make a model as large as the example's, and pages; return where they are."""
    yolo(trainer_python, "make", str(folder), str(MODEL_SIZE))
    pages = folder / "a4"
    pages.mkdir()
    for number in range(PAGES):
        cv2.imwrite(str(pages / f"page-{number:02d}.jpg"), drawn(number, ROWS, COLUMNS))
    return folder / "model.onnx", pages


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capture_overhead", description=__doc__)
    parser.add_argument("--trainer-python", required=True, help="python of the trainer's environment, for a model")
    parser.add_argument("--model", type=Path, help="artifact to serve (default: one as large as the example's is made)")
    parser.add_argument("--pages", type=Path, help="folder of JPEGs (default: 40 of A4 at 150 dpi are made)")
    parser.add_argument("--threads", type=int, default=2, help="of one inference (default 2)")
    parser.add_argument("--load", type=float, default=0.5, help="share of what the server can that comes (default 0.5)")
    parser.add_argument("--clients", type=int, default=2, help="that find out what it can, or are its load (default 2)")
    parser.add_argument("--cpus", type=int, default=0, help="that the servers share (default: all, with everybody)")
    parser.add_argument("--seconds", type=float, default=60, help="that each server is asked in a round (default 60)")
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    parser.add_argument(
        "--control", action="store_true", help="keep nothing in both: what the machine itself makes of it"
    )
    parser.add_argument("--most", type=float, default=1.05, help="ratio of the p99s that is allowed (default 1.05)")
    given = parser.parse_args(arguments)
    within = apart(given.cpus) if given.cpus else []
    with tempfile.TemporaryDirectory(prefix="bench-capture-") as name, store() as port:
        folder = Path(name)
        model, at = (given.model, given.pages) if given.model and given.pages else made(folder, given.trainer_python)
        model, at = given.model or model, given.pages or at
        pages = sorted(page for page in at.rglob("*") if page.suffix == ".jpg")[:100]
        directory = install_model(folder / "served", model.read_bytes())
        settings = {"FINETUNE_THREADS": str(given.threads), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        with get_context("spawn").Pool(1) as pool:
            said = measured(given, Rack(directory, pages, pool, settings, within, keeps=not given.control))
    print("\n".join(f"not as it should be: {line}" for line in said) or "as it should be")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
