"""Scans go on beside everything else, one after the other, whatever crashes, is set, suspended, deleted or forged."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from finetune_operator.api import names
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.controller.reconcile import Reconciler
from house.deep import DEEP

from .conftest import CRASH_POINTS
from .controllers import NAMESPACE
from .deaths import deaths
from .faults import ANSWERS, LOST, Faulty
from .invariants import violations
from .lagging import Lagging, Weather
from .stories import STORIES, USER, Story, World
from .test_lagging import WEATHERS
from .trainer_script import Trainer

PASS = STORIES[0]
NAME = "invoice-fields"
INTERVAL = 900.0
LISTING = "5c" * 32


@dataclass
class Scanned(World):
    """A world whose policy has pages captured, and nobody applies a run."""

    skew: timedelta = timedelta()
    on_turn: Callable[["Scanned"], None] = lambda _: None
    runs: bool = False
    """Whether the story's run is applied all the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        production = {"uri": "file:///production", "keepDays": 90}
        self.edit(lambda spec: spec["data"].update(production=production))

    def edit(self, change: Callable[[Object], Any]) -> None:
        self.server.update_spec(USER, Kind.POLICY, NAMESPACE, NAME, lambda o: change(o["spec"]))

    def _start_operator(self) -> Reconciler:
        operator = super()._start_operator()
        operator.clock = lambda: self.server.now + self.skew
        return operator

    def _user(self) -> None:
        self.on_turn(self)
        if self.runs:
            super()._user()

    def play_on(self, seconds: float) -> "Scanned":
        """Let everybody act for so long, however much goes on."""
        end = self.server.now + timedelta(seconds=seconds)
        while True:
            self.settle()
            upcoming = [self.jobs.next_event(), self.deployments.next_event(), *self.due.values()]
            soon = min((at for at in upcoming if at is not None and at > self.server.now), default=end)
            if soon >= end:
                self.server.now = end
                self.settle()
                return self
            self.server.now = soon

    @property
    def policy(self) -> Object:
        return (self.server.get(Kind.POLICY, NAMESPACE, NAME) or {}).get("status") or {}

    @property
    def scans(self) -> Object:
        scans: Object = self.policy.get("scan") or {}
        return scans

    @property
    def condition(self) -> tuple[str, str]:
        shown: Object = next((c for c in self.policy.get("conditions", ()) if c["type"] == "Scanned"), {})
        return shown.get("status", ""), shown.get("reason", "")

    def made(self) -> list[str]:
        """Return the scans that the operator made, by number, in their order."""
        return [name.split("-")[-2] for name, _ in self.jobs.created if "-scan-" in name]

    def left(self, kind: Kind = Kind.JOB) -> list[Object]:
        """Return what is there of scans."""
        return [item for item in self.server.list(kind, NAMESPACE) if "-scan-" in item["metadata"]["name"]]

    def wrote(self, since: int) -> int:
        writes = self.server.log[since:]
        return sum(w.kind is Kind.POLICY and w.verb == "patch_status" for w in writes)


def test_scans_come_one_after_the_other_with_three_writes_each_and_leave_one_job() -> None:
    world = Scanned(PASS).play_on(INTERVAL)
    before, log = len(world.made()), len(world.server.log)
    world.play_on(8 * INTERVAL)
    scans = len(world.made()) - before
    assert scans in (7, 8), "an interval, and what a scan takes"
    assert world.wrote(log) <= 3 * scans
    assert world.made() == [str(n + 1) for n in range(len(world.made()))]
    assert len(world.left()) <= 2, "the newest, and one that runs"
    assert len(world.left(Kind.CONFIG_MAP)) == 1
    assert world.condition == ("True", "Scanned")
    assert violations(world) == []


def test_an_old_policy_is_not_scanned() -> None:
    world = Scanned(PASS)
    world.edit(lambda spec: spec["data"].pop("production"))
    world.play_on(3 * INTERVAL)
    assert world.made() == []
    assert "scan" not in world.policy
    assert world.condition == ("", "")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_story_ends_as_told_beside_scans(story: Story) -> None:
    plain, scanned = World(story), Scanned(story, runs=True)
    plain.play()
    scanned.play_on(INTERVAL * 3)
    summary = scanned.summary()
    summary["jobs"] = [name for name in summary["jobs"] if "-scan-" not in name]
    assert summary == plain.summary()
    assert scanned.condition[0] == "True"
    assert violations(scanned) == []


def test_a_crash_at_any_write_of_scans_ends_as_no_crash(record_property: Callable[[str, object], None]) -> None:
    expected = Scanned(PASS).play_on(3 * INTERVAL)
    assert expected.client.writes >= 3 * 4
    end = expected.server.now
    for where, world in deaths(lambda: Scanned(PASS), lambda w: w.play_on((end - w.server.now).total_seconds())):
        assert world.made() == expected.made(), where
        assert world.scans["counted"] == expected.scans["counted"], where
        assert world.condition == ("True", "Scanned"), where
        assert violations(world) == [], where
    record_property(CRASH_POINTS, 2 * expected.client.writes)


