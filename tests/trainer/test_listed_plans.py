"""Listings in plans: what they have, what is drawn by them, and how those of the last release are read."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from finetune_trainer.data.earlier_plans import judged_samples, listing_of, read_plan
from finetune_trainer.data.listing import Listing
from finetune_trainer.data.mixing import is_held_out
from finetune_trainer.data.plan import Known, make_plan
from finetune_trainer.data.pool import read_pool
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import encode
from finetune_trainer.documents.plan import KnownSample, Plan, parse_plan
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage, local_path
from trainer.policy import (
    FIRST,
    Policy,
    of_an_image_between,
    of_the_last_release,
    saved_anew,
    taken_twice,
)
from trainer.world import CLASSES, add_to_pool, withdraw_from, write_new_pages


def uses(plan: Plan) -> dict[str, int]:
    counted: dict[str, int] = {}
    for sample in plan.listing:
        counted[sample.use] = counted.get(sample.use, 0) + 1
    return counted


def test_a_listing_has_every_sample_that_ever_was_in_the_pool(policy: Policy) -> None:
    policy.correct(FIRST, 4)
    policy.withdraw(FIRST, 1)
    policy.withdraw(FIRST + 11, 1, erase=True)
    plan = policy.draw()
    assert uses(plan) == {"train": 10, "superseded": 3, "withdrawn": 3}
    assert len({(s.image, s.label) for s in plan.listing}) == 16
    assert all(s.pixels is not None for s in plan.listing)
    assert {(s.image, s.label) for s in plan.listing if s.use == "train"} == {
        (s.image.sha256, s.label and s.label.sha256) for s in plan.train if s.origin == "pool"
    }


def test_what_the_base_knows_of_the_pool_is_drawn_like_the_anchors_pages_and_judges_nothing(policy: Policy) -> None:
    policy.base = policy.run()
    policy.add(8000, 5)
    plan = policy.draw()
    of_pool = [sample for sample in plan.train if sample.origin == "pool"]
    assert plan.ratio == "50", "the row of the table is that of what the base does not know"
    assert (plan.counts.outside, plan.counts.old, len(of_pool)) == (5, 64 + 12, 17), "5 x 50 is more than there is"
    assert len(plan.new_set) == 5
    few = make_plan(
        Storage(),
        policy.world.parsed(json.loads(encode(policy.document().base)), mixing__minPoolSamples=1, mixing__maxOld=10),
        Known(base=listing_of(Storage(), policy.base)),
    ).plan
    assert (few.counts.outside, few.counts.old, len(few.train)) == (5, 10, 15)


def test_a_held_out_page_whose_label_was_corrected_since_the_base_is_measured_on(policy: Policy) -> None:
    policy.holdout = "0.5"
    policy.base = policy.run()
    policy.correct(FIRST, 12)
    plan = policy.draw()
    assert 0 < len(plan.new_set) == plan.counts.held_out


def test_too_few_pages_outside_the_base_are_refused_and_the_others_named(policy: Policy) -> None:
    policy.base = policy.run()
    policy.minimum = 6
    policy.add(8000, 6)
    policy.withdraw(8000, 1)
    with pytest.raises(
        StepError, match="5 verified pages to train on, besides 12 known to base_v1, 1 withdrawn; at least 6"
    ):
        policy.draw()


def test_a_withdrawn_page_trains_no_more_though_the_anchor_has_it_too(policy: Policy) -> None:
    again = write_new_pages(policy.world.root / "again", count=1, first=3, strange=False)
    add_to_pool(policy.pool, again, policy.world.anchor)
    [image] = {s.image.sha256 for s in read_pool(Storage(), policy.pool.as_uri(), CLASSES).samples[-1:]}
    assert image in {sample.image.sha256 for sample in policy.draw().train}
    withdraw_from(policy.pool, digests=(image,))
    assert image not in {sample.image.sha256 for sample in policy.draw().train}


def anchors_page(policy: Policy, document: str, *, anew: bool = False) -> str:
    """Verify a page that the anchor trains on; return what the anchor's file of it is known by."""
    folder = write_new_pages(policy.world.root / "again", count=1, first=3, strange=False)
    [image] = (folder / "images" / "train").iterdir()
    known = sha256_of(image.read_bytes())
    if anew:
        saved_anew(folder)
    add_to_pool(policy.pool, folder, policy.world.anchor, {image.stem: document})
    return known


def test_a_page_of_the_anchor_that_the_pool_has_in_another_file_trains_once_as_it_was_verified(policy: Policy) -> None:
    assert policy.draw().counts.old == 64
    image = anchors_page(policy, "invoice-3", anew=True)
    plan = policy.draw()
    assert (plan.counts.outside, plan.counts.old) == (13, 63)
    assert image not in {sample.image.sha256 for sample in plan.train}


