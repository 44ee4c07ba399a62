"""What a node would leave on the machine: folders, kernel settings, cgroups. Recorded before, undone after."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError
from .processes import write_atomically

#: Paths that kubelet and the CNI library write to and that no setting moves; the node covers them with a tmpfs.
COVERED = ("/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/var/log/pods")
#: What kubelet sets for the whole machine (pkg/kubelet/cm, setupKernelTunables).
TUNABLES = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Traces:
    """What to undo: folders that we made (parents first), and kernel settings as they were."""

    folders: tuple[str, ...]
    tunables: tuple[tuple[str, str], ...]


def record(path: Path) -> Traces:
    """Write down in `path` what is about to change, then make the missing folders; returns what was written."""
    missing = [
        str(folder)
        for covered in COVERED
        for folder in (*reversed(Path(covered).parents), Path(covered))
        if not folder.exists()
    ]
    values = [(name, Path("/proc/sys", name)) for name in TUNABLES]
    tunables = tuple((name, file.read_text().strip()) for name, file in values if file.exists())
    traces = Traces(tuple(missing), tunables)
    write_atomically(path, json.dumps({"folders": traces.folders, "tunables": dict(tunables)}))
    for folder in missing:
        Path(folder).mkdir(exist_ok=True)
    return traces


def undo(path: Path) -> None:
    """Put back what `path` says was there before; nothing happens where nothing was recorded."""
    try:
        recorded = json.loads(path.read_text())
    except FileNotFoundError:
        return
    for name, value in recorded["tunables"].items():
        file = Path("/proc/sys", name)
        if file.read_text().strip() != value:
            file.write_text(value)
    for folder in reversed(recorded["folders"]):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:  # Somebody else began to use it meanwhile; it is theirs now.
            continue
    path.unlink()


def is_unified(root: Path = CGROUPS) -> bool:
    """Say whether the machine has cgroup v2 alone; False for v1, and for v1 with v2 beside it (hybrid)."""
    return (root / "cgroup.controllers").exists()


def cgroup_roots(root: Path = CGROUPS) -> tuple[Path, ...]:
    """Return the mounted hierarchies: the one of v2, or one per controller of v1."""
    if is_unified(root):
        return (root,)
    # Aliases such as cpu -> cpu,cpuacct are links to one hierarchy. `unified` is the v2 half of a hybrid.
    return tuple(sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()))


def make_cgroups(name: str, root: Path = CGROUPS) -> None:
    """Make the node's cgroup in every hierarchy; kubelet refuses to start where it is missing."""
    if is_unified(root):
        available = (root / "cgroup.controllers").read_text().split()
        wanted = [f"+{one}" for one in ("cpu", "cpuset", "io", "memory", "pids") if one in available]
        (root / "cgroup.subtree_control").write_text(" ".join(wanted))
    for hierarchy in cgroup_roots(root):
        (hierarchy / name).mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if not is_unified(root) and (hierarchy / setting).exists():
                # In v1 a new cpuset is empty, and no process can be put into it or below it.
                (hierarchy / name / setting).write_text((hierarchy / setting).read_text())


def remove_cgroups(name: str, root: Path = CGROUPS, seconds: float = 10.0) -> None:
    """Remove the node's cgroups, waiting for their dying processes; raise ClusterError where some stay."""
    deadline = time.monotonic() + seconds
    while True:
        left = [hierarchy / name for hierarchy in cgroup_roots(root) if (hierarchy / name).exists()]
        for top in left:
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:  # Busy: a process in it is not quite dead; the next round tries again.
                    continue
        if not any(top.exists() for top in left):
            return
        if time.monotonic() > deadline:
            raise ClusterError(f"cgroups stay: {', '.join(map(str, left))}", "end the processes in their cgroup.procs")
        time.sleep(0.1)


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Return the mount points at or below `folder` in the text of /proc/self/mountinfo."""
    points = [line.split()[4].encode().decode("unicode_escape") for line in mountinfo.splitlines() if line]
    return [point for point in points if Path(point).is_relative_to(folder)]
