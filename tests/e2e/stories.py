"""What the short stories do to the cluster, in a user's words."""

import json
import zlib
from dataclasses import dataclass
from typing import Any

from finetune_demo import progress
from finetune_demo.kube import Kube
from finetune_demo.story import Story

API = "finetune-operator.io/v1alpha1"


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
        """Lift any hold and serve base_v1."""
        status = self.policy()["status"]
        live = status["live"]["version"]
        if live == "base_v1" and not status.get("hold"):
            return
        name = f"reset-{status['epoch']}"
        self.apply(
            "ModelPromotion",
            name,
            {"policy": "invoice-fields", "version": "base_v1", "from": live, "releaseHold": True},
        )
        self.tale.wait_promotion(name, 240)

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