def test_a_page_of_the_anchor_that_is_held_out_in_the_pool_trains_no_more(policy: Policy) -> None:
    policy.holdout = "0.5"
    document = next(name for name in map(str, range(99)) if is_held_out(name, Decimal(policy.holdout)))
    assert policy.draw().counts.old == 64
    image = anchors_page(policy, document)
    plan = policy.draw()
    assert document in plan.held_out_documents
    assert plan.counts.old == 63
    assert image not in {sample.image.sha256 for sample in plan.train}


def test_a_page_that_an_earlier_release_took_twice_is_one_sample_the_first(policy: Policy) -> None:
    taken_twice(policy)
    plan = policy.draw()
    first = policy.draw().counts
    assert (first.pool, first.outside) == (12, 12)
    assert all(sample.pixels for sample in plan.listing)
    batch = min((policy.pool / "batches").iterdir())
    assert {s.label for s in plan.listing} == {s["label"]["sha256"] for s in json.loads(batch.read_text())["samples"]}


def test_a_page_that_was_judged_in_another_file_is_not_new(policy: Policy) -> None:
    policy.run()
    policy.pool = policy.world.root / "second"
    folder = policy.folder(FIRST, 12)
    saved_anew(folder)
    add_to_pool(policy.pool, folder, policy.world.anchor)
    assert policy.draw().counts.new == 0


def test_the_newest_plan_says_what_was_judged_though_the_earlier_ones_are_gone(policy: Policy) -> None:
    first = policy.run()
    policy.pool = policy.world.root / "second"
    policy.add(8000, 2)
    second = policy.run()
    assert len(read_plan(Storage(), second).judged_before) == 12
    gone = local_path(first.uri)
    assert gone is not None
    gone.unlink()
    policy.add(FIRST, 12)
    plan = policy.draw()
    assert plan.counts.new == 0
    assert plan.judged_before == (), "this listing has them"


def test_a_judged_plan_that_is_gone_or_was_changed_stops_no_run_and_is_named(policy: Policy) -> None:
    plans = [policy.run(), policy.run(), policy.run()]
    paths = [local_path(plan.uri) for plan in plans]
    assert paths[0] is not None
    assert paths[1] is not None
    paths[0].unlink()
    paths[1].write_text("{}")
    samples, lost = judged_samples(Storage(), plans)
    assert len(samples) == 12
    assert [error.reason for error in lost] == [Reason.DATA_UNREADABLE, Reason.DIGEST_MISMATCH]
    assert all(plan.uri in error.message for plan, error in zip(plans, lost, strict=False))


# Plans of earlier trainers: the last release named the images of its pool, and images since then no log.


@pytest.mark.parametrize("known_labels", [True, False])
def test_a_plan_of_the_last_release_lists_what_it_had(policy: Policy, known_labels: bool) -> None:
    plan = of_the_last_release(policy.run(judged=False), known_labels=known_labels)
    policy.judged, policy.live = [plan], plan
    policy.add(8000, 5)
    policy.correct(FIRST, 3)
    counts = policy.draw().counts
    corrected = 3 if known_labels else 0
    assert (counts.outside, counts.new, counts.corrected, counts.fresh) == (
        17,
        5 + corrected,
        corrected,
        5 + corrected,
    )
    policy.base = plan
    assert policy.draw().counts.outside == 5 + corrected


@pytest.mark.row("R313")
def test_a_plan_that_names_no_log_lists_all_that_it_had(policy: Policy) -> None:
    policy.correct(FIRST, 2)
    today = policy.run(judged=False)
    plan = of_an_image_between(today)
    read, same = read_plan(Storage(), plan), read_plan(Storage(), today)
    assert (read.listing, read.train, read.counts, read.pool_log) == (same.listing, same.train, same.counts, ())
    policy.judged, policy.live, policy.base = [plan], plan, plan
    policy.add(8000, 5)
    policy.correct(FIRST + 4, 3)
    counts = policy.draw().counts
    assert (counts.outside, counts.new, counts.corrected, counts.fresh) == (8, 8, 3, 8)
    assert policy.counted().samples.outside == 8


def test_a_plan_of_no_release_is_refused() -> None:
    with pytest.raises(StepError, match="plan/v4") as caught:
        parse_plan(b'{"schema": "finetune-operator.io/plan/v4"}', "it")
    assert caught.value.reason is Reason.CONTRACT_VIOLATED
    for version in (1, 2):
        with pytest.raises(StepError, match="not valid"):
            parse_plan(f'{{"schema": "finetune-operator.io/plan/v{version}"}}'.encode(), "it")


def test_samples_without_pixels_or_label_are_known_by_the_rest() -> None:
    listing = Listing([KnownSample("a" * 64, None, "1" * 64), KnownSample("b" * 64, None, None)])
    assert listing.has(KnownSample("a" * 64, "c" * 64, "1" * 64))
    assert not listing.has(KnownSample("a" * 64, "c" * 64, "2" * 64))
    assert listing.has_page(KnownSample("a" * 64, "c" * 64, "2" * 64))
    assert listing.has(KnownSample("b" * 64, "d" * 64, "3" * 64))
    assert not listing.has_page(KnownSample("e" * 64, None, None))
