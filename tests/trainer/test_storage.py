"""Storage by URI: digests, write-once, and errors that tell bad input from a bad day; S3 against a real server."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from finetune_trainer.data.anchor import build_index, write_index
from finetune_trainer.data.corrections import NewLabels, correct
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_batch import NewBatch, add_batch
from finetune_trainer.data.withdrawals import Leaving, withdraw
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.result import Artifact, Measured, TestSet, VerifiedModels, VerifyResult
from finetune_trainer.errors import ErrorClass, Reason, StepError
from finetune_trainer.steps.publish import Publisher
from finetune_trainer.storage import Storage, join, local_path, normalise
from trainer.world import BATCH_TIME, CLASSES, VERIFICATION, World, relabel, write_anchor, write_new_pages


def test_what_is_written_is_read_listed_and_sized(place: str) -> None:
    storage = Storage()
    for name in ("b.txt", "a.txt", "deep/c.txt"):
        storage.write_once(join(place, name), name.encode())
    assert storage.read(join(place, "deep", "c.txt")) == b"deep/c.txt"
    uris = [join(place, n) for n in ("a.txt", "b.txt")]
    assert storage.read_many(uris) == {uris[0]: b"a.txt", uris[1]: b"b.txt"}
    assert storage.sizes([*uris, join(place, "none")]) == {uris[0]: 5, uris[1]: 5, join(place, "none"): None}
    assert storage.walk(place).files == ("a.txt", "b.txt", "deep/c.txt")
    assert [n for n in storage.names(place) if n.endswith(".txt")] == ["a.txt", "b.txt"]
    assert storage.names(join(place, "nothing")) == []
    assert (storage.exists(uris[0]), storage.exists(join(place, "none"))) == (True, False)


def test_since_when_the_store_has_a_file_no_writer_says(place: str) -> None:
    """A copy that keeps its time of writing is there since it was copied, as what is written once more."""
    storage = Storage()
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 says whole seconds, and a disk the last tick
    storage.write_once(join(place, "a.json"), b"a")
    storage.write_once(join(place, "deep", "b.json"), b"b")
    if (folder := local_path(place)) is not None:
        os.utime(folder / "a.json", (0, 0))
        old = folder.parent / "old"
        old.write_bytes(b"old")
        (folder / "link.json").symlink_to(old)
        (folder / "dangling.json").symlink_to(folder / "nothing")
    times = storage.times(place)
    assert set(times) - {"link.json"} >= {"a.json"}
    assert "dangling.json" not in times
    for since in (since for name, since in times.items() if name.endswith(".json")):
        assert since is not None
        assert before <= since <= datetime.now(UTC) + timedelta(seconds=2)
    assert storage.times(join(place, "nothing")) == {}


def test_a_store_that_says_no_time_or_one_of_no_zone_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 11, 20, 12, tzinfo=UTC)
    said: dict[str, dict[str, Any]] = {
        "gcs": {"ctime": moment, "mtime": moment + timedelta(days=7)},  # made, and moved to another class of storage
        "none": {},
        "empty": {"LastModified": ""},
        "naive": {"ctime": moment.replace(tzinfo=None)},
    }

    class Told:
        def ls(self, key: str, detail: bool) -> list[dict[str, Any]]:
            assert detail
            return [{"name": f"{key}/{name}", "size": 1} | more for name, more in said.items()]

    monkeypatch.setattr(Storage, "_system", lambda *_: Told())
    assert Storage().times("gs://bucket/pool") == {"gcs": moment, "none": None, "empty": None, "naive": None}


@pytest.mark.parametrize("seconds", [1e12, -1e12, float(2**63), -float(2**63)])
def test_a_file_whose_time_is_beyond_the_calendar_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    class Entry:
        name = "a.json"

        def stat(self, *, follow_symlinks: bool = True) -> SimpleNamespace:
            return SimpleNamespace(st_mtime=seconds, st_ctime=seconds)

    monkeypatch.setattr("finetune_trainer.local_files.os.scandir", lambda _: nullcontext([Entry()]))
    assert Storage().times(tmp_path.as_uri()) == {"a.json": None}


NAMES = (
    "a b",
    "a%20b",
    "a%",
    "a#b",
    "a?b",
    "a[1]b",
    "a[b",
    "a*b",
    "a+b",
    "a&b=c",
    "a;b",
    "日本語",
    "e\u0301",
    "\u00e9",
    "a'b",
)


def test_names_are_what_they_are_and_nothing_is_expanded(place: str) -> None:
    storage = Storage()
    for number, name in enumerate(NAMES):
        storage.write_once(join(place, "deep", f"{name}.txt"), str(number).encode())
    uris = [join(place, "deep", f"{name}.txt") for name in NAMES]
    assert list(storage.read_many(uris).values()) == [str(number).encode() for number in range(len(NAMES))]
    assert storage.walk(place).files == tuple(sorted(f"deep/{name}.txt" for name in NAMES))
    assert storage.sizes(uris) == {uri: len(str(number)) for number, uri in enumerate(uris)}
    assert all(storage.exists(uri) for uri in uris)


@pytest.mark.parametrize("uri", ["file:///data/a#b", "s3://bucket/a#b", "gs://bucket/#", "file:///data/a?b"])
def test_a_uri_whose_end_would_be_cut_off_is_refused(uri: str) -> None:
    with pytest.raises(StepError, match="would be no part of the path") as caught:
        normalise(uri)
    assert "Write %" in caught.value.remedy


def test_what_measures_takes_no_manifest_that_lies_in_the_store(place: str) -> None:
    """Whatever somebody left in its place, and below it, an evaluation says what it measured itself."""

    def publisher() -> Publisher:
        return Publisher(Storage(), artifacts=place, owner="uid-1", step="evaluate", attempt=1, round_=1, nonce="4f2a")

    def figures(map50: str) -> VerifyResult:
        base = Measured("b" * 64, map50, None, None, "0.9", "0.05")
        artifact = Artifact("file:///model.onnx", "b" * 64, 9)
        return VerifyResult("s" * 64, "evaluator", TestSet("t" * 64, 24, 72), VerifiedModels(base), artifact)

    planted = publisher().finish(figures("0.999999"))
    assert planted.manifest is not None
    content = Storage().read(planted.manifest.uri)
    for folder in ("attempt-1/evaluate-round-1", "evaluations/evaluate-attempt-1-round-1-4f2a"):
        Storage().write_once(join(place, folder, "manifest.json"), content)
    honest = publisher()
    assert honest.existing() is None
    emitted = honest.finish(figures("0.500000"))
    assert emitted.manifest is not None
    assert b"0.500000" in Storage().read(emitted.manifest.uri)
    assert "0.999999" not in str(emitted.result)


def test_what_somebody_else_wrote_meanwhile_is_listed(place: str) -> None:
    storage = Storage()
    storage.write_once(join(place, "a"), b"a")
    assert (storage.names(place), storage.exists(join(place, "b"))) == (["a"], False)
    if (path := local_path(place)) is not None:
        (path / "b").write_bytes(b"b")
    else:
        key = join(place, "b").removeprefix("s3://bucket/")
        boto3.client("s3").put_object(Bucket="bucket", Key=key, Body=b"b")
    assert (storage.names(place), storage.exists(join(place, "b"))) == (["a", "b"], True)
    assert storage.walk(place).files == ("a", "b")


def test_an_object_is_written_once(place: str) -> None:
    uri = join(place, "model.onnx")
    Storage().write_once(uri, b"first")
    Storage().write_once(uri, b"first")
    with pytest.raises(StepError, match="written once"):
        Storage().write_once(uri, b"second")
    assert Storage().read(uri) == b"first"


class Contested:
    """An object store in which somebody else writes the same key for the first `times`."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.written: list[bytes] = []

    def pipe_file(self, _key: str, data: bytes, mode: str) -> None:
        assert mode == "create"
        self.times -= 1
        if self.times >= 0:
            raise OSError(5, "An error occurred (ConditionalRequestConflict) when calling the PutObject operation: ...")
        self.written.append(data)

    def cat_file(self, _key: str) -> bytes:
        raise FileNotFoundError


