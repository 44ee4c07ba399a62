"""Clusters with rules: what admission, quotas and queues refuse is said, and goes on when it is mended."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from finetune_operator.cluster.kinds import Kind
from house.api_server import CLOSED, Object
from house.planes import make_namespace
from local_cluster import ControlPlane
from simulation.stories import promotion, run, stage

from .node import ScriptedNode
from .world import Operator, Space, at_rest, eventually

pytestmark = pytest.mark.control_plane
RULES = "/apis/admissionregistration.k8s.io/v1"
QUEUE = "kueue.x-k8s.io/queue-name"
JOBS: Object = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
BASE = "invoice-fields-base-v1"
UNANSWERED = 'outcome="unavailable"'


def here(space: Space) -> Object:
    return {"matchLabels": {"kubernetes.io/metadata.name": space.namespace}}


@contextmanager
def rules(space: Space, **objects: Object) -> Iterator[None]:
    """Have admission rules, each named after the namespace, and take them away."""
    made = []
    for resource, body in objects.items():
        path = f"{RULES}/{resource}"
        answer = space.server.request("POST", path, {**body, "metadata": {"name": f"rules-{space.namespace}"}})
        assert answer.accepted, answer.message
        made.append(f"{path}/rules-{space.namespace}")
    try:
        eventually(lambda: are_in_force(space), what="the API server has heard of the rules")
        yield
    finally:
        for path in reversed(made):
            space.server.request("DELETE", path)


def are_in_force(space: Space) -> bool:
    """Tell whether a Job without labels is refused, or made suspended."""
    containers = [{"name": "a", "image": "a"}]
    job: Object = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}}
    path = f"{space.path('jobs')}?dryRun=All&timeout=2s"
    try:
        tried = space.server.request("POST", path, job | {"metadata": {"name": "a"}})
    except CLOSED:  # the API server gave up in the middle of its answer; what is tried here can be tried again
        return False
    return not tried.accepted or bool(tried.body["spec"].get("suspend"))


def webhook_down(space: Space, port: int = 9, seconds: int = 2) -> dict[str, Object]:
    webhook = {
        "name": "vjob.kb.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": seconds,
        "clientConfig": {"url": f"https://127.0.0.1:{port}/validate"},
        "namespaceSelector": here(space),
        "rules": [JOBS],
    }
    return {"validatingwebhookconfigurations": {"webhooks": [webhook]}}


def label_demanded(space: Space) -> dict[str, Object]:
    constraints = {"namespaceSelector": here(space), "resourceRules": [JOBS]}
    demand = {"expression": "'cost-centre' in object.metadata.labels", "message": "Jobs need the label cost-centre"}
    return {
        "validatingadmissionpolicies": {
            "spec": {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": [demand]}
        },
        "validatingadmissionpolicybindings": {
            "spec": {"policyName": f"rules-{space.namespace}", "validationActions": ["Deny"]}
        },
    }


def suspended_without_queue(space: Space) -> dict[str, Object]:
    """What Kueue does with manageJobsWithoutQueueName, without Kueue."""
    without = f"!has(object.metadata.labels) || !('{QUEUE}' in object.metadata.labels)"
    suspend = {"expression": "Object{spec: Object.spec{suspend: true}}"}
    return {
        "mutatingadmissionpolicies": {
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "matchConstraints": {"namespaceSelector": here(space), "resourceRules": [JOBS]},
                "matchConditions": [{"name": "noqueue", "expression": without}],
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": suspend}],
            }
        },
        "mutatingadmissionpolicybindings": {"spec": {"policyName": f"rules-{space.namespace}"}},
    }


def condition(space: Space, kind: str, name: str = "first", resource: str = "finetuneruns") -> tuple[str, str]:
    conditions = space.there(resource, name)["status"].get("conditions") or ()
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), ("", ""))


def events(space: Space, name: str) -> list[str]:
    path = f"/apis/events.k8s.io/v1/namespaces/{space.namespace}/events"
    items = space.server.request("GET", path).body.get("items") or []
    return [e["reason"] for e in items if (e.get("regarding") or {}).get("name") == name]


def of_base(space: Space) -> list[dict[str, str]]:
    """Return the labels of the Jobs of the base that is there now."""
    uid = space.there("modelversions", BASE)["metadata"]["uid"]
    marks = [job["metadata"]["labels"] for job in space.all("jobs")]
    return [labels for labels in marks if labels["finetune-operator.io/owner-uid"] == uid]


def verified(space: Space) -> Callable[[], bool]:
    return lambda: space.phase(BASE, "modelversions") == "Verified"


def base_live(space: Space) -> None:
    eventually(verified(space), what="the base is verified")
    space.apply(promotion("first-base", "base_v1"))
    eventually(lambda: (space.policy_status().get("live") or {}).get("version") == "base_v1", seconds=60)


def base_again(space: Space) -> None:
    """Import the base once more, so that its verification meets the rules."""
    space.delete("modelversions", BASE)
    eventually(lambda: space.get("modelversions", BASE) is None)
    space.apply(next(m for _, m in stage() if m["kind"] == "ModelVersion"))


def test_an_admission_webhook_that_is_down_is_said_and_heals_and_is_no_outage(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    unanswered = operator.metric("finetune_reconciles_total", UNANSWERED)
    with rules(space, **webhook_down(space)):
        for number in range(15):
            manifest = run(f"r-{number}")
            manifest["spec"]["mixing"] = {"seed": number + 1}
            space.apply(manifest)
        eventually(lambda: condition(space, "Prepared", "r-0") == ("False", "AdmissionUnavailable"))
        message = space.there("finetuneruns", "r-0")["status"]["message"]
        assert "failed calling webhook" in message
        assert condition(space, "Ready", "invoice-fields", "finetunepolicies")[0] == "True"
        at_rest(lambda: str(space.there("finetuneruns", "r-0")["metadata"]), seconds=10, what="it is said once")
        eventually(lambda: "AdmissionUnavailable" in events(space, "r-0"), what="an Event")
        assert events(space, "r-0").count("AdmissionUnavailable") == 1
        assert operator.metric("finetune_reconciles_total", UNANSWERED) == unanswered
    eventually(lambda: condition(space, "Prepared", "r-0")[0] == "True", seconds=90, what="it goes on by itself")
    assert "webhook" not in str(space.there("finetuneruns", "r-0")["status"].get("message"))


def test_a_webhook_that_hangs_holds_no_other_namespace(
    operator: Operator, plane: ControlPlane, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    other = f"{space.namespace}-hangs"
    make_namespace(space.server, other)
    with closing(Space(space.server, other)) as hanging:
        for kind, manifest in stage():
            if kind is not Kind.MODEL_VERSION:
                hanging.apply(manifest)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.listen(128)
            with rules(hanging, **webhook_down(hanging, silent.getsockname()[1], seconds=10)):
                hanging.apply(next(m for k, m in stage() if k is Kind.MODEL_VERSION))
                assert hanging.patch("finetunepolicies", "invoice-fields", {"spec": {"concurrency": 100}}).accepted
                for number in range(60):
                    hanging.apply(run(f"r-{number}"))
                eventually(lambda: "AdmissionUnavailable" in str(hanging.all("finetuneruns")), what="it is away")
                space.apply(run())
                # Where each of its dozens of steps waited for the webhook, it would take minutes.
                eventually(lambda: space.phase("first") == "Promoted", seconds=30, what="nobody waits for the webhook")


def test_labels_that_a_rule_demands_of_jobs_come_from_the_pod_template(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    with rules(space, **label_demanded(space)):
        base_again(space)
        eventually(lambda: condition(space, "Verified", BASE, "modelversions") == ("Unknown", "JobRefused"))
        assert "Jobs need the label cost-centre" in space.there("modelversions", BASE)["status"]["message"]
        labels = {"metadata": {"labels": {"cost-centre": "42"}}}
        for name in ("cpu-trainer", "gpu-trainer"):
            assert space.patch("podtemplates", name, labels).accepted
        eventually(verified(space), what="the edit of the PodTemplate heals it")
        assert [labels["cost-centre"] for labels in of_base(space)] == ["42"]


@pytest.mark.parametrize("by", ["policy", "template"])
def test_a_base_is_verified_where_every_job_needs_a_queue(
    operator: Operator, space: Space, node: ScriptedNode, by: str
) -> None:
    with rules(space, **suspended_without_queue(space)):
        base_again(space)
        eventually(lambda: condition(space, "Verified", BASE, "modelversions") == ("Unknown", "Queued"))
        if by == "policy":
            queue = {"spec": {"jobs": {"queueName": "rules"}}}
            assert space.patch("finetunepolicies", "invoice-fields", queue).accepted
        else:
            label = {"metadata": {"labels": {QUEUE: "rules"}}}
            assert space.patch("podtemplates", "cpu-trainer", label).accepted
        eventually(verified(space), what="its Job has a queue")
        assert [labels.get(QUEUE) for labels in of_base(space)] == ["rules"]


def test_a_run_cannot_leave_the_policys_queue(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    assert space.patch("finetunepolicies", "invoice-fields", {"spec": {"jobs": {"queueName": "rules"}}}).accepted
    manifest = run()
    manifest["spec"]["queueName"] = "fast-lane"
    space.apply(manifest)
    eventually(lambda: condition(space, "Accepted") == ("True", "QueueNotAllowed"))
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="it goes on")
    own = [j for j in space.all("jobs") if j["metadata"]["labels"]["finetune-operator.io/owner-name"] == "first"]
    assert {job["metadata"]["labels"][QUEUE] for job in own} == {"rules"}


def test_a_quota_on_jobs_is_said_and_finished_jobs_make_room(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "jobs"}}
    path = f"/api/v1/namespaces/{space.namespace}/resourcequotas"
    answer = space.server.request("POST", path, {**quota, "spec": {"hard": {"count/jobs.batch": "1"}}})
    assert answer.accepted, answer.message
    hard = lambda: (space.server.request("GET", f"{path}/jobs").body.get("status") or {}).get("used")  # noqa: E731
    eventually(hard, what="the quota counts")
    space.apply(run())
    eventually(lambda: condition(space, "Prepared") == ("False", "QuotaExceeded"))
    eventually(lambda: events(space, "first").count("QuotaExceeded") == 1, what="an Event")
    assert space.patch("finetunepolicies", "invoice-fields", {"spec": {"jobs": {"keep": 0}}}).accepted
    eventually(lambda: space.phase("first") == "Promoted", seconds=150, what="each finished Job makes room")
    assert events(space, "first").count("QuotaExceeded") <= 4  # for each step once, at most
    eventually(lambda: space.all("jobs") == [], what="none stays")


def test_resources_that_no_pod_can_have_end_a_run_before_any_job(operator: Operator, space: Space) -> None:
    manifest = run()
    manifest["spec"]["resources"] = {"requests": {"memory": "8Gi"}, "limits": {"memory": "4Gi"}}
    space.apply(manifest)
    eventually(lambda: space.phase("first") == "Failed", what="it is refused")
    assert condition(space, "Accepted") == ("False", "ResourcesInvalid")
    assert "above its limit of 4Gi" in space.there("finetuneruns", "first")["status"]["message"]


def test_only_the_newest_finished_jobs_of_a_policy_stay(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    assert space.patch("finetunepolicies", "invoice-fields", {"spec": {"jobs": {"keep": 2}}}).accepted
    space.apply(run())
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="the run ends")
    eventually(lambda: len(space.all("jobs")) == 2, what="two Jobs stay")
    left = sorted(job["metadata"]["labels"]["finetune-operator.io/step"] for job in space.all("jobs"))
    assert left == ["evaluate", "train"]
    attempts = space.there("finetuneruns", "first")["status"]["attempts"]
    assert [a["outcome"] for a in attempts] == ["Succeeded"] * 3
    deletes = 'finetune_api_request_duration_seconds_count{verb="delete"}'
    at_rest(lambda: operator.metric(deletes), seconds=3, what="what is kept is deleted again and again")
