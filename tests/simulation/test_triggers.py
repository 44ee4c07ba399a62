"""A policy that makes runs by itself: with crashes at every write, a deleted run, a restored status, two policies."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any, ClassVar

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.controller.reconcile import Reconciler
from house.deep import first_of

from .controllers import NAMESPACE
from .invariants import violations
from .stories import STORIES, USER, Story, World, promotion, stage
from .test_judged import Failing

PASS, REJECT, REVIEW, _ = STORIES
TRIGGERS: dict[str, Any] = {"volume": {"newSamples": 50}, "cooldownSeconds": 600}
HOUR = 3600


class FailingAlways(Failing):
    """A trainer whose training of whatever run fails for good."""

    def __call__(self, step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        owner = {**document["owner"], "name": "first"}
        return super().__call__(step, {**document, "owner": owner} if step == "train" else document, inputs)


class Triggered(World):
    """A world in which nobody makes a run: people promote the base, and the policy does the rest."""

    triggers: ClassVar[dict[str, Any]] = TRIGGERS
    skew = timedelta()
    act: Callable[["Triggered"], None] | None = None
    policies: tuple[str, ...] = ("invoice-fields",)

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind, manifest in stage():
            for name in self.policies:
                if name != "invoice-fields" and kind in (Kind.DEPLOYMENT, Kind.POLICY):
                    manifest["metadata"]["name"] = name
                    if kind is Kind.POLICY:
                        manifest["spec"]["deployment"] = name
                    self.server.create(USER, kind, NAMESPACE, manifest)
        for name in self.policies:
            self.edit(name, triggers=self.triggers, scan={"intervalSeconds": 3600})

    def _start_operator(self) -> Reconciler:
        operator = super()._start_operator()
        operator.clock = lambda: self.server.now + self.skew
        return operator

    def edit(self, policy: str = "invoice-fields", **spec: Any) -> None:
        self.server.update_spec(USER, Kind.POLICY, NAMESPACE, policy, lambda item: item["spec"].update(spec))

    def _user(self) -> None:
        if self.act is not None:
            self.act(self)
        base = self.get(Kind.MODEL_VERSION, "invoice-fields-base-v1")["status"]
        for name in self.policies:
            asked = promotion(f"{name}-base", "base_v1", policy=name)
            if base.get("phase") == "Verified" and not self.server.get(Kind.PROMOTION, NAMESPACE, f"{name}-base"):
                self.server.create(USER, Kind.PROMOTION, NAMESPACE, asked)

    def wait(self, seconds: int, step: int = 15) -> None:
        for _ in range(seconds // step):
            self.settle()
            self.server.advance(step)
        self.settle()

    def wait_for_the_end(self) -> None:
        """Wait for a run that is over, and a minute more."""
        for _ in range(60):
            self.wait(20, 20)
            if any((run.get("status") or {}).get("finishedAt") for run in self.runs()):
                break
        self.wait(60, 20)

    def runs(self, policy: str = "invoice-fields") -> list[Object]:
        return [run for run in self.server.list(Kind.RUN, NAMESPACE) if run["spec"]["policy"] == policy]

    def made(self) -> list[str]:
        """Every run that was ever created."""
        return [entry.name for entry in self.server.log if (entry.verb, entry.kind) == ("create", Kind.RUN)]

    def status(self, policy: str = "invoice-fields") -> Object:
        return dict(self.get(Kind.POLICY, policy)["status"])

    def said(self) -> tuple[str, str]:
        due = next(c for c in self.status()["conditions"] if c["type"] == "Due")
        return due["reason"], due["message"]


@cache
def played(story: Story) -> Triggered:
    world = Triggered(replace(story, approves=False))
    world.wait(HOUR // 3, 20)
    return world


def ended(world: Triggered) -> list[tuple[str, str]]:
    return [(run["metadata"]["name"], run["status"]["phase"]) for run in world.runs()]


@pytest.mark.row("D141")
@pytest.mark.parametrize(("story", "phase"), [(PASS, "Promoted"), (REJECT, "Rejected"), (REVIEW, "InReview")])
def test_a_pool_is_trained_once_without_a_hand_on_the_cluster(story: Story, phase: str) -> None:
    """What was judged is not trained again, a rejected mix as little as one that waits for a person."""
    world = played(story)
    assert [phase for _, phase in ended(world)] == [phase]
    assert len(world.made()) == 1
    assert world.said()[0] == "NotEnoughNewSamples"
    assert world.said()[1].startswith("0 of 50 new samples; next look at ")
    assert [entry["outcome"] for entry in world.status()["fired"]] == ["Judged"]
    assert violations(world) == []


@pytest.mark.row("D147")
@pytest.mark.parametrize("moment", first_of(("after", "before")))
def test_a_crash_at_any_write_makes_the_same_run_once(moment: str) -> None:
    expected = ended(played(REJECT))
    for number in range(played(REJECT).client.writes):
        world = Triggered(REJECT, crash_at=(number, moment))
        world.wait_for_the_end()
        if world.crashes:
            assert ended(world) == expected, f"crash {moment} write {number}"
            assert len(world.made()) == 1, f"crash {moment} write {number}"


@pytest.mark.row("D153")
def test_what_fails_is_tried_four_times_and_then_said() -> None:
    world = Triggered(replace(PASS, trainer=FailingAlways()))
    world.wait(2 * HOUR + 600, 60)
    assert [phase for _, phase in ended(world)] == ["Failed"] * 4
    assert len(world.made()) == 4
    assert world.said()[0] == "FailedRepeatedly"
    moments = sorted(run["metadata"]["creationTimestamp"] for run in world.runs())
    assert len(set(moments)) == 4


@pytest.mark.row("D152")
@pytest.mark.parametrize("when", ["Preparing", "Training", "Rejected"])
def test_a_run_that_is_deleted_is_not_fired_again(when: str) -> None:
    world = Triggered(REJECT)

    def delete(world: Triggered) -> None:
        for run in world.runs():
            if (run.get("status") or {}).get("phase", "") == when:
                world.act = None
                world.server.delete(USER, Kind.RUN, NAMESPACE, run["metadata"]["name"])

    world.act = delete
    world.wait(HOUR // 2, 30)
    assert (len(world.made()), world.runs()) == (1, [])
    assert world.said()[0] in ("FiredBefore", "NotEnoughNewSamples")


@pytest.mark.row("D170")
def test_a_run_that_is_deleted_in_the_very_moment_it_was_made_is_not_made_again() -> None:
    world = Triggered(REJECT)

    def delete(_: int) -> None:
        for name in [run["metadata"]["name"] for run in world.runs()]:
            world.server.delete(USER, Kind.RUN, NAMESPACE, name)

    world.client.then = delete
    world.wait(HOUR // 3, 20)
    assert (len(world.made()), world.runs()) == (1, [])
    assert world.said()[0] == "FiredBefore"
    assert violations(world) == []


@pytest.mark.row("D170")
def test_that_a_run_was_made_is_remembered_also_where_the_policy_changes_in_that_moment() -> None:
    world = Triggered(REJECT)

    def edit_and_delete(_: int) -> None:
        for name in [run["metadata"]["name"] for run in world.runs()]:
            world.edit(triggers={**TRIGGERS, "maxRunsPerWeek": 9})
            world.server.delete(USER, Kind.RUN, NAMESPACE, name)

    world.client.then = edit_and_delete
    world.wait(HOUR // 3, 20)
    assert (len(world.made()), world.runs()) == (1, [])
    assert world.said()[0] == "FiredBefore"


@pytest.mark.row("D152")
@pytest.mark.parametrize("left", ["run", "version"])
def test_a_status_that_is_lost_fires_nothing_again(left: str) -> None:
    world = Triggered(REJECT)
    world.wait(600)
    name = world.made()[0]
    if left == "version":
        world.server.delete(USER, Kind.RUN, NAMESPACE, name)
    else:
        world.server.delete(USER, Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-ft-v1.1")
    meta = world.get(Kind.POLICY, "invoice-fields")["metadata"]
    world.server.patch_status(
        "admin", Kind.POLICY, NAMESPACE, "invoice-fields", meta["uid"], meta["resourceVersion"], {"status": None}
    )
    world.wait(HOUR // 2, 30)
    assert world.made() == [name]


@pytest.mark.row("D144")
@pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(hours=1)])
def test_a_clock_that_is_an_hour_off_and_comes_back_fires_once(skew: timedelta) -> None:
    world = Triggered(REJECT)
    world.skew = skew
    world.wait(HOUR // 3)
    world.skew = timedelta()
    world.wait(HOUR // 2, 30)
    assert len(world.made()) == 1
    assert violations(world) == []


@pytest.mark.row("D144")
def test_nothing_is_made_while_the_policy_is_suspended_and_once_it_is_not_one_run_is() -> None:
    world = Triggered(REJECT)
    world.edit(suspend=True)
    world.wait(600, 60)
    assert world.made() == []
    world.edit(suspend=False)
    world.server.advance(7 * 24 * HOUR)
    world.wait(HOUR // 2, 30)
    assert len(world.made()) == 1


@pytest.mark.row("D150")
def test_a_draft_waits_and_trains_once_it_is_released() -> None:
    class Drafting(Triggered):
        triggers: ClassVar[dict[str, Any]] = {**TRIGGERS, "start": "Suspended", "cooldownSeconds": 0}

    world = Drafting(REJECT)
    world.wait(600)
    assert [phase for _, phase in ended(world)] == ["Suspended"]
    name = world.made()[0]
    world.server.update_spec(USER, Kind.RUN, NAMESPACE, name, lambda item: item["spec"].update(suspend=False))
    world.wait(600)
    assert ended(world) == [(name, "Rejected")]
    assert world.made() == [name]


@pytest.mark.row("D141")
def test_two_policies_on_one_pool_make_a_run_each() -> None:
    class Beside(Triggered):
        policies = ("invoice-fields", "prod")

    world = Beside(REJECT)
    world.wait(HOUR // 3, 20)
    assert [len(world.runs(name)) for name in world.policies] == [1, 1]
    assert len(set(world.made())) == 2


@pytest.mark.row("D158")
def test_a_schedule_of_each_minute_trains_a_pool_once() -> None:
    class Scheduled(Triggered):
        triggers: ClassVar[dict[str, Any]] = {"schedule": {"cron": "* * * * *"}, "cooldownSeconds": 0}

    world = Scheduled(REJECT)
    world.wait(HOUR // 3, 20)
    assert len(world.made()) == 1
    trigger = world.runs()[0]["spec"]["trigger"]
    assert (trigger["kind"], trigger["requester"]) == ("Schedule", "FineTunePolicy invoice-fields")
