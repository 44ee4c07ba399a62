"""Four stories of one run, played on the in-memory API server to rest, with a crash of the operator where wanted."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from finetune_operator.cluster.act import Outlets
from finetune_operator.cluster.errors import ClusterError
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.observe import Observer
from finetune_operator.cluster.port import Cluster, Object
from finetune_operator.cluster.signals import Signals
from finetune_operator.controller.metrics import DOMAIN
from finetune_operator.controller.reconcile import Reconciler
from finetune_operator.decide.decision import Emit, RecordMetric
from finetune_operator.manifests.events import Regarding, build_event

from .admission import refusals_of_event
from .api_server import ApiServer, Client, Crash, Read
from .controllers import NAMESPACE, Deployments, Jobs
from .trainer_script import Trainer, digest

KINDS = (Kind.POLICY, Kind.MODEL_VERSION, Kind.PROMOTION, Kind.RUN)
USER = "user"
API = "finetune-operator.io/v1alpha1"


@dataclass(frozen=True, slots=True)
class Story:
    """One story: the trainer's figures, versions that never become ready, and what the reviewer says."""

    name: str
    trainer: Trainer
    ends: str
    live: str
    broken: frozenset[str] = frozenset()
    approves: bool = False
    compares: bool = False
    """The policy asks for the third gate."""


