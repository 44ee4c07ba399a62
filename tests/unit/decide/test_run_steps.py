"""Attempts: retries, suspension, deadlines, lost and false results; never two Jobs of one attempt."""

import json
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.contract import ProgressLine
from finetune_operator.api.run import Attempt
from finetune_operator.api.value import plain
from finetune_operator.decide.actions import CreateJob
from finetune_operator.decide.views import Problem
from unit.decide.run_world import (
    ROOT,
    START,
    World,
    base,
    envelope,
    evaluate_result,
    prepare_result,
    run,
    sha,
    template,
    train_result,
)


def outcomes(world: World, step: str) -> list[tuple[str, str]]:
    return [(a.outcome, a.reason) for a in world.status.attempts if a.step == step]


def newest(world: World) -> Attempt:
    return world.status.attempts[-1]


def training() -> World:
    world = World().prepared()
    world.start("train")
    return world


@pytest.mark.row("R12")
@pytest.mark.parametrize("step", ["prepare", "train", "evaluate"])
def test_a_crash_between_status_and_job_is_made_good(step: str) -> None:
    world = World()
    if step == "prepare":
        world.decide(crash=True)
    else:
        world = World().prepared() if step == "train" else World().trained()
        world.jobs = tuple(j for j in world.jobs if j.step != step)
        assert newest(world).job_uid is not None
        last = world.status.attempts[-1]
        attempts = (*world.status.attempts[:-1], replace(last, job_uid=None, outcome="Planned"))
        world.run = replace(world.run, status=replace(world.status, attempts=attempts))
    planned = newest(world)
    made = world.jobs_made(step)
    world.settle()
    assert world.jobs_made(step) == made + 1
    assert newest(world).job == planned.job == world.job(step).name


@pytest.mark.row("R13")
def test_a_job_is_recorded_when_it_is_seen() -> None:
    world = World()
    world.settle()
    assert newest(world).job_uid == world.job("prepare").uid
    assert newest(world).outcome == "Running"


@pytest.mark.row("R13")
def test_a_start_time_alone_costs_no_write() -> None:
    world = World()
    world.settle()
    before = world.writes
    world.start("prepare")
    assert world.writes == before
    world.complete("prepare", prepare_result())
    assert world.status.attempts[0].started_at == START


def line(epoch: int, percent: int, left: int = 60) -> ProgressLine:
    return ProgressLine(
        schema="finetune-operator.io/progress/v1",
        step="train",
        at=START,
        percent=percent,
        epoch=epoch,
        epochs=10,
        remaining_seconds=left,
        losses={"box": "1.2"},
    )


@pytest.mark.row("R13")
def test_progress_is_written_once_an_epoch_or_every_thirty_seconds() -> None:
    world = training()
    world.progress = line(1, 10)
    world.settle()
    assert "epoch 1 of 10, 10 %, about 60 s left" in world.status.message
    before = world.writes
    for percent in (11, 12, 13):
        world.wait(5)
        world.progress = line(1, percent)
        world.settle()
    assert world.writes == before
    world.progress = line(2, 20)
    world.settle()
    assert world.writes == before + 1
    assert world.status.progress is not None
    assert (world.status.progress.epoch, world.status.progress.losses) == (2, {"box": "1.2"})
    world.wait(31)
    world.progress = line(2, 25)
    world.settle()
    assert world.writes == before + 2
    world.wait(300)
    world.settle()
    assert world.writes == before + 2, "the same line again is nothing new"


@pytest.mark.row("R13")
def test_progress_out_of_bounds_is_brought_within_the_status_schema() -> None:
    world = training()
    world.progress = line(-3, 4000, -1)
    world.settle()
    assert world.status.progress is not None
    assert (world.status.progress.percent, world.status.progress.epoch) == (100, 0)
    assert world.status.progress.remaining_seconds == 0


