"""A store whose certificate no public authority has signed: model and captured pages by AWS_CA_BUNDLE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_server.capture.store import RemoteStore
from finetune_server.errors import ExitCode
from house.private_store import PrivateStore, private_store
from server.support import sha256
from server.test_server_fetch import MODEL, last_message, run_fetch


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateStore]:
    with private_store(tmp_path_factory.mktemp("store"), {"model.onnx": MODEL}) as running:
        yield running


def test_a_model_is_fetched_by_the_bundle(tmp_path: Path, store: PrivateStore) -> None:
    trusting = store.environment | {"AWS_CA_BUNDLE": str(store.authority)}
    done = run_fetch(tmp_path / "model", "s3://bucket/model.onnx", sha256(MODEL), **trusting)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "model.onnx").read_bytes() == MODEL


@pytest.mark.parametrize("bundle", [None, "", "/nowhere/ca.crt"])
def test_what_is_not_trusted_names_the_setting(tmp_path: Path, store: PrivateStore, bundle: str | None) -> None:
    given = store.environment | {"FINETUNE_FETCH_SECONDS": "1"} | ({} if bundle is None else {"AWS_CA_BUNDLE": bundle})
    done = run_fetch(tmp_path / "model", "s3://bucket/model.onnx", sha256(MODEL), **given)
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "its certificate (AWS_CA_BUNDLE)" in last_message(done)


def test_captured_pages_are_written_by_the_bundle(store: PrivateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (store.environment | {"AWS_CA_BUNDLE": str(store.authority)}).items():
        monkeypatch.setenv(name, value)
    pages = RemoteStore("s3://bucket/production/ml/invoice-detector")
    pages.write("capture.json", b"{}")
    assert pages.read("capture.json") == b"{}"
