"""What is read of the pods of a Job: which one speaks, what it does, what keeps it, and why it ended."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finetune_operator.cluster.job_views import RunningPod, job_views, running_pod
from finetune_operator.cluster.pod_story import LATE, UNPREPARED, UNSEEN
from finetune_operator.decide.views import JobView, Span
from unit.cluster.test_views import job, pod

AT = "2026-11-21T12:00:{:02}Z"
START = datetime(2026, 11, 21, 12, tzinfo=UTC)


def second(number: int) -> datetime:
    return START + timedelta(seconds=number)


def container(name: str, **state: Any) -> dict[str, Any]:
    return {"name": name, "image": f"{name}:1", "state": state}


def ran(code: int, reason: str = "Error", message: str = "", start: int = 5, end: int = 9) -> dict[str, Any]:
    times = {"startedAt": AT.format(start), "finishedAt": AT.format(end)}
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, **times}}


def true(kind: str, at: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": "True", "lastTransitionTime": AT.format(at), **more}


DISRUPTED = true("DisruptionTarget", 8, reason="EvictionByEvictionAPI", message="Eviction API: evicting")


def a_pod(phase: str, *containers: dict[str, Any], spec: Any = None, meta: Any = None, **status: Any) -> dict[str, Any]:
    made = pod(phase, **{"containerStatuses": list(containers), **status})
    made["metadata"].update({"name": "p", "namespace": "ml", "creationTimestamp": AT.format(1), **(meta or {})})
    made["spec"] = {"nodeName": "gpu-1", **(spec or {})}
    return made


def view(*pods: dict[str, Any], **status: Any) -> JobView:
    of_job = job(**status)
    of_job["spec"] = {"template": {"spec": pods[0].get("spec") if pods else {}}}
    (only,) = job_views("run-1", [of_job], list(pods))
    return only


@pytest.mark.row("R40")
@pytest.mark.parametrize(
    ("beside", "lingers"),
    [
        ([], False),
        ([container("istio-proxy", running={})], True),
        ([container("istio-proxy", waiting={"reason": "ImagePullBackOff"})], True),
        ([container("istio-proxy", **ran(0))], False),
    ],
)
def test_a_trainer_has_spoken_though_its_pod_runs_on(beside: list[Any], lingers: bool) -> None:
    seen = view(a_pod("Running", *beside, container("trainer", **ran(0, "Completed", "{}"))))
    assert (seen.state, seen.spoke, seen.lingers, seen.idle) == ("Active", True, lingers, True)
    assert (seen.exit_code, seen.termination_message, seen.finished_at) == (0, "{}", second(9))
    assert (seen.pods_gone, seen.spans) == (False, (Span(second(5), second(9)),))


@pytest.mark.row("R40")
def test_a_native_sidecar_is_no_neighbour() -> None:
    sidecar = {"initContainerStatuses": [container("logs", running={})]}
    seen = view(a_pod("Running", container("trainer", **ran(0, "Completed", "{}")), **sidecar))
    assert (seen.spoke, seen.lingers) == (True, False)


@pytest.mark.row("R41")
@pytest.mark.parametrize(
    ("first", "code"),
    [
        (ran(0, "Completed", "{}"), 0),
        (ran(10, "Error", '{"error": {}}'), 10),
        (ran(143, "Error", '{"error": {}}'), None),
        (ran(12, "Error"), None),
    ],
)
def test_a_disrupted_pod_speaks_only_if_its_trainer_had_come_to_its_end(first: Any, code: int | None) -> None:
    old = a_pod("Failed", container("trainer", **first), conditions=[DISRUPTED])
    new = a_pod("Pending", meta={"name": "q", "creationTimestamp": AT.format(20)}, spec={"nodeName": ""})
    seen = view(new, old)
    assert (seen.exit_code, seen.spoke, seen.lingers) == (code, code is not None, code is not None)
    assert not seen.idle
    assert seen.spans == (Span(second(5), second(9)),), "its time counts all the same"


def test_a_job_whose_helper_failed_has_the_trainers_exit_code() -> None:
    pods = a_pod("Failed", container("trainer", **ran(0, "Completed", "{}")), container("push", **ran(1)))
    seen = view(pods, conditions=[true("Failed", 11)])
    assert (seen.state, seen.exit_code, seen.termination_message, seen.failure) == ("Failed", 0, "{}", None)


def test_a_container_that_was_restarted_counts_with_both_its_runs() -> None:
    trainer = {**container("trainer", running={"startedAt": AT.format(30)}), "lastState": ran(1)}
    assert view(a_pod("Running", trainer)).spans == (Span(second(5), second(9)), Span(second(30)))


def test_a_container_that_never_started_did_not_run_since_1970() -> None:
    failed = {"exitCode": 128, "reason": "StartError", "message": "no such file: finetune-trainer"}
    times = {"startedAt": "1970-01-01T00:00:00Z", "finishedAt": AT.format(9)}
    seen = view(a_pod("Failed", container("trainer", terminated={**failed, **times})))
    assert seen.spans == ()
    assert seen.failure is not None
    assert seen.failure.problem.reason == "ContainerConfig"
    assert "no such file" in seen.failure.problem.message


READY = [true("PodScheduled", 2), true("PodReadyToStartContainers", 4)]
CREATING = container("trainer", waiting={"reason": "ContainerCreating"})
TRAINER = {"containers": [{"name": "trainer", "image": "registry/trainer:1"}]}
SIDECAR = {**TRAINER, "initContainers": [{"name": "proxy", "restartPolicy": "Always"}, {"name": "fetch-token"}]}


@pytest.mark.row("R42")
@pytest.mark.parametrize(
    ("made", "since", "says"),
    [
        (a_pod("Pending", spec={"nodeName": ""}), 1, "pod p waits for a node"),
        (a_pod("Pending", CREATING, conditions=READY[:1]), 2, "pod p is prepared by node gpu-1"),
        (a_pod("Pending", CREATING, spec=TRAINER, conditions=READY), 4, "pod p pulls image 'registry/trainer:1'"),
        (a_pod("Pending", CREATING, conditions=READY, spec=SIDECAR, initContainerStatuses=[
            {**container("proxy", running={"startedAt": AT.format(6)}), "started": True},
            container("fetch-token", running={"startedAt": AT.format(7)})]),
         7, "pod p runs its init container 'fetch-token'"),
        (a_pod("Pending", CREATING, conditions=READY, spec=SIDECAR, initContainerStatuses=[
            {**container("proxy", running={"startedAt": AT.format(6)}), "started": True},
            container("fetch-token", **ran(0, end=9))]),
         9, "pod p pulls image"),
        (a_pod("Pending", CREATING, conditions=READY, spec=SIDECAR, initContainerStatuses=[
            {**container("proxy", running={"startedAt": AT.format(6)}), "started": False}]),
         6, "pod p runs its init container 'proxy'"),
        (a_pod("Pending", CREATING, conditions=[], initContainerStatuses=[
            container("fetch-token", running={"startedAt": AT.format(7)})]),
         7, "(kubectl logs p -n ml -c fetch-token)"),
        (a_pod("Running", container("trainer", running={"startedAt": AT.format(9)}), conditions=READY),
         9, "pod p runs the trainer"),
        (a_pod("Running", container("trainer", running={"startedAt": AT.format(5)}), conditions=[*READY, DISRUPTED]),
         8, "pod p is asked to end (EvictionByEvictionAPI)"),
    ],
)  # fmt: skip
def test_what_a_pod_does_and_since_when(made: dict[str, Any], since: int, says: str) -> None:
    newest = view(made).moments[-1]
    assert newest.since == second(since)
    assert says in newest.explanation.message


@pytest.mark.row("R43")
@pytest.mark.parametrize(
    ("made", "due", "reason", "says"),
    [
        (a_pod("Pending", spec={"nodeName": "", "schedulerName": "mine"}),
         second(1) + UNSEEN, "Unschedulable", "(mine)"),
        (a_pod("Pending", CREATING, conditions=[READY[0], {"type": "PodReadyToStartContainers", "status": "False"}]),
         second(2) + UNPREPARED, "PodNotStarting", "kubectl describe pod p -n ml"),
        (a_pod("Pending", CREATING, conditions=READY[:1]), second(2) + UNPREPARED, "PodNotStarting", "or its image is"),
        (a_pod("Pending", CREATING, spec={"nodeName": ""}), second(1) + UNPREPARED, "PodNotStarting", "its node has"),
        (a_pod("Pending", conditions=READY[:1]), second(2) + UNPREPARED, "PodNotStarting", "node gpu-1 has started no"),
    ],
)  # fmt: skip
def test_a_pod_that_gets_no_further_is_spoken_of_within_a_minute(
    made: dict[str, Any], due: datetime, reason: str, says: str
) -> None:
    overdue = view(made).overdue
    assert overdue is not None
    assert (overdue.due, overdue.problem.reason) == (due, reason)
    assert says in overdue.problem.message
    assert due - second(1) < timedelta(minutes=1)


@pytest.mark.row("R43")
@pytest.mark.parametrize(
    "made",
    [
        a_pod("Pending", CREATING, conditions=READY),
        a_pod("Pending", CREATING, initContainerStatuses=[container("fetch-token", running={})]),
        a_pod("Running", container("trainer", running={"startedAt": AT.format(5)})),
        a_pod("Running", container("trainer", **ran(0)), container("proxy", running={})),
        a_pod("Failed"),
    ],
)
def test_a_pod_that_gets_on_is_not_overdue(made: dict[str, Any]) -> None:
    assert view(made).overdue is None


@pytest.mark.row("R43")
def test_a_native_sidecar_that_fails_again_and_again_is_named_with_its_words() -> None:
    proxy = {**container("proxy", waiting={"reason": "CrashLoopBackOff"}), "lastState": ran(1, message="no token")}
    waiting = view(a_pod("Pending", CREATING, conditions=READY, spec=SIDECAR, initContainerStatuses=[proxy])).waiting
    assert waiting is not None
    assert waiting.reason == "InitContainerFailed"
    assert "no token" in waiting.message


def test_scheduling_gates_are_a_queue() -> None:
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked"}
    waiting = view(a_pod("Pending", conditions=[gated], spec={"nodeName": ""})).waiting
    assert waiting is not None
    assert waiting.reason == "Queued"


def test_a_sidecar_without_its_image_hides_neither_the_trainer_nor_its_progress() -> None:
    proxy = container("proxy", waiting={"reason": "ImagePullBackOff"})
    made = a_pod("Pending", container("trainer", running={"startedAt": AT.format(5)}), proxy)
    seen = view(made)
    assert seen.waiting is None
    assert seen.moments[-1].explanation.message == "pod p runs the trainer"
    assert running_pod([seen], [made]) == RunningPod("p", "train", second(5))


@pytest.mark.row("R47")
def test_a_pod_on_a_lost_node_says_what_can_be_done_and_its_clock_stands() -> None:
    made = a_pod(
        "Running",
        container("trainer", running={"startedAt": AT.format(5)}),
        meta={"deletionTimestamp": AT.format(40)},
        conditions=[DISRUPTED],
    )
    seen = view(made)
    assert seen.overdue is not None
    assert (seen.overdue.due, seen.overdue.problem.reason) == (second(40) + LATE, "PodNotEnding")
    for word in ("kubectl delete pod p -n ml --force", "node.kubernetes.io/out-of-service", "gpu-1", "Eviction API"):
        assert word in seen.overdue.problem.message
    assert seen.spans == (Span(second(5), second(40)),)
    assert not seen.spoke
    (orphan,) = job_views("run-1", [], [made])
    assert orphan.overdue == seen.overdue, "also when its Job is gone"
    assert (orphan.orphaned, seen.orphaned) == (True, False)


MEMORY = {"containers": [{"name": "trainer", "resources": {"limits": {"memory": "8Gi"}}}]}
REJECTED = "Allocate failed due to no healthy devices present"
SCRATCH = 'Usage of EmptyDir volume "finetune-scratch" exceeds the limit "1Gi".'
ENDS: dict[str, tuple[dict[str, Any], str, bool, bool, str]] = {
    "OOMKilled": (a_pod("Failed", container("trainer", **ran(137, "OOMKilled")), spec=MEMORY),
                  "OutOfMemory", True, True, "limit is 8Gi"),
    "evicted for scratch": (a_pod("Failed", container("trainer", **ran(137)), reason="Evicted", message=SCRATCH),
                            "Evicted", False, True, "exceeds the limit"),
    "evicted for the node": (a_pod("Failed", container("trainer", **ran(137)), reason="Evicted", message="The node was "
                                   "low on resource: memory.", conditions=[true("DisruptionTarget", 8)]),
                             "Disrupted", False, False, "low on resource"),
    "rejected": (a_pod("Failed", reason="UnexpectedAdmissionError", message=REJECTED),
                 "RejectedByNode", False, False, "no healthy devices"),
    "no cpu": (a_pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu"),
               "RejectedByNode", False, False, "gpu-1"),
    "no GPU": (a_pod("Failed", reason="OutOfnvidia.com/gpu"), "RejectedByNode", False, False, "OutOfnvidia.com/gpu"),
    "labels": (a_pod("Failed", reason="NodeAffinity"), "RejectedByNode", False, False, "NodeAffinity"),
    "makes way": (a_pod("Failed", container("trainer", **ran(137)), reason="Preempting", message="for a critical pod"),
                  "Disrupted", False, False, "critical pod"),
    "shutdown": (a_pod("Failed", container("trainer", **ran(137)), reason="Terminated", message="node shutdown"),
                 "Disrupted", False, False, "node shutdown"),
    "drained": (a_pod("Failed", container("trainer", **ran(143)), conditions=[DISRUPTED]),
                "Disrupted", False, False, "Eviction API"),
    "lost container": (a_pod("Failed", container("trainer", **ran(137, "ContainerStatusUnknown", "not located"))),
                       "Disrupted", False, False, "not located"),
    "pod deadline": (a_pod("Failed", container("trainer", **ran(143)), reason="DeadlineExceeded", message="Pod was "
                           "active on the node longer than the specified deadline"),
                     "PodDeadlineExceeded", False, True, "activeDeadlineSeconds of its PodTemplate"),
    "init container": (a_pod("Failed", container("trainer", waiting={"reason": "PodInitializing"}),
                             initContainerStatuses=[container("fetch-token", **ran(1, message="permission denied"))]),
                       "InitContainerFailed", False, True, "'fetch-token' of pod p failed with exit code 1: perm"),
    "no status": (a_pod("Failed"), "PodFailed", False, True, "'trainer'"),
    "other words": (a_pod("Failed", reason="SysctlForbidden", message="forbidden sysctl"),
                    "PodFailed", False, True, "forbidden sysctl"),
}  # fmt: skip


@pytest.mark.row("R44")
@pytest.mark.parametrize("case", ENDS)
def test_why_a_pod_ended_stands_in_its_own_status(case: str) -> None:
    made, reason, fatal, counted, says = ENDS[case]
    failure = view(made, conditions=[true("Failed", 11)]).failure
    assert failure is not None
    assert (failure.problem.reason, failure.fatal, failure.counted) == (reason, fatal, counted)
    assert says in failure.problem.message


@pytest.mark.row("R44")
@pytest.mark.parametrize(
    "made",
    [
        a_pod("Failed", container("trainer", **ran(1))),
        a_pod("Failed", container("trainer", **ran(10, message="{}"))),
        a_pod("Running", container("trainer", running={})),
        a_pod("Pending"),
        a_pod("Succeeded", container("trainer", **ran(0))),
    ],
)
def test_a_pod_whose_status_says_nothing_leaves_it_to_the_trainer(made: dict[str, Any]) -> None:
    assert view(made).failure is None


@pytest.mark.parametrize("made", [{"metadata": {"ownerReferences": [{"uid": "job-1", "controller": True}]}}])
def test_a_pod_without_anything_is_read_all_the_same(made: dict[str, Any]) -> None:
    seen = view(made)
    assert (seen.spoke, seen.waiting, seen.overdue, seen.moments, seen.failure) == (False, None, None, (), None)


@pytest.mark.row("R46")
@pytest.mark.parametrize("far", ["1970-01-01T00:00:00Z", "2026-11-21T11:00:00Z"])
def test_on_a_node_whose_clock_is_behind_nothing_was_before_its_pod(far: str) -> None:
    assert view(a_pod("Running", container("trainer", running={"startedAt": far}))).spans == (Span(second(1)),)
    ended = {**ran(13)["terminated"], "startedAt": far, "finishedAt": far}
    seen = view(a_pod("Failed", container("trainer", terminated=ended)))
    assert seen.finished_at == second(1), "the pause before the next attempt counts from here"
    assert sum((span.end - span.start for span in seen.spans if span.end), timedelta()) == timedelta()


@pytest.mark.row("R42")
def test_what_a_pod_does_now_comes_last_also_by_the_clock_of_a_node_that_is_behind() -> None:
    trainer = container("trainer", running={"startedAt": "2026-11-21T11:00:00Z"})
    newest = view(a_pod("Running", trainer, conditions=READY)).moments[-1]
    assert "runs the trainer" in newest.explanation.message
    assert newest.since == second(2)


@pytest.mark.row("R43")
@pytest.mark.parametrize(
    "now",
    [
        {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        {"running": {"startedAt": AT.format(20)}},
        ran(1),
    ],
)
def test_a_sidecar_that_fails_again_and_again_says_the_same_between_its_pauses_as_in_them(now: Any) -> None:
    proxy = {**container("proxy", **now), "started": False, "lastState": ran(1)}
    pod = a_pod("Pending", CREATING, conditions=READY, spec=SIDECAR, initContainerStatuses=[proxy])
    waiting = view(pod).waiting
    assert waiting is not None
    assert waiting.reason == "InitContainerFailed"
    assert "exit code 1" in waiting.message


def test_a_sidecar_that_is_up_after_it_failed_keeps_nothing() -> None:
    proxy = {**container("proxy", running={"startedAt": AT.format(20)}), "started": True, "lastState": ran(1)}
    assert (
        view(a_pod("Pending", CREATING, conditions=READY, spec=SIDECAR, initContainerStatuses=[proxy])).waiting is None
    )


@pytest.mark.row("R14")
@pytest.mark.parametrize(
    ("finalizers", "phases", "status", "emptied"),
    [
        (["example.com/keep"], [], {}, True),
        (["example.com/keep"], ["Failed"], {}, True),
        (["example.com/keep"], ["Running"], {}, False),
        (["example.com/keep"], [], {"active": 1}, False),
        (["example.com/keep", "foregroundDeletion"], [], {}, False),
    ],
)
def test_a_job_that_only_a_finalizer_keeps_is_empty_when_no_pod_of_it_is_left(
    finalizers: list[str], phases: list[str], status: dict[str, Any], emptied: bool
) -> None:
    going = job(**status)
    going["metadata"].update({"deletionTimestamp": AT.format(30), "finalizers": finalizers})
    (seen,) = job_views("run-1", [going], [a_pod(phase) for phase in phases])
    assert (seen.deleting, seen.emptied) == (True, emptied)


@pytest.mark.row("R43")
def test_an_image_that_cannot_be_pulled_is_said_alike_while_it_is_tried_and_in_the_pauses() -> None:
    words = "failed to resolve reference registry/trainer:1: not found"
    tried = {"reason": "ErrImagePull", "message": words}
    paused = {
        "reason": "ImagePullBackOff",
        "message": f'Back-off pulling image "registry/trainer:1": ErrImagePull: {words}',
    }
    said = {
        view(a_pod("Pending", container("trainer", waiting=now), conditions=READY)).waiting for now in (tried, paused)
    }
    assert len(said) == 1
    assert words in str(said)


@pytest.mark.row("R42")
def test_a_pod_that_was_disrupted_and_is_over_says_by_whom() -> None:
    gone = view(a_pod("Failed", container("trainer", **ran(143)), conditions=[DISRUPTED])).moments[-1]
    assert gone.explanation.message == "pod p was ended (EvictionByEvictionAPI)"
