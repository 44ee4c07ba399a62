"""etcd, kube-apiserver and kube-controller-manager: a Kubernetes without nodes, ready in seconds."""

import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import kubeconfig, pki, processes, tools
from .errors import ClusterError
from .ports import free_ports
from .settings import Settings, own, settings_from

#: In every cluster the first address of the Service range is the API server's own Service.
SERVICE_RANGE = "10.214.0.0/16"
SERVICE_ADDRESS = "10.214.0.1"
#: First start on two busy cores took under 10 s; ten times that means that something is broken.
READY_SECONDS = 100.0

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Layout:
    """What one control plane is made of, before anything is started.

    `address` is where the API server listens; `on_node` says that kubelets will join and pods will call in.
    """

    name: str
    folder: Path
    address: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    on_node: bool

    @property
    def url(self) -> str:
        """The API server's address for clients."""
        return f"https://{self.address}:{self.api_port}"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running control plane: how to reach it, and how to stop it."""

    name: str
    url: str
    folder: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig file."""
        return self.folder / "admin.kubeconfig"

    @property
    def certificate_authority(self) -> Path:
        """The PEM file that signs the API server's certificate."""
        return self.folder / "ca.crt"

    def get(self, path: str) -> tuple[int, bytes]:
        """GET `path` as the administrator: the status and the body; status 0 where nobody answers."""
        config = json.loads(self.kubeconfig.read_text())
        token = config["users"][0]["user"]["token"]
        request = urllib.request.Request(  # noqa: S310 - `url` is ours, and always https
            f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        context = ssl.create_default_context(cafile=str(self.certificate_authority))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except (urllib.error.URLError, OSError):
            return 0, b""

    def stop(self) -> None:
        """Kill every process, newest first, and remove the state: its data is thrown away, nothing needs saving."""
        for record in reversed(processes.read_records(self.folder)):
            processes.stop(record)
        shutil.rmtree(self.folder, ignore_errors=True)


def check_name(name: str) -> str:
    """Return `name` where it can name a control plane; raise ClusterError where it cannot."""
    if _NAME.fullmatch(name) is None:
        raise ClusterError(
            f"{name!r} cannot name a control plane",
            "use up to 40 lower-case letters, digits and hyphens, beginning and ending with a letter or digit",
        )
    return name


def existing(settings: Settings, name: str) -> ControlPlane | None:
    """Return the recorded control plane of that name, running or crashed; None where there is none."""
    folder = settings.control_plane_state(check_name(name))
    try:
        url = json.loads((folder / "admin.kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
    except FileNotFoundError:
        return ControlPlane(name, "", folder) if folder.exists() else None
    return ControlPlane(name, url, folder)


def is_healthy(plane: ControlPlane) -> bool:
    """Say whether every process runs and the API server answers that it is ready."""
    records = processes.read_records(plane.folder)
    return len(records) == 3 and all(map(processes.is_running, records)) and plane.get("/readyz")[0] == 200


def up(settings: Settings, name: str, report: tools.Report = tools.say) -> ControlPlane:
    """Return the healthy control plane of that name, starting it where it is not there; replaces a crashed one."""
    plane = existing(settings, name)
    if plane is not None:
        if is_healthy(plane):
            return plane
        plane.stop()
    return start_fresh(settings, name, report)


def down(settings: Settings, name: str) -> None:
    """Stop the control plane of that name; nothing happens where there is none."""
    plane = existing(settings, name)
    if plane is not None:
        plane.stop()


def start_fresh(settings: Settings, name: str, report: tools.Report) -> ControlPlane:
    """Start a new control plane on loopback; one of the same name must not be there."""
    tools.build(settings, tools.CONTROL_PLANE_TOOLS, report)
    api_port, etcd_port, etcd_peer_port = free_ports(3)
    layout = Layout(
        name=check_name(name),
        folder=settings.control_plane_state(name),
        address="127.0.0.1",
        api_port=api_port,
        etcd_port=etcd_port,
        etcd_peer_port=etcd_peer_port,
        on_node=False,
    )
    return start(settings, layout)


@contextmanager
def control_plane(name: str, settings: Settings | None = None) -> Iterator[ControlPlane]:
    """Run a fresh control plane for the time of a `with` block; for tests.

    One that a killed test left behind under the same name is stopped first. Several names run side by side.
    """
    chosen = settings_from(os.environ) if settings is None else settings
    down(chosen, name)
    plane = start_fresh(chosen, name, tools.say)
    try:
        yield plane
    finally:
        plane.stop()


def start(settings: Settings, layout: Layout) -> ControlPlane:
    """Start the planned control plane and return it ready; on failure nothing of it is left running."""
    own(settings.state)
    layout.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    plane = ControlPlane(layout.name, layout.url, layout.folder)
    try:
        write_credentials(layout)
        processes.start(layout.folder, "etcd", etcd_command(tools.tool_path(settings, "etcd"), layout))
        processes.start(
            layout.folder, "kube-apiserver", api_server_command(tools.tool_path(settings, "kube-apiserver"), layout)
        )
        wait_for("the API server", lambda: plane.get("/readyz")[0] == 200, layout.folder)
        manager = tools.tool_path(settings, "kube-controller-manager")
        processes.start(layout.folder, "kube-controller-manager", controller_manager_command(manager, layout))
        # Pods need their namespace's service account; its being there also shows that the controllers work.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        wait_for("the controller manager", lambda: plane.get(account)[0] == 200, layout.folder)
    except BaseException:
        for record in reversed(processes.read_records(layout.folder)):
            processes.stop(record)
        raise
    return plane


def wait_for(what: str, condition: Callable[[], bool], folder: Path, seconds: float = READY_SECONDS) -> None:
    """Return once `condition` holds; raise ClusterError when a process recorded in `folder` died, or too late."""
    deadline = time.monotonic() + seconds
    while not condition():
        for record in processes.read_records(folder):
            if not processes.is_running(record):
                tail = processes.log_tail(folder, record.name)
                raise ClusterError(f"{record.name} ended:\n{tail}", f"see {folder}/{record.name}.log")
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} was not ready within {seconds:.0f} s", f"see the logs in {folder}")
        time.sleep(0.05)


def write_credentials(layout: Layout) -> None:
    """Write the authority, the certificates, the tokens and every component's kubeconfig into the folder."""
    folder = layout.folder
    authority = pki.make_authority(folder)
    pki.make_signing_key(folder)
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    addresses = {"127.0.0.1", layout.address, SERVICE_ADDRESS}
    alternatives = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in sorted(addresses)]
    pki.issue(authority, "api-server", "/CN=kube-apiserver", "serverAuth", alternatives)
    users = {
        "admin": kubeconfig.new_user("admin", "system:masters"),
        "controller-manager": kubeconfig.new_user("system:kube-controller-manager"),
    }
    if layout.on_node:
        pki.issue(authority, "kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "clientAuth")
        pki.issue(authority, "kubelet", "/CN=kubelet", "serverAuth", [f"IP:{layout.address}"])
        users["scheduler"] = kubeconfig.new_user("system:kube-scheduler")
        users["proxy"] = kubeconfig.new_user("system:kube-proxy")
        users["kubelet"] = kubeconfig.new_user(f"system:node:{layout.name}", "system:nodes")
    processes.write_atomically(folder / "tokens.csv", kubeconfig.token_file(users.values()))
    certificate = authority.certificate.read_bytes()
    for component, user in users.items():
        text = kubeconfig.kubeconfig(layout.url, certificate, user, f"finetune-{layout.name}")
        processes.write_atomically(folder / f"{component}.kubeconfig", text)


def etcd_command(binary: Path, layout: Layout) -> list[str]:
    """Return etcd's command line. It listens on loopback alone; without fsync, for its data is thrown away."""
    client, peer = (f"http://127.0.0.1:{port}" for port in (layout.etcd_port, layout.etcd_peer_port))
    return [
        str(binary),
        f"--data-dir={layout.folder}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server_command(binary: Path, layout: Layout) -> list[str]:
    """Return kube-apiserver's command line; admission is at its defaults (Pod Security, admission policies)."""
    folder = layout.folder
    command = [
        str(binary),
        f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
        f"--bind-address={layout.address}",
        f"--advertise-address={layout.address}",
        f"--secure-port={layout.api_port}",
        f"--cert-dir={folder}/generated",
        f"--tls-cert-file={folder}/api-server.crt",
        f"--tls-private-key-file={folder}/api-server.key",
        f"--token-auth-file={folder}/tokens.csv",
        f"--service-account-key-file={folder}/service-accounts.key",
        f"--service-account-signing-key-file={folder}/service-accounts.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        # As on ordinary clusters: whether a pod may be privileged is Pod Security's decision.
        "--allow-privileged=true",
        "--profiling=false",
    ]
    if layout.on_node:
        command += [
            f"--client-ca-file={folder}/ca.crt",
            f"--kubelet-certificate-authority={folder}/ca.crt",
            f"--kubelet-client-certificate={folder}/kubelet-client.crt",
            f"--kubelet-client-key={folder}/kubelet-client.key",
            # Without it the API server asks for the node by a name that nobody resolves, and `kubectl logs` fails.
            "--kubelet-preferred-address-types=InternalIP",
        ]
    else:
        # A loopback address is refused as an endpoint; nobody calls in through the Service here.
        command.append("--endpoint-reconciler-type=none")
    return command


def controller_manager_command(binary: Path, layout: Layout) -> list[str]:
    """Return kube-controller-manager's command line; rates are at their defaults, so timings compare."""
    folder = layout.folder
    return [
        str(binary),
        f"--kubeconfig={folder}/controller-manager.kubeconfig",
        f"--service-account-private-key-file={folder}/service-accounts.key",
        f"--root-ca-file={folder}/ca.crt",
        "--use-service-account-credentials",
        "--leader-elect=false",
        # No health port: several control planes run side by side, and nothing asks it.
        "--secure-port=0",
    ]
