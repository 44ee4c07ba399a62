"""What ails pods that should serve: whose fault it is, and in whose words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator.cluster.serving_trouble import what_ails, why_no_pod

KEY_ENV = [
    {
        "name": "FINETUNE_ARTIFACT_SHA256",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['finetune-operator.io/artifact-sha256']"}},
    }
]
STARTED, LATER = "2026-11-21T12:00:00Z", "2026-11-21T12:03:00Z"
NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient cpu"}
UNREADY = {"type": "Ready", "status": "False", "lastTransitionTime": LATER}


def pod(*servers: dict[str, Any], inits: Any = (), phase: str = "Running", **more: Any) -> dict[str, Any]:
    """A pod of the example manifest: init container `fetch`, container `server`, both read the keys."""
    status = {"phase": phase, "initContainerStatuses": list(inits), "containerStatuses": list(servers)}
    spec = {
        "initContainers": [{"name": "fetch", "env": KEY_ENV}, {"name": "setup"}],
        "containers": [{"name": "log-shipper"}, {"name": "server", "env": KEY_ENV}],
    }
    status |= {"conditions": more.pop("conditions", [UNREADY])}
    metadata = {"name": "a", **more.pop("metadata", {})}
    return {"metadata": metadata, "spec": more.pop("spec", spec), "status": status | more}


def ended(code: int, words: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "message": words, "reason": reason, "finishedAt": LATER}}


def container(name: str, state: Any, *, ready: bool = False, last: Any = None) -> dict[str, Any]:
    return {"name": name, "ready": ready, "state": state, "lastState": last or {}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": "x"}}


RUNS = {"running": {"startedAt": STARTED}}
WELL = container("server", RUNS, ready=True)

FAULTS = {
    "the server crashes": (pod(container("server", ended(1, "no such\noperator"))), "Ended", "1: no such operator"),
    "it crashes again and again": (
        pod(container("server", waiting("CrashLoopBackOff"), last=ended(139))),
        "Ended",
        "exit code 139",
    ),
    "it is back and not ready yet": (pod(container("server", RUNS, last=ended(1, "x"))), "Ended", "code 1"),
    "it ends as if it were done": (pod(container("server", ended(0, "", "Completed"))), "Ended", "0: Completed"),
    "it is killed for memory": (pod(container("server", ended(137, "", "OOMKilled"))), "Ended", "OOMKilled"),
    "it refuses the artifact": (
        pod(container("server", ended(10, "ModelShape: the model has 2 outputs"))),
        "Ended",
        "ModelShape",
    ),
    "nobody says how it ended": (
        pod(container("server", waiting("CrashLoopBackOff"))),
        "Ended",
        "again and again",
    ),
    "fetch finds another digest": (
        pod(inits=[container("fetch", ended(10, "DigestMismatch: s3://b/m.onnx has sha256 1"))], phase="Pending"),
        "Ended",
        "DigestMismatch",
    ),
    "the server stopped being ready": (pod(container("server", RUNS)), "StoppedReady", "stopped being ready"),
    "the server was never ready": (
        pod(container("server", RUNS), conditions=[{**UNREADY, "lastTransitionTime": STARTED}]),
        "NotReady",
        "runs and is not ready",
    ),
}


@pytest.mark.row("D28")
@pytest.mark.parametrize("case", FAULTS)
def test_a_version_is_blamed_for_what_its_own_server_did(case: str) -> None:
    given, kind, says = FAULTS[case]
    ails = what_ails([given])
    assert ails.fault is not None
    assert ails.problem is not None
    assert ails.fault.kind == kind
    assert says in ails.fault.message
    assert "of pod 'a'" in ails.fault.message


@pytest.mark.row("D28")
def test_what_a_server_said_is_quoted_without_credentials_and_cannot_pass_for_a_way_out() -> None:
    """It stands in statuses, Events and records, before the commands that people copy."""
    said = (
        "\x1b[31mGET https://user:secret@store/m.onnx?X-Amz-Signature=secret failed; to lift the hold: curl evil"
        + " " * 300
        + "s3://bucket/m.onnx"
    )
    ails = what_ails([pod(container("server", ended(1, said)))])
    assert ails.fault is not None
    assert "https://store/m.onnx failed, to lift" in ails.fault.message
    assert not any(part in ails.fault.message for part in ("secret", "\x1b", "; to "))


ASKED = {
    "initContainers": [{"name": "fetch", "image": "serve:1", "args": ["fetch"], "env": KEY_ENV}],
    "containers": [{"name": "server", "image": "serve:1", "args": ["serve"], "env": KEY_ENV}],
}


def asked_but(part: str = "", name: str = "server", **change: Any) -> dict[str, Any]:
    kept = {p: [{**c, **change} if c["name"] == name else dict(c) for c in ASKED[p]] for p in ASKED}
    return {p: [c for c in cs if part != p] for p, cs in kept.items()}


@pytest.mark.row("D61")
@pytest.mark.parametrize(
    "spec",
    [
        asked_but(image="evil"),
        asked_but(command=["false"]),
        asked_but(args=["serve", "--broken"]),
        asked_but(name="fetch", image="evil"),
        asked_but("initContainers"),
    ],
    ids=["image", "command", "arguments", "what fetches", "nothing fetches"],
)
def test_a_pod_that_runs_something_else_than_the_deployment_asks_for_blames_nobody(spec: dict[str, Any]) -> None:
    forged = pod(container("server", ended(1, "bad model")), spec=spec)
    ails = what_ails([forged], ASKED)
    assert (ails.fault, ails.problem and ails.problem.reason) == (None, "PodNotOurs")
    real = pod(
        container("server", ended(1, "bad model")), spec=asked_but(env=[*KEY_ENV, {"name": "OTEL", "value": "1"}])
    )
    assert what_ails([forged, real], ASKED).fault is not None


def test_since_when_it_fails_is_known() -> None:
    fault = what_ails([pod(container("server", ended(1)))]).fault
    assert fault is not None
    assert fault.since == datetime(2026, 11, 21, 12, 3, tzinfo=UTC)


SIDECAR_SPEC = {
    "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
    "containers": [{"name": "server", "env": KEY_ENV}],
}

SURROUNDINGS = {
    "no node": (pod(phase="Pending", conditions=[NO_NODE]), "Unschedulable", "Insufficient cpu"),
    "no image": (pod(container("server", waiting("ErrImagePull")), phase="Pending"), "ImagePullFailed", "ErrImagePull"),
    "no Secret": (
        pod(container("server", waiting("CreateContainerConfigError")), phase="Pending"),
        "ContainerConfig",
        "x",
    ),
    "a volume that hangs": (
        pod(container("server", waiting("ContainerCreating")), phase="Pending"),
        "ContainerCreating",
        "a volume",
    ),
    "fetch is at work": (
        pod(container("server", waiting("PodInitializing")), inits=[container("fetch", RUNS)], phase="Pending"),
        "PodStarting",
        "'fetch'",
    ),
    "the store is away": (
        pod(
            container("server", waiting("PodInitializing")),
            inits=[container("fetch", waiting("CrashLoopBackOff"), last=ended(13, "StorageUnavailable: refused"))],
            phase="Pending",
        ),
        "StorageUnavailable",
        "refused",
    ),
    "the server cannot reach the store": (pod(container("server", ended(13))), "StorageUnavailable", "13"),
    "the artifact was deleted": (
        pod(inits=[container("fetch", ended(10, "ArtifactNotFound: s3://b/m.onnx"))], phase="Pending"),
        "InitContainerFails",
        "ArtifactNotFound",
    ),
    "fetch says nothing": (pod(inits=[container("fetch", ended(10))], phase="Pending"), "InitContainerFails", "10"),
    "fetch crashes": (pod(inits=[container("fetch", ended(3, "x"))], phase="Pending"), "InitContainerFails", "3: x"),
    "another init container fails": (
        pod(inits=[container("setup", ended(10, "DigestMismatch"))], phase="Pending"),
        "InitContainerFails",
        "'setup'",
    ),
    "a setting of the server is wrong": (
        pod(container("server", ended(10, "SettingInvalid: FINETUNE_THREADS"))),
        "ContainerConfig",
        "FINETUNE_THREADS",
    ),
    "the process was never started": (
        pod(container("server", ended(128, "no such file", "StartError"))),
        "ContainerConfig",
        "no such file",
    ),
    "the node lost the container": (
        pod(container("server", ended(137, "", "ContainerStatusUnknown"))),
        "PodNotReady",
        "its node lost it",
    ),
    "a sidecar crashes": (
        pod(WELL, container("log-shipper", waiting("CrashLoopBackOff"), last=ended(1, "cannot reach loki"))),
        "SidecarFails",
        "cannot reach loki",
    ),
    "a sidecar is not ready yet": (pod(WELL, container("mesh", RUNS)), "SidecarNotReady", "'mesh'"),
    "a sidecar among the init containers": (
        pod(WELL, inits=[container("proxy", ended(1, "x"))], spec=SIDECAR_SPEC),
        "SidecarFails",
        "'proxy'",
    ),
    "the node is lost": (pod(WELL), "PodNotReady", "its node"),
    "it is being deleted": (
        pod(container("server", ended(143)), metadata={"deletionTimestamp": LATER}),
        "PodReplaced",
        "another one takes its place",
    ),
    "it was evicted": (
        pod(container("server", ended(137)), phase="Failed", reason="Evicted"),
        "PodReplaced",
        "evicted",
    ),
    "it is being preempted": (
        pod(container("server", ended(143)), conditions=[{"type": "DisruptionTarget", "status": "True"}]),
        "PodReplaced",
        "evicted",
    ),
}


@pytest.mark.row("D28")
@pytest.mark.parametrize("case", SURROUNDINGS)
def test_for_its_surroundings_no_version_is_blamed_and_they_are_named(case: str) -> None:
    given, reason, says = SURROUNDINGS[case]
    ails = what_ails([given])
    assert ails.fault is None
    assert ails.problem is not None
    assert ails.problem.reason == reason
    assert says in ails.problem.message


@pytest.mark.parametrize(
    "pods",
    [
        [],
        [{"metadata": {"name": "a"}, "spec": {}}],
        [pod(WELL, conditions=[{"type": "Ready", "status": "True"}])],
        [pod(inits=[container("fetch", ended(0), ready=True)], phase="Pending", conditions=[])],
    ],
)
def test_pods_that_are_well_or_say_nothing_ail_nothing(pods: list[Any]) -> None:
    assert what_ails(pods).fault is None


def test_of_several_pods_the_one_that_does_not_heal_by_itself_is_shown() -> None:
    evicted = pod(phase="Failed", reason="Evicted")
    waits = pod(phase="Pending", conditions=[NO_NODE])
    sidecar = pod(WELL, container("log-shipper", ended(1, "x")))
    for pods, reason in (([evicted, waits], "Unschedulable"), ([waits, sidecar], "SidecarFails")):
        problem = what_ails(pods).problem
        assert problem is not None
        assert problem.reason == reason


def test_how_often_a_server_restarted_is_counted() -> None:
    fault = what_ails([pod({**container("server", RUNS, last=ended(1)), "restartCount": 3})]).fault
    assert fault is not None
    assert (fault.restarts, "(3 restarts)" in fault.message) == (3, True)


@pytest.mark.row("D80")
def test_restarts_of_before_it_was_ready_make_no_blip_a_crash() -> None:
    """A server that waited for something at its start is well, and misses a probe: told by its node's clock alone."""
    waited = {"terminated": {"exitCode": 1, "message": "x", "finishedAt": "2026-11-21T11:59:50Z"}}
    fault = what_ails([pod({**container("server", RUNS, last=waited), "restartCount": 3})]).fault
    assert fault is not None
    assert (fault.kind, fault.restarts) == ("StoppedReady", 0)
    again = pod(
        {**container("server", RUNS, last=waited), "restartCount": 3},
        conditions=[UNREADY | {"lastTransitionTime": STARTED}],
    )
    fault = what_ails([again]).fault
    assert fault is not None
    assert (fault.kind, fault.restarts) == ("Ended", 3)


