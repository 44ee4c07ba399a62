"""What benchmarks stand on: a control plane without a node, a namespace with a live base, figures of processes."""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from finetune_operator.cluster.kinds import Kind
from house.api_server import ApiServer, Object
from house.planes import make_namespace
from integration.operator.node import ScriptedNode
from integration.operator.world import Operator, Space, eventually
from local_cluster import ControlPlane
from simulation.stories import promotion, stage

CREATORS = 4
"""So many connections create objects side by side, as a few users or a GitOps controller would."""
WATCH_SECONDS = 2
"""How long the stage's promotions are watched: the benchmarks wait for them."""
TICKS = os.sysconf("SC_CLK_TCK")


def namespace(server: ApiServer, name: str) -> Space:
    """Make a namespace."""
    make_namespace(server, name)
    return Space(server, name)


def prepared(plane: ControlPlane, server: ApiServer, name: str) -> Space:
    """Make a namespace with templates, Deployment and policy, and the base verified and live."""
    space = namespace(server, name)
    for kind, manifest in stage():
        if kind is Kind.POLICY:
            manifest["spec"] |= {"watch": {"seconds": WATCH_SECONDS}, "concurrency": 1000}
        space.apply(manifest)
    with ScriptedNode(ApiServer(plane), name):
        eventually(lambda: space.phase("invoice-fields-base-v1", "modelversions") == "Verified", seconds=120)
        space.apply(promotion("first-base", "base_v1"))
        eventually(lambda: (space.policy_status().get("live") or {}).get("version") == "base_v1", seconds=120)
        eventually(lambda: space.phase("first-base", "modelpromotions") == "Succeeded", seconds=120)
    return space


def create_all(plane: ControlPlane, space: Space, manifests: Sequence[Object], rate: float = 0) -> tuple[float, float]:
    """Create all, `rate` a second (0: as fast as it goes); return when the first was sent and the last answered."""
    local = threading.local()
    started = time.monotonic()

    def create(numbered: tuple[int, Object]) -> None:
        number, manifest = numbered
        if not hasattr(local, "space"):
            local.space = Space(ApiServer(plane), space.namespace)
        if rate:
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
        local.space.apply(manifest)

    with ThreadPoolExecutor(CREATORS) as pool:
        list(pool.map(create, enumerate(manifests)))
    return started, time.monotonic()


def writes(operator: Operator) -> dict[str, float]:
    """Return the operator's requests so far that change something, by verb; Events apart."""
    return {
        verb: operator.metric("finetune_api_requests_total", f'verb="{verb}"', without='resource="events"')
        for verb in ("create", "patch_status", "apply", "delete")
    }


def memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def cpu(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
