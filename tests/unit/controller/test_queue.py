"""Every wake-up is worked off, no key by two workers at once, and none is pushed aside for ever."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_operator.controller.queue import BACKOFF_CAP, WorkQueue
from house.virtual_time import run_virtually

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return run_virtually(asyncio.wait_for(work, 10))


def queue(chance: float = 0.0) -> WorkQueue[str]:
    """Keys are lane/name."""
    clock = asyncio.get_running_loop().time
    return WorkQueue(lane=lambda key: key.partition("/")[0], clock=clock, chance=lambda: chance)


async def drain(work: WorkQueue[str]) -> list[str]:
    taken: list[str] = []
    while work.depth():
        key = await work.take()
        assert key is not None
        taken.append(key)
        work.done(key)
    return taken


def test_a_key_woken_many_times_is_worked_on_once() -> None:
    async def story() -> list[str]:
        work = queue()
        for key in ("a/1", "a/2", "a/1", "a/1"):
            work.wake(key)
        return await drain(work)

    assert run(story()) == ["a/1", "a/2"]


def test_a_key_woken_while_it_is_worked_on_is_worked_on_once_more_afterwards() -> None:
    async def story() -> None:
        work = queue()
        work.wake("a/1")
        assert await work.take() == "a/1"
        work.wake("a/1")
        work.wake("a/1")
        assert work.depth() == 0  # never with two workers
        work.done("a/1")
        assert await drain(work) == ["a/1"]

    run(story())


def test_lanes_take_turns_so_that_a_burst_delays_nobody_else() -> None:
    async def story() -> list[str]:
        work = queue()
        for number in range(3):
            work.wake(f"runs/{number}")
        work.wake("policies/p")
        return await drain(work)

    assert run(story()) == ["runs/0", "policies/p", "runs/1", "runs/2"]


def test_a_timer_wakes_a_key_and_the_earliest_counts() -> None:
    async def story() -> float:
        work = queue()
        started = asyncio.get_running_loop().time()
        work.wake_after("a/1", 5)
        work.wake_after("a/1", 0.02)
        work.wake_after("a/1", 5)
        assert await work.take() == "a/1"
        return asyncio.get_running_loop().time() - started

    assert run(story()) == pytest.approx(0.02)


def test_a_key_that_its_timer_woke_has_timers_again() -> None:
    async def story() -> None:
        work = queue()
        work.wake("a/1")
        for _ in range(3):
            assert await work.take() == "a/1"
            work.done("a/1", again_after=0.01)
        assert await work.take() == "a/1"

    run(story())


def test_a_timer_that_something_else_was_faster_than_wakes_nobody() -> None:
    async def story() -> list[str]:
        work = queue()
        for key in ("sooner/timer", "wake/up"):
            work.wake_after(key, 0.05)
        work.wake_after("sooner/timer", 0.0)
        work.wake("wake/up")
        for _ in range(2):
            taken = await work.take()
            assert taken is not None
            work.done(taken)
        work.wake("gone/1")
        assert await work.take() == "gone/1"
        work.wake_after("gone/1", 0.01)
        work.forget("gone/1")
        await asyncio.sleep(0.08)
        return [*await drain(work), *work._states]

    assert run(story()) == []


def test_a_wake_up_ends_a_back_off() -> None:
    async def story() -> None:
        work = queue(chance=0.9)
        work.wake("a/1")
        for _ in range(12):
            key = await work.take()
            assert key == "a/1"
            work.failed(key)
            work.wake("a/1")

    run(story())


@pytest.mark.row("D112")
def test_a_failure_waits_no_longer_than_it_may() -> None:
    async def story() -> list[float]:
        work = queue(chance=1.0)
        waits = []
        for _ in range(16):
            work.wake("a/1")
            await work.take()
            waits.append(work.failed("a/1", at_most=15.0))
        return waits

    waits = run(story())
    assert (waits == sorted(waits), waits[0] < 15.0, waits[-1]) == (True, True, 15.0)


def test_failures_in_a_row_wait_longer_and_longer_and_success_forgets_them() -> None:
    async def story() -> list[float]:
        work = queue(chance=1.0)
        waits = []
        for _ in range(16):
            work.wake("a/1")
            await work.take()
            waits.append(work.failed("a/1"))
        work.wake("a/1")
        await work.take()
        work.done("a/1")
        work.wake("a/1")
        await work.take()
        return [*waits, work.failed("a/1")]

    *waits, after_success = run(story())
    assert waits == sorted(waits)
    assert waits[0] == after_success
    assert waits[-1] == BACKOFF_CAP


def test_a_closed_queue_gives_every_worker_its_end() -> None:
    async def story() -> list[str | None]:
        work = queue()
        workers = [asyncio.create_task(work.take()) for _ in range(3)]
        await asyncio.sleep(0)
        work.close()
        return list(await asyncio.gather(*workers))

    assert run(story()) == [None, None, None]


def test_a_key_at_rest_costs_nothing() -> None:
    async def story() -> int:
        work = queue()
        for number in range(100):
            work.wake(f"a/{number}")
        await drain(work)
        return len(work._states)

    assert run(story()) == 0


@pytest.mark.parametrize("end", ["done", "failed", "forget"])
def test_a_wake_up_during_work_is_not_lost_however_the_work_ends(end: str) -> None:
    async def story() -> None:
        work = queue()
        work.wake("a/1")
        await work.take()
        work.wake("a/1")
        getattr(work, end)("a/1")
        assert await work.take() == "a/1"

    run(story())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["wake", "take", "done", "failed"]), st.sampled_from("abc")), max_size=40))
def test_no_key_has_two_workers_and_every_wake_up_is_followed_by_work(steps: list[tuple[str, str]]) -> None:
    async def story() -> None:
        work = queue()
        running: set[str] = set()
        owed: set[str] = set()
        for step, name in steps:
            if step == "wake":
                work.wake(name)
                owed.add(name)
            elif step == "take" and work.depth():
                key = await work.take()
                assert key is not None
                assert key not in running
                running.add(key)
                owed.discard(key)
            elif name in running:
                running.discard(name)
                work.done(name) if step == "done" else work.failed(name, 60)
        for name in sorted(running):
            work.done(name)
        assert owed <= set(await drain(work))

    run(story())


def test_whoever_waits_for_keys_to_be_given_back_waits_for_those_alone() -> None:
    async def story() -> None:
        work = queue()
        for key in ("a/1", "b/1"):
            work.wake(key)
        taken = [await work.take(), await work.take()]
        assert taken == ["a/1", "b/1"]
        waiting = asyncio.create_task(work.given_back(lambda key: key.startswith("a")))
        work.done("b/1")
        await asyncio.sleep(0.01)
        assert not waiting.done()
        work.failed("a/1")
        await waiting

    run(story())
