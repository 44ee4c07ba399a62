"""A Job is believed for what it is to do and for the attempt that it carries, not for its name."""

from dataclasses import replace

import pytest

from finetune_operator.api.run import Attempt
from finetune_operator.decide.attempts.genuine import not_as_made
from finetune_operator.decide.views import JobView

JOB = JobView(name="first-train-1", uid="job-1", step="train", attempt=1, namespace="ml", made="v1:ours")


def attempt(made: str | None = "v1:ours", uid: str | None = None) -> Attempt:
    return Attempt(step="train", attempt=1, job=JOB.name, outcome="Planned", nonce="n", made=made, job_uid=uid)


@pytest.mark.row("R70")
def test_a_job_that_was_not_to_be_made_costs_no_try() -> None:
    assert not_as_made(attempt(), JOB) is None
    strange = not_as_made(attempt(), replace(JOB, made="v1:other"))
    assert strange is not None
    assert (strange.problem.reason, strange.counted) == ("JobNotOurs", False)
    assert "-n ml" in strange.problem.message


@pytest.mark.row("R70")
def test_a_job_of_another_form_is_not_taken_for_ours_before_it_was_seen() -> None:
    assert not_as_made(attempt(), replace(JOB, made="v2:ours")) is not None


@pytest.mark.row("R71")
def test_a_job_that_is_changed_later_gives_no_result_and_costs_a_try() -> None:
    strange = not_as_made(attempt(uid="job-1"), replace(JOB, made="v1:other"))
    assert strange is not None
    assert (strange.problem.reason, strange.counted) == ("JobChanged", True)


@pytest.mark.row("R71")
def test_what_an_earlier_release_began_goes_on_under_its_jobs_uid() -> None:
    assert not_as_made(attempt(made=None, uid="job-1"), JOB) is None
    assert not_as_made(attempt(made="v0:ours", uid="job-1"), JOB) is None


@pytest.mark.row("R70")
def test_a_job_that_is_gone_and_shown_by_its_pods_alone_is_blamed_for_nothing() -> None:
    for uid in (None, "job-1"):
        assert not_as_made(attempt(uid=uid), replace(JOB, made=None)) is None


@pytest.mark.row("R70")
def test_an_attempt_that_had_no_pod_template_to_be_made_from_has_no_job_of_ours() -> None:
    """What lies under its name was made by somebody who read it in the status."""
    strange = not_as_made(attempt(made=None), JOB)
    assert strange is not None
    assert strange.problem.reason == "JobNotOurs"
