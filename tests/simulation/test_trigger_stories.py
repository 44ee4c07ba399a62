"""Each story of the triggers with an operator that dies at every write, counts that fail, and what it sees late."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from house.deep import DEEP, in_turn

from .api_server import Client
from .controllers import NAMESPACE
from .deaths import dying
from .faults import ANSWERS, LOST, Faulty, What
from .invariants import violations
from .lagging import Lagging, Weather
from .stories import USER, Story, promotion
from .test_lagging import WEATHERS
from .test_triggers import HOUR, PASS, REJECT, REVIEW, TRIGGERS, FailingAlways, Triggered, ended
from .trainer_script import Trainer, digest

MINUTE = 60
SOON: dict[str, Any] = {**TRIGGERS, "cooldownSeconds": 60}


class Growing(Trainer):
    """A trainer whose pool has 60 more samples each time that it `grew`: new until one more run was judged."""

    grew = 0

    def grow(self) -> None:
        """Let somebody verify 60 pages more."""
        object.__setattr__(self, "grew", self.grew + 1)

    def __call__(self, step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        code, message = super().__call__(step, document, inputs)
        result, new = message["result"], 60 if len(inputs.get("judged") or ()) <= self.grew else 0
        if step == "scan":
            result.update(new=new, listing=digest(f"listing {self.grew}"))
        if step == "prepare":
            result.update(new=new, digests={**result["digests"], "pool": digest(f"pool {self.grew}")})
        return code, message


def growing(story: Story) -> Story:
    return replace(story, approves=False, trainer=Growing(story.trainer.candidate))


def release(world: Triggered) -> None:
    """Somebody releases the draft."""
    for run in world.runs():
        if (run.get("status") or {}).get("phase") == "Suspended" and run["spec"].get("suspend"):
            name = run["metadata"]["name"]
            world.server.update_spec(USER, Kind.RUN, NAMESPACE, name, lambda item: item["spec"].update(suspend=False))


@dataclass(frozen=True)
class Tale:
    """What a policy is told to do by itself, by whom it is trained, and how long that takes."""

    triggers: dict[str, Any]
    story: Story = REJECT
    seconds: int = 12 * MINUTE
    act: Callable[[Triggered], None] | None = None
    policies: tuple[str, ...] = ("invoice-fields",)


TALES = {
    "schedule": Tale({"schedule": {"cron": "*/5 * * * *"}, "cooldownSeconds": 0}),
    "draft": Tale({**TRIGGERS, "start": "Suspended"}, act=release),
    "failed and tried again": Tale(SOON, replace(PASS, trainer=FailingAlways()), seconds=20 * MINUTE),
    "two policies": Tale(TRIGGERS, policies=("invoice-fields", "prod")),
    "live": Tale(TRIGGERS, PASS),
}


class Told(Triggered):
    """A world of a tale, whose operator dies at each write that `dies` names."""

    def __init__(self, tale: Tale, dies: Callable[[int], str | None] = lambda _: None) -> None:
        self.triggers, self.policies, self.act = tale.triggers, tale.policies, tale.act  # type: ignore[misc]
        super().__init__(replace(tale.story, approves=False), wrap=lambda client: dying(client, dies))
        self.wait(tale.seconds, 20)


@cache
def undisturbed(tale: str) -> Told:
    world = Told(TALES[tale])
    assert violations(world) == []
    return world


LIVES: dict[str, Callable[[int], str | None]] = {
    "after each write": lambda _: "after",
    "before each even write": lambda number: None if number % 2 else "before",
    "before each odd write": lambda number: "before" if number % 2 else None,
    "before or after": lambda number: ("before", "after", None)[number % 3],
}


@pytest.mark.row("D147")
@pytest.mark.parametrize(("tale", "lives"), in_turn(TALES, tuple(LIVES)))
def test_an_operator_that_dies_at_every_write_fires_what_one_that_lives_does(tale: str, lives: str) -> None:
    world, expected = Told(TALES[tale], LIVES[lives]), undisturbed(tale)
    assert world.crashes > 10
    assert ended(world) == ended(expected)
    assert sorted(world.made()) == sorted(expected.made())
    assert len(set(world.made())) == len(world.made())
    assert world.said()[0] == expected.said()[0]


@pytest.mark.row("D151")
def test_a_run_in_review_does_not_keep_the_next_from_being_fired() -> None:
    story = growing(REVIEW)
    world = Triggered(story)
    world.wait(5 * MINUTE, 20)
    assert [phase for _, phase in ended(world)] == ["InReview"]
    assert isinstance(story.trainer, Growing)
    story.trainer.grow()
    world.wait(2 * HOUR, 60)
    assert [phase for _, phase in ended(world)] == ["InReview", "InReview"]
    assert len(world.made()) == 2


@pytest.mark.row("D142")
def test_a_pool_whose_counts_fail_fires_nothing_and_then_once() -> None:
    """Scans that end with nothing, for hours, and then one that counts."""

    class Uncounted(Trainer):
        away = True

        def __call__(self, step: str, document: Object, inputs: Object) -> tuple[int, Object]:
            code, message = super().__call__(step, document, inputs)
            if step != "scan" or not self.away:
                return code, message
            error = {"class": "Environment", "reason": "StorageAway", "message": "no answer", "remedy": "wait"}
            return 12, {**message, "outcome": "Failed", "result": {}, "error": error}

    trainer = Uncounted("0.900000")
    world = Triggered(replace(REJECT, trainer=trainer))
    world.wait(5 * HOUR, 120)
    assert (world.made(), world.said()[0]) == ([], "NotScanned")
    object.__setattr__(trainer, "away", False)
    world.wait(HOUR, 60)
    assert len(world.made()) == 1
    assert violations(world) == []


@pytest.mark.row("D146")
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_by_an_hour_moves_the_cool_down_by_no_more_and_fires_nothing_twice(hours: int) -> None:
    story = growing(REJECT)
    world = Triggered(story)
    world.edit(triggers={**TRIGGERS, "cooldownSeconds": 3 * HOUR})
    world.wait(10 * MINUTE, 20)
    assert len(world.made()) == 1
    assert isinstance(story.trainer, Growing)
    story.trainer.grow()
    world.skew = timedelta(hours=hours)
    world.wait(HOUR, 60)
    assert len(world.made()) == 1
    world.skew = timedelta()
    world.wait(3 * HOUR, 60)
    first, second = sorted(run["metadata"]["creationTimestamp"] for run in world.runs())
    assert (first[11:13], second[11:13] in ("14", "15")) == ("12", True)
    assert len(world.made()) == 2


@pytest.mark.row("D159")
@pytest.mark.parametrize("tale", ["schedule", "failed and tried again"])
def test_a_week_without_an_operator_is_followed_by_no_storm(tale: str) -> None:
    world = Told(TALES[tale])
    before = world.made()
    world.server.advance(7 * 24 * HOUR)
    world.operator = world._start_operator()
    world.wait(HOUR, 60)
    assert world.made() == before
    assert world.said()[0] == undisturbed(tale).said()[0]


class LateTriggers(Lagging):
    """A policy with triggers whose operator sees late what goes on; at rest once nothing is new."""

    def __init__(self, seed: int, weather: Weather) -> None:
        super().__init__(replace(REJECT, approves=False), seed, weather)
        self.server.update_spec(
            USER, Kind.POLICY, NAMESPACE, "invoice-fields", lambda item: item["spec"].update(triggers=TRIGGERS)
        )

    def _user(self) -> None:
        base = self.get(Kind.MODEL_VERSION, "invoice-fields-base-v1")["status"]
        if base.get("phase") == "Verified" and not self.server.get(Kind.PROMOTION, NAMESPACE, "base"):
            self.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion("base", "base_v1"))

    def at_rest(self) -> bool:
        """Tell whether the policy waits for more samples."""
        conditions = self.get(Kind.POLICY, "invoice-fields")["status"].get("conditions", ())
        return any(c["type"] == "Due" and c["reason"] == "NotEnoughNewSamples" for c in conditions)


@pytest.mark.part
@pytest.mark.row("D147")
@pytest.mark.parametrize("weather", ["lag", "lost", "all", "two operators"])
def test_a_pool_is_trained_once_whatever_the_operator_sees_late(weather: str) -> None:
    for seed in range(6 if DEEP else 2):
        world = LateTriggers(seed, WEATHERS[weather])
        world.play()
        made = [write.name for write in world.server.log if (write.verb, write.kind) == ("create", Kind.RUN)]
        assert len(made) == 1, f"seed {seed}"
        assert [one for one in violations(world) if "verdicts" not in one] == [], f"seed {seed}"
        (entry,) = world.get(Kind.POLICY, "invoice-fields")["status"]["fired"]
        assert entry["outcome"] == "Judged", f"seed {seed}"


@pytest.mark.row("D155")
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_run_that_is_refused_for_a_while_is_made_once_and_not_asked_for_all_the_time(answer: str) -> None:
    """A quota, an admission webhook, somebody's rule, an API server that is ill: Due says that it is not made."""
    clients: list[Faulty] = []
    refused = [answer]

    def fault(_: int, what: What) -> str | None:
        return refused[0] if refused and what == ("create", Kind.RUN) else None

    def wrap(client: Client) -> Any:
        clients.append(Faulty(client, fault))
        return clients[-1]

    world = Triggered(REJECT, wrap=wrap)
    world.wait(HOUR, 60)
    assert world.made() == []
    reason, message = world.said()
    assert reason not in ("Fired", "NotEnoughNewSamples"), message
    tries = sum(client.asked.count(("create", Kind.RUN)) for client in clients)
    assert 1 < tries < 100
    refused.clear()
    world.wait(HOUR, 60)
    assert len(world.made()) == 1
    assert [phase for _, phase in ended(world)] == ["Rejected"]
    assert violations(world) == []


