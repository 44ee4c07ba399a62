"""300 FineTuneRuns at once become 300 prepare Jobs, one each, as fast as Kubernetes makes pods from Jobs, or faster."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from house.api_server import ApiServer, Object
from local_cluster import ControlPlane
from simulation.stories import run

from .world import Operator, Space, eventually

RUNS = 300
pytestmark = [pytest.mark.control_plane, pytest.mark.slow]


def test_every_run_of_a_burst_gets_exactly_one_prepare_job(
    plane: ControlPlane, operator: Operator, space: Space
) -> None:
    eventually(lambda: space.there("finetunepolicies", "invoice-fields")["status"].get("conditions"))
    runs = [run(f"burst-{number:03}") for number in range(RUNS)]
    before = operator.metric("finetune_api_requests_total")
    took = _measure(plane, space, runs, lambda: len(_prepares(space)) >= RUNS)
    requests = operator.metric("finetune_api_requests_total") - before
    jobs = _prepares(space)
    owners = sorted(job["metadata"]["labels"]["finetune-operator.io/owner-name"] for job in jobs)
    assert owners == sorted(r["metadata"]["name"] for r in runs)
    yardstick = _kubernetes_own(plane, space)
    print(f"{RUNS} runs applied and their prepare Jobs made in {took:.2f} s, {requests / RUNS:.1f} requests a run")
    print(f"Kubernetes' own controller: {RUNS} pods from {RUNS} Jobs in {yardstick:.2f} s")
    assert took <= yardstick


def _prepares(space: Space) -> list[Object]:
    query = "?labelSelector=finetune-operator.io%2Fstep%3Dprepare"
    answer = space.server.request("GET", space.path("jobs") + query)
    jobs: list[Object] = answer.body["items"]
    return jobs


def _measure(plane: ControlPlane, space: Space, manifests: list[Object], done: Callable[[], bool]) -> float:
    """Return the seconds from the first create to `done`; four connections create."""
    local = threading.local()

    def create(manifest: Object) -> None:
        if not hasattr(local, "server"):
            local.server = ApiServer(plane)
        Space(local.server, space.namespace).apply(manifest)

    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, manifests))
    created = time.monotonic()
    eventually(done, seconds=120, what="all are there")
    print(f"created in {created - started:.2f} s, all there after {time.monotonic() - started:.2f} s")
    return time.monotonic() - started


def _kubernetes_own(plane: ControlPlane, space: Space) -> float:
    """Return the seconds that the Job controller takes to make a pod for each of as many Jobs."""
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}}}
    jobs = [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"yard-{n:03}", "labels": {"yard": "stick"}},
         "spec": {**spec, "template": {**spec["template"], "metadata": {"labels": {"yard": "stick"}}}}}
        for n in range(RUNS)
    ]  # fmt: skip

    def done() -> bool:
        answer = space.server.request("GET", space.path("pods") + "?labelSelector=yard%3Dstick&limit=500")
        return len(answer.body["items"]) >= RUNS

    return _measure(plane, space, jobs, done)
