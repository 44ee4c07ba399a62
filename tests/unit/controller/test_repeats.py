"""What does not stay is written at once twice, and then ever more slowly."""

from datetime import timedelta

import pytest

from finetune_operator.controller.repeats import MOST, QUIET, Repeats
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
def test_something_else_in_between_or_a_time_in_which_it_stayed_begins_anew() -> None:
    repeats = Repeats()
    for at in range(4):
        repeats.pause("a", (RECORD,), at)
    repeats.pause("a", (DeleteJob("job", "uid"),), 4)
    assert repeats.pause("a", (RECORD,), 5) is None
    for at in range(4):
        repeats.pause("a", (RECORD,), 6 + at)
    assert repeats.pause("a", (RECORD,), 9 + QUIET.total_seconds()) is None


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
