"""On a cluster that the user named, the demo changes and removes nothing but what it made."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_demo import named
from finetune_demo.console import Console, Failed
from finetune_demo.settings import ROOT, ExistingCluster
from house.chart import CHART, helm_path
from integration.operator.world import eventually
from local_cluster import ControlPlane
from local_cluster.settings import settings_from
from local_cluster.tools import build

pytestmark = pytest.mark.control_plane
NAMESPACES = ROOT / "demo" / "manifests" / "10-namespaces.yaml"


class Theirs:
    """Somebody's cluster, with kubectl and helm on the PATH."""

    def __init__(self, plane: ControlPlane) -> None:
        self.named = ExistingCluster(json.loads(plane.kubeconfig.read_text())["current-context"], "registry.test")

    def kubectl(self, *words: str) -> str:
        done = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def there(self, kind: str) -> set[str]:
        """Return the names of the objects of a kind that are not on their way out."""
        items = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return {i["metadata"]["name"] for i in items if i["metadata"].get("deletionTimestamp") is None}

    def emptied(self) -> None:
        """Leave nothing of one test to the next: they come in any order."""
        self.kubectl("delete", "namespace", "finetune-system", "invoices", "--ignore-not-found")
        self.kubectl("delete", "crd", *named.CRDS, "--ignore-not-found")


@pytest.fixture
def theirs(plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Theirs]:
    (kubectl,) = build(settings_from({}), ["kubectl"])
    (tmp_path / "kubectl").symlink_to(kubectl)
    (tmp_path / "helm").symlink_to(helm_path())
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    made = Theirs(plane)
    yield made
    made.emptied()


@pytest.mark.parametrize("namespace", ["invoices", pytest.param("finetune-system", marks=pytest.mark.deep)])
def test_a_namespace_of_somebody_else_is_refused_and_left_alone(theirs: Theirs, namespace: str) -> None:
    theirs.kubectl("create", "namespace", namespace)
    with pytest.raises(Failed, match=f"namespace '{namespace}' of context .* is not the demo's.*name another cluster"):
        named.connect(Console(), theirs.named)
    named.remove(Console(), theirs.named)
    assert namespace in theirs.there("namespaces")


def test_what_the_demo_made_is_taken_up_again_and_removed(theirs: Theirs) -> None:
    kube = named.connect(Console(), theirs.named)
    kube.apply(NAMESPACES.read_text())
    kube.helm("install", "finetune-operator", str(CHART), "--namespace", "finetune-system")
    named.connect(Console(), theirs.named)
    named.remove(Console(), theirs.named)
    eventually(lambda: not {"finetune-system", "invoices"} & theirs.there("namespaces"), what="they are gone")
    assert not [name for name in theirs.there("clusterroles") if "finetune" in name]
    assert set(named.CRDS) <= theirs.there("crds"), "with a CRD everybody's objects would go"


def test_another_installation_is_refused(theirs: Theirs) -> None:
    theirs.kubectl("apply", "-f", str(ROOT / "crds"))
    with pytest.raises(Failed, match=r"finetunepolicies.* of another installation"):
        named.connect(Console(), theirs.named)


def test_an_object_is_followed_from_what_it_is_through_every_change(theirs: Theirs) -> None:
    kube = named.connect(Console(), theirs.named)
    kube.apply(NAMESPACES.read_text())
    kube.kubectl("create", "configmap", "followed", "--from-literal=step=0")
    kube.kubectl("create", "configmap", "beside", "--from-literal=step=0")
    steps: list[str] = []
    with kube.watching("configmaps", "followed", 600) as states:
        for state in states:
            steps.append(state["data"]["step"])
            if len(steps) == 3:
                break
            kube.kubectl("patch", "configmap", "beside", "-p", '{"data":{"step":"1"}}')
            kube.kubectl("patch", "configmap", "followed", "-p", f'{{"data":{{"step":"{len(steps)}"}}}}')
    assert steps == ["0", "1", "2"]
    with kube.watching("configmaps", "followed", 2) as states:
        # A loaded machine may take as long to say what it is.
        assert {state["data"]["step"] for state in states} <= {"2"}, "for as long as was said"
