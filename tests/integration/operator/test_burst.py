"""Many FineTuneRuns at once become as many prepare Jobs, one each; how fast is measured by `make bench`."""

import pytest

from benchmarks.stage import create_all
from benchmarks.watching import Watch
from house.api_server import ApiServer, Object
from local_cluster import ControlPlane
from simulation.stories import run

from .world import Operator, Space, eventually

PREPARES = "finetune-operator.io%2Fstep%3Dprepare"
pytestmark = [pytest.mark.control_plane, pytest.mark.slow]


@pytest.mark.parametrize("number", [60, pytest.param(300, marks=[pytest.mark.deep, pytest.mark.long])])
def test_every_run_of_a_burst_gets_exactly_one_prepare_job(
    plane: ControlPlane, operator: Operator, space: Space, number: int
) -> None:
    eventually(lambda: space.there("finetunepolicies", "invoice-fields")["status"].get("conditions"))
    # The queue of a policy is not what is measured here.
    assert space.patch("finetunepolicies", "invoice-fields", {"spec": {"concurrency": number}}).accepted
    runs = [run(f"burst-{which:03}") for which in range(number)]
    jobs = Watch(plane, space.path("jobs"), PREPARES)
    create_all(plane, space, runs)
    jobs.wait_for(added=number)
    # Whatever has yet to be said of the runs is said, so that a Job too many would have been made.
    eventually(lambda: operator.metric("finetune_queue_depth") == 0, seconds=120, what="the operator rests")
    owners = sorted(job["metadata"]["ownerReferences"][0]["name"] for job in _prepares(plane, space))
    assert owners == sorted(r["metadata"]["name"] for r in runs)


def _prepares(plane: ControlPlane, space: Space) -> list[Object]:
    server = ApiServer(plane)  # the test's own may have been idle for too long
    jobs: list[Object] = server.request("GET", f"{space.path('jobs')}?labelSelector={PREPARES}").body["items"]
    server.close()
    return jobs
