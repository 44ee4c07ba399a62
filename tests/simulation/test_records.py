"""Records that are believed by their numbers, and what is asked twice: made by hand on the simulated API server."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .api_server import copied
from .controllers import NAMESPACE
from .invariants import served, violations
from .stories import STORIES, USER, World, promotion, run, stage
from .trainer_script import digest

PASS, REJECT, REVIEW, FAILED = STORIES
KEY = "finetune-operator.io/"


class Watched(World):
    """A world in which somebody acts before the operator's turn of every pass."""

    act: Callable[["Watched"], None] | None = None
    user_acts = True

    def _user(self) -> None:
        if self.act is not None:
            self.act(self)
        if self.user_acts:
            super()._user()

    def live(self, policy: str = "invoice-fields") -> str | None:
        status = (self.server.get(Kind.POLICY, NAMESPACE, policy) or {}).get("status") or {}
        return (status.get("live") or {}).get("version")

    def wait(self, turns: int = 12) -> None:
        for _ in range(turns):
            self.settle()
            self.server.advance(10)

    def ask(self, manifest: Object) -> Object:
        """Apply a promotion, deleting one of its name before, and return its status."""
        name = manifest["metadata"]["name"]
        if self.server.get(Kind.PROMOTION, NAMESPACE, name):
            self.server.delete(USER, Kind.PROMOTION, NAMESPACE, name)
        self.server.create(USER, Kind.PROMOTION, NAMESPACE, manifest)
        self.wait()
        return dict(self.get(Kind.PROMOTION, name)["status"])

    def copy(self, name: str, **evidence: Any) -> None:
        """Make a version by hand: ft_v1.1 with other bytes, and with this said in its evidence."""
        made = copied(self.get(Kind.MODEL_VERSION, "invoice-fields-ft-v1.1"))
        made["metadata"] = {"name": f"invoice-fields-{name.replace('_', '-')}"}
        made.pop("status", None)
        made["spec"]["version"] = name
        made["spec"]["artifact"]["sha256"] = digest(name)
        made["spec"]["evidence"] |= evidence
        self.server.create("admin", Kind.MODEL_VERSION, NAMESPACE, made)

    def rename(self, version: Object, name: str) -> Object:
        """Make a version by hand: the same bytes under another name, in a record that says nothing of a review."""
        made = copied(version)
        made["metadata"] = {"name": f"invoice-fields-{name.replace('_', '-')}"}
        made["spec"]["version"] = name
        made["spec"]["evidence"].pop("decision", None)
        made.pop("status", None)
        return self.server.create("admin", Kind.MODEL_VERSION, NAMESPACE, made)

    def forget(self) -> None:
        """Make the policy anew: its status is lost, and a promotion says that the base stays live."""
        self.server.delete(USER, Kind.POLICY, NAMESPACE, "invoice-fields")
        anew = next(manifest for kind, manifest in stage() if kind is Kind.POLICY)
        self.server.create(USER, Kind.POLICY, NAMESPACE, anew)
        self.wait()
        keep = promotion("keep", "base_v1", **{"from": "base_v1", "releaseHold": True})
        assert self.ask(keep)["phase"] == "Succeeded"

    def remembered(self) -> list[tuple[str, str, str]]:
        """Return what the policy knows that people rejected: by whom, as which version, of which run."""
        status = self.get(Kind.POLICY, "invoice-fields")["status"]
        return [(no["by"], no["version"], no["run"]) for no in status.get("rejected", [])]

    def approved(self, name: str, version: str) -> Object:
        """Ask for what a person rejected, with the approval of somebody else."""
        digest = self.get(Kind.MODEL_VERSION, f"invoice-fields-{version.replace('_', '-')}")["spec"]["evidence"][
            "digest"
        ]
        approval = {"by": "bo", "evidence": digest}
        despite = {"checks": ["Quarantined", "TakenBack"], "reason": "all the same"}
        return self.ask(promotion(name, version, **{"from": "base_v1", "approval": approval, "despite": despite}))


def rejected(world: Watched | None = None) -> Watched:
    """Return a world in which ann rejected the run's candidate in review."""
    world = world or Watched(REVIEW)

    def reject() -> None:
        item = world.get(Kind.RUN, "first")
        if item["status"].get("phase") == "InReview" and "review" not in item["spec"]:
            no = {"decision": "Reject", "evidence": item["status"]["evidence"]["digest"], "by": "ann", "reason": "bad"}
            world.server.update_spec(USER, Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(review=no))

    world._approve = reject  # type: ignore[method-assign]
    world.play()
    return world


def passed() -> Watched:
    world = Watched(PASS)
    world.play()
    assert world.live() == "ft_v1.1"
    return world


