"""What the API server refuses or cannot be read is said in the status, and taken back when it is over."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest

from finetune_operator.api.schema import misfit
from finetune_operator.cluster.act import Outlets
from finetune_operator.cluster.errors import (
    AdmissionUnavailable,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    Throttled,
    Unavailable,
)
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.observe import Observed, Observer
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.reach import Away
from finetune_operator.controller import loop as loop_module
from finetune_operator.controller.failures import TRIES
from finetune_operator.controller.loop import OUTAGE, Loop
from finetune_operator.controller.metrics import Metrics
from finetune_operator.controller.queue import WorkQueue
from finetune_operator.controller.reconcile import Outcome, Reconciler
from finetune_operator.controller.words import BURST
from finetune_operator.decide.decision import DeleteJob
from house.virtual_time import run_virtually
from simulation.api_server import ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import run, stage

RUN = ObjectRef(Kind.RUN, NAMESPACE, "first")
POLICY = ObjectRef(Kind.POLICY, NAMESPACE, "invoice-fields")
VERSION = ObjectRef(Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-base-v1")


QUOTA = "exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=3, limited: count/jobs.batch=3"


class Refusing(Client):
    """Refuses to create what it is told to refuse, and to write a status when it is told so."""

    refused: frozenset[Kind] = frozenset()
    error: type[ClusterError] = Forbidden
    words: str = QUOTA
    statuses: bool = False
    unread: frozenset[Kind] = frozenset()
    relabels: str = ""
    strips: bool = False
    """Takes annotations off again, as an admission webhook may."""

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        if kind in self.unread:
            raise self.error(f"{kind.value[2]} is forbidden: {self.words}")
        return await super().get(kind, namespace, name, fresh=fresh)

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        if kind in self.refused:
            raise self.error(f"{kind.value[2]} is forbidden: {self.words}")
        if kind is Kind.JOB and self.relabels:
            labels = {**manifest["metadata"]["labels"], "app.kubernetes.io/managed-by": self.relabels}
            manifest = {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}
        return await super().create(kind, namespace, manifest)

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, patch: Object
    ) -> Object:
        if self.statuses:
            raise self.error(f"{kind.value[2]} is forbidden: {self.words}")
        return await super().patch_status(kind, namespace, name, uid, resource_version, patch)

    async def annotate(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, annotations: Mapping[str, str]
    ) -> Object:
        given: Mapping[str, str] = {} if self.strips else annotations
        return await super().annotate(kind, namespace, name, uid, resource_version, given)


class World:
    """The simulated API server with a ready policy and a run."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.client = Refusing(self.server)
        for kind, manifest in stage():
            self.server.create("user", kind, NAMESPACE, manifest)
        # Named, the base need not be verified first.
        asked = run()
        self.server.create("user", Kind.RUN, NAMESPACE, asked | {"spec": {**asked["spec"], "baseVersion": "base_v1"}})
        self.events: list[tuple[str, str]] = []
        outlets = Outlets(
            events=lambda regarding, emit: self.events.append((regarding.kind, emit.reason)),
            metrics=lambda action: None,
        )
        self.reconciler = Reconciler(self.client, Observer(self.client), outlets, self.now)
        self.reconcile(POLICY, VERSION)

    def now(self) -> Any:
        return self.server.now

    def reconcile(self, *keys: ObjectRef) -> Outcome:
        for key in keys:
            outcome = asyncio.run(self.reconciler.reconcile(key))
        return outcome

    def refuse(self, *keys: ObjectRef, tries: int = 3) -> None:
        """Reconcile each of the keys some times; every try is refused."""
        for key in keys:
            for _ in range(tries):
                with pytest.raises(Forbidden):
                    self.reconcile(key)

    def warned(self, reason: str) -> int:
        return [said for _, said in self.events].count(reason)

    def get(self, key: ObjectRef) -> Any:
        return self.server.get(key.kind, key.namespace, key.name)

    def condition(self, key: ObjectRef, kind: str) -> Any:
        return next(c for c in self.get(key)["status"]["conditions"] if c["type"] == kind)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.row("R50")
