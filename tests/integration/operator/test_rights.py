"""With exactly the rights of cluster/rbac.py, in one namespace, the operator does its whole work there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_operator.cluster.rbac import RULES
from house.api_server import ApiServer, Object
from local_cluster import ControlPlane

from .node import ScriptedNode
from .test_stories import tuned_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture
def bound(plane: ControlPlane, space: Space, tmp_path: Path) -> Iterator[Operator]:
    """An operator that logs in as a service account with nothing but the rules, and watches one namespace."""
    _grant(space)
    path = f"/api/v1/namespaces/{space.namespace}/serviceaccounts/operator/token"
    token = space.server.request("POST", path, {"spec": {"expirationSeconds": 3600}})
    assert token.accepted, token.message
    config = json.loads(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token.body["status"]["token"]}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    operator = Operator(kubeconfig, tmp_path / "operator.log", namespaces=space.namespace)
    operator.start()
    yield operator
    operator.close()


def _grant(space: Space) -> None:
    rules = [{"apiGroups": [group], "resources": [resource], "verbs": sorted(verbs)}
             for (group, resource), verbs in RULES.items()]  # fmt: skip
    account: Object = {"kind": "ServiceAccount", "name": "operator", "namespace": space.namespace}
    for path, manifest in (
        (f"/api/v1/namespaces/{space.namespace}/serviceaccounts", {"metadata": {"name": "operator"}}),
        (f"{RBAC}/namespaces/{space.namespace}/roles", {"metadata": {"name": "operator"}, "rules": rules}),
        (f"{RBAC}/namespaces/{space.namespace}/rolebindings", {
            "metadata": {"name": "operator"}, "subjects": [account],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"}}),
    ):  # fmt: skip
        answer = space.server.request("POST", path, manifest)
        assert answer.accepted, answer.message


def test_the_listed_rights_are_enough_in_the_watched_namespace(
    operator_process: Operator, bound: Operator, space: Space, node: ScriptedNode
) -> None:
    operator_process.kill()  # or the administrator's operator would do the work
    tuned_live(space)
    assert "orbidden" not in bound.log.read_text()
    assert bound.metric('finetune_reconciles_total{kind="finetuneruns",outcome="refused"}') == 0


def test_no_rule_reads_secrets_or_uses_wildcards() -> None:
    assert not any("*" in part or part.startswith("secrets") for rule in RULES for part in rule)
    assert not any("*" in verbs for verbs in RULES.values())


def test_another_namespace_is_not_touched(
    operator_process: Operator, bound: Operator, server: ApiServer, space: Space
) -> None:
    operator_process.kill()
    answer = server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{space.namespace}-other"}})
    assert answer.accepted
    other = Space(server, f"{space.namespace}-other")
    other.apply({"apiVersion": "finetune-operator.io/v1alpha1", "kind": "FineTuneRun",
                 "metadata": {"name": "first"}, "spec": {"policy": "invoice-fields"}})  # fmt: skip
    space.apply({"apiVersion": "finetune-operator.io/v1alpha1", "kind": "FineTuneRun",
                 "metadata": {"name": "first"}, "spec": {"policy": "invoice-fields"}})  # fmt: skip
    eventually(lambda: space.phase("first"), what="its own namespace is worked on")
    assert other.phase("first") == ""
