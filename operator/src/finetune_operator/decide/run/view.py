"""What a run's next step hangs on."""

from dataclasses import dataclass
from datetime import datetime

from ...api.contract import ProgressLine, RunDocument
from ...api.model_version import ModelVersion
from ...api.policy import Policy
from ...api.promotion import Promotion
from ...api.run import Run
from ..views import JobView, Problem, TemplateView


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything that a run's next step hangs on."""

    run: Run
    now: datetime
    policy: Policy | None = None
    versions: tuple[ModelVersion, ...] = ()
    train_template: TemplateView | None = None
    cpu_template: TemplateView | None = None
    snapshot: RunDocument | None = None
    snapshot_problem: Problem | None = None
    jobs: tuple[JobView, ...] = ()
    progress: ProgressLine | None = None
    promotion: Promotion | None = None
