"""Somebody makes objects under our names, as a namespace editor can: what the gates reject stays rejected."""

import copy
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from finetune_operator.api import names
from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.names import job_name, sha256_of, snapshot_name
from finetune_operator.api.policy import Policy
from finetune_operator.api.run import Run
from finetune_operator.api.run_document import document_text
from finetune_operator.api.value import parse
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.decide.snapshot import snapshot_of_run

from .controllers import NAMESPACE
from .invariants import served, violations
from .stories import API, STORIES, USER, World, run
from .trainer_script import Trainer

REJECTED = next(story for story in STORIES if story.name == "reject")
EVIL = Trainer(candidate="0.990000")
EDITOR = "editor"


class Attacked(World):
    """A world in which somebody acts before the operator does; images named `evil` say what their owner wants."""

    attack: Callable[["Attacked"], None] = staticmethod(lambda world: None)
    suspends = False

    def __post_init__(self) -> None:
        super().__post_init__()
        honest, finish = self.jobs.script, self.jobs._finish

        def by_image(job: Object, pod: Object) -> None:
            evil = any(c.get("image") == "evil" for c in pod["spec"]["containers"])
            self.jobs.script = EVIL if evil else honest
            finish(job, pod)

        self.jobs._finish = by_image  # type: ignore[method-assign]

    def _user(self) -> None:
        policy = self.server.get(Kind.POLICY, NAMESPACE, "invoice-fields") or {}
        live = (policy.get("status") or {}).get("live")
        if self.suspends and live and self.server.get(Kind.RUN, NAMESPACE, "first") is None:
            made = run()
            made["spec"]["suspend"] = True
            self.server.create(USER, Kind.RUN, NAMESPACE, made)
        self.attack(self)
        super()._user()

    def run_status(self) -> dict[str, Any]:
        item = self.server.get(Kind.RUN, NAMESPACE, "first") or {}
        return item.get("status") or {}

    def resume(self) -> None:
        self.server.update_spec(USER, Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(suspend=False))

    def keys(self) -> tuple[str | None, ...] | None:
        return served(self.server.get(Kind.DEPLOYMENT, NAMESPACE, "invoice-detector"))

    def holds(self, *phases: str) -> None:
        """What is live is the base, whatever was tried; and the run has ended in one of `phases`."""
        assert self.run_status().get("phase") in phases, self.run_status().get("message")
        assert (self.keys() or (None,))[0] == "base_v1"
        assert violations(self) == []


def reference(kind: str, api: str, item: Object) -> list[Object]:
    meta = item["metadata"]
    return [{"apiVersion": api, "kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": True}]


def lenient(world: World) -> Object:
    """Return the run's ConfigMap as the operator would make it, with the editor's gates."""
    item = world.get(Kind.RUN, "first")
    uid = item["metadata"]["uid"]
    policy = parse(world.get(Kind.POLICY, "invoice-fields"), Policy)
    base = parse(world.get(Kind.MODEL_VERSION, "invoice-fields-base-v1"), ModelVersion)
    document = json.loads(document_text(snapshot_of_run(parse(item, Run), policy, base)))
    document["gates"]["regression"] = {"reviewAtPoints": "100", "rejectAbovePoints": "100"}
    labels = {names.MANAGED_BY_LABEL: names.FIELD_MANAGER, names.OWNER_UID_LABEL: uid}
    metadata = {"name": snapshot_name("first", uid), "namespace": NAMESPACE, "labels": labels,
                "ownerReferences": reference("FineTuneRun", API, item)}  # fmt: skip
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"run.json": json.dumps(document)}}


def planned(world: Attacked, step: str) -> bool:
    return any(attempt["step"] == step for attempt in world.run_status().get("attempts", ()))


def planted_before(kind: Kind, forged: Callable[[Attacked], Object]) -> Attacked:
    """Play a run that is resumed when somebody has made an object under a name of its own."""
    world = Attacked(REJECTED)
    world.suspends = True

    def attack(world: Attacked) -> None:
        if world.run_status().get("phase") == "Suspended":
            world.server.create(EDITOR, kind, NAMESPACE, forged(world))
            world.resume()

    world.attack = attack
    world.play()
    return world


@pytest.mark.row("R37")
def test_a_document_made_before_the_runs_own_is_not_judged_by() -> None:
    world = planted_before(Kind.CONFIG_MAP, lenient)
    world.holds("Failed")
    assert "SnapshotInvalid" in str(world.run_status()["conditions"])