@pytest.mark.row("D48")
@pytest.mark.parametrize("gates", [[], [{"name": "regression", "verdict": "Reject", "value": "50", "threshold": "3"}]])
def test_a_version_made_by_hand_with_a_verdict_that_its_gates_do_not_make(gates: list[Object]) -> None:
    world = passed()
    world.copy("ft_v1.99", gates=gates, verdict="Pass", baseline="ft_v1.1", baselineSha256=digest("first"))
    ended = world.ask(promotion("evil", "ft_v1.99", **{"from": "ft_v1.1"}))
    assert ended["phase"] == "Failed"
    assert "cannot go live" in ended["message"]
    assert world.live() == "ft_v1.1"


@pytest.mark.row("D49")
@pytest.mark.parametrize("by", ["gates", "bo"])
def test_what_a_person_rejected_is_approved_by_nobody(by: str) -> None:
    world = rejected()
    version = world.get(Kind.MODEL_VERSION, "invoice-fields-ft-v1.1")
    approval = {"by": by, "evidence": version["spec"]["evidence"]["digest"]}
    world.server.believed = frozenset((USER,))  # the last release's CRD lets `by: gates` through
    ended = world.ask(promotion("over", "ft_v1.1", **{"from": "base_v1", "approval": approval}))
    assert (ended["phase"], world.live()) == ("Failed", "base_v1")
    # The same bytes under another name, in a record that says nothing of that.
    world.rename(version, "ft_v1.8")
    ended = world.ask(promotion("renamed", "ft_v1.8", **{"from": "base_v1", "approval": approval | {"by": "bo"}}))
    assert ended["phase"] == "Failed"
    assert "'ann' rejected it as 'ft_v1.1'" in ended["message"]
    assert violations(world) == []


