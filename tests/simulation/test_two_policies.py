"""Two policies of one model, and a policy that is made anew while a flight of it is broken."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from house.deep import first_of

from .controllers import NAMESPACE
from .deaths import deaths
from .invariants import served, violations
from .stories import STORIES, USER, World, promotion, run, stage
from .trainer_script import digest

PASS, REJECT, REVIEW, FAILED = STORIES


class Beside(World):
    """A world in which a second policy of the model, `prod`, has a Deployment and a run of its own."""

    def __post_init__(self) -> None:
        """Set the stage twice."""
        super().__post_init__()
        for kind, manifest in stage():
            if kind in (Kind.DEPLOYMENT, Kind.POLICY):
                manifest["metadata"]["name"] = "prod"
                if kind is Kind.POLICY:
                    manifest["spec"]["deployment"] = "prod"
                self.server.create(USER, kind, NAMESPACE, manifest)

    def _user(self) -> None:
        super()._user()
        base = self.get(Kind.MODEL_VERSION, "invoice-fields-base-v1")["status"]
        if base.get("phase") == "Verified" and self.server.get(Kind.PROMOTION, NAMESPACE, "prod-base") is None:
            asked = promotion("prod-base", "base_v1")
            asked["spec"]["policy"] = "prod"
            self.server.create(USER, Kind.PROMOTION, NAMESPACE, asked)
        is_live = (self.get(Kind.POLICY, "prod")["status"].get("live") or {}).get("version")
        if is_live and self.server.get(Kind.RUN, NAMESPACE, "second") is None:
            asked = run("second")
            asked["spec"]["policy"] = "prod"
            self.server.create(USER, Kind.RUN, NAMESPACE, asked)


@pytest.mark.row("R60")
def test_what_served_on_another_policys_deployment_was_not_live_here_and_goes_live_by_its_evidence() -> None:
    world = Beside(PASS)
    world.play()
    for _ in range(60):
        world.settle()
        world.server.now += timedelta(seconds=10)
    second = world.get(Kind.RUN, "second")["status"]
    assert (second["phase"], second["version"]) == ("Promoted", "ft_v1.1"), second["message"]
    live = served(world.get(Kind.DEPLOYMENT, "prod"))
    assert live is not None
    assert live[0] == "ft_v1.1"
    assert violations(world) == []


class Seeds(Beside):
    """Both policies have a run at once, each with a seed of its own, and `prod` may be of another model."""

    model = "invoice-fields"

    def __post_init__(self) -> None:
        """Set the stage; another model has a base of its own."""
        super().__post_init__()
        self.server.update_spec(USER, Kind.POLICY, NAMESPACE, "prod", lambda o: o["spec"].update(model=self.model))
        if self.model == "invoice-fields":
            return
        base = next(manifest for kind, manifest in stage() if kind is Kind.MODEL_VERSION)
        base["metadata"]["name"], base["spec"]["model"] = f"{self.model}-base-v1", self.model
        base["spec"]["artifact"]["sha256"] = digest(self.model)
        self.server.create(USER, Kind.MODEL_VERSION, NAMESPACE, base)

    def at_rest(self) -> bool:
        phases = [(item.get("status") or {}).get("phase") for item in self.server.list(Kind.RUN, NAMESPACE)]
        return super().at_rest() and phases == ["Promoted"] * 2

    def _user(self) -> None:
        super()._user()
        for number, name in enumerate(("first", "second")):
            item = self.server.get(Kind.RUN, NAMESPACE, name)
            if item is not None and "mixing" not in item["spec"]:
                mixed = partial(_mixed, 41 + number)
                self.server.update_spec(USER, Kind.RUN, NAMESPACE, name, mixed)

    def versions(self, policy: str) -> tuple[tuple[str, str] | None, tuple[str, str]]:
        """Return what a policy's Deployment serves, and what the policy calls live."""
        live = self.get(Kind.POLICY, policy)["status"]["live"]
        return served(self.get(Kind.DEPLOYMENT, DEPLOYMENTS[policy])), (live["version"], live["sha256"])


def _mixed(seed: int, item: Object) -> None:
    item["spec"]["mixing"] = {"seed": seed}


class SeedsOfTwoModels(Seeds):
    """The number is one, and the ModelVersions are two."""

    model = "receipts"


