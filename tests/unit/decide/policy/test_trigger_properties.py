"""Whatever happens, in whatever order: no run twice, none below the minimum, none under a brake, no storm."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_operator.api.policy_status import Hold, Judged
from finetune_operator.api.triggers import (
    Fired,
    PerformanceTrigger,
    ScheduleStatus,
    ScheduleTrigger,
    Triggers,
    VolumeTrigger,
)
from finetune_operator.decide.decision import CreateRun
from finetune_operator.decide.signals import Alert, Alerts
from finetune_operator.decide.views import Problem
from house.deep import part_of
from unit.decide.policy.trigger_world import HOUR, NOW, TriggerWorld, counts, judged

COOL_DOWN, A_WEEK, MOST = 2 * HOUR, timedelta(days=7), 5
RULES = Triggers(
    cooldown_seconds=int(COOL_DOWN.total_seconds()),
    max_runs_per_week=MOST,
    volume=VolumeTrigger(new_samples=10),
    schedule=ScheduleTrigger(cron="0 */3 * * *", time_zone="Europe/Berlin"),
    performance=PerformanceTrigger(new_samples=9),
)
ALERT = Alert("FinetuneFieldDetectionRateLow", "total", "base_v1", 60)
HOLD = Hold(by="x", reason="External", message="", since=NOW)

Event = Callable[["Played"], None]


class Played(TriggerWorld):
    """A world that writes down what was true when a run was made."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.pools = 0
        self.away = False
        self.alerts = Alerts()
        self.faults: list[str] = []
        self.tries: dict[tuple[str, str], list[str]] = {}

    def wait(self, span: timedelta, step: timedelta = timedelta(minutes=5)) -> None:
        """Time goes by; an operator that is away does nothing in it, and is back afterwards."""
        if self.away and span < 3 * HOUR:
            self.now += span
            return
        self.away = False
        super().wait(span, step)

    def settle(self) -> None:
        """Come to rest, unless nobody is there."""
        if not self.away:
            super().settle()

    def _act(self, action: object) -> None:
        if isinstance(action, CreateRun) and action.name not in self.runs:
            self._check(action)
        super()._act(action)

    def _check(self, action: CreateRun) -> None:
        """A deleted run's name is as taken as one that is there."""
        entry = next(entry for entry in self.fired if entry.run == action.name)
        tries = self.tries.setdefault((entry.listing, entry.base), [])
        figures = {figure.name: int(figure.value) for figure in entry.figures}
        counted = self.counted
        self.faults += ["without a count"] * (counted is None)
        new = min(figures["new"], 0 if counted is None else counted.new)
        due = new >= {"Volume": 10, "Schedule": 1, "Performance": 9}[entry.kind]
        over = isinstance(self.alerts, Alerts) and not self.alerts.firing
        self.faults += ["without an alert"] * (entry.kind == "Performance" and over)
        self.faults += ["fired twice"] * (action.name in {name for name, _ in self.made})
        self.faults += ["below the minimum"] * (not due or figures["outside"] < 50)
        self.faults += ["under a brake"] * (self.policy.spec.suspend or self.policy.status.hold is not None)
        self.faults += ["too many tries"] * (len(tries) >= 4)
        self.faults += ["beside another run"] * any(run.outcome == "Underway" for run in self.runs.values())
        self.faults += ["beside a person's run"] * bool(self.others)
        tries.append(action.name)


def grow(by: int, outside: int) -> Event:
    """A scan: the pool has grown, or not."""

    def event(world: Played) -> None:
        world.pools += by > 0
        old = world.counted.new if world.counted is not None else 0
        world.counted = counts(old + by, listing=f"pool-{world.pools}", outside=outside, at=world.now)

    return event


def end(outcome: Any) -> Event:
    """The run that is under way ends; once one was judged, nothing of the pool is new to the next scan."""

    def event(world: Played) -> None:
        for name, run in world.runs.items():
            if run.outcome == "Underway":
                run.outcome = outcome
                if outcome == "Judged" and world.counted is not None:
                    plan = f"{len(world.made):064x}"
                    known: tuple[Judged, ...] = (*world.policy.status.judged, judged(name, plan, world.now))
                    world.set_status(judged=known[-8:])
                    world.counted = counts(0, listing=f"pool-{world.pools}", at=world.now)

    return event


def heard(alerts: Alerts | Problem) -> Event:
    """Prometheus says this from now on."""

    def event(world: Played) -> None:
        world.alerts = alerts

    return event


def delete(world: Played) -> None:
    world.runs.pop(world.newest, None) if world.made else None


def brake(kind: str) -> Event:
    def event(world: Played) -> None:
        if kind == "suspend":
            world.edit(suspend=not world.policy.spec.suspend)
        else:
            world.set_status(hold=HOLD if world.policy.status.hold is None else None)

    return event


def crash(world: Played) -> None:
    """The operator dies between a write of the status and what was to follow; what was planned is made at once."""
    world.look(acts=False)
    world.settle()


def die(world: Played) -> None:
    """The operator dies there, and is away while the next things happen."""
    world.look(acts=False)
    world.away = True