@pytest.mark.row("D50")
def test_a_baseline_of_other_bytes_under_the_same_name() -> None:
    world = passed()
    world.user_acts = False
    for kind, name in (
        (Kind.POLICY, "invoice-fields"),
        (Kind.DEPLOYMENT, "invoice-detector"),
        (Kind.MODEL_VERSION, "invoice-fields-base-v1"),
        (Kind.RUN, "first"),
    ):
        world.server.delete(USER, kind, NAMESPACE, name)
    for item in world.server.list(Kind.PROMOTION, NAMESPACE):
        world.server.delete(USER, Kind.PROMOTION, NAMESPACE, item["metadata"]["name"])
    world.copy("ft_v1.6")
    world.server.delete(USER, Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-ft-v1.1")
    for kind, manifest in stage():
        if kind is Kind.MODEL_VERSION:
            manifest["spec"]["artifact"]["sha256"] = digest("other bytes")
        if kind is not Kind.POD_TEMPLATE:
            world.server.create(USER, kind, NAMESPACE, manifest)
    world.wait()
    assert world.ask(promotion("b", "base_v1"))["phase"] == "Succeeded"
    ended = world.ask(promotion("f", "ft_v1.6", **{"from": "base_v1"}))
    assert (ended["phase"], world.live()) == ("Failed", "base_v1")


@pytest.mark.row("D51")
def test_what_served_in_staging_only_has_not_served_in_production() -> None:
    world = Watched(PASS)
    for kind, manifest in stage():
        if kind in (Kind.DEPLOYMENT, Kind.POLICY):
            manifest["metadata"]["name"] = "prod"
            if kind is Kind.POLICY:
                manifest["spec"]["deployment"] = "prod"
            world.server.create(USER, kind, NAMESPACE, manifest)
    world.play()

    def ask(name: str, version: str, **more: object) -> Object:
        manifest = promotion(name, version, **more)
        manifest["spec"]["policy"] = "prod"
        return world.ask(manifest)

    assert ask("prod-base", "base_v1")["phase"] == "Succeeded"
    world.copy("ft_v1.5")
    assert ask("p5", "ft_v1.5", **{"from": "base_v1"})["phase"] == "Succeeded"
    assert ask("p1", "ft_v1.1", **{"from": "ft_v1.5"})["phase"] == "Failed", "never measured against ft_v1.5"
    assert (world.live(), world.live("prod")) == ("ft_v1.1", "ft_v1.5")


@pytest.mark.row("D54")
def test_a_release_that_was_filed_before_the_hold_lifts_nothing() -> None:
    world = Watched(FAILED)
    filed: list[str] = []

    def file_early(world: Watched) -> None:
        flight = (world.get(Kind.POLICY, "invoice-fields")["status"].get("inFlight") or {}).get("to") or {}
        if flight.get("version") == "ft_v1.1" and not filed:
            world.copy("ft_v1.7")
            eager = promotion("eager", "ft_v1.7", **{"from": "base_v1", "releaseHold": True})
            world.server.create(USER, Kind.PROMOTION, NAMESPACE, eager)
            filed.append("eager")

    world.act = file_early
    world.play()
    world.wait(40)
    policy = world.get(Kind.POLICY, "invoice-fields")["status"]
    assert (policy["live"]["version"], policy["hold"]["reason"]) == ("base_v1", "RolledBack")
    eager = world.get(Kind.PROMOTION, "eager")["status"]
    assert eager["phase"] == "Pending"
    assert "after this promotion was made" in eager["message"]
    assert world.ask(promotion("now", "ft_v1.7", **{"from": "base_v1", "releaseHold": True}))["phase"] == "Succeeded"


@pytest.mark.row("D56")
def test_a_rollback_file_that_is_applied_again_says_that_it_does_nothing() -> None:
    world = passed()
    back = promotion("back", "base_v1", **{"from": "ft_v1.1"})
    assert world.ask(back)["phase"] == "Succeeded"
    again = promotion(
        "forward", "ft_v1.1", **{"from": "base_v1", "despite": {"checks": ["TakenBack"], "reason": "mended"}}
    )
    assert world.ask(again)["phase"] == "Succeeded"
    ended = world.ask(back)
    assert (ended["phase"], world.live()) == ("Superseded", "ft_v1.1")
    assert "acted before" in ended["message"]
    assert "kubectl create" in ended["message"]
    assert {c["type"]: c["reason"] for c in ended["conditions"]}["Finished"] == "AskedTwice"


@pytest.mark.row("D55")
def test_what_was_only_found_on_the_deployment_is_no_way_back() -> None:
    world = Watched(PASS)
    world.user_acts = False
    junk = {KEY + "model-version": "ft_v1.66", KEY + "artifact-uri": "file:///evil", KEY + "artifact-sha256": "e" * 64}

    def put(item: Object) -> None:
        item["spec"]["template"]["metadata"].setdefault("annotations", {}).update(junk)

    def drop(item: Object) -> None:
        for key in junk:
            item["spec"]["template"]["metadata"]["annotations"].pop(key)

    world.server.update_spec("editor", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", put)
    world.wait(10)
    assert world.live() == "ft_v1.66"
    world.server.update_spec(USER, Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", drop)
    world.wait(3)
    assert served(world.get(Kind.DEPLOYMENT, "invoice-detector")) is None, "nobody puts it back"
    status = world.get(Kind.POLICY, "invoice-fields")["status"]
    assert status.get("lastGood", []) == []


def test_a_review_whose_time_was_cut_short_ends_by_itself_and_nothing_goes_live() -> None:
    """The time for a review is what the policy says now; all that it can do is end the review."""
    world = Watched(replace(REVIEW, approves=False))
    done: list[int] = []

    def shorten(world: Watched) -> None:
        item = world.server.get(Kind.RUN, NAMESPACE, "first")
        if not done and item and (item.get("status") or {}).get("phase") == "InReview":
            edit = {"timeoutSeconds": 1}
            world.server.update_spec(
                USER, Kind.POLICY, NAMESPACE, "invoice-fields", lambda o: o["spec"].update(review=edit)
            )
            done.append(1)
            world.server.advance(2)

    world.act = shorten
    world.play()
    assert world.get(Kind.RUN, "first")["status"]["phase"] == "Expired"
    assert world.live() == "base_v1"


FT = "invoice-fields-ft-v1.1"


@pytest.mark.row("D63")
@pytest.mark.row("D64")
@pytest.mark.parametrize("its_run", ["there", "deleted"])
@pytest.mark.parametrize("name", ["ft_v1.1", "ft_v1.8"])
def test_what_a_person_rejected_stays_so_when_its_version_is_deleted_and_made_again(name: str, its_run: str) -> None:
    world = rejected()
    version = world.get(Kind.MODEL_VERSION, FT)
    assert world.remembered() == [("ann", "ft_v1.1", "first")]
    world.user_acts = False
    world.server.delete("admin", Kind.MODEL_VERSION, NAMESPACE, FT)
    if its_run == "deleted":
        world.server.delete("admin", Kind.RUN, NAMESPACE, "first")
    world.wait(2)
    world.rename(version, name)
    ended = world.approved("evil", name)
    assert (ended["phase"], world.live()) == ("Failed", "base_v1")
    assert "'ann' rejected it" in ended["message"]
    assert world.get(Kind.MODEL_VERSION, f"invoice-fields-{name.replace('_', '-')}")["status"]["phase"] == "Rejected"
    assert violations(world) == []


@pytest.mark.row("V22")
@pytest.mark.row("D63")
def test_a_no_stands_on_every_version_of_the_bytes_and_comes_back_when_the_status_is_lost() -> None:
    """The version that was rejected, and its run, are gone; two others with these bytes are there."""
    world = rejected()
    version = world.get(Kind.MODEL_VERSION, FT)
    world.user_acts = False
    for name in ("ft_v1.7", "ft_v1.8"):
        world.rename(version, name)
    world.wait(2)
    world.server.delete("admin", Kind.MODEL_VERSION, NAMESPACE, FT)
    world.server.delete("admin", Kind.RUN, NAMESPACE, "first")
    world.wait(2)
    world.forget()
    assert world.remembered() == [("ann", "ft_v1.1", "first")]
    for name in ("ft_v1.7", "ft_v1.8"):
        ended = world.approved(f"evil-{name[-1]}", name)
        assert (ended["phase"], world.live()) == ("Failed", "base_v1")
        assert "'ann' rejected it as 'ft_v1.1'" in ended["message"]
    before = len(world.server.log)
    world.wait(3)
    assert world.server.log[before:] == [], "at rest nothing is written"


@pytest.mark.row("D63")
def test_a_run_that_is_there_gives_a_no_back_when_status_and_version_are_lost() -> None:
    world = rejected()
    version = world.get(Kind.MODEL_VERSION, FT)
    world.user_acts = False
    world.server.delete("admin", Kind.MODEL_VERSION, NAMESPACE, FT)
    world.forget()
    assert world.remembered() == [("ann", "ft_v1.1", "first")]
    world.rename(version, "ft_v1.8")
    ended = world.approved("evil", "ft_v1.8")
    assert (ended["phase"], world.live()) == ("Failed", "base_v1")


@pytest.mark.row("R103")
def test_nobody_is_asked_again_for_bytes_that_a_person_rejected_whatever_is_left_of_them() -> None:
    """A record of the same bytes that nobody decided on: a run that asks for the same would ask for a review."""
    world = rejected()
    version = world.get(Kind.MODEL_VERSION, FT)
    world.user_acts = False
    world.server.delete("admin", Kind.MODEL_VERSION, NAMESPACE, FT)
    world.server.delete("admin", Kind.RUN, NAMESPACE, "first")
    world.wait(2)
    world.rename(version, "ft_v1.8")
    world.wait(2)
    again = run("again")
    world.server.create(USER, Kind.RUN, NAMESPACE, again)
    world.wait(40)
    ended = world.get(Kind.RUN, "again")["status"]
    assert (ended["phase"], {c["type"]: c["reason"] for c in ended["conditions"]}["Finished"]) == (
        "Rejected", "JudgedBefore")  # fmt: skip
    assert "rejected by ann as ft_v1.1" in ended["message"]


def second_policy(world: Watched) -> None:
    """Make a second policy of the model, with a Deployment of its own, on which the base goes live."""
    for kind, manifest in stage():
        if kind in (Kind.DEPLOYMENT, Kind.POLICY):
            manifest["metadata"]["name"] = "other"
            if kind is Kind.POLICY:
                manifest["spec"]["deployment"] = "other"
            world.server.create(USER, kind, NAMESPACE, manifest)
    world.wait(2)
    asked = promotion("other-base", "base_v1")
    asked["spec"]["policy"] = "other"
    assert world.ask(asked)["phase"] == "Succeeded"


@pytest.mark.row("D81")
@pytest.mark.parametrize("left", ["policy", "run"])
def test_a_policy_that_is_made_later_knows_what_was_rejected_from_what_is_left(left: str) -> None:
    """The version is gone, and comes back under another name together with a promotion of it."""
    world = rejected()
    version = world.get(Kind.MODEL_VERSION, FT)
    world.user_acts = False
    world.server.delete("admin", Kind.MODEL_VERSION, NAMESPACE, FT)
    gone = (Kind.POLICY, "invoice-fields") if left == "run" else (Kind.RUN, "first")
    world.server.delete("admin", gone[0], NAMESPACE, gone[1])
    world.wait(2)
    second_policy(world)
    world.rename(version, "ft_v1.8")
    evidence = version["spec"]["evidence"]["digest"]
    asked = promotion("evil", "ft_v1.8", **{"from": "base_v1", "approval": {"by": "bo", "evidence": evidence}})
    asked["spec"]["policy"] = "other"
    ended = world.ask(asked)
    assert (ended["phase"], world.live("other")) == ("Failed", "base_v1")
    assert "'ann' rejected it as 'ft_v1.1'" in ended["message"]
