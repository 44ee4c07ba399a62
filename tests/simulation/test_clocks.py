"""Whatever the operator's wall clock does, a watch, a step and a review take the time that was observed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_operator.cluster.errors import Unavailable
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.controller.reconcile import Reconciler

from .api_server import Client
from .controllers import NAMESPACE, Deployments, parse_time
from .invariants import violations
from .stories import STORIES, USER, Story, World, run

PASS, _, REVIEW, FAILED = STORIES
STEP = 15
"""Seconds that one look counts at most."""

HOURS = timedelta(hours=1)


@dataclass
class Clocked(World):
    """A world in which the operator's wall clock is `skew` off, and `on_turn` is called before its every turn."""

    skew: timedelta = timedelta()
    deadline: int = 86_400
    """Of the run, in seconds."""
    on_turn: Callable[["Clocked"], None] = lambda _: None
    watched: list[datetime] = field(default_factory=list)
    """When ft_v1.1 was first seen to be watched, and to be live."""

    def _start_operator(self) -> Reconciler:
        operator = super()._start_operator()
        operator.clock = lambda: self.server.now + self.skew
        return operator

    def _user(self) -> None:
        flight = self.flight()
        if not self.watched and flight.get("phase") == "Watching" and flight["to"]["version"] == "ft_v1.1":
            self.watched.append(self.server.now)
        if len(self.watched) == 1 and self.live() == "ft_v1.1":
            self.watched.append(self.server.now)
        self.on_turn(self)
        if self.live() and self.server.get(Kind.RUN, NAMESPACE, "first") is None:
            asked = run()
            asked["spec"]["activeDeadlineSeconds"] = self.deadline
            self.server.create(USER, Kind.RUN, NAMESPACE, asked)
        super()._user()

    def status(self, kind: Kind, name: str) -> dict[str, Any]:
        item = self.server.get(kind, NAMESPACE, name) or {}
        status: dict[str, Any] = item.get("status") or {}
        return status

    def flight(self) -> dict[str, Any]:
        flight: dict[str, Any] = self.status(Kind.POLICY, "invoice-fields").get("inFlight") or {}
        return flight

    def live(self) -> str | None:
        live = self.status(Kind.POLICY, "invoice-fields").get("live") or {}
        return live.get("version")

    def run_status(self) -> dict[str, Any]:
        return self.status(Kind.RUN, "first")

    def seconds_watched(self) -> float:
        begun, ended = self.watched
        return (ended - begun).total_seconds()


def once_watching(change: Callable[[Clocked], None]) -> Callable[[Clocked], None]:
    """Return what changes the world once, when the watch over ft_v1.1 has begun."""
    done: list[bool] = []

    def turn(world: Clocked) -> None:
        if world.watched and not done:
            done.append(True)
            change(world)

    return turn


def set_clock(to: timedelta) -> Callable[[Clocked], None]:
    def change(world: Clocked) -> None:
        world.skew = to

    return change


@pytest.mark.row("D58")
@pytest.mark.parametrize(
    ("before", "after"), [(0 * HOURS, HOURS), (6 * HOURS, 0 * HOURS), (0 * HOURS, 48 * HOURS), (HOURS, -6 * HOURS)]
)
def test_a_clock_that_is_set_in_the_watch_neither_ends_nor_stretches_it(before: timedelta, after: timedelta) -> None:
    world = Clocked(PASS, skew=before, on_turn=once_watching(set_clock(after)))
    world.play()
    assert world.seconds_watched() == 20
    assert (world.run_status()["phase"], violations(world)) == ("Promoted", [])


JUMPS = st.lists(st.integers(-(10**6), 10**6).map(lambda seconds: timedelta(seconds=seconds)), max_size=12)


