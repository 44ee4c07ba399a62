"""A person's no to what a policy finds, keeps or recalls: nothing makes such bytes good again."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.names import SERVICE_RECORD_KEY
from finetune_operator.api.policy_status import Hold, PolicyStatus, Rejected, TakenBack
from finetune_operator.api.promotion import Despite
from finetune_operator.api.record import Mark, Rejection, Service, record_text
from finetune_operator.decide import limits
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.views import DeploymentView
from unit.decide.policy.pair import BASE, OTHER, TUNED, VERSIONS
from unit.decide.policy.world import (
    NOW,
    applied,
    deployment,
    events,
    keys,
    live,
    live_version,
    policy,
    promotion,
    seconds,
    view,
    with_record,
)

SHA = TUNED.spec.artifact.sha256
NO = Rejected(version="ft_v1.1", sha256=SHA, by="ann", at=NOW - seconds(9))
TAKEN = TakenBack(version="ft_v1.1", sha256=SHA, by="bo", reason="bad", since=NOW - seconds(9))
KEEP = promotion(
    "ft_v1.1",
    "ft_v1.1",
    name="keep",
    age=-25,
    release_hold=True,
    despite=Despite(checks=("TakenBack",), reason="it was the camera"),
)


@pytest.mark.row("D65")
@pytest.mark.parametrize(("others", "noes", "good"), [(1, 1, False), (0, 1, True), (1, 0, True)])
def test_to_keep_what_was_taken_back_makes_nothing_good_that_a_person_rejected(
    others: int, noes: int, good: bool
) -> None:
    """It is no word against that one, and lost keys would be put back; but the last way back stays one."""
    held = Hold(by="finetune-operator", reason="Adopted", message="", since=NOW - seconds(9))
    status = replace(live(TUNED), last_good=(live_version(BASE),) * others, rejected=(NO,) * noes)
    of = policy(replace(status, taken_back=(TAKEN,), hold=held))
    kept = decide(view(of, deployment(keys(TUNED)), KEEP, versions=VERSIONS, now=NOW + seconds(30))).status
    assert (kept.consumed[-1].outcome, kept.hold) == ("Succeeded", None), "the hold is lifted, and it serves on"
    assert kept.is_good(SHA) is good
    bare = view(policy(kept), deployment(epoch=None), KEEP, versions=VERSIONS, now=NOW + seconds(60))
    assert (applied(decide(bare)) is not None) is good


@pytest.mark.row("D63")
@pytest.mark.row("D65")
def test_a_no_that_stands_on_a_version_counts_among_what_is_recalled_though_it_left_the_memory() -> None:
    newer = tuple(
        Rejected(version="", sha256=f"{n:064x}", by="ann", at=NOW + seconds(n)) for n in range(limits.REJECTED)
    )
    good = Service(good=NOW - seconds(99))
    record = record_text(SHA, {"invoice-detector": good}, Rejection(at=NO.at, by="ann", version="ft_v1.1"))
    rejected = replace(TUNED, metadata=replace(TUNED.metadata, annotations={SERVICE_RECORD_KEY: record}))
    sick = with_record(BASE, Service(quarantined=Mark(at=NOW, reason="Unhealthy")))
    looked = view(policy(replace(policy().status, rejected=newer)), deployment(epoch=None), versions=(sick, rejected))
    status = decide(looked).status
    assert status.rejected == newer
    assert status.last_good == ()


@pytest.mark.row("D63")
@pytest.mark.row("D65")
def test_the_hold_of_an_adopted_version_tells_of_a_no_that_stands_on_its_version_alone() -> None:
    newer = tuple(
        Rejected(version="", sha256=f"{n:064x}", by="ann", at=NOW + seconds(n)) for n in range(limits.REJECTED)
    )
    record = record_text(SHA, {}, Rejection(at=NO.at, by="ann", version="ft_v1.1"))
    rejected = replace(TUNED, metadata=replace(TUNED.metadata, annotations={SERVICE_RECORD_KEY: record}))
    good = with_record(BASE, Service(good=NOW - seconds(99)))
    target = deployment(keys(TUNED), epoch=3)
    status = decide(view(policy(PolicyStatus(rejected=newer)), target, versions=(good, rejected))).status
    assert status.hold is not None
    assert "first saw it ('ann' rejected it in review)" in status.hold.message
    assert "to have 'base_v1' served" in status.hold.message


@pytest.mark.row("D110")
def test_who_is_told_what_comes_back_is_told_that_a_person_rejected_it() -> None:
    """It is put back all the same (D5); who lets go of the keys may want to promote another one first."""
    theirs = deployment(keys(BASE), epoch=3, keys_manager="kubectl")
    for noes, words in (((), "puts 'ft_v1.1' back then)"), ((NO,), "back then, though 'ann' rejected it in review)")):
        status = replace(live(TUNED, 1, TUNED), rejected=noes)
        held = decide(view(policy(status), theirs, versions=VERSIONS)).status.hold
        assert held is not None
        assert words in held.message


GONE, BARE, THEIRS = None, deployment(epoch=None), deployment(keys(OTHER), epoch=3, keys_manager="kubectl")


def after_a_no(status: PolicyStatus, there: DeploymentView | None, *noes: Rejected) -> Decision[PolicyStatus]:
    return decide(view(policy(status), there, versions=VERSIONS, rejections=noes or (NO,)))


@pytest.mark.row("D117")
@pytest.mark.row("D118")
@pytest.mark.parametrize("there", [GONE, BARE, THEIRS], ids=["gone", "bare", "theirs"])
def test_what_a_person_rejects_while_it_is_not_served_is_not_put_back(there: DeploymentView | None) -> None:
    decided = after_a_no(live(TUNED, 1, TUNED, BASE), there)
    status = decided.status
    assert status.live is not None
    assert status.live.version == "base_v1"
    assert "LiveRejected" in events(decided)
    back = applied(decided) if there is BARE else applied(after_a_no(status, BARE))
    assert back is not None
    assert back.version == "base_v1"


@pytest.mark.row("D118")
def test_what_somebody_put_in_its_place_counts_as_live_if_it_was_good() -> None:
    undone = deployment(keys(BASE), epoch=1, keys_manager="kubectl-rollout")
    for there, version in ((undone, "base_v1"), (BARE, "ft_v9.9")):
        seen = view(policy(live(TUNED, 1, TUNED, OTHER, BASE)), there, versions=(*VERSIONS, OTHER), rejections=(NO,))
        status = decide(seen).status
        assert status.live is not None
        assert status.live.version == version


@pytest.mark.row("D118")
def test_a_no_is_not_lost_on_a_deployment_that_is_out_of_our_care_for_a_while() -> None:
    """It has no label when somebody puts their keys there, and lets go of them; a person says no before, or then."""
    theirs = deployment(keys(OTHER), epoch=3, keys_manager="kubectl", managed=False)
    for before in (live(TUNED, 1, TUNED, BASE), REJECTED):
        decided = after_a_no(before, theirs)
        assert events(decided) == ["LiveRejected"]
        back = applied(after_a_no(decided.status, BARE))
        assert back is not None
        assert back.version == "base_v1"
    assert decide(view(policy(REJECTED), theirs, versions=VERSIONS, rivals=("older",))).status.live == REJECTED.live


@pytest.mark.row("D117")
def test_the_hold_that_stands_says_what_counts_as_live_now_and_how_it_is_lifted() -> None:
    held = Hold(by="finetune-operator", reason="RolledBack", message="it failed; to try 'ft_v1.1' again: x", since=NOW)
    hold = after_a_no(replace(live(TUNED, 1, TUNED, BASE), hold=held), GONE).status.hold
    assert hold is not None
    why = (
        "it failed; 'base_v1' counts as live, for 'ft_v1.1' was, but 'ann' rejected it in review; to lift the hold and"
    )
    assert hold.message.startswith(f"{why} stay with 'base_v1': ")
    assert '"version":"base_v1","from":"base_v1","releaseHold":true' in hold.message
    assert hold.since == held.since


@pytest.mark.row("D117")
@pytest.mark.parametrize(
    ("status", "there"),
    [
        (live(TUNED, 1, TUNED, BASE), deployment(keys(TUNED))),
        (replace(live(TUNED, 1, TUNED, BASE), rejected=(NO,)), BARE),
        (live(TUNED, 1, TUNED), BARE),
        (replace(live(TUNED, 1, TUNED, BASE), taken_back=(replace(TAKEN, sha256=BASE.spec.artifact.sha256),)), BARE),
    ],
    ids=["it serves", "it was said when it served", "nothing else was good", "people took the other one back"],
)
def test_a_no_to_what_is_live_takes_nothing_down_and_not_the_last_way_back(
    status: PolicyStatus, there: DeploymentView
) -> None:
    after = after_a_no(status, there).status
    assert after.live is not None
    assert after.live.version == "ft_v1.1"


REJECTED = replace(live(TUNED, 1, TUNED, BASE), rejected=(NO,))
"""It served when a person said no."""


@pytest.mark.row("D118")
@pytest.mark.parametrize("owned", [False, True], ids=["at rest", "while their manager is waited for"])
@pytest.mark.parametrize("put", [OTHER, BASE], ids=["anything", "what was good before"])
def test_what_a_person_rejected_is_not_put_back_once_somebody_elses_keys_were_there(put: Any, *, owned: bool) -> None:
    """What serves goes on; this serves no more, by their will, and something else was good."""
    there = deployment(keys(put), epoch=3, keys_manager="kubectl")
    held = Hold(by="kubectl", reason="FieldOwned", message="field manager 'kubectl' owns it; to x", since=NOW)
    decided = after_a_no(replace(REJECTED, hold=held if owned else None), there)
    status = decided.status
    assert status.live is not None
    assert status.hold is not None
    assert status.live.version == "base_v1"
    assert events(decided)[0] == "LiveRejected"
    assert status.hold.reason == ("FieldOwned" if owned else "External")
    assert "'base_v1' counts as live, for 'ft_v1.1' was, but 'ann' rejected it in review" in status.hold.message
    assert '"version":"base_v1","from":"base_v1","releaseHold":true' in status.hold.message
    again = after_a_no(status, there)
    assert (again.status, again.actions) == (status, ()), "the words stand, and nothing is written at rest"
    back = applied(after_a_no(status, BARE))
    assert back is not None
    assert back.version == "base_v1"


@pytest.mark.row("D118")
@pytest.mark.parametrize(
    "status",
    [
        replace(REJECTED, last_good=(live_version(TUNED),)),
        replace(REJECTED, last_good=(live_version(BASE),)),
        replace(REJECTED, rejected=()),
        replace(REJECTED, rejected=(NO, replace(NO, sha256=BASE.spec.artifact.sha256))),
    ],
    ids=["nothing else was good", "it was adopted", "nobody rejected it", "so was the other one"],
)
def test_foreign_keys_alone_change_nothing_of_what_counts_as_live(status: PolicyStatus) -> None:
    seen = decide(view(policy(status), THEIRS, versions=VERSIONS))
    assert seen.status.live == status.live
    assert "LiveRejected" not in events(seen)
