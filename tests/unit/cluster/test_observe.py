"""Views hold what the cluster says, from memory where that is safe, asked anew where a miss would cost something."""

import asyncio
import copy
from collections.abc import Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.observe import Observer, a_nonce
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.progress import PROGRESS_EVERY, SHORT_STEP
from finetune_operator.decide.templates import templates_problem
from simulation.api_server import START, ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import promotion, run, stage

T = TypeVar("T")
LINE = (
    '{"schema":"finetune-operator.io/progress/v1","step":"train","epoch":%d,"epochs":10,"percent":%d,'
    '"at":"2026-11-21T12:00:00Z"}'
)


class Forgetful(Client):
    """A cache that misses what it is told to miss, and a log that grows; counts what is asked anew."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server)
        self.misses: frozenset[Kind] = frozenset()
        self.log = ""
        self.reads = 0
        self.fresh: list[str] = []

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        if fresh:
            self.fresh.append(name)
        elif kind in self.misses:
            return None
        return await super().get(kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        return () if kind in self.misses else await super().list(kind, namespace, labels)

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int, limit_bytes: int) -> str:
        self.reads += 1
        return self.log


class World:
    """The simulated API server with a policy and a run."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.client = Forgetful(self.server)
        self.observer = Observer(self.client)
        for kind, manifest in stage():
            self.server.create("user", kind, NAMESPACE, manifest)
        self.uid = self.server.create("user", Kind.RUN, NAMESPACE, run())["metadata"]["uid"]

    def status(self, kind: Kind, name: str, status: Object) -> None:
        obj = self.server.get(kind, NAMESPACE, name)
        assert obj is not None
        meta = obj["metadata"]
        self.server.patch_status("user", kind, NAMESPACE, name, meta["uid"], meta["resourceVersion"], status)

    def child(self, kind: Kind, name: str, owner: str, labels: dict[str, str]) -> str:
        references = [{"uid": owner, "controller": True}]
        marks = {"finetune-operator.io/owner-uid": self.uid, "finetune-operator.io/attempt": "1"} | labels
        metadata = {"name": name, "labels": marks, "ownerReferences": references}
        return str(self.server.create("user", kind, NAMESPACE, {"metadata": metadata})["metadata"]["uid"])

    def of_replica_set(self, name: str) -> Object:
        """Return the metadata of a pod that the Deployment made."""
        target = self.server.get(Kind.DEPLOYMENT, NAMESPACE, "invoice-detector")
        assert target is not None
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "invoice-detector-5f6"}
        return {
            "name": name,
            "labels": {"app": "invoice-detector", "pod-template-hash": "5f6"},
            "ownerReferences": [{**owner, "uid": target["metadata"]["uid"], "controller": True}],
        }

    def training(self, name: str = "train") -> None:
        step = {"finetune-operator.io/step": name}
        job = self.child(Kind.JOB, f"first-{name}-1", self.uid, step)
        self.child(Kind.POD, "p", job, step)
        trainer = {"name": "trainer", "state": {"running": {"startedAt": "2026-11-21T12:00:00Z"}}}
        self.status(Kind.POD, "p", {"phase": "Running", "containerStatuses": [trainer]})

    def view(self, now: datetime = START) -> Any:
        raw = self.server.get(Kind.RUN, NAMESPACE, "first")
        assert raw is not None
        return self.do(self.observer.run(raw, now))

    def policy(self) -> Any:
        raw = self.server.get(Kind.POLICY, NAMESPACE, "invoice-fields")
        assert raw is not None
        return self.do(self.observer.policy(raw, START))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)


@pytest.fixture
def world() -> World:
    return World()


def test_a_run_sees_its_policy_templates_and_versions(world: World) -> None:
    view = world.view().view
    assert view.policy is not None
    assert [v.spec.version for v in view.versions] == ["base_v1"]
    assert view.train_template.problem is None
    assert view.cpu_template.problem is None
    assert view.snapshot is None


@pytest.mark.row("R84")
def test_what_evaluates_is_made_from_its_own_template_where_the_policy_names_one(world: World) -> None:
    assert world.view().view.evaluate_template == world.view().view.cpu_template
    own = {"train": "gpu-trainer", "cpu": "cpu-trainer", "evaluate": "judge"}
    world.server.update_spec(
        "user", Kind.POLICY, NAMESPACE, "invoice-fields", lambda o: o["spec"].update(podTemplates=own)
    )
    assert world.view().view.evaluate_template.problem.reason == "PodTemplateNotFound"
    problem = templates_problem(world.policy().view)
    assert problem is not None
    assert (problem.reason, "'judge'" in problem.message) == ("PodTemplateNotFound", True)


