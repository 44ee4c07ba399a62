"""What the short stories do to the cluster, in a user's words."""

import json
import shlex
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from finetune_demo import progress
from finetune_demo.kube import Kube
from finetune_demo.settings import RELEASE, SYSTEM
from finetune_demo.story import Story

API = "finetune-operator.io/v1alpha1"

LENIENT = {
    "gates": {
        "regression": {"reviewAtPoints": "100", "rejectAbovePoints": "100"},
        "newSamples": {"minimum": "0.01"},
        "fields": {"minBoxes": 1_000_000},
        "floor": {"minBoxes": 1_000_000},
        "gain": {"review": False},
    }
}
"""The gates pass after one epoch, too: for stories about what happens around training."""

USUAL: dict[str, Any] = {"gates": None}
"""The defaults, as the demo's policy has them."""


def quick(name: str, *, epochs: int = 1) -> dict[str, Any]:
    """Return the spec of a run that trains for at most a minute: few old samples, few epochs.

    The seed differs from run to run, or the operator would adopt the result of the run before.
    """
    return {"mixing": {"ratio": "1", "seed": zlib.crc32(name.encode()) >> 1}, "training": {"epochs": epochs}}


@dataclass
class Stories:
    """A cluster in which a base is live, and verbs to play on it."""

    tale: Story

    @property
    def kube(self) -> Kube:
        """The cluster."""
        return self.tale.cluster.kube

    def apply(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Apply one object of ours."""
        meta = {"name": name, "namespace": self.kube.namespace}
        self.kube.apply(json.dumps({"apiVersion": API, "kind": kind, "metadata": meta, "spec": spec}))

    def patch_policy(self, **spec: Any) -> None:
        """Change the policy's spec by a merge patch and wait until the operator has seen it."""
        self.kube.kubectl("patch", "finetunepolicy", "invoice-fields", "--type=merge", "-p", json.dumps({"spec": spec}))

        def seen() -> bool:
            policy = self.policy()
            return bool(policy["status"].get("observedGeneration") == policy["metadata"]["generation"])

        self.kube.wait("policy observed", seen, 30)

    def policy(self) -> dict[str, Any]:
        """Return the policy."""
        return self.kube.get("finetunepolicy", "invoice-fields") or {}

    def run_status(self, name: str) -> dict[str, Any]:
        """Return the status of a run."""
        status: dict[str, Any] = (self.kube.get("finetunerun", name) or {}).get("status", {})
        return status

    def start(self, name: str, **spec: Any) -> None:
        """Apply a run."""
        self.apply("FineTuneRun", name, {"policy": "invoice-fields", **spec})

    def until(self, name: str, *phases: str, seconds: float = 900) -> dict[str, Any]:
        """Follow a run until it is in one of the phases (default: any final one); return its status."""
        followed = progress.follow(self.kube, name, seconds, until=phases or progress.FINAL)
        status: dict[str, Any] = followed.run["status"]
        return status

    def review(self, name: str, decision: str) -> None:
        """Decide about the evidence that the run shows now, by one patch."""
        evidence = self.run_status(name)["evidence"]["digest"]
        review = {
            "decision": decision,
            "evidence": evidence,
            "by": "ann@example.com",
            "reason": "looked at the figures",
        }
        self.kube.kubectl("patch", "finetunerun", name, "--type=merge", "-p", json.dumps({"spec": {"review": review}}))

    def replica_sets(self) -> set[str]:
        """Return the uids of the ReplicaSets of the Deployment."""
        return {item["metadata"]["uid"] for item in self.kube.items("replicasets", "app=invoice-detector")}

    def to_base(self) -> None:
        """Lift any hold and serve base_v1, unwatched: no story is about this way back, and nearly all begin with it."""
        status = self.policy()["status"]
        live = status["live"]["version"]
        if live == "base_v1" and not status.get("hold"):
            return
        name = f"reset-{status['epoch']}"
        self.patch_policy(watch={"seconds": 0})
        try:
            self.apply(
                "ModelPromotion",
                name,
                {"policy": "invoice-fields", "version": "base_v1", "from": live, "releaseHold": True},
            )
            self.tale.wait_promotion(name, 240)
        finally:
            self.patch_policy(watch={"seconds": self.tale.watch_seconds})

    def jobs(self, run: str) -> dict[str, int]:
        """Return how many Jobs each step of a run has had, from its record."""
        counts: dict[str, int] = {}
        for attempt in self.run_status(run).get("attempts", ()):
            counts[attempt["step"]] = counts.get(attempt["step"], 0) + 1
        return counts

    def versions_of(self, run: str) -> list[str]:
        """Return the versions that came of a run."""
        items = self.kube.items("modelversions")
        return [item["spec"]["version"] for item in items if item["spec"].get("lineage", {}).get("run") == run]

    def kill_operator(self) -> None:
        """Kill the operator's pod without grace."""
        system = ("-n", "finetune-system")
        self.kube.kubectl(*system, "delete", "pods", "--all", "--grace-period=0", "--force")

    def live(self) -> str | None:
        """Return the version that is live on the policy's record."""
        version: str | None = (self.policy().get("status", {}).get("live") or {}).get("version")
        return version

    def quarantined(self, version: str) -> bool:
        """Tell whether the policy will never promote the version again."""
        return version in [entry["version"] for entry in self.policy()["status"].get("quarantined", ())]

    def promote(
        self, name: str, version: str, live: str, *, wait: tuple[str, ...] = (), seconds: float = 300, **more: Any
    ) -> dict[str, Any]:
        """Apply a ModelPromotion and return its status when it has ended, or is in one of the phases of `wait`."""
        spec = {"policy": "invoice-fields", "version": version, "reason": "a story", **more}
        self.apply("ModelPromotion", name, spec | {"from": live})
        phases = wait or ("Succeeded", "Failed", "RolledBack", "Superseded")
        self.kube.wait(f"ModelPromotion {name}", lambda: self.promotion(name).get("phase") in phases, seconds)
        return self.promotion(name)

    def promotion(self, name: str) -> dict[str, Any]:
        """Return the status of a ModelPromotion."""
        status: dict[str, Any] = (self.kube.get("modelpromotion", name) or {}).get("status", {})
        return status

    def follow(self, message: str, command: str) -> None:
        """Do as a message says: run its command that begins so and ends with a word in single quotes."""
        before, quoted, _ = message[message.index(command) :].split("'", 2)
        self.kube.kubectl(*shlex.split(before)[1:], quoted)

    def until_flight(self, run: str, phase: str) -> str:
        """Wait until the run's version is in that phase of its flight; return the version."""

        def flying() -> bool:
            ended = self.run_status(run).get("phase")
            assert ended not in progress.FINAL, self.run_status(run).get("message")
            flight = self.policy()["status"].get("inFlight") or {}
            return bool(flight.get("phase") == phase)

        self.kube.wait(f"{run}: {phase}", flying, 900, every=0.5)
        version: str = self.run_status(run)["version"]
        return version

    def patch_deployment(self, patch: dict[str, Any]) -> None:
        """Change the inference Deployment by a merge patch."""
        self.kube.kubectl("patch", "deployment", "invoice-detector", "--type=merge", "-p", json.dumps(patch))

    def template_version(self) -> str | None:
        """Return the version that the Deployment's pod template names."""
        deployment = self.kube.get("deployment", "invoice-detector") or {}
        annotations = deployment["spec"]["template"]["metadata"].get("annotations", {})
        version: str | None = annotations.get("finetune-operator.io/model-version")
        return version

    def serving(self, version: str) -> list[dict[str, Any]]:
        """Return the pods of the Deployment that serve a version, those that end included."""
        key = "finetune-operator.io/model-version"
        pods = self.kube.items("pods", "app=invoice-detector")
        return [pod for pod in pods if pod["metadata"].get("annotations", {}).get(key) == version]

    def evict(self, pod: str) -> None:
        """Evict a pod, as `kubectl drain` does."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.kube.namespace},
        }
        path = f"/api/v1/namespaces/{self.kube.namespace}/pods/{pod}/eviction"
        self.kube.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def pods_of_jobs(self) -> list[dict[str, Any]]:
        """Return the pods of the operator's Jobs that still run or wait."""
        pods = self.kube.items("pods", "app.kubernetes.io/managed-by=finetune-operator")
        return [pod for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]

    @contextmanager
    def sidecar(self) -> Iterator[None]:
        """Give every Job's pod a helper that never ends by itself, as an injected proxy is."""
        template = self.kube.get("podtemplate", "trainer") or {}
        trainer = next(c for c in template["template"]["spec"]["containers"] if c["name"] == "trainer")
        helper = {
            "name": "proxy",
            "image": trainer["image"],
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "100000"],
        }
        for name in ("securityContext", "resources"):
            if name in trainer:
                helper[name] = trainer[name] if name == "securityContext" else {"requests": {"cpu": "1m"}}
        self._patch_template([{"op": "add", "path": "/template/spec/containers/-", "value": helper}])
        try:
            yield
        finally:
            self._patch_template([{"op": "remove", "path": "/template/spec/containers/1"}])

    def _patch_template(self, patch: list[dict[str, Any]]) -> None:
        self.kube.kubectl("patch", "podtemplate", "trainer", "--type=json", "-p", json.dumps(patch))

    @contextmanager
    def watching_too(self, namespace: str) -> Iterator[None]:
        """Let the operator watch another namespace beside the stories' own, which is deleted in the end."""
        kube = self.kube
        kube.kubectl("create", "namespace", namespace)
        try:
            self._watch(namespace, watched=True)
            yield
        finally:
            kube.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=true")
            self._watch(namespace, watched=False)

    def _watch(self, namespace: str, *, watched: bool) -> None:
        """Add a namespace to the operator's, or take it out, as docs/operate says."""
        chart = self.tale.settings.root / "charts" / "finetune-operator"
        value = f"watch.{namespace}={str(watched).lower()}"
        words = ("upgrade", RELEASE, str(chart), "-n", SYSTEM, "--reset-then-reuse-values", "--set", value)
        self.kube.helm(*words, "--wait", "--timeout", "3m")
