"""Texts, numbers and times that anybody may write into objects: none of them stops a look at what is beside them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator.api import names
from finetune_operator.api.record import outcome_in, services
from finetune_operator.api.run import Attempt
from finetune_operator.api.value import canonical_json, plain
from finetune_operator.cluster.deployment_views import deployment_view, is_made_by, template_view
from finetune_operator.cluster.job_views import job_views, running_pod
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.pods_at_rest import is_short, why_short
from finetune_operator.cluster.progress import last_progress
from finetune_operator.cluster.projection import project
from finetune_operator.cluster.serving_trouble import what_ails
from finetune_operator.decide.attempts.clock import timed
from finetune_operator.decide.attempts.history import swept
from finetune_operator.decide.attempts.pods import has_spoken, listen, not_ending, until_overdue
from finetune_operator.decide.attempts.termination import envelope, failure_of
from finetune_operator.decide.resources import amount

Object = dict[str, Any]
NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
AT = "2026-11-21T12:00:05Z"

TEXTS = (
    "", " ", "9" * 5000, "-1", "1e999999", "[" * 100_000, "{" * 100_000, '{"a":' * 50_000, "null", "NaN", "\x00",
    "\u0664\u0662", "\ud7ff\ue000", "x" * 70_000, "\u202e\u2028\n; kubectl delete ns ml", "\U0001f600" * 2000,
    '{"spec": null}', '{"spec": []}',
    '{"spec":{"template":{"metadata":{"annotations":null}}}}', '"\\ud800"', "4503599627370496", "18446744073709551616",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
TIMES = (
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "2026-11-21T12:00:05.123456Z",
    "2026-11-21T13:00:05+01:00",
)


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if inner is None:
        yield path, node
        return
    for key, value in inner:
        yield from leaves(value, (*path, key))


def put(obj: Object, path: tuple[Any, ...], value: Any) -> Object:
    copy = plain(obj)
    node = copy
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return dict(copy)


def variants(obj: Object) -> Iterator[Object]:
    """Yield the object with each of its values made strange, as far as its type lets it."""
    for path, value in leaves(obj):
        if isinstance(value, bool):
            continue
        if isinstance(value, int):
            yield from (put(obj, path, number) for number in NUMBERS)
        elif value == AT:
            yield from (put(obj, path, text) for text in TIMES)
        else:
            yield from (put(obj, path, text) for text in TEXTS)


OWNER = {"kind": "FineTuneRun", "name": "first", "uid": "run-1", "controller": True}
LABELS = {
    names.MANAGED_BY_LABEL: names.FIELD_MANAGER, names.OWNER_UID_LABEL: "run-1", names.STEP_LABEL: "train",
    names.ATTEMPT_LABEL: "1", names.ROUND_LABEL: "0", names.POLICY_LABEL: "p", names.MANAGED_LABEL: "true",
    names.POD_TEMPLATE_LABEL: "true", "pod-template-hash": "abc",
}  # fmt: skip
KEYS = {names.MODEL_VERSION_KEY: "ft_v1.1", names.ARTIFACT_URI_KEY: "file:///a", names.ARTIFACT_SHA256_KEY: "a" * 64}


def meta(name: str, **more: Any) -> Object:
    return {"name": name, "namespace": "ml", "uid": f"uid-{name}", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": AT, "labels": dict(LABELS), **more}  # fmt: skip


DEPLOYMENT: Object = {
    "metadata": meta(
        "detector",
        annotations={names.EPOCH_KEY: "4", "kubectl.kubernetes.io/last-applied-configuration": '{"spec": {}}'},
        managedFields=[
            {"manager": "argocd", "operation": "Update", "time": AT,
             "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{names.EPOCH_KEY}": {}}}}},
            {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": "x"}}},
        ],
    ),
    "spec": {
        "replicas": 2, "progressDeadlineSeconds": 600, "minReadySeconds": 5, "paused": False,
        "selector": {"matchLabels": {"app": "d"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        "template": {
            "metadata": {"annotations": dict(KEYS), "labels": {"app": "d"}},
            "spec": {"containers": [{"name": "server"}]},
        },
    },
    "status": {
        "observedGeneration": 3, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"},
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
        ],
    },
}  # fmt: skip


PATH = f"metadata.annotations['{names.ARTIFACT_URI_KEY}']"


def pod(state: Object, **more: Any) -> Object:
    container = {"name": "trainer", "state": state, "ready": False, "restartCount": 2, "lastState": {"terminated": {
        "exitCode": 1, "reason": "Error", "message": "m", "startedAt": AT, "finishedAt": AT}}}  # fmt: skip
    reference = {"kind": "Job", "name": "job", "uid": "uid-job", "controller": True}
    return {
        "metadata": meta("job-pod", ownerReferences=[reference], annotations=dict(KEYS), **more),
        "spec": {"nodeName": "n", "containers": [{"name": "trainer", "image": "i", "env": [
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": PATH}}}]}],
            "initContainers": [{"name": "fetch"}]},
        "status": {
            "phase": "Pending", "reason": "Evicted", "message": "m", "startTime": AT,
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3",
                            "lastTransitionTime": AT},
                           {"type": "Ready", "status": "False", "lastTransitionTime": AT}],
            "initContainerStatuses": [{"name": "fetch", "restartCount": 1, "state": {"terminated": {
                "exitCode": 10, "reason": "Error", "message": "DigestMismatch", "startedAt": AT, "finishedAt": AT}}}],
            "containerStatuses": [container],
        },
    }  # fmt: skip


PODS = (
    pod({"running": {"startedAt": AT}}),
    pod({"waiting": {"reason": "ImagePullBackOff", "message": "m"}}),
    pod(
        {
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "message": '{"schema": "x"}',
                "startedAt": AT,
                "finishedAt": AT,
            }
        }
    ),
    pod({"running": {"startedAt": AT}}, deletionTimestamp=AT, deletionGracePeriodSeconds=30),
)
JOB: Object = {
    "metadata": meta("job", ownerReferences=[OWNER]),
    "spec": {"suspend": False, "backoffLimit": 0},
    "status": {"active": 1, "startTime": AT, "conditions": [
        {"type": "Failed", "status": "True", "reason": "B", "message": "m", "lastTransitionTime": AT}]},
}  # fmt: skip
TEMPLATE: Object = {
    "metadata": meta("gpu", annotations={"a": "b"}),
    "template": {
        "spec": {
            "containers": [
                {"name": "trainer", "image": "i", "resources": {"limits": {"cpu": "500m", "nvidia.com/gpu": "1"}}}
            ]
        }
    },
}
ACTIVE = JOB | {"status": {"active": 1, "startTime": AT}}
ATTEMPT = Attempt(step="train", attempt=1, job="job", outcome="Running")


def read_job(job: Object, *pods: Object) -> None:
    views = job_views("run-1", [job], list(pods))
    running_pod(views, pods)
    for view in views:
        listen(view, NOW, started=False)
        has_spoken(view, NOW)
        timed(ATTEMPT, view, NOW)
        said = envelope(view, ATTEMPT, "run-1")
        canonical_json(failure_of("train", view, said).problem.message)
    not_ending(views, NOW)
    until_overdue(views, NOW)
    swept((ATTEMPT,), views, NOW)


def read_deployment(deployment: Object) -> None:
    canonical_json(repr(deployment_view(deployment)))
    is_short(deployment)
    why_short(deployment, PODS, NOW)
    project(Kind.DEPLOYMENT, deployment)


def read_server(pod: Object) -> None:
    is_made_by(DEPLOYMENT, pod)
    canonical_json(repr(what_ails([pod])))
    why_short(DEPLOYMENT, [pod], NOW)


def read_template(template: Object) -> None:
    canonical_json(repr(template_view("gpu", template, "q")))


CASES: dict[str, tuple[Object, Callable[[Object], None]]] = {
    "Deployment": (DEPLOYMENT, read_deployment),
    "Job": (JOB, lambda job: read_job(job, PODS[0])),
    "Job without pods": (JOB | {"status": {"startTime": AT}}, read_job),
    "PodTemplate": (TEMPLATE, read_template),
    **{f"pod {number} of a Job": (pod, lambda pod: read_job(ACTIVE, pod)) for number, pod in enumerate(PODS)},
    **{f"pod {number} of a Deployment": (pod, read_server) for number, pod in enumerate(PODS)},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_nothing_that_an_object_says_stops_a_look_at_it(case: str) -> None:
    obj, read = CASES[case]
    read(obj)
    for variant in variants(obj):
        read(variant)


@pytest.mark.parametrize("kind", [Kind.JOB, Kind.POD, Kind.DEPLOYMENT, Kind.POD_TEMPLATE])
def test_nothing_that_an_object_says_stops_the_memory(kind: Kind) -> None:
    obj = {Kind.JOB: JOB, Kind.POD: PODS[0], Kind.DEPLOYMENT: DEPLOYMENT, Kind.POD_TEMPLATE: TEMPLATE}[kind]
    for path, value in leaves(obj):
        if path[:2] != ("metadata", "resourceVersion") and isinstance(value, str):
            for text in TEXTS:
                project(kind, put(obj, path, text))


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_no_text_stops_what_reads_texts(text: str) -> None:
    amount(text)
    last_progress(f'{text}\n{{"schema": "finetune-operator.io/progress/v1", "step": {text}}}')
    services({names.SERVICE_RECORD_KEY: text}, "a" * 64)
    outcome_in({names.OUTCOME_KEY: text}, "p", "h")
