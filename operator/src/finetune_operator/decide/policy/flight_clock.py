"""The clock of a flight: only time in which it was looked at counts (row D58).

It runs from `phase_since`, by what the view says was observed since the status recorded it. So neither a wall clock
that is set, nor a time in which nothing was seen, ends a watch or a rollout.
"""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from ...api.policy_status import InFlight
from .. import times
from ..views import PolicyView, flight_clock

RECORDED_EVERY: Final = timedelta(seconds=60)
"""Observed time is recorded so often at most, and ten times in a phase at most: a restart loses no more."""


def flown(view: PolicyView, flight: InFlight) -> timedelta:
    """Return how long the flight's phase was looked at; none of it while the Deployment was scaled to zero."""
    recorded = times.span(flight.observed_seconds)
    if flight.idle or flight_clock(flight) != flight_clock(view.policy.status.in_flight):
        return recorded
    if view.observed is None:
        return max(view.now - flight.phase_since, recorded)
    return recorded + max(view.observed, timedelta())


def clock(view: PolicyView, flight: InFlight) -> datetime:
    """Return the moment of the flight's own clock."""
    return times.later(flight.phase_since, flown(view, flight))


def in_all(view: PolicyView, flight: InFlight) -> timedelta:
    """Return how long the flight was looked at, over all its phases."""
    return times.span(flight.earlier_seconds) + flown(view, flight)


def counted(view: PolicyView, flight: InFlight) -> InFlight:
    """Return the flight with the observed time on record; the record comes only when enough is new."""
    new = flown(view, flight)
    return flight if flight.idle else replace(flight, observed_seconds=times.whole_seconds(new))


def counted_if_due(view: PolicyView, flight: InFlight) -> InFlight:
    """Return the flight with its observed time on record, where enough of it is not recorded yet.

    When all of it has passed nothing more is recorded: what is waited for then is no time.
    """
    recorded, length = times.span(flight.observed_seconds), flight.deadline - flight.phase_since
    new = flown(view, flight) - recorded
    due = recorded < length and new >= max(RECORDED_EVERY, length / 10)
    return counted(view, flight) if due else flight


def begun(view: PolicyView, flight: InFlight) -> InFlight:
    """Return the flight with its clock set to the beginning of a phase that begins now."""
    return replace(
        flight,
        phase_since=times.moment(view.now),
        earlier_seconds=times.whole_seconds(in_all(view, flight)),
        observed_seconds=0,
        idle=False,
    )
