"""What people with Kubernetes' own roles can put under our names: what the gates reject stays rejected."""

import copy
import json
from collections.abc import Iterator

import pytest

from finetune_operator.api import names
from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.names import job_name, snapshot_name
from finetune_operator.api.policy import Policy
from finetune_operator.api.run import Run
from finetune_operator.api.run_document import document_text
from finetune_operator.api.value import parse
from finetune_operator.decide.snapshot import snapshot_of_run
from house.api_server import ApiServer, Object
from local_cluster import ControlPlane
from simulation.stories import API, run
from simulation.trainer_script import Trainer, digest

from .editors import EVIL, MERGE, EvilNode, signed_in
from .test_stories import _live, base_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


@pytest.fixture
def node(plane: ControlPlane, space: Space) -> Iterator[EvilNode]:
    """A node whose honest evaluator loses seven points: the gates reject."""
    node = EvilNode(ApiServer(plane), space.namespace, Trainer(candidate="0.900000"))
    with node:
        yield node


@pytest.fixture
def eve(plane: ControlPlane, operator: Operator, space: Space, node: EvilNode) -> Iterator[Space]:
    """The namespace in which base_v1 is live, as somebody with the role `edit` has it."""
    base_live(space)
    with signed_in(plane, space, "eve") as theirs:
        yield theirs


@pytest.fixture
def adam(plane: ControlPlane, operator: Operator, space: Space, node: EvilNode) -> Iterator[Space]:
    """The same, with the role `admin`."""
    base_live(space)
    with signed_in(plane, space, "adam") as theirs:
        yield theirs


def status(space: Space) -> Object:
    now: Object = space.there("finetuneruns", "first")["status"]
    return now


def ends(space: Space, phase: str) -> Object:
    """Wait for the run's end and return its status: what is live is the base, whatever was tried."""
    eventually(lambda: status(space).get("finishedAt"), seconds=120, what="the run ends")
    assert status(space)["phase"] == phase, status(space).get("message")
    assert (_live(space), space.served()) == ("base_v1", "base_v1")
    return status(space)


def tries(space: Space) -> list[tuple[int, str, str]]:
    return [(a["attempt"], a["outcome"], a.get("reason", "")) for a in status(space).get("attempts", ())
            if a["step"] == "evaluate"]  # fmt: skip


def reference(api: str, owner: Object) -> list[Object]:
    meta = owner["metadata"]
    return [{"apiVersion": api, "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"], "controller": True}]


def suspended(theirs: Space) -> Object:
    """Apply a run that waits, and return it: its uid, and so all of its names, are known before anything is made."""
    manifest = run()
    item = theirs.apply({**manifest, "spec": {**manifest["spec"], "suspend": True}})
    eventually(lambda: theirs.phase("first") == "Suspended", what="it is suspended")
    return item


def resume(theirs: Space) -> None:
    answer = theirs.patch("finetuneruns", "first", {"spec": {"suspend": False}}, MERGE)
    assert answer.accepted, answer.message


def lenient(space: Space, item: Object) -> Object:
    """Return the run's document as the operator would make it, with gates that pass anything."""
    policy = parse(space.there("finetunepolicies", "invoice-fields"), Policy)
    base = parse(space.there("modelversions", "invoice-fields-base-v1"), ModelVersion)
    document = json.loads(document_text(snapshot_of_run(parse(item, Run), policy, base)))
    document["gates"]["regression"] = {"reviewAtPoints": "100", "rejectAbovePoints": "100"}
    uid = item["metadata"]["uid"]
    labels = {names.MANAGED_BY_LABEL: names.FIELD_MANAGER, names.OWNER_UID_LABEL: uid}
    metadata = {"name": snapshot_name("first", uid), "labels": labels, "ownerReferences": reference(API, item)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"run.json": json.dumps(document)}}