@pytest.mark.row("D132")
@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_an_hour_off_makes_no_storm_and_stops_no_scan(hours: int) -> None:
    world = Scanned(PASS).play_on(2.5 * INTERVAL)
    world.skew = timedelta(hours=hours)
    before = len(world.made())
    world.play_on(4 * INTERVAL)
    assert 4 <= len(world.made()) - before <= 5
    world.skew = timedelta()
    world.play_on(4 * INTERVAL)
    assert 8 <= len(world.made()) - before <= 10
    assert world.condition == ("True", "Scanned")
    assert violations(world) == []


@pytest.mark.row("D128")
def test_a_suspended_policy_goes_on_scanning() -> None:
    world = Scanned(PASS)
    world.edit(lambda spec: spec.update(suspend=True))
    world.play_on(4 * INTERVAL)
    assert len(world.made()) >= 4
    assert world.condition == ("True", "Scanned")


def test_a_policy_deleted_in_the_middle_of_a_scan_takes_all_of_it_along() -> None:
    world = Scanned(PASS).play_on(INTERVAL + 40)
    assert world.jobs.next_event() is not None, "a scan is under way"
    world.server.delete(USER, Kind.POLICY, NAMESPACE, NAME, world.get(Kind.POLICY, NAME)["metadata"]["uid"])
    world.settle()
    log = len(world.server.log)
    world.play_on(3 * INTERVAL)
    assert world.left() == []
    assert [w for w in world.server.log[log:] if w.actor == "operator"] == []


@pytest.mark.row("D125")
def test_scans_that_do_not_end_become_stale_and_go_on_when_they_do() -> None:
    world = Scanned(PASS).play_on(INTERVAL / 2)
    world.jobs.seconds = 10_000
    world.play_on(4 * INTERVAL)
    assert world.condition == ("False", "ScanStale")
    world.play_on(3 * 3600)
    assert ("invoice-fields", "DeadlineExceeded") in world.events
    world.jobs.seconds = 30
    world.play_on(2 * 3600)
    assert world.condition == ("True", "Scanned")
    assert violations(world) == []


@pytest.mark.row("D124")
def test_a_policy_that_is_edited_while_it_is_scanned_is_scanned_again_at_once() -> None:
    world = Scanned(PASS).play_on(10)
    world.edit(lambda spec: spec["data"]["pool"].update(uri="file:///data/other"))
    world.play_on(100)
    assert world.made() == ["1", "2"]
    assert world.condition == ("True", "Scanned")
    documents = [item["data"]["run.json"] for item in world.left(Kind.CONFIG_MAP)]
    assert sum("file:///data/other" in text for text in documents) == 1


def forged(world: Scanned, number: int) -> Object:
    """Return a Job under the name of a scan that is to come, as whoever may make Jobs can make it."""
    item = world.left()[0]
    job = copy.deepcopy({key: item[key] for key in ("apiVersion", "kind", "spec")})
    uid = world.get(Kind.POLICY, NAME)["metadata"]["uid"]
    name = names.job_name(NAME, "scan", number, uid)
    labels = item["metadata"]["labels"] | {names.ATTEMPT_LABEL: str(number)}
    job["metadata"] = {"name": name, "labels": labels, "ownerReferences": item["metadata"]["ownerReferences"]}
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "evil"
    container["args"][3] = container["args"][3].replace('"attempt":1', f'"attempt":{number}')
    job["spec"]["template"]["metadata"]["labels"] |= {names.ATTEMPT_LABEL: str(number)}
    return job


