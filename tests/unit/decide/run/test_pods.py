"""What pods do to a run: containers beside the trainer, pods that come, wait, go and do not go, and the clock."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec.structs import replace as updated

from finetune_operator.decide.decision import DeleteJob
from finetune_operator.decide.views import Explanation, Failure, Overdue, PodMoment, Problem, Span
from unit.decide.run.attempts import newest, outcomes, training
from unit.decide.run.results import START, envelope, prepare_result, train_result
from unit.decide.run.world import World, run, template


def trainer_ends(world: World, exit_code: int = 0, *, lingers: bool = True, message: bool = True) -> str:
    """Let the trainer of the newest training end while its Job goes on; return the Job's name."""
    job = world.job("train")
    said = json.dumps(envelope(job, train_result())) if message else None
    world.change_job(
        job.name,
        exit_code=exit_code,
        termination_message=said,
        finished_at=world.now,
        spans=tuple(Span(span.start, span.end or world.now) for span in job.spans),
        spoke=True,
        lingers=lingers,
        idle=True,
    )
    return job.name


@pytest.mark.row("R40")
def test_a_result_counts_while_a_sidecar_runs_on_and_the_job_goes_a_moment_later() -> None:
    world = training()
    name = trainer_ends(world)
    decision = world.settle()
    assert world.phase() == "Evaluating"
    assert world.jobs_made("evaluate") == 1
    assert decision.requeue_after == timedelta(seconds=10)
    (train,) = [j for j in world.jobs if j.name == name]
    assert not train.deleting, "a log shipper sends its last lines"
    world.wait(10)
    world.settle()
    (train,) = [j for j in world.jobs if j.name == name]
    assert train.deleting


@pytest.mark.row("R40")
def test_a_sidecar_of_the_last_step_goes_while_a_person_decides() -> None:
    world = World().in_review()
    job = world.job("evaluate")
    world.change_job(job.name, state="Active", pods_gone=False, idle=True)
    world.wait(10)
    world.settle()
    assert world.phase() == "InReview"
    assert world.job("evaluate").deleting


@pytest.mark.row("R40")
def test_a_trainer_that_failed_beside_a_sidecar_is_tried_again() -> None:
    world = training()
    trainer_ends(world, 1, message=False)
    world.settle()
    assert outcomes(world, "train") == [("Failed", "Internal")]
    world.wait(10)
    world.settle()
    assert world.jobs_made("train") == 2


@pytest.mark.row("R40")
@pytest.mark.row("R15")
def test_a_lost_result_is_collected_beside_a_sidecar_and_its_job_is_deleted() -> None:
    world = training()
    name = trainer_ends(world, message=False)
    world.settle()
    assert world.job("train").collect
    world.wait(10)
    world.settle()
    assert next(j for j in world.jobs if j.name == name).deleting


@pytest.mark.row("R40")
@pytest.mark.parametrize("change", ["suspend", "delete", "nothing"])
def test_what_a_trainer_said_is_kept_until_its_job_is_over(change: str) -> None:
    world = training()
    name = trainer_ends(world, lingers=False)
    world.edit(suspend=change == "suspend")
    if change == "delete":
        world.change_job(name, deleting=True)
    world.settle()
    assert (world.status.candidate is not None) is (change == "delete"), "Kubernetes ends it in a second"
    world.wait(30)
    world.settle()
    assert world.status.candidate is not None


@pytest.mark.row("R41")
def test_a_helper_that_fails_takes_nothing_from_a_result() -> None:
    world = training()
    job = world.job("train")
    world.change_job(
        job.name,
        state="Failed",
        exit_code=0,
        termination_message=json.dumps(envelope(job, train_result())),
        finished_at=world.now,
        pods_gone=True,
    )
    world.settle()
    assert outcomes(world, "train") == [("Succeeded", "")]
    assert world.phase() == "Evaluating"


@pytest.mark.row("R41")
def test_a_pod_that_takes_the_place_of_one_that_had_a_result_is_ended_at_once() -> None:
    world = training()
    name = trainer_ends(world)
    world.change_job(name, idle=False)
    world.settle()
    assert world.status.candidate is not None
    assert next(j for j in world.jobs if j.name == name).deleting