@pytest.mark.row("R13")
@pytest.mark.parametrize("reason", ["ImagePullFailed", "Unschedulable"])
def test_why_a_pod_does_not_start_stands_in_the_steps_condition(reason: str) -> None:
    world = World().prepared()
    world.change_job(world.job("train").name, waiting=Problem(reason, "check the image name"))
    world.settle()
    assert world.condition("Trained") == ("False", reason)
    assert "check the image name" in world.status.message
    assert world.events()[-1] == reason
    world.change_job(world.job("train").name, waiting=None, running_since=world.now)
    world.settle()
    assert world.condition("Trained") == ("Unknown", "Running")


@pytest.mark.row("R13")
def test_a_queued_job_is_nobodys_mistake() -> None:
    world = World().prepared()
    world.change_job(world.job("train").name, suspended=True)
    world.settle()
    assert world.condition("Trained") == ("Unknown", "Queued")


@pytest.mark.row("R14")
def test_a_job_that_vanished_is_a_counted_failure() -> None:
    world = training()
    world.remove_job(world.job("train").name)
    world.settle()
    assert outcomes(world, "train") == [("Failed", "JobVanished")]
    world.wait(10)
    world.settle()
    assert [a.attempt for a in world.status.attempts if a.step == "train"] == [1, 2]


@pytest.mark.row("R14")
def test_another_job_under_the_recorded_name_is_not_ours() -> None:
    world = training()
    world.change_job(world.job("train").name, uid="somebody-elses")
    world.settle()
    assert outcomes(world, "train")[0] == ("Failed", "JobVanished")


@pytest.mark.row("R15")
def test_a_lost_result_is_collected_once() -> None:
    world = training()
    world.complete("train", None)
    collect = world.job("train")
    assert collect.collect
    (asked,) = [a for a in world.history if isinstance(a, CreateJob) and a.collect]
    assert asked.template == "cpu", "reading a manifest needs no GPU"
    assert len([a for a in world.status.attempts if a.step == "train"]) == 1
    world.complete("train", train_result())
    assert world.phase() == "Evaluating"
    assert world.jobs_made("train") == 2


@pytest.mark.row("R15")
@pytest.mark.parametrize("end", ["complete", "fail", "vanish"])
def test_a_result_that_is_missing_twice_is_a_failed_attempt(end: str) -> None:
    world = training()
    world.complete("train", None)
    if end == "complete":
        world.complete("train", None)
    elif end == "fail":
        world.fail("train", 1)
    else:
        world.remove_job(world.job("train").name)
        world.settle()
    assert outcomes(world, "train") == [("Failed", "JobVanished" if end == "vanish" else "ResultMissing")]
    assert world.status.candidate is None


ELSEWHERE = {"uri": "file:///etc/model.onnx", "sha256": sha("x"), "bytes": 1}
FALSE_RESULTS: dict[str, Any] = {
    "no JSON": "Traceback (most recent call last): ...",
    "cut": '{"schema": "finetune-operator.io/step-res',
    "another owner": {"owner": "somebody"},
    "another step": {"step": "evaluate"},
    "another attempt": {"attempt": 7},
    "another schema": {"schema": "finetune-operator.io/step-result/v2"},
    "no artifact": {"result": {}},
    "artifact elsewhere": {"result": train_result(artifact=ELSEWHERE)},
    "artifact above": {"result": train_result(artifact={**ELSEWHERE, "uri": f"{ROOT}/attempt-1/../../x/model.onnx"})},
    "no digest": {"result": train_result(checkpoint={"uri": "file:///artifacts/ml/x", "sha256": "none"})},
    "negative count": {"result": train_result(epochs=-1)},
    "result is null": {"result": None},
    "nested nonsense": '{"a":' * 2000,
}


@pytest.mark.row("R16")
@pytest.mark.parametrize("case", FALSE_RESULTS)
def test_a_result_that_is_not_this_attempts_is_a_failed_attempt(case: str) -> None:
    said = FALSE_RESULTS[case]
    world = training()
    text = said if isinstance(said, str) else json.dumps({**envelope(world.job("train"), train_result()), **said})
    world.complete("train", text)
    assert outcomes(world, "train") == [("Failed", "ResultInvalid")]
    assert newest(world).counted
    assert world.status.candidate is None


