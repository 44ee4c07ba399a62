"""What `kubectl get` shows without further words: why nothing happens, and since when."""

import re
import subprocess
from dataclasses import dataclass

import pytest

from house.api_server import Object
from local_cluster import ControlPlane
from local_cluster.settings import settings_from
from local_cluster.tools import build
from simulation.stories import promotion, run

from .node import ScriptedNode
from .test_stories import base_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane
KINDS = ("finetunepolicies", "finetuneruns", "modelversions", "modelpromotions")
SHORT = 100
"""Characters before the message: a terminal of 160 shows the beginning of every one."""


@dataclass(frozen=True)
class Tables:
    """kubectl on the control plane, in one namespace."""

    kubectl: str
    kubeconfig: str
    namespace: str

    def of(self, kind: str) -> str:
        """What people see."""
        words = [self.kubectl, f"--kubeconfig={self.kubeconfig}", "-n", self.namespace, "get", kind]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def row(self, kind: str, name: str) -> dict[str, str]:
        """One row, by the names of the columns."""
        head, *lines = self.of(kind).splitlines()
        starts = [column.start() for column in re.finditer(r"\S+", head)]
        (line,) = (line for line in lines if line.split()[0] == name)
        ends = [*starts[1:], None]
        return {head[start:end].strip(): line[start:end].strip() for start, end in zip(starts, ends, strict=True)}


@pytest.fixture
def tables(plane: ControlPlane, space: Space) -> Tables:
    (kubectl,) = build(settings_from({}), ["kubectl"])
    return Tables(str(kubectl), str(plane.kubeconfig), space.namespace)


def test_every_kind_says_why_and_since_when_in_its_last_default_columns(
    operator: Operator, space: Space, node: ScriptedNode, tables: Tables
) -> None:
    node.holds.add("train")
    base_live(space)
    space.apply(run())
    space.apply(run("lost") | {"spec": {"policy": "nowhere"}})
    space.apply(promotion("unknown", "ft_v9.9", **{"from": "base_v1"}))
    eventually(lambda: space.phase("first") == "Training", what="the run trains")
    eventually(
        lambda: "1 promotion waits" in str(space.policy_status().get("message")), what="the policy says who waits"
    )
    for kind in KINDS:
        shown = tables.of(kind)
        head = shown.splitlines()[0]
        assert head.split()[-1] == "MESSAGE"
        assert {"SINCE", "AGE"} <= set(head.split())
        assert head.index("MESSAGE") <= SHORT
    waits = tables.row("finetunepolicies", "invoice-fields")
    assert waits["MESSAGE"] == "1 promotion waits ('unknown', for VersionNotFound)"
    assert re.fullmatch(r"\d+s", waits["SINCE"])
    assert "FineTunePolicy nowhere" in tables.row("finetuneruns", "lost")["MESSAGE"].replace("'", "")
    assert "no ModelVersion of model" in tables.row("modelpromotions", "unknown")["MESSAGE"]
    assert "live on Deployment" in tables.row("modelversions", "invoice-fields-base-v1")["MESSAGE"]


@pytest.mark.row("D45")
@pytest.mark.row("D46")
def test_a_pod_that_is_pending_at_rest_is_seen_and_its_end_too(
    operator: Operator, space: Space, node: ScriptedNode, tables: Tables
) -> None:
    base_live(space)
    node.crowded.add("base_v1")
    victim = _pods(space)[0]["metadata"]["name"]
    space.delete("pods", victim)
    eventually(lambda: _available(space) == ("False", "Unschedulable"), seconds=60, what="the Pending pod is seen")
    shown = tables.row("finetunepolicies", "invoice-fields")
    assert "Insufficient cpu" in shown["MESSAGE"]
    where = f'deployment="invoice-detector",namespace="{space.namespace}",status="False"'
    assert operator.metric("finetune_policy_condition", f'condition="Available",{where}') == 1
    node.crowded.clear()
    eventually(lambda: _available(space) == ("True", "ReplicasAvailable"), seconds=60, what="it is available again")
    assert "message" not in space.policy_status()


def _pods(space: Space) -> list[Object]:
    return [pod for pod in space.all("pods") if pod["metadata"]["labels"].get("app") == "invoice-detector"]


def _available(space: Space) -> tuple[str, str]:
    conditions = {c["type"]: (c["status"], c["reason"]) for c in space.policy_status().get("conditions") or ()}
    return conditions.get("Available", ("", ""))
