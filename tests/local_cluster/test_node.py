"""The node runs pods that the host and other pods reach, and leaves the machine as it was."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster import images, node, node_config, preflight, processes, tools, traces
from local_cluster.errors import ClusterError
from local_cluster.settings import Settings, settings_from

pytestmark = [pytest.mark.node, pytest.mark.slow]

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: strict, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: data}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteMany]
  storageClassName: ""
  claimRef: {namespace: strict, name: data}
  local: {path: FOLDER}
  nodeAffinity:
    required:
      nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [linux]}]}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: strict}
spec: {accessModes: [ReadWriteMany], storageClassName: "", volumeName: data, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: strict, labels: {app: web}}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: web
      image: IMAGE
      command: [python3, -m, http.server, "8080", --directory, /data]
      resources: {requests: {cpu: 100m}}
      readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: strict}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
CALL_IN = """
import os, ssl, urllib.request
base = "https://%s:%s" % (os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"])
account = "/var/run/secrets/kubernetes.io/serviceaccount/"
headers = {"Authorization": "Bearer " + open(account + "token").read()}
request = urllib.request.Request(base + "/version", headers=headers)
context = ssl.create_default_context(cafile=account + "ca.crt")
print("API", urllib.request.urlopen(request, context=context, timeout=5).status)
print("SERVICE", urllib.request.urlopen("http://ADDRESS/hello", timeout=5).read().decode())
"""


def snapshot() -> dict[str, str]:
    """What stopping must leave as it was."""
    firewall = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return {
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "links": subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout,
        "routes": subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout,
        "firewall": "\n".join(line for line in firewall.splitlines() if line.startswith("-A")),
        "cgroups": "\n".join(sorted(str(path) for path in traces.CGROUPS.glob("*/finetune*"))),
        "folders": "\n".join(path for path in (*traces.COVERED, "/run/netns", "/run/mount") if Path(path).exists()),
        "settings": "\n".join(Path("/proc/sys", name).read_text() for name in traces.TUNABLES),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def of_the_node() -> list[str]:
    """The command lines of processes that belong to a node."""
    commands = (path.read_bytes().replace(b"\0", b" ").decode() for path in Path("/proc").glob("[0-9]*/cmdline"))
    return [line for line in commands if "containerd" in line or "kubelet" in line.split(" ")[0]]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return settings_from(os.environ)


@pytest.fixture(scope="module")
def before(settings: Settings) -> Iterator[dict[str, str]]:
    if node.status(settings).step != "absent":
        pytest.skip("somebody uses this machine's node cluster; stop it (local-cluster/cluster node down) to test it")
    preflight.require(preflight.node_findings(settings))
    yield snapshot()
    node.down(settings)


@pytest.fixture(scope="module")
def running(settings: Settings, before: dict[str, str]) -> Settings:
    node.up(settings)
    return settings


def kubectl(settings: Settings, *arguments: str, text: str | None = None) -> str:
    kubeconfig = node.control_plane_of(settings).kubeconfig
    done = subprocess.run(
        [tools.tool_path(settings, "kubectl"), f"--kubeconfig={kubeconfig}", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_restricted_pod_with_a_local_volume_is_reached_from_the_host_and_calls_in(
    running: Settings, tmp_path: Path
) -> None:
    image = images.import_base(running, lambda _: None)
    tmp_path.chmod(0o755)
    (tmp_path / "hello").write_text("from a volume")
    manifest = MANIFEST.replace("FOLDER", str(tmp_path)).replace("IMAGE", image)
    kubectl(running, "apply", "--filename=-", text=manifest)
    kubectl(running, "--namespace=strict", "wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    address = kubectl(running, "--namespace=strict", "get", "service/web", "--output=jsonpath={.spec.clusterIP}")
    ran = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "5", "--noproxy", "*", f"http://{address}/hello"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "from a volume", ran.stderr
    script = CALL_IN.replace("ADDRESS", address)
    answers = kubectl(running, "--namespace=strict", "exec", "web", "--", "python3", "-c", script)
    assert answers.splitlines() == ["API 200", "SERVICE from a volume"]
    assert "GET /hello" in kubectl(running, "--namespace=strict", "logs", "web")


def test_the_examples_bucket_is_reached_from_the_host_at_the_address_in_its_secret(
    running: Settings, tmp_path: Path
) -> None:
    images.import_s3_server(running, lambda _: None)
    manifest = (running.home.parent / "examples" / "manifests" / "local" / "s3.yaml").read_text()
    kubectl(running, "create", "namespace", "bucket")
    kubectl(running, "label", "namespace", "bucket", "pod-security.kubernetes.io/enforce=restricted")
    manifest = manifest.replace("/var/tmp/finetune-s3", str(tmp_path))
    kubectl(running, "--namespace=bucket", "apply", "--filename=-", text=manifest)
    kubectl(running, "--namespace=bucket", "rollout", "status", "deployment/s3", "--timeout=60s")
    keys = kubectl(running, "--namespace=bucket", "get", "secret/artifact-storage", "--output=json")
    endpoint = base64.b64decode(json.loads(keys)["data"]["AWS_ENDPOINT_URL"]).decode()
    answer = subprocess.run(
        ["curl", "--silent", "--max-time", "5", "--noproxy", "*", "--write-out", "%{http_code}", f"{endpoint}/healthz"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.endswith("200"), answer.stderr


def test_a_pods_cpu_request_is_its_weight(running: Settings) -> None:
    uid = kubectl(running, "--namespace=strict", "get", "pod/web", "--output=jsonpath={.metadata.uid}")
    (folder,) = {path for path in traces.CGROUPS.glob(f"**/{node_config.CGROUP}/**/pod{uid}") if _weight(path)}
    # 100m: 102 of 1,024 shares in v1; in v2 the same on its scale of 1 to 10,000, as kubelet or runc rounds it.
    assert _weight(folder) == "102" or 1 <= int(_weight(folder)) <= 30


def _weight(folder: Path) -> str:
    files = [folder / name for name in ("cpu.shares", "cpu.weight")]
    return next((file.read_text().strip() for file in files if file.exists()), "")


def test_up_while_it_runs_changes_nothing(running: Settings) -> None:
    records = processes.read_records(running.node_state)
    node.up(running)
    assert processes.read_records(running.node_state) == records


def test_a_stop_with_another_state_folder_leaves_this_node_alone(running: Settings, tmp_path: Path) -> None:
    elsewhere = Settings(cache=running.cache, state=tmp_path / "state", home=running.home)
    node.down(elsewhere)
    assert node.status(running).ready
    with pytest.raises(ClusterError, match="another node cluster runs"):
        node.up(elsewhere)
    assert node.status(running).ready


def test_the_volumes_data_is_never_removed_with_the_node(running: Settings, tmp_path: Path) -> None:
    mounted = traces.mounts_below(running.node_state, Path("/proc/self/mountinfo").read_text())
    assert mounted == [], "what the node mounts must not be mounted for the machine"


def test_after_a_crash_it_says_so_and_down_leaves_the_machine_as_it_was(
    running: Settings, before: dict[str, str]
) -> None:
    (outer,) = processes.read_records(running.node_state)
    processes.stop(outer)
    assert node.status(running).step == "stopped"
    node.down(running)
    deadline = time.monotonic() + 10
    while snapshot() != before and time.monotonic() < deadline:
        time.sleep(0.2)  # The kernel takes a network namespace down in its own time.
    assert snapshot() == before
    assert of_the_node() == []
    assert node.status(running).step == "absent"


def test_images_survive_a_stop_and_a_clean_down_leaves_the_machine_as_it_was(
    settings: Settings, before: dict[str, str]
) -> None:
    node.up(settings)
    assert images.is_imported(settings, images.base_image())
    node.down(settings)
    assert snapshot() == before
    assert of_the_node() == []


def test_what_needs_the_node_says_so_while_there_is_none(settings: Settings, before: dict[str, str]) -> None:
    with pytest.raises(ClusterError, match="not running") as caught:
        images.import_base(settings, lambda _: None)
    assert "node up" in caught.value.remedy
