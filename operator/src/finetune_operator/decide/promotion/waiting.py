"""Which promotions still wait to act, oldest first, and how one is known after its object is gone."""

from ...api.meta import oldest_first
from ...api.names import OUTCOME_KEY, sha256_of
from ...api.policy import Policy
from ...api.policy_status import trace_of
from ...api.promotion import FINAL_PROMOTION_PHASES, Promotion, PromotionSpec
from ...api.record import Outcome, outcome_in
from ...api.value import canonical_json


def spec_hash(spec: PromotionSpec) -> str:
    """Return 16 hex digits of the SHA-256 of the spec's canonical JSON: what `consumed` knows it by."""
    return sha256_of(canonical_json(spec))[:16]


def identity(promotion: Promotion) -> tuple[str, str]:
    """Return name and spec hash, by which a promotion is remembered beyond its object's life."""
    return promotion.metadata.name, spec_hash(promotion.spec)


def recorded_outcome(promotion: Promotion) -> Outcome | None:
    """Return how the promotion ended, by its own record; None for none, or for one that is of another spec or name."""
    if OUTCOME_KEY not in promotion.metadata.annotations:
        return None
    name, hashed = identity(promotion)
    return outcome_in(promotion.metadata.annotations, name, hashed)


def is_forgotten(policy: Policy, promotion: Promotion) -> bool:
    """Tell whether a promotion of that name and spec acted so long ago that nothing else is known of it (P26)."""
    return trace_of(*identity(promotion)) in policy.status.forgotten


def candidates(policy: Policy, promotions: tuple[Promotion, ...]) -> tuple[Promotion, ...]:
    """Return the policy's promotions that have not acted yet, oldest first; the one in flight is none of them, nor
    the one that ended it.

    A promotion whose own status is final, or whose record says how it ended (P10), has acted even if `consumed`, which
    is bounded and goes with the status, forgot it.
    """
    done = {(entry.name, entry.spec_hash) for entry in policy.status.consumed}
    flight = policy.status.in_flight
    if flight is not None:
        done.add((flight.promotion, flight.spec_hash))
    if flight is not None and flight.brake is not None:
        done.add((flight.brake.promotion, flight.brake.spec_hash))
    waiting = [
        promotion
        for promotion in promotions
        if promotion.spec.policy == policy.metadata.name
        and promotion.metadata.deletion_timestamp is None
        and promotion.status.phase not in FINAL_PROMOTION_PHASES
        and identity(promotion) not in done
        and not is_forgotten(policy, promotion)
        and recorded_outcome(promotion) is None
    ]
    return tuple(oldest_first(waiting))