def evaluating(theirs: Space, node: EvilNode) -> tuple[Object, Object]:
    """Apply a run and hold it at its evaluation; return the Job and the pod."""
    node.holds.add("evaluate")
    theirs.apply(run())
    eventually(lambda: ("evaluate", "first") in node.started, seconds=90, what="it is evaluated")
    job = next(j for j in theirs.all("jobs") if "first-evaluate" in j["metadata"]["name"])
    pod = next(p for p in theirs.all("pods") if p["metadata"]["name"].startswith(job["metadata"]["name"]))
    return {**job, "kind": "Job"}, pod


def forged(job: Object, real: Object, image: str, **meta: object) -> Object:
    """Return a pod that says it is the Job's."""
    spec = copy.deepcopy(real["spec"])
    trainer = next(c for c in spec["containers"] if c["name"] == "trainer")
    trainer["image"] = image
    for by_the_server in ("nodeName", "serviceAccount"):
        spec.pop(by_the_server, None)
    labels, owners = real["metadata"]["labels"], reference("batch/v1", job)
    return {"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": "not-the-trainer", "labels": labels, "ownerReferences": owners, **meta}}  # fmt: skip


@pytest.mark.parametrize("user", ["eve", "adam"])
def test_who_may_make_children_still_writes_no_status(plane: ControlPlane, space: Space, user: str) -> None:
    def may(verb: str, group: str, resource: str, subresource: str = "") -> bool:
        what = {"namespace": space.namespace, "verb": verb, "group": group, "resource": resource}
        spec = {"user": user, "resourceAttributes": {**what, "subresource": subresource}}
        return bool(space.server.request("POST", REVIEWS, {"spec": spec}).body["status"]["allowed"])

    with signed_in(plane, space, user):
        pass
    assert all(may("create", group, kind) for group, kind in (("", "configmaps"), ("", "pods"), ("batch", "jobs")))
    statuses = [("", "pods"), ("batch", "jobs"), *((names.GROUP, plural) for plural in (
        "finetuneruns", "modelversions", "finetunepolicies", "modelpromotions"))]  # fmt: skip
    assert not any(may("patch", group, kind, "status") for group, kind in statuses)


@pytest.mark.row("R37")
def test_a_document_made_before_the_runs_own_is_not_judged_by(eve: Space, space: Space) -> None:
    eve.apply(lenient(space, suspended(eve)))
    resume(eve)
    ended = ends(space, "Failed")
    assert "SnapshotInvalid" in str(ended["conditions"]), ended
    assert "verdict" not in ended
    assert space.get("modelversions", "invoice-fields-ft-v1.1") is None


@pytest.mark.deep
@pytest.mark.row("R37")
def test_a_document_made_again_during_a_step_is_not_judged_by(eve: Space, space: Space, node: EvilNode) -> None:
    evaluating(eve, node)
    other = lenient(space, space.there("finetuneruns", "first"))
    eve.delete("configmaps", other["metadata"]["name"])
    eve.apply(other)
    node.holds.clear()
    ended = ends(space, "Failed")
    assert "SnapshotInvalid" in str(ended["conditions"]), ended
    assert "has sha256" in ended["message"]


@pytest.mark.row("R70")
def test_a_job_made_beforehand_and_released_later_is_nobody_we_listen_to(eve: Space, space: Space) -> None:
    item = suspended(eve)
    eve.apply(forged_job(item))
    resume(eve)
    eventually(lambda: tries(space)[:1] == [(1, "Failed", "JobNotOurs")], seconds=90, what="it is not taken for ours")
    name = job_name("first", "evaluate", 1, item["metadata"]["uid"])
    released = eve.patch("jobs", name, {"spec": {"suspend": False}}, MERGE)
    assert released.accepted or released.status == 404, released.message  # the operator deletes it meanwhile
    ends(space, "Rejected")
    assert tries(space) == [(1, "Failed", "JobNotOurs"), (2, "Succeeded", "")]


