"""A step on its way: its Job, its progress, its template, its end; never two Jobs of one attempt."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from finetune_operator.api.progress import ProgressLine
from finetune_operator.decide.decision import CreateJob
from finetune_operator.decide.views import Problem, Span, TemplateView
from unit.decide.run.attempts import error, newest, outcomes, training
from unit.decide.run.results import START, evaluate_result, prepare_result, train_result
from unit.decide.run.world import World, base, run, template


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
def test_what_goes_on_is_said_from_the_first_seconds_and_then_every_thirty() -> None:
    world = training()
    started = world.writes
    seen = []
    for second in range(0, 65, 5):
        files = 40 * second
        world.progress = replace(line(0, 0), activity=f"fetching data: {files} of 3000 files")
        world.settle()
        seen.append(world.status.message)
        world.wait(5)
    assert "fetching data: 0 of 3000 files, 0 %" in seen[0]
    assert [message.count("epoch") for message in seen] == [0] * len(seen), "none has begun"
    assert len(set(seen)) == 3
    assert world.writes == started + 3
    world.progress = replace(line(0, 1), activity="epoch 1 of 10, batch 40 of 240")
    world.wait(30)
    world.settle()
    assert "epoch 1 of 10, batch 40 of 240, 1 %, about 60 s left" in world.status.message


@pytest.mark.row("R13")
def test_what_a_trainer_says_is_shown_within_bounds_and_in_one_line() -> None:
    world = training()
    world.progress = replace(line(1, 10), activity="a\nb\x1b[31m" + "c" * 5000)
    world.settle()
    assert world.status.progress is not None
    assert world.status.progress.activity.startswith("a b [31mccc")
    assert len(world.status.progress.activity) == 200


@pytest.mark.row("R13")
def test_another_step_than_training_shows_what_goes_on_too() -> None:
    world = World()
    world.settle()
    world.start("prepare")
    world.progress = replace(line(0, 40), step="prepare", epoch=None, activity="checking the pool: 400 of 1200 pages")
    world.settle()
    assert (world.phase(), "checking the pool: 400 of 1200 pages, 40 %" in world.status.message) == ("Preparing", True)


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
    world.change_job(world.job("train").name, waiting=None, spans=(Span(world.now),))
    world.settle()
    assert world.condition("Trained") == ("Unknown", "Running")


@pytest.mark.row("R13")
@pytest.mark.row("R39")
def test_a_job_that_gets_no_pod_says_so_after_a_minute_and_heals_with_its_template() -> None:
    world = World().prepared()
    name = world.job("train").name
    world.change_job(name, podless_since=world.now)
    assert world.settle().requeue_after == timedelta(seconds=60)
    world.wait(59)
    world.settle()
    assert world.condition("Trained") == ("Unknown", "Running")
    world.wait(1)
    world.settle()
    assert world.condition("Trained") == ("False", "PodNotCreated")
    assert f"kubectl describe job {name}" in world.status.message
    world.train_template = TemplateView("gpu-trainer", "mended")
    world.settle()
    world.remove_job(name)
    world.settle()
    assert outcomes(world, "train") == [("Suspended", "PodTemplateChanged"), ("Running", "")]


@pytest.mark.row("R13")
def test_a_queued_job_is_nobodys_mistake() -> None:
    world = World().prepared()
    world.change_job(world.job("train").name, suspended=True)
    world.settle()
    assert world.condition("Trained") == ("Unknown", "Queued")


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
@pytest.mark.row("R336")
@pytest.mark.parametrize("suspended", [False, True])
def test_a_pod_that_takes_the_place_of_one_that_trained_is_waited_for_and_says_how_it_gets_an_edited_template(
    suspended: bool,
) -> None:
    """It goes on from what that one kept: another trainer would begin anew, and nobody may have meant that."""
    world = training()
    job, no_node = world.job("train"), Problem("Unschedulable", "no node")
    ran = tuple(Span(span.start, world.now) for span in job.spans)
    world.change_job(job.name, waiting=no_node, spans=ran, suspended=suspended)
    world.settle()
    assert "no node" in world.status.message
    assert "spec.suspend" not in world.status.message
    world.train_template = TemplateView("gpu-trainer", "another.queue")
    world.settle()
    assert not world.job("train").deleting
    assert "to use it, set spec.suspend of the run to true, then to false" in world.status.message
    world.change_job(job.name, waiting=None, spans=(*ran, Span(world.now)), suspended=False)
    world.settle()
    assert "spec.suspend" not in world.status.message


@pytest.mark.row("R336")
@pytest.mark.parametrize("podless", [False, True])
def test_a_step_that_keeps_nothing_is_made_anew_from_an_edited_template_though_its_trainer_ran(podless: bool) -> None:
    """Its node pool is gone, and the mended template names another one: nothing else would ever start its pod."""
    world = World().trained()
    name = world.job("evaluate").name
    world.change_job(name, spans=(Span(world.now),))
    world.settle()
    world.wait(60)
    world.cpu_template = template("another")
    world.settle()
    assert not world.job("evaluate").deleting, "it runs"
    ended = (Span(world.now - timedelta(seconds=60), world.now),)
    stuck = {"podless_since": world.now} if podless else {"waiting": Problem("Unschedulable", "no node")}
    world.change_job(name, spans=ended, **stuck)
    world.settle()
    assert world.job("evaluate").deleting
    world.remove_job(name)
    world.settle()
    assert outcomes(world, "evaluate") == [("Suspended", "PodTemplateChanged"), ("Running", "")]


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
