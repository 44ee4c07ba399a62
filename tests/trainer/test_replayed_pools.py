"""An evaluation is by the pool that its plan was drawn from, whatever came to it since; plans that do not say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from finetune_trainer.data import pool_check
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import TrainInputs
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.steps import listed_pool
from finetune_trainer.steps.train import train
from trainer.policy import (
    FIRST,
    Policy,
    all_of_it,
    content_of,
    corrected_since,
    forget_pixels,
    grown,
    judged_by,
    of_an_image_between,
    of_the_last_release,
    saved_anew,
    taken_twice,
    withdrawn_since,
    written_over,
)
from trainer.world import NONCE, add_to_pool, context, write_new_pages

IN_POOLS = pytest.mark.parametrize("earlier", [False, True], ids=["pool", "pool of an earlier release"])


@pytest.mark.row("R308")
@IN_POOLS
@pytest.mark.parametrize("change", [grown, corrected_since, withdrawn_since, all_of_it])
def test_an_evaluation_is_by_the_pool_as_it_was_drawn(
    policy: Policy, change: Callable[[Policy], None], earlier: bool
) -> None:
    if earlier:
        forget_pixels(policy.pool)
    plan = policy.run()
    change(policy)
    yardstick = judged_by(policy, plan)
    assert (yardstick.counts.documents, yardstick.counts.fresh) == (12, 12)
    assert judged_by(policy, plan, live=plan).counts.fresh == 0


def test_a_plan_that_was_drawn_after_corrections_and_withdrawals_is_evaluated(policy: Policy) -> None:
    policy.correct(FIRST, 4)
    policy.withdraw(FIRST, 2)
    policy.withdraw(FIRST + 11, 1, erase=True)
    assert judged_by(policy, policy.run()).counts.documents == 9
    policy.base = policy.run()
    policy.add(8000, 5)
    assert judged_by(policy, policy.run()).counts.documents == 5


def test_a_label_that_was_corrected_is_fresh_at_the_evaluation(policy: Policy) -> None:
    live = policy.run(goes_live=True)
    policy.correct(FIRST, 3)
    assert judged_by(policy, policy.run(), live).counts.fresh == 3


def test_of_a_label_that_was_corrected_again_and_again_the_one_of_then_counts(policy: Policy) -> None:
    plans = [policy.run()]
    for again in (False, True, False, True):
        policy.correct(FIRST, 3, again=again)
        plans.append(policy.run())
    listings = [content_of(plan)["listing"] for plan in plans]
    assert listings[1] == listings[3] != listings[2] == listings[4]
    for plan in plans:
        assert judged_by(policy, plan).counts.documents == 12


def test_classes_that_were_appended_since_change_nothing(policy: Policy) -> None:
    plan = policy.run()
    [batch] = (policy.pool / "batches").iterdir()
    content = json.loads(batch.read_text())
    content |= {"id": f"{content['id']}z", "classes": [*content["classes"], "iban"]}
    (batch.parent / f"{content['id']}.json").write_text(json.dumps(content))
    yardstick = judged_by(policy, plan)
    assert {sample.fields for sample in yardstick.pool} == {None}
    assert {sample.fields for sample in judged_by(policy, policy.run()).pool} == {4}


@pytest.mark.parametrize("since", ["nothing", "added", "corrected", "withdrawn", "erased"])
def test_a_page_of_an_earlier_release_that_came_in_two_files_is_one(policy: Policy, since: str) -> None:
    taken_twice(policy)
    policy.add(8000, 3)
    again = write_new_pages(policy.world.root / "again", count=3, first=FIRST + 10)
    saved_anew(again)
    add_to_pool(policy.pool, again, policy.world.anchor)
    policy.withdraw(8000, 1)
    plan = policy.run()
    if since == "added":
        policy.add(8100, 2)
    elif since == "corrected":
        policy.correct(FIRST, 2)
    elif since == "withdrawn":
        policy.withdraw(FIRST + 10, 2)
    elif since == "erased":
        policy.withdraw(8000, 1, erase=True)
    assert judged_by(policy, plan).counts.documents == 15


def test_a_batch_that_has_a_listed_page_in_another_file_was_not_there_by_that(policy: Policy) -> None:
    """It came since, and brought a page of an earlier release once more: nothing of it was left out."""
    forget_pixels(policy.pool)
    plan = policy.run()
    again = write_new_pages(policy.world.root / "again", count=3, first=FIRST + 10)
    saved_anew(again)
    add_to_pool(policy.pool, again, policy.world.anchor)
    assert judged_by(policy, plan).counts.documents == 12


# Erasures, at any moment.


def refused(policy: Policy, plan: FileReference, said: str, reason: Reason = Reason.DIGEST_MISMATCH) -> StepError:
    with pytest.raises(StepError, match=said) as caught:
        judged_by(policy, plan)
    assert caught.value.reason is reason
    return caught.value


@IN_POOLS
def test_a_plan_with_pages_that_were_erased_since_ends_with_what_to_do(policy: Policy, earlier: bool) -> None:
    if earlier:
        forget_pixels(policy.pool)
    plan = policy.run()
    policy.withdraw(FIRST, 4)
    policy.withdraw(FIRST, 3, erase=True)
    error = refused(policy, plan, "3 pages that the plan was drawn from were erased", Reason.SAMPLE_WITHDRAWN)
    assert error.remedy.startswith("Make a new run")
    assert judged_by(policy, policy.run()).counts.documents == 8


def test_a_page_that_is_erased_while_others_are_read_is_told_so(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pixels cannot be read any more, which is no lie of the plan."""
    forget_pixels(policy.pool)
    plan = policy.run()

    def meanwhile(*arguments: Any, **named: Any) -> pool_check.MeasuredPool:
        policy.withdraw(FIRST, 2, erase=True)
        return pool_check.measured_pool(*arguments, **named)

    monkeypatch.setattr(listed_pool, "measured_pool", meanwhile)
    refused(policy, plan, "2 pages that the plan was drawn from were erased", Reason.SAMPLE_WITHDRAWN)


