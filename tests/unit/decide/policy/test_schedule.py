"""Windows of a schedule: both edges of summer time, those that were missed, and what is no schedule."""

from datetime import UTC, datetime, timedelta

import pytest

from finetune_operator.api.triggers import ScheduleTrigger, Triggers, VolumeTrigger
from finetune_operator.decide.policy.triggers.schedule import following, latest
from unit.decide.policy.trigger_world import HOUR, NOW, TriggerWorld, counts

NIGHTLY = ScheduleTrigger(cron="0 2 * * *")
BERLIN, NEW_YORK, HALF_HOUR = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def scheduled(new: int = 1, schedule: ScheduleTrigger = NIGHTLY, volume: int | None = None) -> TriggerWorld:
    by_volume = None if volume is None else VolumeTrigger(new_samples=volume)
    rules = Triggers(schedule=schedule, volume=by_volume, cooldown_seconds=0)
    return TriggerWorld(triggers=rules, counted=counts(new))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.row("D157")
@pytest.mark.parametrize(
    ("cron", "zone", "begin", "end", "windows"),
    [
        # Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC. What is skipped comes right after it.
        ("30 2 * * *", BERLIN, "2026-03-28T00:00", "2026-03-31T00:00",
         ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]),
        ("30 3 * * *", BERLIN, "2026-03-28T00:00", "2026-03-31T00:00",
         ["2026-03-28T02:30", "2026-03-29T01:30", "2026-03-30T01:30"]),
        # Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC. What comes twice comes once.
        ("30 2 * * *", BERLIN, "2026-10-24T00:00", "2026-10-27T00:00",
         ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]),
        ("0 * * * *", BERLIN, "2026-10-25T00:00", "2026-10-25T03:30",
         ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00", "2026-10-25T03:00"]),
        # New York, 8 March and 1 November 2026.
        ("30 2 * * *", NEW_YORK, "2026-03-07T00:00", "2026-03-10T00:00",
         ["2026-03-07T07:30", "2026-03-08T07:00", "2026-03-09T06:30"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T00:00", "2026-11-03T00:00",
         ["2026-10-31T05:30", "2026-11-01T05:30", "2026-11-02T06:30"]),
        # Lord Howe goes forth and back by half an hour.
        ("15 2 * * *", HALF_HOUR, "2026-10-02T12:00", "2026-10-05T00:00",
         ["2026-10-02T15:45", "2026-10-03T15:30", "2026-10-04T15:15"]),
        ("0 2 * * *", "UTC", "2026-03-28T00:00", "2026-03-30T00:00", ["2026-03-28T02:00", "2026-03-29T02:00"]),
    ],
)  # fmt: skip
def test_the_windows_at_both_edges_of_summer_time(
    cron: str, zone: str, begin: str, end: str, windows: list[str]
) -> None:
    """By what comes next, and by what was last, as a policy that looks each minute sees it: each once, in order."""
    now, seen, passed = utc(begin) - timedelta(minutes=1), [], utc(begin) - timedelta(minutes=1)
    while now < utc(end):
        window = latest(cron, zone, now)
        if window is not None and window > passed:
            seen.append(window)
            passed = window
        now += timedelta(minutes=1)
    assert seen == [utc(window) for window in windows]
    coming = following(cron, zone, utc(begin) - timedelta(minutes=1))
    assert coming == utc(windows[0])


@pytest.mark.row("D158")
def test_a_schedule_fires_at_its_window_if_a_single_sample_is_new() -> None:
    world = scheduled(1)
    world.settle()
    assert world.due == (
        "False",
        "WaitingForWindow",
        "1 new sample; next look at 2026-11-22 12:00 UTC; next window at 2026-11-22 02:00 UTC",
    )
    world.wait(14 * HOUR - timedelta(minutes=5))
    assert world.made == []
    world.wait(timedelta(minutes=5))
    assert [at for _, at in world.made] == [utc("2026-11-22T02:00")]
    trigger = world.runs[world.newest].spec.trigger
    assert trigger is not None
    assert (trigger.kind, trigger.reason) == (
        "Schedule",
        "window 2026-11-22T02:00:00Z of '0 2 * * *' (UTC), 1 new sample",
    )


@pytest.mark.row("D158")
def test_a_window_at_which_nothing_is_new_is_over() -> None:
    """What comes later waits for the next window, not for the day."""
    world = scheduled(0)
    world.wait(15 * HOUR)
    world.counted = counts(5, listing="pool-2")
    world.wait(22 * HOUR, HOUR)
    assert world.made == []
    world.wait(HOUR)
    assert [at for _, at in world.made] == [utc("2026-11-23T02:00")]


