"""Whether a promotion ends the flight that is under way, by going back to a version that was good here."""

from ...api.model_version import ModelVersion
from ...api.policy import Policy
from ...api.policy_status import InFlight, LiveVersion, PolicyStatus
from ...api.promotion import Promotion
from ..deployment import keys_of
from ..rejections import barred
from .eligibility import eligible, made_by_run
from .proposal import CheckContext
from .release import CLOCKS_DIFFER, is_about


def goes_back_to(promotion: Promotion, policy: Policy, versions: tuple[ModelVersion, ...]) -> LiveVersion | None:
    """Return the version that the promotion goes back to at once; None if it is to wait like any other.

    What the flight itself would go back to needs nothing but the policy's memory, nor does what was good before and has
    no object any more. A run's promotion goes forward, whatever it promotes, and ends no flight.
    """
    status = policy.status
    flight = status.in_flight
    if (
        flight is None
        or flight.phase == "Returning"
        or made_by_run(promotion)
        or not _is_meant(promotion, status, flight)
    ):
        return None
    good = _good(status, promotion.spec.version)
    if good is None or status.quarantine_of(good.sha256) is not None:
        return None
    if flight.back is not None and keys_of(good) == keys_of(flight.back):
        return good  # also where it is the bytes in flight, from the place where they served
    if good.sha256 == flight.to.sha256:
        return None
    return good if _may_serve(promotion, policy, versions, flight, good) else None


def _is_meant(promotion: Promotion, status: PolicyStatus, flight: InFlight) -> bool:
    """Tell whether it was made since take-off, and its `from` names what is in flight, or what is live on record.

    An older one that waits for something (a hold, say) or comes from Git again does not speak of this flight. Where
    `from` names what is in flight, a minute is allowed: clocks differ, and people are quick.
    """
    named, made = promotion.spec.from_version, promotion.metadata.creation_timestamp
    if named is None or made is None:
        return False
    if named == flight.to.version and made >= flight.started_at - CLOCKS_DIFFER:
        return True
    known = (flight.to.version, *(() if status.live is None else (status.live.version,)))
    return named in known and is_about(promotion, flight.started_at, flight.newest_promotion)


def _good(status: PolicyStatus, version: str) -> LiveVersion | None:
    flight = status.in_flight
    back = () if flight is None or flight.back is None else (flight.back,)
    live = () if status.live is None else (status.live,)
    known = next((entry for entry in (*back, *live, *status.last_good) if entry.version == version), None)
    if known is None:
        return None
    return LiveVersion(version=known.version, model_version=known.model_version, uri=known.uri, sha256=known.sha256)


def _may_serve(
    promotion: Promotion, policy: Policy, versions: tuple[ModelVersion, ...], flight: InFlight, good: LiveVersion
) -> bool:
    """Tell whether nothing that came to be known since it served speaks against the version."""
    despite = promotion.spec.despite
    overruled = despite is not None and "TakenBack" in despite.checks
    if policy.status.taken_back_of(good.sha256) is not None and not overruled:
        return False
    if barred(good.sha256, versions, policy.status) is not None:
        return False
    named = [v for v in versions if (v.spec.model, v.spec.version) == (policy.spec.model, good.version)]
    own = [version for version in named if version.spec.artifact.sha256 == good.sha256]
    if not own:
        # What was merely found waits for its object where it serves no more (D264), or another one has its name.
        return policy.status.is_good(good.sha256) or not (named or flight.bare)
    return any(eligible(CheckContext(promotion, policy, version, None, None, versions)) is None for version in own)
