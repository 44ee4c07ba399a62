"""Places of a policy: seen without reading runs, and never given to two of those that are looked at side by side."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.run import Run, RunStatus
from finetune_operator.api.value import parse
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.places import Places
from finetune_operator.decide.run.view import Queue, RunView, Stuck
from simulation.api_server import START, ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import run


class World:
    """An API server with runs of one policy."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.places = Places(Client(self.server))

    def put(self, name: str, suspend: bool = False, **status: Any) -> Run:
        manifest = run(name)
        manifest["spec"]["suspend"] = suspend
        made = self.server.create("user", Kind.RUN, NAMESPACE, manifest)
        meta = made["metadata"]
        if status:
            version = meta["resourceVersion"]
            made = self.server.patch_status("x", Kind.RUN, NAMESPACE, name, meta["uid"], version, {"status": status})
        return parse(made, Run)

    def queue(self, of: Run) -> Queue:
        return asyncio.run(self.places.queue(of))


@pytest.fixture
def world() -> World:
    world = World()
    world.put("a-runs", phase="Training", place="Taken")
    world.put("b-waits", phase="Pending", place="Waiting")
    world.put("c-blocked", phase="Pending", place="Blocked")
    world.put("d-new")
    world.put("e-review", phase="InReview")
    world.put("f-over", phase="Promoted")
    return world


@pytest.mark.row("R56")
def test_a_run_sees_who_has_a_place_and_who_waits(world: World) -> None:
    queue = world.queue(world.put("me"))
    now = "2026-11-21T12:00:00Z"
    assert queue == Queue(("a-runs",), ((now, "b-waits"),), ((now, "c-blocked"),), ((now, "d-new"), (now, "me")))


@pytest.mark.row("R56")
@pytest.mark.parametrize(
    ("status", "reason"), [("False", "Unschedulable"), ("Unknown", "Queued"), ("Unknown", "Running")]
)
def test_a_run_sees_why_who_has_a_place_gets_no_further(world: World, status: str, reason: str) -> None:
    since = "2026-11-21T12:00:00Z"
    shown = {"type": "Trained", "status": status, "reason": reason, "lastTransitionTime": since}
    accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", "lastTransitionTime": since}
    world.put("stuck", **asking(place="Taken", conditions=[accepted, shown]))
    expected = () if reason == "Running" else (Stuck("stuck", reason, START),)
    me = world.put("me", **asking(phase="Preparing"))
    assert world.queue(me).stuck == expected
    twins = {twin.name: twin.stuck for twin in asyncio.run(world.places.twins(me, ()))}
    assert twins == {"stuck": expected[0] if expected else None}


@pytest.mark.row("R57")
def test_a_run_that_cannot_be_read_keeps_no_place_from_others(world: World) -> None:
    invalid = {"type": "Accepted", "status": "False", "reason": "Invalid"}
    world.put("unreadable", phase="Training", place="Taken", conditions=[invalid])
    assert world.queue(world.put("me")).taken == ("a-runs",)


@pytest.mark.row("R57")
@pytest.mark.parametrize("status", [{"phase": "Training", "place": "Taken"}, {"phase": "Promoted"}])
def test_a_run_that_has_a_place_or_needs_none_looks_at_nobody(world: World, status: Any) -> None:
    assert world.queue(world.put("me", **status)) == Queue()


@pytest.mark.row("R56")
def test_a_place_counts_from_the_decision_on_and_not_only_when_it_is_written(world: World) -> None:
    """Between a decision and its write others are looked at: each of them could take the same place."""
    first, second = world.put("first"), world.put("second")
    view = RunView(run=first, now=START)
    taken = replace(first.status, phase="Preparing", place="Taken")
    with world.places.claimed(view, taken):
        assert world.queue(second).taken == ("a-runs", "first")
        assert "first" not in {name for _, name in world.queue(second).new}
    assert world.queue(second).taken == ("a-runs",)