STORIES = (
    Story("pass", Trainer(), ends="Promoted", live="ft_v1.1"),
    Story("reject", Trainer(candidate="0.900000"), ends="Rejected", live="base_v1"),
    Story("review", Trainer(candidate="0.951000"), ends="Promoted", live="ft_v1.1", approves=True),
    Story("failed rollout", Trainer(), ends="RolledBack", live="base_v1", broken=frozenset(("ft_v1.1",))),
)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an object: when, the state of the API server before it, and what the operator read for it.

    None where it failed: then anything that is written may be what helps.
    """

    at: datetime
    state: tuple[int, int]
    reads: list[Read] | None


@dataclass
class World:
    """The API server with its controllers, the user, and the operator's process."""

    story: Story
    crash_at: tuple[int, str] | None = None
    server: ApiServer = field(default_factory=ApiServer)
    wrap: Callable[[Client], Cluster] | None = None
    """Puts something between the operator and its client: planted bugs."""
    signals: Signals | None = None
    """What the operator hears of alerts and series; None: it knows no Prometheus."""
    crashes: int = 0
    events: list[tuple[str, str]] = field(default_factory=list)
    refused_events: list[str] = field(default_factory=list)
    """What the API server would not have taken of Events, and why."""
    metrics: list[RecordMetric] = field(default_factory=list)
    due: dict[tuple[Kind, str], datetime] = field(default_factory=dict)
    looked: dict[tuple[Kind, str], Look] = field(default_factory=dict)
    """The last look at each object, by this life of the operator."""
    failures: dict[tuple[Kind, str], int] = field(default_factory=dict)
    """How many times in a row the API server refused something of an object."""
    nonces: int = 0
    """How many the operator drew over all its lives."""

    def __post_init__(self) -> None:
        """Set the stage: a cluster with the base imported, policy, templates, Deployment, and a run applied."""
        self.jobs = Jobs(self.server, self.story.trainer)
        self.deployments = Deployments(self.server, self.story.broken)
        self.client = Client(self.server, crash_at=self.crash_at)
        self.operator = self._start_operator()
        for kind, manifest in stage(compares=self.story.compares):
            self.server.create(USER, kind, NAMESPACE, manifest)

    def _start_operator(self) -> Reconciler:
        """Return a new life of the operator: it remembers nothing but what the API server holds."""
        return self.operator_on(self.wrap(self.client) if self.wrap else self.client)

    def operator_on(self, cluster: Cluster) -> Reconciler:
        """Return a life of the operator that reaches the API server by this, and lives by the story's clocks."""
        return Reconciler(
            cluster=cluster,
            observer=Observer(cluster, self.nonce, self.signals),
            outlets=Outlets(self._record, self._record_metric),
            clock=lambda: self.server.now,
            steady=self._steady,
        )

    def nonce(self) -> str:
        """Return one that no other attempt has."""
        self.nonces += 1
        return f"nonce-{self.nonces - 1}"

    def _steady(self) -> float:
        """Give virtual time in seconds: however the operator's wall clock is set, this goes on."""
        return self.server.now.timestamp()

    def _record(self, regarding: Regarding, emit: Emit) -> None:
        self.events.append((regarding.name, emit.reason))
        manifest = build_event(emit, regarding, self.server.now, "simulation")
        self.refused_events += [f"Event {emit.reason}: {why}" for why in refusals_of_event(manifest)]

    def _record_metric(self, action: RecordMetric) -> None:
        assert set(DOMAIN[action.metric].labels) == action.labels.keys()
        self.metrics.append(action)

    def play(self, *, hours: float = 3) -> None:
        """Let everybody act until nothing changes and no timer is left. Raises AssertionError if that never comes."""
        end = self.server.now + timedelta(hours=hours)
        while self.server.now < end:
            self.settle()
            upcoming = [t for t in (self.jobs.next_event(), self.deployments.next_event(), *self.due.values()) if t]
            upcoming = [t for t in upcoming if t > self.server.now]
            if not upcoming or self.at_rest():
                return
            self.server.now = min(upcoming)
        raise AssertionError(f"not at rest after {hours} virtual hours: {self.summary()}")

    def at_rest(self) -> bool:
        """Tell whether the run has ended, and no flight or Job is left."""
        if self.server.get(Kind.RUN, NAMESPACE, "first") is None:
            return False
        conditions = self.get(Kind.RUN, "first")["status"].get("conditions", ())
        policy = self.get(Kind.POLICY, "invoice-fields")
        finished = any(c["type"] == "Finished" and c["status"] == "True" for c in conditions)
        return finished and not policy["status"].get("inFlight") and self.jobs.next_event() is None

    def get(self, kind: Kind, name: str) -> Object:
        """Return an object that must be there."""
        obj = self.server.get(kind, NAMESPACE, name)
        assert obj is not None, f"{name} is gone"
        return obj | {"status": obj.get("status") or {}}

    def resync(self, seconds: float) -> None:
        """Let time pass, and have every object looked at, whether a timer asks for that or not."""
        self.server.advance(seconds)
        self.looked.clear()
        self.settle()

    def settle(self) -> None:
        """Let everybody act at this moment of virtual time until nobody writes any more."""
        for _ in range(200):
            before = (len(self.server.log), self.crashes)
            self.jobs.tick()
            self.deployments.tick()
            self.server.collect_garbage()
            self._user()
            self._operator()
            if (len(self.server.log), self.crashes) == before:
                return
        raise AssertionError(f"the world never settles at one moment: {self.summary()}")

    def _operator(self) -> None:
        """Reconcile every object once; a crash ends the pass, and the next life begins with nothing remembered."""
        try:
            run_to_end(self._reconcile_all())
        except Crash:
            self.restart()

    def restart(self) -> None:
        """Begin the operator's next life."""
        self.crashes += 1
        self.due.clear()
        self.looked.clear()
        self.operator = self._start_operator()

    async def _reconcile_all(self) -> None:
        # The watch tells of deletions, and the queue forgets the timers of what is gone.
        self.due = {key: at for key, at in self.due.items() if self.server.get(key[0], NAMESPACE, key[1])}
        for kind in KINDS:
            for item in self.server.list(kind, NAMESPACE):
                await self._reconcile(ObjectRef(kind, NAMESPACE, item["metadata"]["name"]))

    async def _reconcile(self, key: ObjectRef) -> None:
        """Look at an object when its timer is due, or it would read something else by now: time alone wakes nobody.

        More wakes it here than its watches would. What Prometheus says may be another thing at every moment.
        """
        due, look = self.due.get((key.kind, key.name)), self.looked.get((key.kind, key.name))
        is_due = due is not None and due <= self.server.now
        if not is_due and look is not None and self._would_read_the_same(key, look):
            return
        reads: list[Read] = []
        self.client.written_down = reads
        self.looked[(key.kind, key.name)] = Look(self.server.now, self.server.state, reads)
        self.due.pop((key.kind, key.name), None)
        try:
            outcome = await self.operator.reconcile(key)
        except ClusterError as error:
            # The loop looks again after a back-off, which doubles from a second to a minute, or what a flight allows.
            self.looked[(key.kind, key.name)] = replace(self.looked[(key.kind, key.name)], reads=None)
            failures = self.failures[(key.kind, key.name)] = self.failures.get((key.kind, key.name), 0) + 1
            pause = timedelta(seconds=min(2.0 ** (failures - 1), 60))
            self.due[(key.kind, key.name)] = self.server.now + min(pause, error.within or pause)
            return
        self.failures.pop((key.kind, key.name), None)
        if outcome.again:
            del self.looked[(key.kind, key.name)]
        if outcome.after is not None:
            self.due[(key.kind, key.name)] = self.server.now + max(outcome.after, timedelta(seconds=1))

    def _would_read_the_same(self, key: ObjectRef, look: Look) -> bool:
        """Tell whether all that was read then is still so; a decision hangs on nothing else but time."""
        (written, restores), state = look.state, self.server.state
        if look.reads is None:
            return look.state == state
        if restores != state[1] or (self.signals is not None and look.at != self.server.now):
            return False
        kinds = {write.kind for write in self.server.log[written:]}
        if not all(read.is_current(self.server) for read in look.reads if read.kind in kinds):
            return False
        self.looked[(key.kind, key.name)] = Look(look.at, state, look.reads)
        return True

    def _user(self) -> None:
        """Promote the base first; approve when the story says so."""
        if self.server.get(Kind.PROMOTION, NAMESPACE, "first-base") is None:
            base = self.get(Kind.MODEL_VERSION, "invoice-fields-base-v1")
            if base["status"].get("phase") == "Verified":
                self.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion("first-base", "base_v1"))
        live = (self.get(Kind.POLICY, "invoice-fields")["status"].get("live") or {}).get("version")
        if live and self.server.get(Kind.RUN, NAMESPACE, "first") is None:
            self.server.create(USER, Kind.RUN, NAMESPACE, run())
        if self.story.approves and self.server.get(Kind.RUN, NAMESPACE, "first") is not None:
            self._approve()

    def _approve(self) -> None:
        item = self.get(Kind.RUN, "first")
        if item["status"].get("phase") == "InReview" and "review" not in item["spec"]:
            review = {
                "decision": "Approve",
                "evidence": item["status"]["evidence"]["digest"],
                "by": "ann",
                "reason": "looked",
            }
            self.server.update_spec(USER, Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(review=review))

    def summary(self) -> dict[str, Any]:
        """Return the end state with everything that may differ from life to life (uids, times) left out."""
        obj = self.server.get(Kind.RUN, NAMESPACE, "first") or {}
        status = obj.get("status") or {}
        policy = (self.server.get(Kind.POLICY, NAMESPACE, "invoice-fields") or {}).get("status") or {}
        deployment = self.get(Kind.DEPLOYMENT, "invoice-detector")
        annotations = deployment["spec"]["template"]["metadata"].get("annotations") or {}
        return {
            "phase": status.get("phase"),
            "verdict": status.get("verdict"),
            "gates": [(g["name"], g["verdict"], g.get("value")) for g in status.get("gates", ())],
            "version": status.get("version"),
            "live": (policy.get("live") or {}).get("version"),
            "hold": (policy.get("hold") or {}).get("reason"),
            "quarantined": [q["version"] for q in policy.get("quarantined", ())],
            "judged": [entry["run"] for entry in policy.get("judged", ())],
            "consumed": sorted((c["name"].rpartition("-")[0], c["outcome"]) for c in policy.get("consumed", ())),
            "served": annotations.get("finetune-operator.io/model-version"),
            "epoch": (deployment["metadata"].get("annotations") or {}).get("finetune-operator.io/epoch"),
            "versions": [
                (v["spec"]["version"], (v.get("status") or {}).get("phase"))
                for v in self.server.list(Kind.MODEL_VERSION, NAMESPACE)
            ],
            "jobs": sorted(name.rsplit("-", 1)[0] for name, _ in self.jobs.created),
        }


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits; an event loop would only cost time."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("the simulated API server answers at once, so nothing may wait")


