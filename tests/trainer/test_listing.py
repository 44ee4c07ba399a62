"""What counts as outside, new, corrected and fresh: after every end of a run, and every change of the pool."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from finetune_trainer.documents.codec import encode
from trainer.policy import FIRST, Policy, forget_pixels, saved_anew
from trainer.world import add_to_pool

# What happens between a first run on twelve pages and the next one, and what that one counts.


def nothing(policy: Policy) -> None:
    """No run before."""


def rejected(policy: Policy) -> None:
    """By the gates, or by a person."""
    policy.run()
    policy.add(8000, 5)


def expired(policy: Policy) -> None:
    """Nobody reviewed it. To the listing that is the same as a no: what counts is that it was judged."""
    policy.run()
    policy.add(8000, 5)


def superseded(policy: Policy) -> None:
    """Another run on the same pool went live before it could."""
    policy.run()
    policy.run(goes_live=True)
    policy.add(8000, 5)


def rolled_back(policy: Policy) -> None:
    """What is live again knows less than what was judged."""
    first = policy.run(goes_live=True)
    policy.add(8000, 5)
    policy.run(goes_live=True)
    policy.live = first
    policy.add(8100, 3)


def failed(policy: Policy) -> None:
    """A run that failed, or whose gates could not judge, leaves no trace."""
    policy.run(judged=False)
    policy.add(8000, 5)


def live(policy: Policy) -> None:
    policy.run(goes_live=True)
    policy.add(8000, 5)


def rebuilt(policy: Policy) -> None:
    """A new base has learned the whole pool; what is live is a version of the base before."""
    policy.base = policy.run(goes_live=True)
    policy.add(8000, 5)


def corrected(policy: Policy) -> None:
    policy.run(goes_live=True)
    policy.correct(FIRST, 3)


def corrected_and_judged(policy: Policy) -> None:
    corrected(policy)
    policy.run(goes_live=True)


def corrected_back(policy: Policy) -> None:
    """The first labels again: they were judged."""
    corrected_and_judged(policy)
    policy.correct(FIRST, 3, again=True)


def corrected_before_any_run(policy: Policy) -> None:
    policy.correct(FIRST, 3)


def corrected_after_a_rebuild(policy: Policy) -> None:
    policy.base = policy.run(goes_live=True)
    policy.correct(FIRST, 3)


def corrected_after_a_failure(policy: Policy) -> None:
    policy.run(judged=False)
    policy.correct(FIRST, 3)


def withdrawn(policy: Policy) -> None:
    policy.run(goes_live=True)
    policy.withdraw(FIRST, 3)


def erased(policy: Policy) -> None:
    policy.run(goes_live=True)
    policy.withdraw(FIRST, 3, erase=True)
    policy.add(8000, 5)


def withdrawn_before_any_run(policy: Policy) -> None:
    policy.withdraw(FIRST, 3)


def corrected_and_withdrawn(policy: Policy) -> None:
    policy.run()
    policy.correct(FIRST, 4)
    policy.withdraw(FIRST, 2)


def held_out(policy: Policy) -> None:
    """Of twelve documents five are held out, of five more two: what is held out is listed, and fresh no more."""
    policy.holdout = "0.5"
    policy.world.pool.rename(policy.world.root / "kept")
    pages = policy.folder(FIRST, 12)
    add_to_pool(policy.pool, pages, policy.world.anchor, {f"page-{FIRST + n}": f"doc-{n}" for n in range(12)})
    policy.run(goes_live=True)
    more = policy.folder(8000, 5)
    add_to_pool(policy.pool, more, policy.world.anchor, {f"page-{8000 + n}": f"doc-{12 + n}" for n in range(5)})


def held_out_and_corrected(policy: Policy) -> None:
    """A held-out page with another label is fresh, and no new page to train on; it stays held out."""
    held_out(policy)
    policy.run(goes_live=True)
    policy.correct(FIRST, 12)


def held_out_and_withdrawn(policy: Policy) -> None:
    held_out(policy)
    policy.run(goes_live=True)
    policy.withdraw(FIRST, 12)


def another_policy(policy: Policy) -> None:
    """Its runs are judged on the same pool; what it judged is its own."""
    other = Policy(policy.world, policy.pool)
    other.run(goes_live=True)
    policy.add(8000, 5)


def its_own_after_another_policy(policy: Policy) -> None:
    another_policy(policy)
    policy.run()
    policy.add(8100, 2)


def another_pool(policy: Policy) -> None:
    """The pages were judged in another pool, eight runs ago."""
    policy.run()
    policy.pool = policy.world.root / "second"
    policy.add(8000, 2)
    for _ in range(8):
        policy.run()
    policy.add(FIRST, 12)


TABLE: dict[Callable[[Policy], None], dict[str, int]] = {
    nothing: {"pool": 12, "outside": 12, "new": 12, "fresh": 12},
    rejected: {"pool": 17, "outside": 17, "new": 5, "fresh": 17},
    expired: {"pool": 17, "outside": 17, "new": 5, "fresh": 17},
    superseded: {"pool": 17, "outside": 17, "new": 5, "fresh": 5},
    rolled_back: {"pool": 20, "outside": 20, "new": 3, "fresh": 8},
    failed: {"pool": 17, "outside": 17, "new": 17, "fresh": 17},
    live: {"pool": 17, "outside": 17, "new": 5, "fresh": 5},
    rebuilt: {"pool": 17, "outside": 5, "new": 5, "fresh": 5},
    corrected: {"pool": 12, "outside": 12, "new": 3, "corrected": 3, "fresh": 3},
    corrected_and_judged: {"pool": 12, "outside": 12, "new": 0, "fresh": 0},
    corrected_back: {"pool": 12, "outside": 12, "new": 0, "fresh": 0},
    corrected_before_any_run: {"pool": 12, "outside": 12, "new": 12, "fresh": 12},
    corrected_after_a_rebuild: {"pool": 12, "outside": 3, "new": 3, "corrected": 3, "fresh": 3},
    corrected_after_a_failure: {"pool": 12, "outside": 12, "new": 12, "fresh": 12},
    withdrawn: {"pool": 9, "withdrawn": 3, "outside": 9, "new": 0, "fresh": 0},
    erased: {"pool": 14, "withdrawn": 3, "outside": 14, "new": 5, "fresh": 5},
    withdrawn_before_any_run: {"pool": 9, "withdrawn": 3, "outside": 9, "new": 9, "fresh": 9},
    corrected_and_withdrawn: {"pool": 10, "withdrawn": 2, "outside": 10, "new": 2, "corrected": 2, "fresh": 10},
    held_out: {"pool": 17, "heldOut": 7, "outside": 10, "new": 3, "fresh": 5},
    held_out_and_corrected: {"pool": 17, "heldOut": 7, "outside": 10, "new": 7, "corrected": 7, "fresh": 12},
    held_out_and_withdrawn: {"pool": 5, "heldOut": 2, "withdrawn": 12, "outside": 3, "new": 0, "fresh": 0},
    another_policy: {"pool": 17, "outside": 17, "new": 17, "fresh": 17},
    its_own_after_another_policy: {"pool": 19, "outside": 19, "new": 2, "fresh": 19},
    another_pool: {"pool": 14, "outside": 14, "new": 0, "fresh": 14},
}
NONE = {"heldOut": 0, "withdrawn": 0, "corrected": 0}


@pytest.mark.parametrize("story", TABLE, ids=lambda story: story.__name__)
def test_what_the_next_run_counts(policy: Policy, story: Callable[[Policy], None]) -> None:
    story(policy)
    counts = json.loads(encode(policy.draw().counts))
    expected = {**NONE, **TABLE[story]}
    assert {name: counts[name] for name in expected} == expected
    assert counts["train"] == counts["outside"] + counts["old"]
    assert counts["new"] <= counts["pool"] - counts["heldOut"]


@pytest.mark.parametrize("story", TABLE, ids=lambda story: story.__name__)
def test_a_scan_counts_what_the_next_run_would(policy: Policy, story: Callable[[Policy], None]) -> None:
    story(policy)
    counts, count = policy.draw().counts, policy.counted()
    assert (count.samples.current, count.samples.held_out, count.withdrawn) == (
        counts.pool, counts.held_out, counts.withdrawn)  # fmt: skip
    assert (count.samples.outside, count.samples.new, count.samples.corrected) == (
        counts.outside, counts.new, counts.corrected)  # fmt: skip
    assert count.unmeasured == 0


def test_the_pool_that_was_counted_is_known_by_its_listing(policy: Policy) -> None:
    seen = [policy.counted().listing]
    policy.run(goes_live=True)
    assert policy.counted().listing == seen[0], "a run changes no pool"
    policy.add(8000, 5)
    seen.append(policy.counted().listing)
    policy.correct(FIRST, 3)
    seen.append(policy.counted().listing)
    policy.withdraw(FIRST, 3)
    seen.append(policy.counted().listing)
    policy.holdout = "0.5"
    seen.append(policy.counted().listing)
    assert len(set(seen)) == len(seen)


def test_the_same_pages_in_other_files_have_the_same_listing(policy: Policy) -> None:
    """Else what was trained would be trained once more, under another name."""
    before = policy.counted().listing
    policy.pool = policy.world.root / "second"
    folder = policy.folder(FIRST, 12)
    saved_anew(folder)
    add_to_pool(policy.pool, folder, policy.world.anchor)
    assert policy.counted().listing == before


def test_pages_of_an_earlier_release_are_counted_by_their_files(policy: Policy) -> None:
    forget_pixels(policy.pool)
    count = policy.counted()
    assert (count.samples.new, count.unmeasured) == (12, 12)
