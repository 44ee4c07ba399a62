"""What a hold says: why it stands, since when, and only ways out that lead somewhere."""

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import find
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Hold
from finetune_operator.api.promotion import Approval
from finetune_operator.decide.policy import holds, machine
from finetune_operator.decide.policy.machine import decide
from unit.decide.policy.flight import ASKED, BASE, OTHER, TUNED, VERSIONS, at, flying
from unit.decide.policy.test_flight_returning import returning
from unit.decide.policy.world import NOW, base, deployment, keys, live, policy, promotion, seconds, tuned, view

HOME = deployment(keys(BASE), epoch=3)


def hold_of(of: Policy) -> Hold:
    assert of.status.hold is not None
    return of.status.hold


def held_by(of: Policy, there: object, *versions: object) -> Hold:
    return hold_of(policy(decide(view(of, there, versions=versions or VERSIONS)).status))  # type: ignore[arg-type]


@pytest.mark.row("D6")
def test_what_somebody_else_set_is_said_beside_what_is_on_record() -> None:
    set_by = held_by(policy(live(BASE)), deployment(keys(OTHER), keys_manager="kubectl-edit"))
    assert (set_by.by, set_by.reason) == ("kubectl-edit", "External")
    assert "was set to 'ft_v9.9' by field manager 'kubectl-edit', recorded as live is 'base_v1'" in set_by.message
    assert "to undo that, let go of the keys" in set_by.message
    nothing = policy(replace(live(BASE), live=None, last_good=()))
    written = hold_of(policy(holds.external(view(nothing, None), nothing.status, deployment(keys(OTHER)))[0]))
    assert "was set to 'ft_v9.9' by an unknown writer, recorded as live is nothing" in written.message
    assert "stay with" not in written.message


@pytest.mark.row("D12")
def test_keys_that_were_removed_are_not_to_be_let_go_of() -> None:
    removed = hold_of(policy(decide(at(20, flying(), deployment(epoch=2))).status))
    assert (removed.by, removed.reason) == ("unknown", "External")
    assert "lost the operator's keys by an unknown writer, recorded as live is 'base_v1'" in removed.message
    assert "let go of the keys" not in removed.message
    assert "to keep" not in removed.message


@pytest.mark.row("D12")
def test_what_is_quarantined_by_the_same_look_is_not_offered_to_be_kept() -> None:
    """Its keys were put back by somebody while the way back from it was under way."""
    theirs = deployment(keys(TUNED), epoch=3, keys_manager="kubectl")
    decision = decide(at(110, returning(), theirs))
    assert [entry.version for entry in decision.status.quarantined] == ["ft_v1.1"]
    held = hold_of(policy(decision.status))
    assert held.reason == "External"
    assert "to keep '" not in held.message


@pytest.mark.row("D35")
@pytest.mark.parametrize(
    ("version", "kept"),
    [
        (tuned(), True),
        (tuned(verdict="Reject"), False),
        (tuned(verdict="Review"), False),
        (base("base_v2"), False),
    ],
    ids=["passed", "rejected", "in review", "a base beside a live one"],
)
def test_only_what_would_not_be_refused_is_offered_to_be_kept(version: object, kept: bool) -> None:
    there = deployment(keys(version), epoch=2, keys_manager="kubectl")  # type: ignore[arg-type]
    said = held_by(policy(live(BASE)), there, BASE, version).message
    assert ("to keep '" in said) is kept
    assert (said.count('"releaseHold":true')) == 1 + kept, "each way lifts the hold"


@pytest.mark.row("D18")
def test_what_was_rolled_back_says_how_to_try_again_or_why_not() -> None:
    again = hold_of(policy(decide(at(130, returning(why="RolloutTimedOut"), HOME)).status))
    assert "to try 'ft_v1.1' again once that is mended, and lift the hold: " in again.message
    assert again.since == NOW + seconds(100), "it is there since the way back began"
    blamed = hold_of(policy(decide(at(130, returning(), HOME)).status)).message
    assert "'ft_v1.1' is quarantined; to make it live all the same, which lifts that and the hold: " in blamed
    assert '"despite":{"checks":["Quarantined"]' in blamed
    refused = decide(view(returning(), HOME, ASKED, versions=(BASE, tuned(verdict="Reject")), now=NOW + seconds(130)))
    said = hold_of(policy(refused.status)).message
    assert "it cannot be tried again as it is: 'ft_v1.1' cannot go live: its verdict is Reject" in said
    assert "to lift the hold and stay with 'base_v1': " in said


@pytest.mark.row("D18")
def test_what_was_approved_is_tried_again_with_that_approval() -> None:
    reviewed = tuned(verdict="Review")
    assert reviewed.spec.evidence is not None
    approval = Approval(by="ann", evidence=reviewed.spec.evidence.digest)
    asked = promotion("ft_v1.1", "base_v1", approval=approval)
    of = returning(why="RolloutTimedOut", promotion_uid=asked.metadata.uid)
    other = promotion("ft_v1.1", "base_v1", name="other", approval=Approval(by="bo", evidence=approval.evidence))
    for promotions, said in (((other, asked), True), ((other,), False), ((), False)):
        seen = view(of, HOME, *promotions, versions=(BASE, reviewed), now=NOW + seconds(130))
        message = hold_of(policy(decide(seen).status)).message
        assert (f'"approval":{{"by":"ann","evidence":"{approval.evidence}"}}' in message) is said
        assert ("it cannot be tried again as it is" in message) is not said


