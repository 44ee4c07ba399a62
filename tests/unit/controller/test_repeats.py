"""What does not stay is written at once twice, and then ever more slowly."""

from datetime import timedelta

import pytest

from finetune_operator.controller.repeats import MOST, Repeats
from finetune_operator.decide.decision import Annotate, ApplyKeys, DeleteJob, Emit

RECORD = Annotate("finetune-operator.io/outcome", "{}")


def seconds(*pauses: int) -> list[timedelta]:
    return [timedelta(seconds=pause) for pause in pauses]


@pytest.mark.row("R325")
def test_the_same_again_waits_longer_each_time_and_a_minute_at_most() -> None:
    repeats = Repeats()
    pauses = [repeats.pause("a", (RECORD, Emit("Normal", "Said", str(n)))) for n in range(20)]
    assert pauses[:2] == [None, None], "a cache may lag"
    assert pauses[2:8] == seconds(1, 2, 4, 8, 16, 32)
    assert set(pauses[8:]) == {MOST}
    assert repeats.pause("b", (RECORD,)) is None, "each object has its own"


@pytest.mark.row("R325")
def test_something_else_or_nothing_in_between_begins_anew() -> None:
    for between in ((DeleteJob("job", "uid"),), (Emit("Normal", "Said", ""),), ()):
        repeats = Repeats()
        for _ in range(4):
            repeats.pause("a", (RECORD,))
        repeats.pause("a", between)
        assert repeats.pause("a", (RECORD,)) is None


@pytest.mark.row("R325")
def test_the_same_keys_under_another_epoch_are_the_same() -> None:
    repeats = Repeats()
    for epoch in range(2):
        repeats.pause("a", (ApplyKeys("d", "uid", str(epoch), "ft_v1.1", "s3://b/k", "ab" * 32, epoch),))
    keys = ApplyKeys("d", "uid", "9", "ft_v1.1", "s3://b/k", "ab" * 32, 9)
    assert repeats.pause("a", (keys,)) == timedelta(seconds=1)
    back = ApplyKeys("d", "uid", "9", "base_v1", "s3://b/k", "cd" * 32, 10)
    assert repeats.pause("a", (back,)) is None


def test_what_is_gone_is_forgotten() -> None:
    repeats = Repeats()
    for _ in range(3):
        repeats.pause("a", (RECORD,))
    repeats.forget("a")
    assert repeats.pause("a", (RECORD,)) is None