@pytest.mark.row("R56")
def test_a_claim_ends_with_a_write_that_failed(world: World) -> None:
    first, second = world.put("first"), world.put("second")
    claim = world.places.claimed(RunView(run=first, now=START), RunStatus(phase="Preparing", place="Taken"))
    with pytest.raises(RuntimeError), claim:
        raise RuntimeError
    assert world.queue(second).taken == ("a-runs",)


def asking(pool: str = "p", **more: Any) -> dict[str, Any]:
    digests = {"pool": pool, "anchor": "a"}
    plan = {"uri": "file:///plan.json", "sha256": "0" * 64}
    counts = dict.fromkeys(("pool", "fresh", "heldOut", "anchor", "new", "old", "train"), 1)
    return {
        "phase": "Training",
        "asks": "x",
        "inputs": {"plan": plan, **counts, "ratio": "1", "digests": digests},
        **more,
    }


@pytest.mark.row("R68")
def test_open_runs_that_ask_for_the_same_are_seen_with_what_they_drew() -> None:
    world = World()
    world.put("drew", **asking(phase="Pending"))
    candidate = {"uri": "file:///model.onnx", "sha256": "c" * 64}
    world.put("in-review", **asking(pool="q", phase="InReview", candidate=candidate))
    world.put("is-over", **asking(phase="Rejected"))
    world.put("asks-for-more", **asking(asks="y"))
    me = world.put("me", **asking(phase="Preparing"))
    twins = {twin.name: twin for twin in asyncio.run(world.places.twins(me, ()))}
    assert set(twins) == {"drew", "in-review"}
    assert (twins["drew"].drawn, twins["drew"].is_past) == (("p", "a"), False)
    assert (twins["in-review"].drawn, twins["in-review"].is_past) == (("q", "a"), True)


@pytest.mark.row("R68")
def test_nobody_waits_for_a_run_that_a_person_suspended() -> None:
    """Nobody knows until when; one whose policy is suspended goes on together with all others."""
    world = World()
    world.put("put-off", suspend=True, **asking(phase="Suspended"))
    world.put("of-a-suspended-policy", **asking(phase="Suspended"))
    candidate = {"uri": "file:///model.onnx", "sha256": "c" * 64}
    world.put("in-review", suspend=True, **asking(phase="InReview", candidate=candidate))
    me = world.put("me", **asking(phase="Pending"))
    twins = {twin.name for twin in asyncio.run(world.places.twins(me, ()))}
    assert twins == {"of-a-suspended-policy", "in-review"}


LOST = [{"type": "Promoted", "status": "Unknown", "reason": "VersionNotFound"}]


@pytest.mark.row("R337")
def test_nobody_waits_for_a_run_whose_promotion_waits_for_a_version_that_was_deleted() -> None:
    world = World()
    candidate = {"uri": "file:///model.onnx", "sha256": "c" * 64}
    world.put("lost", **asking(phase="Promoting", candidate=candidate, conditions=LOST))
    flies = [{"type": "Promoted", "status": "Unknown", "reason": "Promoting"}]
    world.put("goes-live", **asking(phase="Promoting", candidate=candidate, conditions=flies))
    drew = world.put("drew", **asking(phase="Pending"))
    assert [twin.name for twin in asyncio.run(world.places.twins(drew, ()))] == ["goes-live"]
    again = world.put("again", **asking(phase="Pending", candidate=candidate))
    assert asyncio.run(world.places.ahead(again)) == ("goes-live",)


@pytest.mark.row("R68")
def test_what_a_twin_has_just_drawn_is_seen_before_it_is_written() -> None:
    world = World()
    first, me = world.put("first", phase="Preparing", asks="x"), world.put("me", **asking(phase="Preparing"))
    with world.places.claimed(RunView(run=first, now=START), parse(asking(), RunStatus)):
        (twin,) = asyncio.run(world.places.twins(me, ()))
    assert (twin.name, twin.drawn) == ("first", ("p", "a"))


