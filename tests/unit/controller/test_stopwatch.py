"""Observed time: steps from look to look, none back, and each at most so much."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.controller.stopwatch import Stopwatch
from finetune_operator.decide.times import Timed

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
STEP = timedelta(seconds=15)


def lasted(*looks: float, most: timedelta | None = STEP) -> float:
    watch = Stopwatch()
    for at in looks:
        total = watch.lap("uid", Timed("flight", most), at=at, now=NOW)
    return total.total_seconds()


def test_a_first_look_counts_nothing_and_each_other_one_the_time_since_the_last() -> None:
    assert [lasted(100), lasted(100, 107), lasted(100, 107, 120)] == [0, 7, 20]


def test_a_time_in_which_nobody_looked_counts_one_step_at_most() -> None:
    assert lasted(0, 3600, 3605) == 20
    assert lasted(0, 3600, most=None) == 3600, "where only time matters, and nothing has to be seen"


def test_time_begins_anew_when_the_status_recorded_it_and_when_the_object_is_gone() -> None:
    watch = Stopwatch()
    watch.lap("uid", Timed("flight"), at=0, now=NOW)
    assert watch.lap("uid", Timed("flight, 60 s recorded"), at=60, now=NOW) == timedelta()
    assert watch.lap("uid", Timed("flight, 60 s recorded"), at=61, now=NOW) == timedelta(seconds=1)
    watch.forget("uid")
    assert watch.lap("uid", Timed("flight, 60 s recorded"), at=70, now=NOW) == timedelta()


def test_a_new_process_takes_the_wall_clocks_word_once_and_up_to_a_limit() -> None:
    since, most = NOW - timedelta(hours=5), timedelta(hours=1)
    assert Stopwatch().lap("uid", Timed("a", since=since, first=most), at=0, now=NOW) == most
    assert Stopwatch().lap("uid", Timed("a", since=NOW + timedelta(days=2), first=most), at=0, now=NOW) == timedelta()
    watch = Stopwatch()
    watch.lap("uid", Timed("a"), at=0, now=NOW)
    assert watch.lap("uid", Timed("b", since=since, first=most), at=1, now=NOW) == timedelta()


@given(st.lists(st.floats(0, 10**7), min_size=1, max_size=20))
def test_no_more_is_counted_than_passed_and_no_more_than_a_step_for_each_look(looks: list[float]) -> None:
    looks = sorted(looks)
    assert 0 <= lasted(*looks) <= min(looks[-1] - looks[0], 15 * (len(looks) - 1)) + 1e-3
