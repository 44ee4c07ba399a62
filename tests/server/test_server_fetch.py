"""The init step lets exactly the judged bytes through, from a directory or from S3, or says what is wrong."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from finetune_server.artifact import Artifact
from finetune_server.config import FetchConfig, fetch_config
from finetune_server.errors import ExitCode, StartError
from finetune_server.fetch import fetch
from server.s3 import CREDENTIALS, Bucket
from server.support import DEADLINE, StartServer, clean_environment, encode, page_with, sha256, tiny_model

MODEL = tiny_model()
KEYS = ("FINETUNE_MODEL_VERSION", "FINETUNE_ARTIFACT_URI", "FINETUNE_ARTIFACT_SHA256")


def settings(directory: Path, uri: str, digest: str = sha256(MODEL)) -> dict[str, str]:
    return dict(zip(KEYS, ("ft_v1.1", uri, digest), strict=True)) | {"FINETUNE_MODEL_DIR": str(directory)}


def run_fetch(
    directory: Path, uri: str, digest: str = sha256(MODEL), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "finetune_server", "fetch"],
        env=clean_environment(**settings(directory, uri, digest) | environment),
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )


def last_message(done: subprocess.CompletedProcess[str]) -> str:
    return str(json.loads(done.stderr.splitlines()[-1])["message"])


def nothing_was_left(directory: Path) -> bool:
    return not directory.exists() or not list(directory.iterdir())


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "artifacts" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(MODEL)
    return path


def test_a_model_from_a_directory_arrives_verified(tmp_path: Path, artifact: Path) -> None:
    done = run_fetch(tmp_path / "model", artifact.as_uri())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "model.onnx").read_bytes() == MODEL
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    assert record == {"version": "ft_v1.1", "uri": artifact.as_uri(), "sha256": sha256(MODEL)}
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.onnx"]


def test_a_model_from_s3_is_fetched_and_served(tmp_path: Path, bucket: Bucket, start_server: StartServer) -> None:
    uri = bucket.put("ml/run-1/attempt-1/train/model.onnx", MODEL)
    done = run_fetch(tmp_path / "model", uri, **bucket.environment)
    assert done.returncode == 0, done.stderr
    server = start_server(tmp_path / "model")
    server.wait_ready()
    assert server.get("/version").json["uri"] == uri
    assert server.predict(encode(page_with("blue", at=(0, 0)))).json["fields"][0]["field"] == "blue"


def test_a_large_object_is_streamed_from_s3(tmp_path: Path, bucket: Bucket) -> None:
    content = os.urandom(25 * 1024 * 1024)  # more than the read-ahead, and not a multiple of it
    uri = bucket.put("large.onnx", content + b"x")
    done = run_fetch(tmp_path / "model", uri, sha256(content + b"x"), **bucket.environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "model.onnx").read_bytes() == content + b"x"


@pytest.mark.parametrize("key", ["missing.onnx", "ml/no/such/model.onnx"])
def test_an_object_that_is_not_there_is_said_at_once(tmp_path: Path, bucket: Bucket, key: str) -> None:
    done = run_fetch(tmp_path / "model", f"s3://{bucket.name}/{key}", **bucket.environment)
    assert done.returncode == ExitCode.BAD_INPUT
    assert last_message(done).startswith("ArtifactNotFound: ")
    assert nothing_was_left(tmp_path / "model")


def test_a_store_that_is_away_is_tried_again_and_then_unavailable(tmp_path: Path) -> None:
    away = CREDENTIALS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    patient = settings(tmp_path / "model", "s3://models/model.onnx") | away | {"FINETUNE_FETCH_SECONDS": "600"}
    with subprocess.Popen(
        [sys.executable, "-m", "finetune_server", "fetch"],
        env=clean_environment(**patient),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        assert any("trying again in 1 s" in line for line in process.stderr)
        process.kill()
    done = run_fetch(tmp_path / "model", "s3://models/model.onnx", FINETUNE_FETCH_SECONDS="0", **away)
    assert done.returncode == ExitCode.UNAVAILABLE
    assert last_message(done).startswith("StorageUnavailable: ")
    assert "AWS_ENDPOINT_URL" in last_message(done)


def test_other_bytes_than_those_judged_are_never_left_behind(tmp_path: Path, artifact: Path) -> None:
    artifact.write_bytes(MODEL + b"\0")
    done = run_fetch(tmp_path / "model", artifact.as_uri())
    assert done.returncode == ExitCode.BAD_INPUT
    assert last_message(done).startswith("DigestMismatch: ")
    assert sha256(MODEL + b"\0") in last_message(done)
    assert nothing_was_left(tmp_path / "model")


def test_without_keys_and_pin_it_waits_until_the_pod_is_replaced(tmp_path: Path) -> None:
    # The Downward API gives empty strings for annotations that are not there.
    process = subprocess.Popen(
        [sys.executable, "-m", "finetune_server", "fetch"],
        env=clean_environment(**dict.fromkeys(KEYS, ""), FINETUNE_MODEL_DIR=str(tmp_path / "model")),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert "waiting to be replaced" in process.stderr.readline()
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == ExitCode.TERMINATED
    process.stderr.close()
    assert nothing_was_left(tmp_path / "model")


def test_the_operators_keys_win_over_the_pin() -> None:
    keys = dict(zip(KEYS, ("ft_v1.2", "file:///b/model.onnx", "b" * 64), strict=True))
    pin = {
        "FINETUNE_PINNED_VERSION": "base_v1",
        "FINETUNE_PINNED_URI": "file:///a/m",
        "FINETUNE_PINNED_SHA256": "a" * 64,
    }
    artifact = fetch_config(keys | pin).artifact
    assert artifact
    assert artifact.version == "ft_v1.2"
    pinned = fetch_config(dict.fromkeys(KEYS, "") | pin).artifact
    assert pinned
    assert pinned.version == "base_v1"


@dataclass
class FakeClock:
    """Virtual time."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class BreaksAfter(io.BytesIO):
    """A stream whose connection breaks after some bytes."""

    def __init__(self, content: bytes, error: Exception) -> None:
        super().__init__(content)
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise self._error
        return data


