"""A promotion whose end cannot be recorded on it says so, and ends when it can."""

from dataclasses import replace as with_changes

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import find
from finetune_operator.decide.decision import Annotate, Emit
from finetune_operator.decide.policy.memory import consumed
from finetune_operator.decide.promotion.machine import decide
from finetune_operator.decide.promotion.refusal import say_refused
from finetune_operator.decide.promotion.view import PromotionView
from finetune_operator.decide.promotion.waiting import identity
from finetune_operator.decide.refusal import Refusal
from unit.decide.policy.world import NOW, annotated, base, live, policy, promotion

ASKED = promotion("ft_v1.1", "base_v1")


@pytest.mark.row("R50")
def test_a_record_that_is_refused_is_said_once_and_ends_the_promotion_when_it_is_taken() -> None:
    status = consumed(live(base()), (*identity(ASKED), ASKED.metadata.uid), "Succeeded", "Live", "it is live", NOW)
    view = PromotionView(promotion=ASKED, policy=policy(status), now=NOW)
    decision = decide(view)
    action = next(a for a in decision.actions if isinstance(a, Annotate))
    refusal = Refusal("AdmissionUnavailable", 'failed calling webhook "m"', action, NOW)
    said = say_refused(view, decision, refusal)
    finished = find(said.status.conditions, "Finished")
    assert finished is not None
    assert (finished.status, finished.reason) == ("False", "AdmissionUnavailable")
    assert "failed calling webhook" in said.status.message
    assert [a.reason for a in said.actions if isinstance(a, Emit)] == ["AdmissionUnavailable"]
    waiting = with_changes(view, promotion=replace(ASKED, status=said.status))
    again = say_refused(waiting, decide(waiting), refusal)
    assert again.status == said.status
    assert [a for a in again.actions if isinstance(a, Emit)] == []
    ended = decide(with_changes(waiting, promotion=annotated(waiting.promotion, decision)))
    assert ended.status.phase == "Succeeded"
    assert "webhook" not in str(ended.status)
