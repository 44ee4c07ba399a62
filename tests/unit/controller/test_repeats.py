"""What does not stay is written at once twice, and then ever more slowly."""

from datetime import timedelta
from typing import Any

import pytest

from finetune_operator.controller.repeats import MOST, QUIET, REMEMBERED, Repeats, says_nothing_new
from finetune_operator.decide.decision import Annotate, ApplyKeys, DeleteJob, Emit

RECORD = Annotate("finetune-operator.io/outcome", "{}")


def seconds(*pauses: int) -> list[timedelta]:
    return [timedelta(seconds=pause) for pause in pauses]


@pytest.mark.row("R325")
def test_the_same_again_waits_longer_each_time_and_a_minute_at_most() -> None:
    repeats = Repeats()
    pauses = [repeats.pause("a", (RECORD, Emit("Normal", "Said", str(n))), n) for n in range(20)]
    assert pauses[:2] == [None, None], "a cache may lag"
    assert pauses[2:8] == seconds(1, 2, 4, 8, 16, 32)
    assert set(pauses[8:]) == {MOST}
    assert repeats.pause("b", (RECORD,), 20) is None, "each object has its own"


@pytest.mark.row("R325")
def test_a_time_in_which_it_stayed_begins_anew() -> None:
    repeats = Repeats()
    for at in range(4):
        repeats.pause("a", (RECORD,), at)
    assert repeats.pause("a", (RECORD,), 3 + QUIET.total_seconds()) is None


@pytest.mark.row("R325")
def test_of_those_who_take_turns_none_begins_anew_by_what_was_done_about_the_other() -> None:
    repeats, others = Repeats(), (DeleteJob("job", "uid"),)
    for at in range(4):
        repeats.pause("a", (RECORD,), at)
        repeats.pause("a", others, at)
    assert (repeats.left("a", (RECORD,), 3), repeats.left("a", others, 3)) == (*seconds(2), *seconds(2))


@pytest.mark.row("R325")
def test_a_record_is_the_same_whatever_others_put_into_it() -> None:
    """What is not ours stays in it, so that each of their words makes another text."""
    repeats = Repeats()
    pauses = [repeats.pause("a", (Annotate(RECORD.key, str(n)),), 0) for n in range(4)]
    assert pauses == [None, None, *seconds(1, 2)]
    assert repeats.pause("a", (Annotate("another", ""),), 0) is None


def test_what_is_remembered_of_one_object_is_bounded() -> None:
    repeats = Repeats()
    for number in range(100):
        repeats.pause("a", (DeleteJob(f"job-{number}", "uid"),), 0)
    assert len(repeats._known["a"]) == REMEMBERED


@pytest.mark.row("R325")
@pytest.mark.parametrize(
    ("change", "is_new"),
    [
        ({"epoch": 8, "inFlight": {"epoch": 8, "generation": 9, "phase": "Flipping"}}, False),
        ({"message": "said otherwise"}, False),
        ({"epoch": 8, "inFlight": {"epoch": 8, "generation": 9, "phase": "Returning"}}, True),
        ({"inFlight": None}, True),
        ({"phase": "Live"}, True),
    ],
)
def test_another_epoch_of_the_same_keys_and_other_words_are_nothing_new(change: dict[str, Any], is_new: bool) -> None:
    before = {"epoch": 7, "message": "", "inFlight": {"epoch": 7, "generation": 3, "phase": "Flipping"}}
    assert says_nothing_new(before, {**before, **change}) is not is_new


@pytest.mark.row("R325")
@pytest.mark.parametrize("between", [(Emit("Normal", "Said", ""),), ()])
def test_looks_that_find_it_there_begin_nothing_anew(between: tuple[Emit, ...]) -> None:
    """Who takes it off does so a moment later, and the write itself has the object looked at before that."""
    repeats = Repeats()
    for _ in range(4):
        repeats.pause("a", (RECORD,), 0)
        repeats.pause("a", between, 0)
    assert repeats.left("a", (RECORD,), 0.5) == timedelta(seconds=1.5)
    assert repeats.left("a", between, 0.5) is None
    assert repeats.left("a", (DeleteJob("job", "uid"),), 0.5) is None
    assert repeats.left("b", (RECORD,), 0.5) is None
    assert repeats.left("a", (RECORD,), 2.0) is None


@pytest.mark.row("R325")
def test_the_same_keys_under_another_epoch_are_the_same() -> None:
    repeats = Repeats()
    for epoch in range(2):
        repeats.pause("a", (ApplyKeys("d", "uid", str(epoch), "ft_v1.1", "s3://b/k", "ab" * 32, epoch),), epoch)
    keys = ApplyKeys("d", "uid", "9", "ft_v1.1", "s3://b/k", "ab" * 32, 9)
    assert repeats.pause("a", (keys,), 2) == timedelta(seconds=1)
    back = ApplyKeys("d", "uid", "9", "base_v1", "s3://b/k", "cd" * 32, 10)
    assert repeats.pause("a", (back,), 3) is None


def test_what_is_gone_is_forgotten() -> None:
    repeats = Repeats()
    for at in range(3):
        repeats.pause("a", (RECORD,), at)
    repeats.forget("a")
    assert repeats.pause("a", (RECORD,), 3) is None