def test_a_job_that_somebody_made_under_the_name_of_a_scan_is_not_believed() -> None:
    world = Scanned(PASS).play_on(INTERVAL / 2)
    honest = world.scans["counted"]["listing"]

    def lying(step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        code, message = Trainer()(step, document, inputs)
        if step == "scan" and inputs["attempt"] == 2:
            message["result"]["listing"] = LISTING
        return code, message

    world.jobs.script = lying
    world.server.create("editor", Kind.JOB, NAMESPACE, forged(world, 2))
    world.play_on(3 * INTERVAL)
    assert (NAME, "JobNotOurs") in world.events
    assert world.scans["counted"]["listing"] == honest
    shown = [w.after for w in world.server.log if w.kind is Kind.POLICY and w.after is not None]
    assert LISTING not in str(shown)
    assert world.condition == ("True", "Scanned")


def test_a_pod_that_somebody_made_for_a_scan_does_not_speak_for_it() -> None:
    world = Scanned(PASS)
    world.jobs.seconds = 60
    world.play_on(10)
    (pod,) = world.left(Kind.POD)
    code, message = Trainer()("scan", world.jobs._document(pod), {"attempt": 1, "judged": []})
    message["result"]["listing"] = LISTING
    made = copy.deepcopy({key: pod[key] for key in ("spec",)})
    made["metadata"] = {**{k: pod["metadata"][k] for k in ("labels", "ownerReferences")}, "name": "evil"}
    made["spec"]["containers"][0]["image"] = "evil"
    there = world.server.create("editor", Kind.POD, NAMESPACE, made)
    ended = {"exitCode": code, "finishedAt": world.server.stamp(), "startedAt": world.server.stamp()}
    terminated = {"name": "trainer", "state": {"terminated": ended | {"message": json.dumps(message)}}}
    world.jobs._status(Kind.POD, there, {"phase": "Succeeded", "containerStatuses": [terminated]})
    world.play_on(3 * INTERVAL)
    shown = [w.after for w in world.server.log if w.kind is Kind.POLICY and w.after is not None]
    assert LISTING not in str(shown)


@pytest.mark.row("D129")
def test_of_two_policies_on_a_deployment_the_older_scans() -> None:
    world = Scanned(PASS).play_on(INTERVAL / 2)
    second = copy.deepcopy({key: world.get(Kind.POLICY, NAME)[key] for key in ("apiVersion", "kind", "spec")})
    world.server.create(USER, Kind.POLICY, NAMESPACE, second | {"metadata": {"name": "younger"}})
    world.play_on(3 * INTERVAL)
    assert not [name for name, _ in world.jobs.created if name.startswith("younger")]
    conditions = world.get(Kind.POLICY, "younger")["status"]["conditions"]
    assert [(c["status"], c["reason"]) for c in conditions if c["type"] == "Scanned"] == [("False", "DeploymentTaken")]
    assert world.condition == ("True", "Scanned")


@pytest.mark.parametrize("answer", [*ANSWERS, LOST])
def test_a_write_of_a_scan_that_is_refused_or_lost_once_stops_nothing(answer: str) -> None:
    for number in range(10, 21):
        done: list[str] = []

        def fault(at: int, _: object, number: int = number, done: list[str] = done) -> str | None:
            if at != number or done:
                return None
            done.append(answer)
            return answer

        world = Scanned(PASS, wrap=lambda client, fault=fault: Faulty(client, fault))  # type: ignore[arg-type,misc]
        world.play_on(5 * INTERVAL)
        assert done, f"write {number} was not reached"
        assert world.condition == ("True", "Scanned"), f"write {number}"
        assert len(world.made()) in (5, 6), f"write {number}"
        assert violations(world) == [], f"write {number}"


class LateScans(Lagging):
    """A world that sees late what goes on, and is at rest after four scans."""

    def __init__(self, seed: int, weather: Weather) -> None:
        super().__init__(PASS, seed, weather)
        production = {"uri": "file:///production", "keepDays": 90}
        self.server.update_spec(
            USER, Kind.POLICY, NAMESPACE, NAME, lambda o: o["spec"]["data"].update(production=production)
        )

    def _user(self) -> None:
        """Apply nothing else."""

    def at_rest(self) -> bool:
        """Tell whether four scans were made, and none is under way."""
        scans = self.get(Kind.POLICY, NAME)["status"].get("scan") or {}
        attempts = scans.get("attempts") or [{}]
        return bool(attempts[-1].get("attempt", 0) >= 4 and attempts[-1]["outcome"] == "Succeeded")


@pytest.mark.part
@pytest.mark.parametrize("weather", ["lag", "lost", "all", "two operators"])
def test_scans_go_on_whatever_the_operator_sees_late(weather: str) -> None:
    for seed in range(6 if DEEP else 2):
        world = LateScans(seed, WEATHERS[weather])
        world.play()
        assert violations(world) == [], f"seed {seed}"
        shown = world.get(Kind.POLICY, NAME)["status"]
        assert shown["scan"]["counted"]["pool"] == 60, f"seed {seed}"
        made = [name for name, _ in world.jobs.created if "-scan-" in name]
        assert len(made) == len(set(made)), f"seed {seed}"


@pytest.mark.row("D112")
def test_a_scan_that_is_refused_makes_no_flight_longer() -> None:
    """The queue's pause after a refusal grows to a minute, and a look counts 15 seconds at most (D58)."""

    def watched(*, refused: bool) -> float:
        world, flew = Scanned(PASS, runs=True), list[Any]()

        def turn(world: Scanned) -> None:
            flight = world.policy.get("inFlight") or {}
            if flight.get("phase") == "Watching" and flight["to"]["version"] == "ft_v1.1":
                flew.append(world.server.now)

        world.on_turn = turn
        world.edit(lambda spec: spec.update(watch={"seconds": 120}))
        if refused:
            uid = world.get(Kind.POLICY, NAME)["metadata"]["uid"]
            job = {"metadata": {"name": names.job_name(NAME, "scan", 1, uid)}, "spec": {}}
            planted = world.server.create("eve", Kind.JOB, NAMESPACE, job)
            over = {"conditions": [{"type": "Complete", "status": "True", "reason": "", "message": ""}]}
            world.jobs._status(Kind.JOB, planted, over)
        world.play_on(3600)
        condition = next(c for c in world.policy["conditions"] if c["type"] == "Scanned")
        assert (condition["reason"] == "NameTaken") is refused
        assert world.policy["live"]["version"] == "ft_v1.1"
        seconds: float = (flew[-1] - flew[0]).total_seconds()
        return seconds

    assert watched(refused=True) <= watched(refused=False) + 15