@pytest.mark.row("R42")
def test_a_step_says_what_its_pod_does_and_since_when() -> None:
    world = World().prepared()
    name = world.job("train").name
    moments = (
        PodMoment(world.now, Explanation("Starting", "pod p waits for a node")),
        PodMoment(world.now + timedelta(seconds=1), Explanation("Starting", "pod p pulls image 'i'")),
    )
    world.change_job(name, moments=moments)
    assert world.settle().requeue_after == timedelta(seconds=3)
    world.wait(3)
    assert world.settle().requeue_after == timedelta(seconds=1)
    world.wait(1)
    world.settle()
    assert world.condition("Trained") == ("Unknown", "Starting")
    assert "pod p pulls image 'i' since 2026-11-21T12:00:01Z" in world.status.message
    runs = PodMoment(world.now, Explanation("Running", "pod p runs the trainer"))
    world.change_job(name, moments=(*moments, runs), spans=(Span(world.now),))
    before = world.writes
    world.settle()
    assert world.writes == before, "what passes in a second is not worth a write"
    world.wait(3)
    world.settle()
    assert world.condition("Trained") == ("Unknown", "Running")
    assert "runs the trainer since 2026-11-21T12:00:04Z" in world.status.message
    before = world.writes
    for _ in range(5):
        world.wait(600)
        world.settle()
    assert world.writes == before, "at rest nothing is written"


@pytest.mark.row("R43")
@pytest.mark.row("R39")
def test_a_pod_that_gets_no_further_says_so_and_heals_with_its_template() -> None:
    world = World(run=run(backoff_limit=0)).prepared()
    name = world.job("train").name
    stuck = Overdue(world.now + timedelta(seconds=45), Problem("PodNotStarting", "kubectl describe pod p says why"))
    world.change_job(name, overdue=stuck)
    assert world.settle().requeue_after == timedelta(seconds=45)
    world.wait(45)
    world.settle()
    assert world.condition("Trained") == ("False", "PodNotStarting")
    assert "kubectl describe pod p" in world.status.message
    assert world.events()[-1] == "PodNotStarting"
    world.train_template = template("mended")
    world.settle()
    world.remove_job(name)
    world.settle()
    assert outcomes(world, "train") == [("Suspended", "PodTemplateChanged"), ("Running", "")]


@pytest.mark.row("R39")
def test_a_pod_of_which_nothing_is_known_yet_is_made_anew_from_a_mended_template() -> None:
    world = World().prepared()
    world.train_template = template("mended")
    world.settle()
    assert outcomes(world, "train") == [("Suspended", "PodTemplateChanged")]


@pytest.mark.row("R44")
@pytest.mark.row("R130")
@pytest.mark.parametrize(
    ("reason", "ends"), [("RejectedByNode", "TooManyDisruptions"), ("JobNotOurs", "JobNotOurs")], ids=["node", "job"]
)
def test_what_is_not_the_runs_fault_has_an_end_and_a_name(reason: str, ends: str) -> None:
    world = World(run=run(backoff_limit=0)).prepared()
    rejected = Failure(Problem(reason, "no healthy devices"), counted=False)
    pauses = []
    for _ in range(20):
        assert world.phase() == "Training"
        world.fail("train", None, failure=rejected, has_pods=True)
        assert (newest(world).reason, newest(world).counted) == (reason, False)
        pauses.append(world.settle().requeue_after or timedelta())
        world.wait(pauses[-1].total_seconds())
        world.settle()
    assert world.condition("Finished") == ("True", ends)
    assert "no healthy devices" in world.status.message
    assert sum(pauses, timedelta()) > timedelta(hours=1), "a node may take a while to be mended"