DEPLOYMENTS = {"invoice-fields": "invoice-detector", "prod": "prod"}


@pytest.mark.row("R66")
@pytest.mark.parametrize(
    ("world", "numbers"), first_of([(Seeds, ["ft_v1.1", "ft_v1.2"]), (SeedsOfTwoModels, ["ft_v1.1", "ft_v1.1"])])
)
def test_two_policies_at_one_number_serve_each_what_their_own_run_made(world: type[Seeds], numbers: list[str]) -> None:
    def play(played: Seeds) -> Seeds:
        played.play(hours=6)
        return played

    for crash, played in (("", play(world(PASS))), *deaths(lambda: world(PASS), play, every=9)):
        assert violations(played) == [], crash
        serves = [played.versions(policy) for policy in DEPLOYMENTS]
        assert [on == live for on, live in serves] == [True, True], serves
        # A run that comes later for a crash counts on from all that there is, of whatever model.
        assert crash or sorted(live[0] for _, live in serves) == numbers
        assert [live[1] for _, live in serves] == [digest("first"), digest("second")]


@pytest.mark.row("D39")
def test_a_policy_made_anew_while_a_flight_is_broken_calls_nothing_live() -> None:
    world = World(FAILED)
    remade: list[object] = []
    for _ in range(400):
        world.settle()
        flight = world.get(Kind.POLICY, "invoice-fields")["status"].get("inFlight") or {}
        if flight.get("to", {}).get("version") == "ft_v1.1" and not remade:
            live = served(world.get(Kind.DEPLOYMENT, "invoice-detector"))
            if live is not None and live[0] == "ft_v1.1":
                world.server.delete(USER, Kind.POLICY, NAMESPACE, "invoice-fields")
                anew = next(manifest for kind, manifest in stage() if kind is Kind.POLICY)
                remade.append(world.server.create(USER, Kind.POLICY, NAMESPACE, anew))
        world.server.now += timedelta(seconds=5)
    assert remade
    status = world.get(Kind.POLICY, "invoice-fields")["status"]
    assert "live" not in status
    assert status["hold"]["reason"] == "NotRolledOut"
    assert "base_v1" in status["hold"]["message"], "the way back to what was good is said"
    before = len(world.server.log)
    world.server.now += timedelta(minutes=10)
    world.settle()
    assert world.server.log[before:] == [], "at rest nothing is written"


@pytest.mark.row("R243")
@pytest.mark.parametrize("phase", ["Preparing", "Training", "Evaluating"])
def test_a_run_waits_while_its_policy_has_another_model(phase: str) -> None:
    """It was made anew under its name: what is live there, its numbers and its promotions are of other versions."""
    world = World(PASS)
    until(world, lambda: (world.server.get(Kind.RUN, NAMESPACE, "first") or {}).get("status", {}).get("phase") == phase)
    make_anew(world, "receipts")
    for _ in range(10):
        world.settle()
        world.server.advance(20)
    status = world.get(Kind.RUN, "first")["status"]
    accepted = next(c for c in status["conditions"] if c["type"] == "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "PolicyNotFound"), status["message"]
    assert "another model" in status["message"] or "of model 'invoice-fields'" in status["message"]
    versions = [item["metadata"]["name"] for item in world.server.list(Kind.MODEL_VERSION, NAMESPACE)]
    assert (versions, world.get(Kind.POLICY, "invoice-fields")["status"].get("reservations")) == (
        ["invoice-fields-base-v1"],
        None,
    )
    make_anew(world, "invoice-fields")
    until(world, lambda: world.get(Kind.RUN, "first")["status"]["phase"] == "Passed")
    assert world.get(Kind.RUN, "first")["status"]["version"] == "ft_v1.1"
    assert violations(world) == []


def until(world: World, is_so: Callable[[], bool]) -> None:
    for _ in range(300):
        world.settle()
        if is_so():
            return
        world.server.advance(5)
    raise AssertionError("it never came")


def make_anew(world: World, model: str) -> None:
    """Delete the policy and make it again, of that model."""
    world.server.delete(USER, Kind.POLICY, NAMESPACE, "invoice-fields")
    manifest = next(item for kind, item in stage() if kind is Kind.POLICY)
    manifest["spec"]["model"] = model
    world.server.create(USER, Kind.POLICY, NAMESPACE, manifest)
