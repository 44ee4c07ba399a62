"""What alerts hold production against, and what waits for people, as samples of one Deployment."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from ..api.model_version import ModelVersion
from ..api.policy import LiveVersion, Policy
from ..api.scan import Counted
from ..cluster.kinds import Kind
from ..cluster.store import Store
from ..decide.policy.scan import wants_scan
from ..decide.policy.scanned import interval

Sample = tuple[str, tuple[str, ...], float]
"""Name, label values and value."""

WEEKS: Final = 4
"""Complete weeks that are shown: enough to see three rises."""

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
    """Yield how sure and how fast a version that is served was when it was measured; `version` is its record."""
    if version.spec.artifact.sha256 != served.sha256:
        return
    labels = (policy.metadata.namespace, policy.spec.deployment, policy.spec.model, served.version)
    figures = {
        "finetune_baseline_confidence": version.status.mean_confidence,
        "finetune_baseline_inference_duration_seconds": version.status.inference_seconds,
    }
    for name, text in figures.items():
        number = _number(text)
        if number is not None:
            yield name, labels, number


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
