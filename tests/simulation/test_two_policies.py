"""Two policies of one model, and a policy that is made anew while a flight of it is broken."""

from datetime import timedelta

import pytest

from finetune_operator.cluster.kinds import Kind

from .controllers import NAMESPACE
from .invariants import served
from .stories import STORIES, USER, World, promotion, run, stage

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
