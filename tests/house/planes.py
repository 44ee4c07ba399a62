"""A control plane that knows the project's kinds: what the suites on a real API server begin with."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from house.api_server import ApiServer
from house.crds import crds
from local_cluster import ControlPlane, control_plane, processes

GROUP = "/apis/finetune-operator.io/v1alpha1"
SERVED_SECONDS = 60.0
"""Far above the second that a new kind takes to be served on an idle machine."""

RESTARTS = 5
"""How many times one process is started again before something must be broken."""


@contextmanager
def plane_with_crds(suite: str) -> Iterator[ControlPlane]:
    """Run a control plane that serves the project's kinds; `suite` names it, once in each process.

    Raises AssertionError when a CRD is refused, or is not served in time.
    """
    with control_plane(f"{suite}-{os.getpid()}") as plane:
        with closing(ApiServer(plane)) as server:
            install_crds(server)
        yield plane


def install_crds(server: ApiServer) -> None:
    """Create every CRD and wait until its kind is served."""
    for crd in crds().values():
        answer = server.create(crd.manifest)
        assert answer.accepted, answer.message
    end = time.monotonic() + SERVED_SECONDS
    for crd in crds().values():
        while not server.request("GET", f"{GROUP}/namespaces/default/{crd.plural}").accepted:
            assert time.monotonic() < end, f"{crd.plural} are not served after {SERVED_SECONDS:.0f} s"
            time.sleep(0.1)


def make_namespace(server: ApiServer, name: str, labels: dict[str, str] | None = None) -> None:
    """Create a namespace."""
    metadata = {"name": name, "labels": labels or {}}
    answer = server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    assert answer.accepted, answer.message


def bring_back(
    folder: Path, commands: Mapping[str, Sequence[str]], is_ready: Callable[[], bool], *, seconds: float = 120
) -> None:
    """Start processes of a control plane, by name, and again what ends, as a kubelet does, until it is ready.

    Raises AssertionError with the ends of their logs when one ends RESTARTS times more, or nothing is ready in time.
    """
    running = {name: processes.start(folder, name, command) for name, command in commands.items()}
    ended: Counter[str] = Counter()
    deadline = time.monotonic() + seconds

    def told(problem: str) -> str:
        logs = "".join(f"\n--- {name}\n{processes.log_tail(folder, name, 40)}" for name in commands)
        return f"{problem}; started again: {dict(ended)}{logs}"

    while not is_ready():
        for name in [name for name, record in running.items() if not processes.is_running(record)]:
            assert ended[name] < RESTARTS, told(f"{name} does not stay up")
            ended[name] += 1
            running[name] = processes.start(folder, name, commands[name])
        assert time.monotonic() < deadline, told(f"not ready within {seconds:.0f} s")
        time.sleep(0.1)


def is_stopped(pid: int) -> bool:
    """Tell whether every thread of a process has stopped; one that a SIGSTOP was sent to goes on for a moment."""
    stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return bool(stats) and all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)