@pytest.mark.row("R44")
@pytest.mark.parametrize(
    ("said", "reason"),
    [(None, "Evicted"), ("Preempted", "Evicted"), ("Internal", "Evicted"), ("Unavailable", "StorageUnavailable")],
)
def test_the_pods_status_knows_more_than_a_trainer_that_was_ended(said: str | None, reason: str) -> None:
    world = training()
    error = {"class": said, "reason": "StorageUnavailable" if said == "Unavailable" else said} if said else None
    world.fail("train", 143, error, failure=Failure(Problem("Evicted", "Usage of EmptyDir exceeds")))
    assert (newest(world).reason, newest(world).counted) == (reason, True)


@pytest.mark.row("R44")
def test_a_container_out_of_memory_ends_the_run() -> None:
    world = training()
    world.fail("train", 137, failure=Failure(Problem("OutOfMemory", "its limit is 8Gi"), fatal=True))
    assert world.phase() == "Failed"
    assert world.condition("Finished") == ("True", "OutOfMemory")


@pytest.mark.row("R46")
@pytest.mark.row("R19")
def test_time_without_a_trainer_is_not_counted_and_time_with_one_outlives_its_pod() -> None:
    world = World(run=run(active_deadline_seconds=100)).prepared()
    name = world.job("train").name
    world.start("train")
    world.wait(40)
    first = Span(START, world.now)
    waits = Problem("Unschedulable", "no GPU is free")
    world.change_job(name, spans=(first,), waiting=waits)
    world.settle()
    assert world.phase() == "Training"
    world.wait(5000)
    assert world.settle().requeue_after is None, "the clock stands"
    assert world.condition("Trained") == ("False", "Unschedulable")
    again = Span(world.now)
    world.change_job(name, spans=(again,), waiting=None)
    assert world.settle().requeue_after == timedelta(seconds=60)
    world.wait(59)
    world.settle()
    assert not world.job("train").deleting
    world.wait(1)
    world.settle()
    assert world.job("train").deleting
    world.remove_job(name)
    world.settle()
    assert world.condition("Finished") == ("True", "DeadlineExceeded")
    assert newest(world).ran_seconds == 100


@pytest.mark.row("R46")
def test_the_time_of_one_step_is_not_anothers() -> None:
    world = World(run=run(active_deadline_seconds=100))
    world.settle()
    world.start("prepare")
    world.wait(90)
    world.settle()
    world.complete("prepare", prepare_result())
    world.start("train")
    world.wait(90)
    world.settle()
    assert not world.job("train").deleting


NOT_ENDING = Overdue(START + timedelta(seconds=20), Problem("PodNotEnding", "kubectl delete pod p --force"))


@pytest.mark.row("R47")
def test_a_pod_on_a_lost_node_is_named_and_nothing_trains_beside_it() -> None:
    world = training()
    name = world.job("train").name
    world.change_job(name, overdue=NOT_ENDING, disrupted=True)
    world.wait(19)
    assert world.settle().requeue_after == timedelta(seconds=1)
    world.wait(1)
    world.settle()
    assert world.condition("Trained") == ("False", "PodNotEnding")
    assert "kubectl delete pod p --force" in world.status.message
    assert world.jobs_made("train") == 1
    # A way out that people try.
    world.edit(suspend=True)
    world.settle()
    world.edit(suspend=False)
    world.settle()
    assert world.jobs_made("train") == 1
    assert "kubectl delete pod p --force" in world.status.message
    world.remove_job(name)
    world.settle()
    assert world.jobs_made("train") == 2


@pytest.mark.row("R14")
def test_pods_of_a_job_that_nobody_ever_saw_speak_for_no_attempt() -> None:
    """Labels and ownerReferences of a pod are anybody's to write: what it says must not be taken for a result."""
    world = World().prepared()
    real = world.job("train")
    planned = updated(world.status.attempts[-1], job_uid=None, outcome="Planned")
    world.run = updated(world.run, status=updated(world.status, attempts=(*world.status.attempts[:-1], planned)))
    said = json.dumps(envelope(real, train_result()))
    forged = replace(real, uid="somebody", orphaned=True, deleting=True, spoke=True, exit_code=0, idle=True)
    world.jobs = (*(job for job in world.jobs if job.name != real.name), replace(forged, termination_message=said))
    world.settle()
    assert (world.status.candidate, world.jobs_made("train")) == (None, 1)
    assert real.name in world.status.message, "it says what it waits for"
    world.remove_job(real.name)
    world.settle()
    assert world.jobs_made("train") == 2


