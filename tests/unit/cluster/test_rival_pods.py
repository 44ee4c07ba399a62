"""Two pods of one Job: either may be anybody's, unless one of them was to be replaced."""

from typing import Any

import pytest

from finetune_operator.cluster.job_views import job_views
from unit.cluster.test_pods import AT, DISRUPTED, a_pod, container, ran, view
from unit.cluster.test_views import job

SAID = ran(0, "Completed", "{}")
DELETED = {"deletionTimestamp": AT.format(7), "finalizers": ["batch.kubernetes.io/job-tracking"]}


def named(name: str, made: dict[str, Any]) -> dict[str, Any]:
    made["metadata"]["name"] = name
    return made


def doubt(first: dict[str, Any], second: dict[str, Any]) -> str | None:
    seen = view(named("a", first), named("b", second))
    return seen.doubt.reason if seen.doubt else None


@pytest.mark.row("R73")
@pytest.mark.parametrize("code", [0, 1, 143])
def test_two_pods_are_one_too_many_whatever_they_say(code: int) -> None:
    other = a_pod("Succeeded", container("trainer", **ran(code)))
    assert doubt(a_pod("Succeeded", container("trainer", **SAID)), other) == "AmbiguousPods"
    assert doubt(a_pod("Running", container("trainer", running={})), other) == "AmbiguousPods"


@pytest.mark.row("R73")
def test_a_disrupted_pod_and_its_replacement_are_no_rivals() -> None:
    gone = a_pod("Failed", container("trainer", **ran(143)), conditions=[DISRUPTED])
    assert view(named("a", gone)).disrupted
    assert doubt(gone, a_pod("Succeeded", container("trainer", **SAID))) is None


@pytest.mark.row("R73")
@pytest.mark.parametrize("phase", ["Pending", "Running", "Failed"])
def test_a_pod_that_a_queue_took_away_before_it_said_anything_and_its_replacement_are_no_rivals(phase: str) -> None:
    states = {
        "Pending": [],
        "Running": [container("trainer", running={})],
        "Failed": [container("trainer", **ran(143))],
    }
    gone = a_pod(phase, *states[phase], meta=DELETED)
    seen = view(named("a", gone), named("b", a_pod("Succeeded", container("trainer", **SAID))))
    assert (seen.doubt, seen.exit_code, seen.termination_message) == (None, 0, "{}")


@pytest.mark.row("R73")
def test_a_deleted_pod_that_said_all_the_same_how_it_ended_is_a_rival() -> None:
    traps = a_pod("Succeeded", container("trainer", **SAID), meta=DELETED)
    assert doubt(traps, a_pod("Running", container("trainer", running={}))) == "AmbiguousPods"


@pytest.mark.row("R72")
def test_a_pod_with_an_image_of_its_own_is_not_listened_to_beside_the_jobs_and_alone_is_named() -> None:
    ours = a_pod("Running", container("trainer", running={}), spec={"containers": [{"name": "trainer", "image": "a"}]})
    evil = a_pod("Succeeded", container("trainer", **SAID), spec={"containers": [{"name": "trainer", "image": "b"}]})
    seen = view(named("ours", ours), named("evil", evil))
    assert (seen.doubt, seen.spoke, seen.termination_message, seen.pods_gone) == (None, False, None, False)


@pytest.mark.row("R72")
def test_a_job_is_not_over_while_a_pod_runs_that_is_not_listened_to() -> None:
    """It has the run's volumes all the same."""
    ours = a_pod("Succeeded", container("trainer", **SAID), spec={"containers": [{"name": "trainer", "image": "a"}]})
    evil = a_pod("Running", container("trainer", running={}), spec={"containers": [{"name": "trainer", "image": "b"}]})
    seen = view(named("ours", ours), named("evil", evil))
    assert (seen.doubt, seen.termination_message, seen.pods_gone) == (None, "{}", False)


@pytest.mark.row("R72")
def test_what_admission_added_to_the_pod_that_speaks_is_told() -> None:
    asked = {"containers": [{"name": "trainer", "image": "a"}]}
    of_job = job()
    of_job["spec"] = {"template": {"spec": asked}}
    spec = {"containers": [*asked["containers"], {"name": "proxy"}]}
    (seen,) = job_views("run-1", [of_job], [a_pod("Succeeded", container("trainer", **SAID), spec=spec)])
    assert (seen.doubt, seen.termination_message, seen.additions) == (None, "{}", "admission added container proxy")
