"""The first process of the node's namespaces: starts every component, reaps orphans; its end is the node's end."""

import json
import os
import signal
import subprocess
import sys
import time
import traceback

from . import control_planes, network, node_config, processes, tools, traces
from .errors import ClusterError
from .settings import Settings, settings_from


def main(environ: dict[str, str]) -> int:
    """Start the node and stay for ever; an ending is a failure, told in `status.json`."""
    if os.getpid() != 1:
        print("this runs only as the first process of the node's namespaces; use: cluster node up", file=sys.stderr)
        return 2
    # The kernel shields pid 1 from signals that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    settings = settings_from(environ)
    files = node_config.Files(settings.node_state)
    try:
        _start_all(settings, files)
    except ClusterError as error:
        _tell(files, "failed", str(error))
        return 1
    except Exception:  # noqa: BLE001 - nobody else would ever see it
        _tell(files, "failed", traceback.format_exc())
        return 1
    _tell(files, "started")
    _reap_for_ever(files)
    return 1


def _tell(files: node_config.Files, step: str, problem: str = "") -> None:
    processes.write_atomically(files.state / "status.json", json.dumps({"step": step, "problem": problem}))


def _start_all(settings: Settings, files: node_config.Files) -> None:
    _tell(files, "network and mounts")
    _cover_mounts()
    network.configure_inside()
    for path, text in (
        (files.work / "containerd.toml", node_config.containerd(files)),
        (files.work / "cni" / "10-finetune.conflist", node_config.cni(files)),
        (files.work / "kubelet.json", node_config.kubelet(files)),
        (files.work / "kube-proxy.json", node_config.kube_proxy(files)),
        (files.work / "resolv.conf", "# no DNS in this cluster\n"),
    ):
        processes.write_atomically(path, text)
    _tell(files, "containerd")
    _start(files, settings, "containerd", [f"--config={files.work}/containerd.toml"])
    _tell(files, "control plane")
    plane = control_planes.start(settings, node_config.plan(files))
    credentials = plane.folder
    _tell(files, "scheduler, kubelet and kube-proxy")
    scheduler = [f"--kubeconfig={credentials}/scheduler.kubeconfig", "--leader-elect=false", "--secure-port=0"]
    _start(files, settings, "kube-scheduler", scheduler)
    control_planes.wait_for("containerd", files.socket.exists, files.work)
    kubelet = [
        f"--config={files.work}/kubelet.json",
        f"--kubeconfig={credentials}/kubelet.kubeconfig",
        f"--root-dir={files.work}/kubelet",
        f"--hostname-override={node_config.NODE_NAME}",
        f"--node-ip={network.NODE_ADDRESS}",
    ]
    _start(files, settings, "kubelet", kubelet)
    _start(files, settings, "kube-proxy", [f"--config={files.work}/kube-proxy.json"])
    _tell(files, "node ready")
    control_planes.wait_for("the node", lambda: node_is_ready(plane), files.work)


def _start(files: node_config.Files, settings: Settings, name: str, arguments: list[str]) -> None:
    binary = tools.tool_path(settings, name)
    # containerd looks for its shim, kubelet and kube-proxy for iptables and mount, on the PATH.
    path = f"{binary.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    processes.start(files.work, name, [binary, *arguments], environ={**os.environ, "PATH": path})


def node_is_ready(plane: control_planes.ControlPlane) -> bool:
    """Say whether the node's Ready condition is True."""
    status, body = plane.get(f"/api/v1/nodes/{node_config.NODE_NAME}")
    if status != 200:
        return False
    conditions = json.loads(body).get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _cover_mounts() -> None:
    """Hide what the node would write outside its folder; all of it is gone with the mount namespace.

    The whole tree is shared within the namespace: kubelet's volume mounts must reach containerd's containers.
    """
    # Without `--no-mtab`, mount leaves /run/mount on the machine.
    commands = [["mount", "--no-mtab", "--make-rshared", "/"]]
    cover = ["mount", "--no-mtab", "-t", "tmpfs", "-o", "mode=755", "finetune-node"]
    commands += [[*cover, path] for path in ("/run", *traces.COVERED)]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}", "root with CAP_SYS_ADMIN is needed")


def _reap_for_ever(files: node_config.Files) -> None:
    """Collect ended children; tell when one of the components was among them."""
    components = {
        record.pid: record.name
        for folder in (files.work, files.control_plane)
        for record in processes.read_records(folder)
    }
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(1)
            continue
        if pid in components:
            name = components[pid]
            folder = files.control_plane if (files.control_plane / f"{name}.log").exists() else files.work
            tail = processes.log_tail(folder, name)
            _tell(files, "failed", f"{name} ended with {os.waitstatus_to_exitcode(status)}:\n{tail}")


if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))