@pytest.mark.row("D170")
@pytest.mark.parametrize("answer", [*ANSWERS, LOST])
def test_a_run_whose_making_cannot_be_written_down_at_once_is_made_once(answer: str) -> None:
    asked: list[What] = []

    def fault(_: int, what: What) -> str | None:
        asked.append(what)
        return answer if asked[-2:] == [("create", Kind.RUN), ("patch_status", Kind.POLICY)] else None

    world = Triggered(REJECT, wrap=lambda client: Faulty(client, fault))  # type: ignore[arg-type, return-value]
    world.wait(30 * MINUTE, 30)
    assert ("create", Kind.RUN) in asked
    assert len(world.made()) == 1
    assert [entry["outcome"] for entry in world.status()["fired"]] == ["Judged"]
    assert violations(world) == []


@pytest.mark.row("D152")
@pytest.mark.parametrize("kept", ["all", "no run", "no version"])
def test_a_policy_that_is_made_anew_fires_nothing_again(kept: str) -> None:
    """A repository is applied again after somebody deleted the policy: it has another uid, and remembers nothing."""
    world = Triggered(REJECT)
    world.wait(10 * MINUTE, 20)
    (name,), old = world.made(), world.get(Kind.POLICY, "invoice-fields")
    world.server.delete(USER, Kind.POLICY, NAMESPACE, "invoice-fields", old["metadata"]["uid"])
    if kept == "no run":
        world.server.delete(USER, Kind.RUN, NAMESPACE, name)
    if kept == "no version":
        world.server.delete(USER, Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-ft-v1.1")
    world.settle()
    applied = {key: old[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "invoice-fields"}}
    world.server.create(USER, Kind.POLICY, NAMESPACE, applied)
    world.wait(5 * MINUTE, 20)
    assert (world.made(), world.said()[0]) == ([name], "OnHold")
    release_hold = promotion("released", "base_v1", **{"from": "base_v1", "releaseHold": True, "reason": "it is ours"})
    world.server.create(USER, Kind.PROMOTION, NAMESPACE, release_hold)
    world.wait(2 * HOUR, 60)
    assert world.status().get("hold") is None
    assert (world.made(), world.said()[0]) == ([name], "NotEnoughNewSamples")
