"""How a promotion ends, from what is remembered of it: its own entry, another object's, its record, its status."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import Condition
from finetune_operator.api.names import OUTCOME_KEY
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Consumed, Hold, PolicyStatus
from finetune_operator.api.promotion import Approval, Despite, Promotion, PromotionStatus
from finetune_operator.api.record import Outcome, outcome_in, outcome_text
from finetune_operator.decide.decision import Annotate, Emit
from finetune_operator.decide.policy.memory import consumed
from finetune_operator.decide.promotion.machine import decide
from finetune_operator.decide.promotion.view import PromotionView
from finetune_operator.decide.promotion.waiting import candidates, identity
from unit.decide.policy.flight import flying
from unit.decide.policy.world import (
    NOW,
    annotated,
    base,
    deployment,
    keys,
    live,
    mirrored,
    policy,
    promotion,
    seconds,
    tuned,
)

BASE, TUNED = base(), tuned()
HOLD = Hold(by="finetune-operator", reason="RolledBack", message="x", since=NOW)
ASKED = promotion("base_v1", "ft_v1.1", name="back")


def view(asked: Promotion, of: Policy) -> PromotionView:
    return PromotionView(asked, NOW, of, deployment(keys(BASE)), (BASE, TUNED))


def remembering(
    status: PolicyStatus, asked: Promotion = ASKED, uid: str = "the first one's", outcome: Any = "Succeeded"
) -> Policy:
    name, spec_hash = identity(asked)
    done = consumed(status, (name, spec_hash, uid), outcome, "WatchPassed", "it went live", NOW - seconds(90))
    return policy(done)


def ended(asked: Promotion, of: Policy) -> tuple[str | None, str]:
    status = mirrored(view(asked, of))
    return status.phase, next(c.reason for c in status.conditions if c.type == "Finished")


@pytest.mark.row("D56")
@pytest.mark.parametrize(
    ("status", "asks", "ends"),
    [
        (live(BASE), {}, ("Succeeded", "WatchPassed")),
        (live(TUNED, 2, BASE), {}, ("Superseded", "AskedTwice")),
        (PolicyStatus(), {}, ("Superseded", "AskedTwice")),
        (flying().status, {}, ("Superseded", "AskedTwice")),
        (replace(live(BASE), hold=HOLD), {}, ("Succeeded", "WatchPassed")),
        (live(BASE), {"release_hold": True}, ("Succeeded", "WatchPassed")),
        pytest.param(
            replace(live(BASE), hold=HOLD), {"release_hold": True}, ("Superseded", "AskedTwice"),
            marks=pytest.mark.row("P16"),
        ),
    ],
    ids=["live", "another is live", "nothing is live", "live, and left by a flight", "live and held",
         "live and not held any more", "live, and a hold that it could not know"],
)  # fmt: skip
def test_a_file_that_is_applied_again_ends_by_what_is_there(
    status: PolicyStatus, asks: dict[str, Any], ends: tuple[str, str]
) -> None:
    asked = promotion("base_v1", "ft_v1.1", name="back", **asks)
    assert ended(asked, remembering(status, asked)) == ends


@pytest.mark.row("D56")
@pytest.mark.parametrize("outcome", ["Failed", "RolledBack", "Superseded"])
def test_what_came_to_nothing_comes_to_nothing_again(outcome: str) -> None:
    assert ended(ASKED, remembering(live(TUNED), outcome=outcome)) == (outcome, "WatchPassed")


@pytest.mark.row("D56")
@pytest.mark.parametrize("uid", ["", ASKED.metadata.uid])
def test_an_entry_of_its_own_or_of_nobody_is_its_end(uid: str) -> None:
    """The last release kept no uid."""
    assert ended(ASKED, remembering(live(TUNED), uid=uid)) == ("Succeeded", "WatchPassed")


@pytest.mark.row("P10")
def test_its_own_record_outweighs_what_is_known_of_a_namesake() -> None:
    name, spec_hash = identity(ASKED)
    own = Outcome(name=name, spec_hash=spec_hash, outcome="Failed", reason="FieldOwned", at=NOW, message="m")
    annotations = {OUTCOME_KEY: outcome_text(own)}
    asked = replace(ASKED, metadata=replace(ASKED.metadata, annotations=annotations))
    assert ended(asked, remembering(live(TUNED))) == ("Failed", "FieldOwned")


def copied(namespace: str = "staging", outcome: Any = "Succeeded") -> Promotion:
    """The promotion as people copy it from another namespace, with all that stands on it."""
    name, spec_hash = identity(ASKED)
    other = Outcome(
        name=name, namespace=namespace, spec_hash=spec_hash, outcome=outcome, reason="WatchPassed", at=NOW, message="m"
    )
    return replace(ASKED, metadata=replace(ASKED.metadata, annotations={OUTCOME_KEY: outcome_text(other)}))


@pytest.mark.row("D259")
@pytest.mark.parametrize("outcome", ["Succeeded", "Failed"])
def test_a_copy_of_one_that_acted_in_another_namespace_does_not_say_that_it_acted_here(outcome: str) -> None:
    of = policy(live(TUNED))
    assert candidates(of, (copied(outcome=outcome),)) == (), "it may be a backup that is restored there"
    assert ended(copied(outcome=outcome), of) == ("Superseded", "AskedTwice")
    said = mirrored(view(copied(outcome=outcome), of)).message
    assert f"acted before (in namespace 'staging': {outcome}, WatchPassed, 2026-11-21T12:00:00Z)" in said
    assert "live is 'ft_v1.1'; to make 'base_v1' live" in said
    assert '"from":"ft_v1.1"' in said
    assert ended(copied(outcome=outcome), policy(live(BASE))) == ("Succeeded", "AlreadyLive")
    assert ended(copied("ml", outcome), of) == (outcome, "WatchPassed")


@pytest.mark.row("D259")
def test_a_copy_waits_for_its_policy_and_stands_where_it_ended_then() -> None:
    alone = decide(PromotionView(copied(), NOW, None, deployment(keys(BASE)), (BASE, TUNED)))
    assert (alone.status.phase, alone.actions) == ("Pending", ())
    of = policy(live(TUNED))
    first = decide(view(copied(), of))
    there = annotated(copied(), first)
    own = outcome_in(there.metadata.annotations, *identity(ASKED))
    assert own is not None
    assert (own.namespace, own.reason, first.status) == ("ml", "AskedTwice", ASKED.status)
    over = replace(there, status=decide(view(there, of)).status)
    assert decide(view(over, policy(live(BASE)))).actions == ()
    known = remembering(live(TUNED), uid=ASKED.metadata.uid)
    assert ended(copied(), known) == ("Succeeded", "WatchPassed"), "here it acted itself, and somebody wrote over that"


@pytest.mark.row("D259")
def test_a_copy_that_a_restore_brings_before_the_deployment_waits_until_it_is_known_what_serves() -> None:
    unseen, seen = policy(PolicyStatus()), policy(PolicyStatus(observed_generation=1))
    for of, there in ((unseen, deployment(keys(BASE))), (seen, deployment(keys(BASE))), (seen, None)):
        waiting = decide(PromotionView(copied(), NOW, of, there, (BASE, TUNED)))
        assert (waiting.status.phase, waiting.actions) == ("Pending", ())
        assert "waits until policy 'invoice-fields' knows what serves here" in waiting.status.message
    assert ended(copied(), policy(live(BASE))) == ("Succeeded", "AlreadyLive")


@pytest.mark.row("D56")
def test_the_command_that_means_it_asks_for_all_of_it_from_what_is_live() -> None:
    word = Despite(checks=("NotSettled",), reason="it is sick")
    yes = Approval(by="ann", evidence="sha256:" + "0" * 64)
    asked = promotion("base_v1", "base_v0", name="back", despite=word, approval=yes)
    said = mirrored(view(asked, remembering(replace(live(TUNED), hold=HOLD), asked))).message
    assert "acted before (Succeeded, WatchPassed, 2026-11-21T11:58:30Z)" in said
    assert "live is 'ft_v1.1', and the policy is held (RolledBack, since 2026-11-21T12:00:00Z)" in said
    assert "to make 'base_v1' live again: " in said
    assert '"from":"ft_v1.1","releaseHold":true,"despite":{"checks":["NotSettled"]' in said
    assert '"approval":{"by":"ann"' in said
    free = mirrored(view(ASKED, remembering(PolicyStatus()))).message
    assert "releaseHold" not in free
    assert "despite" not in free
    assert '"from"' not in free


@pytest.mark.row("P16")
def test_the_command_that_lifts_the_other_hold_stays_with_what_is_live() -> None:
    asked = promotion("base_v1", "ft_v1.1", name="back", release_hold=True)
    said = mirrored(view(asked, remembering(replace(live(BASE), hold=HOLD), asked))).message
    assert "to lift that and stay with 'base_v1': " in said
    assert '"from":"base_v1","releaseHold":true' in said


FINISHED = Condition(type="Finished", status="True", reason="WatchPassed", last_transition_time=NOW)


@pytest.mark.row("P9")
@pytest.mark.parametrize(
    ("conditions", "finished_at", "is_recorded"),
    [((FINISHED,), NOW, True), ((), NOW, False), ((FINISHED,), None, False)],
    ids=["whole", "no reason known", "no time known"],
)
def test_a_final_status_is_recorded_once_where_it_can_be(conditions: Any, finished_at: Any, is_recorded: bool) -> None:
    status = PromotionStatus(phase="Succeeded", message="m", conditions=conditions, finished_at=finished_at)
    asked = replace(ASKED, status=status)
    decision = decide(view(asked, policy(live(BASE))))
    assert decision.status == status, "final means final"
    texts = [action.text for action in decision.actions if isinstance(action, Annotate)]
    assert len(texts) == is_recorded
    for text in texts:
        name, spec_hash = identity(asked)
        record = outcome_in({OUTCOME_KEY: text}, name, spec_hash)
        assert record == Outcome(
            name=name,
            namespace="ml",
            spec_hash=spec_hash,
            outcome="Succeeded",
            reason="WatchPassed",
            at=NOW,
            message="m",
        )
        known = replace(asked, metadata=replace(asked.metadata, annotations={OUTCOME_KEY: text}))
        assert decide(view(known, policy(live(BASE)))).actions == ()
        forged = {OUTCOME_KEY: outcome_text(replace(record, outcome="Failed"))}
        other = replace(asked, metadata=replace(asked.metadata, annotations=forged))
        assert decide(view(other, policy(live(BASE)))).actions == decision.actions, "what was written over it is mended"


@pytest.mark.row("P9")
@pytest.mark.parametrize("change", [{"outcome": "Failed"}, {"reason": "Other"}, {"at": NOW}])
def test_what_somebody_wrote_as_its_end_is_none_where_the_policy_knows_better(change: dict[str, Any]) -> None:
    name, spec_hash = identity(ASKED)
    true = Outcome(name=name, spec_hash=spec_hash, outcome="Succeeded", reason="WatchPassed", at=NOW - seconds(90))
    forged = {OUTCOME_KEY: outcome_text(replace(true, **change))}
    asked = replace(ASKED, metadata=replace(ASKED.metadata, annotations=forged))
    of = remembering(live(TUNED), uid=ASKED.metadata.uid)
    decision = decide(view(asked, of))
    assert decision.status.phase is None, "not final before it is mended"
    (text,) = (action.text for action in decision.actions if isinstance(action, Annotate))
    assert outcome_in({OUTCOME_KEY: text}, name, spec_hash) == replace(true, namespace="ml", message="it went live")


@pytest.mark.row("P1")
@pytest.mark.parametrize(("message", "said"), [("it went live", "WatchPassed: it went live"), ("", "WatchPassed")])
def test_the_event_of_an_end_has_its_reason_and_what_is_known_beyond(message: str, said: str) -> None:
    of = remembering(live(BASE), uid=ASKED.metadata.uid)
    of = policy(replace(of.status, consumed=(replace(of.status.consumed[0], message=message),)))
    known = annotated(ASKED, decide(view(ASKED, of)))
    (event,) = (action for action in decide(view(known, of)).actions if isinstance(action, Emit))
    assert (event.type, event.message) == ("Normal", said)


@pytest.mark.row("P2")
@pytest.mark.parametrize(
    ("reason", "message", "remarks"),
    [
        ("Flipping", "rolling out; two pods are sick; to end it: kubectl", "; two pods are sick; to end it: kubectl"),
        ("Flipping", "rolling out", ""),
        ("Watching", "watched; two pods are sick", ""),
        (None, "", ""),
    ],
    ids=["remarks", "none", "of another phase", "no condition"],
)
def test_what_ails_a_flight_is_said_in_the_phase_that_it_is_of(reason: Any, message: str, remarks: str) -> None:
    of = flying()
    said = Condition(type="InSync", status="False", reason=reason or "", message=message)
    of = policy(replace(of.status, conditions=() if reason is None else (said,)))
    asked = promotion("ft_v1.1", "base_v1")
    assert decide(view(asked, of)).status.message == f"rolling out 'ft_v1.1'{remarks}"


@pytest.mark.row("P1")
def test_the_entry_of_another_spec_is_not_its_own() -> None:
    of = remembering(live(TUNED), uid=ASKED.metadata.uid)
    assert isinstance(of.status.consumed[0], Consumed)
    changed = promotion("base_v1", "ft_v1.1", name="back", reason="another word")
    assert mirrored(view(changed, of)).phase == "Pending"