@given(jumps=JUMPS, length=st.integers(0, 120), restarts=st.sets(st.integers(0, 11), max_size=2))
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
def test_a_watch_takes_its_length_of_observed_time_whatever_the_clock_does(
    jumps: list[timedelta], length: int, restarts: set[int]
) -> None:
    """A restart loses what was not recorded, at most a minute of so short a watch, and counts nothing twice."""
    left = list(jumps)

    def turn(world: Clocked) -> None:
        if world.watched and left:
            world.skew = left.pop()
            if len(left) in restarts:
                world.operator = world._start_operator()

    world = Clocked(PASS, on_turn=turn)
    watch = {"seconds": length}
    world.server.update_spec("user", Kind.POLICY, NAMESPACE, "invoice-fields", lambda o: o["spec"].update(watch=watch))
    world.play()
    assert world.run_status()["phase"] == "Promoted"
    lost = 60 * len(restarts)
    assert length <= world.seconds_watched() <= length + 1 + lost


@pytest.mark.row("R87")
@pytest.mark.parametrize("skew", [48 * HOURS, -48 * HOURS])
def test_a_clock_that_is_set_while_training_ends_no_step(skew: timedelta) -> None:
    def turn(world: Clocked) -> None:
        attempts = world.run_status().get("attempts", ())
        if any(a["step"] == "train" and a.get("startedAt") for a in attempts):
            world.skew = skew

    world = Clocked(PASS, on_turn=turn)
    world.jobs.seconds = 120
    world.play(hours=100)
    assert (world.run_status()["phase"], violations(world)) == ("Promoted", [])


@pytest.mark.row("R19")
@pytest.mark.parametrize("skew", [0 * HOURS, 48 * HOURS, -48 * HOURS])
def test_a_trainer_that_hangs_meets_its_deadline_by_any_clock(skew: timedelta) -> None:
    seen: list[datetime] = []

    def turn(world: Clocked) -> None:
        attempts = world.run_status().get("attempts", ())
        if any(a["step"] == "train" and a.get("startedAt") for a in attempts):
            world.skew, world.jobs.seconds = skew, 10**7
            seen[:] = seen or [world.server.now]

    world = Clocked(PASS, on_turn=turn, deadline=1800)
    world.play(hours=30)
    status = world.run_status()
    assert (status["phase"], status["conditions"][-1]["reason"]) == ("Failed", "DeadlineExceeded")
    lasted = (world.server.now - seen[0]).total_seconds()
    assert 1800 - 1 <= lasted <= 1800 + 60


@pytest.mark.row("R47")
def test_a_run_on_a_lost_node_says_so_once_and_ends_when_its_pod_is_gone() -> None:
    """The kubelet is gone, so the pod stays whatever its owners do."""
    gone: list[bool] = []

    def turn(world: Clocked) -> None:
        if any(a["step"] == "train" for a in world.run_status().get("attempts", ())):
            world.jobs.seconds = 10**7

    world = Clocked(PASS, on_turn=turn, deadline=600)
    server, collect = world.server, world.server.collect_garbage

    def leave(pod: Object) -> None:
        pod["metadata"] |= {"deletionTimestamp": server.stamp(), "deletionGracePeriodSeconds": 30}

    def keep() -> None:
        pods = {} if gone else {key: pod for key, pod in server.objects.items() if key[0] is Kind.POD}
        server.objects = {key: item for key, item in server.objects.items() if key not in pods}
        collect()
        there = {item["metadata"]["uid"] for item in server.objects.values()}
        server.objects.update(pods)
        for _, _, name in pods:
            pod = server.get(Kind.POD, NAMESPACE, name) or {}
            left = not any(owner["uid"] in there for owner in pod["metadata"].get("ownerReferences", ()))
            if left and "deletionTimestamp" not in pod["metadata"]:
                server.update_spec("kubernetes", Kind.POD, NAMESPACE, name, leave)

    server.collect_garbage = keep  # type: ignore[method-assign]
    for _ in range(40):
        world.settle()
        server.advance(60)
    before = len(server.log)
    for _ in range(24 * 7):
        world.settle()
        server.advance(3600)
    assert len(server.log) == before, "a week without a write"
    status = world.run_status()
    assert status["phase"] != "Failed"
    assert "its node does not say that it has" in status["message"]
    assert "kubectl delete pod" in status["message"]
    gone.append(True)
    world.play(hours=1)
    assert (world.run_status()["phase"], violations(world)) == ("Failed", [])