@pytest.mark.row("D159")
@pytest.mark.parametrize("brake", ["suspended", "down", "unscanned", "busy"])
def test_windows_that_were_missed_fire_once(brake: str) -> None:
    world = scheduled(1)
    world.settle()
    if brake == "down":
        world.now += timedelta(days=7)
    else:
        world.edit(suspend=brake == "suspended")
        world.others = (("by-hand", "Training"),) if brake == "busy" else ()
        world.counted = None if brake == "unscanned" else world.counted
        world.wait(timedelta(days=7), HOUR)
    assert world.made == []
    world.edit(suspend=False)
    world.others, world.counted = (), counts(1)
    world.settle()
    assert len(world.made) == 1
    world.end(world.newest, "Judged")
    world.counted = counts(3, listing="pool-2")
    world.wait(10 * HOUR, HOUR)
    assert len(world.made) == 1, "a week of windows is one run"


@pytest.mark.row("D159")
def test_a_window_that_fired_is_over_also_for_what_is_new_soon_after() -> None:
    world = scheduled(1)
    world.settle()
    world.edit(triggers=Triggers(schedule=ScheduleTrigger(cron="0 2 * * *"), cooldown_seconds=0))
    world.wait(14 * HOUR, HOUR)
    world.counted = counts(5, listing="pool-2")
    world.end(world.newest, "Judged")
    world.wait(23 * HOUR, HOUR)
    assert len(world.made) == 1
    world.wait(HOUR)
    assert [at for _, at in world.made] == [utc("2026-11-22T02:00"), utc("2026-11-23T02:00")]


@pytest.mark.row("D149")
def test_a_schedule_that_is_new_or_edited_has_no_past() -> None:
    world = scheduled(1)
    world.wait(HOUR)
    world.edit(triggers=Triggers(schedule=ScheduleTrigger(cron="30 12 * * *")))
    world.wait(HOUR)
    assert world.made == []
    assert world.policy.status.schedule is not None
    world.edit(triggers=Triggers(volume=VolumeTrigger()))
    world.settle()
    assert world.policy.status.schedule is None


@pytest.mark.row("D149")
@pytest.mark.parametrize("wrong_by", [-HOUR, HOUR])
def test_a_clock_an_hour_off_fires_no_window_twice(wrong_by: timedelta) -> None:
    world = scheduled(1)
    world.wait(timedelta(hours=13, minutes=30), HOUR)
    for n, off in enumerate((timedelta(), wrong_by, timedelta(), wrong_by, timedelta())):
        world.wrong_by = off
        world.counted = counts(1, listing=f"pool-{n}")
        world.wait(HOUR)
        for name, run in world.runs.items():
            if run.outcome == "Underway":
                world.end(name, "Judged")
    assert len(world.made) == 1


@pytest.mark.row("D149")
def test_a_clock_that_was_a_year_ahead_does_not_silence_the_schedule_for_a_year() -> None:
    world = scheduled(1)
    world.wrong_by = timedelta(days=365)
    world.settle()
    world.wrong_by = timedelta()
    world.wait(timedelta(days=1), HOUR)
    assert len(world.made) == 1


@pytest.mark.row("D158")
def test_a_volume_that_fires_at_the_window_is_one_run() -> None:
    world = scheduled(50, volume=50)
    world.settle()
    world.end(world.newest, "Judged")
    world.counted = counts(0, listing="pool-1")
    world.wait(timedelta(days=2), HOUR)
    assert [world.runs[name].spec.trigger.kind for name, _ in world.made] == ["Volume"]  # type: ignore[union-attr]


@pytest.mark.row("D165")
@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (ScheduleTrigger(cron="0 25 * * *"), "is no cron line: Bad hour"),
        (ScheduleTrigger(cron="0 0 31 2 *"), "is no cron line: Bad day-of-month"),
        (ScheduleTrigger(cron="0 2 * *"), "is no cron line"),
        (ScheduleTrigger(cron="0 2 * * *", time_zone="Mars/Olympus"), "is no IANA time zone"),
        (ScheduleTrigger(cron="0 2 * * *", time_zone="Europe"), "is no IANA time zone"),
        (ScheduleTrigger(cron="0 2 * * *", time_zone="../../etc/passwd"), "is no IANA time zone"),
    ],
)
def test_what_is_no_schedule_is_said_and_the_volume_fires_all_the_same(schedule: ScheduleTrigger, words: str) -> None:
    world = scheduled(49, schedule, volume=50)
    world.settle()
    assert world.due[:2] == ("False", "ScheduleInvalid")
    assert words in world.due[2]
    assert words in world.policy.status.message
    assert [event.reason for event in world.emitted] == ["ScheduleInvalid"]
    world.counted = counts(50)
    world.settle()
    assert len(world.made) == 1


def test_a_moment_is_read_beside_another_one() -> None:
    world = scheduled(1)
    world.settle()
    assert world.look().requeue_after == utc("2026-11-22T02:00") - NOW
