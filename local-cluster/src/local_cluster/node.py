"""The one node cluster of this machine: up, down, status, also after a crash."""

import fcntl
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import images, network, node_config, preflight, processes, tools, traces
from .control_planes import ControlPlane
from .errors import ClusterError
from .node_init import node_is_ready
from .settings import Settings, own

#: Seen: 15 s on two idle cores. Ten times that means that something is broken.
READY_SECONDS = 150.0
NODE_TOOLS = tuple(tool.name for tool in tools.TOOLS if tool.name != "helm")


@dataclass(frozen=True, slots=True)
class Status:
    """What `cluster node status` tells. `step` is `absent`, `stopped`, a step of starting, `started` or `failed`."""

    step: str
    problem: str
    ready: bool


def control_plane_of(settings: Settings) -> ControlPlane:
    """Return how to reach the node's API server, running or not."""
    plan = node_config.plan(node_config.Files(settings.node_state))
    return ControlPlane(plan.name, plan.url, plan.folder)


def status(settings: Settings) -> Status:
    """Say how the node is."""
    files = node_config.Files(settings.node_state)
    records = processes.read_records(files.state)
    if not records:
        return Status("absent", "", ready=False)
    last = _last_said(files)
    if not all(map(processes.is_running, records)):
        return Status("stopped", last.problem or "its processes are gone", ready=False)
    if last.step != "started":
        return last
    return Status("started", "", ready=node_is_ready(control_plane_of(settings)))


def _last_said(files: node_config.Files) -> Status:
    try:
        last = json.loads((files.state / "status.json").read_text())
    except FileNotFoundError:
        return Status("starting", "", ready=False)
    return Status(last["step"], last["problem"], ready=False)


def up(settings: Settings, report: tools.Report = tools.say) -> Path:
    """Start the node cluster where it is not there, replace a broken one, and return the administrator's kubeconfig."""
    kubeconfig = control_plane_of(settings).kubeconfig
    with _lock(settings):
        if status(settings).ready:
            return kubeconfig
        _clean(settings)
        preflight.require(preflight.node_findings(settings))
        tools.build(settings, NODE_TOOLS, report)
        began = time.monotonic()
        files = node_config.Files(settings.node_state)
        for folder in (files.state, files.work, files.images):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            _start(settings, files)
            _follow(settings, files, report)
            images.import_pause(settings)
        except BaseException:
            _stop_all(settings)
            raise
        report(f"the node is ready after {time.monotonic() - began:.0f} s")
    return kubeconfig


def _start(settings: Settings, files: node_config.Files) -> None:
    traces.record(files.state / "traces.json")
    traces.make_cgroups(node_config.CGROUP)
    # A pid namespace: killing its first process ends every process of the node, containers included.
    # A mount namespace: nothing that the node mounts is ever mounted for the machine.
    isolate = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=slave"]
    environ = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "FINETUNE_CACHE": str(settings.cache),
        "FINETUNE_STATE": str(settings.state),
    }
    command = [*isolate, sys.executable, "-m", "local_cluster.node_init"]
    outer = processes.start(files.state, "node", command, environ=environ)
    network.join_host(_first_process(outer, files))


def _first_process(outer: processes.Record, files: node_config.Files) -> int:
    """Return the machine's pid of the namespaces' first process, the only child of `unshare`."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    deadline = time.monotonic() + 10
    while processes.is_running(outer) and time.monotonic() < deadline:
        pids = children.read_text().split()
        if pids:
            return int(pids[0])
        time.sleep(0.01)
    raise ClusterError(
        f"the node's namespaces could not be made:\n{processes.log_tail(files.state, 'node')}",
        "root with CAP_SYS_ADMIN, and util-linux's unshare, are needed",
    )


def _follow(settings: Settings, files: node_config.Files, report: tools.Report) -> None:
    deadline = time.monotonic() + READY_SECONDS
    last = ""
    while True:
        now = status(settings)
        if now.step in ("failed", "stopped"):
            log = processes.log_tail(files.state, "node")
            raise ClusterError(f"the node did not start: {now.problem}\n{log}", f"see the logs in {files.state}")
        if now.step != last:
            report(f"node: {now.step}")
            last = now.step
        if now.ready:
            return
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the node was not ready within {READY_SECONDS:.0f} s, at {now.step!r}",
                f"see the logs in {files.state}",
            )
        time.sleep(0.1)


def down(settings: Settings, *, purge: bool = False) -> None:
    """Stop the node and undo its traces, also after a crash; `purge` removes its images and the state folder too."""
    with _lock(settings):
        _clean(settings)
        if purge:
            _remove(settings.node_state)


def _clean(settings: Settings) -> None:
    _stop_all(settings)
    files = node_config.Files(settings.node_state)
    for folder in (files.control_plane, files.work):
        _remove(folder)
    for name in ("processes.json", "status.json", "node.log"):
        (files.state / name).unlink(missing_ok=True)


def _stop_all(settings: Settings) -> None:
    files = node_config.Files(settings.node_state)
    for record in processes.read_records(files.state):
        inner = _children(record)
        processes.stop(record)
        for child in inner:
            processes.stop(child)
    recorded = files.state / "traces.json"
    if recorded.exists():  # Else link and cgroups, where there are any, belong to a node with another state folder.
        network.remove_link()
        traces.remove_cgroups(node_config.CGROUP)
        traces.undo(recorded)


def _children(record: processes.Record) -> tuple[processes.Record, ...]:
    """Return the direct children of a recorded process that still runs; stopping them waits for the namespaces' end."""
    if not processes.is_running(record):
        return ()
    pids = [int(text) for text in Path(f"/proc/{record.pid}/task/{record.pid}/children").read_text().split()]
    started_at = ((pid, processes.start_time(pid)) for pid in pids)
    return tuple(processes.Record("node", pid, started) for pid, started in started_at if started is not None)


def _remove(folder: Path) -> None:
    """Remove a folder, but never through a mount: kubelet's folder may have held volumes with somebody's data."""
    mounted = traces.mounts_below(folder, Path("/proc/self/mountinfo").read_text())
    if mounted:
        raise ClusterError(f"still mounted: {', '.join(mounted)}", "unmount them (umount), then run it again")
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """Hold the machine's one node lock; a second command waits for the first."""
    own(settings.state)
    with (settings.state / "node.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
