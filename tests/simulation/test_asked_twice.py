"""What is asked twice acts once: applied again, after a deletion, in a crash, and when sixty others came after it."""

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.decide import limits
from house.following import manifests

from .controllers import NAMESPACE
from .deaths import deaths
from .invariants import served, violations
from .stories import STORIES, USER, World, promotion
from .test_interference import told
from .test_records import Watched, passed

PASS = STORIES[0]
BACK = promotion("back", "base_v1", **{"from": "ft_v1.1"})
KNOWINGLY = {"checks": ["TakenBack"], "reason": "mended"}
FORWARD = promotion("forward", "ft_v1.1", **{"from": "base_v1", "despite": KNOWINGLY})
AGAIN = promotion("back-again", "base_v1", **{"from": "ft_v1.1", "reason": "it was not mended"})


def flown(world: World) -> list[str | None]:
    """Return what the Deployment was made to serve, one after the other."""
    flips = (w for w in world.server.log if w.kind is Kind.DEPLOYMENT and served(w.before) != served(w.after))
    versions = (served(flip.after) for flip in flips)
    return [None if version is None else version[0] for version in versions]


def sixty_four_later(world: Watched, came_from: str = "ft_v1.1") -> None:
    """Have as many promotions refused as the policy remembers; their files are gone again."""
    for number in range(limits.CONSUMED + 6):
        name = f"other-{number}"
        world.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion(name, "base_v1", **{"from": came_from}))
        world.settle()
        world.settle()
        world.server.delete(USER, Kind.PROMOTION, NAMESPACE, name)
    world.wait(2)


@pytest.mark.row("P15")
def test_a_word_against_a_taking_back_does_not_speak_of_the_next_one_though_sixty_four_came_after_it() -> None:
    world = passed()
    for asked in (BACK, FORWARD, AGAIN):
        assert world.ask(asked)["phase"] == "Succeeded"
    before = flown(world)
    sixty_four_later(world)
    known = [entry["name"] for entry in world.get(Kind.POLICY, "invoice-fields")["status"]["consumed"]]
    assert len(known) == limits.CONSUMED
    assert known[0] == "forward"
    ended = world.ask(FORWARD)
    assert (ended["phase"], world.live(), flown(world)) == ("Superseded", "base_v1", before)
    assert "acted before" in ended["message"]
    assert violations(world) == []


@pytest.mark.row("P26")
def test_a_plain_promotion_does_not_act_again_though_sixty_four_came_after_it_and_its_from_fits() -> None:
    world = passed()
    for asked in (BACK, FORWARD):
        assert world.ask(asked)["phase"] == "Succeeded"
    before = flown(world)
    sixty_four_later(world, "ft_v9.9")
    assert "back" not in [entry["name"] for entry in world.get(Kind.POLICY, "invoice-fields")["status"]["consumed"]]
    ended = world.ask(BACK)
    assert (ended["phase"], world.live(), flown(world)) == ("Superseded", "ft_v1.1", before)
    assert "acted before (long ago), and none acts twice; live is 'ft_v1.1'" in ended["message"]
    (meant,) = manifests(ended["message"])
    meant["metadata"] = {"name": "meant"}
    assert world.ask(meant)["phase"] == "Succeeded"
    assert world.ask(BACK)["phase"] == "Succeeded", "what it asks for is what serves"
    assert (world.live(), flown(world)) == ("base_v1", [*before, "base_v1"])
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


class Twice(World):
    """After the run, each promotion is applied; when it has ended, its file is deleted and applied again."""

    asked: tuple[Object, ...] = (
        BACK,
        FORWARD,
        promotion("release", "ft_v1.1", **{"from": "ft_v1.1", "releaseHold": True}),
        AGAIN,
        promotion("knowingly", "ft_v1.1", **{"from": "base_v1", "releaseHold": True, "despite": KNOWINGLY}),
    )

    def __post_init__(self) -> None:
        """Begin with nothing asked."""
        self.said: list[tuple[str, str]] = []
        self.uids: list[str] = []
        super().__post_init__()

    def at_rest(self) -> bool:
        return super().at_rest() and len(self.said) == 2 * len(self.asked)

    def _user(self) -> None:
        super()._user()
        run = self.server.get(Kind.RUN, NAMESPACE, "first") or {}
        if (run.get("status") or {}).get("phase") != "Promoted" or len(self.said) == 2 * len(self.asked):
            return
        wanted = self.asked[len(self.said) // 2]
        name = wanted["metadata"]["name"]
        item = self.server.get(Kind.PROMOTION, NAMESPACE, name)
        if item is not None and item["metadata"]["uid"] not in self.uids:
            phase = (item.get("status") or {}).get("phase")
            if phase in FINAL:
                self.said.append((name, phase))
                self.uids.append(item["metadata"]["uid"])
                self.server.delete(USER, Kind.PROMOTION, NAMESPACE, name)
        elif item is None:
            self.server.create(USER, Kind.PROMOTION, NAMESPACE, wanted)


FINAL = ("Succeeded", "RolledBack", "Failed", "Superseded")
SAID = [
    ("back", "Succeeded"), ("back", "Succeeded"),
    ("forward", "Succeeded"), ("forward", "Succeeded"),
    ("release", "Succeeded"), ("release", "Succeeded"),
    ("back-again", "Succeeded"), ("back-again", "Succeeded"),
    ("knowingly", "Succeeded"), ("knowingly", "Succeeded"),
]  # fmt: skip


@pytest.mark.row("D56")
def test_each_word_that_is_applied_twice_acts_once_through_a_crash_at_any_write() -> None:
    reference = Twice(PASS)
    reference.play()
    assert reference.said == SAID
    assert flown(reference) == ["base_v1", "ft_v1.1", "base_v1", "ft_v1.1", "base_v1", "ft_v1.1"]
    first = told(PASS).client.writes
    for where, world in deaths(lambda: Twice(PASS), first=first, every=2):
        assert violations(world) == [], where
        assert (world.said, flown(world)) == (SAID, flown(reference)), where
        assert world.summary() == reference.summary(), where