def test_what_somebody_else_writes_at_the_same_time_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_trainer.storage._PAUSE", 0)
    contested = Contested(2)
    monkeypatch.setattr(Storage, "_system", lambda *_: contested)
    Storage().write_once("s3://bucket/x", b"x")
    assert contested.written == [b"x"]
    contested.times = 1000
    with pytest.raises(StepError) as caught:
        Storage().write_once("s3://bucket/x", b"x")
    assert (caught.value.reason, contested.times) == (Reason.STORAGE_UNAVAILABLE, 995)


def test_what_somebody_else_deletes_while_it_is_written_is_created_anew(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Storage._create

    def is_there_and_gone(self: Storage, uri: str, data: bytes) -> bool:
        monkeypatch.undo()
        assert create(self, uri, data)
        self.remove(uri)
        return False

    monkeypatch.setattr(Storage, "_create", is_there_and_gone)
    Storage().write_once(join(place, "label.txt"), b"x")
    assert Storage().read(join(place, "label.txt")) == b"x"


def test_a_fetched_file_is_what_its_digest_says_or_an_error(place: str, tmp_path: Path) -> None:
    uri = join(place, "model.onnx")
    Storage().write_once(uri, b"model")
    assert Storage().fetch(uri, tmp_path / "to" / "model", sha256=sha256_of(b"model")).read_bytes() == b"model"
    with pytest.raises(StepError) as caught:
        Storage().fetch(uri, tmp_path / "other", sha256="0" * 64)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_what_does_not_exist_is_bad_input(place: str) -> None:
    with pytest.raises(StepError, match="Check the place") as caught:
        Storage().read(join(place, "nothing"))
    assert (caught.value.error_class, caught.value.reason) == (ErrorClass.BAD_INPUT, Reason.DATA_UNREADABLE)
    with pytest.raises(StepError):
        Storage().read_many([join(place, "nothing")])


def test_what_is_there_is_read_and_what_is_not_is_none(place: str) -> None:
    storage = Storage()
    uris = [join(place, name) for name in ("a", "none", "b")]
    for uri in (uris[0], uris[2]):
        storage.write_once(uri, uri.encode())
    assert [storage.read_if_there(uri) for uri in uris] == [uris[0].encode(), None, uris[2].encode()]
    assert storage.read_those_there(uris) == {uri: uri.encode() for uri in (uris[0], uris[2])}
    assert storage.read_if_there(join(place, "a", "below")) is None, "a file is no folder"


def test_a_folder_that_goes_while_it_is_listed_has_no_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expiry removes the folders of a day behind its files, while an evaluation or a person lists them."""
    folder, is_dir = tmp_path / "day", Path.is_dir
    folder.mkdir()

    def goes(path: Path, **said: bool) -> bool:
        there = is_dir(path, **said)
        if path == folder and there:
            folder.rmdir()
        return there

    monkeypatch.setattr(Path, "is_dir", goes)
    assert Storage().names(folder.as_uri()) == []
    (tmp_path / "file").write_bytes(b"a file")
    assert Storage().names((tmp_path / "file").as_uri()) == []
    assert Storage().names((tmp_path / "file" / "below").as_uri()) == []


def test_what_cannot_be_read_is_not_taken_for_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage()
    with pytest.raises(StepError, match="it is a folder where a file is to be"):
        storage.read_if_there(tmp_path.as_uri())
    for error, said in ((PermissionError("no"), ErrorClass.BAD_INPUT), (OSError(5, "broken"), ErrorClass.UNAVAILABLE)):

        def refuse(_: Path, error: OSError = error) -> bytes:
            raise error

        monkeypatch.setattr(Path, "read_bytes", refuse)
        for read in (storage.read_if_there, lambda uri: storage.read_those_there([uri])):
            with pytest.raises(StepError) as caught:
                read((tmp_path / "x").as_uri())
            assert caught.value.error_class is said
            remedied = "to a command of yours by AWS_ACCESS_KEY_ID" in caught.value.remedy
            assert remedied == (said is ErrorClass.BAD_INPUT)


def test_a_place_below_a_file_is_bad_input_whatever_is_written_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a file")
    below, source = (tmp_path / "file" / "x").as_uri(), tmp_path / "file"
    storage = Storage()
    writes: list[Callable[[], None]] = [
        lambda: storage.write_once(below, b"x"),
        lambda: storage.replace(below, b"x"),
        lambda: storage.put(below, source),
    ]
    for write in writes:
        with pytest.raises(StepError) as caught:
            write()
        assert (caught.value.error_class, caught.value.reason) == (ErrorClass.BAD_INPUT, Reason.DATA_UNREADABLE)


def test_no_half_written_file_is_ever_visible(tmp_path: Path) -> None:
    Storage().write_once((tmp_path / "model").as_uri(), b"x" * 100_000)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "uri", ["ftp://host/data", "http://host/data", "s3://key:secret@bucket/x", "s3://bucket/x?versionId=1"]
)
def test_other_schemes_and_credentials_in_uris_are_refused_without_repeating_them(uri: str) -> None:
    with pytest.raises(StepError) as caught:
        normalise(uri)
    assert caught.value.reason is Reason.DATA_UNREADABLE
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("place", ["", " "])
def test_an_empty_place_is_not_the_folder_that_the_command_runs_in(place: str) -> None:
    with pytest.raises(StepError, match="A place is empty"):
        normalise(place)
    assert normalise(".") == normalise(str(Path.cwd()))


def test_a_path_is_a_file_uri(tmp_path: Path) -> None:
    assert local_path(normalise(str(tmp_path / "a b"))) == tmp_path / "a b"


def test_a_missing_bucket_is_bad_input(s3: str) -> None:
    with pytest.raises(StepError) as caught:
        Storage().read(join(s3 + "-of-nobody", "x"))
    assert caught.value.error_class is ErrorClass.BAD_INPUT


def test_a_server_that_does_not_answer_is_worth_another_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StepError) as caught:
        Storage().read("s3://bucket/x")
    s3fs.S3FileSystem.clear_instance_cache()
    assert (caught.value.error_class, caught.value.reason) == (ErrorClass.UNAVAILABLE, Reason.STORAGE_UNAVAILABLE)
    assert "from here (AWS_ENDPOINT_URL" in caught.value.remedy, "a person's own command has no pod"


def test_pages_are_corrected_withdrawn_and_erased_on_s3_as_well(s3: str, world: World, tmp_path: Path) -> None:
    storage = Storage()
    pool, anchor = join(s3, "changed/pool"), world.anchor.as_uri()
    folder = write_new_pages(tmp_path / "new", count=3, first=5000)
    add_batch(storage, pool, NewBatch(folder.as_uri(), anchor, VERIFICATION, {}), BATCH_TIME)
    relabel(folder, 5000, 1)
    correct(storage, pool, NewLabels(folder.as_uri(), anchor, "bo", date(2026, 11, 24), "report"), BATCH_TIME)
    place = join(s3, "changed/asked/page.png")
    storage.write_once(place, (folder / "images/train/page-5000.png").read_bytes())
    leaving = Leaving(by="cy", reason="asked for", images=(place, join(s3, "changed/asked")), erase=True)
    made = withdraw(storage, pool, leaving, BATCH_TIME)
    assert len(made.removed) == 3
    assert withdraw(storage, pool, leaving, BATCH_TIME).removed == ()
    again = Storage()
    assert len(read_pool(again, pool, CLASSES).samples) == 2
    assert [again.exists(file.uri) for file in made.removed] == [False] * 3
    storage.remove(made.removed[0].uri)


def test_anchor_and_pool_live_on_s3_as_well(s3: str, world: World, base: dict[str, Any], tmp_path: Path) -> None:
    from finetune_trainer.data.plan import Known, make_plan
    from finetune_trainer.steps.listed_pool import read_listed_pool

    storage = Storage()
    write_anchor(tmp_path / "small", train=12, val=2, test=4)
    folders = {"anchor": tmp_path / "small", "new": write_new_pages(tmp_path / "new", count=10)}
    for name, folder in folders.items():
        for file in (p for p in folder.rglob("*") if p.is_file()):
            storage.write_once(join(s3, "world", name, str(file.relative_to(folder))), file.read_bytes())
    anchor, pool = join(s3, "world/anchor"), join(s3, "world/pool")
    write_index(storage, anchor, build_index(storage, anchor).index)
    new = NewBatch(join(s3, "world/new"), anchor, VERIFICATION, {})
    add_batch(storage, pool, new, BATCH_TIME)
    assert len(read_pool(storage, pool, CLASSES).samples) == 10
    document = world.parsed(base, data__anchor__uri=anchor, data__pool__uri=pool)
    plan = make_plan(storage, document, Known()).plan
    assert (plan.counts.outside, plan.counts.old, plan.counts.test) == (10, 12, 4)
    assert len(read_listed_pool(storage, document, plan)) == 10
    from finetune_trainer.data.materialise import materialise

    pages = materialise(storage, plan.train, tmp_path / "drawn")
    assert len(pages) == 22
    assert not any(p.is_symlink() for p in pages)