def attempts(*outcomes: Exception | Callable[[], IO[bytes]]) -> Callable[[str], IO[bytes]]:
    """An opener that goes through `outcomes` and stays at the last."""
    left = list(outcomes)

    def open_next(uri: str) -> IO[bytes]:
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome()

    return open_next


def config(tmp_path: Path, **changes: int) -> tuple[FetchConfig, Artifact]:
    artifact = Artifact("ft_v1.1", "s3://models/model.onnx", sha256(MODEL))
    limits = {"max_bytes": 10**9, "patience_seconds": 300} | changes
    return FetchConfig(artifact, tmp_path / "model", **limits), artifact


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset"),
        TimeoutError(),
        OSError(errno.EIO, "Internal Error"),
        RuntimeError("a store's own error class"),
    ],
)
@pytest.mark.parametrize("breaks", ["opening", "half-way"])
def test_a_passing_failure_of_the_store_is_outlived(tmp_path: Path, error: Exception, breaks: str) -> None:
    bad: Exception | Callable[[], IO[bytes]] = error if breaks == "opening" else lambda: BreaksAfter(MODEL[:100], error)
    settings, artifact = config(tmp_path)
    clock = FakeClock()
    fetch(settings, artifact, clock, attempts(bad, bad, lambda: io.BytesIO(MODEL)))
    assert (tmp_path / "model" / "model.onnx").read_bytes() == MODEL
    assert clock.pauses == [1, 2]


def test_pauses_grow_to_half_a_minute_and_patience_ends(tmp_path: Path) -> None:
    settings, artifact = config(tmp_path)
    clock = FakeClock()
    with pytest.raises(StartError) as caught:
        fetch(settings, artifact, clock, attempts(ConnectionResetError("reset")))
    assert (caught.value.reason, caught.value.exit_code) == ("StorageUnavailable", ExitCode.UNAVAILABLE)
    assert clock.pauses[:6] == [1, 2, 4, 8, 16, 30]
    assert 270 < clock.now <= 300
    assert nothing_was_left(tmp_path / "model")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError("Access Denied"), "ArtifactForbidden"),
        (FileNotFoundError("gone"), "ArtifactNotFound"),
        (ImportError("no gcsfs"), "UriUnsupported"),
    ],
)
def test_what_waiting_cannot_mend_fails_at_once(tmp_path: Path, error: Exception, reason: str) -> None:
    settings, artifact = config(tmp_path)
    clock = FakeClock()
    with pytest.raises(StartError) as caught:
        fetch(settings, artifact, clock, attempts(error))
    assert caught.value.reason == reason
    assert clock.pauses == []


def test_more_bytes_than_allowed_are_not_stored(tmp_path: Path) -> None:
    settings, artifact = config(tmp_path, max_bytes=len(MODEL) - 1)
    with pytest.raises(StartError) as caught:
        fetch(settings, artifact, FakeClock(), attempts(lambda: io.BytesIO(MODEL)))
    assert caught.value.reason == "ArtifactTooLarge"
    assert nothing_was_left(tmp_path / "model")


def test_a_verified_model_is_not_fetched_again(tmp_path: Path) -> None:
    settings, artifact = config(tmp_path)
    fetch(settings, artifact, FakeClock(), attempts(lambda: io.BytesIO(MODEL)))
    (tmp_path / "model" / "model.json").unlink()
    fetch(settings, artifact, FakeClock(), attempts(AssertionError("opened again")))
    assert (tmp_path / "model" / "model.json").exists()


def test_a_new_version_replaces_the_old_one_and_leftovers(tmp_path: Path) -> None:
    settings, artifact = config(tmp_path)
    (tmp_path / "model").mkdir()
    for name in ("model.onnx", "model.json", ".model.onnx.part", ".model.json.part"):
        (tmp_path / "model" / name).write_bytes(b"old")
    fetch(settings, artifact, FakeClock(), attempts(lambda: io.BytesIO(MODEL)))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.onnx"]


def test_while_a_fetch_fails_no_record_vouches_for_the_old_file(tmp_path: Path) -> None:
    settings, artifact = config(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    with pytest.raises(StartError):
        fetch(settings, artifact, FakeClock(), attempts(FileNotFoundError("gone")))
    assert not (tmp_path / "model" / "model.json").exists()


def test_a_volume_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    settings, artifact = config(tmp_path)
    (tmp_path / "model").write_text("a file where the volume should be")
    with pytest.raises(StartError) as caught:
        fetch(settings, artifact, FakeClock(), attempts(lambda: io.BytesIO(MODEL)))
    assert caught.value.reason == "VolumeUnusable"


def test_a_full_volume_is_not_taken_for_a_failing_store(tmp_path: Path) -> None:
    settings, artifact = config(tmp_path)
    (tmp_path / "model").mkdir()
    clock = FakeClock()

    def open_on_full_volume(uri: str) -> IO[bytes]:
        (tmp_path / "model" / ".model.onnx.part").symlink_to("/dev/full")
        return io.BytesIO(MODEL)

    with pytest.raises(StartError) as caught:
        fetch(settings, artifact, clock, open_on_full_volume)
    assert caught.value.reason == "VolumeUnusable"
    assert clock.pauses == []