@pytest.mark.row("D20")
def test_a_refused_release_of_the_keys_proposes_nothing_to_go_live() -> None:
    first = view(returning(first=True), deployment(keys(TUNED), epoch=2), ASKED, versions=VERSIONS)
    held = hold_of(policy(machine.refused(first, "helm", "conflict").status)).message
    assert "kubectl create" not in held
    assert "let go of them" in held


@pytest.mark.row("D18")
def test_a_hold_that_stands_already_keeps_its_time() -> None:
    first = decide(at(130, returning(), HOME)).status
    earlier = replace(hold_of(policy(first)), since=NOW - seconds(500))
    again = policy(replace(first, in_flight=returning().status.in_flight, hold=earlier))
    assert hold_of(policy(decide(at(140, again, HOME)).status)) == earlier


@pytest.mark.row("D20")
@pytest.mark.parametrize(
    ("of", "there", "says"),
    [
        (flying(), deployment(keys(BASE)), "to make 'ft_v1.1' live once they are let go of, and lift the hold: "),
        (returning(), deployment(keys(TUNED), epoch=2), "to lift the hold and stay with 'base_v1': "),
        (policy(live(BASE)), deployment(), "to lift the hold and stay with 'base_v1': "),
    ],
    ids=["on the way there", "on the way back", "at rest"],
)
def test_a_refused_apply_says_what_goes_live_once_the_keys_are_let_go_of(of: Policy, there: object, says: str) -> None:
    decision = machine.refused(view(of, there, ASKED, versions=VERSIONS), "argocd-controller", "conflict")  # type: ignore[arg-type]
    held = hold_of(policy(decision.status))
    assert (held.by, held.reason) == ("argocd-controller", "FieldOwned")
    assert says in held.message
    assert "take the keys out of that manifest and let go of them" in held.message


@pytest.mark.row("D35")
def test_only_a_hold_of_foreign_keys_is_said_to_be_undone_and_once() -> None:
    external = policy(replace(live(BASE), hold=Hold(by="x", reason="External", message="it was set; to y", since=NOW)))
    once = holds.undone(view(external, HOME), external.status, HOME)
    assert hold_of(policy(once)).message.startswith("it was set; since then they are as recorded again; to lift")
    assert holds.undone(view(policy(once), HOME), once, HOME) == once
    other = policy(replace(live(BASE), hold=Hold(by="x", reason="RolledBack", message="m; to y", since=NOW)))
    assert holds.undone(view(other, HOME), other.status, HOME) == other.status


@pytest.mark.row("D20")
@pytest.mark.parametrize(
    ("reason", "by", "manager", "kept"),
    [
        ("FieldOwned", "helm", "helm", True),
        ("FieldOwned", "helm", "kubectl", False),
        ("External", "helm", "helm", False),
        (None, "", "helm", False),
    ],
)
def test_the_hold_of_a_refused_apply_stays_while_that_manager_owns_the_keys(
    reason: str | None, by: str, manager: str, kept: bool
) -> None:
    hold = None if reason is None else Hold(by=by, reason=reason, message="m", since=NOW)
    status = replace(live(BASE), hold=hold)
    assert holds.is_kept(status, deployment(keys(OTHER), keys_manager=manager)) is kept


@pytest.mark.row("D276")
@pytest.mark.parametrize(
    ("manager", "after", "over"),
    [("finetune-operator", 60, True), ("finetune-operator", 59, False), ("argocd", 60, False), (None, 60, False)],
)
def test_a_refused_apply_is_over_once_the_operator_alone_owns_the_keys(
    manager: str | None, after: int, over: bool
) -> None:
    """Else it offers for good to let go of keys that were let go of, which is a rollout each time."""
    asked = policy(live(BASE))
    refused = policy(machine.refused(view(asked, deployment(), versions=VERSIONS), "argocd", "conflict").status)
    there = deployment(keys(BASE), epoch=3, keys_manager=manager)
    later = policy(decide(view(refused, there, versions=VERSIONS, now=NOW + seconds(after))).status)
    held, before = hold_of(later), hold_of(refused)
    assert ("let go of them" in held.message) is not over
    assert find(later.status.conditions, "TargetReady").reason == ("DeploymentReady" if over else "FieldOwned")  # type: ignore[union-attr]
    assert (held.since, held.newest_promotion) == (before.since, before.newest_promotion)
    if over:
        assert held.message.startswith("field manager 'argocd' owns a field")
        assert "; since then they are as recorded again; to lift the hold and stay with 'base_v1': " in held.message
