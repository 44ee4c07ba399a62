"""What alerts hold production against, and what waits for people, as samples of one Deployment."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from ..api.model_version import ModelVersion, SeenInProduction
from ..api.policy import Policy
from ..api.policy_status import LiveVersion
from ..api.scan import Counted
from ..cluster.kinds import Kind
from ..cluster.store import Store
from ..decide.policy.scan import wants_scan
from ..decide.policy.scanned import interval

Sample = tuple[str, tuple[str, ...], float]
"""Name, label values and value."""

WEEKS: Final = 4
"""Complete weeks that are shown: enough to see three rises."""

LEAST_SEEN: Final = 50
"""Documents of production from which on a version is held against what it saw there: as many as alerts ask for.

Where the means of single documents spread by 0.1 (one standard deviation), that of 50 is within 0.03 of that of all
in 19 of 20 draws.
"""

_WEEK: Final = timedelta(weeks=1)

_WAITING: Final = (
    (Kind.RUN, "InReview", "finetune_review_since_timestamp_seconds"),
    (Kind.PROMOTION, "Pending", "finetune_promotion_pending_since_timestamp_seconds"),
)


def rules_of(policy: Policy) -> Iterator[Sample]:
    """Yield what a policy says that alerts go by."""
    where, spec = (policy.metadata.namespace, policy.spec.deployment), policy.spec
    yield "finetune_policy_info", (*where, spec.model), 1
    yield "finetune_watch_seconds", where, spec.watch.seconds
    if wants_scan(policy):
        yield "finetune_scan_interval_seconds", where, interval(policy).total_seconds()


def measured(policy: Policy) -> tuple[LiveVersion, ...]:
    """Return the versions that pods may serve: what is live, and what a promotion in flight goes to."""
    live, flight = policy.status.live, policy.status.in_flight
    flying = None if flight is None or (live is not None and flight.to.version == live.version) else flight.to
    return tuple(version for version in (live, flying) if version is not None)


def baseline(policy: Policy, served: LiveVersion, version: ModelVersion) -> Iterator[Sample]:
    """Yield how sure and how fast a version that is served was when it was measured; `version` is its record.

    How sure it was on production goes before how sure it was on the test set, where that was enough of production, and
    that of this Deployment: another policy of the model may have made the version, on pages of its own.
    """
    if version.spec.artifact.sha256 != served.sha256:
        return
    labels = (policy.metadata.namespace, policy.spec.deployment, policy.spec.model, served.version)
    status, seen = version.status, _seen_enough(policy, version)
    source, confidence = "production", _number(seen.mean_confidence if seen is not None else None)
    if confidence is None:
        source, confidence = "test", _number(status.mean_confidence)
    if confidence is not None:
        yield "finetune_baseline_confidence", (*labels, source), confidence
    if seen is not None:
        for one in seen.fields:
            yield "finetune_baseline_field_detection_ratio", (*labels, one.field), one.documents / seen.documents
    duration = _number(status.inference_seconds)
    if duration is not None:
        yield "finetune_baseline_inference_duration_seconds", labels, duration


def _seen_enough(policy: Policy, version: ModelVersion) -> SeenInProduction | None:
    """Return what a version saw on documents of the policy's Deployment, where these were enough."""
    seen, lineage = version.status.production, version.spec.lineage
    is_own = lineage is not None and lineage.policy == policy.metadata.name
    return seen if seen is not None and is_own and seen.documents >= LEAST_SEEN else None


def weekly(where: tuple[str, str], counted: Counted, now: datetime) -> Iterator[Sample]:
    """Yield the documents that were reported in each of the last complete weeks.

    Weeks are those of the scan, which ends its list with the newest; one that says nothing had no reports. Counts that
    are older than a week say nothing of the last one. Only where pages are captured.
    """
    if counted.pages is None or now - counted.at > _WEEK:
        return
    newest_first = [week.documents for week in reversed(counted.reports)]
    for ago in range(1, WEEKS + 1):
        documents = newest_first[ago - 1] if ago <= len(newest_first) else 0
        yield "finetune_feedback_weekly", (*where, str(ago)), documents


def waiting(store: Store, policies: Iterable[Policy]) -> Iterator[Sample]:
    """Yield since when the review, and the promotion, waits that waits longest for each Deployment."""
    places = {(p.metadata.namespace, p.metadata.name): (p.metadata.namespace, p.spec.deployment) for p in policies}
    for kind, phase, name in _WAITING:
        oldest: dict[tuple[str, str], float] = {}
        for namespace, _, projection in store.projections(kind):
            where = places.get((namespace, projection.reference("policy") or ""))
            since = seconds_since_1970(projection.since)
            if where is not None and since is not None and (projection.phase or "Pending") == phase:
                oldest[where] = min(since, oldest.get(where, since))
        for where, since in sorted(oldest.items()):
            yield name, where, since


def seconds_since_1970(text: str) -> float | None:
    """Return a moment of the API in seconds since 1970; None where there is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    """Return a recorded figure; a status that was restored may hold anything."""
    try:
        number = Decimal(text or "")
    except InvalidOperation:
        return None
    return float(number) if number.is_finite() else None
