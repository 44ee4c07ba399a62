"""Honest runs on pools that people, scripts and other machines write to: odd names, odd files, at any moment."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.data import plan as planning
from finetune_trainer.data import pool_check
from finetune_trainer.data.plan import Known, make_plan
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_stats import pool_stats
from finetune_trainer.documents.inputs import PrepareInputs
from finetune_trainer.documents.plan import parse_plan
from finetune_trainer.errors import ErrorClass, Reason, StepError
from finetune_trainer.steps.listed_pool import erasures_named, read_listed_pool
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.storage import Storage
from trainer.policy import FIRST, Policy, content_of, forget_pixels, judged_by, parsed, written_over
from trainer.world import CLASSES, NONCE, add_to_pool, context

OF_OTHERS = {
    "of a kind of a later release": b'{"schema": "finetune-operator.io/pool-split/v1", "id": "z", "pages": []}',
    "a withdrawal of a later release": b'{"schema": "finetune-operator.io/pool-withdrawal/v2", "erased": true}',
    "written by half": b'{"schema": "finetune-operator.io/pool-ba',
    "empty": b"",
}
LATE = "29991231T000000Z-00000000.json"


def batch_of(policy: Policy) -> Path:
    return min((policy.pool / "batches").iterdir())


# What came since.


@pytest.mark.row("R308")
@pytest.mark.parametrize("what", OF_OTHERS)
def test_a_manifest_that_came_since_ends_no_run_though_it_is_not_understood(policy: Policy, what: str) -> None:
    plan = policy.run()
    manifest = policy.pool / "batches" / LATE
    manifest.write_bytes(OF_OTHERS[what])
    assert judged_by(policy, plan).counts.documents == 12
    manifest.unlink()  # who withdraws has the later release
    policy.withdraw(FIRST, 2, erase=True)
    manifest.write_bytes(OF_OTHERS[what])
    with pytest.raises(StepError, match="2 pages that the plan was drawn from were erased"):
        judged_by(policy, plan)
    with pytest.raises(StepError) as caught, erasures_named(Storage(), parsed(plan)):
        Storage().read((policy.pool / "gone").as_uri())
    assert caught.value.reason is Reason.SAMPLE_WITHDRAWN


@pytest.mark.row("R308")
@pytest.mark.parametrize("erased", [False, True])
@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), FileNotFoundError(errno.ENOENT, "gone")])
def test_a_manifest_that_came_since_ends_no_run_though_it_cannot_be_read(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, error: OSError, erased: bool
) -> None:
    plan = policy.run()
    policy.withdraw(FIRST, 1, erase=erased)
    (policy.pool / "batches" / LATE).write_bytes(b"{}")
    read = Path.read_bytes

    def refuses(path: Path) -> bytes:
        if path.name == LATE:
            raise error
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuses)
    if not erased:
        assert judged_by(policy, plan).counts.documents == 12
        return
    with pytest.raises(StepError, match="1 pages that the plan was drawn from were erased"):
        judged_by(policy, plan)


@pytest.mark.row("R308")
def test_a_store_that_is_away_while_it_is_asked_what_came_since_is_asked_again(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = policy.run()
    (policy.pool / "batches" / LATE).write_bytes(b"{}")
    read = Path.read_bytes

    def away(path: Path) -> bytes:
        if path.name == LATE:
            raise OSError(errno.EIO, "away")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", away)
    with pytest.raises(StepError) as caught:
        judged_by(policy, plan)
    assert caught.value.error_class is ErrorClass.UNAVAILABLE


# Names.


@pytest.mark.row("R308")
@pytest.mark.parametrize(
    "name", [".json", "Batch 7.json", "ä.json", "100%.json", "50%25.json", "a#b?.json", ".hidden.json", "a\nb.json"]
)
def test_a_manifest_may_have_any_name(policy: Policy, name: str) -> None:
    folder = policy.folder(8000, 2)
    other = policy.world.root / "other"
    add_to_pool(other, folder, policy.world.anchor)
    shutil.copytree(other / "files", policy.pool / "files", dirs_exist_ok=True)
    shutil.copy(next((other / "batches").iterdir()), policy.pool / "batches" / name)
    plan = policy.run()
    assert name in content_of(plan)["poolLog"]
    assert judged_by(policy, plan).counts.documents == 14


@pytest.mark.parametrize("drawn", ["before", "after"])
def test_what_systems_and_tools_leave_beside_manifests_is_none(policy: Policy, drawn: str) -> None:
    before = policy.run()
    folder = policy.pool / "batches"
    for name in (f"._{batch_of(policy).name}", ".DS_Store", f"{LATE}.tmp", f".{LATE}.Xa3f", f"{LATE}~", "X.JSON"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    (folder / "@eaDir").mkdir()
    policy.made()
    assert judged_by(policy, before if drawn == "before" else policy.run()).counts.documents == 12
    assert pool_stats(Storage(), policy.pool.as_uri()).batches == 1


def test_a_manifest_whose_name_is_no_text_is_named_by_who_reads_the_log_and_ends_no_run_under_way(
    policy: Policy,
) -> None:
    plan = policy.run()
    folder = os.fsencode(policy.pool / "batches")
    shutil.copy(os.fsencode(batch_of(policy)), folder + b"/\xfcber.json")
    assert judged_by(policy, plan).counts.documents == 12
    for read in (policy.draw, policy.counted, lambda: pool_stats(Storage(), policy.pool.as_uri())):
        with pytest.raises(StepError, match=r"'\\udcfcber\.json' .* no UTF-8") as caught:
            read()
        assert caught.value.reason is Reason.DATA_UNREADABLE
        assert "Rename it" in caught.value.remedy


# Lists that lag.


@pytest.mark.row("R308")
def test_a_manifest_that_a_listing_does_not_show_yet_is_there_by_its_name(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that cached the folder, or a store whose listings lag behind: `prepare` ran elsewhere a moment ago."""
    policy.add(8000, 2)
    plan = policy.run()
    newest = max((policy.pool / "batches").iterdir()).name
    there = Storage.times

    def times(self: Storage, uri: str) -> dict[str, datetime | None]:
        return {name: since for name, since in there(self, uri).items() if name != newest}

    monkeypatch.setattr(Storage, "times", times)
    assert judged_by(policy, plan).counts.documents == 14
    (policy.pool / "batches" / newest).unlink()
    with pytest.raises(StepError, match=r"1 manifests that the log of the pool .* has not"):
        judged_by(policy, plan)


