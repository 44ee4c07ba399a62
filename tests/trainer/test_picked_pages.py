"""Plans that list otherwise what they were drawn from: each picks what a candidate is good at."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from finetune_trainer.digests import set_digest
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.errors import Reason, StepError
from trainer.policy import FIRST, Policy, content_of, forget_pixels, judged_by, saved_anew, written_over
from trainer.world import add_to_pool, write_new_pages

Entries = list[dict[str, Any]]
IN_POOLS = pytest.mark.parametrize("earlier", [False, True], ids=["pool", "pool of an earlier release"])


def without(content: dict[str, Any], left_out: int) -> Entries:
    """Leave pages out of a plan, of which no part contradicts another one then; return what it listed of them."""
    gone = {sample["image"]["sha256"] for sample in content["newSet"][:left_out]}
    for name in ("newSet", "train"):
        content[name] = [sample for sample in content[name] if sample["image"]["sha256"] not in gone]
    entries = [sample for sample in content["listing"] if sample["image"] in gone]
    content["listing"] = [sample for sample in content["listing"] if sample["image"] not in gone]
    pairs = [(s["image"]["sha256"], s["label"] and s["label"]["sha256"]) for s in content["newSet"]]
    content["digests"]["newSet"] = set_digest(pairs)
    return entries


def refused(policy: Policy, plan: FileReference, said: str) -> None:
    with pytest.raises(StepError, match=said) as caught:
        judged_by(policy, plan)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


# Pages that it leaves out, and how it hides that.


def plainly(there: Entries, _: Entries) -> None:
    """Nothing is hidden."""


def by_pixels(there: Entries, _: Entries) -> None:
    """Pages are named by their pixels, so that no batch seems to have been there."""
    for entry in there:
        entry["image"] = entry["pixels"]


def by_no_image(there: Entries, _: Entries) -> None:
    for number, entry in enumerate(there):
        entry["image"] = f"{number:064x}"


def as_labels_of_others(there: Entries, gone: Entries) -> None:
    """What is left out seems to be listed: a page that is listed was it, with a label that counts no more."""
    there += [other | {"pixels": left["pixels"], "use": "superseded"} for other, left in zip(there, gone, strict=False)]


def as_withdrawn(there: Entries, gone: Entries) -> None:
    for other, left in zip([e for e in there if e["use"] == "withdrawn"], gone, strict=True):
        other["pixels"] = left["pixels"]


def as_what_others_show(there: Entries, gone: Entries) -> None:
    for other, left in zip([e for e in there if e["use"] == "train"], gone, strict=False):
        other["pixels"] = left["pixels"]


def as_withdrawn_itself(there: Entries, gone: Entries) -> None:
    there += [left | {"use": "withdrawn"} for left in gone]


def as_superseded(there: Entries, gone: Entries) -> None:
    there += [left | {"use": "superseded"} for left in gone]


HIDING: Final = (
    plainly,
    by_pixels,
    by_no_image,
    as_labels_of_others,
    as_withdrawn,
    as_what_others_show,
    as_withdrawn_itself,
    as_superseded,
)


@pytest.mark.row("R308")
@IN_POOLS
@pytest.mark.parametrize("hide", HIDING)
def test_nobody_picks_the_pages_that_a_candidate_is_good_at(
    policy: Policy, hide: Callable[[Entries, Entries], None], earlier: bool
) -> None:
    if earlier:
        forget_pixels(policy.pool)
    policy.add(8000, 2)
    policy.withdraw(FIRST, 3)
    honest = policy.run()
    assert judged_by(policy, honest).counts.documents == 11
    content = content_of(honest)
    gone = without(content, 3)
    hide(content["listing"], gone)
    content["listing"].sort(key=lambda entry: (entry["image"], entry["label"]))
    refused(policy, written_over(honest, content), "lists [0-9]+ samples otherwise")


@pytest.mark.row("R308")
def test_nobody_picks_pages_that_two_people_added_at_once(policy: Policy) -> None:
    [first] = (policy.pool / "batches").iterdir()
    shutil.copy(first, first.with_name(f"{first.stem}z.json"))
    honest = policy.run()
    assert judged_by(policy, honest).counts.documents == 12
    content = content_of(honest)
    without(content, 3)
    refused(policy, written_over(honest, content), "lists 3 samples otherwise")


# A page that it lists otherwise.


def other_pixels(entry: dict[str, Any]) -> None:
    entry["pixels"] = "0" * 64


def no_pixels(entry: dict[str, Any]) -> None:
    entry["pixels"] = None


def any_label(entry: dict[str, Any]) -> None:
    entry["label"] = None


def held_out(entry: dict[str, Any]) -> None:
    entry["use"] = "heldOut"


@pytest.mark.row("R308")
@IN_POOLS
@pytest.mark.parametrize("change", [other_pixels, no_pixels, any_label, held_out])
def test_a_page_is_listed_as_it_is(policy: Policy, change: Callable[[dict[str, Any]], None], earlier: bool) -> None:
    if earlier:
        forget_pixels(policy.pool)
    honest = policy.run()
    content = content_of(honest)
    entry = content["listing"][5]
    change(entry)
    refused(policy, written_over(honest, content), f"image {entry['image']} with label")


@pytest.mark.row("R308")
@pytest.mark.parametrize("swap", [{"train": "superseded", "superseded": "train"}, {"withdrawn": "train"}])
def test_the_label_that_counts_is_the_one_of_then(policy: Policy, swap: dict[str, str]) -> None:
    policy.correct(FIRST, 3)
    policy.withdraw(FIRST + 5, 2)
    honest = policy.run()
    content = content_of(honest)
    for entry in content["listing"]:
        entry["use"] = swap.get(entry["use"], entry["use"])
    refused(policy, written_over(honest, content), "samples otherwise; the first is image [0-9a-f]{64} with label")


@pytest.mark.row("R308")
def test_a_listing_has_each_sample_once_and_in_order(policy: Policy) -> None:
    honest = policy.run()
    content = content_of(honest)
    listing = content["listing"]
    for other in ([listing[0], *listing], listing[::-1]):
        refused(policy, written_over(honest, content | {"listing": other}), "twice, or in another order")


# Whatever the log is, and whatever of it a plan was drawn from.


def whole_log(policy: Policy) -> list[str]:
    """Give the pool a log with all that there is; return the names of its manifests."""
    forget_pixels(policy.pool)
    again = write_new_pages(policy.world.root / "again", count=3, first=FIRST + 10)
    saved_anew(again)
    add_to_pool(policy.pool, again, policy.world.anchor)
    policy.add(8000, 3)
    policy.correct(FIRST, 3)
    policy.correct(FIRST, 1, again=True)
    policy.withdraw(FIRST + 2, 2)
    policy.withdraw(8000, 1)
    return sorted(path.name for path in (policy.pool / "batches").iterdir())


def change_one(entries: Entries, data: st.DataObject) -> None:
    """Change one entry, drop one, or take one twice."""
    at = data.draw(st.integers(0, len(entries) - 1))
    entry = entries[at]
    how = data.draw(st.sampled_from(["drop", "twice", "swap", "image", "pixels", "no pixels", "label", "use"]))
    if how == "drop":
        del entries[at]
    elif how == "twice":
        entries.insert(at, dict(entry))
    elif how == "swap":
        other = data.draw(st.integers(0, len(entries) - 1).filter(lambda index: index != at))
        entries[at], entries[other] = entries[other], entries[at]
    elif how == "use":
        uses = {"train", "heldOut", "superseded", "withdrawn"} - {entry["use"]}
        entry["use"] = data.draw(st.sampled_from(sorted(uses)))
    else:
        name = how.removeprefix("no ")
        others = sorted({other[name] for other in entries if other[name] not in (None, entry[name])} | {"0" * 64})
        value = None if how == "no pixels" else data.draw(st.sampled_from(others))
        assume(value != entry[name])
        entry[name] = value


@pytest.mark.row("R308")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_drawn_of_any_part_of_a_log_is_taken_and_nothing_else_is(policy: Policy, data: st.DataObject) -> None:
    """The rest of the log comes since, whatever it does to the pages."""
    folder, kept = policy.pool / "batches", policy.world.root / "kept"
    if not kept.exists():
        whole_log(policy)
        shutil.copytree(folder, kept)
    names = sorted(path.name for path in kept.iterdir())
    drawn_from = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1).map(sorted))
    policy.holdout = data.draw(st.sampled_from(["0", "0.4"]))
    shutil.rmtree(folder)
    folder.mkdir()
    for name in drawn_from:
        shutil.copy(kept / name, folder / name)
    try:
        plan = policy.run(judged=False)
    except StepError as error:
        if error.reason is not Reason.POOL_TOO_SMALL:
            raise
        reject()
    for name in names:
        shutil.copy(kept / name, folder / name)
    content = content_of(plan)
    assert content["poolLog"] == drawn_from
    made = judged_by(policy, plan)
    assert (made.listed.digest, made.listed.samples) == (content["digests"]["pool"], content["counts"]["pool"])
    assert len(made.new_set) == len(content["newSet"])
    change_one(content["listing"], data)
    refused(policy, written_over(plan, content), "The plan is not what")


@pytest.mark.row("R329")
@pytest.mark.parametrize("origin", ["pool", "anchor"])
def test_a_plan_teaches_no_page_twice(policy: Policy, origin: str) -> None:
    """A page that is there a thousand times is all that a model learns, and every count of pages is right."""
    honest = policy.run()
    content = content_of(honest)
    content["train"].append(next(sample for sample in content["train"] if sample["origin"] == origin))
    refused(policy, written_over(honest, content), "it trains on a page more than once")
