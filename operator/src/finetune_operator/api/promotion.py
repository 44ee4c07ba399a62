"""ModelPromotion: a request to put a version live, and its log."""

from datetime import datetime
from typing import Literal

from .meta import Condition, ObjectMeta
from .value import Value

PromotionPhase = Literal["Pending", "Flipping", "Watching", "Succeeded", "RolledBack", "Failed", "Superseded"]
FINAL_PROMOTION_PHASES: frozenset[PromotionPhase] = frozenset(("Succeeded", "RolledBack", "Failed", "Superseded"))


Overruled = Literal["Quarantined", "TakenBack", "NotSettled"]
"""A check that a promotion may overrule knowingly."""


class Despite(Value, frozen=True, kw_only=True):
    """The checks that a promotion overrules, and why that is right."""

    checks: tuple[Overruled, ...]
    reason: str


class Approval(Value, frozen=True, kw_only=True):
    """A person's decision that lets a version with verdict Review go live."""

    by: str
    evidence: str
    reason: str = ""


class PromotionSpec(Value, frozen=True, kw_only=True, rename={"from_version": "from", "release_hold": "releaseHold"}):
    """Immutable. `from` is the version that must be live now (absent: nothing is live)."""

    policy: str
    version: str
    from_version: str | None = None
    reason: str = ""
    release_hold: bool = False
    despite: Despite | None = None
    approval: Approval | None = None


class PromotionStatus(Value, frozen=True, kw_only=True):
    """Mirrors what the policy's status says of this promotion."""

    observed_generation: int = 0
    phase: PromotionPhase | None = None
    message: str = ""
    since: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()


class Promotion(Value, frozen=True, kw_only=True):
    """A ModelPromotion object."""

    metadata: ObjectMeta
    spec: PromotionSpec
    status: PromotionStatus = PromotionStatus()

    @property
    def overrules(self) -> bool:
        """Whether it carries a person's word against a check or a hold, which is of its day, and not of a later one."""
        return self.spec.despite is not None or self.spec.release_hold