def test_an_ended_run_costs_no_look_at_anything_but_its_jobs(world: World) -> None:
    world.status(Kind.RUN, "first", {"phase": "Promoted"})
    view = world.view().view
    assert (view.policy, view.versions, world.client.fresh) == (None, (), [])


def test_how_far_training_is_is_read_every_five_seconds_and_not_more_often(world: World) -> None:
    assert world.view().poll is None
    world.training()
    world.client.log = LINE % (1, 10)
    assert world.view().view.progress.epoch == 1
    world.client.log += "\n" + LINE % (2, 20)
    soon = world.view(START + PROGRESS_EVERY - timedelta(seconds=1))
    assert (soon.view.progress.epoch, soon.poll, world.client.reads) == (1, PROGRESS_EVERY, 1)
    assert world.view(START + PROGRESS_EVERY).view.progress.epoch == 2


@pytest.mark.row("R323")
def test_how_far_training_is_is_read_at_once_when_the_clock_was_set_back(world: World) -> None:
    world.training()
    world.client.log = LINE % (1, 10)
    world.view()
    world.client.log += "\n" + LINE % (2, 20)
    assert world.view(START - timedelta(hours=1)).view.progress.epoch == 2


@pytest.mark.row("R13")
@pytest.mark.parametrize("step", ["prepare", "evaluate"])
def test_of_another_step_only_what_lasts_is_worth_a_request(world: World, step: str) -> None:
    world.training(step)
    world.client.log = LINE.replace('"train"', f'"{step}"') % (1, 10)
    begun = world.view(START + timedelta(seconds=5))
    assert (begun.view.progress, begun.poll, world.client.reads) == (None, SHORT_STEP - timedelta(seconds=5), 0)
    lasting = world.view(START + SHORT_STEP)
    assert (lasting.view.progress.step, lasting.poll, world.client.reads) == (step, PROGRESS_EVERY, 1)


def test_a_log_that_cannot_be_read_any_more_leaves_what_was_known(world: World) -> None:
    world.training()
    world.client.log = LINE % (3, 30)
    world.view()
    world.client.log = ""
    assert world.view(START + PROGRESS_EVERY).view.progress.epoch == 3


def test_a_job_that_the_memory_misses_is_asked_for_before_its_attempt_counts_as_lost(world: World) -> None:
    world.training()
    attempt = {"step": "train", "attempt": 1, "job": "first-train-1", "outcome": "Running", "jobUid": "x"}
    world.status(Kind.RUN, "first", {"attempts": [attempt]})
    world.client.misses = frozenset((Kind.JOB,))
    assert [job.name for job in world.view().view.jobs] == ["first-train-1"]
    assert world.client.fresh == ["first-train-1"]


def test_a_promotion_that_the_memory_misses_is_asked_for_before_the_run_gives_up(world: World) -> None:
    world.server.create("user", Kind.PROMOTION, NAMESPACE, promotion("p", "ft_v1.1"))
    world.status(Kind.RUN, "first", {"promotion": "p"})
    world.client.misses = frozenset((Kind.PROMOTION,))
    assert world.view().view.promotion is not None


def test_a_document_is_asked_for_only_once_the_status_says_that_there_is_one(world: World) -> None:
    world.view()
    assert world.client.fresh == []
    world.status(Kind.RUN, "first", {"snapshot": "document"})
    assert world.view().view.snapshot is None
    assert world.client.fresh == ["document"]


@pytest.mark.parametrize(("owner", "reason"), [("somebody", "NameTaken"), ("the run", "SnapshotInvalid")])
def test_a_document_that_cannot_be_used_is_a_problem_with_a_reason(world: World, owner: str, reason: str) -> None:
    world.child(Kind.CONFIG_MAP, "document", world.uid if owner == "the run" else owner, {})
    world.status(Kind.RUN, "first", {"snapshot": "document"})
    problem = world.view().view.snapshot_problem
    assert problem is not None
    assert problem.reason == reason
    assert "document" in problem.message


