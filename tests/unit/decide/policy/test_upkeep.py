"""Finished Jobs do not pile up: the newest stay, older ones go once their results are read."""

from dataclasses import replace as with_changes
from typing import Any

import pytest

from finetune_operator.api.policy import JobRules
from finetune_operator.api.policy_status import PolicyStatus
from finetune_operator.decide.decision import Decision, DeleteJob, Emit
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.policy.refusal import say_refused
from finetune_operator.decide.policy.upkeep import AT_ONCE, NEXT
from finetune_operator.decide.refusal import Refusal
from finetune_operator.decide.views import FinishedJob, PolicyView
from unit.decide.policy.world import NOW, TEMPLATE, base, deployment, keys, live, policy, seconds


def job(age: float, *, harvested: bool = True) -> FinishedJob:
    return FinishedJob(f"job-{age:g}", f"uid-{age:g}", NOW - seconds(age), harvested)


def view(*jobs: FinishedJob, keep: int = 2, **spec: Any) -> PolicyView:
    version = base()
    return PolicyView(
        policy=policy(live(version), jobs=JobRules(keep=keep), **spec),
        now=NOW,
        deployment=deployment(keys(version)),
        train_template=TEMPLATE,
        cpu_template=TEMPLATE,
        versions=(version,),
        finished_jobs=jobs,
    )


def deleted(decision: Decision[PolicyStatus]) -> list[str]:
    return [action.name for action in decision.actions if isinstance(action, DeleteJob)]


@pytest.mark.row("D25")
def test_the_newest_finished_jobs_stay_and_older_ones_go_oldest_first() -> None:
    assert deleted(decide(view(job(30), job(10), job(40), job(20)))) == ["job-40", "job-30"]
    assert deleted(decide(view(job(30), job(10), keep=0))) == ["job-30", "job-10"]
    assert deleted(decide(view(job(30), job(10)))) == []


@pytest.mark.row("D26")
def test_a_job_whose_result_is_not_read_yet_stays_whatever_its_age() -> None:
    assert deleted(decide(view(job(10), job(20), job(30), job(40, harvested=False), job(50)))) == ["job-50", "job-30"]
    assert deleted(decide(view(job(10, harvested=False), job(20, harvested=False), keep=0))) == []


def test_a_backlog_goes_in_portions() -> None:
    decision = decide(view(*(job(age) for age in range(1, AT_ONCE + 10))))
    assert len(deleted(decision)) == AT_ONCE
    assert decision.requeue_after == NEXT
    assert decide(view(*(job(age) for age in range(3)))).requeue_after is None


def test_a_job_without_a_time_counts_as_the_oldest() -> None:
    assert deleted(decide(view(job(10), job(20), with_changes(job(1), finished_at=None)))) == ["job-1"]


def test_a_suspended_policy_tidies_up_too() -> None:
    assert deleted(decide(view(job(10), job(20), job(30), suspend=True))) == ["job-30"]


@pytest.mark.row("D27")
def test_a_job_that_may_not_be_deleted_is_said_in_ready_and_blocks_nothing() -> None:
    looked = view(job(10), job(20), job(30))
    refusal = Refusal("WriteRefused", "jobs is forbidden", DeleteJob("job-30", "uid-30"), NOW)
    settled = with_changes(looked, policy=_with(looked, decide(looked).status))
    decision = say_refused(settled, decide(settled), refusal)
    ready = next(c for c in decision.status.conditions if c.type == "Ready")
    assert (ready.status, ready.reason) == ("True", "WriteRefused")
    assert "the deletion of Job 'job-30'" in ready.message
    assert isinstance(decision.actions[0], Emit)
    again = with_changes(looked, policy=_with(looked, decision.status))
    repeated = say_refused(again, decide(again), refusal)
    assert repeated.status == decision.status
    assert [a for a in repeated.actions if isinstance(a, Emit)] == []


def _with(looked: PolicyView, status: PolicyStatus) -> Any:
    return type(looked.policy)(metadata=looked.policy.metadata, spec=looked.policy.spec, status=status)
