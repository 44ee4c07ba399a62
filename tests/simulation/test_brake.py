"""A person goes back in the middle of a flight: it is over in one look, whatever crashes."""

from collections.abc import Callable
from functools import cache

import pytest

from finetune_operator.cluster.kinds import Kind
from house.deep import first_of

from .controllers import NAMESPACE
from .deaths import deaths
from .invariants import served, violations
from .stories import STORIES, USER, World, promotion

PASS = STORIES[0]
OPERATOR = "finetune-operator"


class Braked(World):
    """The story that passes, until its version is in that phase of its flight: then somebody goes back."""

    phase = "Watching"

    def _user(self) -> None:
        super()._user()
        flight = self.get(Kind.POLICY, "invoice-fields")["status"].get("inFlight") or {}
        due = flight.get("phase") == self.phase and flight["to"]["version"] == "ft_v1.1"
        if due and self.server.get(Kind.PROMOTION, NAMESPACE, "back") is None:
            self.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion("back", "base_v1", **{"from": "ft_v1.1"}))


class BrakedEarly(Braked):
    """The same, while the rollout is under way."""

    phase = "Flipping"


WORLDS = [Braked, BrakedEarly]


@cache
def reference(world: Callable[..., World]) -> World:
    """Return the story played without a crash."""
    played = world(PASS)
    played.play()
    return played


@pytest.mark.row("D30")
@pytest.mark.parametrize("world", WORLDS)
def test_the_old_keys_are_applied_in_the_very_look_that_sees_the_promotion(world: Callable[..., World]) -> None:
    """Nothing waits for the watch's end, which is 20 s off: no time passes, and one write of the status comes first."""
    played = reference(world)
    log = played.server.log
    asked = next(n for n, w in enumerate(log) if w.kind is Kind.PROMOTION and w.name == "back" and w.verb == "create")
    applied = next(n for n, w in enumerate(log) if n > asked and w.kind is Kind.DEPLOYMENT and w.actor == OPERATOR)
    assert (served(log[applied].after) or ("",))[0] == "base_v1"
    between = [w for w in log[asked:applied] if w.actor == OPERATOR]
    assert [w.kind for w in between if w.kind is not Kind.PROMOTION] == [Kind.POLICY]
    assert log[applied].at == log[asked].at, "seconds from the promotion to the apply: none"
    assert violations(played) == []


@pytest.mark.row("D31")
@pytest.mark.parametrize("world", WORLDS)
def test_both_promotions_and_the_run_end_and_the_policy_holds(world: Callable[..., World]) -> None:
    played = reference(world)
    summary = played.summary()
    assert (summary["live"], summary["served"], summary["hold"]) == ("base_v1", "base_v1", "RolledBack")
    assert (summary["phase"], summary["quarantined"]) == ("RolledBack", [])
    assert played.get(Kind.PROMOTION, "back")["status"]["phase"] == "Succeeded"


@pytest.mark.parametrize("world", first_of(WORLDS))
def test_a_crash_at_any_write_ends_as_no_crash(world: Callable[..., World]) -> None:
    expected = reference(world)
    for where, played in deaths(lambda: world(PASS)):
        assert violations(played) == [], where
        assert played.summary() == expected.summary(), where
