"""People with Kubernetes' own roles and the chart's: eve edits, adam administers; and pods of an image of theirs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import yaml

from house.api_server import Answer, ApiServer, Object
from house.chart import CHART
from local_cluster import ControlPlane
from simulation.stories import run
from simulation.trainer_script import Trainer

from .node import ScriptedNode, _container, _inputs, now
from .world import Space, eventually

RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
MERGE: Final = "application/merge-patch+json"
EVIL: Final = "evil"
"""An image that says what its owner wants."""

ROLES: Final = {"eve": "edit", "adam": "admin"}


class Impersonated(ApiServer):
    """The administrator's connection in somebody's name."""

    def __init__(self, plane: ControlPlane, user: str) -> None:
        super().__init__(plane)
        self.user = user

    def _exchange(self, method: str, path: str, text: str | None, headers: dict[str, str]) -> Answer:
        return super()._exchange(method, path, text, {**headers, "Impersonate-User": self.user})


@contextmanager
def signed_in(plane: ControlPlane, space: Space, user: str) -> Iterator[Space]:
    """Yield the namespace as `user` sees it, with the rights of their role."""
    for role in _chart_roles():
        space.server.request("POST", f"{RBAC}/clusterroles", role)
    api = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": user},
        "subjects": [{"kind": "User", "name": user, "apiGroup": api}],
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": ROLES[user]},
    }
    bound = space.server.request("POST", f"{RBAC}/namespaces/{space.namespace}/rolebindings", binding)
    assert bound.accepted, bound.message
    client = Impersonated(plane, user)
    try:
        theirs = Space(client, space.namespace)
        path = f"{theirs.path('finetuneruns')}?dryRun=All"
        probe = {**run(), "metadata": {"name": "probe"}}
        eventually(lambda: client.request("POST", path, probe).accepted, what="the roles are aggregated")
        yield theirs
    finally:
        client.close()


def _chart_roles() -> list[Object]:
    """Return the roles that the chart adds to Kubernetes' own."""
    rights = yaml.safe_load((CHART / "files" / "rights.yaml").read_text())
    return [
        {
            "metadata": {
                "name": f"finetune-{role}",
                "labels": {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true"},
            },
            "rules": rights[role],
        }
        for role in ("view", "edit", "admin")
    ]


class EvilNode(ScriptedNode):
    """A node on which the image `evil` ends at once and well, with an evaluation of its own, SIGTERM or not."""

    def _seen(self) -> list[Object]:
        pods = super()._seen()
        evil = [pod for pod in pods if any(c.get("image") == EVIL for c in pod["spec"]["containers"])]
        for pod in evil:
            self._lie(pod)
        return [pod for pod in pods if pod not in evil]

    def _lie(self, pod: Object) -> None:
        document = self._document(pod)
        if document is None or pod["status"].get("phase") in ("Succeeded", "Failed"):
            return
        _, message = Trainer(candidate="0.990000")("evaluate", document, _inputs(pod))
        times = {"startedAt": now(), "finishedAt": now()}
        ended = {"terminated": {"exitCode": 0, "message": json.dumps(message), "reason": "Completed", **times}}
        statuses = [{**_container("trainer", ended, ready=False), "image": EVIL}]
        self._status(pod, {"phase": "Succeeded", "startTime": now(), "containerStatuses": statuses})
