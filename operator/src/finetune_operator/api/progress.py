"""How far a step is: the lines that a trainer writes on its way.

`contracts/progress.schema.json` is the source; tests/contract holds this type to it.
"""

from datetime import datetime

from .run import Step
from .value import Value

PROGRESS_SCHEMA = "finetune-operator.io/progress/v1"


class ProgressLine(Value, frozen=True, kw_only=True):
    """One line of the trainer's standard output."""

    schema: str
    step: Step
    at: datetime
    percent: int = 0
    epoch: int | None = None
    epochs: int | None = None
    remaining_seconds: int | None = None
    losses: dict[str, str] = {}
    activity: str = ""