def test_a_refused_job_is_said_in_the_status_within_two_tries_and_forgotten_when_it_works(world: World) -> None:
    world.client.refused = frozenset((Kind.JOB,))
    world.refuse(RUN, tries=2)
    assert "exceeded quota" in world.get(RUN)["status"]["message"]
    before = len(world.server.log)
    world.server.advance(30)
    world.refuse(RUN)
    assert len(world.server.log) == before  # said once, not at every try
    assert world.condition(RUN, "Prepared")["reason"] == "QuotaExceeded"
    assert world.condition(RUN, "Prepared")["status"] == "False"
    assert world.condition(RUN, "Accepted")["status"] == "True"
    assert world.warned("QuotaExceeded") == 1
    world.client.refused = frozenset()
    assert world.reconcile(RUN).again
    world.reconcile(RUN)
    assert "exceeded quota" not in world.get(RUN)["status"]["message"]
    assert world.condition(RUN, "Prepared")["reason"] == "Running"


def test_words_that_differ_at_every_try_are_not_written_at_every_try(world: World) -> None:
    world.client.refused = frozenset((Kind.JOB,))
    world.refuse(RUN, tries=2)
    before = len(world.server.log)
    for port in range(20):
        world.client.words = f"exceeded quota, as 10.0.0.1:{port} says"
        world.refuse(RUN, tries=1)
    assert len(world.server.log) == before
    world.server.advance(61)
    world.refuse(RUN, tries=2)
    assert len(world.server.log) == before + 1
    assert "10.0.0.1:19" in world.condition(RUN, "Prepared")["message"]
    assert world.warned("QuotaExceeded") == 1


@pytest.mark.row("R323")
def test_words_of_a_refusal_are_written_anew_when_the_clock_was_set_back(world: World) -> None:
    world.client.refused = frozenset((Kind.JOB,))
    world.refuse(RUN, tries=2)
    world.client.words = "exceeded quota, as another one says"
    world.server.advance(-3600)
    world.refuse(RUN, tries=2)
    assert "another one" in world.condition(RUN, "Prepared")["message"]


@pytest.mark.row("R55")
def test_a_scheduler_that_says_something_else_each_second_is_quoted_a_few_times_and_then_once_a_minute(
    world: World,
) -> None:
    world.reconcile(RUN, RUN)
    (job,) = world.server.list(Kind.JOB, NAMESPACE, {"finetune-operator.io/step": "prepare"})
    owner = {"kind": "Job", "name": "j", "uid": job["metadata"]["uid"], "controller": True}
    meta = {"name": "p", "labels": job["metadata"]["labels"], "ownerReferences": [owner]}
    pod = {"metadata": meta, "spec": job["spec"]["template"]["spec"]}
    world.server.create("jobs", Kind.POD, NAMESPACE, pod)
    before = len(world.server.log)
    for second in range(130):
        world.server.advance(1)
        full = {"type": "PodScheduled", "status": "False", "message": f"0/{second} nodes are available"}
        metadata = world.server.get(Kind.POD, NAMESPACE, "p")["metadata"]  # type: ignore[index]
        status = {"status": {"phase": "Pending", "conditions": [full]}}
        world.server.patch_status(
            "kubelet", Kind.POD, NAMESPACE, "p", metadata["uid"], metadata["resourceVersion"], status
        )
        after = world.reconcile(RUN).after
    writes = [write for write in world.server.log[before:] if write.kind is Kind.RUN]
    assert len(writes) == 1 + BURST + 2  # the reason, the first words, one a minute
    assert after is not None, "what was not written is written later"
    world.server.advance(60)
    world.reconcile(RUN)
    assert "0/129 nodes" in world.get(RUN)["status"]["message"]
    assert world.warned("Unschedulable") == 1


def test_another_reason_is_another_event_and_shows_at_once(world: World) -> None:
    world.client.refused = frozenset((Kind.JOB,))
    world.refuse(RUN, tries=2)
    world.client.error, world.client.words = AdmissionUnavailable, 'failed calling webhook "vjob.kb.io": EOF'
    world.refuse(RUN)
    assert world.condition(RUN, "Prepared")["reason"] == "AdmissionUnavailable"
    assert "kubectl get validatingwebhookconfigurations" in world.condition(RUN, "Prepared")["message"]
    world.client.error, world.client.words = Forbidden, "Jobs need the label cost-centre"
    world.refuse(RUN)
    assert world.condition(RUN, "Prepared")["reason"] == "JobRefused"
    assert [world.warned(r) for r in ("QuotaExceeded", "AdmissionUnavailable", "JobRefused")] == [1, 1, 1]


