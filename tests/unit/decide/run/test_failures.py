"""Attempts that fail: lost and false results, retries and their end."""

import json
from datetime import timedelta
from typing import Any

import pytest

from finetune_operator.api.value import plain
from finetune_operator.decide.decision import CreateJob
from finetune_operator.decide.views import Failure, Problem
from house.following import manifests
from unit.decide.run.attempts import error, newest, outcomes, training
from unit.decide.run.results import ROOT, envelope, prepare_result, sha, train_result
from unit.decide.run.world import World, run, template


@pytest.mark.row("R14")
@pytest.mark.row("R45")
@pytest.mark.parametrize("step", ["prepare", "train"])
@pytest.mark.parametrize("how", ["gone", "another"])
def test_a_job_that_vanished_is_asked_for_what_it_left_before_anything_is_done_anew(step: str, how: str) -> None:
    world = World.at(step)
    world.start(step)
    name = world.job(step).name
    if how == "gone":
        world.remove_job(name)
    else:
        world.change_job(name, uid="somebody-elses")
    world.settle()
    collect = world.job(step)
    assert (collect.collect, collect.attempt) == (True, 1)
    world.complete(step, {"prepare": prepare_result, "train": train_result}[step]())
    assert outcomes(world, step) == [("Succeeded", "")]
    assert world.jobs_made(step) == 2


@pytest.mark.row("R45")
def test_a_vanished_job_that_left_nothing_is_a_counted_failure() -> None:
    world = training()
    world.remove_job(world.job("train").name)
    world.settle()
    world.fail("train", 1, error("Internal", "ResultMissing"))
    assert outcomes(world, "train") == [("Failed", "JobVanished")]
    assert newest(world).counted
    world.wait(10)
    world.settle()
    assert [(a.attempt, a.collect) for a in world.status.attempts if a.step == "train"] == [(1, True), (2, False)]


@pytest.mark.row("R14")
@pytest.mark.row("R45")
def test_what_measures_is_measured_anew_when_its_job_vanished() -> None:
    world = World.at("evaluate")
    world.remove_job(world.job("evaluate").name)
    world.settle()
    assert outcomes(world, "evaluate") == [("Failed", "JobVanished")]


@pytest.mark.row("R45")
def test_a_failed_job_whose_pod_is_gone_is_asked_for_what_it_left() -> None:
    world = training()
    world.fail("train", None, has_pods=False, said="BackoffLimitExceeded: too many")
    assert world.job("train").collect
    world.fail("train", None)
    assert outcomes(world, "train") == [("Failed", "PodVanished")]
    assert "BackoffLimitExceeded: too many" in newest(world).message


@pytest.mark.row("R48")
def test_suspension_neither_ends_a_collecting_job_nor_starts_one() -> None:
    world = training()
    world.remove_job(world.job("train").name)
    world.edit(suspend=True)
    world.settle()
    assert (world.phase(), world.jobs_made("train")) == ("Suspended", 1)
    world.edit(suspend=False)
    world.settle()
    assert world.job("train").collect
    world.train_template = template("another")
    world.edit(suspend=True)
    world.settle()
    assert not world.job("train").deleting
    world.complete("train", train_result())
    assert (world.phase(), world.status.candidate is not None) == ("Suspended", True)


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
    assert world.status.message.startswith(f"{step}: what and where. How to mend it")
    assert (step == "evaluate") == (manifests(world.status.message) != []), "what was trained is worth a command"
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


def disrupted(world: World, times: int, *, hours: float, step: str = "train") -> None:
    """Let a node take each attempt of a step away after so long."""
    for _ in range(times):
        assert world.phase() == {"train": "Training", "evaluate": "Evaluating"}[step]
        world.start(step)
        world.wait(hours * 3600)
        world.fail(step, 143, disrupted=True)
        world.wait(10)
        world.settle()


@pytest.mark.row("R227")
def test_a_training_of_days_outlives_the_nodes_that_are_taken_away_every_few_hours() -> None:
    """It goes on after its last epoch, so that each attempt brings it nearer; a node that takes it at once does not."""
    world = World(run=run(backoff_limit=0, active_deadline_seconds=30 * 86_400)).prepared()
    disrupted(world, 50, hours=3)
    disrupted(world, 19, hours=0.5)
    assert world.phase() == "Training"
    disrupted(world, 1, hours=0.9)
    assert world.condition("Finished") == ("True", "TooManyDisruptions")
    assert "disrupted 70 times" in world.status.message


@pytest.mark.row("R227")
def test_a_step_that_begins_anew_each_time_gets_nowhere_however_long_it_ran() -> None:
    world = World(run=run(backoff_limit=0, active_deadline_seconds=30 * 86_400)).prepared()
    world.start("train")
    world.complete("train", train_result())
    disrupted(world, 20, hours=1, step="evaluate")
    assert world.condition("Finished") == ("True", "TooManyDisruptions")