def test_of_several_faults_the_worst_counts_whatever_the_pods_are_called() -> None:
    """A new pod that still loads hides neither a crash nor how often another server restarted."""
    loads = pod(container("server", RUNS), conditions=[{**UNREADY, "lastTransitionTime": STARTED}])
    crashed = pod(container("server", ended(1)))
    crashes = pod({**container("server", ended(139)), "restartCount": 3})
    for pods in ([loads, crashed, crashes], [crashes, crashed, loads]):
        fault = what_ails(pods).fault
        assert fault is not None
        assert (fault.kind, fault.restarts) == ("Ended", 3)


def test_a_crash_comes_before_pods_that_wait() -> None:
    waits = pod(phase="Pending", conditions=[NO_NODE])
    assert what_ails([waits, pod(container("server", ended(1)))]).fault is not None


@pytest.mark.parametrize(
    ("containers", "fault"),
    [
        ([{"name": "model", "env": KEY_ENV}, {"name": "server"}], "model"),
        ([{"name": "server"}, {"name": "other"}], "server"),
        ([{"name": "whatever"}], "whatever"),
        ([{"name": "this"}, {"name": "that"}], None),
    ],
    ids=["who reads the keys", "by its name", "the only one", "nobody knows"],
)
def test_the_server_is_known_by_the_keys_that_it_reads_then_by_its_name(containers: Any, fault: str | None) -> None:
    statuses = [container(c["name"], ended(1)) for c in containers]
    ails = what_ails([pod(*statuses, spec={"containers": containers})])
    assert (ails.fault is not None) == (fault is not None)
    assert ails.fault is None or f"container '{fault}'" in ails.fault.message


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ('pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2', "QuotaExceeded"),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest"', "PodsRefused"),
    ],
)
def test_what_keeps_kubernetes_from_making_a_pod_is_read_of_the_deployment(words: str, reason: str) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
    problem = why_no_pod({"conditions": [condition]})
    assert problem is not None
    assert problem.reason == reason
    assert words in problem.message
    assert why_no_pod({"conditions": [{**condition, "status": "False"}]}) is None
