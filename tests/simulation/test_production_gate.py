"""Stories of the third gate, with a crash before and after every write; and bugs that must not go by unseen."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.cluster.kinds import Kind
from finetune_operator.decide.attempts import results
from finetune_operator.decide.gates import production as gate
from finetune_operator.decide.gates import verdict as gates
from finetune_operator.decide.run import work
from house.deep import first_of

from .conftest import CRASH_POINTS
from .deaths import deaths
from .invariants import violations
from .stories import USER, Story, World
from .trainer_script import Trainer

SAME = Story("as before", Trainer(lost=2), ends="Promoted", live="ft_v1.1", compares=True)
LOST = Story("a field lost", Trainer(lost=5, gained=2), ends="Promoted", live="ft_v1.1", approves=True, compares=True)
FEW = Story("too few", Trainer(documents=80), ends="Promoted", live="ft_v1.1", approves=True, compares=True)
STORIES = (SAME, LOST, FEW)


class Rejecting(World):
    """The reviewer looks at the documents, and says no."""

    def _approve(self) -> None:
        item = self.get(Kind.RUN, "first")
        if item["status"].get("phase") == "InReview" and "review" not in item["spec"]:
            review = {"decision": "Reject", "evidence": item["status"]["evidence"]["digest"], "by": "ann"}
            self.server.update_spec(USER, Kind.RUN, "ml", "first", lambda o: o["spec"].update(review=review))


@cache
def reference(story: Story) -> World:
    """Return the story played without a crash."""
    world = World(story)
    world.play()
    return world


def said(world: World) -> dict[str, Any]:
    status = world.get(Kind.RUN, "first")["status"]
    entries: list[dict[str, Any]] = [entry for entry in status["gates"] if entry["name"] == "production"]
    return entries[0] if entries else {}


@pytest.mark.row("R220")
@pytest.mark.row("R221")
@pytest.mark.parametrize(
    ("story", "verdict", "reason", "value"),
    [(SAME, "Pass", "", "2"), (LOST, "Review", "FieldLost", "3"), (FEW, "Review", "TooFewDocuments", "0")],
    ids=lambda item: getattr(item, "name", item),
)
def test_each_story_ends_as_told(story: Story, verdict: str, reason: str, value: str) -> None:
    world = reference(story)
    assert (world.summary()["phase"], world.summary()["live"], world.summary()["served"]) == (
        story.ends,
        story.live,
        story.live,
    )
    assert violations(world) == []
    assert (said(world)["verdict"], said(world).get("reason", ""), said(world)["value"]) == (verdict, reason, value)
    [version] = [v for v in world.server.list(Kind.MODEL_VERSION, "ml") if v["spec"]["version"] == "ft_v1.1"]
    assert said(world) in version["spec"]["evidence"]["gates"]


@pytest.mark.row("R220")
def test_a_person_who_sees_what_was_lost_ends_it() -> None:
    world = Rejecting(replace(LOST, ends="Rejected", live="base_v1"))
    world.play()
    assert (world.summary()["phase"], world.summary()["live"]) == ("Rejected", "base_v1")
    assert violations(world) == []


@pytest.mark.parametrize("story", first_of((LOST, SAME, FEW)), ids=lambda story: story.name)
def test_a_crash_at_any_write_ends_as_no_crash(story: Story, record_property: Callable[[str, object], None]) -> None:
    expected = reference(story)
    for where, world in deaths(lambda: World(story)):
        assert violations(world) == [], where
        assert world.summary() == expected.summary(), where
        assert said(world) == said(expected), where
    record_property(CRASH_POINTS, 2 * expected.client.writes)


class OtherDocuments(Trainer):
    """An evaluator that compares documents of its own choice."""

    def _production(self) -> dict[str, Any]:
        return super()._production() | {"digest": "0" * 64}


FORGED = Story("other documents", OtherDocuments(), ends="Failed", live="base_v1", compares=True)


@pytest.mark.row("R223")
def test_what_was_compared_on_other_documents_than_were_drawn_never_goes_live() -> None:
    world = World(FORGED)
    world.play(hours=10)
    assert (world.summary()["phase"], world.summary()["live"]) == ("Failed", "base_v1")
    assert violations(world) == []


def played(story: Story) -> tuple[Any, Any]:
    """Return how a story ends, and what the gate says; it says nothing where no evaluation is taken."""
    world = World(story)
    world.play(hours=10)
    return world.summary(), said(world) if world.summary()["gates"] else {}


def gained_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """A field is worse by what it gained."""
    patch.setattr(gate, "is_worse", lambda limits, *, lost, gained: gained - lost >= 3)


def nobody_counts_the_documents(patch: pytest.MonkeyPatch) -> None:
    """As many documents as were compared are enough."""
    honest = gate.judge

    def judge(limits: Any, case: Any) -> Any:
        return honest(updated(limits, documents=case.result.production.documents), seen(case))

    def seen(case: Any) -> Any:
        compared = case.result.production
        return replace(
            case, result=updated(case.result, production=updated(compared, drawn=compared.documents, vanished=0))
        )

    planted = (*gates.GATES[:-1], replace(gate.PRODUCTION, judge=judge))
    patch.setattr(work, "judge", lambda document, result, standing: gates.judge(document, result, standing, planted))


def the_digest_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    """Whatever was compared is taken for what was drawn."""
    honest = results.evaluated

    def evaluated(document: Any, inputs: Any, candidate: Any, attempt: Any, said: Any, **more: Any) -> Any:
        digests = inputs.digests | {"production": said.result["production"]["digest"]}
        return honest(document, updated(inputs, digests=digests), candidate, attempt, said, **more)

    patch.setattr(results, "evaluated", evaluated)


@pytest.mark.parametrize(
    ("plant", "story"),
    [
        (gained_is_not_looked_at, LOST),
        (nobody_counts_the_documents, FEW),
        (the_digest_is_not_compared, FORGED),
    ],
    ids=lambda item: getattr(item, "__name__", getattr(item, "name", item)),
)
def test_a_planted_bug_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the same plays are as `reference` has them."""
    expected = played(story)
    plant(monkeypatch)
    assert played(story) != expected
