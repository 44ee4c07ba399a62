"""How a ModelVersion tells of a write that the API server refuses (row R50)."""

from dataclasses import replace as with_changes

from msgspec.structs import replace

from ...api.meta import find
from ...api.model_version import VersionStatus
from .. import limits
from ..decision import Annotate, Decision
from ..refusal import Refusal, events, with_refusal
from ..since import dated
from .view import VersionView


def say_refused(view: VersionView, decision: Decision[VersionStatus], refusal: Refusal) -> Decision[VersionStatus]:
    """Return the decision saying in `Verified` that one of its writes was refused at the last try.

    A verdict that stands is not touched, and the record of service is no matter of it. Until there is a verdict,
    Unknown is what keeps the verification going on.
    """
    before = view.version.status
    verified = find(decision.status.conditions, "Verified")
    decided = verified is not None and verified.status != "Unknown"
    if decided or isinstance(refusal.action, Annotate) or not refusal.is_repeated_by(decision.actions):
        return decision
    generation = view.version.metadata.generation
    conditions = with_refusal(
        decision.status.conditions,
        before.conditions,
        "Verified",
        "Unknown",
        refusal,
        generation=generation,
        now=view.now,
    )
    said = replace(decision.status, conditions=conditions, message=f"waits: {refusal.text}"[: limits.MESSAGE])
    actions = (*events(before.conditions, "Verified", refusal), *decision.actions)
    return with_changes(decision, status=dated(before, said, view.now), actions=actions)
