"""Which condition of a run tells of a write that the API server refuses (row R50)."""

from dataclasses import replace as with_changes
from typing import Final

from msgspec.structs import replace

from ...api.run import FINAL_PHASES, RunStatus
from .. import limits
from ..decision import Action, CreateJob, CreateSnapshot, Decision, DeleteJob
from ..refusal import Refusal, events, with_refusal
from ..since import dated
from .status import CONDITION_OF
from .view import RunView

RECORD: Final = "Finished"
"""Tells of a refused ModelVersion or promotion: `Promoted` is read as the intent that they are made for."""


def say_refused(view: RunView, decision: Decision[RunStatus], refusal: Refusal) -> Decision[RunStatus]:
    """Return the decision saying that one of its writes was refused at the last try; none of them: as it is."""
    before = view.run.status
    if before.phase in FINAL_PHASES or not refusal.is_repeated_by(decision.actions):
        return decision
    kind = _condition(view, refusal.action)
    conditions = with_refusal(
        decision.status.conditions,
        before.conditions,
        kind,
        "False",
        refusal,
        generation=view.run.metadata.generation,
        now=view.now,
    )
    message = f"waits: {refusal.reason}: {refusal.text}"[: limits.MESSAGE]
    status = dated(before, replace(decision.status, conditions=conditions, message=message), view.now)
    # The Event goes first: the actions end at the write that is refused.
    return with_changes(decision, status=status, actions=(*events(before.conditions, kind, refusal), *decision.actions))


def _condition(view: RunView, action: Action | None) -> str:
    match action:
        case CreateSnapshot():
            return "Accepted"
        case CreateJob(step=step):
            return CONDITION_OF[step]
        case DeleteJob(name=name):
            return next((CONDITION_OF[job.step] for job in view.jobs if job.name == name), RECORD)
        case _:
            return RECORD