@pytest.mark.row("R47")
def test_a_suspended_run_says_which_pod_does_not_end() -> None:
    world = training()
    world.change_job(world.job("train").name, overdue=NOT_ENDING)
    world.wait(20)
    world.edit(suspend=True)
    world.settle()
    world.settle()
    assert world.phase() == "Suspended"
    assert "kubectl delete pod p --force" in world.status.message


@pytest.mark.row("R47")
@pytest.mark.row("R36")
def test_a_run_that_is_over_says_which_pod_keeps_it() -> None:
    world = World(run=run(active_deadline_seconds=10)).prepared()
    world.start("train")
    world.wait(10)
    world.settle()
    world.change_job(world.job("train").name, overdue=NOT_ENDING)
    assert world.settle().requeue_after == timedelta(seconds=10)
    world.wait(10)
    world.settle()
    assert world.phase() == "Training"
    assert "activeDeadlineSeconds (10 s)" in world.status.message
    assert "kubectl delete pod p --force" in world.status.message


def test_a_sweep_asks_once() -> None:
    world = training()
    world.edit(suspend=True)
    world.settle()
    world.wait(60)
    world.settle()
    assert sum(isinstance(a, DeleteJob) for a in world.history) == 1


@pytest.mark.row("R18")
@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "behind"])
def test_clocks_that_differ_neither_delay_another_attempt_nor_take_its_back_off_away(off: timedelta) -> None:
    world = training()
    world.fail("train", 13, finished_at=world.now + off)
    world.wait(9)
    world.settle()
    assert world.jobs_made("train") == 1
    world.wait(1)
    world.settle()
    assert world.jobs_made("train") == 2


@pytest.mark.row("R40")
def test_a_node_whose_clock_is_ahead_keeps_no_job_that_a_sidecar_holds() -> None:
    world = training()
    name = trainer_ends(world)
    world.change_job(name, finished_at=world.now + timedelta(hours=1))
    world.settle()
    assert next(j for j in world.jobs if j.name == name).deleting


@pytest.mark.row("R40")
def test_a_trainer_that_ended_by_a_clock_far_ahead_is_read_though_its_job_never_ends() -> None:
    world = training()
    name = trainer_ends(world, lingers=False)
    world.change_job(name, finished_at=world.now + timedelta(hours=1))
    world.settle()
    assert world.phase() == "Evaluating"


@pytest.mark.row("R42")
def test_what_began_by_a_clock_far_ahead_is_said() -> None:
    world = training()
    runs = PodMoment(world.now + timedelta(hours=1), Explanation("Running", "pod p runs the trainer"))
    world.change_job(world.job("train").name, moments=(runs,))
    world.settle()
    assert "pod p runs the trainer" in world.status.message


@pytest.mark.row("R5")
def test_a_finalizer_on_a_deleted_job_keeps_no_other_attempt() -> None:
    world = training()
    name = world.job("train").name
    world.edit(suspend=True)
    world.settle()
    world.change_job(name, emptied=True, pods_gone=True)
    world.edit(suspend=False)
    world.settle()
    assert world.jobs_made("train") == 2


@pytest.mark.row("R36")
def test_a_finalizer_on_a_deleted_job_keeps_no_run_from_its_end() -> None:
    world = World(run=run(active_deadline_seconds=10)).prepared()
    world.start("train")
    world.wait(10)
    world.settle()
    world.change_job(world.job("train").name, emptied=True, pods_gone=True)
    world.settle()
    assert world.phase() == "Failed"


@pytest.mark.row("R14")
def test_a_job_that_somebody_deleted_and_a_finalizer_keeps_counts_as_gone() -> None:
    world = training()
    world.change_job(world.job("train").name, deleting=True, emptied=True, pods_gone=True)
    world.settle()
    assert world.job("train").collect, "its result is looked for (R45)"