@dataclass
class Blind(Client):
    """Answers no read of a Deployment or of pods while `blind`."""

    blind: bool = False

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        if self.blind and kind is Kind.DEPLOYMENT:
            raise Unavailable("no answer")
        return await super().get(kind, namespace, name, fresh=fresh)

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        if self.blind and kind is Kind.POD:
            raise Unavailable("no answer")
        return await super().list(kind, namespace, labels, fresh=fresh)


@pytest.mark.row("D59")
def test_a_time_in_which_nothing_is_seen_neither_ends_a_watch_nor_takes_anything_back() -> None:
    def blind(world: Clocked) -> None:
        client.blind = True
        world.server.advance(300)
        world.settle()
        assert world.flight()["phase"] == "Watching"
        client.blind = False

    world = Clocked(PASS, on_turn=once_watching(blind))
    client = Blind(world.server)
    world.client = client
    world.operator = world._start_operator()
    world.play()
    assert world.run_status()["phase"] == "Promoted"
    retried = 1  # a look that fails comes again a second later
    assert 300 + 20 - STEP <= world.seconds_watched() <= 300 + 20 + retried


@pytest.mark.row("D60")
def test_a_deployment_that_is_scaled_to_zero_is_not_called_well() -> None:
    def scale(replicas: int) -> Callable[[Clocked], None]:
        def change(world: Clocked) -> None:
            name = "invoice-detector"
            world.server.update_spec(
                "user", Kind.DEPLOYMENT, NAMESPACE, name, lambda o: o["spec"].update(replicas=replicas)
            )

        return change

    def sleep(world: Clocked) -> None:
        scale(0)(world)
        world.deployments.tick()
        for _ in range(40):
            world._operator()
            world.server.advance(300)
        assert (world.flight()["phase"], world.flight()["idle"]) == ("Watching", True)
        assert "scaled to zero" in world.status(Kind.POLICY, "invoice-fields")["message"]
        scale(2)(world)

    world = Clocked(PASS, on_turn=once_watching(sleep))
    world.play(hours=10)
    assert world.run_status()["phase"] == "Promoted"
    assert world.seconds_watched() >= 40 * 300 + 20 - STEP


@pytest.mark.row("R87")
@pytest.mark.parametrize("skew", [0 * HOURS, 400 * HOURS, -400 * HOURS])
def test_a_review_expires_after_the_time_that_it_was_open(skew: timedelta) -> None:
    story: Story = replace(REVIEW, approves=False)
    seen: list[datetime] = []

    def turn(world: Clocked) -> None:
        if world.run_status().get("phase") == "InReview":
            seen[:] = seen or [world.server.now]
            world.skew = skew

    world = Clocked(story, on_turn=turn)
    world.play(hours=24 * 40)
    assert world.run_status()["phase"] == "Expired"
    lasted = world.server.now - seen[0]
    assert timedelta(days=14) <= lasted <= timedelta(days=14, seconds=60)
    written = [w for w in world.server.log if w.kind is Kind.RUN and w.at > seen[0] + timedelta(minutes=1)]
    assert len(written) <= 10 + 4