@pytest.mark.row("R308")
@pytest.mark.parametrize("lags", [False, True])
def test_a_manifest_under_another_spelling_of_its_name_is_none(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, lags: bool
) -> None:
    """Some mounts take both for one file: a plan would read a correction twice, and in another order."""
    policy.correct(FIRST, 2)
    plan = policy.run()
    there, times = Storage.exists, Storage.times
    monkeypatch.setattr(Storage, "exists", lambda self, uri: there(self, uri.replace("t12", "T12")))
    if lags:
        monkeypatch.setattr(Storage, "times", lambda self, uri: dict(list(times(self, uri).items())[:1]))
    content = content_of(plan)
    newest = content["poolLog"][-1]
    content["poolLog"].append(newest.replace("T12", "t12"))
    assert judged_by(policy, plan).counts.documents == 12
    with pytest.raises(StepError, match=r"1 manifests that the log of the pool .* has not: \d+t12"):
        judged_by(policy, written_over(plan, content))


@pytest.mark.row("R308")
def test_of_a_plan_that_names_thousands_none_is_looked_for(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = policy.run()
    there, asked = Storage.exists, []

    def exists(self: Storage, uri: str) -> bool:
        asked.append(uri)
        return there(self, uri)

    monkeypatch.setattr(Storage, "exists", exists)
    content = content_of(plan)
    content["poolLog"] += [f"x{number:04}.json" for number in range(1000)]
    path = policy.world.root / "many.json"
    path.write_text(json.dumps(content))
    document = policy.document()
    with pytest.raises(StepError, match="1000 manifests that the log of the pool"):
        read_listed_pool(Storage(), document, parse_plan(path.read_bytes(), "it"))
    assert not asked


@pytest.mark.row("R308")
def test_a_manifest_that_was_written_anew_since_is_told_what_to_do(policy: Policy) -> None:
    """A script that exports once more under the same name: manifests are written once, and it is no lie of the plan."""
    plan = policy.run()
    file = batch_of(policy)
    content = json.loads(file.read_text())
    del content["samples"][0]
    file.write_text(json.dumps(content))
    with pytest.raises(StepError, match="lists 1 samples otherwise") as caught:
        judged_by(policy, plan)
    assert "written anew" in caught.value.remedy
    assert "make a new run" in caught.value.remedy


# File systems.


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_takes_what_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """FUSE says ENOSYS where it has no links, up to Linux 6.13."""

    def refuses(source: object, target: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuses)
    place = (tmp_path / "pool" / "a.json").as_uri()
    Storage().write_once(place, b"1")
    Storage().write_once(place, b"1")
    assert Storage().read(place) == b"1"
    with pytest.raises(StepError, match="written once"):
        Storage().write_once(place, b"2")
    assert [path.name for path in (tmp_path / "pool").iterdir()] == ["a.json"]


# How far it is.


def test_pages_of_an_earlier_release_are_counted_once(policy: Policy) -> None:
    forget_pixels(policy.pool)
    plan = policy.run()
    document = policy.document()
    read: list[tuple[int, int]] = []
    checked: list[tuple[int, int]] = []
    twelve = [(count, 12) for count in range(1, 13)]
    read_listed_pool(Storage(), document, parsed(plan), lambda count, total: read.append((count, total)))
    assert read == twelve
    read.clear()
    make_plan(
        Storage(),
        document,
        Known(),
        lambda count, total: checked.append((count, total)),
        reading=lambda count, total: read.append((count, total)),
    )
    assert read == checked == twelve


# Erasures while a plan is drawn.


@contextmanager
def erased_once(policy: Policy, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Iterator[None]:
    """Let somebody erase two pages just before that is called for the first time."""
    before = getattr(module, name)

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(module, name, before)
        policy.withdraw(FIRST, 2, erase=True)
        return before(*arguments, **named)

    monkeypatch.setattr(module, name, meanwhile)
    yield
    monkeypatch.setattr(module, name, before)


@pytest.mark.parametrize("earlier", [False, True], ids=["pool", "pool of an earlier release"])
@pytest.mark.parametrize(
    ("module", "name"),
    [(pool_check, "_unknown_pictures"), (planning, "check_pool"), (pool_check, "_count_boxes"), (planning, "_new_set")],
)
def test_a_run_whose_pages_are_erased_while_its_plan_is_drawn_is_drawn_from_what_is_left(
    policy: Policy,
    base: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    earlier: bool,
) -> None:
    if earlier:
        forget_pixels(policy.pool)
    document = policy.world.parsed(base, mixing__minPoolSamples=1)
    with erased_once(policy, monkeypatch, module, name):
        made = prepare(context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE))
    assert (made.pool, made.withdrawn) == ((12, 0) if name == "_new_set" else (10, 2))


def test_a_page_that_is_lost_ends_it_though_others_are_erased(
    policy: Policy, base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = policy.world.parsed(base, mixing__minPoolSamples=1)
    lost = read_pool(Storage(), policy.pool.as_uri(), CLASSES).samples[-1].image
    next(policy.pool.rglob(f"{lost.sha256}.*")).unlink()
    with (
        erased_once(policy, monkeypatch, planning, "check_pool"),
        pytest.raises(StepError, match=f"1 other|{lost.sha256}") as caught,
    ):
        prepare(context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE))
    assert caught.value.reason is Reason.IMAGE_UNREADABLE
