"""Runs that ask for the same side by side: one trains, and the others wait for what comes of it (rows R68, R69)."""

from datetime import UTC, datetime
from typing import Final

from ...api.run import Inputs, RunStatus
from ..decision import Decision
from .stage import Continue, RunContext, suspended
from .status import mark, say
from .turn import held_up
from .view import RunView, Twin, trains

_LAST: Final = datetime.max.replace(tzinfo=UTC)


def await_twin(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Wait for a run that asks for the same with the same samples: one that is further, else the oldest, trains."""
    inputs, view = status.inputs, context.view
    assert inputs is not None
    if status.candidate is not None or trains(status.attempts) or suspended(view) is not None:
        return Continue(status)
    twin = next((twin for twin in view.twins if _goes_first(view, inputs, twin)), None)
    if twin is None:
        return Continue(status)
    message = (
        f"run {twin.name} asks for the same with the same samples and is not over: what comes of it decides; to train "
        f"beside it, delete this run and make one with another spec.mixing.seed"
    )
    message += held_up(view, (twin.stuck,) if twin.stuck is not None else ())
    status = mark(view, status, "Accepted", "Unknown", "SameRunUnderway", message)
    return Decision(say(status, "Pending", message))


def _goes_first(view: RunView, inputs: Inputs, twin: Twin) -> bool:
    if twin.drawn != (inputs.digests.get("pool", ""), inputs.digests.get("anchor", "")):
        return False
    metadata = view.run.metadata
    mine = (metadata.creation_timestamp or _LAST, metadata.name)
    return twin.is_past or (twin.created or _LAST, twin.name) < mine
