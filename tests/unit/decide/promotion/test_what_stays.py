"""What is live and stays live: which promotion only lifts the hold, and what may be put back by us."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy_status import Hold, PolicyStatus, Quarantined, TakenBack
from finetune_operator.decide.promotion.checks import judge
from finetune_operator.decide.promotion.eligibility import is_proven
from finetune_operator.decide.promotion.proposal import Clear, Proposal, Refuse, Wait
from finetune_operator.decide.views import DeploymentView
from unit.decide.policy.world import NOW, base, deployment, keys, live, live_version, policy, promotion, seconds, tuned

BASE, TUNED = base(), tuned()
HOLD = Hold(by="finetune-operator", reason="RolledBack", message="x", since=NOW)
SHA = TUNED.spec.artifact.sha256
SICK = Quarantined(version="ft_v1.1", sha256=SHA, reason="Unhealthy", since=NOW)
TAKEN = TakenBack(version="ft_v1.1", sha256=SHA, by="back", reason="wrong totals", since=NOW)
STAY = promotion("ft_v1.1", "ft_v1.1", name="stay", release_hold=True)
HELD = replace(live(TUNED, 2, BASE), hold=HOLD)
THERE = deployment(keys(TUNED), epoch=2)
NOBODYS = tuned("ft_v9.9", artifact=replace(TUNED.spec.artifact, sha256="f" * 64))


def judged(asked: Any = STAY, status: PolicyStatus = HELD, there: DeploymentView | None = THERE) -> tuple[str, str]:
    """What becomes of a promotion while no object of what is live is there."""
    finding = judge(Proposal(asked, policy(status), (BASE,), there))
    if isinstance(finding, Clear):
        return "Clear", ""
    return (finding.outcome if isinstance(finding, Refuse) else "Wait"), finding.reason


@pytest.mark.row("V7")
def test_the_word_to_stay_with_what_is_live_needs_no_object_of_it() -> None:
    assert judged() == ("Succeeded", "AlreadyLive")


@pytest.mark.row("V7")
def test_also_where_the_same_bytes_were_good_under_another_name() -> None:
    renamed = live_version(tuned("ft_v1.0", artifact=TUNED.spec.artifact))
    assert judged(status=replace(HELD, last_good=(renamed,))) == ("Succeeded", "AlreadyLive")


@pytest.mark.row("V7")
@pytest.mark.parametrize(
    "asked",
    [
        promotion("ft_v9.9", "ft_v1.1", name="stay", release_hold=True),
        promotion("ft_v9.9", "ft_v9.9", name="stay", release_hold=True),
    ],
    ids=["of another version", "from another version"],
)
def test_a_version_that_is_not_what_is_live_is_not_live_already(asked: Any) -> None:
    assert judged(asked) == ("Wait", "VersionNotFound")


@pytest.mark.row("V7")
@pytest.mark.parametrize(
    ("status", "there"),
    [
        (replace(HELD, live=None), THERE),
        (HELD, deployment(keys(BASE))),
        (replace(HELD, last_good=()), THERE),
        (replace(HELD, quarantined=(SICK,)), THERE),
        (replace(HELD, taken_back=(TAKEN,)), THERE),
    ],
    ids=["nothing is live", "another one is served", "only found", "it failed here", "taken back"],
)
def test_it_stays_only_where_it_serves_and_nothing_speaks_against_it(
    status: PolicyStatus, there: DeploymentView | None
) -> None:
    assert judged(status=status, there=there)[1] != "AlreadyLive"


ANEW = replace(BASE, spec=replace(BASE.spec, artifact=replace(BASE.spec.artifact, sha256="e" * 64)))
"""Somebody deleted the base that serves, or served, and imported it anew under its name: no export is like another."""


@pytest.mark.row("D233")
def test_a_base_that_is_imported_anew_under_its_name_keeps_nobody_from_staying_with_the_one_that_serves() -> None:
    stay = promotion("base_v1", "base_v1", name="stay", release_hold=True)
    held, there = replace(live(BASE), hold=HOLD), deployment(keys(BASE))
    assert judged_now(stay, held, there, ANEW) == ("AlreadyLive", "'base_v1' is what is live")
    gone = deployment()
    finding = judge(Proposal(stay, policy(held), (ANEW,), gone))
    assert isinstance(finding, Clear)
    assert finding.version.spec.artifact == BASE.spec.artifact, "what served is put there, not what has its name"


@pytest.mark.row("D233")
def test_nor_from_going_back_to_the_one_that_served() -> None:
    back = promotion("base_v1", "ft_v1.1")
    finding = judge(Proposal(back, policy(live(TUNED, 2, BASE)), (ANEW, TUNED), THERE))
    assert isinstance(finding, Clear)
    assert finding.version.spec.artifact == BASE.spec.artifact
    sick = replace(SICK, version="base_v1", sha256=BASE.spec.artifact.sha256)
    failed = replace(live(TUNED, 2, BASE), quarantined=(sick,))
    assert judged_now(back, failed, THERE, ANEW, TUNED)[0] == "Quarantined", "what is known against it counts"


@pytest.mark.row("D233")
def test_one_that_was_adopted_is_stayed_with_where_it_serves_and_never_put_there() -> None:
    stay = promotion("base_v1", "base_v1", name="stay", release_hold=True)
    adopted = replace(live(BASE), last_good=(), hold=replace(HOLD, reason="Adopted"))
    assert judged_now(stay, adopted, deployment(keys(BASE)), ANEW)[0] == "AlreadyLive"
    there = deployment(epoch=2)
    finding = judge(Proposal(stay, policy(adopted), (ANEW,), there))
    assert isinstance(finding, Clear)
    assert finding.version is ANEW, "nothing serves, and what was measured may (D234)"
    early = promotion("base_v1", "base_v1", name="stay", release_hold=True, age=1)
    assert judged_now(early, adopted, deployment(keys(BASE)), ANEW)[0] == "Held", "it was made before the hold"


@pytest.mark.row("D233")
@pytest.mark.parametrize(
    ("status", "version", "meant"),
    [
        (replace(live(BASE), live=None), ANEW, "Clear"),
        (live(TUNED, 2), ANEW, "NotEligible"),
        (live(TUNED, 2, ANEW, BASE), ANEW, "Clear"),
    ],
    ids=["nothing is live", "none served under that name", "both served"],
)
def test_else_the_object_of_that_name_is_meant(status: PolicyStatus, version: Any, meant: str) -> None:
    came_from = None if status.live is None else status.live.version
    asked = promotion("base_v1", came_from, release_hold=True)
    there = deployment() if status.live is None else THERE
    finding = judge(Proposal(asked, policy(status), (version, TUNED), there))
    assert ("Clear" if isinstance(finding, Clear) else finding.reason) == meant
    if isinstance(finding, Clear):
        assert finding.version is version


@pytest.mark.row("D234")
@pytest.mark.parametrize(
    ("changes", "there", "meant"),
    [
        ({}, deployment(epoch=2), "Clear"),
        ({"quarantined": (SICK,)}, deployment(epoch=2), "Clear"),
        ({}, THERE, "NotEligible"),
        ({}, deployment(keys(NOBODYS), epoch=2), "NotEligible"),
        ({"last_good": (live_version(TUNED),)}, deployment(epoch=2), "NotEligible"),
    ],
    ids=["nothing serves", "what failed is not put back", "it serves", "something else serves", "it is put back"],
)
def test_a_base_goes_live_where_nothing_serves_and_nothing_is_put_back(
    changes: dict[str, Any], there: DeploymentView, meant: str
) -> None:
    """What was found on the Deployment has no record, and its keys are gone: no command had anything served."""
    adopted = replace(live(TUNED), **{"last_good": (), **changes})
    asked = promotion("base_v1", "ft_v1.1", release_hold=True)
    finding = judge(Proposal(asked, policy(adopted), (BASE,), there))
    assert ("Clear" if isinstance(finding, Clear) else finding.reason) == meant
    unmeasured = judge(Proposal(asked, policy(adopted), (base(verified="False"),), there))
    assert not isinstance(unmeasured, Clear)


@pytest.mark.row("D54")
@pytest.mark.parametrize("versions", [(BASE,), (BASE, TUNED)], ids=["without its object", "with its object"])
def test_a_word_of_before_the_hold_does_not_end_as_if_it_had_lifted_it(versions: Any) -> None:
    early = promotion("ft_v1.1", "ft_v1.1", name="stay", release_hold=True, age=1)
    finding = judge(Proposal(early, policy(HELD), versions, THERE))
    assert isinstance(finding, Wait)
    assert finding.reason == "Held"
    just = promotion("ft_v1.1", "ft_v1.1", name="stay", release_hold=True, age=0)
    assert judge(Proposal(just, policy(HELD), versions, THERE)) == Refuse(
        "Succeeded", "AlreadyLive", "'ft_v1.1' is what is live"
    )


@pytest.mark.row("D53")
@pytest.mark.parametrize("against", [{"quarantined": (SICK,)}, {"taken_back": (TAKEN,)}], ids=["failed", "taken back"])
@pytest.mark.parametrize("good", [True, False])
def test_what_failed_or_was_taken_back_is_not_put_back_though_it_passed_a_watch(
    against: dict[str, Any], good: bool
) -> None:
    status = live(TUNED) if good else replace(live(TUNED), last_good=())
    assert is_proven(policy(status), (BASE, TUNED))
    assert not is_proven(policy(replace(status, **against)), (BASE, TUNED))
    assert not is_proven(policy(replace(status, live=None)), (BASE, TUNED))


@pytest.mark.row("D53")
@pytest.mark.parametrize("verified", ["Unknown", "False", None])
def test_a_base_that_was_only_found_is_put_back_only_once_it_is_verified(verified: Any) -> None:
    adopted = policy(replace(live(BASE), last_good=()))
    assert is_proven(adopted, (BASE,))
    assert not is_proven(adopted, (base(verified=verified),))
    assert is_proven(policy(live(BASE)), (base(verified=verified),)), "it passed a watch here"


@pytest.mark.row("D54")
def test_the_moment_of_a_hold_counts_to_the_second() -> None:
    later = replace(HELD, hold=replace(HOLD, since=NOW + seconds(1)))
    assert judged(STAY, later) == ("Wait", "Held")


def judged_now(asked: Any, status: PolicyStatus, there: DeploymentView, *versions: Any) -> tuple[str, str]:
    finding = judge(Proposal(asked, policy(status), versions, there))
    return ("Clear", "") if isinstance(finding, Clear) else (finding.reason, finding.message)


NEXT = tuned("ft_v1.2", baseline="ft_v1.1")
FORWARD = promotion("ft_v1.2", "ft_v1.1")
REVIEWED = tuned(verdict="Review")


@pytest.mark.row("P4")
@pytest.mark.parametrize(
    ("live_now", "served", "waits"),
    [
        (TUNED, None, "NotSettled"),
        (REVIEWED, None, "Clear"),
        (REVIEWED, TUNED, "NotSettled"),
        (TUNED, TUNED, "NotSettled"),
    ],
    ids=["put back soon", "put back by nobody", "serves, unproven", "serves"],
)
def test_a_deployment_that_is_not_whole_is_waited_for_while_something_can_make_it_so(
    live_now: Any, served: Any, waits: str
) -> None:
    """What was only found, and nothing proves, is not put back once its keys are gone (D5)."""
    status = replace(live(live_now), last_good=())
    there = deployment(None if served is None else keys(served), available=0, ready=0)
    assert judged_now(FORWARD, status, there, BASE, live_now, NEXT)[0] == waits


@pytest.mark.row("P4")
@pytest.mark.parametrize(
    ("there", "room"),
    [({"available": 0}, False), ({"available": 1}, True), ({"available": 2, "updated": 1}, False)],
)
def test_scaling_to_what_finds_room_is_proposed_where_some_do(there: dict[str, Any], room: bool) -> None:
    reason, message = judged_now(FORWARD, live(TUNED), deployment(keys(TUNED), **there), BASE, TUNED, NEXT)
    assert reason == "NotSettled"
    assert ("kubectl scale deployment invoice-detector -n ml --replicas=1" in message) is room


@pytest.mark.row("P4")
@pytest.mark.parametrize(
    ("served", "manager", "release", "waits"),
    [
        (None, None, False, "Clear"),
        (BASE, "finetune-operator", False, "ForeignKeys"),
        (BASE, "finetune-operator", True, "Clear"),
        (BASE, "kubectl", True, "ForeignKeys"),
        (NEXT, "kubectl", True, "Clear"),
        (NEXT, "kubectl", False, "ForeignKeys"),
        (TUNED, "kubectl", False, "ForeignKeys"),
        (TUNED, "finetune-operator", False, "Clear"),
    ],
    ids=["no keys", "others of ours", "others of ours, on purpose", "somebody elses, on purpose",
         "what it wants is there, on purpose", "what it wants is there", "live, but somebody elses", "live"],
)  # fmt: skip
def test_keys_are_written_over_only_where_they_are_ours_to_write(
    served: Any, manager: str | None, release: bool, waits: str
) -> None:
    asked = promotion("ft_v1.2", "ft_v1.1", release_hold=release)
    there = deployment(None if served is None else keys(served), keys_manager=manager)
    assert judged_now(asked, live(TUNED), there, BASE, TUNED, NEXT)[0] == waits


@pytest.mark.row("P4")
def test_a_refusal_says_what_is_known_and_no_more() -> None:
    sick = replace(live(BASE), quarantined=(SICK,))
    asked = promotion("ft_v1.1", "base_v1")
    said = judged_now(asked, sick, deployment(keys(BASE)), BASE, TUNED)[1]
    assert "2026-11-21 12:00 UTC); promote another version" in said
    known = replace(sick, quarantined=(replace(SICK, evidence="exit code 1"),))
    assert (
        "2026-11-21 12:00 UTC): exit code 1; promote"
        in judged_now(asked, known, deployment(keys(BASE)), BASE, TUNED)[1]
    )
    held = replace(live(BASE), hold=HOLD)
    assert "after this promotion was made" not in judged_now(asked, held, deployment(keys(BASE)), BASE, TUNED)[1]
    early = promotion("ft_v1.1", "base_v1", release_hold=True, age=9)
    assert "after this promotion was made" in judged_now(early, held, deployment(keys(BASE)), BASE, TUNED)[1]


@pytest.mark.row("P4")
def test_a_good_version_that_two_objects_claim_is_not_taken_from_memory() -> None:
    twin = replace(TUNED, metadata=replace(TUNED.metadata, name="twin"))
    asked = promotion("ft_v1.1", "base_v1")
    assert judged_now(asked, live(BASE, 3, TUNED), deployment(keys(BASE)), BASE, TUNED, twin)[0] == "VersionAmbiguous"


@pytest.mark.row("P4")
def test_what_comes_back_when_keys_are_let_go_of_is_said_as_it_will_be() -> None:
    theirs = deployment(keys(BASE), keys_manager="kubectl")
    then = "'ft_v1.1', on record as live, is put back then, and 'ft_v1.2' goes live"
    assert then in judged_now(FORWARD, live(TUNED), theirs, BASE, TUNED, NEXT)[1]
    stay = promotion("ft_v1.1", "ft_v1.1", release_hold=True)
    assert "is put back then)" in judged_now(stay, live(TUNED), theirs, BASE, TUNED)[1]
    unproven = replace(live(REVIEWED), last_good=())
    assert (
        "nothing is served until 'ft_v1.2' goes live" in judged_now(FORWARD, unproven, theirs, BASE, REVIEWED, NEXT)[1]
    )
    nobody = deployment(keys(TUNED), replicas=0, updated=0, available=0, total=0)
    assert "--replicas=1" in judged_now(FORWARD, live(TUNED), nobody, BASE, TUNED, NEXT)[1]


@pytest.mark.row("D34")
@pytest.mark.parametrize("held", [True, False])
def test_the_command_past_a_quarantine_comes_from_what_is_live_and_lifts_a_hold_where_there_is_one(held: bool) -> None:
    status = replace(live(BASE), quarantined=(SICK,), hold=HOLD if held else None)
    asked = promotion("ft_v1.1", "ft_v1.0")
    reason, said = judged_now(asked, status, deployment(keys(BASE)), BASE, TUNED)
    assert reason == "Quarantined"
    assert '"from":"base_v1"' in said
    assert ('"releaseHold":true' in said) is held


@pytest.mark.row("P4")
def test_a_from_that_is_not_live_is_refused_at_once_though_the_policy_is_held() -> None:
    """It would come from something else whenever the hold is lifted."""
    asked = promotion("ft_v1.1", "ft_v1.0")
    reason, said = judged_now(asked, replace(live(BASE), hold=HOLD), deployment(keys(BASE)), BASE, TUNED)
    assert reason == "FromIsNotLive"
    assert '"from":"base_v1","releaseHold":true' in said
