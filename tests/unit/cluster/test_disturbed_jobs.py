"""A Job that somebody disturbs: its labels, its parallelism, its deletion, and pods that say they are of it."""

from typing import Any

import pytest

from finetune_operator.cluster.job_views import job_views
from unit.cluster.test_pods import AT, a_pod, container, second
from unit.cluster.test_views import job


@pytest.mark.row("R96")
@pytest.mark.parametrize(("status", "emptied"), [({"terminating": 0}, True), ({"terminating": 1}, False), ({}, False)])
def test_a_job_that_the_collector_keeps_for_what_names_it_as_owner_is_empty_when_its_controller_counts_no_pod(
    status: dict[str, Any], emptied: bool
) -> None:
    going = job(**status)
    going["metadata"].update({"deletionTimestamp": AT.format(30), "finalizers": ["foregroundDeletion"]})
    (seen,) = job_views("run-1", [going], [])
    assert seen.emptied == emptied


@pytest.mark.row("R97")
def test_a_jobs_step_and_attempt_are_read_where_nobody_can_change_them() -> None:
    relabelled = job(active=1)
    relabelled["spec"] = {"template": {"metadata": {"labels": relabelled["metadata"]["labels"]}}}
    relabelled["metadata"]["labels"] = {"finetune-operator.io/step": "prepare", "finetune-operator.io/attempt": "9"}
    (seen,) = job_views("run-1", [relabelled], [])
    assert (seen.step, seen.attempt, seen.round) == ("train", 2, 1)


@pytest.mark.row("R97")
def test_a_job_that_is_on_record_stays_ours_when_somebody_takes_its_owner_away() -> None:
    taken = job(active=1)
    taken["metadata"]["ownerReferences"] = []
    assert job_views("run-1", [taken], []) == ()
    (seen,) = job_views("run-1", [taken], [], {"job-1"})
    assert seen.uid == "job-1"


@pytest.mark.row("R98")
def test_a_pod_that_no_job_deletes_is_named_with_the_command_that_does() -> None:
    (left,) = job_views("run-1", [], [a_pod("Running", container("trainer", running={"startedAt": AT.format(3)}))])
    assert left.overdue is not None
    assert (left.overdue.due, left.overdue.problem.reason) == (second(61), "PodNotEnding")
    assert "kubectl delete pod p -n ml" in left.overdue.problem.message


@pytest.mark.row("R98")
def test_a_job_that_somebody_allows_no_pods_says_so_with_the_command_that_allows_them() -> None:
    idled = job()
    idled["metadata"]["namespace"] = "ml"
    idled["spec"] = {"parallelism": 0}
    (seen,) = job_views("run-1", [idled], [])
    assert seen.waiting is not None
    assert seen.waiting.reason == "PodNotCreated"
    assert "kubectl patch job first-train-2-abc -n ml --type merge" in seen.waiting.message