def forged_job(item: Object) -> Object:
    uid = item["metadata"]["uid"]
    labels = {names.MANAGED_BY_LABEL: names.FIELD_MANAGER, names.OWNER_KIND_LABEL: "FineTuneRun",
              names.OWNER_NAME_LABEL: "first", names.OWNER_UID_LABEL: uid, names.STEP_LABEL: "evaluate",
              names.ATTEMPT_LABEL: "1", names.ROUND_LABEL: "1"}  # fmt: skip
    inputs = {"attempt": 1, "round": 1, "candidate": {"sha256": digest("first")}, "live": None}
    trainer = {"name": "trainer", "image": EVIL, "args": ["job", "evaluate", "--inputs", json.dumps(inputs)]}
    spec = {"restartPolicy": "Never", "containers": [trainer],
            "volumes": [{"name": "finetune-document", "configMap": {"name": snapshot_name("first", uid)}}]}  # fmt: skip
    metadata = {
        "name": job_name("first", "evaluate", 1, uid),
        "labels": labels,
        "ownerReferences": reference(API, item),
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
            "spec": {"suspend": True, "backoffLimit": 0, "template": template}}  # fmt: skip


@pytest.mark.row("R71")
def test_the_job_that_runs_cannot_be_given_another_trainer(eve: Space, node: EvilNode) -> None:
    job, _ = evaluating(eve, node)
    trainer = {"name": "trainer", "image": EVIL}
    patch = {"spec": {"template": {"spec": {"containers": [trainer]}}}}
    refused = eve.patch("jobs", job["metadata"]["name"], patch, "application/strategic-merge-patch+json")
    assert "field is immutable" in refused.message


@pytest.mark.deep
@pytest.mark.row("R72")
def test_a_pod_that_ends_before_the_jobs_own_is_not_believed(eve: Space, space: Space, node: EvilNode) -> None:
    job, real = evaluating(eve, node)
    believed_by_nobody(eve, space, node, forged(job, real, EVIL))


@pytest.mark.deep
@pytest.mark.row("R72")
def test_a_pod_that_a_finalizer_keeps_is_not_believed_either(adam: Space, space: Space, node: EvilNode) -> None:
    job, real = evaluating(adam, node)
    believed_by_nobody(adam, space, node, forged(job, real, EVIL, finalizers=["adam.example/keep"]))
    adam.patch("pods", "not-the-trainer", {"metadata": {"finalizers": None}}, MERGE)


def believed_by_nobody(theirs: Space, space: Space, node: EvilNode, pod: Object) -> None:
    theirs.apply(pod)
    spoken = lambda: (space.get("pods", "not-the-trainer") or {}).get("status", {}).get("phase") != "Pending"  # noqa: E731
    eventually(spoken, what="it says what it wants, or is gone")
    node.holds.clear()
    ended = ends(space, "Rejected")
    assert ended["verdict"] == "Reject", ended


@pytest.mark.row("R72")
def test_a_pod_by_which_the_jobs_controller_takes_the_job_for_complete_is_not_believed(
    eve: Space, space: Space, node: EvilNode
) -> None:
    job, real = evaluating(eve, node)
    eve.apply(forged(job, real, EVIL, finalizers=["batch.kubernetes.io/job-tracking"]))
    eventually(lambda: (space.get("jobs", job["metadata"]["name"]) or {}).get("status", {}).get("succeeded"),
               what="the Job's controller counts it")  # fmt: skip
    node.holds.clear()
    ends(space, "Rejected")
    assert [outcome for _, outcome, _ in tries(space)][-1] == "Succeeded"


