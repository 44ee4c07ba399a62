"""Plans that lack what the pool's log had when the run was made, by the store's own times; and honest ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage
from trainer.policy import (
    FIRST,
    Policy,
    all_of_it,
    corrected_since,
    forget_pixels,
    grown,
    judged_by,
    saved_anew,
    withdrawn_since,
)
from trainer.world import add_to_pool, write_new_pages

pytestmark = pytest.mark.row("R316")
CHANGES: dict[Callable[[Policy], None], int] = {grown: 1, corrected_since: 1, withdrawn_since: 1, all_of_it: 3}


@pytest.mark.row("R316")
@pytest.mark.parametrize("then", ["nothing", "more"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_leaves_out_nothing_that_the_log_had_when_the_run_was_made(
    policy: Policy, change: Callable[[Policy], None], then: str
) -> None:
    plan = policy.run()
    before = {path.name for path in (policy.pool / "batches").iterdir()}
    change(policy)
    left_out = sorted({path.name for path in (policy.pool / "batches").iterdir()} - before)
    policy.made()
    if then == "more":
        policy.add(8100, 2)
    said = f"leaves out {CHANGES[change]} manifests .*: {', '.join(left_out)}"
    with pytest.raises(StepError, match=said) as caught:
        judged_by(policy, plan)
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert "make a new run" in caught.value.remedy
    assert judged_by(policy, policy.run()).pool


def test_of_many_that_it_leaves_out_the_first_are_named(policy: Policy) -> None:
    plan = policy.run()
    for number in range(5):
        policy.add(8000 + number, 1)
    policy.made()
    with pytest.raises(StepError, match=r"leaves out 5 manifests .*json, .*json, .*json and more") as caught:
        judged_by(policy, plan)
    assert caught.value.message.count(".json") == 3


@pytest.mark.parametrize("change", CHANGES)
def test_what_came_since_may_be_named_or_not(policy: Policy, change: Callable[[Policy], None]) -> None:
    policy.add(8200, 2)
    policy.withdraw(FIRST + 11, 1, erase=True)
    policy.correct(8200, 1)
    policy.made()
    before = policy.run()
    change(policy)
    after = policy.run()
    assert judged_by(policy, before).counts.documents == 13
    assert judged_by(policy, after).pool


@pytest.mark.parametrize(("minutes", "taken"), [(59, True), (61, False)])
def test_what_came_within_the_hour_before_may_be_left_out(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, minutes: int, taken: bool
) -> None:
    """Where a file was copied there with its old time, the run is told to be made anew."""
    policy.created = made = datetime.now(UTC)
    there = Storage.times

    def times(self: Storage, uri: str) -> dict[str, datetime | None]:
        return dict.fromkeys(there(self, uri), made - timedelta(minutes=minutes))

    monkeypatch.setattr(Storage, "times", times)
    plan = policy.run()
    policy.add(8000, 2)
    if taken:
        assert judged_by(policy, plan).counts.documents == 12
        return
    with pytest.raises(StepError, match="leaves out 1 manifests") as caught:
        judged_by(policy, plan)
    assert "rsync -t" in caught.value.remedy
    assert "make a new run" in caught.value.remedy


@pytest.mark.parametrize("since", ["nothing", "added", "corrected", "withdrawn"])
def test_a_page_of_an_earlier_release_that_was_there_in_two_files_is_listed_once(policy: Policy, since: str) -> None:
    forget_pixels(policy.pool)
    again = write_new_pages(policy.world.root / "again", count=3, first=FIRST + 10)
    saved_anew(again)
    add_to_pool(policy.pool, again, policy.world.anchor)
    forget_pixels(policy.pool)
    policy.made()
    plan = policy.run()
    if since == "added":
        policy.add(8100, 2)
    elif since == "corrected":
        policy.correct(FIRST + 10, 2)
    elif since == "withdrawn":
        policy.withdraw(FIRST + 10, 2)
    assert judged_by(policy, plan).counts.documents == 13


def files_too(other: Policy, policy: Policy) -> None:
    shutil.copytree(other.pool, policy.pool, ignore=shutil.ignore_patterns("batches"), dirs_exist_ok=True)


@pytest.mark.parametrize("drawn", ["before", "after"])
def test_a_manifest_that_was_copied_there_since_is_new_whatever_its_name(policy: Policy, drawn: str) -> None:
    """Its name sorts before all others, and its files keep the times that they had."""
    other = Policy(policy.world, policy.world.root / "other")
    other.add(8000, 4)
    other.withdraw(8003, 1)
    policy.correct(FIRST, 2)
    policy.made()
    before = policy.run()
    for number, path in enumerate(sorted((other.pool / "batches").iterdir())):
        content = json.loads(path.read_text()) | {"id": f"20200101T00000{number}Z-0"}
        path.write_text(json.dumps(content))
        shutil.copy2(path, policy.pool / "batches" / f"{content['id']}.json")
    files_too(other, policy)
    plan = before if drawn == "before" else policy.run()
    assert judged_by(policy, plan).counts.documents == (12 if drawn == "before" else 15)


@pytest.mark.parametrize("drawn", ["before", "after"])
def test_what_was_copied_brings_an_older_label_of_a_page_that_was_there(policy: Policy, drawn: str) -> None:
    """The page begins with another label then; a plan of before has the one that it had."""
    other = Policy(policy.world, policy.world.root / "other")
    other.add(FIRST, 2)
    other.correct(FIRST, 2)
    policy.made()
    before = policy.run()
    [batch] = (policy.pool / "batches").iterdir()
    content = json.loads(batch.read_text())
    correction = json.loads(max((other.pool / "batches").iterdir()).read_text())
    label = {sample["image"]: sample["label"] for sample in correction["samples"]}
    content["samples"] = [
        sample | {"label": label[sample["image"]["sha256"]]}
        for sample in content["samples"]
        if sample["image"]["sha256"] in label
    ]
    files_too(other, policy)
    (batch.parent / "20200101T000000Z-0.json").write_text(json.dumps(content | {"id": "20200101T000000Z-0"}))
    assert judged_by(policy, before if drawn == "before" else policy.run()).counts.documents == 12


def test_documents_of_before_and_stores_that_tell_no_times_are_not_held_to_it(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = policy.run()
    all_of_it(policy)
    assert judged_by(policy, plan).counts.documents == 12
    policy.made()

    def untold(self: Storage, uri: str) -> dict[str, datetime | None]:
        return dict.fromkeys(self.names(uri))

    monkeypatch.setattr(Storage, "times", untold)
    assert judged_by(policy, plan).counts.documents == 12