def test_a_refused_snapshot_is_said_in_accepted_and_taken_back(world: World) -> None:
    world.client.refused, world.client.words = frozenset((Kind.CONFIG_MAP,)), "not in this namespace"
    world.refuse(RUN)
    assert world.condition(RUN, "Accepted")["reason"] == "WriteRefused"
    assert "ConfigMap 'first-document-" in world.condition(RUN, "Accepted")["message"]
    world.client.refused = frozenset()
    world.reconcile(RUN, RUN)
    assert world.condition(RUN, "Accepted")["status"] == "True"
    assert world.warned("WriteRefused") == 1


def test_a_refused_verification_says_so_and_goes_on_when_it_may(world: World) -> None:
    world.server.delete("user", Kind.JOB, NAMESPACE, world.server.list(Kind.JOB, NAMESPACE)[0]["metadata"]["name"])
    again = ObjectRef(Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-base-v2")
    base = dict(stage())[Kind.MODEL_VERSION]
    manifest = {**base, "metadata": {"name": again.name}, "spec": {**base["spec"], "version": "base_v2"}}
    world.server.create("user", Kind.MODEL_VERSION, NAMESPACE, manifest)
    world.client.refused = frozenset((Kind.JOB,))
    world.refuse(again)
    verified = world.condition(again, "Verified")
    assert (verified["status"], verified["reason"]) == ("Unknown", "QuotaExceeded")
    assert "exceeded quota" in world.get(again)["status"]["message"]
    assert world.warned("QuotaExceeded") == 1
    world.client.refused = frozenset()
    world.reconcile(again, again)
    assert world.condition(again, "Verified")["reason"] == "Running"


def test_a_status_that_cannot_be_written_is_told_by_one_event(world: World) -> None:
    world.client.statuses = True
    world.refuse(RUN, tries=5)
    assert world.events[-1] == ("FineTuneRun", "QuotaExceeded")
    assert world.warned("QuotaExceeded") == 1
    world.client.statuses = False
    world.reconcile(RUN, RUN)
    assert world.condition(RUN, "Accepted")["status"] == "True"


@pytest.mark.row("R50")
def test_a_job_whose_label_admission_took_counts_as_refused(world: World) -> None:
    world.client.relabels = "argocd"
    with pytest.raises(Invalid, match=r"admission took the label app\.kubernetes\.io/managed-by"):
        world.reconcile(RUN)  # a real watch brings no Job without it: each look is refused so


@pytest.mark.row("R50")
def test_what_may_not_be_read_is_said_once_and_forgotten_when_it_may(world: World) -> None:
    world.reconcile(RUN)
    world.client.unread = frozenset((Kind.CONFIG_MAP,))
    world.refuse(RUN)
    before = len(world.server.log)
    world.server.advance(30)
    world.refuse(RUN)
    assert len(world.server.log) == before, "said once, not at every try"
    assert "may not read" in world.get(RUN)["status"]["message"]
    assert "configmaps is forbidden" in world.get(RUN)["status"]["message"]
    assert world.warned("ReadRefused") == 1
    world.client.unread = frozenset()
    world.reconcile(RUN)
    assert world.get(RUN)["status"]["message"].startswith("prepare, attempt 1")
    assert world.warned("WriteRefused") == 0


def test_an_object_that_cannot_be_read_gets_a_condition_and_no_retry(world: World) -> None:
    world.server.update_spec("user", Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(backoffLimit="many"))
    assert world.reconcile(RUN).wrote
    accepted = world.condition(RUN, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "Invalid")
    assert "backoffLimit" in accepted["message"]
    assert not world.reconcile(RUN).wrote


def test_an_invalid_policy_says_so_and_stops_nobody_else(world: World) -> None:
    world.server.update_spec("user", Kind.POLICY, NAMESPACE, "invoice-fields", lambda o: o["spec"].update(classes=7))
    world.reconcile(POLICY)
    assert world.condition(POLICY, "Ready")["reason"] == "Invalid"
    world.reconcile(RUN)
    assert world.condition(RUN, "Accepted")["status"] == "False"


RECORD = "finetune-operator.io/service-record"


def with_a_good_base(world: World) -> None:
    """Have the policy remember that its base was good: the version is to have a record of that."""
    spec, metadata = world.get(VERSION)["spec"], world.get(POLICY)["metadata"]
    artifact = {part: spec["artifact"][part] for part in ("uri", "sha256")}
    served = {"version": spec["version"], "modelVersion": VERSION.name, **artifact}
    live = {**served, "epoch": 1, "since": "2026-11-21T12:00:00Z"}
    status = {"status": {"live": live, "lastGood": [served]}}
    world.server.patch_status(
        "restore", Kind.POLICY, NAMESPACE, POLICY.name, metadata["uid"], metadata["resourceVersion"], status
    )


@pytest.mark.row("R325")
def test_what_admission_takes_off_again_is_not_written_as_fast_as_the_api_server_takes_it(world: World) -> None:
    with_a_good_base(world)
    world.client.strips = True
    looks = []
    for pause in (0, 0, 0, 1, 2, 4):
        world.server.advance(pause)
        looks.append(world.reconcile(VERSION))
    assert [look.again for look in looks] == [True, True, False, False, False, False]
    assert [look.after for look in looks[2:]] == [timedelta(seconds=pause) for pause in (1, 2, 4, 8)]
    world.client.strips = False
    world.server.advance(8)
    world.reconcile(VERSION)
    assert "good" in world.get(VERSION)["metadata"]["annotations"][RECORD]
    assert not world.reconcile(VERSION).again


@pytest.mark.row("R325")
def test_who_takes_off_what_is_written_as_soon_as_it_is_there_is_not_fought_at_that_speed(world: World) -> None:
    """Each of the two writes wakes the object, whatever pause it was given."""
    with_a_good_base(world)

    def written_again(looks: int) -> int:
        before = sum(write.verb == "annotate" for write in world.server.log)
        for _ in range(looks):
            world.reconcile(VERSION)
            world.reconcile(VERSION)  # by its own write
            world.server.update_spec(
                "policeman", Kind.MODEL_VERSION, NAMESPACE, VERSION.name,
                lambda version: version["metadata"].get("annotations", {}).pop(RECORD, None),
            )  # fmt: skip
        return sum(write.verb == "annotate" for write in world.server.log) - before

    assert written_again(20) == 3
    world.server.advance(1)
    assert written_again(20) == 1
    world.server.advance(1)
    assert written_again(20) == 0
    waits = world.reconcile(VERSION)
    assert (waits.wrote, waits.again, waits.after) == (False, False, timedelta(seconds=1))


@pytest.mark.row("R325")
def test_two_who_fight_over_a_record_have_it_written_no_faster_than_one(world: World) -> None:
    """What each puts into it stays in it, so that the operator writes another text after each of their words."""
    with_a_good_base(world)
    sha256 = world.get(VERSION)["spec"]["artifact"]["sha256"]

    def writes(number: int, version: Object) -> None:
        elsewhere = {f"deployment-{number % 2}": {"good": f"2026-11-20T12:00:{number:02}Z"}}
        record = json.dumps({"sha256": sha256, "deployments": elsewhere})
        version["metadata"].update(annotations={RECORD: record})

    before = len(world.server.log)
    for number in range(40):
        world.reconcile(VERSION)
        world.server.update_spec("they", Kind.MODEL_VERSION, NAMESPACE, VERSION.name, partial(writes, number))
    ours = (write.after for write in world.server.log[before:] if write.verb == "annotate")
    texts = [after["metadata"]["annotations"][RECORD] for after in ours if after is not None]
    assert len(set(texts)) == len(texts) == 3
    assert world.reconcile(VERSION).after == timedelta(seconds=1)


def test_a_deleted_object_is_gone_and_a_dying_one_is_left_alone(world: World) -> None:
    world.server.update_spec(
        "user", Kind.RUN, NAMESPACE, "first", lambda o: o["metadata"].update(deletionTimestamp="2026-11-21T12:00:00Z")
    )
    before = len(world.server.log)
    assert world.reconcile(RUN) == Outcome()
    assert len(world.server.log) == before
    world.server.delete("user", Kind.RUN, NAMESPACE, "first")
    assert world.reconcile(RUN).gone


def test_what_is_gone_leaves_nothing_in_memory(world: World, broken: set[Kind]) -> None:
    world.client.statuses = True
    world.refuse(RUN, tries=3)
    broken.add(Kind.RUN)
    fail(world, RUN)
    reconciler, uid = world.reconciler, world.get(RUN)["metadata"]["uid"]
    reconciler._words.wait(uid, world.now())
    reconciler._repeats.pause(uid, (DeleteJob("job", "uid-of-job"),), 0.0)
    remembered: dict[str, Any] = {
        "refusals": reconciler._refused, "Events": reconciler._posted, "words": reconciler._words._left,
        "failures": reconciler._failures._known, "time": reconciler._stopwatch._laps,
        "repeats": reconciler._repeats._known,
    }  # fmt: skip
    assert [what for what, known in remembered.items() if uid not in known] == []
    reconciler.forget(uid)
    assert [what for what, known in remembered.items() if uid in known] == []


def test_what_goes_while_it_is_looked_at_leaves_nothing_in_memory(world: World) -> None:
    """The watch tells of it in the middle of the look, which goes on to remember what it saw."""
    world.reconcile(RUN)
    uid = world.get(RUN)["metadata"]["uid"]
    observe = world.reconciler.observer.observe

    async def goes(kind: Kind, raw: Object, now: datetime) -> Observed[Any]:
        seen = await observe(kind, raw, now)
        world.server.delete("user", Kind.RUN, NAMESPACE, RUN.name)
        world.reconciler.forget(uid)
        return seen

    world.reconciler.observer.observe = goes  # type: ignore[method-assign]
    with contextlib.suppress(ClusterError):
        world.reconcile(RUN)
    assert uid not in world.reconciler._stopwatch._laps


@pytest.mark.row("D58")
def test_what_a_decision_sees_is_timed_by_the_clock_that_nobody_sets(world: World) -> None:
    steady = [7.0]
    outlets = Outlets(events=lambda regarding, emit: None, metrics=lambda action: None)
    reconciler = Reconciler(world.client, Observer(world.client), outlets, world.now, lambda: steady[0])

    def seen(key: ObjectRef) -> Any:
        observed = asyncio.run(reconciler.observer.observe(key.kind, world.get(key), world.now()))
        return reconciler._timed(observed, world.now()).view.observed

    for key in (POLICY, RUN, VERSION):
        first = seen(key)
        assert first is not None, "else the wall clock speaks"
        world.server.advance(3600)
        steady[0] += 5
        assert seen(key) - first == timedelta(seconds=5)


class Scripted:
    """A reconciler that does as it is told."""

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.outcomes = list(outcomes)
        self.tries = 0

    async def reconcile(self, key: ObjectRef) -> Outcome:
        self.tries += 1
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Asked(Client):
    """Counts what is read past the cache."""

    fresh: int = 0

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        self.fresh += fresh
        return await super().get(kind, namespace, name)


def played(*outcomes: Outcome | Exception, seconds: float = 1.5, client: Client | None = None) -> tuple[Scripted, Loop]:
    """Let one worker work on one key for a while."""

    async def story() -> tuple[Scripted, Loop]:
        scripted = Scripted(*outcomes)
        queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, asyncio.get_running_loop().time, lambda: 0.0)
        loop = Loop(queue, scripted, client or Client(ApiServer()), Metrics())  # type: ignore[arg-type]
        queue.wake(RUN)
        worker = asyncio.create_task(loop.worker())
        await asyncio.sleep(seconds)
        assert not worker.done()
        queue.close()
        worker.cancel()
        return scripted, loop

    return run_virtually(story())


