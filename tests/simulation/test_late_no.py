"""A person's no while the promotion is asked for: nothing goes live, or the run says that it came too late."""

from collections.abc import Callable

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .controllers import NAMESPACE
from .invariants import violations
from .stories import STORIES, USER, Story, World, promotion
from .test_records import Watched

PASS, REVIEW = STORIES[0], STORIES[2]


def rejected(world: World, when: Callable[[Object], bool]) -> list[bool]:
    """Have ann say no to the run as soon as it is so; return whether she did."""
    user, done = world._user, list[bool]()

    def act() -> None:
        user()
        item = world.server.get(Kind.RUN, NAMESPACE, "first")
        if done or item is None or not when(item.get("status") or {}):
            return
        done.append(True)
        no = {"decision": "Reject", "evidence": item["status"]["evidence"]["digest"], "by": "ann", "reason": "bad"}
        world.server.update_spec(USER, Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(review=no))

    world._user = act  # type: ignore[method-assign]
    return done


def live(world: World) -> str:
    return str(world.get(Kind.POLICY, "invoice-fields")["status"]["live"]["version"])


@pytest.mark.row("R170")
@pytest.mark.parametrize("story", [PASS, REVIEW], ids=lambda story: story.name)
def test_a_no_while_the_promotion_waits_keeps_it_from_acting_for_good(story: Story) -> None:
    world = World(story)
    done = rejected(world, lambda status: status.get("phase") == "Promoting")

    def pause(*, paused: bool) -> None:
        def change(item: Object) -> None:
            item["spec"]["paused"] = paused

        world.server.update_spec(USER, Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", change)

    user = world._user

    def act() -> None:
        user()
        item = world.server.get(Kind.RUN, NAMESPACE, "first")
        if item is not None and not world.get(Kind.DEPLOYMENT, "invoice-detector")["spec"].get("paused"):
            pause(paused=True)

    world._user = act  # type: ignore[method-assign]
    world.play()
    run = world.get(Kind.RUN, "first")["status"]
    assert (done, run["phase"], live(world)) == ([True], "Rejected", "base_v1"), run["message"]
    world._user = lambda: None  # type: ignore[method-assign]
    pause(paused=False)
    world.play()
    assert live(world) == "base_v1"
    (known,) = world.get(Kind.POLICY, "invoice-fields")["status"]["rejected"]
    assert (known["by"], known["sha256"]) == ("ann", run["candidate"]["sha256"])
    assert violations(world) == []


@pytest.mark.row("R171")
@pytest.mark.parametrize("flight", [None, "Flipping", "Watching"])
def test_a_no_that_races_with_take_off_is_kept_or_told_that_it_came_late(flight: str | None) -> None:
    world = World(PASS)

    def now(status: Object) -> bool:
        flying = world.get(Kind.POLICY, "invoice-fields")["status"].get("inFlight") or {}
        return status.get("phase") == "Promoting" and flying.get("phase") == flight

    done = rejected(world, now)
    world.play()
    run = world.get(Kind.RUN, "first")["status"]
    if flight is None:
        assert (done, run["phase"], live(world)) in (
            ([True], "Rejected", "base_v1"),
            ([True], "Promoted", "ft_v1.1"),
        ), run["message"]
    else:
        assert (done, run["phase"], live(world)) == ([True], "Promoted", "ft_v1.1"), run["message"]
    assert ("when it had taken off" in run["message"]) == (run["phase"] == "Promoted")
    assert violations(world) == []


@pytest.mark.row("R180")
@pytest.mark.parametrize("flown", [False, True], ids=["before anybody promotes it", "after somebody did"])
def test_a_no_to_what_was_left_to_people_keeps_it_from_going_live(flown: bool) -> None:
    world = Watched(PASS)
    world.server.update_spec(
        USER, Kind.POLICY, NAMESPACE, "invoice-fields", lambda item: item["spec"].update(promotion="Manual")
    )
    world.play()
    run = world.get(Kind.RUN, "first")
    assert (run["status"]["phase"], live(world)) == ("Passed", "base_v1"), run["status"]["message"]
    asked = promotion("by-hand", "ft_v1.1", **{"from": "base_v1"})
    if flown:
        assert world.ask(asked)["phase"] == "Succeeded"
    no = {"decision": "Reject", "evidence": run["status"]["evidence"]["digest"], "by": "ann"}
    world.server.update_spec(USER, Kind.RUN, NAMESPACE, "first", lambda item: item["spec"].update(review=no))
    world.wait(3)
    known = [entry["by"] for entry in world.get(Kind.POLICY, "invoice-fields")["status"].get("rejected", ())]
    if flown:
        assert (known, live(world)) == (["ann"], "ft_v1.1"), "what serves goes on"
        back = promotion("back", "base_v1", **{"from": "ft_v1.1"})
        assert world.ask(back)["phase"] == "Succeeded"
        ended = world.ask(promotion("again", "ft_v1.1", **{"from": "base_v1"}, releaseHold=True))
        assert (ended["phase"], live(world)) == ("Failed", "base_v1"), ended["message"]
    else:
        ended = world.ask(asked)
        assert (known, ended["phase"], live(world)) == (["ann"], "Failed", "base_v1"), ended["message"]
        version = world.get(Kind.MODEL_VERSION, "invoice-fields-ft-v1.1")["status"]
        assert (version["phase"], "'ann' rejected it" in version["message"]) == ("Rejected", True)
    assert world.get(Kind.RUN, "first")["status"]["phase"] == "Passed"
    assert violations(world) == []
