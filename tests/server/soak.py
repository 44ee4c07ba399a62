"""Hostile pages among good ones: every good request is answered, in time; memory and descriptors stay flat.

python -m server.soak [--seconds 600]
(with `tests` on PYTHONPATH). Prints memory and descriptors as it goes, then every outcome; ends with 1 when a good
request was lost or late, or when either grew after the second minute.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from server import hostile
from server.support import ServerProcess, connect, encode, install_model, page_with, pdf, predict_head, tiny_model

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
BYTES_A_MINUTE = 1 << 20


class Soak:
    """The clients, and what became of their requests."""

    def __init__(self, server: ServerProcess, seconds: float) -> None:
        self.server = server
        self.until = time.monotonic() + seconds
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.slowest: dict[str, float] = dict.fromkeys(GOOD, 0.0)
        self._lock = threading.Lock()

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
            with connect(self.server) as connection:
                connection.sendall(predict_head(bytes(1000)) + b"x")
                time.sleep(3)

    def _outcome(self, body: bytes) -> str:
        try:
            answer = self.server.request("POST", "/predict", body, timeout=60)
        except OSError as error:
            return type(error).__name__
        return "200" if answer.status == 200 else answer.reason


def held(server: ServerProcess) -> tuple[int, int]:
    """Bytes of memory, and descriptors."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    memory = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))
    return memory, len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def watch(soak: Soak) -> list[tuple[float, int, int]]:
    """Print and return (seconds, bytes, descriptors) until the end."""
    started, samples = time.monotonic(), []
    while time.monotonic() < soak.until:
        memory, files = held(soak.server)
        samples.append((time.monotonic() - started, memory, files))
        print(f"{samples[-1][0]:4.0f} s: {memory >> 20} MiB, {files} descriptors", flush=True)
        time.sleep(10)
    return samples


def faults(soak: Soak, samples: list[tuple[float, int, int]]) -> list[str]:
    """Say what is not as it should be."""
    said = [f"{n} {kind}: {how}" for (kind, how), n in soak.outcomes.items() if kind in GOOD and how != "200"]
    said += [f"{kind} took {seconds:.1f} s" for kind, seconds in soak.slowest.items() if seconds > IN_TIME[kind]]
    late = [sample for sample in samples if sample[0] >= WARM_UP_SECONDS]
    if len(late) > 12:
        minutes = (late[-1][0] - late[0][0]) / 120
        first, last = late[: len(late) // 2], late[len(late) // 2 :]
        # Halves are compared by their least: bursts come and go.
        growth = (min(s[1] for s in last) - min(s[1] for s in first)) / minutes
        if growth > BYTES_A_MINUTE:
            said.append(f"memory grows by {growth / 2**20:.1f} MiB a minute")
        if min(s[2] for s in last) > min(s[2] for s in first) + 5:
            said.append("descriptors pile up")
    return said


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(install_model(Path(folder, "model"), tiny_model()), Path(folder, "log"), {})
        try:
            server.wait_ready()
            soak = Soak(server, given.seconds)
            work: list[Callable[[], None]] = [partial(soak.good, kind) for kind in GOOD]
            work += [soak.bad] * 3 + [soak.trickle] * 4
            threads = [threading.Thread(target=each) for each in work]
            for thread in threads:
                thread.start()
            samples = watch(soak)
            for thread in threads:
                thread.join()
            for (kind, outcome), count in sorted(soak.outcomes.items()):
                print(f"{kind}: {outcome} {count}")
            said = faults(soak, samples)
            print("\n".join(said) or "as it should be", {k: round(v, 2) for k, v in soak.slowest.items()})
            return 1 if said else 0
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