@pytest.mark.row("R16")
def test_a_failed_pod_that_claims_success_is_not_believed() -> None:
    world = training()
    job = world.job("train")
    text = json.dumps(envelope(job, train_result()))
    world.fail("train", 1, termination_message=text)
    assert outcomes(world, "train") == [("Failed", "ResultInvalid")]


def error(kind: str, reason: str) -> dict[str, str]:
    return {"class": kind, "reason": reason, "message": "what and where.", "remedy": "How to mend it."}


@pytest.mark.row("R17")
@pytest.mark.parametrize(
    ("step", "code", "kind", "reason"),
    [
        ("prepare", 10, "BadInput", "PoolTooSmall"),
        ("prepare", 10, "BadInput", "HeldOutPageInPool"),
        ("train", 11, "BadTraining", "NotANumber"),
        ("train", 12, "OutOfMemory", "OutOfMemory"),
        ("evaluate", 10, "BadInput", "DigestMismatch"),
    ],
)
def test_what_a_retry_cannot_mend_ends_the_run_with_the_trainers_words(
    step: str, code: int, kind: str, reason: str
) -> None:
    world = World.at(step)
    world.fail(step, code, error(kind, reason))
    assert world.phase() == "Failed"
    assert world.condition("Finished") == ("True", reason)
    kinds = {"prepare": "Prepared", "train": "Trained", "evaluate": "Evaluated"}
    assert world.condition(kinds[step]) == ("False", reason)
    assert world.status.message == "what and where. How to mend it."
    assert world.jobs_made(step) == 1


@pytest.mark.row("R17")
def test_an_exit_code_alone_is_enough_to_stop() -> None:
    world = training()
    world.fail("train", 12)
    assert world.condition("Finished") == ("True", "OutOfMemory")
    assert "batch" in world.status.message


def test_a_reason_that_no_condition_may_carry_is_replaced() -> None:
    world = training()
    world.fail("train", 10, error("BadInput", "no reason at all!\n"))
    assert world.condition("Finished") == ("True", "Internal")


@pytest.mark.row("R18")
def test_other_failures_are_retried_after_a_growing_while() -> None:
    world = World(run=run(backoff_limit=2)).prepared()
    for number, pause in ((1, 10), (2, 20)):
        world.fail("train", 13, error("Unavailable", "StorageUnavailable"))
        assert world.phase() == "Training"
        assert world.jobs_made("train") == number
        assert world.condition("Trained") == ("False", "StorageUnavailable")
        world.wait(pause - 1)
        decision = world.settle()
        assert decision.requeue_after == timedelta(seconds=1)
        assert world.jobs_made("train") == number
        world.wait(1)
        world.settle()
        assert world.jobs_made("train") == number + 1
    world.fail("train", 13, error("Unavailable", "StorageUnavailable"))
    assert world.phase() == "Failed"
    assert world.condition("Finished") == ("True", "BackoffLimitExceeded")
    assert "StorageUnavailable" in world.status.message


@pytest.mark.row("R18")
def test_disruptions_cost_no_retry_but_have_an_end() -> None:
    world = World(run=run(backoff_limit=0)).prepared()
    for _ in range(20):
        assert world.phase() == "Training"
        world.fail("train", 143, disrupted=True)
        assert (newest(world).reason, newest(world).counted) == ("Disrupted", False)
        world.wait(10)
        world.settle()
    assert world.phase() == "Failed"
    assert world.condition("Finished") == ("True", "TooManyDisruptions")
    assert world.jobs_made("train") == 20


@pytest.mark.row("R18")
def test_a_status_stays_small_however_much_went_wrong() -> None:
    world = World(run=run(backoff_limit=10))
    world.settle()
    long = {"class": "Internal", "reason": "Internal", "message": "x" * 3000, "remedy": "y" * 900}
    for step, result in (("prepare", prepare_result()), ("train", train_result()), ("evaluate", None)):
        for number in range(16):
            world.fail(step, 1, long, disrupted=number >= 10)
            world.wait(300)
            world.settle()
        world.complete(step, result)
    assert len(world.status.attempts) == 51
    assert len(json.dumps(plain(world.status))) < 32 * 1024


