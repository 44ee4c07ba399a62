"""A model that gets worse in production: the alert's run, what a watch takes back, and a Prometheus that is away."""

from dataclasses import replace
from functools import cache
from typing import Any, Final

import pytest

from finetune_operator.api.policy import Watch
from finetune_operator.cluster.kinds import Kind
from finetune_operator.controller.reconcile import Reconciler
from finetune_operator.decide.views import Problem
from house.deep import first_of

from .controllers import NAMESPACE
from .invariants import violations
from .stories import USER, Story, promotion
from .test_trigger_stories import Growing, growing
from .test_triggers import HOUR, PASS, Triggered
from .virtual_prometheus import VirtualPrometheus

PERFORMANCE: Final = {"performance": {"newSamples": 20}, "cooldownSeconds": 600}
VOLUME: Final = {"volume": {"newSamples": 50}, "cooldownSeconds": 600}
AWAY: Final = Problem("PrometheusUnreachable", "Prometheus does not answer: no answer within 5 s")


class Watched(Triggered):
    """A world with a Prometheus, in which a version is watched for an hour: with everything else as it comes."""

    rates: dict[str, float]
    silent: Problem | None = None
    rules: dict[str, Any]

    def __init__(
        self,
        rates: dict[str, float],
        triggers: dict[str, Any] = VOLUME,
        *,
        story: Story = PASS,
        silent: Problem | None = None,
        watch: int = HOUR,
        crash_at: tuple[int, str] | None = None,
    ) -> None:
        self.rates, self.silent, self.rules, self.watch = rates, silent, triggers, watch
        super().__init__(replace(growing(story), approves=False), crash_at)

    def __post_init__(self) -> None:
        self.prometheus = VirtualPrometheus(self.server, self.rates, silent=self.silent)
        self.signals = self.prometheus
        super().__post_init__()
        self.edit(triggers=self.rules)

    def _start_operator(self) -> Reconciler:
        self.signals = self.prometheus
        return super()._start_operator()

    def settle(self) -> None:
        self.prometheus.tick()
        super().settle()

    def _user(self) -> None:
        super()._user()
        policy = self.get(Kind.POLICY, "invoice-fields")
        if self.live() != "None" and policy["spec"]["watch"]["seconds"] != self.watch:
            self.edit(watch={"seconds": self.watch})

    def condition(self, kind: str) -> tuple[str, str]:
        shown = next((c for c in self.status()["conditions"] if c["type"] == kind), None)
        return ("", "") if shown is None else (shown["status"], shown["reason"])

    def consumed(self) -> list[tuple[str, str]]:
        return [(entry["outcome"], entry["reason"]) for entry in self.status().get("consumed", ())]

    def live(self) -> str:
        return str((self.status().get("live") or {}).get("version"))


def promoted(world: Watched, *, hours: float = 4) -> Watched:
    """Wait until the candidate is live, or taken back; time in a flight goes by in steps that count."""
    for _ in range(int(hours * 60)):
        world.wait(60, 15 if world.status().get("inFlight") else 60)
        if len([outcome for outcome, _ in world.consumed() if outcome != "Superseded"]) == 2:
            break
    return world


@cache
def regression() -> Watched:
    return promoted(Watched({"base_v1": 0.97, "ft_v1.1": 0.60}))


@pytest.mark.row("D191")
def test_a_version_that_reads_worse_than_its_line_is_taken_back_and_held() -> None:
    """At the chart's defaults, with ten pages a minute: the record names field, value and line."""
    world = regression()
    assert world.live() == "base_v1"
    assert world.consumed()[-1] == ("RolledBack", "WorseInProduction")
    hold = world.status()["hold"]
    assert hold["reason"] == "RolledBack"
    said = "field 'total' found on 60 % of 300 documents (line 90 %, before 97 %)"
    assert said in hold["message"]
    assert said in world.status()["consumed"][-1]["message"]
    assert world.status().get("quarantined", []) == []
    assert violations(world) == []


