"""Whatever the API server answers to a write, once or for good: it is said, nothing spins, and it heals by itself."""

from collections import Counter
from functools import cache

import pytest

from finetune_operator.cluster.kinds import Kind
from house.deep import DEEP, in_turn

from .controllers import NAMESPACE
from .faults import ANSWERS, LOST, Fault, Refusing, What
from .invariants import violations
from .stories import KINDS, STORIES, Story, World
from .test_crashes import first_of_its_own, reference

PASS, REJECT, REVIEW, FAILED_ROLLOUT = STORIES


@cache
def writes(story: Story) -> tuple[What, ...]:
    """Return what the operator writes in a story, in that order."""
    world = Refusing(story, lambda *_: None)
    world.play()
    return tuple(world.asked)


def words(world: World) -> str:
    """Return all that the statuses say."""
    items = (item for kind in KINDS for item in world.server.list(kind, NAMESPACE))
    statuses = [item.get("status") or {} for item in items]
    return " ".join(str(s.get("message", "")) + str(s.get("conditions", "")) + str(s.get("hold", "")) for s in statuses)


def once(answer: str, number: int) -> Fault:
    return lambda asked, _: answer if asked == number else None


@pytest.mark.part
@pytest.mark.parametrize(
    ("answer", "story"), in_turn((*ANSWERS, LOST), (PASS, FAILED_ROLLOUT)), ids=lambda item: getattr(item, "name", item)
)
def test_a_write_that_is_refused_or_lost_once_changes_nothing_of_the_end(story: Story, answer: str) -> None:
    """Of a beginning that stories share, each write once."""
    expected = reference(story).summary()
    for number in range(0 if DEEP else first_of_its_own(story), len(writes(story))):
        world = Refusing(story, once(answer, number))
        world.play()
        broken = violations(world) if answer != LOST else _but_verdicts(world)
        assert broken == [], f"{answer} at write {number}, {world.asked[number]}"
        assert world.summary() == expected, f"{answer} at write {number}, {world.asked[number]}"
        assert "Reconciled" not in words(world), "what went well since is not called a failure"


SAID = {"422": "somebody's rule", "403": "denied the request", "webhook": "failed calling webhook"}


@pytest.mark.row("R50")
@pytest.mark.parametrize(
    ("what", "answer"),
    in_turn(sorted(set(writes(PASS)), key=str), (*ANSWERS, LOST), 2),
    ids=lambda item: item if isinstance(item, str) else f"{item[0]}-{item[1].name}",
)
def test_a_write_that_is_always_refused_is_said_without_haste_and_heals(what: What, answer: str) -> None:
    """For half an hour; then everything ends as if nothing had been, or the run has ended and says why."""
    world = Refusing(PASS, lambda _, asked: answer if asked == what else None)
    world.play_for(hours=0.5)
    log = len(world.server.log)
    assert Counter(world.asked)[what]
    if answer in SAID and what[0] != "patch_status":
        # A record of service is told by an Event alone: a base's verdict is no matter of it.
        is_said = any(reason in ("WriteRefused", "AdmissionUnavailable") for _, reason in world.events)
        assert SAID[answer] in words(world) or (what == ("annotate", Kind.MODEL_VERSION) and is_said)
    assert _but_verdicts(world) == []
    world.resync(600)
    assert len(world.server.log) - log <= 12, "at rest, but for words that change, nothing is written"
    world.fault = lambda *_: None
    world.play(hours=6)
    assert _but_verdicts(world) == []
    run = world.get(Kind.RUN, "first")["status"]
    assert run["phase"] == "Promoted" or ("finishedAt" in run and run["message"])
    assert run["phase"] != "Promoted" or world.summary()["served"] == "ft_v1.1"
    assert "Reconciled" not in words(world) or run["phase"] == "Failed"


def _but_verdicts(world: World) -> list[str]:
    """An answer that is lost is as a crash: nothing repeats a metric that was to follow."""
    return [one for one in violations(world) if "verdicts" not in one]


def test_keys_that_could_not_be_applied_for_an_hour_end_in_words_that_say_why() -> None:
    apply = ("apply", Kind.DEPLOYMENT)
    world = Refusing(PASS, lambda _, asked: "403" if asked == apply else None)
    world.play(hours=12)
    status = world.get(Kind.POLICY, "invoice-fields")["status"]
    assert (status["hold"]["reason"], "inFlight" in status) == ("RolledBack", False)
    ended = world.get(Kind.PROMOTION, "first-base")["status"]
    for said in (status["hold"]["message"], ended["message"]):
        assert "could not be applied" in said
        assert SAID["403"] in said, said