@pytest.mark.deep
@pytest.mark.row("R73")
def test_a_pod_in_the_jobs_own_words_makes_neither_of_them_believed(eve: Space, space: Space, node: EvilNode) -> None:
    job, real = evaluating(eve, node)
    image = next(c["image"] for c in real["spec"]["containers"] if c["name"] == "trainer")
    kept = {"finalizers": ["eve.example/keep"]}  # or the Job's controller takes one of the two away
    eve.apply(forged(job, real, image, **kept))
    eventually(lambda: len([p for p in eve.all("pods") if "first-evaluate" in p["metadata"]["name"]
                            or p["metadata"]["name"] == "not-the-trainer"]) > 1, what="both are there")  # fmt: skip
    node.holds.clear()
    ends(space, "Rejected")
    eve.patch("pods", "not-the-trainer", {"metadata": {"finalizers": None}}, MERGE)
    assert {reason for _, _, reason in tries(space)} <= {"", "AmbiguousPods"}


LABELS = (names.OWNER_UID_LABEL, names.STEP_LABEL, names.NONCE_LABEL, names.MANAGED_BY_LABEL)


@pytest.mark.row("R97")
@pytest.mark.parametrize(
    "lost",
    [{"labels": dict.fromkeys(LABELS)}, pytest.param({"ownerReferences": None}, marks=pytest.mark.deep)],
    ids=["labels", "owner"],
)
def test_a_job_that_lost_what_it_is_known_by_is_heard_all_the_same(
    eve: Space, space: Space, node: EvilNode, lost: Object
) -> None:
    job, _ = evaluating(eve, node)
    assert eve.patch("jobs", job["metadata"]["name"], {"metadata": lost}, MERGE).accepted
    node.holds.clear()
    ends(space, "Rejected")
    assert tries(space) == [(1, "Succeeded", "")]


@pytest.mark.deep
@pytest.mark.row("R96")
def test_a_job_that_something_keeps_from_being_collected_holds_nothing_up(
    eve: Space, space: Space, node: EvilNode
) -> None:
    job, _ = evaluating(eve, node)
    owner = {**reference("batch/v1", job)[0], "controller": False, "blockOwnerDeletion": True}
    kept = {"name": "blocker", "finalizers": ["eve.example/keep"], "ownerReferences": [owner]}
    eve.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": kept})
    assert eve.patch("finetuneruns", "first", {"spec": {"suspend": True}}, MERGE).accepted
    eventually(lambda: eve.phase("first") == "Suspended", what="it is suspended")
    node.holds.clear()
    resume(eve)
    ends(space, "Rejected")
    assert (eve.get("jobs", job["metadata"]["name"]) or {})["metadata"]["finalizers"] == ["foregroundDeletion"]
    eve.patch("configmaps", "blocker", {"metadata": {"finalizers": None}}, MERGE)


@pytest.mark.deep
@pytest.mark.row("R98")
def test_a_job_that_somebody_allows_no_pods_says_how_to_go_on(eve: Space, space: Space, node: EvilNode) -> None:
    job, _ = evaluating(eve, node)
    assert eve.patch("jobs", job["metadata"]["name"], {"spec": {"parallelism": 0}}, MERGE).accepted
    eventually(lambda: "kubectl patch job" in status(space).get("message", ""), what="it says so")
    assert eve.patch("jobs", job["metadata"]["name"], {"spec": {"parallelism": 1}}, MERGE).accepted
    node.holds.clear()
    ends(space, "Rejected")


@pytest.mark.row("R72")
def test_an_image_that_is_changed_and_changed_back_is_not_believed(eve: Space, space: Space, node: EvilNode) -> None:
    """A pod may be given another image while it runs, and the kubelet starts that."""
    _, pod = evaluating(eve, node)
    name, trainer = pod["metadata"]["name"], pod["spec"]["containers"][0]
    for image in (EVIL, trainer["image"]):
        changed = {"spec": {"containers": [{"name": "trainer", "image": image}]}}
        assert eve.patch("pods", name, changed, "application/strategic-merge-patch+json").accepted
        if image == EVIL:
            eventually(lambda: (space.get("pods", name) or {})["status"]["phase"] == "Succeeded", what="it lies")
    node.holds.clear()
    ends(space, "Rejected")
    assert (tries(space)[0], tries(space)[-1][1]) == ((1, "Failed", "PodNotOurs"), "Succeeded")
