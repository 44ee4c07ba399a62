"""A scripted node on a real API server: pods of Jobs run and end as a story wants, those of Deployments get ready."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from house.api_server import ApiServer, Object
from house.followed import Followed
from simulation.trainer_script import RESULT, Trainer

OURS = "app.kubernetes.io%2Fmanaged-by%3Dfinetune-operator"
POLL = 0.1
"""Seconds between two looks at the pods, which asks nobody anything."""
_READY: Object = {"type": "Ready", "status": "True"}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class ScriptedNode:
    """Writes pod statuses as a kubelet would; `answer` gives the exit code and the termination message of a step.

    `holds` names steps whose pods run but do not end; `broken` names versions whose server runs and never becomes
    ready, and `crowded` those whose pods find no room on any node. `serves` gives a
    serving pod's status in place of the script; empty: it is left as it is.
    """

    server: ApiServer
    namespace: str
    answer: Callable[[str, Object, Object], tuple[int, Object]] = field(default_factory=Trainer)
    holds: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    crowded: set[str] = field(default_factory=set)
    serves: Callable[[Object], Object | None] = lambda pod: None
    started: list[tuple[str, str]] = field(default_factory=list)
    takes: Callable[[Object], bool] | None = None
    """May take over a pod of a Job, as the kubelet of a story of its own; then it returns True."""
    published: set[tuple[str, str, int]] = field(default_factory=set)
    """Owner, step and attempt of every manifest that is complete."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._pods = Followed(self.server.beside(), f"/api/v1/namespaces/{self.namespace}/pods")

    def __enter__(self) -> "ScriptedNode":
        self._pods.__enter__()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(60)
        self._pods.__exit__(None, None, None)
        self.server.close()

    def _run(self) -> None:
        while not self._stop.wait(POLL):
            for pod in self._seen():
                if pod["metadata"].get("deletionTimestamp") is not None:
                    continue
                if pod["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "finetune-operator":
                    if self.takes is None or not self.takes(pod):
                        self._step(pod)
                else:
                    status = self.serves(pod)
                    if status:
                        self._status(pod, status)
                    elif status is None:
                        self._serve(pod)

    def _step(self, pod: Object) -> None:
        labels, phase = pod["metadata"]["labels"], pod.get("status", {}).get("phase")
        step = labels["finetune-operator.io/step"]
        if phase == "Pending":
            if not _collects(pod):
                self.started.append((step, labels["finetune-operator.io/owner-name"]))
            self._status(pod, {"phase": "Running", "startTime": now(), "containerStatuses": [
                _container("trainer", {"running": {"startedAt": now()}}, ready=True)]})  # fmt: skip
        elif phase == "Running" and step not in self.holds:
            document = self._document(pod)
            if document is None:
                return  # deleted with its run meanwhile
            code, ended = self.end(pod, step, document)
            self._status(pod, {"phase": "Succeeded" if code == 0 else "Failed", "containerStatuses": [
                _container("trainer", ended, ready=False)]})  # fmt: skip

    def end(self, pod: Object, step: str, document: Object) -> tuple[int, Object]:
        """Return exit code and state of a trainer that ends; one that collects brings what is published alone."""
        inputs = _inputs(pod)
        manifest = (document["owner"]["uid"], step, inputs["attempt"])
        if _collects(pod) and manifest not in self.published:
            code, message = 1, _missing(*manifest)
        else:
            code, message = self.answer(step, document, inputs)
        if code == 0:
            self.published.add(manifest)
        return code, {"terminated": {
            "exitCode": code, "message": json.dumps(message), "startedAt": now(), "finishedAt": now(),
            "reason": "Completed" if code == 0 else "Error",
        }}  # fmt: skip

    def _serve(self, pod: Object) -> None:
        annotations = pod["metadata"].get("annotations") or {}
        version = annotations.get("finetune-operator.io/model-version")
        if version in self.crowded:
            full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient cpu"}
            if not pod.get("status", {}).get("conditions"):
                self._status(pod, {"phase": "Pending", "conditions": [full]})
        if version in self.broken and not pod.get("status", {}).get("containerStatuses"):
            self._status(pod, {"phase": "Running", "conditions": [{**_READY, "status": "False"}], "containerStatuses": [
                _container("server", {"running": {"startedAt": now()}}, ready=False)]})  # fmt: skip
        if version in self.broken | self.crowded:
            return
        ready = {**_READY, "lastTransitionTime": now()}
        known = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or ()}
        if known.get("Ready") != "True":
            self._status(pod, {"phase": "Running", "conditions": [ready], "containerStatuses": [
                _container("server", {"running": {"startedAt": now()}}, ready=True)]})  # fmt: skip

    def _document(self, pod: Object) -> Object | None:
        volumes = pod["spec"]["volumes"]
        name = next(v["configMap"]["name"] for v in volumes if v["name"] == "finetune-document")
        data = self._get(f"/configmaps/{name}").get("data")
        document: Object | None = data and json.loads(data["run.json"])
        return document

    def _get(self, path: str) -> Object:
        return self.server.request("GET", f"/api/v1/namespaces/{self.namespace}{path}").body

    def _seen(self) -> list[Object]:
        """Return the pods that the node takes for its own."""
        return self._pods.all()

    def _status(self, pod: Object, status: Object) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}/status"
        answer = self.server.request("PATCH", path, {"status": status}, "application/merge-patch+json")
        if answer.accepted:
            self._pods.note(answer.body)


def _collects(pod: Object) -> bool:
    return bool(pod["metadata"]["labels"].get("finetune-operator.io/collect") == "true")


def _missing(owner: str, step: str, attempt: int) -> Object:
    error = {"class": "Internal", "reason": "ResultMissing", "message": "no manifest", "remedy": ""}
    return {"schema": RESULT, "step": step, "owner": owner, "attempt": attempt, "outcome": "Failed", "error": error}


def _container(name: str, state: Object, *, ready: bool) -> Object:
    return {"name": name, "image": "none", "imageID": "none", "restartCount": 0, "ready": ready, "state": state}


def _inputs(pod: Object) -> Object:
    args = next(c["args"] for c in pod["spec"]["containers"] if c["name"] == "trainer")
    inputs: Object = json.loads(args[args.index("--inputs") + 1])
    return inputs