def stage(*, compares: bool = False) -> list[tuple[Kind, Object]]:
    """Return the objects that are there before the story begins; `compares`: the policy asks for the third gate."""
    return [
        (Kind.POD_TEMPLATE, _template("gpu-trainer")),
        (Kind.POD_TEMPLATE, _template("cpu-trainer")),
        (Kind.DEPLOYMENT, _deployment()),
        (Kind.MODEL_VERSION, _base()),
        (Kind.POLICY, _policy(compares=compares)),
    ]


def _template(name: str) -> Object:
    spec = {"containers": [{"name": "trainer", "image": "registry.example/trainer:1"}]}
    labels = {"finetune-operator.io/pod-template": "true"}
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": name, "labels": labels},
        "template": {"spec": spec},
    }


def _deployment() -> Object:
    labels = {"app": "invoice-detector"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "server", "image": "registry.example/server:1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "invoice-detector", "labels": labels | {"finetune-operator.io/managed": "true"}},
        "spec": {
            "replicas": 2,
            "progressDeadlineSeconds": 60,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template,
        },
    }


def _base() -> Object:
    uri = "file:///artifacts/base"
    return {
        "apiVersion": API,
        "kind": "ModelVersion",
        "metadata": {"name": "invoice-fields-base-v1"},
        "spec": {
            "model": "invoice-fields", "version": "base_v1", "type": "Base", "classes": ["number", "total"],
            "artifact": {"uri": f"{uri}/model.onnx", "sha256": digest("base"), "format": "onnx", "bytes": 1000},
            "checkpoint": {"uri": f"{uri}/best.pt", "sha256": digest("base.pt")},
            "serving": {"imageSize": 320, "confidence": "0.25", "nmsIou": "0.7", "maxDetections": 300},
        },
    }  # fmt: skip


