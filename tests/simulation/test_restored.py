"""A cluster restored from a backup without statuses: nothing that failed or was taken back goes live by that."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from house.deep import first_of

from .api_server import START, ApiServer, Client
from .controllers import NAMESPACE, Deployments, Jobs
from .deaths import deaths
from .invariants import served, violations
from .stories import STORIES, USER, Story, World, promotion

PASS, REJECT, REVIEW, FAILED_ROLLOUT = STORIES
BACKED_UP = (Kind.POD_TEMPLATE, Kind.DEPLOYMENT, Kind.POLICY, Kind.RUN, Kind.PROMOTION, Kind.MODEL_VERSION)
"""In the order of the restore: the versions, which know what was, come last."""
KEPT = ("name", "labels", "annotations")


@dataclass
class Restored(World):
    """A new cluster with the objects of a backup: other uids, no statuses, everything managed by who restored it."""

    backup: tuple[tuple[Kind, Object], ...] = ()
    after: frozenset[str] = frozenset()
    """Versions whose pods do not get ready in the new cluster."""

    def __post_init__(self) -> None:
        """Restore."""
        self.server = ApiServer(now=START.replace(month=12), counter=50_000)
        self.jobs = Jobs(self.server, self.story.trainer)
        self.deployments = Deployments(self.server, self.after)
        self.client = Client(self.server)
        self.operator = self._start_operator()
        for kind, item in self.backup:
            self.server.create("velero-server", kind, NAMESPACE, item)

    def at_rest(self) -> bool:
        """Only when nothing is due any more."""
        return False

    def follow(self, message: str, name: str) -> None:
        """Do as a hold's message says: apply the promotion in its first command."""
        manifest = json.loads(message.split("echo '")[1].partition("'")[0])
        manifest["metadata"] = {"name": name}
        self.server.create(USER, Kind.PROMOTION, NAMESPACE, manifest)
        self.play()

    @property
    def hold(self) -> dict[str, Any]:
        """The policy's hold."""
        hold: dict[str, Any] = self.get(Kind.POLICY, "invoice-fields")["status"].get("hold") or {}
        return hold

    def outcomes(self) -> dict[str, str]:
        """How each promotion ended, by its name without the digits of its run's uid."""
        items = self.server.list(Kind.PROMOTION, NAMESPACE)
        return {item["metadata"]["name"]: (item.get("status") or {}).get("phase", "") for item in items}

    def put_live(self) -> list[str]:
        """The versions that the operator put live since the restore, one after the other."""
        flips = [w for w in self.server.log if w.kind is Kind.DEPLOYMENT and w.verb == "apply"]
        return [(served(w.after) or ("nothing", ""))[0] for w in flips if served(w.before) != served(w.after)]


def backed_up(world: World) -> tuple[tuple[Kind, Object], ...]:
    """Return what a backup without statuses brings back."""
    return tuple(
        (kind, {k: v for k, v in item.items() if k != "status"} | {
            "metadata": {k: v for k, v in item["metadata"].items() if k in KEPT}})
        for kind in BACKED_UP
        for item in world.server.list(kind, NAMESPACE)
    )  # fmt: skip


@cache
def went_back() -> World:
    """Return a world in which the fine-tune was live, and people went back to the base."""
    world = World(PASS)
    world.play()
    world.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion("back", "base_v1", **{"from": "ft_v1.1"}))
    world.settle()
    for _ in range(60):
        world.server.advance(5)
        world.settle()
    assert world.summary()["live"] == "base_v1"
    return world


@cache
def played(story: Story) -> World:
    """Return the story at its end."""
    world = World(story)
    world.play()
    return world


def taken_back() -> Restored:
    """The base serves; the fine-tune was taken back."""
    return Restored(PASS, backup=backed_up(went_back()))


def quarantined() -> Restored:
    """The base serves; the fine-tune failed in production."""
    backup = backed_up(played(FAILED_ROLLOUT))
    return Restored(FAILED_ROLLOUT, backup=backup, after=FAILED_ROLLOUT.broken)


def never_ready() -> Restored:
    """The fine-tune served well, and its pods do not get ready in the new cluster."""
    return Restored(PASS, backup=backed_up(played(PASS)), after=frozenset(("ft_v1.1",)))


