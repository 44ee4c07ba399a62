"""A base that is live and a fine-tune of it: what most tests of a policy begin with."""

from finetune_operator.api.meta import Condition, find
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import PolicyStatus
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.policy.machine import decide
from unit.decide.policy.world import (
    base,
    deployment,
    keys,
    live,
    policy,
    promotion,
    tuned,
    view,
)

BASE, TUNED, OTHER = base(), tuned(), tuned("ft_v9.9")
VERSIONS = (BASE, TUNED)
ASKED = promotion("ft_v1.1", "base_v1")


def condition(decision: Decision[PolicyStatus], kind: str) -> Condition:
    """Return the condition of that type."""
    shown = find(decision.status.conditions, kind)
    assert shown is not None
    return shown


def flying() -> Policy:
    """Return a policy that has just begun to flip to the fine-tune."""
    return policy(decide(view(policy(live(BASE)), deployment(keys(BASE)), ASKED, versions=VERSIONS)).status)