def test_a_page_that_was_withdrawn_before_may_be_erased_since(policy: Policy) -> None:
    policy.withdraw(FIRST, 3)
    plan = policy.run()
    policy.withdraw(FIRST, 3, erase=True)
    assert judged_by(policy, plan).counts.documents == 9


def test_a_page_of_an_earlier_release_that_is_lost_is_named(policy: Policy) -> None:
    forget_pixels(policy.pool)
    plan = policy.run()
    sample = content_of(plan)["newSet"][0]
    path = policy.pool / "files" / sample["image"]["uri"].rpartition("/files/")[2]
    data = path.read_bytes()
    path.unlink()
    assert "make a new run" in refused(policy, plan, f"1 pages .* cannot be read any more.*{path.name}").remedy
    path.write_bytes(data)
    assert judged_by(policy, plan).counts.documents == 12


# What a plan says that it was drawn from.


def a_path(names: list[str]) -> list[str]:
    return [*names, "../x.json"]


def another(names: list[str]) -> list[str]:
    return [*names, "29991231T000000Z-0.json"]


def twice(names: list[str]) -> list[str]:
    return [names[0], *names]


def turned_round(names: list[str]) -> list[str]:
    return names[::-1]


def without_the_batch(names: list[str]) -> list[str]:
    return names[1:]


def without_the_withdrawal(names: list[str]) -> list[str]:
    return names[:-1]


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (a_path, "not valid"),
        (another, r"1 manifests that the log of the pool .* has not: 29991231T000000Z-0\.json"),
        (twice, "twice, or in another order"),
        (turned_round, "twice, or in another order"),
        (without_the_batch, "lists 12 samples otherwise"),
        (without_the_withdrawal, "lists 2 samples otherwise"),
        (lambda _: [], "not valid"),
    ],
)
def test_a_plan_names_what_the_log_has_and_all_that_it_lists(
    policy: Policy, lie: Callable[[list[str]], list[str]], said: str
) -> None:
    policy.add(8000, 2)
    policy.withdraw(8000, 2)
    plan = policy.run()
    (policy.pool / "x.json").write_bytes(next((policy.pool / "batches").iterdir()).read_bytes())
    content = content_of(plan)
    names = content["poolLog"]
    assert names == sorted(path.name for path in (policy.pool / "batches").iterdir())
    violated = said == "not valid"
    forged = written_over(plan, content | {"poolLog": lie(names)})
    refused(policy, forged, said, Reason.CONTRACT_VIOLATED if violated else Reason.DIGEST_MISMATCH)
    assert judged_by(policy, plan).counts.documents == 12


def test_a_manifest_that_a_restored_bucket_lacks_is_named_with_what_to_do(policy: Policy) -> None:
    policy.add(8000, 2)
    plan = policy.run()
    newest = max((policy.pool / "batches").iterdir())
    newest.unlink()
    assert "make a new run" in refused(policy, plan, f"1 manifests .* has not: {newest.name}").remedy
    assert judged_by(policy, policy.run()).counts.documents == 12


@pytest.mark.row("R313")
@pytest.mark.parametrize("earlier", [of_the_last_release, of_an_image_between])
def test_no_run_goes_on_by_a_plan_of_an_earlier_trainer(
    policy: Policy, earlier: Callable[[FileReference], FileReference]
) -> None:
    plan = earlier(policy.run())
    error = refused(policy, plan, "The plan is of an earlier trainer", Reason.CONTRACT_VIOLATED)
    assert error.remedy.startswith("Make a new run")
    document = policy.document()
    with pytest.raises(StepError, match="The plan is of an earlier trainer"):
        train(context("train", document, policy.world.root / "t"), document, TrainInputs(1, NONCE, plan))


def test_a_page_of_which_a_withdrawal_of_an_earlier_release_names_one_file_is_withdrawn_for_both_steps(
    policy: Policy,
) -> None:
    forget_pixels(policy.pool)
    copy = write_new_pages(policy.world.root / "copy", count=2, first=FIRST + 11)
    saved_anew(copy)
    add_to_pool(policy.pool, copy, policy.world.anchor)
    forget_pixels(policy.pool)
    policy.withdraw(FIRST + 11, 1)
    withdrawal = max((policy.pool / "batches").iterdir())
    content = json.loads(withdrawal.read_text())
    assert len(content["samples"]) == 2
    del content["samples"][1]
    withdrawal.write_text(json.dumps(content))
    assert judged_by(policy, policy.run()).counts.documents == 12