def clock(hours: int) -> Event:
    def event(world: Played) -> None:
        world.wrong_by = timedelta(hours=hours)

    return event


def down(world: Played) -> None:
    world.now += A_WEEK


def somebody_runs(world: Played) -> None:
    world.others = () if world.others else (("by-hand", "Training"),)


def failing(world: Played) -> None:
    """All that is tried for three days fails."""
    for _ in range(36):
        end("Failed")(world)
        world.wait(2 * HOUR, HOUR)


# What fires comes more often than what brakes, or nothing would ever be fired.
EVENTS: st.SearchStrategy[Event] = st.sampled_from(
    [
        *[grow(50, 60)] * 4,
        *(grow(by, outside) for by in (0, 1, 9, 10) for outside in (49, 50)),
        *[end("Judged")] * 6,
        *[end("Failed")] * 3,
        *(failing, delete, crash, crash, die, die, down, somebody_runs),
        *(brake("suspend"), brake("hold")),
        *(clock(-1), clock(0), clock(1)),
        *(heard(Alerts((ALERT,))), heard(Alerts((ALERT,))), heard(Alerts())),
        heard(Problem("PrometheusUnreachable", "")),
    ]
)
STEPS = st.lists(st.tuples(EVENTS, st.sampled_from([0, 1, 3, 8])), min_size=10, max_size=60)


@pytest.mark.part
@settings(max_examples=part_of(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_no_run_twice_none_below_the_minimum_none_under_a_brake_and_no_storm(steps: list[tuple[Event, int]]) -> None:
    world = Played(triggers=RULES)
    for event, hours in steps:
        event(world)
        world.wait(hours * HOUR, HOUR)
        world.settle()
    assert world.faults == []
    moments = [at for _, at in world.made]
    # A clock that is an hour off one way, and then the other, moves a moment by two hours.
    for nth, at in enumerate(moments):
        assert len([m for m in moments[nth:] if m - at < A_WEEK - 2 * HOUR]) <= MOST
    assert all(b - a >= COOL_DOWN - 2 * HOUR for a, b in pairwise(moments))


@pytest.mark.part
@settings(max_examples=part_of(50), deadline=None)
@given(STEPS)
def test_with_a_true_clock_the_cool_down_holds_to_the_second(steps: list[tuple[Event, int]]) -> None:
    world = Played(triggers=RULES)
    for event, hours in steps:
        event(world)
        world.wrong_by = timedelta()
        world.wait(hours * HOUR, HOUR)
    moments = [at for _, at in world.made]
    assert world.faults == []
    assert all(b - a >= COOL_DOWN for a, b in pairwise(moments))


@pytest.mark.part
@settings(max_examples=part_of(40), deadline=None)
@given(STEPS, st.integers(0, 24), st.booleans())
def test_a_status_that_is_restored_or_lost_fires_nothing_twice(
    steps: list[tuple[Event, int]], kept: int, lost: bool
) -> None:
    """A backup has the status of an earlier moment, and the runs that are there are there."""
    world = Played(triggers=RULES)
    backups = []
    for event, hours in (step for step in steps if step[0] is not delete):
        event(world)
        world.wait(hours * HOUR, HOUR)
        backups.append(world.policy.status)
    if backups:
        status = backups[min(kept, len(backups) - 1)]
        world.set_status(fired=() if lost else status.fired, schedule=None if lost else status.schedule)
    world.wait(timedelta(days=2), HOUR)
    assert "fired twice" not in world.faults
    assert "beside another run" not in world.faults


MOMENTS = st.integers(-(10**8), 10**9).map(lambda offset: NOW + timedelta(seconds=offset))
ANY_FIRED = st.builds(
    Fired,
    run=st.sampled_from(["a", "b", "c", "x" * 253]),
    kind=st.sampled_from(["Volume", "Schedule", "Performance"]),
    at=MOMENTS,
    outcome=st.sampled_from(["Planned", "Underway", "Judged", "Failed", "Deleted"]),
    attempt=st.integers(0, 1000),
    ended_at=st.none() | MOMENTS,
)


ANY_SCHEDULE = st.builds(
    ScheduleStatus, cron=st.sampled_from(["0 2 * * *", "x"]), time_zone=st.just("UTC"), passed=MOMENTS
)
ANY_COUNTS = st.builds(
    counts, at=MOMENTS, listing=st.text(max_size=200), outside=st.integers(-5, 100), new=st.integers(-5, 100)
)
ANY_RULES = [RULES, None, Triggers(), Triggers(schedule=ScheduleTrigger(cron="0 0 29 2 1", time_zone=""))]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(ANY_FIRED, max_size=40).map(tuple),
    st.none() | ANY_SCHEDULE,
    st.none() | ANY_COUNTS,
    st.sampled_from(ANY_RULES),
)
def test_any_memory_is_decided_on_and_comes_to_rest(fired: Any, schedule: Any, counted: Any, rules: Any) -> None:
    world = TriggerWorld(triggers=rules, counted=counted)
    world.set_status(fired=fired, schedule=schedule)
    world.settle()
    assert len(world.fired) <= 32
    writes = world.writes
    world.settle()
    assert world.writes == writes