def test_suspending_for_ever_does_not_grow_the_status() -> None:
    world = World().prepared()
    for _ in range(40):
        world.edit(suspend=True)
        world.settle()
        world.remove_job(world.job("train").name)
        world.edit(suspend=False)
        world.settle()
    numbers = [a.attempt for a in world.status.attempts if a.step == "train"]
    assert len(numbers) <= 7
    assert numbers[-1] == 41, "numbers never come back"


@pytest.mark.row("R4")
@pytest.mark.row("R5")
def test_suspending_ends_the_job_and_costs_no_retry() -> None:
    world = World(run=run(backoff_limit=0)).prepared()
    world.start("train")
    world.edit(suspend=True)
    world.settle()
    assert world.phase() == "Suspended"
    assert world.job("train").deleting
    assert (newest(world).outcome, newest(world).counted) == ("Suspended", False)
    world.edit(suspend=False)
    world.settle()
    assert world.jobs_made("train") == 1, "not before the old pods are gone"
    world.remove_job(world.job("train").name)
    world.settle()
    assert world.phase() == "Training"
    assert world.jobs_made("train") == 2
    assert world.job("train").name.endswith(newest(world).job[-6:])


@pytest.mark.row("R4")
def test_suspending_between_two_attempts_shows_at_once() -> None:
    world = World().prepared()
    world.fail("train", 13)
    world.edit(suspend=True)
    world.settle()
    assert world.phase() == "Suspended"


@pytest.mark.row("R4")
def test_a_result_that_came_before_the_suspension_is_kept() -> None:
    world = World().prepared()
    world.edit(suspend=True)
    world.complete("train", train_result())
    assert world.status.candidate is not None
    assert world.phase() == "Suspended"
    assert world.jobs_made("evaluate") == 0


@pytest.mark.row("R4")
def test_a_judged_run_is_not_suspended() -> None:
    world = World().in_review()
    world.edit(suspend=True)
    world.settle()
    assert world.phase() == "InReview"


@pytest.mark.row("R19")
def test_the_deadline_counts_running_time_alone() -> None:
    world = World(run=run(active_deadline_seconds=100)).prepared()
    world.wait(5000)
    world.start("train")
    world.wait(60)
    world.edit(suspend=True)
    world.settle()
    world.remove_job(world.job("train").name)
    world.wait(5000)
    world.edit(suspend=False)
    world.settle()
    world.start("train")
    world.wait(39)
    assert world.settle().requeue_after == timedelta(seconds=1)
    assert world.phase() == "Training"
    world.wait(1)
    world.settle()
    assert world.job("train").deleting
    assert world.phase() == "Training", "not final before its pods are gone"
    world.remove_job(world.job("train").name)
    world.settle()
    assert world.phase() == "Failed"
    assert world.condition("Finished") == ("True", "DeadlineExceeded")
    assert "activeDeadlineSeconds (100 s)" in world.status.message


@pytest.mark.row("R19")
def test_no_attempt_follows_when_the_time_is_used_up() -> None:
    world = World(run=run(active_deadline_seconds=100)).prepared()
    world.start("train")
    world.wait(200)
    world.fail("train", 1, error("Internal", "Internal"))
    world.wait(300)
    world.settle()
    assert world.condition("Finished") == ("True", "DeadlineExceeded")


@pytest.mark.row("R36")
def test_no_final_phase_before_the_pods_are_gone() -> None:
    world = training()
    world.fail("train", 10, error("BadInput", "LabelsOutOfRange"), pods_gone=False)
    assert world.phase() == "Training"
    assert world.condition("Finished") == ("Unknown", "NotYet")
    assert world.status.finished_at is None
    assert world.job("train").deleting
    world.remove_job(world.job("train").name)
    world.settle()
    assert world.phase() == "Failed"
    assert world.condition("Finished") == ("True", "LabelsOutOfRange")
    assert world.events().count("Failed") == 1


