"""Listings in plans: what they have, what is drawn by them, and how those of the last release are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from finetune_trainer.data.earlier_plans import judged_samples, listing_of, read_plan
from finetune_trainer.data.listing import Listing
from finetune_trainer.data.mixing import is_held_out
from finetune_trainer.data.plan import Known, make_plan
from finetune_trainer.data.pool import read_pool
from finetune_trainer.digests import set_digest, sha256_of
from finetune_trainer.documents.codec import FileReference, encode
from finetune_trainer.documents.inputs import EvaluateInputs, LiveModel
from finetune_trainer.documents.plan import EARLIER_SCHEMA, KnownSample, Plan, parse_plan
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.steps.yardstick import Yardstick, read_yardstick
from finetune_trainer.storage import Storage, local_path
from trainer.policy import FIRST, Policy, forget_pixels, saved_anew
from trainer.world import CLASSES, NONCE, add_to_pool, context, relabel, withdraw_from, write_new_pages


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
    )
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
    forget_pixels(policy.pool)
    folder = policy.folder(FIRST, 2)
    saved_anew(folder)
    relabel(folder, FIRST, 2)
    add_to_pool(policy.pool, folder, policy.world.anchor)
    forget_pixels(policy.pool)
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


# Plans of the last release, which name the images of their pool.


def of_the_last_release(plan: FileReference, *, known_labels: bool = True) -> FileReference:
    """The same plan as the last release wrote it."""
    path = local_path(plan.uri)
    assert path is not None
    content = json.loads(path.read_text())
    content["schema"] = EARLIER_SCHEMA
    content["pool"] = sorted({s["image"] for s in content.pop("listing")})
    del content["judgedBefore"]
    for name in ("withdrawn", "outside", "corrected"):
        del content["counts"][name]
    if not known_labels:
        content["train"] = [s for s in content["train"] if s["origin"] != "pool"]
        content["newSet"] = []
    data = json.dumps(content).encode()
    path = path.with_name("earlier-" + path.name)
    path.write_bytes(data)
    return FileReference(path.as_uri(), hashlib.sha256(data).hexdigest())


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


def test_a_plan_of_neither_release_is_refused(policy: Policy) -> None:
    with pytest.raises(StepError, match="plan/v3") as caught:
        parse_plan(b'{"schema": "finetune-operator.io/plan/v3"}', "it")
    assert caught.value.reason is Reason.CONTRACT_VIOLATED
    with pytest.raises(StepError, match="not valid"):
        parse_plan(b'{"schema": "finetune-operator.io/plan/v1"}', "it")


def test_samples_without_pixels_or_label_are_known_by_the_rest() -> None:
    listing = Listing([KnownSample("a" * 64, None, "1" * 64), KnownSample("b" * 64, None, None)])
    assert listing.has(KnownSample("a" * 64, "c" * 64, "1" * 64))
    assert not listing.has(KnownSample("a" * 64, "c" * 64, "2" * 64))
    assert listing.has_page(KnownSample("a" * 64, "c" * 64, "2" * 64))
    assert listing.has(KnownSample("b" * 64, "d" * 64, "3" * 64))
    assert not listing.has_page(KnownSample("e" * 64, None, None))


# What an evaluation makes of a plan when the pool has changed since.


def judged_by(policy: Policy, plan: FileReference, live: FileReference | None = None) -> Yardstick:
    document = policy.document()
    model = None if live is None else LiveModel("ft_v1.1", FileReference("file:///live", "1" * 64), live)
    inputs = EvaluateInputs(1, NONCE, 1, plan, FileReference("file:///c", "c" * 64), model)
    return read_yardstick(context("evaluate", document, policy.world.root / "s"), document, inputs)


def grown(policy: Policy) -> None:
    policy.add(8000, 5)


def corrected_since(policy: Policy) -> None:
    policy.correct(FIRST, 3)


def withdrawn_since(policy: Policy) -> None:
    policy.withdraw(FIRST, 3)


def all_of_it(policy: Policy) -> None:
    policy.correct(FIRST, 6)
    policy.withdraw(FIRST, 3)
    policy.add(8000, 5)


@pytest.mark.parametrize("change", [grown, corrected_since, withdrawn_since, all_of_it])
@pytest.mark.parametrize("earlier", [False, True])
def test_an_evaluation_is_by_the_pool_as_it_was_drawn(
    policy: Policy, change: Callable[[Policy], None], earlier: bool
) -> None:
    plan = policy.run()
    if earlier:
        plan = of_the_last_release(plan)
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


def test_a_plan_with_pages_that_were_erased_since_ends_with_what_to_do(policy: Policy) -> None:
    plan = policy.run()
    policy.withdraw(FIRST, 3, erase=True)
    with pytest.raises(StepError, match="3 pages that the plan was drawn from were erased") as caught:
        judged_by(policy, plan)
    assert (caught.value.reason, caught.value.remedy.startswith("Make a new run")) == (Reason.SAMPLE_WITHDRAWN, True)
    assert judged_by(policy, policy.run()).counts.documents == 9


def test_pixels_that_the_pool_does_not_say_are_read_where_something_hangs_on_them(policy: Policy) -> None:
    policy.base = policy.run()
    policy.add(8000, 5)
    forget_pixels(policy.pool)
    honest = policy.run()
    assert judged_by(policy, honest).counts.documents == 5
    path = local_path(honest.uri)
    assert path is not None
    content = json.loads(path.read_text())
    base = read_plan(Storage(), policy.base).listing[0]
    new = {s["image"]["sha256"] for s in content["newSet"]}
    [entry, *_] = [s for s in content["listing"] if s["image"] in new]
    entry["pixels"] = base.pixels
    # Only a listing with the same label would be believed to know the page: so the base's is made to have it.
    own = json.loads(local_path(policy.base.uri).read_text())  # type: ignore[union-attr]
    own["listing"].append({"image": base.image, "pixels": base.pixels, "label": entry["label"], "use": "superseded"})
    references = []
    for name, value in (("lie", content), ("base", own)):
        data = json.dumps(value).encode()
        (policy.world.root / f"{name}.json").write_bytes(data)
        references.append(
            FileReference((policy.world.root / f"{name}.json").as_uri(), hashlib.sha256(data).hexdigest())
        )
    policy.base = references[1]
    with pytest.raises(StepError, match="with other pixels than it has"):
        judged_by(policy, references[0])


def without(policy: Policy, plan: FileReference, left_out: int) -> FileReference:
    """The plan without pages that it was drawn from: of nothing that it says does one part contradict another."""
    path = local_path(plan.uri)
    assert path is not None
    content = json.loads(path.read_text())
    gone = {sample["image"]["sha256"] for sample in content["newSet"][:left_out]}
    for name in ("newSet", "train"):
        content[name] = [sample for sample in content[name] if sample["image"]["sha256"] not in gone]
    content["listing"] = [sample for sample in content["listing"] if sample["image"] not in gone]
    pairs = [(s["image"]["sha256"], s["label"] and s["label"]["sha256"]) for s in content["newSet"]]
    content["digests"]["newSet"] = set_digest(pairs)
    data = json.dumps(content).encode()
    path = path.with_name("easy-" + path.name)
    path.write_bytes(data)
    return FileReference(path.as_uri(), hashlib.sha256(data).hexdigest())


@pytest.mark.row("R308")
@pytest.mark.parametrize("earlier", [False, True], ids=["pool", "pool of an earlier release"])
def test_nobody_picks_the_pages_that_a_candidate_is_good_at(policy: Policy, earlier: bool) -> None:
    if earlier:
        forget_pixels(policy.pool)
    policy.add(8000, 5)
    honest = policy.run()
    assert judged_by(policy, honest).counts.documents == 17
    with pytest.raises(StepError, match="leaves out 3 of their pages") as caught:
        judged_by(policy, without(policy, honest, 3))
    assert caught.value.reason is Reason.DIGEST_MISMATCH


@pytest.mark.row("R308")
@pytest.mark.parametrize("earlier", [False, True], ids=["plan", "plan of the last release"])
def test_pages_that_come_in_two_batches_or_in_two_files_leave_nothing_out(policy: Policy, earlier: bool) -> None:
    forget_pixels(policy.pool)
    folder = policy.folder(FIRST, 2)
    saved_anew(folder)
    relabel(folder, FIRST, 2)
    add_to_pool(policy.pool, folder, policy.world.anchor)
    forget_pixels(policy.pool)
    policy.add(8000, 3)
    plan = policy.run()
    policy.add(8100, 2)
    *_, older, newer = sorted((policy.pool / "batches").iterdir())
    both = json.loads(newer.read_text())
    both["samples"] += json.loads(older.read_text())["samples"][:2]  # two people added them at once
    newer.write_text(json.dumps(both))
    policy.withdraw(8100, 1)
    assert judged_by(policy, of_the_last_release(plan) if earlier else plan).counts.documents == 15


@pytest.mark.row("R308")
def test_a_batch_that_has_a_listed_page_in_another_file_was_not_there_by_that(policy: Policy) -> None:
    """It came since, and brought a page of an earlier release once more: nothing of it was left out."""
    forget_pixels(policy.pool)
    plan = policy.run()
    again = write_new_pages(policy.world.root / "again", count=3, first=FIRST + 10)
    saved_anew(again)
    add_to_pool(policy.pool, again, policy.world.anchor)
    assert judged_by(policy, plan).counts.documents == 12
