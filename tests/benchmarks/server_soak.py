"""Hostile pages among good ones: every good request is answered, in time; memory and descriptors stay flat."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from server import hostile
from server.support import ServerProcess, connect, encode, page_with, pdf, predict_head, running

PAGE = page_with("red", at=(32, 48))
GOOD = {
    "png": encode(PAGE),
    "jpeg": encode(page_with("red", at=(0, 0), width=1240, height=1754), ".jpg"),
    "tiff": encode(PAGE, ".tiff"),
    "pdf": pdf((595, 842)),
}
IN_TIME = {"png": 5.0, "jpeg": 5.0, "tiff": 20.0, "pdf": 20.0}
"""Seconds: documents may wait for slow ones, images for none."""

BAD = (
    hostile.slow_pdf(), hostile.nested_pdf(), hostile.hungry_pdf(), hostile.lying_tiff(), hostile.scans_jpeg(),
    encode(PAGE)[:60], b"%PDF-1.4 x", b"junk",
)  # fmt: skip
WARM_UP_SECONDS = 120
"""Bursts are over: what grows from here on grows for good."""
BYTES_A_MINUTE = 1 << 20
DESCRIPTORS = 5
EVERY_SECONDS = 10
LEAST_SECONDS = WARM_UP_SECONDS + 12 * EVERY_SECONDS
"""Under this there are too few samples to tell growth from a burst."""


class Soak:
    """The clients, and what became of their requests."""

    def __init__(self, server: ServerProcess, seconds: float) -> None:
        self.server = server
        self.until = time.monotonic() + seconds
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.slowest: dict[str, float] = dict.fromkeys(GOOD, 0.0)
        self._lock = threading.Lock()

    def run(self) -> list[Sample]:
        """Let all clients work until the end; return what the server held meanwhile."""
        work: list[Callable[[], None]] = [partial(self.good, kind) for kind in GOOD]
        work += [self.bad] * 3 + [self.trickle] * 4
        threads = [threading.Thread(target=each) for each in work]
        for thread in threads:
            thread.start()
        samples = watch(self)
        for thread in threads:
            thread.join()
        return samples

    def good(self, kind: str) -> None:
        """Send a good page, again and again."""
        while time.monotonic() < self.until:
            started = time.monotonic()
            outcome = self._outcome(GOOD[kind])
            with self._lock:
                self.outcomes[kind, outcome] += 1
                self.slowest[kind] = max(self.slowest[kind], time.monotonic() - started)
            time.sleep(0.05)

    def bad(self) -> None:
        """Send whatever hurts."""
        while time.monotonic() < self.until:
            outcome = self._outcome(random.choice(BAD))
            with self._lock:
                self.outcomes["bad", outcome] += 1
            time.sleep(0.3)

    def trickle(self) -> None:
        """Begin a body and never end it."""
        while time.monotonic() < self.until:
            with contextlib.suppress(OSError), connect(self.server) as connection:
                connection.sendall(predict_head(bytes(1000)) + b"x")
                time.sleep(3)

    def _outcome(self, body: bytes) -> str:
        try:
            answer = self.server.request("POST", "/predict", body, timeout=60)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        return "200" if answer.status == 200 else answer.reason


def held(server: ServerProcess) -> tuple[int, int]:
    """Bytes of memory, and descriptors."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    memory = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))
    return memory, len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


@dataclass(frozen=True)
class Sample:
    """What the server held, in bytes and descriptors, so many seconds after the start."""

    seconds: float
    memory: int
    files: int


@dataclass(frozen=True)
class Growth:
    """From the first half of the samples after the warm-up to the second: bytes a minute, and descriptors."""

    memory: float
    files: int


def watch(soak: Soak) -> list[Sample]:
    """Print and return what the server holds, until the end."""
    started, samples = time.monotonic(), []
    while time.monotonic() < soak.until:
        sample = Sample(time.monotonic() - started, *held(soak.server))
        samples.append(sample)
        print(f"{sample.seconds:4.0f} s: {sample.memory >> 20} MiB, {sample.files} descriptors", flush=True)
        time.sleep(EVERY_SECONDS)
    return samples


def growth(samples: Sequence[Sample]) -> Growth | None:
    """Return what grew after the warm-up; None where the soak was too short to tell."""
    late = [sample for sample in samples if sample.seconds >= WARM_UP_SECONDS]
    if len(late) < (LEAST_SECONDS - WARM_UP_SECONDS) // EVERY_SECONDS - 1:
        return None
    first, last = late[: len(late) // 2], late[len(late) // 2 :]
    minutes = (last[0].seconds - first[0].seconds) / 60
    # Halves are compared by their least: bursts come and go.
    memory = min(s.memory for s in last) - min(s.memory for s in first)
    return Growth(memory / minutes, min(s.files for s in last) - min(s.files for s in first))


def faults(soak: Soak, grown: Growth | None) -> list[str]:
    """Say what is not as it should be."""
    said = [f"{n} {kind}: {how}" for (kind, how), n in soak.outcomes.items() if kind in GOOD and how != "200"]
    said += [f"no {kind} was answered" for kind in GOOD if not soak.outcomes[kind, "200"]]
    said += [f"{kind} took {seconds:.1f} s" for kind, seconds in soak.slowest.items() if seconds > IN_TIME[kind]]
    if grown is not None and grown.memory > BYTES_A_MINUTE:
        said.append(f"memory grows by {grown.memory / 2**20:.1f} MiB a minute")
    if grown is not None and grown.files > DESCRIPTORS:
        said.append(f"{grown.files} descriptors more")
    return said


def main(arguments: Sequence[str]) -> int:
    """Run it, print every outcome and the verdict; the exit status is 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default 10; growth is judged from 4)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-server-") as folder, running(Path(folder), {}) as server:
        soak = Soak(server, given.minutes * 60)
        samples = soak.run()
    for (kind, outcome), count in sorted(soak.outcomes.items()):
        print(f"{kind}: {outcome} {count}")
    grown = growth(samples)
    said = faults(soak, grown)
    _report(soak, grown, given.minutes)
    print("\n".join(f"not as it should be: {line}" for line in said) or "as it should be")
    return 1 if said else 0


def _report(soak: Soak, grown: Growth | None, minutes: float) -> None:
    good = sum(n for (kind, _), n in soak.outcomes.items() if kind in GOOD)
    answered = sum(n for (kind, how), n in soak.outcomes.items() if kind in GOOD and how == "200")
    slowest = ", ".join(f"{kind} {soak.slowest[kind]:.1f} of {IN_TIME[kind]:.0f} s" for kind in GOOD)
    held_by = (
        f"growth not judged (under {LEAST_SECONDS // 60} minutes)" if grown is None
        else f"memory {grown.memory / 2**20:+.2f} of 1 MiB a minute, descriptors {grown.files:+d} of {DESCRIPTORS}"
    )  # fmt: skip
    print(f"{minutes:g} minutes: {answered} of {good} good requests 200; slowest {slowest}; {held_by}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