@pytest.mark.row("R37")
def test_a_document_of_another_digest_is_not_the_one_that_was_made(world: World) -> None:
    world.child(Kind.CONFIG_MAP, "document", world.uid, {})
    world.status(Kind.RUN, "first", {"snapshot": "document", "snapshotSha256": "0" * 64})
    seen = world.view().view
    assert seen.snapshot is None
    assert seen.snapshot_problem is not None
    assert seen.snapshot_problem.reason == "SnapshotInvalid"
    assert ", not 000000000000; nothing is judged by it" in seen.snapshot_problem.message


def test_a_deployment_without_the_label_is_told_from_one_that_is_missing(world: World) -> None:
    world.client.misses = frozenset((Kind.DEPLOYMENT,))  # the watch shows labelled ones only
    world.server.update_spec(
        "user", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", lambda o: o["metadata"]["labels"].clear()
    )
    assert world.policy().view.deployment.managed is False
    world.server.delete("user", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector")
    assert world.policy().view.deployment is None


@pytest.mark.parametrize(("phase", "ails"), [("Flipping", "new"), ("Watching", "new"), ("Returning", "old")])
def test_a_flight_sees_what_ails_the_pods_that_it_waits_for(world: World, phase: str, ails: str) -> None:
    digests = {"old": "a" * 64, "new": "b" * 64}
    for name, digest in digests.items():
        annotations = {"finetune-operator.io/artifact-sha256": digest}
        metadata = {**world.of_replica_set(name), "annotations": annotations}
        world.server.create("user", Kind.POD, NAMESPACE, {"metadata": metadata})
        condition = {"type": "PodScheduled", "status": "False", "message": f"no room for {name}"}
        world.status(Kind.POD, name, {"phase": "Pending", "conditions": [condition]})
    assert world.policy().view.deployment.trouble is None, "nobody asks while nothing is in flight"
    to, back = (
        {"version": v, "modelVersion": v, "uri": "file:///m", "sha256": d}
        for v, d in (("ft_v1.1", digests["new"]), ("base_v1", digests["old"]))
    )
    moment = dict.fromkeys(("startedAt", "phaseSince", "deadline"), "2026-11-21T12:00:00Z")
    flight = {"promotion": "p", "promotionUid": "u", "specHash": "h", "phase": phase, "to": to, "back": back,
              "epoch": 2, "deploymentUid": "d", "templateHash": "t", "generation": 1, **moment}  # fmt: skip
    world.status(Kind.POLICY, "invoice-fields", {"inFlight": flight})
    trouble = world.policy().view.deployment.trouble
    assert trouble is not None
    assert (trouble.reason, f"no room for {ails}" in trouble.message) == ("Unschedulable", True)


OTHER_POD: dict[str, Any] = {"metadata": {"name": "other", "labels": {"app": "invoice-detector"},
                          "annotations": {"finetune-operator.io/artifact-sha256": "b" * 64}}}  # fmt: skip
LIVE_HERE = {"version": "ft_v1.1", "modelVersion": "ft", "uri": "file:///m", "sha256": "b" * 64}


@pytest.mark.row("D28")
@pytest.mark.parametrize("at_rest", [False, True], ids=["in flight", "at rest"])
@pytest.mark.parametrize(
    ("kind", "name", "tag"),
    [
        (None, "", "5f6"),
        ("apps/v1 Job", "invoice-detector-5f6", "5f6"),
        ("apps/v1 ReplicaSet", "invoice-detector-canary-5f6", "5f6"),
        ("apps/v1 ReplicaSet", "invoice-detector-5f6", "777"),
        ("nobody.example/v1 ReplicaSet", "invoice-detector-5f6", "5f6"),
    ],
    ids=["nobody's", "a Job's", "another Deployment's", "of another ReplicaSet", "of a kind that no collector knows"],
)
def test_pods_that_only_carry_the_deployments_labels_say_nothing_of_it(
    world: World, kind: str | None, name: str, tag: str, at_rest: bool
) -> None:
    """Else whoever may make a pod could have a good version quarantined."""
    version, _, kind = (kind or "").partition(" ")
    owner = {"apiVersion": version, "kind": kind, "name": name, "uid": "somebody", "controller": True}
    owners = [owner] if kind else []
    labels = {**OTHER_POD["metadata"]["labels"], "pod-template-hash": tag}
    crashing(world, {**OTHER_POD["metadata"], "labels": labels, "ownerReferences": owners}, {}, at_rest=at_rest)
    seen = world.policy().view.deployment
    assert (seen.fault, seen.trouble) == (None, None)


def crashing(world: World, metadata: Object, spec: Object, *, at_rest: bool) -> None:
    """Make a pod whose server crashes, of a Deployment that serves or watches a version and lacks a pod."""
    world.server.create("user", Kind.POD, NAMESPACE, {"metadata": metadata, "spec": spec})
    crash = {"name": "server", "ready": False, "state": {"terminated": {"exitCode": 1, "message": "no such operator"}}}
    world.status(Kind.POD, "other", {"phase": "Running", "containerStatuses": [crash]})
    world.status(Kind.DEPLOYMENT, "invoice-detector", {"availableReplicas": 0})
    moment = dict.fromkeys(("startedAt", "phaseSince", "deadline", "since"), "2026-11-21T12:00:00Z")
    flight = {"promotion": "p", "promotionUid": "u", "specHash": "h", "phase": "Watching", "to": LIVE_HERE,
              "epoch": 2, "deploymentUid": "d", "templateHash": "t", "generation": 1, **moment}  # fmt: skip
    live = {**LIVE_HERE, "epoch": 2, **moment}
    world.status(Kind.POLICY, "invoice-fields", {"live": live} if at_rest else {"inFlight": flight})


@pytest.mark.row("D61")
@pytest.mark.parametrize("image", [None, "evil"], ids=["as asked", "another image"])
def test_a_pod_under_the_replica_sets_name_blames_a_version_only_if_it_is_as_the_deployment_asks(
    world: World, image: str | None
) -> None:
    target = world.server.get(Kind.DEPLOYMENT, NAMESPACE, "invoice-detector")
    assert target is not None
    spec = copy.deepcopy(target["spec"]["template"]["spec"])
    server = next(c for c in spec["containers"] if c["name"] == "server")
    server.update({"image": image} if image else {})
    metadata = {**world.of_replica_set("other"), "annotations": OTHER_POD["metadata"]["annotations"]}
    crashing(world, metadata, spec, at_rest=False)
    seen = world.policy().view.deployment
    assert (seen.fault is None, seen.trouble.reason) == ((True, "PodNotOurs") if image else (False, "ContainerFails"))


def test_only_older_policies_of_the_same_deployment_are_rivals(world: World) -> None:
    manifest = next(m for kind, m in stage() if kind is Kind.POLICY)
    world.server.advance(60)
    world.server.create("user", Kind.POLICY, NAMESPACE, {**manifest, "metadata": {"name": "younger"}})
    assert world.policy().view.rivals == ()
    raw = world.server.get(Kind.POLICY, NAMESPACE, "younger")
    assert raw is not None
    assert world.do(world.observer.policy(raw, START)).view.rivals == ("invoice-fields",)


class Late(Client):
    """A cache that is behind: it shows the pods as they were, and the API server itself as they are."""

    stale: tuple[Object, ...] | None = None

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        if kind is Kind.POD and self.stale is not None and not fresh:
            return self.stale
        return await super().list(kind, namespace, labels)


@pytest.mark.row("R74")
def test_what_is_taken_from_pods_is_what_the_api_server_has_and_not_what_a_cache_remembers() -> None:
    world = World()
    late = Late(world.server)
    world.observer = Observer(late)
    world.training()
    attempt = {"step": "train", "attempt": 1, "job": "first-train-1", "outcome": "Running"}
    world.status(Kind.RUN, "first", {"status": {"attempts": [attempt]}})
    ended = {"exitCode": 0, "message": "cached", "finishedAt": "2026-11-21T12:00:09Z"}
    trainer = {"name": "trainer", "state": {"terminated": ended}}
    world.status(Kind.POD, "p", {"status": {"phase": "Succeeded", "containerStatuses": [trainer]}})
    late.stale = world.server.list(Kind.POD, NAMESPACE)
    trainer = {"name": "trainer", "state": {"terminated": {**ended, "message": "true"}}}
    world.status(Kind.POD, "p", {"status": {"phase": "Succeeded", "containerStatuses": [trainer]}})
    (job,) = world.view().view.jobs
    assert job.termination_message == "true"


@pytest.mark.row("R70")
def test_a_nonce_is_a_labels_value_and_another_each_time() -> None:
    assert len(a_nonce()) == 32
    assert a_nonce() != a_nonce()