def _policy(*, compares: bool) -> Object:
    production = {"production": {"uri": "file:///production"}} if compares else {}
    gates: Object = {"gates": {"production": {}}} if compares else {}
    return {
        "apiVersion": API,
        "kind": "FineTunePolicy",
        "metadata": {"name": "invoice-fields"},
        "spec": {
            "model": "invoice-fields", "deployment": "invoice-detector", "classes": ["number", "total"],
            "data": {"anchor": {"uri": "file:///data/anchor"}, "pool": {"uri": "file:///data/pool"}} | production,
            "artifacts": {"uri": "file:///artifacts"}, "serving": {"imageSize": 320},
            "podTemplates": {"train": "gpu-trainer", "cpu": "cpu-trainer"}, "watch": {"seconds": 20},
            **gates,
        },
    }  # fmt: skip


def promotion(name: str, version: str, **more: object) -> Object:
    """Return a ModelPromotion."""
    spec = {"policy": "invoice-fields", "version": version, "reason": "simulation"} | more
    return {"apiVersion": API, "kind": "ModelPromotion", "metadata": {"name": name}, "spec": spec}


def run(name: str = "first") -> Object:
    """Return the simplest FineTuneRun."""
    return {"apiVersion": API, "kind": "FineTuneRun", "metadata": {"name": name}, "spec": {"policy": "invoice-fields"}}
