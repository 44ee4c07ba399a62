"""What a person rejected goes live by nothing: whenever it was said, whatever was lost since, whoever asks for it."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy_status import PolicyStatus, Rejected
from finetune_operator.api.run import FINAL_PHASES
from finetune_operator.cluster import fields, observe, rejected_runs
from finetune_operator.cluster.kinds import Kind
from finetune_operator.decide import rejections
from finetune_operator.decide.policy import memory, recall
from finetune_operator.decide.version import record
from house.deep import first_of

from .a_persons_no import (
    LOSSES,
    MOMENTS,
    TRIES,
    Moment,
    Said,
    a_way_back,
    all_but_another_policy_gone,
    back_to_base,
    nothing,
    policy_and_run_gone,
    policy_and_version_gone,
    run_and_version_gone,
    run_gone,
)
from .controllers import NAMESPACE
from .invariants import violations
from .stories import USER, promotion
from .trainer_script import digest

Loss = Callable[[Said], None]
Patch = pytest.MonkeyPatch
BY_NAME = {moment.name: moment for moment in MOMENTS}


def tried(moment: Moment, loss: Loss, *, rejects: bool = True) -> tuple[Said, list[str]]:
    """Return the world after everything was tried, and how each try ended."""
    world = Said(moment)
    world.say(rejects=rejects)
    loss(world)
    ended = [*a_way_back(world)]
    back_to_base(world)
    return world, ended + [end for attempt in TRIES for end in attempt(world)]


def plays() -> list[tuple[str, Loss]]:
    """Return each moment with two of the losses, in turn."""
    numbers = range(len(MOMENTS))
    return [(MOMENTS[n].name, LOSSES[(n + step) % len(LOSSES)]) for n in numbers for step in (0, 4)]


def name_of(item: object) -> str:
    return str(getattr(item, "__name__", item))


@pytest.mark.row("R205")
@pytest.mark.parametrize(("moment", "loss"), plays(), ids=name_of)
def test_bytes_that_a_person_rejected_go_live_by_nothing(moment: str, loss: Loss) -> None:
    world, ended = tried(BY_NAME[moment], loss)
    assert (world.put_live(), violations(world)) == ([], []), ended


@pytest.mark.parametrize("moment", ["in review", "live"])
def test_where_nobody_said_no_the_same_tries_put_the_bytes_live(moment: str) -> None:
    """Else the test above could not fail."""
    world, ended = tried(BY_NAME[moment], nothing, rejects=False)
    assert set(world.put_live()) == {"invoice-detector", "prod"}, ended


@pytest.mark.row("D113")
def test_a_brake_ends_a_flight_at_once_and_goes_back_to_nothing_that_a_person_rejected_meanwhile() -> None:
    world = Said(BY_NAME["live"])
    world.say(rejects=False)
    world.edit(Kind.POLICY, "invoice-fields", watch={"seconds": 600})
    world.make("ft_v1.50", digest("eight"))
    world.wait(2)
    on = promotion("on", "ft_v1.50", **{"from": "ft_v1.1"})
    world.server.create(USER, Kind.PROMOTION, NAMESPACE, on)
    world.wait(3)
    assert (world.status["inFlight"]["phase"], world.status["inFlight"]["back"]["version"]) == ("Watching", "ft_v1.1")
    evidence = world.get(Kind.RUN, "first")["status"]["evidence"]["digest"]
    world.edit(Kind.RUN, "first", review={"decision": "Reject", "evidence": evidence, "by": "ann"})
    world.settle()
    world.marked = len(world.server.log)
    world.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion("brake", "ft_v1.1", **{"from": "ft_v1.50"}))
    world.settle()
    assert world.status["inFlight"]["phase"] == "Returning", "at once"
    world.wait(6)
    assert (world.live(), world.put_live(), violations(world)) == ("base_v1", [], [])
    assert "'ann' rejected it" in world.status["hold"]["message"]
    brake = world.get(Kind.PROMOTION, "brake")["status"]
    said = "went back to 'base_v1', for 'ft_v1.1': 'ann' rejected it in review"
    assert (brake["phase"], brake["message"]) == ("Succeeded", said)


def policies_forget(patch: Patch) -> None:
    """A policy takes no no into its memory."""
    patch.setattr(memory, "rejected", lambda status, *_: status)


def records_say_nothing(patch: Patch) -> None:
    """No no is written into a service record."""
    patch.setattr(record, "_rejection", lambda _: None)


def reviews_on_versions_are_not_read(patch: Patch) -> None:
    """A version's own review says nothing."""
    honest = rejections.rejection_on

    def blind(version: ModelVersion) -> Rejected | None:
        decided = version.spec.evidence is not None and version.spec.evidence.persons_no is not None
        return None if decided else honest(version)

    for module in (rejections, recall):
        patch.setattr(module, "rejection_on", blind)


def runs_are_not_read(patch: Patch) -> None:
    """A run says nothing of a review."""
    patch.setattr(fields, "_rejected", lambda _: ())


def runs_say_it_when_they_are_over(patch: Patch) -> None:
    """Until a run is over it says nothing of a review that it has not taken in."""
    honest = fields._said_no
    patch.setattr(fields, "_said_no", lambda run: honest(run) if fields.phase(run) in FINAL_PHASES else {})


def other_policies_are_not_asked(patch: Patch) -> None:
    """A policy knows only what is its own; nor do versions tell what another one knows."""
    records_say_nothing(patch)
    honest = rejected_runs.rejected_of

    async def alone(cluster: Any, namespace: str, policy: Any, _: Any) -> Any:
        return await honest(cluster, namespace, policy, ())

    patch.setattr(observe, "rejected_of", alone)


def ways_back_are_not_asked_about(patch: Patch) -> None:
    """What served is a way back, whoever rejected it since."""
    patch.setattr(memory, "rejection_of", lambda *_: None)


def what_served_may_serve(patch: Patch) -> None:
    """A no to what served bars nothing, whatever else there is."""
    served: Callable[[PolicyStatus, str], bool] = rejections._served_well
    honest = rejections.rejection_of

    def barred(sha256: str, versions: Any, status: PolicyStatus) -> Rejected | None:
        return None if served(status, sha256) else honest(sha256, tuple(versions), status)

    for module in ("eligibility", "braking"):
        patch.setattr(f"finetune_operator.decide.promotion.{module}.barred", barred)


@pytest.mark.parametrize(
    ("plant", "moment", "loss"),
    first_of(
        [
            (policies_forget, "in review", run_and_version_gone),
            (records_say_nothing, "left to people", policy_and_run_gone),
            (reviews_on_versions_are_not_read, "in review", policy_and_run_gone),
            (runs_are_not_read, "left to people", policy_and_version_gone),
            (runs_say_it_when_they_are_over, "rolled out", run_gone),
            (runs_say_it_when_they_are_over, "the operator fails on it while its promotion waits", nothing),
            (other_policies_are_not_asked, "in review", all_but_another_policy_gone),
            (ways_back_are_not_asked_about, "live", nothing),
            (what_served_may_serve, "live", nothing),
        ]
    ),
    ids=name_of,
)
def test_a_carrier_that_is_dropped_is_missed(
    plant: Callable[[Patch], None], moment: str, loss: Loss, monkeypatch: Patch
) -> None:
    """Each of them is needed for something: with the bug the bytes go live, without it they do not."""
    clean, ended = tried(BY_NAME[moment], loss)
    assert clean.put_live() == [], ended
    plant(monkeypatch)
    world, ended = tried(BY_NAME[moment], loss)
    assert world.put_live() != [], ended
