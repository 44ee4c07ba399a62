"""Fixtures of the server's tests: a tiny real model, and the server as a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.s3 import Bucket, s3_server
from server.support import ServerProcess, StartServer, install_model, running, tiny_model

# Sessions in this process report nothing to onnxruntime's maker, like those of the server.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A model volume as `fetch` leaves it."""
    return install_model(tmp_path / "model", tiny_model())


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers (directory, *within, **environment) and stops those that are left at the end."""
    started: list[ServerProcess] = []

    def start(directory: Path, *within: str, **environment: str) -> ServerProcess:
        server = ServerProcess(directory, tmp_path / f"server-{len(started)}.log", environment, *within)
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One ready server, for the tests that only ask."""
    base = tmp_path_factory.mktemp("shared-server")
    with running(base, {"FINETUNE_MAX_BODY_BYTES": "2000000"}) as server:
        yield server


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket on an S3 server that all tests share."""
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as bucket:
        yield bucket
