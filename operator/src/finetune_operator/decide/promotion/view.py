"""What a promotion's status hangs on."""

from dataclasses import dataclass
from datetime import datetime

from ...api.model_version import ModelVersion
from ...api.policy import Policy
from ...api.promotion import Promotion
from ..views import DeploymentView


@dataclass(frozen=True, slots=True)
class PromotionView:
    """Everything that a promotion's status hangs on."""

    promotion: Promotion
    now: datetime
    policy: Policy | None = None
    deployment: DeploymentView | None = None
    versions: tuple[ModelVersion, ...] = ()
