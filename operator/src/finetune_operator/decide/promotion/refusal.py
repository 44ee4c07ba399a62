"""How a ModelPromotion tells that the API server refuses the record of its end (row R50)."""

from dataclasses import replace as with_changes

from msgspec.structs import replace

from ...api.promotion import FINAL_PROMOTION_PHASES, PromotionStatus
from .. import limits, times
from ..decision import Decision
from ..refusal import Refusal, events, with_refusal
from ..since import dated
from .view import PromotionView


def say_refused(
    view: PromotionView, decision: Decision[PromotionStatus], refusal: Refusal
) -> Decision[PromotionStatus]:
    """Return the decision saying in `Finished` that one of its writes was refused at the last try."""
    before = view.promotion.status
    if before.phase in FINAL_PROMOTION_PHASES or not refusal.is_repeated_by(decision.actions):
        return decision
    conditions = with_refusal(
        decision.status.conditions,
        before.conditions,
        "Finished",
        "False",
        refusal,
        generation=view.promotion.metadata.generation,
        now=times.moment(view.now),
    )
    said = replace(decision.status, conditions=conditions, message=f"waits: {refusal.text}"[: limits.HOLD_MESSAGE])
    actions = (*events(before.conditions, "Finished", refusal), *decision.actions)
    return with_changes(decision, status=dated(before, said, view.now), actions=actions)
