"""The schedule trigger: it fires at the windows of a cron line, those that were missed once, if anything is new."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from msgspec.structs import replace

from ....api.policy_status import PolicyStatus
from ....api.scan import Counted
from ....api.triggers import ScheduleStatus, ScheduleTrigger
from ... import times
from ...views import PolicyView, Problem
from .wish import Wish, samples

CLOCKS_DIFFER: Final = timedelta(hours=2)
"""A moment so far ahead was written by a clock that was wrong; an hour is a wrong time zone, and passes."""


def problem(rules: ScheduleTrigger) -> Problem | None:
    """Return what is wrong with cron line or time zone, or None; the CRD lets through what only looks right."""
    try:
        _zone(rules.time_zone)
    except (ValueError, OSError, KeyError):  # a path, a folder, a name that nothing has
        return _unknown_zone(rules)
    try:
        following(rules.cron, rules.time_zone, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        text = (
            f"spec.triggers.schedule.cron '{rules.cron}' is no cron line: {error}; write minute, hour, day of the "
            "month, month and day of the week, for example '0 2 * * 0'"
        )
        return Problem("ScheduleInvalid", text)
    except StopIteration:
        text = f"spec.triggers.schedule.cron '{rules.cron}' names no day of the next 50 years; name one that comes"
        return Problem("ScheduleInvalid", text)
    return None


def _unknown_zone(rules: ScheduleTrigger) -> Problem:
    text = (
        f"spec.triggers.schedule.timeZone '{rules.time_zone}' is no IANA time zone; write one such as Europe/Berlin, "
        "or UTC"
    )
    return Problem("ScheduleInvalid", text)


def anchored(view: PolicyView, status: PolicyStatus) -> PolicyStatus:
    """Return the status with the schedule that is followed; what another line had missed is nobody's (row D149)."""
    triggers = view.policy.spec.triggers
    rules = None if triggers is None else triggers.schedule
    if rules is None or problem(rules) is not None:
        return status if status.schedule is None else replace(status, schedule=None)
    now, known = times.moment(view.now), status.schedule
    if known is None or (known.cron, known.time_zone) != (rules.cron, rules.time_zone):
        return replace(status, schedule=ScheduleStatus(cron=rules.cron, time_zone=rules.time_zone, passed=now))
    if known.passed - now > CLOCKS_DIFFER:
        return replace(status, schedule=replace(known, passed=now))
    return status


def due(status: PolicyStatus, now: datetime) -> datetime | None:
    """Return the newest window that is due: one, however many were missed; None where all are done with."""
    known = status.schedule
    if known is None:
        return None
    window = latest(known.cron, known.time_zone, now)
    return window if window is not None and window > known.passed else None


def passed(status: PolicyStatus, window: datetime) -> PolicyStatus:
    """Return the status with that window, and all before it, done with."""
    if status.schedule is None:
        return status
    return replace(status, schedule=replace(status.schedule, passed=window))


def given_back(status: PolicyStatus, at: datetime) -> PolicyStatus:
    """Return the status with the window due again for which a run was remembered at that moment, and never made."""
    known = status.schedule
    window = None if known is None or known.passed > at else latest(known.cron, known.time_zone, at)
    return status if window is None else passed(status, window - timedelta(seconds=1))


def wish(status: PolicyStatus, counts: Counted, now: datetime) -> Wish | None:
    """Return the run that the trigger asks for: a window is due, and at least one sample is new."""
    window, known = due(status, now), status.schedule
    if window is None or known is None or counts.new < 1:
        return None
    return Wish(
        "Schedule", f"window {times.stamp(window)} of '{known.cron}' ({known.time_zone}), {samples(counts.new)}"
    )


def coming(status: PolicyStatus, now: datetime) -> datetime | None:
    """Return when the next window comes; None without a schedule."""
    known = status.schedule
    return None if known is None else following(known.cron, known.time_zone, now)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def latest(cron: str, zone: str, now: datetime) -> datetime | None:
    """Return the newest window that is not after `now`, in UTC; None where there was none in 50 years.

    As Debian's cron has it: a time of day that summer time skips comes right after it, one that comes twice comes once.
    Raises CronSimError for what is no cron line.
    """
    # The iteration leaves its start out.
    start = (now + timedelta(seconds=1)).astimezone(_zone(zone))
    return next((window.astimezone(UTC) for window in CronSim(cron, start, reverse=True)), None)


def following(cron: str, zone: str, now: datetime) -> datetime:
    """Return the next window after `now`, in UTC. Raises CronSimError, and StopIteration where none comes."""
    for window in CronSim(cron, now.astimezone(_zone(zone))):
        if window.astimezone(UTC) > now:
            return window.astimezone(UTC)
    raise StopIteration
