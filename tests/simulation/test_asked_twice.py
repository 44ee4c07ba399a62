"""What is asked twice acts once: applied again, after a deletion, in a crash, and when sixty others came after it."""

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.decide import limits
from house.following import manifests

from .controllers import NAMESPACE
from .invariants import served, violations
from .stories import USER, promotion
from .test_records import Watched, passed

BACK = promotion("back", "base_v1", **{"from": "ft_v1.1"})
KNOWINGLY = {"checks": ["TakenBack"], "reason": "mended"}
FORWARD = promotion("forward", "ft_v1.1", **{"from": "base_v1", "despite": KNOWINGLY})
AGAIN = promotion("back-again", "base_v1", **{"from": "ft_v1.1", "reason": "it was not mended"})


def flips(world: Watched) -> int:
    """Return how many times what the Deployment serves was changed."""
    return sum(w.kind is Kind.DEPLOYMENT and served(w.before) != served(w.after) for w in world.server.log)


def sixty_four_later(world: Watched) -> None:
    """Have as many promotions refused as the policy remembers; their files are gone again."""
    for number in range(limits.CONSUMED + 6):
        name = f"other-{number}"
        world.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion(name, "base_v1", **{"from": "ft_v1.1"}))
        world.settle()
        world.settle()
        world.server.delete(USER, Kind.PROMOTION, NAMESPACE, name)
    world.wait(2)


@pytest.mark.row("P15")
def test_a_word_against_a_taking_back_does_not_speak_of_the_next_one_though_sixty_four_came_after_it() -> None:
    world = passed()
    for asked in (BACK, FORWARD, AGAIN):
        assert world.ask(asked)["phase"] == "Succeeded"
    before = flips(world)
    sixty_four_later(world)
    known = [entry["name"] for entry in world.get(Kind.POLICY, "invoice-fields")["status"]["consumed"]]
    assert len(known) == limits.CONSUMED
    assert known[0] == "forward"
    ended = world.ask(FORWARD)
    assert (ended["phase"], world.live(), flips(world)) == ("Superseded", "base_v1", before)
    assert "acted before" in ended["message"]
    assert violations(world) == []


@pytest.mark.row("P16")
def test_a_release_does_not_lift_the_next_hold_though_sixty_four_came_after_it() -> None:
    world = passed()

    def undo(item: Object) -> None:
        item["spec"]["template"]["metadata"]["annotations"]["finetune-operator.io/model-version"] = "ft_v9.9"

    def restore(item: Object) -> None:
        item["spec"]["template"]["metadata"].pop("annotations")

    release = promotion("release", "ft_v1.1", **{"from": "ft_v1.1", "releaseHold": True})
    for first in (True, False):
        world.server.update_spec("kubectl-edit", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", undo)
        world.wait(2)
        assert world.get(Kind.POLICY, "invoice-fields")["status"]["hold"]["reason"] == "External"
        world.server.update_spec("kubectl-edit", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", restore)
        world.wait(3)
        held = world.get(Kind.POLICY, "invoice-fields")["status"].get("hold")
        ended = world.ask(release)
        if first:
            assert ended["phase"] == "Succeeded"
            assert "hold" not in world.get(Kind.POLICY, "invoice-fields")["status"]
            sixty_four_later(world)
    assert held is not None
    assert world.get(Kind.POLICY, "invoice-fields")["status"].get("hold") == held, "it was not meant"
    assert ended["phase"] == "Superseded"
    assert "the policy is held (External" in ended["message"]
    (meant,) = manifests(ended["message"])
    meant["metadata"] = {"name": "meant"}
    assert world.ask(meant)["phase"] == "Succeeded"
    assert "hold" not in world.get(Kind.POLICY, "invoice-fields")["status"]
