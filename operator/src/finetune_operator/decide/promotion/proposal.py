"""A promotion with all that its checks look at, and what a check can answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...api.model_version import ModelVersion
from ...api.policy import Policy
from ...api.policy_status import PromotionOutcome
from ...api.promotion import Promotion
from ..views import DeploymentView, Problem

VERSION_NOT_FOUND: Final = "VersionNotFound"
"""What a promotion waits for that names a version without an object."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A promotion with all that its checks look at; `problem` is why the Deployment cannot be flipped at all."""

    promotion: Promotion
    policy: Policy
    versions: tuple[ModelVersion, ...]
    deployment: DeploymentView | None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class CheckContext:
    """A proposal whose version is known."""

    promotion: Promotion
    policy: Policy
    version: ModelVersion
    deployment: DeploymentView | None
    problem: Problem | None
    versions: tuple[ModelVersion, ...] = ()
    """All that there are: one may prove what is live, and a person's no to one is about its bytes."""
    is_remembered: bool = False
    """`version` is what the policy remembers of one that passed a watch here, and whose object was deleted."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now; the promotion stays Pending."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never; the promotion is consumed with this outcome."""

    outcome: PromotionOutcome
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Clear:
    """All checks passed: this version may be flipped to on this Deployment."""

    version: ModelVersion
    deployment: DeploymentView


Obstacle = Wait | Refuse


Check = Callable[[CheckContext], Obstacle | None]


def quoted(version: str | None) -> str:
    """Return the version in quotes, or "nothing"."""
    return "nothing" if version is None else f"'{version}'"