def test_webhooks_that_are_down_are_no_outage_of_the_api_server() -> None:
    _, loop = played(*[AdmissionUnavailable("failed calling webhook")] * (OUTAGE * 2), seconds=0.7)
    assert not loop.is_outage()


@pytest.mark.parametrize("answer", [Conflict("moved"), Forbidden("no"), Outcome()])
def test_any_answer_ends_what_looked_like_an_outage(answer: Outcome | Exception) -> None:
    """Else ten requests that timed out, in however many days, would leave one worker."""

    async def story() -> bool:
        scripted = Scripted(*[Unavailable("away")] * (OUTAGE - 1), answer, Unavailable("away"))
        queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, asyncio.get_running_loop().time, lambda: 0.0)
        loop = Loop(queue, scripted, Client(ApiServer()), Metrics())  # type: ignore[arg-type]
        for number in range(OUTAGE + 1):
            queue.wake(ObjectRef(Kind.RUN, "ml", f"r-{number}"))
            key = await queue.take()
            assert key is not None
            await loop.work(key)
        assert scripted.tries == OUTAGE + 1
        return loop.is_outage()

    assert not run_virtually(story())


@pytest.mark.parametrize("error", [Conflict("moved"), Unavailable("away"), Forbidden("no"), ClusterError("odd")])
def test_a_refusal_is_tried_again_soon(error: ClusterError) -> None:
    scripted, _ = played(error)
    assert scripted.tries == 2


