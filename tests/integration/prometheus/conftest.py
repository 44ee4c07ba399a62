"""A real Prometheus on loopback that scrapes what a test says, and evaluates what it says."""

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml

from finetune_operator.cluster.prometheus import Address, Prometheus
from finetune_operator.cluster.signals import Asked
from house.crds import ROOT
from local_cluster.ports import free_ports

T = TypeVar("T")

RULES = {
    "groups": [
        {
            "name": "told",
            "interval": "1s",
            "rules": [
                {"record": "namespace_deployment_version:finetune_documents:increase30m", "expr": "told_documents"},
                {
                    "record": "namespace_deployment_version_field:finetune_field_detected:ratio_rate30m",
                    "expr": "told_ratio",
                },
                {
                    "record": "namespace_deployment_version_field:finetune_field_expected:increase30m",
                    "expr": "told_expected",
                },
                {
                    "alert": "FinetuneFieldDetectionRateLow",
                    "expr": "told_ratio < 0.9",
                    "for": "1s",
                    "labels": {"severity": "critical"},
                },
                {"alert": "FinetuneInferenceLatencyHigh", "expr": "told_documents > 0"},
                {"alert": "FinetuneConfidenceDropped", "expr": "told_documents > 0", "for": "1h"},
            ],
        }
    ]
}


@dataclass
class Exporter:
    """What pods and operator would show; `lines` is the text of a scrape, and counters grow with each."""

    lines: list[str] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)
    """By series: how much it grows from scrape to scrape."""
    scrapes: int = 0

    def text(self) -> str:
        self.scrapes += 1
        grown = [f"{series} {step * self.scrapes:g}" for series, step in self.counters.items()]
        return "\n".join([*self.lines, *grown, ""])


@dataclass(frozen=True)
class RealPrometheus:
    """Where it answers, and what it scrapes each second."""

    url: str
    exporter: Exporter


def until(look: Callable[[], Any], seconds: float = 90) -> Any:
    """Return what `look` returns once it is true. Raises AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = look()
        if value:
            return value
        time.sleep(0.3)
    raise AssertionError("the answer never came")


def asked(url: str, question: Callable[[Asked], Awaitable[T]]) -> T:
    """Return what the operator's client makes of one question."""

    async def ask() -> T:
        client = Prometheus(Address(url=url), seconds=60)
        try:
            return await question(Asked(client))
        finally:
            await client.close()

    return asyncio.run(ask())


@cache
def binary() -> str:
    """Return the program: FINETUNE_PROMETHEUS, or the one that the local cluster builds, on first use."""
    named = os.environ.get("FINETUNE_PROMETHEUS")
    command = [str(ROOT / "local-cluster" / "cluster"), "tools", "build", "promtool", "prometheus"]
    return named or subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]


@contextmanager
def started(folder: Path, rules: dict[str, Any], target: str | None = None) -> Iterator[str]:
    """Start a Prometheus on loopback with these rules, which scrapes `target` each second; yield where it answers."""
    (port,) = free_ports(1)
    # The servers say their namespace themselves here; in a cluster the scrape does.
    job = {"job_name": "told", "honor_labels": True, "static_configs": [{"targets": [target]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [] if target is None else [job],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules, width=1000))
    command = [
        binary(),
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.route-prefix=/metrics-store",
        "--log.level=error",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/metrics-store"
    try:
        until(lambda: _is_ready(url))
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[RealPrometheus]:
    exporter = Exporter()

    class Scraped(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exporter.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    binary()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scraped)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with started(tmp_path, RULES, f"127.0.0.1:{server.server_address[1]}") as url:
            yield RealPrometheus(url, exporter)
    finally:
        server.shutdown()
        server.server_close()


def _is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