MISMATCHES: dict[str, tuple[str, ...]] = {
    "candidate": ("models", "candidate", "sha256"),
    "base": ("models", "base", "sha256"),
    "live version": ("models", "live", "sha256"),
    "test set": ("testSet", "digest"),
    "new samples": ("newSet", "digest"),
}


@pytest.mark.row("R22")
@pytest.mark.parametrize("what", MISMATCHES)
def test_measurements_of_something_else_are_no_evidence(what: str) -> None:
    world = World(versions=(base(), base("ft_v1.1", "1e" * 32, type="FineTuned")))
    world.go_live("ft_v1.1")
    world.trained()
    result = evaluate_result(live_map50="0.98")
    place = result
    *path, last = MISMATCHES[what]
    for key in path:
        place = place[key]
    place[last] = "ff" * 32
    world.complete("evaluate", result)
    assert outcomes(world, "evaluate") == [("Failed", "EvidenceMismatch")]
    assert what in newest(world).message
    assert world.status.verdict is None


@pytest.mark.row("R22")
def test_a_live_version_that_nobody_asked_for_is_no_evidence() -> None:
    world = World().trained()
    world.complete("evaluate", evaluate_result(live_map50="0.1"))
    assert outcomes(world, "evaluate") == [("Failed", "EvidenceMismatch")]


@pytest.mark.row("R21")
def test_evaluation_is_asked_against_what_is_live_when_it_is_planned() -> None:
    world = World().prepared()
    world.go_live("base_v1", "ba" * 32)
    world.complete("train", train_result())
    assert newest(world).live == "ba" * 32
    assert (world.status.candidate is not None, world.status.checkpoint is not None) == (True, True)


def test_the_templates_hash_is_recorded_per_attempt() -> None:
    world = World()
    world.settle()
    assert newest(world).template_hash == template("cpu-trainer").hash


def test_one_job_per_attempt_whatever_happens_first() -> None:
    world = World()
    for _ in range(5):
        world.decide(crash=True)
    world.settle()
    made = [a.name for a in world.history if isinstance(a, CreateJob)]
    assert len(made) == len(set(made)) == 1


@pytest.mark.row("R39")
def test_mending_the_template_heals_a_run_whose_pod_never_ran() -> None:
    world = World(run=run(backoff_limit=0)).prepared()
    world.change_job(world.job("train").name, waiting=Problem("ImagePullFailed", "check the image name"))
    world.settle()
    assert world.jobs_made("train") == 1
    world.train_template = template("gpu-trainer, mended")
    world.settle()
    assert world.job("train").deleting
    assert (newest(world).outcome, newest(world).reason) == ("Suspended", "PodTemplateChanged")
    world.remove_job(world.job("train").name)
    world.settle()
    assert world.jobs_made("train") == 2
    assert newest(world).template_hash == template("gpu-trainer, mended").hash
    assert world.condition("Trained") == ("Unknown", "Running")


@pytest.mark.row("R39")
def test_a_pod_that_takes_the_place_of_one_that_ran_is_waited_for() -> None:
    world = training()
    world.change_job(world.job("train").name, waiting=Problem("Unschedulable", "no node"))
    world.train_template = template("another")
    world.settle()
    assert not world.job("train").deleting


@pytest.mark.row("R39")
@pytest.mark.parametrize("problem", [None, Problem("NoTrainerContainer", "name a container trainer")])
def test_a_template_that_changes_under_a_running_pod_touches_nothing(problem: Problem | None) -> None:
    world = training()
    if problem:
        world = World().prepared()
        world.change_job(world.job("train").name, waiting=Problem("Unschedulable", "no node"))
    world.train_template = template("another", problem)
    world.settle()
    assert not world.job("train").deleting
    assert world.jobs_made("train") == 1
