"""What ails a store is said with what mends it: a certificate that no public authority signed, a disk that is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from finetune_trainer.errors import ErrorClass, Reason, StepError
from finetune_trainer.storage import Storage
from house.private_store import PrivateStore, private_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateStore]:
    with private_store(tmp_path_factory.mktemp("store"), {"page.txt": b"a page"}) as running:
        yield running


@pytest.fixture
def pod(store: PrivateStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of a pod that reaches the store; its bundle is each test's own."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # it is remembered by its arguments, which are the same for every store
    yield monkeypatch
    S3FileSystem.clear_instance_cache()


def test_the_store_is_trusted_by_the_bundle(pod: pytest.MonkeyPatch, store: PrivateStore) -> None:
    pod.setenv("AWS_CA_BUNDLE", str(store.authority))
    storage = Storage()
    storage.write_once("s3://bucket/pool/a.json", b"{}")
    assert storage.read("s3://bucket/page.txt") == b"a page"
    assert storage.names("s3://bucket/pool") == ["a.json"]


@pytest.mark.parametrize("bundle", [None, "", "/nowhere/ca.crt"])
def test_what_is_not_trusted_names_the_setting(pod: pytest.MonkeyPatch, bundle: str | None) -> None:
    """Also where the bundle is no file: the client's own words for that name neither file nor setting."""
    if bundle is not None:
        pod.setenv("AWS_CA_BUNDLE", bundle)
    with pytest.raises(StepError) as caught:
        Storage().read("s3://bucket/page.txt")
    assert (caught.value.error_class, caught.value.reason) == (ErrorClass.UNAVAILABLE, Reason.STORAGE_UNAVAILABLE)
    assert "AWS_CA_BUNDLE" in caught.value.remedy


def test_a_file_without_a_certificate_names_the_setting(pod: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    pod.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.crt"))
    with pytest.raises(StepError, match="StorageUnavailable") as caught:
        Storage().read("s3://bucket/page.txt")
    assert "AWS_CA_BUNDLE" in caught.value.remedy


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_asks_for_room(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the place itself, or where a page of a bucket is copied to: no endpoint is to be looked at."""

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("finetune_trainer.local_files.create", full)
    with pytest.raises(StepError) as caught:
        Storage().write_once((tmp_path / "a.json").as_uri(), b"{}")
    assert (caught.value.error_class, caught.value.reason) == (ErrorClass.UNAVAILABLE, Reason.STORAGE_UNAVAILABLE)
    assert caught.value.remedy.startswith("Make room there")
    assert "AWS_ENDPOINT_URL" not in caught.value.remedy
