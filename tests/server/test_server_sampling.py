"""The draw: its probability is known, caps lower it instead of ending it, and windows count what is lost."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import mean

import pytest

from finetune_server.capture.sampling import Allowance, Draw, Sampler, Stratum
from finetune_server.capture.windows import Outcome, window_from
from finetune_server.config import CaptureConfig


def config(*, uncertain: bool = True, **changes: float) -> CaptureConfig:
    settings = {"random": 0.3, "per_hour": 200, "per_day": 2000, "margin": 0.1, **changes}
    return CaptureConfig(
        uri="file:///kept", pod="p", random=settings["random"], uncertain=uncertain, margin=settings["margin"],
        per_hour=int(settings["per_hour"]), per_day=int(settings["per_day"]), queue_bytes=1,
    )  # fmt: skip


def drawn(sampler: Sampler, pages: int) -> list[Draw]:
    draws = (sampler.draw(missing=(), best=(1.0,), confidence=0.5) for _ in range(pages))
    return [draw for draw in draws if draw.stratum is Stratum.RANDOM]


def test_pages_stand_for_as_many_as_their_probability_says_also_under_a_cap() -> None:
    estimates = []
    for seed in range(300):
        sampler = Sampler(config(), clock=lambda: 0.0, seed=seed)
        estimates.append(sum(1 / draw.probability for draw in drawn(sampler, 1000)))
    # 300 of 1,000 were asked for, 100 are allowed.
    assert mean(estimates) == pytest.approx(1000, rel=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_a_cap_holds_and_the_probability_falls_before_it(seed: int) -> None:
    sampler = Sampler(config(random=1), clock=lambda: 0.0, seed=seed)
    draws = drawn(sampler, 5000)
    assert len(draws) <= 100
    probabilities = [draw.probability for draw in draws]
    assert probabilities[:50] == [1.0] * 50
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[-1] > 0


def test_the_next_hour_has_its_own_allowance_within_the_day() -> None:
    now = 0.0
    allowance = Allowance(per_hour=2, per_day=3)
    for expected in (1.0, 0.5, 0.0):
        assert allowance.left(now) == expected
        allowance.take(now)
    now = 3600.0
    assert allowance.left(now) == 0, "the day's is used up"
    now = 86_400.0
    assert allowance.left(now) == 1


@pytest.mark.parametrize("per_hour", [0, 1])
def test_a_cap_of_none_and_one_holds(per_hour: int) -> None:
    sampler = Sampler(config(random=1, per_hour=per_hour), clock=lambda: 0.0)
    draws = [sampler.draw(missing=("total",), best=(), confidence=0.5) for _ in range(10)]
    assert len([draw for draw in draws if draw.stratum is not None and not draw.capped]) == per_hour


def test_a_drawn_page_is_random_though_it_is_uncertain() -> None:
    sampler = Sampler(config(random=1), clock=lambda: 0.0)
    assert sampler.draw(missing=("total",), best=(), confidence=0.5).stratum is Stratum.RANDOM


@pytest.mark.parametrize(
    ("missing", "best", "expected"),
    [
        ((), (), None),
        ((), (0.75, 0.9), None),
        ((), (0.625, 0.9), Stratum.UNCERTAIN),
        ((), (0.9, 0.626), None),
        ((), (0.9, 0.5), Stratum.UNCERTAIN),
        (("total",), (0.9,), Stratum.UNCERTAIN),
        (("total",), (), Stratum.UNCERTAIN),
    ],
)
def test_a_page_is_uncertain_by_any_best_box_within_the_margin_or_a_missing_field(
    missing: tuple[str, ...], best: tuple[float, ...], expected: Stratum | None
) -> None:
    draw = Sampler(config(random=0, margin=0.125), clock=lambda: 0.0).draw(missing=missing, best=best, confidence=0.5)
    assert draw == Draw(expected, 0.0)
    unasked = Sampler(config(random=0, margin=0.125, uncertain=False), clock=lambda: 0.0)
    assert unasked.draw(missing=missing, best=best, confidence=0.5).stratum is None


@pytest.mark.parametrize("random", [0, 1])
def test_no_stratum_has_more_than_its_half_of_a_day_in_however_many_hours(random: int) -> None:
    now = [0.0]
    sampler = Sampler(config(random=random, per_hour=10, per_day=20), clock=lambda: now[0])
    kept: Counter[tuple[float, Stratum | None]] = Counter()
    for hour in range(48):
        now[0] = hour * 3600.0
        for _ in range(200):
            draw = sampler.draw(missing=("total",), best=(), confidence=0.5)
            kept[now[0] // 86_400, draw.stratum] += not draw.capped
    assert [kept[day, Stratum.UNCERTAIN] for day in (0, 1)] == [10, 10]
    assert all(kept[day, Stratum.RANDOM] <= 10 * random for day in (0, 1))
    assert all(kept[day, Stratum.RANDOM] >= 5 * random for day in (0, 1)), "which begins anew"


def test_a_window_ends_at_the_full_ten_minutes_and_adds_up() -> None:
    begin = datetime(2026, 11, 21, 23, 57, 12, tzinfo=UTC)
    window = window_from(begin, 0.5, 0.25)
    assert (window.begin, window.end) == (begin, datetime(2026, 11, 22, tzinfo=UTC))
    assert window_from(window.end, 0.5, 0.25).end == window.end + timedelta(minutes=10)
    window.begun()
    window.begun()
    window.ended(Stratum.RANDOM, Outcome.STORED)
    window.ended(Stratum.RANDOM, Outcome.QUEUE, was_pending=False)
    window.cancelled()
    assert window.pending == 0
    assert window.strata()[Stratum.RANDOM] == {
        Outcome.STORED: 1, Outcome.QUEUE: 1, Outcome.CAP: 0, Outcome.STORAGE: 0,
    }  # fmt: skip