@pytest.mark.row("R37")
def test_a_document_made_again_during_a_step_is_not_judged_by() -> None:
    world = Attacked(REJECTED)
    done: list[Object] = []

    def attack(world: Attacked) -> None:
        if not done and planned(world, "evaluate"):
            done.append(lenient(world))
            world.server.delete(EDITOR, Kind.CONFIG_MAP, NAMESPACE, done[0]["metadata"]["name"])
            world.server.create(EDITOR, Kind.CONFIG_MAP, NAMESPACE, done[0])

    world.attack = attack
    world.play()
    world.holds("Failed")
    assert "has sha256" in world.run_status()["message"]


@pytest.mark.row("R70")
def test_a_job_made_before_its_attempt_is_not_ours_and_the_next_number_is() -> None:
    world = planted_before(Kind.JOB, forged_job)
    world.holds("Rejected")
    evaluations = [a for a in world.run_status()["attempts"] if a["step"] == "evaluate"]
    assert [(a["attempt"], a["outcome"], a.get("reason", "")) for a in evaluations] == [
        (1, "Failed", "JobNotOurs"),
        (2, "Succeeded", ""),
    ]


def forged_job(world: Attacked) -> Object:
    item = world.get(Kind.RUN, "first")
    uid = item["metadata"]["uid"]
    labels = {names.MANAGED_BY_LABEL: names.FIELD_MANAGER, names.OWNER_KIND_LABEL: "FineTuneRun",
              names.OWNER_NAME_LABEL: "first", names.OWNER_UID_LABEL: uid, names.STEP_LABEL: "evaluate",
              names.ATTEMPT_LABEL: "1", names.ROUND_LABEL: "1"}  # fmt: skip
    inputs = {"attempt": 1, "round": 1, "candidate": {"sha256": sha256_of(b"first")}, "live": None}
    container = {"name": "trainer", "image": "evil", "args": ["job", "evaluate", "--inputs", json.dumps(inputs)]}
    volumes = [{"name": "finetune-document", "configMap": {"name": snapshot_name("first", uid)}}]
    metadata = {"name": job_name("first", "evaluate", 1, uid), "labels": labels,
                "ownerReferences": reference("FineTuneRun", API, item)}  # fmt: skip
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}


@pytest.mark.row("R72")
@pytest.mark.row("R73")
@pytest.mark.parametrize("likeness", ["its own image", "the template's own words"])
def test_a_pod_under_a_jobs_labels_is_not_believed(likeness: str) -> None:
    world = Attacked(REJECTED)
    done: list[str] = []

    def attack(world: Attacked) -> None:
        for job in world.server.list(Kind.JOB, NAMESPACE):
            real = world.server.get(Kind.POD, NAMESPACE, f"{job['metadata']['name']}-pod")
            if done or real is None or job["metadata"]["labels"].get(names.STEP_LABEL) != "evaluate":
                continue
            if job["metadata"]["labels"][names.OWNER_NAME_LABEL] == "first":
                world.server.advance(2)
                done.append(job["metadata"]["name"])
                forged_pod(world, job, real, image="evil" if likeness == "its own image" else None)

    world.attack = attack
    world.play()
    assert done
    world.holds("Rejected")
    reasons = {a.get("reason", "") for a in world.run_status()["attempts"]}
    assert ("AmbiguousPods" in reasons) == (likeness == "the template's own words")


def forged_pod(world: Attacked, job: Object, real: Object, *, image: str | None) -> None:
    spec = copy.deepcopy(real["spec"])
    arguments = spec["containers"][0]["args"]
    if image:
        spec["containers"][0]["image"] = image
    _, message = EVIL("evaluate", world.jobs._document(real), json.loads(arguments[3]))
    metadata = {"name": "not-the-trainer", "labels": real["metadata"]["labels"],
                "ownerReferences": reference("Job", "batch/v1", job)}  # fmt: skip
    made = world.server.create(EDITOR, Kind.POD, NAMESPACE, {"metadata": metadata, "spec": spec})["metadata"]
    at = datetime.isoformat(world.server.now).replace("+00:00", "Z")
    ended = {"exitCode": 0, "startedAt": at, "finishedAt": at, "message": json.dumps(message)}
    status = {"phase": "Succeeded", "containerStatuses": [{"name": "trainer", "state": {"terminated": ended}}]}
    world.server.patch_status(
        "kubelet", Kind.POD, NAMESPACE, made["name"], made["uid"], made["resourceVersion"], {"status": status}
    )