@pytest.mark.row("R87")
@pytest.mark.parametrize("skew", [0 * HOURS, HOURS, -HOURS])
def test_the_pause_after_a_failure_is_as_long_by_any_clock(skew: timedelta) -> None:
    failed: list[datetime] = []

    class Failing:
        def __call__(self, step: str, document: Object, inputs: Object) -> tuple[int, Object]:
            if step == "train" and not failed:
                failed.append(world.server.now)
                world.skew = skew
                return 1, {}
            return PASS.trainer(step, document, inputs)

    world = Clocked(PASS)
    world.jobs.script = Failing()
    world.play(hours=10)
    assert world.run_status()["phase"] == "Promoted"
    second = next(w for w in world.server.log if w.kind is Kind.JOB and w.verb == "create" and "train-2" in w.name)
    assert (
        10 <= (parse_time(str(second.after and second.after["metadata"]["creationTimestamp"])) - failed[0]).seconds < 13
    )


@pytest.mark.row("R43")
def test_a_pod_that_just_came_is_not_called_stuck_by_a_clock_that_is_ahead() -> None:
    """Nobody has looked at it yet: no scheduler, no kubelet."""
    world = Clocked(PASS, skew=timedelta(minutes=10))
    start = world.jobs._start

    def slow(job: Object) -> None:
        begun = parse_time(job["metadata"]["creationTimestamp"])
        if world.server.now >= begun + timedelta(seconds=20):
            start(job)
        elif not (job.get("status") or {}).get("startTime"):
            world.jobs._status(Kind.JOB, job, {"startTime": world.server.stamp()})

    world.jobs._start = slow  # type: ignore[method-assign]
    for _ in range(60):
        world.settle()
        world.server.advance(5)
    assert world.live() == "base_v1" or world.run_status()
    said = [reason for _, reason in world.events]
    assert "PodNotCreated" not in said


class Replaced(Deployments):
    """The new pod of a broken version is another one each 20 seconds: none of them had the time to load."""

    lives = 20

    def _crash(self, item: Object) -> None:
        name, template = f"{item['metadata']['name']}-new", item["spec"]["template"]
        annotations = template["metadata"].get("annotations") or {}
        pod = self.server.get(Kind.POD, NAMESPACE, name)
        if (
            pod is not None
            and (self.server.now - parse_time(pod["metadata"]["creationTimestamp"])).seconds < self.lives
        ):
            return
        if pod is not None:
            self.server.delete("kubernetes", Kind.POD, NAMESPACE, name)
        if annotations.get("finetune-operator.io/model-version") not in self.broken:
            return
        uid = item["metadata"]["uid"]
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": uid, "controller": True}
        labels = {**template["metadata"]["labels"], "pod-template-hash": "new"}
        metadata = {"name": name, "labels": labels, "annotations": dict(annotations), "ownerReferences": [owner]}
        made = self.server.create("kubernetes", Kind.POD, NAMESPACE, {"metadata": metadata, "spec": template["spec"]})
        loads = {"name": "server", "state": {"running": {"startedAt": self.server.stamp()}}, "ready": False}
        meta, status = made["metadata"], {"phase": "Running", "containerStatuses": [loads]}
        self.server.patch_status(
            "kubernetes", Kind.POD, NAMESPACE, name, meta["uid"], meta["resourceVersion"], {"status": status}
        )


@pytest.mark.row("D111")
@pytest.mark.parametrize("skew", [timedelta(), HOURS, -HOURS], ids=["right", "ahead", "behind"])
@pytest.mark.parametrize("lives", [20, 10_000], ids=["replaced", "stays"])
def test_a_server_that_loads_is_blamed_once_it_had_the_time_by_any_clock(skew: timedelta, lives: int) -> None:
    """A pod that came a moment ago is no reason to quarantine its version; one that never gets ready is."""
    world = Clocked(FAILED, skew=skew)
    world.deployments = Replaced(world.server, FAILED.broken)
    world.deployments.lives = lives
    world.play()
    quarantined = [entry["version"] for entry in world.status(Kind.POLICY, "invoice-fields").get("quarantined", ())]
    assert (world.run_status()["phase"], quarantined) == ("RolledBack", ["ft_v1.1"] if lives > 60 else [])
