"""Every message that promises a way out carries its command whole: for this namespace, and as the CRD takes it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Hold, PolicyStatus, Quarantined
from finetune_operator.api.promotion import Approval
from finetune_operator.decide import limits
from finetune_operator.decide.decision import Decision, Emit
from finetune_operator.decide.policy import machine
from finetune_operator.decide.policy.conditions import serving
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.promotion.view import PromotionView
from finetune_operator.decide.views import DeploymentView, Fault, ServedKeys
from house.crds import crds
from unit.decide.policy.flight import ASKED, BASE, COMPLETE, TUNED, VERSIONS, flying, served, watching
from unit.decide.policy.pair import condition
from unit.decide.policy.world import (
    NOW,
    World,
    applied,
    deployment,
    keys,
    live,
    mirrored,
    policy,
    promotion,
    running,
    seconds,
    tuned,
    view,
)

UNDONE = deployment(keys(BASE), epoch=2, keys_manager="kubectl-rollout")
HELD = Hold(by="finetune-operator", reason="RolledBack", message="x", since=NOW)
SICK = Quarantined(version="ft_v1.1", sha256=TUNED.spec.artifact.sha256, reason="Unhealthy", since=NOW)
CRASHED = Fault("Ended", "container 'server' of pod 'a' ended with exit code 1", NOW)

MANIFEST = re.compile(r"echo '(\{[^']*\})' \| kubectl create -f -")
LETTING_GO = re.compile(r"kubectl patch deployment (\S+) -n (\S+) --type=merge -p '(\{[^']*\})'")


def texts(decision: Decision[PolicyStatus]) -> Iterator[str]:
    """Everything that a decision says to people."""
    status = decision.status
    yield from (c.message for c in status.conditions)
    yield from (entry.message for entry in status.consumed)
    yield from (action.message for action in decision.actions if isinstance(action, Emit))
    if status.hold is not None:
        yield status.hold.message


def asked_for(text: str) -> list[dict[str, Any]]:
    """The specs of the promotions that a text proposes."""
    return [json.loads(one)["spec"] for one in MANIFEST.findall(text)]


def check(text: str) -> None:
    """What a text promises stands in it, complete."""
    assert text.count("kubectl create -f -") == len(MANIFEST.findall(text)), text
    assert text.count("kubectl patch deployment") == len(LETTING_GO.findall(text)), text
    assert len(text) <= limits.HOLD_MESSAGE
    schema = jsonschema.Draft202012Validator(crds()["ModelPromotion"].schema)
    for one in MANIFEST.findall(text):
        manifest = json.loads(one)
        assert [str(error) for error in schema.iter_errors(manifest)] == []
        assert manifest["metadata"]["namespace"] == "ml"
        spec = manifest["spec"]
        assert spec["version"] != spec.get("from") or spec["releaseHold"], "the CRD's rule"
    for _, namespace, patch in LETTING_GO.findall(text):
        assert namespace == "ml"
        assert set(json.loads(patch)["spec"]["template"]["metadata"]["annotations"].values()) == {None}
    promised = re.search(r"let go|letting go|releaseHold: true|at once|all the same|lift the hold", text)
    assert promised is None or "kubectl" in text, f"a promise without its command: {text}"


def landed_back(why: str, fault: Fault | None = None) -> Decision[PolicyStatus]:
    there = served(deadline_exceeded=True, fault=fault)
    back = decide(view(flying(), there, ASKED, versions=VERSIONS, now=NOW + seconds(100)))
    home = deployment(keys(BASE), epoch=3, generation=7, observed_generation=7)
    return decide(view(policy(back.status), home, ASKED, versions=VERSIONS, now=NOW + seconds(130)))


STUCK = flying("Returning", why="RolloutFailed", epoch=3, generation=6, deadline=NOW + seconds(300))


def lost_twice() -> Decision[PolicyStatus]:
    status = replace(live(BASE), reasserted_at=(NOW, NOW))
    return decide(view(policy(status), deployment(epoch=1)))


def at_rest(of: Policy, there: DeploymentView) -> Decision[PolicyStatus]:
    return decide(view(of, there, versions=VERSIONS))


SAYS: dict[str, tuple[Decision[PolicyStatus], list[tuple[str, str]]]] = {
    "after rollout undo": (
        at_rest(policy(live(TUNED, 2, BASE)), UNDONE),
        [("base_v1", "ft_v1.1"), ("ft_v1.1", "ft_v1.1")],
    ),
    "after an edit of one key": (
        at_rest(policy(live(BASE)), deployment(ServedKeys("base_v1", "s3://x", "0"), keys_manager="kubectl-edit")),
        [("base_v1", "base_v1")],
    ),
    "keys of nobody while nothing is live": (at_rest(policy(PolicyStatus(epoch=4)), UNDONE), [("base_v1", "")]),
    "undone in mid-flight": (
        decide(view(flying(), UNDONE, ASKED, versions=VERSIONS, now=NOW + seconds(20))),
        [("base_v1", "base_v1")],
    ),
    "adopted": (at_rest(policy(), deployment(keys(BASE), epoch=7)), [("base_v1", "base_v1")]),
    "keys that vanish": (lost_twice(), [("base_v1", "base_v1")]),
    "a conflict in a flight": (
        machine.refused(view(flying(), deployment(keys(BASE))), "argocd-controller", "conflict"),
        [("ft_v1.1", "base_v1")],
    ),
    "a conflict on the way back": (
        machine.refused(view(STUCK, served()), "argocd-controller", "conflict"),
        [("base_v1", "base_v1")],
    ),
    "a conflict at rest": (
        machine.refused(view(policy(live(BASE)), deployment()), "argocd-controller", "conflict"),
        [("base_v1", "base_v1")],
    ),
    "rolled back, blamed": (
        landed_back("RolloutFailed", CRASHED),
        [("ft_v1.1", "base_v1"), ("base_v1", "base_v1")],
    ),
    "rolled back, for its surroundings": (
        landed_back("RolloutTimedOut"),
        [("ft_v1.1", "base_v1"), ("base_v1", "base_v1")],
    ),
    "in flight": (decide(view(watching(), served(**COMPLETE), ASKED)), [("base_v1", "ft_v1.1")]),
    "stuck on the way back": (
        decide(
            view(
                STUCK,
                deployment(keys(BASE), epoch=3, available=0, progress_deadline_seconds=70),
                now=NOW + seconds(301),
            )
        ),
        [("base_v1", "base_v1")],
    ),
}


@pytest.mark.row("D35")
@pytest.mark.parametrize("case", SAYS)
def test_each_way_out_of_a_hold_or_a_flight_is_said_whole(case: str) -> None:
    decision, ways = SAYS[case]
    said = list(texts(decision))
    for text in said:
        check(text)
    proposed = {(spec["version"], spec.get("from", "")) for text in said for spec in asked_for(text)}
    assert proposed == set(ways)


@pytest.mark.row("D35")
def test_events_carry_every_command_whole_though_a_note_is_short() -> None:
    namesake = "n" * 240
    of = policy(live(TUNED, 2, BASE), deployment=namesake)
    there = deployment(keys(BASE), epoch=2, keys_manager="kubectl-rollout", name=namesake)
    decision = decide(view(of, there, versions=VERSIONS))
    notes = [action.message for action in decision.actions if isinstance(action, Emit)]
    assert decision.status.hold is not None
    for text in (*notes, decision.status.hold.message, condition(decision, "InSync").message):
        check(text)
    assert all(len(text) <= limits.EVENT for text in notes)
    assert len(LETTING_GO.findall(" ".join(notes))) == 1
    assert len(MANIFEST.findall(" ".join(notes))) == 2


@pytest.mark.row("D35")
@pytest.mark.parametrize(
    ("status", "served_version"),
    [(replace(live(BASE), quarantined=(SICK,)), TUNED), (live(BASE), tuned(verdict="Reject"))],
    ids=["quarantined", "rejected"],
)
def test_what_would_be_refused_is_not_proposed_to_be_kept(status: PolicyStatus, served_version: ModelVersion) -> None:
    there = deployment(keys(served_version), epoch=2, keys_manager="kubectl")
    hold = decide(view(policy(status), there, versions=(BASE, served_version))).status.hold
    assert hold is not None
    assert [spec["version"] for spec in asked_for(hold.message)] == ["base_v1"]


WAITS: dict[str, tuple[PolicyStatus, DeploymentView, dict[str, Any]]] = {
    "held": (replace(live(BASE), hold=HELD), deployment(keys(BASE)), {}),
    "quarantined": (replace(live(BASE), quarantined=(SICK,)), deployment(keys(BASE)), {}),
    "not settled": (live(BASE), deployment(keys(BASE), available=1), {}),
    "not settled, approved by O'Neil": (
        live(BASE),
        deployment(keys(BASE), available=1),
        {"approval": Approval(by="O'Neil", evidence="sha256:" + "0" * 64)},
    ),
    "from something else": (live(BASE), deployment(keys(BASE)), {"came_from": "ft_v1.0"}),
    "foreign keys": (live(BASE), deployment(keys(BASE), keys_manager="argocd-controller"), {}),
    "in flight": (watching().status, served(**COMPLETE), {}),
}


@pytest.mark.parametrize("case", WAITS)
def test_a_promotion_that_waits_or_is_refused_says_whole_how_to_go_on(case: str) -> None:
    status, there, changes = WAITS[case]
    asked = promotion("ft_v1.1", **({"came_from": "base_v1"} | changes))
    # A look of the policy first, so that its conditions and what it consumed are there.
    seen = decide(view(policy(status), there, asked, versions=VERSIONS, now=NOW + seconds(30))).status
    shown = mirrored(PromotionView(asked, NOW, policy(seen), there, VERSIONS))
    assert "kubectl" in shown.message
    check(shown.message)
    for one in shown.conditions:
        check(one.message)


@pytest.mark.row("D39")
@pytest.mark.parametrize("reason", ["NotRolledOut", "Recalled"])
def test_the_command_of_a_promotion_that_waits_for_what_is_live_acts_as_it_says(reason: str) -> None:
    """Nothing is known to be live, so a promotion from something that lifts the hold would be refused."""
    there = deployment(keys(TUNED), available=0) if reason == "NotRolledOut" else deployment()
    held = PolicyStatus(hold=replace(HELD, reason=reason), last_good=live(BASE).last_good)
    shown = mirrored(PromotionView(ASKED, NOW, policy(held), there, VERSIONS))
    (spec,) = asked_for(shown.message)
    wanted = promotion(spec["version"], spec.get("from"), name="by-hand", release_hold=spec["releaseHold"])
    decision = decide(view(policy(held), there, wanted, versions=VERSIONS))
    flight = decision.status.in_flight
    assert flight is not None, [entry.message for entry in decision.status.consumed]
    assert (flight.promotion, flight.to.version) == ("by-hand", "ft_v1.1")


@pytest.mark.row("V7")
class TestWithoutTheObjectOfWhatIsLive:
    RELEASE = promotion("ft_v1.1", "ft_v1.1", name="stay", release_hold=True)

    def test_the_hold_is_lifted_and_live_stays_live(self) -> None:
        status = replace(live(TUNED, 2, BASE), hold=HELD)
        decision = decide(view(policy(status), deployment(keys(TUNED), epoch=2), self.RELEASE, versions=(BASE,)))
        assert decision.status.hold is None
        assert [(c.outcome, c.reason) for c in decision.status.consumed] == [("Succeeded", "AlreadyLive")]
        assert applied(decision) is None

    def test_what_was_only_found_waits_for_its_object(self) -> None:
        """A restore may bring versions after their policy, and their records speak for or against them."""
        status = replace(live(TUNED, 2), last_good=(), hold=replace(HELD, reason="Adopted"))
        decision = decide(view(policy(status), deployment(keys(TUNED), epoch=2), self.RELEASE, versions=(BASE,)))
        assert decision.status.hold is not None
        assert decision.status.consumed == ()


@pytest.mark.row("D35")
class TestAfterUndo:
    def undone(self) -> World:
        world = running(BASE, TUNED)
        world.ask(ASKED)
        world.run(150)
        assert world.target is not None
        world.target.write(keys(BASE), 1, "kubectl-rollout")
        world.run(20)
        return world

    def test_release_waits_with_the_command_instead_of_failing_again_and_again(self) -> None:
        world = self.undone()
        for number in range(3):
            world.ask(promotion("ft_v1.1", "ft_v1.1", name=f"release-{number}", release_hold=True))
            world.run(60)
            one = world.promotions[f"release-{number}"]
            assert one.status.phase == "Pending"
            assert "kubectl patch deployment invoice-detector -n ml" in one.status.message
        assert world.policy.status.hold is not None
        assert world.policy.status.hold.reason == "External"
        assert len(world.commits) == 1

    def test_accepting_what_is_there_ends_it(self) -> None:
        world = self.undone()
        world.ask(promotion("ft_v1.1", "ft_v1.1", name="release", release_hold=True))
        world.run(10)
        world.ask(promotion("base_v1", "ft_v1.1", name="accept", release_hold=True))
        world.run(150)
        assert (world.phase("accept"), world.phase("release")) == ("Succeeded", "Failed"), "what it names is taken back"
        assert world.policy.status.hold is None
        assert world.policy.status.serving == "base_v1"

    def test_what_was_let_go_of_is_no_longer_proposed_to_be_kept(self) -> None:
        """A promotion of it would not keep what is there, but flip to it."""
        world = self.undone()
        assert world.target is not None
        world.target.write(ServedKeys(), None, "kubectl-patch")
        world.run(60)
        assert world.target.keys == keys(TUNED)
        hold = world.policy.status.hold
        assert hold is not None
        assert (hold.reason, hold.by) == ("External", "kubectl-rollout")
        assert "since then they are as recorded again" in hold.message
        assert [(spec["version"], spec["from"]) for spec in asked_for(hold.message)] == [("ft_v1.1", "ft_v1.1")]
        writes = world.status_writes
        world.run(60)
        assert world.status_writes == writes, "said once"

    def test_letting_go_puts_the_recorded_one_back_and_the_release_ends(self) -> None:
        world = self.undone()
        world.ask(promotion("ft_v1.1", "ft_v1.1", name="release", release_hold=True))
        world.run(30)
        assert world.target is not None
        world.target.write(ServedKeys(), None, "kubectl-patch")
        world.run(200)
        assert world.target.keys == keys(TUNED)
        assert world.phase("release") == "Succeeded"
        assert world.policy.status.hold is None


@pytest.mark.row("D34")
@pytest.mark.parametrize("approver", ["alice@example.org", "a" * 256, "\u0410" * 200], ids=["short", "long", "wide"])
def test_the_longest_evidence_and_approval_cut_no_command_of_a_refusal(approver: str) -> None:
    asked_twice = tuned("ft_v1.1", "Review")
    assert asked_twice.spec.evidence is not None
    evidence = "container 'server' of pod 'invoice-detector-76b5c86678-tf874' ended with exit code 139: " + "x" * 150
    sick = replace(SICK, evidence=evidence)
    status = replace(live(BASE), quarantined=(sick,), hold=HELD)
    approval = Approval(by=approver, evidence=asked_twice.spec.evidence.digest)
    again = promotion("ft_v1.1", "base_v1", approval=approval, release_hold=True)
    decision = decide(view(policy(status), deployment(keys(BASE)), again, versions=(BASE, asked_twice)))
    said = decision.status.consumed[-1].message
    check(said)
    assert [spec["approval"]["by"] for spec in asked_for(said)] == [approver]
    for emit in (action for action in decision.actions if isinstance(action, Emit)):
        check(emit.message)
        assert len(emit.message.encode()) <= limits.EVENT
        assert asked_for(emit.message), "an Event that cannot have it whole says the cause in fewer words"


@pytest.mark.row("D36")
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (PolicyStatus(), ""),
        (live(BASE), "base_v1"),
        (flying().status, "ft_v1.1 (flipping)"),
        (watching().status, "ft_v1.1 (watching)"),
        (flying("Returning", why="Unhealthy", epoch=3).status, "base_v1 (returning)"),
        (flying("Returning", first=True, why="Unhealthy", epoch=3).status, "nothing (returning)"),
    ],
)
def test_what_is_served_is_said_in_one_word(status: PolicyStatus, expected: str) -> None:
    assert serving(status) == expected


@pytest.mark.row("D36")
def test_and_every_decision_writes_it() -> None:
    assert decide(view(flying(), served(), versions=VERSIONS)).status.serving == "ft_v1.1 (flipping)"
