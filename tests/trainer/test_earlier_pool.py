"""Plans that lack what the pool had when the run was made, by the store's own times; and honest ones beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime

import pytest

from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage
from trainer.policy import FIRST, Policy, forget_pixels, saved_anew
from trainer.test_listed_plans import (
    all_of_it,
    corrected_since,
    grown,
    judged_by,
    of_the_last_release,
    withdrawn_since,
)
from trainer.world import add_to_pool, write_new_pages

pytestmark = pytest.mark.row("R316")
CHANGES: dict[Callable[[Policy], None], str] = {
    grown: "leaves out 5 pages, lists 0 that were withdrawn, and 0 with labels from before",
    corrected_since: "leaves out 0 pages, lists 0 that were withdrawn, and 3 with labels from before",
    withdrawn_since: "leaves out 0 pages, lists 3 that were withdrawn, and 0 with labels from before",
    all_of_it: "leaves out 5 pages, lists 3 that were withdrawn, and 3 with labels from before",
}


@pytest.mark.parametrize("then", ["nothing", "more"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_leaves_out_nothing_that_the_pool_had_when_the_run_was_made(
    policy: Policy, change: Callable[[Policy], None], then: str
) -> None:
    plan = policy.run()
    change(policy)
    policy.made()
    if then == "more":
        policy.add(8100, 2)
    with pytest.raises(StepError, match=CHANGES[change]) as caught:
        judged_by(policy, plan)
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert "make a new run" in caught.value.remedy
    assert judged_by(policy, policy.run()).pool


@pytest.mark.parametrize("change", CHANGES)
def test_what_came_since_may_be_listed_or_not(policy: Policy, change: Callable[[Policy], None]) -> None:
    policy.add(8200, 2)
    policy.withdraw(FIRST + 11, 1, erase=True)
    policy.correct(8200, 1)
    policy.made()
    before = policy.run()
    change(policy)
    after = policy.run()
    assert judged_by(policy, before).counts.documents == 13
    assert judged_by(policy, after).pool


def test_of_a_label_that_was_corrected_again_and_again_a_later_one_may_count(policy: Policy) -> None:
    plans = [policy.run()]
    for made_by_then in (False, True, False, False):
        policy.correct(FIRST, 3, again=len(plans) % 2 == 0)
        plans.append(policy.run())
        if made_by_then:
            policy.made()
    # It was A, then B; A again when the run was made; then B and A. By label, the first plan is the last one.
    assert [judged_by(policy, plan).counts.documents for plan in plans] == [12] * 5
    policy.correct(FIRST, 3, again=False)
    policy.made()
    with pytest.raises(StepError, match="3 with labels from before"):
        judged_by(policy, plans[0])
    assert judged_by(policy, plans[1]).counts.documents == 12


def test_a_plan_that_names_no_labels_has_the_first_ones(policy: Policy) -> None:
    plan = of_the_last_release(policy.run(), known_labels=True)
    policy.made()
    policy.add(8100, 2)
    assert judged_by(policy, plan).counts.documents == 12
    policy.correct(FIRST, 3)
    assert judged_by(policy, plan).counts.documents == 12
    policy.made()
    with pytest.raises(StepError, match="leaves out 2 pages"):
        judged_by(policy, plan)


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


def test_what_was_copied_brings_an_older_label_of_a_page_that_was_there(policy: Policy) -> None:
    """The page begins with another label then: of which one is older nothing is said."""
    other = Policy(policy.world, policy.world.root / "other")
    other.add(FIRST, 2)
    other.correct(FIRST, 2)
    policy.made()
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
    assert judged_by(policy, policy.run()).counts.documents == 12


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