@pytest.mark.row("D194")
def test_it_takes_half_an_hour_of_the_watch_and_no_longer() -> None:
    world = Watched({"base_v1": 0.97, "ft_v1.1": 0.60})
    for _ in range(4 * 60):
        world.wait(15)
        flight = world.status().get("inFlight") or {}
        if flight.get("phase") == "Watching" and flight["to"]["version"] == "ft_v1.1":
            break
    world.wait(HOUR // 2 - 60)
    assert world.status()["inFlight"]["phase"] == "Watching"
    world.wait(120)
    assert (world.status().get("inFlight") or {"phase": "Returning"})["phase"] == "Returning"


@pytest.mark.row("D191")
@pytest.mark.parametrize("moment", first_of(("after", "before")))
def test_a_crash_at_any_write_takes_it_back_all_the_same(moment: str) -> None:
    total = regression().client.writes
    for number in range(total - 24, total, 2 if moment == "before" else 3):
        world = promoted(Watched({"base_v1": 0.97, "ft_v1.1": 0.60}, crash_at=(number, moment)))
        assert world.consumed()[-1] == ("RolledBack", "WorseInProduction"), f"crash {moment} write {number}"
        assert (world.live(), violations(world)) == ("base_v1", []), f"crash {moment} write {number}"


@pytest.mark.row("D196")
@pytest.mark.parametrize(
    ("rate", "silent", "per_minute", "words"),
    [
        (0.99, None, 10.0, "and none of its series is worse than its line"),
        (0.10, AWAY, 10.0, f"watched without series: {AWAY.message}"),
        (0.10, None, 1.0, "watched without series: in the last half hour fewer than 50 documents were seen"),
    ],
    ids=["good", "away", "low traffic"],
)
def test_a_watch_without_data_ends_as_it_would_and_says_so(
    rate: float, silent: Problem | None, per_minute: float, words: str
) -> None:
    world = Watched({"base_v1": 0.97, "ft_v1.1": rate}, silent=silent)
    world.prometheus.per_minute = per_minute
    promoted(world)
    assert world.live() == "ft_v1.1"
    assert world.status()["consumed"][-1]["message"] == f"'ft_v1.1' went live, {words}"
    assert world.status().get("hold") is None


@cache
def mended() -> Watched:
    return promoted(Watched({"base_v1": 0.60, "ft_v1.1": 0.80}, PERFORMANCE), hours=6)


@pytest.mark.row("D200")
def test_the_alert_fires_a_run_and_its_better_version_stays_though_it_is_below_the_line() -> None:
    world = mended()
    (run,) = world.runs()
    assert run["spec"]["trigger"]["kind"] == "Performance"
    assert run["spec"]["trigger"]["reason"].startswith("alert fires: FinetuneFieldDetectionRateLow (total); ")
    assert (world.live(), world.consumed()[-1][0]) == ("ft_v1.1", "Succeeded")
    assert violations(world) == []
    world.wait(2 * HOUR, 60)
    assert world.said()[0] == "LabelsNeeded", "it is still below the line, and what is in the pool was trained"
    assert len(world.made()) == 1
    trainer = world.story.trainer
    assert isinstance(trainer, Growing)
    world.prometheus.rates["ft_v1.2"] = 0.97
    trainer.grow()
    world.wait(3 * HOUR)
    assert (len(world.made()), world.live()) == (2, "ft_v1.2")
    assert world.said()[0] == "NoAlertFires", "the alert is over"


@pytest.mark.row("D200")
@pytest.mark.parametrize("moment", first_of(("before", "after")))
def test_a_crash_at_any_write_makes_the_alerts_run_once(moment: str) -> None:
    rates = {"base_v1": 0.60, "ft_v1.1": 0.95}
    whole = promoted(Watched(rates, PERFORMANCE, watch=20))
    for number in range(0, whole.client.writes, 2 if moment == "before" else 3):
        world = promoted(Watched(rates, PERFORMANCE, watch=20, crash_at=(number, moment)))
        assert len(world.made()) == 1, f"crash {moment} write {number}"
        assert (world.live(), violations(world)) == ("ft_v1.1", []), f"crash {moment} write {number}"


@pytest.mark.row("D203")
def test_while_prometheus_is_away_nothing_is_fired_nothing_taken_back_and_nothing_written() -> None:
    world = Watched({"base_v1": 0.10}, PERFORMANCE, silent=AWAY)
    world.edit(scan={"intervalSeconds": 24 * HOUR})
    world.wait(2 * HOUR)
    assert (world.made(), world.live()) == ([], "base_v1")
    assert world.said()[0] == "PrometheusUnreachable"
    assert world.condition("Monitored") == ("False", "PrometheusUnreachable")
    before = len(world.server.log)
    world.wait(HOUR // 2, 60)
    assert [entry.kind for entry in world.server.log[before:] if entry.kind is Kind.POLICY] == []
    world.prometheus.silent = None
    world.wait(4 * HOUR, 60)
    assert len(world.made()) == 1
    assert world.condition("Monitored")[0] == "True"


@pytest.mark.row("D190")
def test_where_people_go_back_series_do_not_send_them_forth_again() -> None:
    """What they go back to reads one field badly, and what they leave does other things worse."""
    world = promoted(Watched({"base_v1": 0.50, "ft_v1.1": 0.99}))
    assert world.live() == "ft_v1.1"
    asked = promotion("back", "base_v1", **{"from": "ft_v1.1"})
    world.server.create(USER, Kind.PROMOTION, NAMESPACE, asked)
    world.wait(HOUR + 300)
    assert (world.live(), world.consumed()[-1][0]) == ("base_v1", "Succeeded")


def test_a_watch_is_by_series_unless_it_is_switched_off() -> None:
    assert Watch().series