@pytest.mark.row("R227")
def test_however_long_each_attempt_ran_a_hundred_are_enough() -> None:
    world = World(run=run(backoff_limit=0, active_deadline_seconds=30 * 86_400)).prepared()
    disrupted(world, 100, hours=1)
    assert world.condition("Finished") == ("True", "TooManyDisruptions")
    assert world.jobs_made("train") == 100


def told(world: World) -> list[Any]:
    """The earlier attempts that each Job of train is told of."""
    made = [a for a in world.history if isinstance(a, CreateJob) and a.step == "train"]
    return [[before["attempt"] for before in json.loads(job.step_inputs)["earlier"]] for job in made]


@pytest.mark.row("R210")
def test_each_attempt_of_train_is_told_of_those_before_it_with_their_nonces() -> None:
    world = World(run=run(backoff_limit=2)).prepared()
    world.fail("train", 143, error("Preempted", "Preempted"))
    world.wait(10)
    world.settle()
    world.fail("train", None, disrupted=True)
    world.wait(20)
    world.settle()
    assert told(world) == [[], [1], [1, 2]]
    last = json.loads(next(a for a in reversed(world.history) if isinstance(a, CreateJob)).step_inputs)
    assert last["earlier"] == [{"attempt": a.attempt, "nonce": a.nonce} for a in world.status.attempts[-3:-1]]


@pytest.mark.row("R210")
def test_an_attempt_after_a_suspension_goes_on_from_the_one_before() -> None:
    world = training()
    world.edit(suspend=True)
    world.settle()
    world.remove_job(world.job("train").name)
    world.edit(suspend=False)
    world.settle()
    assert outcomes(world, "train")[0][0] == "Suspended"
    assert told(world) == [[], [1]]


@pytest.mark.row("R210")
def test_of_many_earlier_attempts_the_newest_are_told() -> None:
    world = World(run=run(backoff_limit=0)).prepared()
    for _ in range(18):
        world.fail("train", 143, disrupted=True)
        world.wait(10)
        world.settle()
    assert told(world)[-1] == list(range(3, 19))


def a_resumed_result(*before: tuple[int, int]) -> dict[str, Any]:
    return train_result(resumed=[{"attempt": a, "epoch": e, "seconds": 60, "device": "cpu"} for a, e in before])


@pytest.mark.row("R211")
def test_what_a_training_went_on_from_is_said_of_it() -> None:
    world = World().prepared()
    world.fail("train", 143, disrupted=True)
    world.wait(10)
    world.settle()
    world.start("train")
    world.complete("train", a_resumed_result((1, 6)))
    assert world.condition("Trained") == ("True", "Trained")
    assert world.message("Trained").endswith("resumed after epoch 6 of attempt 1")


@pytest.mark.row("R211")
@pytest.mark.parametrize("before", [[(2, 6)], [(3, 6)], [(1, 10)], [(1, 0)], [(1, 6), (1, 4)]])
def test_a_training_cannot_go_on_from_itself_or_from_what_came_later(before: list[tuple[int, int]]) -> None:
    world = World().prepared()
    world.fail("train", 143, disrupted=True)
    world.wait(10)
    world.settle()
    world.start("train")
    world.complete("train", a_resumed_result(*before))
    assert world.condition("Trained") == ("False", "ResultContradictory")
    assert "went on from" in world.message("Trained")


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


@pytest.mark.row("R210")
def test_an_attempt_that_was_suspended_is_told_of_too() -> None:
    world = World().prepared()
    world.start("train")
    world.edit(suspend=True)
    world.settle()
    world.fail("train", 143, error("Preempted", "Preempted"))
    world.edit(suspend=False)
    world.settle()
    assert [attempt.outcome for attempt in world.status.attempts if attempt.step == "train"] == ["Suspended", "Running"]
    assert told(world) == [[], [1]]


@pytest.mark.row("R210")
def test_of_very_many_attempts_the_newest_are_told_of() -> None:
    world = World(run=run(backoff_limit=0)).prepared()
    disrupted(world, 18, hours=0.1)
    assert told(world)[-1] == list(range(3, 19))


@pytest.mark.row("R210")
def test_attempts_that_never_ran_do_not_hide_the_one_that_kept_something() -> None:
    """A node that rejects pods makes attempt after attempt within minutes."""
    world = World(run=run(backoff_limit=0)).prepared()
    disrupted(world, 1, hours=2)
    for _ in range(18):
        rejected = Failure(Problem("RejectedByNode", "no healthy devices"), counted=False)
        world.fail("train", None, failure=rejected, has_pods=True, spans=())
        world.wait(300)
        world.settle()
    assert world.phase() == "Training"
    assert told(world)[-1] == [1, *range(5, 20)]
