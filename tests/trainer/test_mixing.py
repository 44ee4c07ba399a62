"""The mixing table, and the draw of old pages."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.data.mixing import draw, is_held_out, multiplier, old_count
from finetune_trainer.digests import set_digest

DIGESTS = st.sets(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=60)


@pytest.mark.parametrize(
    ("pool", "times"),
    [(1, 50), (9, 50), (10, 50), (49, 50), (50, 20), (199, 20), (200, 10), (499, 10), (500, 5), (1999, 5)],
)
def test_steps_are_the_rows_of_the_table(pool: int, times: int) -> None:
    assert multiplier(pool, "Steps") == times


@pytest.mark.parametrize(("pool", "old"), [(10, 500), (50, 1000), (200, 2000), (500, 2500), (1000, 3000)])
def test_the_totals_are_those_of_the_table(pool: int, old: int) -> None:
    for interpolation in ("Steps", "LogLog"):
        assert old_count(outside=pool, times=multiplier(pool, interpolation), max_old=3000, anchor=25_000) == old


@given(st.integers(1, 5000))
def test_between_the_points_more_pages_never_mean_fewer_old_ones(pool: int) -> None:
    def total(size: int) -> Decimal:
        return multiplier(size, "LogLog") * size

    assert total(pool + 1) >= total(pool) - Decimal("0.01")


def test_steps_do_mean_fewer_at_an_edge() -> None:
    fewer, more = (
        old_count(outside=pool, times=multiplier(pool, "Steps"), max_old=3000, anchor=25_000) for pool in (49, 50)
    )
    assert more < fewer


@pytest.mark.parametrize(
    ("new", "times", "most", "anchor", "old"),
    [
        (60, "20", 3000, 25_000, 1200),
        (60, "20", 3000, 700, 700),
        (60, "100", 3000, 25_000, 3000),
        (0, "50", 10, 5, 0),
        (3, "2.5", 3000, 25_000, 8),
    ],
)
def test_old_pages_are_limited_by_the_policy_and_by_the_anchor(
    new: int, times: str, most: int, anchor: int, old: int
) -> None:
    assert old_count(outside=new, times=Decimal(times), max_old=most, anchor=anchor) == old


@given(DIGESTS, st.integers(0, 80), st.integers(0, 2**31 - 1))
def test_a_draw_is_without_replacement_and_hangs_on_seed_and_set_alone(
    digests: set[str], count: int, seed: int
) -> None:
    drawn = draw(sorted(digests), count=count, seed=seed)
    assert len(drawn) == len(set(drawn)) == min(count, len(digests))
    assert set(drawn) <= digests
    assert drawn == draw(sorted(digests, reverse=True), count=count, seed=seed)
    assert drawn[: count // 2] == draw(digests, count=count // 2, seed=seed), (
        "a smaller draw is the start of a larger one"
    )


def test_another_seed_draws_other_pages() -> None:
    digests = [f"{i:064x}" for i in range(500)]
    assert set(draw(digests, count=50, seed=1)) != set(draw(digests, count=50, seed=2))


def test_the_draw_of_a_seed_never_changes() -> None:
    assert draw([f"{i:064x}" for i in range(100)], count=3, seed=1234) == [f"{i:064x}" for i in (18, 68, 51)]


@given(st.text(min_size=1), st.floats(0, 1))
def test_a_document_stays_held_out_when_the_share_grows(document: str, share: float) -> None:
    if is_held_out(document, Decimal(share)):
        assert is_held_out(document, Decimal(share) + Decimal("0.1"))


@pytest.mark.parametrize(("share", "expected"), [("0", 0), ("0.2", 2000), ("1", 10_000)])
def test_the_held_out_share_is_met(share: str, expected: int) -> None:
    count = sum(is_held_out(f"doc-{i}", Decimal(share)) for i in range(10_000))
    assert abs(count - expected) <= 150


def test_a_sets_digest_hangs_on_its_contents_alone() -> None:
    assert set_digest([("a", "b"), ("c", None)]) == set_digest([("c", None), ("a", "b")])
    assert set_digest([("a", "b")]) != set_digest([("a", "c")])
