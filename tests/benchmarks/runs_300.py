"""How fast FineTuneRuns that are applied at once get their `prepare` Jobs, beside Kubernetes' own Job controller."""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from house.api_server import ApiServer, Object
from house.planes import plane_with_crds
from integration.operator.node import ScriptedNode
from integration.operator.world import Operator, Space, eventually
from local_cluster import ControlPlane, processes
from simulation.stories import run

from .stage import cpu, create_all, memory, namespace, prepared, writes
from .watching import Watch

OURS = "finetune-operator.io%2Fstep%3Dprepare"
EVENT_RATE = 50.0
EVENTS = 500


@dataclass(frozen=True)
class Burst:
    """One burst of runs; seconds, but for `writes`, the operator's writes a run up to its Job being recorded."""

    created: float
    first_job: float
    last_job: float
    operator_cpu: float
    control_plane_cpu: float
    writes: float
    load: float


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table or JSON; the exit status is 1 when a run got no Job or two."""
    options = _options(arguments)
    with plane_with_crds("bench") as plane, tempfile.TemporaryDirectory() as folder:
        server = ApiServer(plane)
        yardstick = [] if options.no_yardstick else [_kubernetes_own(plane, server, options.runs)]
        operator = Operator(plane.kubeconfig, Path(folder) / "operator.log")
        started = time.monotonic()
        operator.start()
        ready = time.monotonic() - started
        try:
            figures = {"ready_seconds": ready, "memory_idle_mib": memory(operator.pid)}
            figures |= _story(plane, server, operator)
            figures |= {} if options.no_events else _events(plane, server)
            bursts = [_burst(plane, operator, n, options.runs) for n in range(options.repeats)]
            figures |= {"memory_after_mib": memory(operator.pid)}
        finally:
            operator.close()
        server.close()
    _report(options, bursts, yardstick, figures)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runs_300", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="runs at once (default 300)")
    parser.add_argument("--repeats", type=int, default=3, help="bursts (default 3), each in a namespace of its own")
    parser.add_argument("--no-yardstick", action="store_true", help="leave out Kubernetes' own Job controller")
    parser.add_argument("--no-events", action="store_true", help="leave out the paced events")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def _burst(plane: ControlPlane, operator: Operator, number: int, runs: int) -> Burst:
    """Apply `runs` runs at once, and wait for their Jobs; then let Kubernetes make the pods, for the next burst."""
    server = ApiServer(plane)
    space = prepared(plane, server, f"burst-{number}")
    server.close()  # left alone for a minute and a half, the API server would close it
    jobs, pods = Watch(plane, space.path("jobs"), OURS), Watch(plane, space.path("pods"), OURS)
    manifests = [run(f"burst-{n:04}") for n in range(runs)]
    others = [record.pid for record in processes.read_records(plane.folder)]
    load, before = os.getloadavg()[0], sum(writes(operator).values())
    used, used_by_others = cpu(operator.pid), sum(map(cpu, others))
    started, created = create_all(plane, space, manifests)
    seen = jobs.wait_for(added=runs)
    used, used_by_others = cpu(operator.pid) - used, sum(map(cpu, others)) - used_by_others
    _check_one_each(plane, space, manifests)
    pods.wait_for(added=runs)
    eventually(lambda: operator.metric("finetune_queue_depth") == 0, seconds=120, what="the operator rests")
    written = sum(writes(operator).values()) - before
    times = sorted(at - started for at in seen.added.values())
    return Burst(created - started, times[0], times[-1], used, used_by_others, written / runs, load)


def _check_one_each(plane: ControlPlane, space: Space, manifests: Sequence[Object]) -> None:
    """Raise AssertionError unless every run has exactly one Job, whose controller it is."""
    server = ApiServer(plane)
    jobs = server.request("GET", f"{space.path('jobs')}?labelSelector={OURS}").body["items"]
    server.close()
    owners = sorted(job["metadata"]["ownerReferences"][0]["name"] for job in jobs)
    assert owners == sorted(manifest["metadata"]["name"] for manifest in manifests), "not one Job for each run"


def _kubernetes_own(plane: ControlPlane, server: ApiServer, count: int) -> float:
    """Return how many seconds the Job controller, at its defaults, takes to make a pod for each of `count` Jobs."""
    space = namespace(server, "yardstick")
    pods = Watch(plane, space.path("pods"))
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}}
    jobs = [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"job-{n:04}"}, "spec": {"template": template}}
        for n in range(count)
    ]
    started, _ = create_all(plane, space, jobs)
    return max(pods.wait_for(added=count).added.values()) - started


def _events(plane: ControlPlane, server: ApiServer) -> dict[str, float]:
    """Return how long after an event the operator's first write to its object is seen, at a steady rate.

    The runs are suspended, so that each event needs exactly one write. Both moments are of the same watch.
    """
    space = prepared(plane, server, "events")
    watch = Watch(plane, space.path("finetuneruns"))
    manifests = [run(f"event-{n:04}") for n in range(EVENTS)]
    for manifest in manifests:
        manifest["spec"]["suspend"] = True
    create_all(plane, space, manifests, EVENT_RATE)
    seen = watch.wait_for(added=EVENTS, changed=EVENTS)
    waits = sorted(1000 * (seen.changed[name] - at) for name, at in seen.added.items())
    cuts = statistics.quantiles(waits, n=100)
    return {"event_to_write_p50_ms": cuts[49], "event_to_write_p99_ms": cuts[98]}


def _story(plane: ControlPlane, server: ApiServer, operator: Operator) -> dict[str, float]:
    """Return the operator's writes for one run from apply to live, and those of ten seconds at rest."""
    space = prepared(plane, server, "story")
    before = sum(writes(operator).values())
    with ScriptedNode(ApiServer(plane), space.namespace):
        space.apply(run())
        eventually(lambda: space.phase("first") == "Promoted", seconds=300, what="the run is promoted")
        time.sleep(2)
        live = sum(writes(operator).values())
        time.sleep(10)
        rest = sum(writes(operator).values())
    return {"writes_to_live": live - before, "writes_at_rest": rest - live}


def _report(
    options: argparse.Namespace, bursts: Sequence[Burst], yardstick: Sequence[float], figures: dict[str, float]
) -> None:
    ratio = [statistics.median(b.last_job for b in bursts) / y for y in yardstick]
    if options.json:
        result: dict[str, Any] = {"runs": options.runs, "cores": os.cpu_count(), "bursts": [asdict(b) for b in bursts]}
        print(json.dumps(result | figures | {"kubernetes_seconds": yardstick, "ratio": ratio}, indent=2))
        return
    print(f"{options.runs} FineTuneRuns applied at once, {len(bursts)} times, on {os.cpu_count()} cores")
    print(f"{'':36}{'min':>9}{'median':>9}{'max':>9}")
    rows = {
        "all created (s)": [b.created for b in bursts],
        "first prepare Job (s)": [b.first_job for b in bursts],
        "last prepare Job (s)": [b.last_job for b in bursts],
        "operator's processor time (s)": [b.operator_cpu for b in bursts],
        "control plane's processor time (s)": [b.control_plane_cpu for b in bursts],
        "writes a run, Job recorded": [b.writes for b in bursts],
        "load average before": [b.load for b in bursts],
        f"Kubernetes: {options.runs} pods from Jobs (s)": yardstick,
        "ratio, ours to Kubernetes'": ratio,
    } | {name.replace("_", " "): [value] for name, value in figures.items()}
    for title, values in rows.items():
        if values:
            print(f"{title:36}{min(values):9.2f}{statistics.median(values):9.2f}{max(values):9.2f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