def test_an_api_server_that_throttles_is_left_alone_for_as_long_as_it_asks() -> None:
    assert played(Throttled("too many requests"), seconds=0.5)[0].tries == 1
    assert played(Throttled("too many requests"), seconds=1.5)[0].tries == 2
    assert played(Throttled("too many requests", after=2), seconds=1.5)[0].tries == 1


@pytest.mark.parametrize(("error", "reads"), [(Conflict("moved"), 1), (Forbidden("no"), 0)])
def test_what_moved_since_it_was_looked_at_is_read_past_the_cache_before_the_next_try(
    error: ClusterError, reads: int
) -> None:
    asked = Asked(ApiServer())
    assert played(error, client=asked)[0].tries == 2
    assert asked.fresh == reads


@pytest.mark.parametrize(
    ("error", "doubted"),
    [(Forbidden("no"), ["ml"]), (AdmissionUnavailable("no webhook"), []), (Invalid("bad"), []), (Away("gone"), [])],
)
def test_only_a_forbidden_write_casts_doubt_on_its_namespace(error: ClusterError, doubted: list[str]) -> None:
    heard: list[str] = []

    async def story() -> None:
        queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, asyncio.get_running_loop().time, lambda: 0.0)
        client = Client(ApiServer())
        loop = Loop(queue, Scripted(error), client, Metrics(), doubt=heard.append)  # type: ignore[arg-type]
        queue.wake(RUN)
        key = await queue.take()
        assert key is not None
        await loop.work(key)

    run_virtually(story())
    assert heard == doubted


