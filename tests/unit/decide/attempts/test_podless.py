"""A Job without a pod: when that is trouble, and when its controller merely takes its time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from finetune_operator.api.run import Attempt
from finetune_operator.controller.stopwatch import Stopwatch
from finetune_operator.decide.attempts.clock import timed_attempt
from finetune_operator.decide.attempts.pods import PODLESS, PODLESS_AGAIN, listen
from finetune_operator.decide.views import JobView

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def without_pod(since: timedelta) -> JobView:
    return JobView(name="first-train-1-abc", uid="job-1", step="train", attempt=1, podless_since=NOW - since)


@pytest.mark.row("R324")
def test_a_job_that_had_a_pod_is_given_the_time_that_its_controller_pauses() -> None:
    """A pod that was disrupted is replaced within the Job, after ten minutes at most."""
    job = without_pod(timedelta(hours=3))
    waits = listen(job, NOW, started=True, seen=PODLESS_AGAIN - SECOND)
    assert (waits.problem, waits.after) == (None, SECOND)
    stuck = listen(job, NOW, started=True, seen=PODLESS_AGAIN).problem
    assert stuck is not None
    assert stuck.reason == "PodNotCreated"
    assert "kubectl describe job first-train-1-abc" in stuck.message


@pytest.mark.row("R324")
def test_a_pod_that_was_disrupted_before_its_trainer_began_is_replaced_as_late() -> None:
    job = replace(without_pod(timedelta(hours=3)), has_pods=True)
    assert listen(job, NOW, started=False, seen=PODLESS_AGAIN - SECOND).problem is None
    assert listen(job, NOW, started=False, seen=PODLESS_AGAIN).problem is not None


@pytest.mark.row("R324")
def test_what_a_queue_let_go_a_moment_ago_is_no_job_that_gets_no_pod() -> None:
    """It had none while it was queued, for hours: it has a minute from its new start on, as any other."""
    job = without_pod(PODLESS - SECOND)
    waits = listen(job, NOW, started=True, seen=timedelta(hours=9))
    assert (waits.problem, waits.after) == (None, SECOND)
    assert listen(without_pod(PODLESS), NOW, started=True, seen=timedelta(hours=9)).problem is not None


@pytest.mark.row("R324")
def test_how_long_a_job_is_without_a_pod_is_counted_from_when_it_was_seen_so() -> None:
    """A pod that waited for a node for hours, and was disrupted then, was there all the while."""
    attempt = Attempt(step="train", attempt=1, job="first-train-1-abc", outcome="Running", job_uid="job-1")
    job = without_pod(timedelta(hours=3))
    keys = {timed_attempt((attempt,), (one,)).key for one in (job, replace(job, podless_since=None, has_pods=True))}
    assert len(keys) == 2


@pytest.mark.row("R324")
@pytest.mark.parametrize(("began", "has_pods"), [(NOW - timedelta(hours=3), False), (None, True)])
def test_a_drain_that_ends_operator_and_trainer_at_once_is_no_job_that_gets_no_pod(
    began: datetime | None, has_pods: bool
) -> None:
    """The process that comes up sees a Job that began hours ago, and whose pod is about to be replaced."""
    attempt = Attempt(
        step="train", attempt=1, job="first-train-1-abc", outcome="Running", job_uid="job-1", started_at=began
    )
    job = replace(without_pod(timedelta(hours=3)), has_pods=has_pods)
    seen = Stopwatch().lap("run-1", timed_attempt((attempt,), (job,)), at=0.0, now=NOW)
    said = listen(job, NOW, started=began is not None, seen=seen)
    assert (said.problem, said.after) == (None, PODLESS_AGAIN)


@pytest.mark.row("R324")
def test_of_a_job_that_never_had_a_pod_a_process_that_starts_says_so_as_the_one_before() -> None:
    attempt = Attempt(step="train", attempt=1, job="first-train-1-abc", outcome="Running", job_uid="job-1")
    job = without_pod(timedelta(hours=3))
    seen = Stopwatch().lap("run-1", timed_attempt((attempt,), (job,)), at=0.0, now=NOW)
    assert listen(job, NOW, started=False, seen=seen).problem is not None


@pytest.mark.row("R324")
def test_of_a_job_that_had_a_pod_no_wall_clock_says_since_when_it_has_none() -> None:
    assert listen(without_pod(timedelta(days=1)), NOW, started=True).problem is None
    assert listen(without_pod(PODLESS), NOW, started=False).problem is not None