@pytest.mark.row("R277")
@pytest.mark.parametrize(
    ("phase", "suspend", "waits"),
    [("Promoted", False, False), ("Failed", False, False), ("Suspended", True, False), ("Suspended", False, True)],
)
def test_a_run_is_over_for_others_as_soon_as_that_is_seen_though_its_write_has_no_answer_yet(
    phase: str, suspend: bool, waits: bool
) -> None:
    """The watch may be faster than the answer; who is woken by it is woken once."""
    world = World()
    candidate = {"uri": "file:///model.onnx", "sha256": "c" * 64}
    first = world.put("first", suspend, **asking(phase=phase, candidate=candidate))
    me = world.put("me", **asking(phase="Pending"))
    with world.places.claimed(RunView(run=first, now=START), first.status):
        assert [twin.name for twin in asyncio.run(world.places.twins(me, ()))] == ["first"] * waits


@pytest.mark.row("R69")
def test_a_run_that_has_not_drawn_or_trains_already_looks_at_nobody() -> None:
    world = World()
    world.put("other", **asking())
    early = world.put("early", phase="Preparing", asks="x")
    trains = world.put("trains", **asking(candidate={"uri": "file:///m", "sha256": "c" * 64}))
    assert asyncio.run(world.places.twins(early, ())) == ()
    assert asyncio.run(world.places.twins(trains, ())) == ()


@pytest.mark.row("R65")
def test_a_run_that_is_to_be_measured_again_sees_who_may_change_what_is_live_before_it() -> None:
    world = World()
    behind = [{"type": "Accepted", "status": "Unknown", "reason": "PromotionUnderway"}]
    rounds = [{"step": "evaluate", "attempt": 2, "job": "j", "outcome": "Running", "round": 2}]
    candidate = {"uri": "file:///m", "sha256": "c" * 64}
    world.put("flies", phase="Promoting")
    world.put("flew", phase="Promoted")
    world.put("measured", phase="Evaluating")
    world.put("measured-again", phase="Evaluating", attempts=rounds)
    world.put("a-older", phase="Pending", conditions=behind)
    world.put("z-younger", phase="Pending", conditions=behind)
    me = world.put("me", phase="InReview", candidate=candidate)
    assert asyncio.run(world.places.ahead(me)) == ("a-older", "flies", "measured-again")
    assert asyncio.run(world.places.ahead(world.put("early", phase="Training"))) == ()
    other = world.put("other", phase="Promoting", candidate=candidate)
    with world.places.claimed(
        RunView(run=other, now=START), parse({"phase": "Evaluating", "attempts": rounds}, RunStatus)
    ):
        assert "other" in asyncio.run(world.places.ahead(me))


@pytest.mark.row("R243")
def test_a_run_of_another_model_whose_policy_had_the_same_name_is_not_waited_for() -> None:
    world = World()
    world.put("stuck", phase="Promoting", model="old-fields")
    world.put("flies", phase="Promoting", model="invoice-fields")
    me = world.put("me", phase="InReview", model="invoice-fields", candidate={"uri": "file:///m", "sha256": "c" * 64})
    assert asyncio.run(world.places.ahead(me)) == ("flies",)
    old = world.put("of-an-earlier-release", phase="InReview", candidate={"uri": "file:///m", "sha256": "d" * 64})
    assert asyncio.run(world.places.ahead(old)) == ("flies", "stuck"), "its model stands nowhere: it may be either's"


@pytest.mark.row("R69")
@pytest.mark.parametrize(("outcome", "past"), [("Running", True), ("Failed", True), ("Suspended", False)])
def test_a_run_whose_training_was_suspended_is_no_further_than_one_that_has_drawn(outcome: str, past: bool) -> None:
    world = World()
    attempt = {"step": "train", "attempt": 1, "job": "first-train-1-abcdef", "outcome": outcome}
    world.put("first", **asking(phase="Pending", attempts=[attempt]))
    (twin,) = asyncio.run(world.places.twins(world.put("me", **asking(phase="Preparing")), ()))
    assert twin.is_past is past