def test_what_is_away_is_not_tried_before_it_is_back() -> None:
    assert played(Away("gone"))[0].tries == 1


def test_a_bug_with_one_object_stops_nobody_and_is_not_tried_in_a_tight_loop() -> None:
    scripted, loop = played(KeyError("a bug"))
    assert scripted.tries == 1
    assert 'kind="finetuneruns",outcome="error"} 1.0' in loop.metrics.text().decode()


def test_an_object_with_a_bug_is_tried_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "BUG_PAUSE", 0.2)
    assert played(KeyError("a bug"), seconds=0.5)[0].tries == 2


def test_a_decision_that_asks_for_another_look_at_once_again_and_again_does_not_run_hot() -> None:
    assert played(*[Outcome(after=timedelta(0))] * 1000, seconds=0.55)[0].tries == 6


def test_what_could_not_do_all_at_once_is_looked_at_again() -> None:
    assert played(Outcome(again=True), seconds=0.3)[0].tries == 2


def test_a_settled_key_is_not_looked_at_again() -> None:
    assert played()[0].tries == 1


def test_an_outage_is_asked_about_by_one_worker_and_ends_with_the_first_answer() -> None:
    async def story() -> int:
        down = [Unavailable("away")] * (OUTAGE + 2)
        scripted = Scripted(*down)
        queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, asyncio.get_running_loop().time, lambda: 0.0)
        loop = Loop(queue, scripted, Client(ApiServer()), Metrics())  # type: ignore[arg-type]
        for number in range(40):
            queue.wake(ObjectRef(Kind.RUN, "ml", f"r-{number}"))
        workers = [asyncio.create_task(loop.worker()) for _ in range(OUTAGE)]
        await asyncio.sleep(0.5)
        tries = scripted.tries
        assert loop.is_outage()
        await asyncio.sleep(4)
        assert not loop.is_outage()
        assert scripted.tries >= 40
        for worker in workers:
            worker.cancel()
        return tries

    assert run_virtually(story()) <= OUTAGE + 2


class Broken(Exception):
    """A bug of the operator."""


