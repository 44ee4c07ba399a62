"""The chart installed by Helm on a real API server: its pod is admitted, and its rights suffice for a whole story."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from house.api_server import ApiServer, Object
from house.chart import CHART, helm_path
from house.crds import ROOT, crds
from house.planes import make_namespace
from integration.operator.node import ScriptedNode
from integration.operator.world import Operator, Space, eventually
from local_cluster import ControlPlane, control_plane
from simulation.stories import promotion, run, stage

pytestmark = pytest.mark.control_plane

SYSTEM = "finetune-system"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def _helm(plane: ControlPlane, *words: str) -> str:
    command = [helm_path(), "--kubeconfig", str(plane.kubeconfig), "--namespace", SYSTEM, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with control_plane(f"test-chart-{os.getpid()}") as plane:
        with closing(ApiServer(plane)) as server:
            make_namespace(server, SYSTEM, RESTRICTED)
            for name in ("team-a", "team-b"):
                make_namespace(server, name)
        # As the guide installs: the same words add a namespace to a release that is there.
        words = ("upgrade", "--install", "finetune", str(CHART), "--reset-then-reuse-values")
        _helm(plane, *words, "--set=watchNamespaces={team-a}")
        yield plane


@pytest.fixture
def server(plane: ControlPlane) -> Iterator[ApiServer]:
    with closing(ApiServer(plane)) as client:
        yield client


def _as_the_chart_s_account(plane: ControlPlane, server: ApiServer, folder: Path) -> Path:
    """Write a kubeconfig of the operator's service account, as its pod would have."""
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/finetune-finetune-operator/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = server.request("POST", path, body)
    assert answer.accepted, answer.message
    config = json.loads(plane.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": answer.body["status"]["token"]}
    target = folder / "kubeconfig"
    target.write_text(json.dumps(config))
    return target


def _run_a_story(plane: ControlPlane, server: ApiServer, namespace: str, folder: Path, watched: str) -> str:
    """Bring a base and a fine-tune live with the chart's rights alone; return the operator's log."""
    operator = Operator(_as_the_chart_s_account(plane, server, folder), folder / "operator.log", watched)
    operator.start()
    space = Space(server, namespace)
    try:
        with ScriptedNode(ApiServer(plane), namespace):
            for _, manifest in stage():
                space.apply(manifest)
            eventually(
                lambda: space.phase("invoice-fields-base-v1", "modelversions") == "Verified",
                seconds=60,
                what=f"the base is verified ({operator.log})",
            )
            space.apply(promotion("first-base", "base_v1"))
            eventually(lambda: _live(space) == "base_v1", seconds=60, what=f"the base is live ({operator.log})")
            space.apply(run("first"))
            eventually(lambda: _live(space) == "ft_v1.1", seconds=90, what=f"the fine-tune is live ({operator.log})")
            eventually(lambda: _events(server, namespace), what="Events about it")
    finally:
        operator.close()
    return operator.log.read_text()


def _live(space: Space) -> str | None:
    version: str | None = (space.policy_status().get("live") or {}).get("version")
    return version


def _events(server: ApiServer, namespace: str) -> list[Object]:
    items = server.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events").body.get("items") or []
    return [item for item in items if item.get("reportingController", "").startswith("finetune-operator")]


def test_every_kind_is_served_and_kept_on_uninstall(server: ApiServer) -> None:
    for crd in crds().values():
        name = crd.manifest["metadata"]["name"]
        answer = server.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        assert answer.accepted, answer.message
        assert answer.body["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_operator_s_pod_is_admitted_by_the_restricted_standard(server: ApiServer) -> None:
    pods = eventually(
        lambda: server.request("GET", f"/api/v1/namespaces/{SYSTEM}/pods").body.get("items") or [],
        what="the ReplicaSet's pod",
    )
    assert [pod["spec"]["serviceAccountName"] for pod in pods] == ["finetune-finetune-operator"]


EXAMPLES = {
    "podtemplates.yaml": lambda manifest: manifest.get("template"),
    "deployment.yaml": lambda manifest: manifest.get("spec", {}).get("template"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_pods_of_the_examples_are_admitted_by_the_restricted_standard(server: ApiServer, name: str) -> None:
    text = (ROOT / "examples" / "manifests" / name).read_text()
    templates = [template for manifest in yaml.safe_load_all(text) if (template := EXAMPLES[name](manifest))]
    assert templates
    for template in templates:
        spec = {key: value for key, value in template["spec"].items() if key != "runtimeClassName"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "example-"}, "spec": spec}
        answer = server.request("POST", f"/api/v1/namespaces/{SYSTEM}/pods?dryRun=All", pod)
        assert answer.accepted, answer.message


def test_the_rights_of_one_namespace_suffice_for_a_whole_story(
    plane: ControlPlane, server: ApiServer, tmp_path: Path
) -> None:
    log = _run_a_story(plane, server, "team-a", tmp_path, "team-a")
    assert "orbidden" not in log


def test_the_rights_of_one_namespace_end_at_its_border(plane: ControlPlane, server: ApiServer, tmp_path: Path) -> None:
    account = f"system:serviceaccount:{SYSTEM}:finetune-finetune-operator"
    for namespace, group, resource, verb, allowed in (
        ("team-a", "finetune-operator.io", "finetuneruns", "list", True),
        ("team-a", "batch", "jobs", "create", True),
        ("team-a", "", "secrets", "get", False),
        ("team-a", "apps", "deployments", "delete", False),
        ("team-a", "finetune-operator.io", "finetunepolicies", "patch", False),
        ("team-b", "finetune-operator.io", "finetuneruns", "list", False),
        ("team-b", "batch", "jobs", "create", False),
    ):
        attributes = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": account, "resourceAttributes": attributes},
        }
        answer = server.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        assert answer.body["status"]["allowed"] is allowed, attributes


def _bound(server: ApiServer, namespace: str) -> bool:
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/finetune-finetune-operator"
    return server.request("GET", path).accepted


def _watched(server: ApiServer) -> str:
    path = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/finetune-finetune-operator"
    (container,) = server.request("GET", path).body["spec"]["template"]["spec"]["containers"]
    return next(str(item["value"]) for item in container["env"] if item["name"] == "FINETUNE_NAMESPACES")


def test_a_namespace_joins_and_leaves_the_release_and_the_others_stay(plane: ControlPlane, server: ApiServer) -> None:
    make_namespace(server, "team-c")
    upgrade = ("upgrade", "finetune", str(CHART), "--reset-then-reuse-values")
    _helm(plane, *upgrade, "--set=watch.team-b=true")
    _helm(plane, *upgrade, "--set=watch.team-c=true")
    assert _watched(server) == "team-a,team-b,team-c"
    assert all(_bound(server, name) for name in ("team-a", "team-b", "team-c"))
    _helm(plane, *upgrade, "--set=watch.team-b=false")
    assert (_watched(server), _bound(server, "team-b")) == ("team-a,team-c", False)
    assert server.request("DELETE", "/api/v1/namespaces/team-c").accepted
    eventually(lambda: server.request("GET", "/api/v1/namespaces/team-c").status == 404, seconds=60, what="it is gone")
    _helm(plane, *upgrade, "--set=watch.team-c=false")
    assert _watched(server) == "team-a"


@pytest.mark.deep
def test_an_upgrade_to_the_whole_cluster_suffices_for_a_story_elsewhere(
    plane: ControlPlane, server: ApiServer, tmp_path: Path
) -> None:
    _helm(plane, "upgrade", "finetune", str(CHART), "--set=clusterWide=true")
    log = _run_a_story(plane, server, "team-b", tmp_path, "")
    assert "orbidden" not in log