@cache
def was_rejected() -> World:
    """Return a world in which a person rejected the fine-tune, whose bytes then came back under another name."""
    world = World(REVIEW)

    def reject() -> None:
        item = world.get(Kind.RUN, "first")
        if item["status"].get("phase") == "InReview" and "review" not in item["spec"]:
            no = {"decision": "Reject", "evidence": item["status"]["evidence"]["digest"], "by": "ann"}
            world.server.update_spec(USER, Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(review=no))

    world._approve = reject  # type: ignore[method-assign]
    world.play()
    version = world.get(Kind.MODEL_VERSION, "invoice-fields-ft-v1.1")
    spec = version["spec"] | {"version": "ft_v1.8", "evidence": version["spec"]["evidence"] | {}}
    del spec["evidence"]["decision"]
    again = {"metadata": {"name": "again"}, "spec": spec}
    world.server.create("admin", Kind.MODEL_VERSION, NAMESPACE, version | again | {"status": {}})
    world.settle()
    world.server.delete("admin", Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-ft-v1.1")
    world.server.delete("admin", Kind.RUN, NAMESPACE, "first")
    world.settle()
    return world


def rejected() -> Restored:
    """The base serves; a person rejected the fine-tune, and only a twin of it is left."""
    return Restored(REVIEW, backup=backed_up(was_rejected()))


VARIANTS: tuple[Callable[[], Restored], ...] = (taken_back, quarantined, never_ready, rejected)


@pytest.mark.row("D37")
@pytest.mark.row("P10")
def test_what_people_took_back_stays_so_and_the_way_out_of_the_hold_puts_nothing_live() -> None:
    world = taken_back()
    before = {item["metadata"]["name"] for kind, item in world.backup if kind is Kind.PROMOTION}
    world.play()
    assert (world.summary()["live"], world.hold["reason"], world.put_live()) == ("base_v1", "Adopted", [])
    assert {name: phase for name, phase in world.outcomes().items() if name in before} == dict.fromkeys(
        before, "Succeeded"
    )
    world.follow(world.hold["message"], "keep")
    assert (world.outcomes()["keep"], world.hold, world.put_live()) == ("Succeeded", {}, [])
    asked = promotion("unsaid", "ft_v1.1", **{"from": "base_v1", "releaseHold": True})
    world.server.create(USER, Kind.PROMOTION, NAMESPACE, asked)
    world.play()
    assert (world.outcomes()["unsaid"], world.put_live()) == ("Failed", [])
    assert violations(world) == []


@pytest.mark.row("D37")
def test_what_failed_in_production_is_quarantined_again() -> None:
    world = quarantined()
    world.play()
    summary = world.summary()
    assert (summary["live"], summary["quarantined"], world.put_live()) == ("base_v1", ["ft_v1.1"], [])
    world.follow(world.hold["message"], "keep")
    assert (world.outcomes()["keep"], world.hold, world.put_live()) == ("Succeeded", {}, [])
    assert dict(world.summary()["versions"])["ft_v1.1"] == "Quarantined"


@pytest.mark.row("D63")
def test_what_a_person_rejected_is_rejected_again_by_the_record_of_a_twin() -> None:
    """Nobody runs again what the backup has no run of; the version that was reviewed is not in it."""
    world = rejected()
    for _ in range(30):
        world.settle()
        world.server.advance(10)
    status = world.get(Kind.POLICY, "invoice-fields")["status"]
    assert [(no["by"], no["version"], no["run"]) for no in status["rejected"]] == [("ann", "ft_v1.1", "first")]
    evidence = world.get(Kind.MODEL_VERSION, "again")["spec"]["evidence"]["digest"]
    more = {"from": "base_v1", "releaseHold": True, "approval": {"by": "bo", "evidence": evidence}}
    world.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion("evil", "ft_v1.8", **more))
    for _ in range(30):
        world.settle()
        world.server.advance(10)
    assert (world.outcomes()["evil"], world.put_live()) == ("Failed", [])
    assert world.get(Kind.MODEL_VERSION, "again")["status"]["phase"] == "Rejected"


@pytest.mark.row("D39")
def test_a_version_whose_pods_never_get_ready_is_nowhere_said_to_be_live() -> None:
    world = never_ready()
    world.play()
    policy = world.get(Kind.POLICY, "invoice-fields")["status"]
    conditions = {c["type"]: (c["status"], c["reason"]) for c in policy["conditions"]}
    assert ("live" in policy, world.hold["reason"], world.put_live()) == (False, "NotRolledOut", [])
    assert conditions["InSync"] == ("False", "NotRolledOut")
    assert conditions["Ready"] == ("False", "NotRolledOut")
    assert dict(world.summary()["versions"])["ft_v1.1"] != "Live"
    assert world.summary()["phase"] != "Promoted"
    said = world.hold["message"]
    assert "let go of the keys" in said
    let_go(world)
    assert world.hold["reason"] == "Recalled"
    world.follow(said, "base")
    assert (world.outcomes()["base"], world.summary()["live"], world.put_live()) == (
        "Succeeded", "base_v1", ["base_v1"])  # fmt: skip


def let_go(world: Restored) -> None:
    """Take the keys from whoever restored them."""

    def without_keys(item: Object) -> None:
        for place in (item["metadata"], item["spec"]["template"]["metadata"]):
            place.pop("annotations")

    world.server.update_spec("kubectl-patch", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", without_keys)
    world.play()


@pytest.mark.parametrize("variant", first_of(VARIANTS, 2), ids=lambda variant: variant.__name__)
def test_a_crash_at_any_write_after_the_restore_ends_as_no_crash(variant: Callable[[], Restored]) -> None:
    reference = variant()
    reference.play()
    for where, world in deaths(variant):
        assert violations(world) == [], where
        assert world.put_live() == [], where
        assert world.summary() == reference.summary(), where
        assert world.hold["reason"] == reference.hold["reason"], where


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_at_rest_after_a_restore_nothing_is_written(variant: Callable[[], Restored]) -> None:
    world = variant()
    world.play()
    world.resync(3600)
    writes, log = world.client.writes, len(world.server.log)
    world.resync(600)
    assert (world.client.writes, world.server.log[log:]) == (writes, [])


@pytest.mark.row("P9")
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_an_outcome_stands_on_each_promotion_before_its_status_is_final(story: Story) -> None:
    log = played(story).server.log
    ended = [w for w in log if w.kind is Kind.PROMOTION and _phase(w.after) in ("Succeeded", "RolledBack", "Failed")]
    assert ended
    for write in ended:
        assert write.after is not None
        assert "finetune-operator.io/outcome" in write.after["metadata"]["annotations"]


def _phase(item: Object | None) -> str:
    return str(((item or {}).get("status") or {}).get("phase", ""))
