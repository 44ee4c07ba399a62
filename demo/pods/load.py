"""Steady traffic on POST /predict from inside the cluster: fresh and kept-alive connections, no retries.

Prints one JSON line a second and a summary on SIGTERM; every answer that is not 2xx, and every broken
connection, counts as a failure. Standard library only: it runs in any image with python3.
"""

import argparse
import http.client
import json
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tally:
    """What happened so far; shared by the client threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    ok: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def success(self, kind: str, version: str, seconds: float) -> None:
        """Count one 2xx answer of a connection kind by a model version."""
        with self.lock:
            self.ok[f"{kind}/{version}"] += 1
            self.latencies.append(seconds)

    def failure(self, kind: str, what: str) -> None:
        """Record one lost or refused request."""
        with self.lock:
            self.failures.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {kind}: {what}")

    def line(self, started: float) -> dict[str, object]:
        """Return the totals so far as one JSON object; latencies are of the time since the last line."""
        with self.lock:
            latencies, self.latencies = sorted(self.latencies), []
            total = sum(self.ok.values())
            seconds = time.monotonic() - started
            return {
                "seconds": round(seconds, 1),
                "requests": total + len(self.failures),
                "failures": len(self.failures),
                "perSecond": round((total + len(self.failures)) / max(seconds, 0.001), 2),
                "byKindAndVersion": dict(self.ok),
                "p95Milliseconds": round(1000 * latencies[int(0.95 * (len(latencies) - 1))], 1) if latencies else None,
                "lastFailures": self.failures[-5:],
            }


def send(connection: http.client.HTTPConnection, page: bytes) -> tuple[int, str]:
    """Post one page; return the HTTP status and the version that answered."""
    connection.request("POST", "/predict", body=page, headers={"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    body = answer.read()
    if not 200 <= answer.status < 300:
        return answer.status, ""
    return answer.status, str(json.loads(body)["model"]["version"])


def client(
    kind: str, address: tuple[str, int], pages: list[bytes], period: float, tally: Tally, stop: threading.Event
) -> None:
    """Send a page every `period` seconds until told to stop; `kept` reuses its connection."""
    connection: http.client.HTTPConnection | None = None
    due, number = time.monotonic(), 0
    while not stop.is_set():
        if connection is None:
            connection = http.client.HTTPConnection(*address, timeout=30)
        began = time.monotonic()
        try:
            status, version = send(connection, pages[number % len(pages)])
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            tally.failure(kind, repr(error))
            connection.close()
            connection = None
        else:
            if version:
                tally.success(kind, version, time.monotonic() - began)
            else:
                tally.failure(kind, f"HTTP {status}")
            if kind == "fresh":
                connection.close()
                connection = None
        number += 1
        due = max(due + period, time.monotonic())
        stop.wait(due - time.monotonic())
    if connection is not None:
        connection.close()


def main() -> int:
    """Run until SIGTERM; exit 0 when no request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--pages", type=Path, required=True, help="a folder of JPEG pages")
    parser.add_argument("--clients", type=int, default=3, help="clients of each kind")
    parser.add_argument("--period", type=float, default=0.5, help="seconds between one client's requests")
    arguments = parser.parse_args()
    pages = [path.read_bytes() for path in sorted(arguments.pages.glob("*.jpg"))[:20]]
    if not pages:
        parser.error(f"no *.jpg in {arguments.pages}")
    stop, tally, started = threading.Event(), Tally(), time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    address = (arguments.host, arguments.port)
    threads = [
        threading.Thread(target=client, args=(kind, address, pages, arguments.period, tally, stop))
        for kind in ("fresh", "kept")
        for _ in range(arguments.clients)
    ]
    for thread in threads:
        thread.start()
    while not stop.wait(1):
        print(json.dumps(tally.line(started)), flush=True)
    for thread in threads:
        thread.join()
    summary = tally.line(started) | {"summary": True, "lastFailures": tally.failures[:50]}
    print(json.dumps(summary), flush=True)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
