"""What is counted of a run: its attempts, its steps, its end; each once."""

from collections import Counter

import pytest

from finetune_operator.api.run import Attempt, AttemptOutcome
from finetune_operator.controller.metrics import DOMAIN
from finetune_operator.decide.attempts.metrics import RESULTS, result_of
from finetune_operator.decide.decision import RecordMetric
from unit.decide.run.results import START
from unit.decide.run.world import World


def recorded(world: World) -> list[RecordMetric]:
    actions = [action for action in world.history if isinstance(action, RecordMetric)]
    assert all(action.labels.keys() == set(DOMAIN[action.metric].labels) for action in actions)
    return actions


def counts(world: World, metric: str) -> Counter[tuple[str, ...]]:
    return Counter(tuple(a.labels.values())[2:] for a in recorded(world) if a.metric == metric)


def test_every_step_and_the_run_are_recorded_once_when_they_end() -> None:
    world = World().judged(candidate="0.900000")
    world.settle()
    steps = {("prepare", "Succeeded"): 1, ("train", "Succeeded"): 1, ("evaluate", "Succeeded"): 1}
    assert counts(world, "finetune_attempts") == steps
    assert counts(world, "finetune_step_duration_seconds") == {(step,): 1 for step, _ in steps}
    assert counts(world, "finetune_runs_ended") == {("Rejected",): 1}
    assert world.status.finished_at is not None
    (took,) = (a.value for a in recorded(world) if a.metric == "finetune_run_duration_seconds")
    assert took == (world.status.finished_at - START).total_seconds()


def test_what_was_drawn_is_recorded_once_by_the_words_of_the_glossary() -> None:
    world = World().judged()
    drawn = [(a.labels["count"], a.value) for a in recorded(world) if a.metric == "finetune_pool_samples"]
    assert dict(drawn) == {
        "pool": 60, "heldOut": 0, "withdrawn": 0, "outside": 60, "new": 60, "corrected": 0, "fresh": 60,
    }  # fmt: skip
    assert len(drawn) == len(dict(drawn))


def test_a_run_that_ends_before_it_knows_its_model_is_counted_all_the_same() -> None:
    world = World()
    world.settle()
    world.remove_job(world.job("prepare").name)
    for _ in range(10):  # three attempts, each looked for once more
        world.wait(400)
        world.settle()
        world.jobs = ()
    assert world.phase() == "Failed"
    assert counts(world, "finetune_runs_ended") == {("Failed",): 1}
    assert counts(world, "finetune_attempts") == {("prepare", "JobVanished"): 3}
    assert counts(world, "finetune_step_duration_seconds") == {}


@pytest.mark.parametrize(
    ("outcome", "reason", "exit_code", "counted", "result"),
    [
        ("Succeeded", "", 0, True, "Succeeded"),
        ("Suspended", "PodTemplateChanged", None, False, "Suspended"),
        ("Failed", "Disrupted", 137, False, "Disrupted"),
        ("Failed", "PoolTooSmall", 10, True, "BadInput"),
        ("Failed", "NotANumber", 11, True, "BadTraining"),
        ("Failed", "OutOfMemory", 12, True, "OutOfMemory"),
        ("Failed", "Killed", 137, True, "OutOfMemory"),
        ("Failed", "StorageUnavailable", 13, True, "Unavailable"),
        ("Failed", "ResultInvalid", 0, True, "ResultLost"),
        ("Failed", "DeadlineExceeded", None, True, "DeadlineExceeded"),
        ("Failed", "WhateverComesNext", 1, True, "Other"),
    ],
)
def test_attempts_are_counted_by_what_calls_for_different_people(
    outcome: AttemptOutcome, reason: str, exit_code: int | None, counted: bool, result: str
) -> None:
    attempt = Attempt(
        step="train", attempt=1, job="j", outcome=outcome, reason=reason, exit_code=exit_code, counted=counted
    )
    assert result_of(attempt) == result
    assert result in RESULTS