@pytest.fixture
def broken(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A world in which the observer has a bug for the kinds that are named."""
    kinds: set[Kind] = set()
    observe = Observer.observe

    async def failing(self: Observer, kind: Kind, raw: Object, now: Any) -> Any:
        if kind in kinds:
            raise Broken("list index out of range; see https://user:secret@example/x?token=1")
        return await observe(self, kind, raw, now)

    monkeypatch.setattr(Observer, "observe", failing)
    return kinds


def fail(world: World, key: ObjectRef, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Broken):
            world.reconcile(key)


@pytest.mark.row("R88")
def test_a_bug_is_said_in_the_object_once_and_is_gone_when_it_is_mended(world: World, broken: set[Kind]) -> None:
    world.reconcile(RUN)
    broken.add(Kind.RUN)
    before = len(world.server.log)
    fail(world, RUN, 5)
    assert len(world.server.log) == before + 1, "said once"
    said = world.condition(RUN, "Reconciled")
    assert (said["status"], said["reason"]) == ("False", "ReconcileFailed")
    assert "Broken in " in said["message"]
    assert ".py:" in said["message"]
    assert "secret" not in said["message"]
    assert world.get(RUN)["status"]["message"] == said["message"]
    assert world.warned("ReconcileFailed") == 1
    world.reconcile(POLICY, VERSION)
    broken.clear()
    world.reconcile(RUN)
    assert all(c["type"] != "Reconciled" for c in world.get(RUN)["status"]["conditions"])
    assert "Broken" not in str(world.get(RUN)["status"])


@pytest.mark.row("R88")
def test_a_run_that_the_operator_fails_on_again_and_again_ends(world: World, broken: set[Kind]) -> None:
    world.reconcile(RUN)
    broken.add(Kind.RUN)
    fail(world, RUN, TRIES - 1)
    assert world.get(RUN)["status"]["phase"] != "Failed"
    fail(world, RUN)
    status = world.get(RUN)["status"]
    assert status["phase"] == "Failed"
    assert world.condition(RUN, "Finished")["reason"] == "ReconcileFailed"
    assert misfit("FineTuneRun", "status", status) is None
    before = len(world.server.log)
    fail(world, RUN, 5)
    assert len(world.server.log) == before


@pytest.mark.row("R88")
def test_failures_that_are_over_count_no_more(world: World, broken: set[Kind]) -> None:
    world.reconcile(RUN)
    for _ in range(2):
        broken.add(Kind.RUN)
        fail(world, RUN, TRIES - 1)
        broken.clear()
        world.reconcile(RUN)
    assert world.get(RUN)["status"]["phase"] != "Failed"


@pytest.mark.row("R88")
def test_a_bug_whose_words_differ_each_time_is_said_once_and_ends_a_run_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address or a counter in an error's words: else each try writes, and none is the thirtieth."""
    numbers = count()

    async def failing(*_: Any) -> Any:
        raise Broken(f"<object at 0x{next(numbers):08x}>")

    world.reconcile(RUN)
    monkeypatch.setattr(Observer, "observe", failing)
    before = len(world.server.log)
    fail(world, RUN, TRIES - 1)
    assert len(world.server.log) == before + 1
    fail(world, RUN)
    assert world.get(RUN)["status"]["phase"] == "Failed"
    assert world.condition(RUN, "Finished")["reason"] == "ReconcileFailed"


@pytest.mark.row("R88")
@pytest.mark.parametrize("key", [POLICY, VERSION], ids=["policy", "version"])
def test_what_serves_is_tried_again_without_end(world: World, broken: set[Kind], key: ObjectRef) -> None:
    conditions = world.get(key)["status"]["conditions"]
    broken.add(key.kind)
    fail(world, key, TRIES + 5)
    after = world.get(key)["status"]["conditions"]
    assert [c for c in after if c["type"] != "Reconciled"] == conditions, "nothing else is said of it"
    broken.clear()
    world.reconcile(key)
    assert world.get(key)["status"]["conditions"] == conditions


@pytest.mark.row("R88")
def test_a_status_that_the_api_server_will_never_take_is_said_by_a_smaller_patch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.reconcile(RUN)
    world.client.statuses, world.client.error = True, Invalid
    patch = world.client.patch_status

    async def small(*where: Any) -> Object:
        world.client.statuses = set(where[-1]["status"]) - {"conditions", "message"} != set()
        return await patch(*where)

    monkeypatch.setattr(world.client, "patch_status", small)
    world.server.update_spec("user", Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(suspend=True))
    with pytest.raises(Invalid):
        world.reconcile(RUN)
    assert "the API server refuses its status" in world.condition(RUN, "Reconciled")["message"]
