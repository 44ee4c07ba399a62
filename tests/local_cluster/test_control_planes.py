"""Control planes are real, apart from each other, and gone when they are stopped."""

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_cluster import ClusterError, ControlPlane, control_plane, control_planes, processes
from local_cluster.ports import free_ports
from local_cluster.settings import Settings, settings_from

pytestmark = pytest.mark.control_plane

NAME = f"test-local-{os.getpid()}"
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "one"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}}},
}
PRIVILEGED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "root"},
    "spec": {"containers": [{"name": "c", "image": "none", "securityContext": {"privileged": True}}]},
}


@dataclass(frozen=True)
class Client:
    """Just enough of a client for what is asked here."""

    plane: ControlPlane

    def send(self, method: str, path: str, body: object) -> tuple[int, str]:
        config = json.loads(self.plane.kubeconfig.read_text())
        headers = {
            "Authorization": f"Bearer {config['users'][0]['user']['token']}",
            "Content-Type": "application/json",
        }
        request = urllib.request.Request(f"{self.plane.url}{path}", json.dumps(body).encode(), headers, method=method)
        context = ssl.create_default_context(cafile=str(self.plane.certificate_authority))
        try:
            with urllib.request.urlopen(request, context=context, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def items(self, path: str) -> list[dict[str, dict[str, object]]]:
        status, body = self.plane.get(path)
        assert status == 200, (path, status, body)
        items: list[dict[str, dict[str, object]]] = json.loads(body)["items"]
        return items


def eventually(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with control_plane(NAME) as plane:
        yield Client(plane)


@pytest.fixture
def settings() -> Settings:
    return settings_from(os.environ)


def test_the_job_controller_makes_pods_and_deletion_collects_them(client: Client) -> None:
    jobs, pods = "/apis/batch/v1/namespaces/default/jobs", "/api/v1/namespaces/default/pods"
    assert client.send("POST", jobs, JOB)[0] == 201
    eventually(lambda: len(client.items(pods)) == 1)
    assert client.send("DELETE", f"{jobs}/one", {"propagationPolicy": "Background"})[0] == 200
    # The garbage collector marks the pod; without a node, nobody confirms its end.
    eventually(lambda: all("deletionTimestamp" in pod["metadata"] for pod in client.items(pods)))


def test_restricted_pod_security_is_enforced(client: Client) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", **label["metadata"]}}
    assert client.send("POST", "/api/v1/namespaces", namespace)[0] == 201
    eventually(lambda: client.plane.get("/api/v1/namespaces/strict/serviceaccounts/default")[0] == 200)
    status, body = client.send("POST", "/api/v1/namespaces/strict/pods", PRIVILEGED)
    assert status == 403
    assert "violates PodSecurity" in body


def test_admission_policies_are_served(client: Client) -> None:
    assert client.items("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies") == []


def test_nobody_gets_in_without_a_token(client: Client) -> None:
    context = ssl.create_default_context(cafile=str(client.plane.certificate_authority))
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{client.plane.url}/api/v1/secrets", context=context, timeout=60)


def test_credentials_are_closed_to_other_users(client: Client) -> None:
    for name in ("admin.kubeconfig", "tokens.csv", "ca.key", "service-accounts.key"):
        assert (client.plane.folder / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.deep
def test_two_control_planes_run_side_by_side_and_share_nothing(client: Client) -> None:
    with control_plane(f"{NAME}-2") as second:
        other = Client(second)
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}}
        assert other.send("POST", "/api/v1/namespaces/default/configmaps", config_map)[0] == 201
        assert client.plane.get("/api/v1/namespaces/default/configmaps/mine")[0] == 404
        assert other.plane.get("/api/v1/namespaces/default/configmaps/mine")[0] == 200
        records = processes.read_records(second.folder)
        assert len(records) == 3
    assert not any(map(processes.is_running, records))
    assert not second.folder.exists()
    assert client.plane.get("/readyz")[0] == 200


def test_up_twice_is_the_same_one_and_a_crashed_one_is_replaced(settings: Settings) -> None:
    name = f"{NAME}-3"
    try:
        first = control_planes.up(settings, name, lambda _: None)
        assert control_planes.up(settings, name, lambda _: None) == first
        token = first.kubeconfig.read_text()
        processes.stop(processes.read_records(first.folder)[1])
        second = control_planes.up(settings, name, lambda _: None)
        assert second.get("/readyz")[0] == 200
        assert second.kubeconfig.read_text() != token
    finally:
        control_planes.down(settings, name)


def test_a_component_that_ends_at_once_is_told_with_its_log_and_the_others_are_stopped(
    tmp_path: Path, settings: Settings
) -> None:
    api, etcd, peer = free_ports(3)
    taken = processes.start(tmp_path, "holder", ["python3", "-m", "http.server", str(etcd), "--bind", "127.0.0.1"])
    plan = control_planes.Layout("broken", tmp_path / "broken", "127.0.0.1", api, etcd, peer, on_node=False)
    try:
        eventually(lambda: _listens(etcd))
        with pytest.raises(ClusterError, match="etcd ended") as caught:
            control_planes.start(settings, plan)
        assert "address already in use" in caught.value.problem
    finally:
        processes.stop(taken)
    assert not any(map(processes.is_running, processes.read_records(plan.folder)))


def _listens(port: int) -> bool:
    return any(
        line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
    )
