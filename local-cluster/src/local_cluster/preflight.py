"""Says what is missing before anything starts."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import network, packages, processes, tools, traces
from .errors import ClusterError
from .ports import free_ports
from .settings import Settings

#: Seen: Go's caches 5 GB and the tools 1 GB while they are built; the node with its base image 2 GB.
BUILD_GIB, NODE_GIB = 8.0, 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing, and its remedy."""

    problem: str
    remedy: str


def require(findings: Iterable[Finding]) -> None:
    """Raise ClusterError that lists every finding; return where there is none."""
    all_findings = tuple(findings)
    if all_findings:
        raise ClusterError(
            "; ".join(finding.problem for finding in all_findings),
            "; ".join(finding.remedy for finding in all_findings),
        )


def control_plane_findings(settings: Settings) -> tuple[Finding, ...]:
    """Return what a control plane lacks on this machine."""
    faults: list[Finding] = []
    if shutil.which("openssl") is None:
        faults.append(Finding("openssl is not installed", "apt-get install openssl"))
    if any(not tools.is_built(settings, name) for name in tools.CONTROL_PLANE_TOOLS):
        faults += _disk_finding(settings.cache, BUILD_GIB, "FINETUNE_CACHE")
    try:
        free_ports(3)
    except ClusterError as error:
        faults.append(Finding(error.problem, error.remedy))
    return tuple(faults)


def node_findings(settings: Settings, disk_gib: float = NODE_GIB) -> tuple[Finding, ...]:
    """Return what the node cluster lacks on this machine; `disk_gib` is what its images and volumes will take."""
    if os.geteuid() != 0:
        # Most of what follows cannot even be asked without it.
        return (Finding("not root", "run it as root (sudo -E)"),)
    faults = list(control_plane_findings(settings))
    missing = packages.missing(packages.NODE)
    if missing:
        faults.append(
            Finding(f"Debian packages are missing: {' '.join(missing)}", "run: local-cluster/cluster packages install")
        )
    faults += _disk_finding(settings.state, disk_gib, "FINETUNE_STATE")
    faults += _kernel_findings()
    faults += _network_findings(settings)
    for covered in ("/run", *traces.COVERED):
        if settings.state.is_relative_to(covered) or settings.cache.is_relative_to(covered):
            faults.append(
                Finding(f"the state or the cache is below {covered}, which the node hides", "choose another folder")
            )
    return tuple(faults)


def _disk_finding(folder: Path, gib: float, variable: str) -> list[Finding]:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    if free >= gib:
        return []
    return [Finding(f"{there} has {free:.1f} GiB free, {gib:g} are needed", f"free some, or set {variable} elsewhere")]


def _kernel_findings() -> list[Finding]:
    faults = [
        Finding(f"the kernel has no {name} namespaces", "use another kernel or machine")
        for name in ("net", "mnt", "pid")
        if not Path(f"/proc/self/ns/{name}").exists()
    ]
    filesystems = Path("/proc/filesystems").read_text().split()
    if "overlay" not in filesystems and not _module_available("overlay"):
        faults.append(Finding("the kernel has no overlay filesystem", "modprobe overlay, or use another kernel"))
    if not Path("/dev/kmsg").exists():
        faults.append(Finding("/dev/kmsg is missing, which kubelet reads", "use a machine, not a container"))
    roots = traces.cgroup_roots() if traces.CGROUPS.exists() else ()
    if not roots:
        faults.append(Finding("no cgroups are mounted at /sys/fs/cgroup", "mount them (systemd does)"))
    elif not os.access(roots[0], os.W_OK):
        faults.append(Finding(f"{roots[0]} is not writable", "use a machine, not a container"))
    return faults


def _module_available(name: str) -> bool:
    release = os.uname().release
    return any(Path("/lib/modules", release).rglob(f"{name}.ko*"))


def _network_findings(settings: Settings) -> list[Finding]:
    if shutil.which("ip") is None:
        return [Finding("the ip command is missing", "apt-get install iproute2")]
    faults = [
        Finding(f"the route to {taken} overlaps the node's addresses", "remove it, or use another machine")
        for taken in network.taken_ranges(network.ip("-json", "route", "show", "table", "main"))
    ]
    ours = any(map(processes.is_running, processes.read_records(settings.node_state)))
    if network.link_exists() and not ours:
        faults.append(
            Finding(
                f"a network link {network.HOST_LINK} is there: another node cluster runs on this machine",
                "stop it with its own FINETUNE_STATE: local-cluster/cluster node down",
            )
        )
    return faults
