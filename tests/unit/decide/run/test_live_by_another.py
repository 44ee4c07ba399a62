"""A run whose candidate goes live by another record: it is not measured against itself, nor is a copy adopted."""

import pytest

from finetune_operator.api.run import Review
from unit.decide.run.results import CANDIDATE, evaluate_result
from unit.decide.run.test_adopt import Again, ended, expired, superseded_by
from unit.decide.run.test_measured import another_runs
from unit.decide.run.test_promote import overtaken
from unit.decide.run.world import World, digest


def waiting() -> World:
    """A run that took bytes over, was overtaken, and waits to be measured again until something has landed."""
    again = Again(expired()).play()
    again.complete("evaluate", evaluate_result())
    again.ahead = ("other",)
    overtaken(again)
    assert (again.phase(), again.condition("Accepted")) == ("Pending", ("Unknown", "PromotionUnderway"))
    return again


@pytest.mark.row("R270")
def test_a_run_that_waits_to_be_measured_again_is_over_when_its_candidate_lands_by_another_record() -> None:
    again = waiting()
    again.go_live("ft_v1.1", CANDIDATE)
    again.ahead = ()
    again.settle()
    assert (again.phase(), again.condition("Finished")) == ("Adopted", ("True", "SameSpecAndInputs"))
    assert (again.status.version, again.jobs_made("evaluate")) == ("ft_v1.1", 1)


@pytest.mark.row("R270")
def test_a_measurement_that_is_under_way_ends_when_its_candidate_lands_by_another_record() -> None:
    """Its next attempt would measure it against itself, and people would be asked what is worth putting live."""
    again = Again(superseded_by(ended(World().judged(), "Failed", "TargetGone"))).play()
    assert again.phase() == "Evaluating"
    again.start("evaluate")
    again.go_live("ft_v1.1", CANDIDATE)
    again.settle()
    for job in again.jobs:
        again.change_job(job.name, state="Failed", pods_gone=True, finished_at=again.now)
    again.settle()
    assert (again.phase(), again.condition("Finished")) == ("Adopted", ("True", "SameSpecAndInputs"))
    assert (again.status.version, again.jobs_made("evaluate")) == ("ft_v1.1", 1)


@pytest.mark.row("R270")
def test_a_no_counts_before_that() -> None:
    again = waiting()
    seen = again.status.earlier_evidence[-1]
    again.go_live("ft_v1.1", CANDIDATE)
    again.ahead = ()
    again.edit(review=Review(decision="Reject", evidence=seen, by="ann"))
    again.settle()
    assert (again.phase(), again.jobs_made("evaluate")) == ("Rejected", 1), again.status.message


@pytest.mark.row("R252")
@pytest.mark.parametrize("approved", [False, True], ids=["", "and somebody approved"])
def test_a_candidate_that_another_run_recorded_and_that_went_live_is_a_copy_all_the_same(*, approved: bool) -> None:
    """One of the two is a lie, and who put it live would have it said that nothing is left to do."""
    world = World().in_review()
    world.versions += (another_runs(),)
    world.go_live("ft_v1.8", CANDIDATE)
    if approved:
        world.edit(review=Review(decision="Approve", evidence=digest(world), by="bo"))
    world.settle()
    assert (world.phase(), world.condition("Trained")) == ("Failed", ("False", "ResultInvalid")), world.status.message
    assert "ft_v1.8, byte by byte" in world.status.message
