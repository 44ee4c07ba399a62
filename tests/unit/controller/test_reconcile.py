"""What the API server refuses or cannot be read is said in the status, and taken back when it is over."""

import asyncio
import contextlib
import json
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from finetune_operator.cluster.act import Outlets
from finetune_operator.cluster.errors import (
    AdmissionUnavailable,
    ClusterError,
    Forbidden,
    Invalid,
)
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.observe import Observed, Observer
from finetune_operator.cluster.port import Object
from finetune_operator.controller.reconcile import Outcome, Reconciler
from finetune_operator.controller.words import BURST
from finetune_operator.decide.decision import DeleteJob
from simulation.controllers import NAMESPACE
from simulation.stories import stage
from unit.controller.world import POLICY, RUN, VERSION, World, fail


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
