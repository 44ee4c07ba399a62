"""Models of the Job and Deployment controllers with their pods, in virtual time, and a scripted trainer."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .api_server import ApiServer, merge

NAMESPACE = "ml"
ACTOR = "kubernetes"
Script = Callable[[str, Object, Object], tuple[int, Object]]
"""(step, run document, step inputs) -> (exit code, termination message)."""


def parse_time(text: str) -> datetime:
    """Return an API server's time stamp as a datetime."""
    return datetime.fromisoformat(text)


@dataclass
class Jobs:
    """The Job controller, the scheduler and the kubelet at once: a pod per Job that ends after `seconds`."""

    server: ApiServer
    script: Script
    seconds: float = 30
    created: list[tuple[str, str]] = field(default_factory=list)
    """Every Job ever seen, as (name, uid)."""

    def tick(self) -> None:
        """Bring every Job and its pod one step further."""
        for job in self.server.list(Kind.JOB, NAMESPACE):
            name, uid = job["metadata"]["name"], job["metadata"]["uid"]
            if (name, uid) not in self.created:
                self.created.append((name, uid))
            if _finished(job):
                continue
            pod = self.server.get(Kind.POD, NAMESPACE, f"{name}-pod")
            if pod is None:
                self._start(job)
            elif self.server.now >= self._end(pod):
                self._finish(job, pod)

    def next_event(self) -> datetime | None:
        """Return when the next pod ends."""
        pods = (
            self.server.get(Kind.POD, NAMESPACE, f"{j['metadata']['name']}-pod")
            for j in self.server.list(Kind.JOB, NAMESPACE)
            if not _finished(j)
        )
        return min((self._end(pod) for pod in pods if pod), default=None)

    def _end(self, pod: Object) -> datetime:
        started = parse_time(pod["status"]["startTime"])
        return datetime.fromtimestamp(started.timestamp() + self.seconds, tz=started.tzinfo)

    def _start(self, job: Object) -> None:
        meta, template = job["metadata"], job["spec"]["template"]
        pod = {
            "metadata": {
                "name": f"{meta['name']}-pod",
                "labels": (template["metadata"].get("labels") or {})
                | {"job-name": meta["name"], "batch.kubernetes.io/job-name": meta["name"]},
                "ownerReferences": [
                    {
                        "apiVersion": "batch/v1",
                        "kind": "Job",
                        "name": meta["name"],
                        "uid": meta["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": template["spec"],
        }
        made = self.server.create(ACTOR, Kind.POD, NAMESPACE, pod)
        started = self.server.stamp()
        running = {"name": "trainer", "state": {"running": {"startedAt": started}}, "ready": True}
        self._status(Kind.POD, made, {"phase": "Running", "startTime": started, "containerStatuses": [running]})
        current = self.server.get(Kind.JOB, NAMESPACE, meta["name"])
        if current is not None:
            self._status(Kind.JOB, current, {"active": 1, "startTime": started})

    def _finish(self, job: Object, pod: Object) -> None:
        container = next(c for c in pod["spec"]["containers"] if c["name"] == "trainer")
        step, inputs = container["args"][1], json.loads(container["args"][3])
        document = self._document(pod)
        code, message = self.script(step, document, inputs)
        ended = {
            "exitCode": code,
            "startedAt": pod["status"]["startTime"],
            "finishedAt": self.server.stamp(),
            "message": json.dumps(message),
            "reason": "Completed" if code == 0 else "Error",
        }
        phase = "Succeeded" if code == 0 else "Failed"
        statuses = [{"name": "trainer", "state": {"terminated": ended}, "ready": False}]
        self._status(Kind.POD, pod, {"phase": phase, "containerStatuses": statuses})
        kind = "Complete" if code == 0 else "Failed"
        condition = {
            "type": kind,
            "status": "True",
            "reason": "" if code == 0 else "BackoffLimitExceeded",
            "lastTransitionTime": self.server.stamp(),
        }
        status: dict[str, Any] = {"active": None, "conditions": [condition], phase.lower(): 1}
        if code == 0:
            status["completionTime"] = self.server.stamp()
        self._status(Kind.JOB, job, status)

    def _document(self, pod: Object) -> Object:
        volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "finetune-document")
        config_map = self.server.get(Kind.CONFIG_MAP, NAMESPACE, volume["configMap"]["name"])
        document: Object = json.loads((config_map or {"data": {"run.json": "{}"}})["data"]["run.json"])
        return document

    def _status(self, kind: Kind, item: Object, status: Object) -> None:
        meta = self.server.get(kind, NAMESPACE, item["metadata"]["name"])
        if meta is not None:
            m = meta["metadata"]
            self.server.patch_status(
                ACTOR, kind, NAMESPACE, m["name"], m["uid"], m["resourceVersion"], {"status": status}
            )


@dataclass
class Deployments:
    """The Deployment controller with its pods: a rollout takes `seconds`, or never ends for a broken version.

    Only a pod whose server crashes is an object; nobody looks at pods that are well.
    """

    server: ApiServer
    broken: frozenset[str] = frozenset()
    seconds: float = 10
    deadline: float = 60
    since: dict[str, tuple[Object, datetime]] = field(default_factory=dict)
    """Per uid: the pod template that is being rolled out, and since when."""

    def tick(self) -> None:
        """Bring every rollout one step further."""
        for item in self.server.list(Kind.DEPLOYMENT, NAMESPACE):
            meta = item["metadata"]
            template, begun = self.since.get(meta["uid"], (None, self.server.now))
            if template != item["spec"]["template"]:
                begun = self.server.now
                self.since[meta["uid"]] = (item["spec"]["template"], begun)
            age = (self.server.now - begun).total_seconds()
            self._crash(item)
            status = self._status(item, age)
            if merge(item.get("status") or {}, status) != (item.get("status") or {}):
                self.server.patch_status(
                    ACTOR,
                    Kind.DEPLOYMENT,
                    NAMESPACE,
                    meta["name"],
                    meta["uid"],
                    meta["resourceVersion"],
                    {"status": status},
                )

    def next_event(self) -> datetime | None:
        """Return when the next rollout ends or gives up."""
        times = []
        for item in self.server.list(Kind.DEPLOYMENT, NAMESPACE):
            _, begun = self.since.get(item["metadata"]["uid"], (None, None))
            if begun is not None:
                for seconds in (self.seconds, self.deadline):
                    at = datetime.fromtimestamp(begun.timestamp() + seconds, tz=begun.tzinfo)
                    if at > self.server.now:
                        times.append(at)
        return min(times, default=None)

    def _crash(self, item: Object) -> None:
        """Have the new pod there, crashing, while a broken version is served; and gone when it is not any more."""
        name, template = f"{item['metadata']['name']}-new", item["spec"]["template"]
        annotations = template["metadata"].get("annotations") or {}
        broken = annotations.get("finetune-operator.io/model-version") in self.broken
        pod = self.server.get(Kind.POD, NAMESPACE, name)
        if pod is not None and not broken:
            self.server.delete(ACTOR, Kind.POD, NAMESPACE, name)
        if pod is not None or not broken:
            return
        uid = item["metadata"]["uid"]
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": uid, "controller": True}
        metadata = {
            "name": name,
            "labels": {**template["metadata"]["labels"], "pod-template-hash": "new"},
            "annotations": dict(annotations),
            "ownerReferences": [owner],
        }
        made = self.server.create(ACTOR, Kind.POD, NAMESPACE, {"metadata": metadata, "spec": template["spec"]})
        ended = {"exitCode": 1, "message": "no such operator", "finishedAt": self.server.stamp()}
        statuses = [{"name": "server", "state": {"terminated": ended}, "ready": False}]
        meta = made["metadata"]
        self.server.patch_status(
            ACTOR,
            Kind.POD,
            NAMESPACE,
            meta["name"],
            meta["uid"],
            meta["resourceVersion"],
            {"status": {"phase": "Running", "containerStatuses": statuses}},
        )

    def _status(self, item: Object, age: float) -> Object:
        replicas = item["spec"].get("replicas", 1)
        served = (item["spec"]["template"]["metadata"].get("annotations") or {}).get(
            "finetune-operator.io/model-version"
        )
        never = served is None or served in self.broken
        done = not never and age >= self.seconds
        late = never and age >= self.deadline
        progressing = {
            "type": "Progressing",
            "status": "False" if late else "True",
            "reason": "ProgressDeadlineExceeded"
            if late
            else ("NewReplicaSetAvailable" if done else "ReplicaSetUpdated"),
        }
        return {
            "observedGeneration": item["metadata"]["generation"],
            "replicas": replicas if done else replicas + 1,
            "updatedReplicas": replicas if done else 1,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "unavailableReplicas": None if done else 1,
            "conditions": [progressing],
        }


def _finished(job: Object) -> bool:
    return any(
        c["type"] in ("Complete", "Failed") and c["status"] == "True"
        for c in (job.get("status") or {}).get("conditions", ())
    )
