"""What the operator knows of objects, as metrics: read from memory at every scrape, so that it cannot drift."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final, get_args

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..api.meta import Condition, ConditionStatus, find, oldest_first
from ..api.model_version import ModelVersion
from ..api.policy import Policy
from ..api.policy_status import FlightPhase, Hold, HoldReason, InFlight
from ..api.promotion import FINAL_PROMOTION_PHASES, PromotionPhase
from ..api.run import FINAL_PHASES, RunPhase
from ..api.scan import Counted
from ..api.value import InvalidObject, parse
from ..cluster.kinds import RECONCILED, Kind
from ..cluster.store import Store
from .alerted import Sample, baseline, measured, rules_of, seconds_since_1970, waiting, weekly


@dataclass(frozen=True, slots=True)
class Shown:
    """A gauge that is read at every scrape."""

    meaning: str
    labels: tuple[str, ...]


OTHER_HOLD: Final = "Other"
HOLDS: Final = (*get_args(HoldReason), OTHER_HOLD)
CONDITIONS: Final = ("Ready", "InSync", "Available")
POLICY: Final = ("namespace", "deployment")
VERSION: Final = (*POLICY, "model", "version")

STATE: Final[Mapping[str, Shown]] = {
    "finetune_live_info": Shown("1, for the version that is live by the policy's record.", VERSION),
    "finetune_live_since_timestamp_seconds": Shown("Since when that version is live.", VERSION),
    "finetune_policy_condition": Shown(
        "1 for the status that a condition of a policy has, 0 for the others: Ready, InSync (what is served is what is "
        "recorded), Available (all its pods are). The last two are Unknown while a promotion is in flight.",
        (*POLICY, "condition", "status"),
    ),
    "finetune_policy_condition_since_timestamp_seconds": Shown(
        "Since when the condition has that status.",
        (*POLICY, "condition"),
    ),
    "finetune_policy_suspended": Shown("Whether a policy is suspended.", POLICY),
    "finetune_policy_held": Shown("Whether a policy holds, by reason.", (*POLICY, "reason")),
    "finetune_policy_held_since_timestamp_seconds": Shown("Since when it holds; only while it does.", POLICY),
    "finetune_flight": Shown("Whether a promotion is in flight, by phase.", (*POLICY, "phase")),
    "finetune_flight_started_timestamp_seconds": Shown("When that flight began; only while there is one.", POLICY),
    "finetune_flight_phase_since_timestamp_seconds": Shown("When its phase began; only while there is one.", POLICY),
    "finetune_scanned_samples": Shown(
        "Samples of the pool as the newest scan counted them: pool (all), heldOut, withdrawn, outside (the base), new, "
        "corrected. Only where scans are made.",
        (*POLICY, "count"),
    ),
    "finetune_captured_pages": Shown(
        "Captured pages by stratum (Random, Uncertain, Reported), by the newest scan.", (*POLICY, "stratum")
    ),
    "finetune_scanned_since_timestamp_seconds": Shown("Since when these counts stand.", POLICY),
    "finetune_policy_info": Shown("1, for each policy: which Deployment serves which model.", (*POLICY, "model")),
    "finetune_watch_seconds": Shown("For how long a flipped Deployment is watched (spec.watch.seconds).", POLICY),
    "finetune_scan_interval_seconds": Shown(
        "How long it is from one scan to the next. Only where scans are to be made.", POLICY
    ),
    "finetune_baseline_confidence": Shown(
        "Mean confidence of each field's best box on a page, when the live version, or the one in flight, was "
        "measured: what `finetune_detection_confidence` is held against. `source` is production, from 50 documents "
        "on, or test. Only where it was measured.",
        (*VERSION, "source"),
    ),
    "finetune_baseline_field_detection_ratio": Shown(
        "Share of these documents of production on whose drawn pages the field was found, for the eight fields at most "
        "that were found on the fewest. Only where `source` could be production.",
        (*VERSION, "field"),
    ),
    "finetune_baseline_inference_duration_seconds": Shown(
        "95th percentile of its base's own time for a page, on the machine that measured it: what stage `inference` of "
        "`finetune_inference_duration_seconds` is held against. Only where it was measured.",
        VERSION,
    ),
    "finetune_feedback_weekly": Shown(
        "Documents that were reported in each of the last four complete weeks (1 is the last), by the newest scan. "
        "Only where pages are captured, and counts are not older than a week.",
        (*POLICY, "weeks_ago"),
    ),
    "finetune_review_since_timestamp_seconds": Shown(
        "Since when the review waits that waits longest for a person; only while one does.", POLICY
    ),
    "finetune_promotion_pending_since_timestamp_seconds": Shown(
        "Since when the promotion waits that waits longest; only while one does.", POLICY
    ),
    "finetune_runs": Shown("FineTuneRuns by phase.", ("namespace", "phase")),
    "finetune_runs_oldest_since_timestamp_seconds": Shown(
        "Of the runs in a phase that is not final: since when the one stands as it does that stands so longest: a "
        "review that waits, a step that does not end; another reason is a new beginning. Only while there is one.",
        ("namespace", "phase"),
    ),
    "finetune_promotions": Shown("ModelPromotions by phase.", ("namespace", "phase")),
    "finetune_promotions_oldest_since_timestamp_seconds": Shown(
        "The same of promotions: since when the oldest waits for what it waits for. Only while there is one.",
        ("namespace", "phase"),
    ),
    "finetune_objects": Shown("Objects that are reconciled.", ("kind",)),
    "finetune_queue_depth": Shown("Objects that wait for a worker.", ()),
    "finetune_queue_longest_wait_seconds": Shown("How long the first of them waits.", ()),
}
"""Every series; `make format` writes them into docs/operate/metrics.md."""


class State(Collector):
    """The metrics of STATE, over the store and the queue."""

    def __init__(self, store: Store, queue: Any, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._queue = queue
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """Yield every series."""
        families = {name: GaugeMetricFamily(name, shown.meaning, labels=shown.labels) for name, shown in STATE.items()}
        policies = self.policies()
        spaces = {policy.metadata.namespace for policy in policies}
        samples = (sample for policy in policies for sample in chain(_policy(policy), self._alerted(policy)))
        waits = waiting(self._store, policies)
        for name, labels, number in chain(samples, waits, self._phases(spaces), self._operator()):
            families[name].add_metric(labels, number)
        return families.values()

    def _alerted(self, policy: Policy) -> Iterator[Sample]:
        """Yield what alerts go by: a policy's rules, the records of what pods serve, the weeks of its newest scan."""
        where, status = (policy.metadata.namespace, policy.spec.deployment), policy.status
        yield from rules_of(policy)
        for served in measured(policy):
            record = self._version(where[0], served.model_version)
            if record is not None:
                yield from baseline(policy, served, record)
        if status.scan is not None and status.scan.counted is not None:
            yield from weekly(where, status.scan.counted, self._now())

    def _version(self, namespace: str, name: str) -> ModelVersion | None:
        """Return the record of a version; None where it is gone, or cannot be read."""
        record = self._store.get(Kind.MODEL_VERSION, namespace, name)
        try:
            return None if record is None else parse(record, ModelVersion)
        except InvalidObject:
            return None

    def policies(self) -> tuple[Policy, ...]:
        """Return the policy of every Deployment: the oldest, which owns it; two would make one series twice.

        One that cannot be read says so in its own status.
        """
        policies: list[Policy] = []
        for namespace, name, _ in list(self._store.projections(Kind.POLICY)):
            try:
                policies.append(parse(self._store.get(Kind.POLICY, namespace, name), Policy))
            except InvalidObject:
                continue
        owners: dict[tuple[str, str], Policy] = {}
        for policy in oldest_first(policies):
            owners.setdefault((policy.metadata.namespace, policy.spec.deployment), policy)
        return tuple(owners.values())

    def scopes(self) -> Iterator[Mapping[str, str]]:
        """Yield the labels of every policy: series of what decisions record are there for each from its first day."""
        for policy in self.policies():
            spec = policy.spec
            yield {"namespace": policy.metadata.namespace, "deployment": spec.deployment, "model": spec.model}

    def _phases(self, spaces: set[str]) -> Iterator[Sample]:
        yield from self._by_phase(Kind.RUN, "finetune_runs", get_args(RunPhase), FINAL_PHASES, spaces)
        phases = get_args(PromotionPhase)
        yield from self._by_phase(Kind.PROMOTION, "finetune_promotions", phases, FINAL_PROMOTION_PHASES, spaces)

    def _by_phase(
        self, kind: Kind, name: str, phases: tuple[str, ...], final: frozenset[Any], spaces: set[str]
    ) -> Iterator[Sample]:
        """Yield how many objects of a kind are in each phase, and since when the first of them is."""
        tally, oldest = Tally[tuple[str, str]](), dict[tuple[str, str], float]()
        for namespace, _, projection in self._store.projections(kind):
            key = namespace, projection.phase or "Pending"
            tally[key] += 1
            since = None if key[1] in final else seconds_since_1970(projection.since)
            if since is not None:
                oldest[key] = min(since, oldest.get(key, since))
        for namespace in sorted(spaces | {namespace for namespace, _ in tally}):
            for phase in phases:
                yield name, (namespace, phase), tally[namespace, phase]
        for key, since in sorted(oldest.items()):
            yield f"{name}_oldest_since_timestamp_seconds", key, since

    def _operator(self) -> Iterator[Sample]:
        for kind in RECONCILED:
            yield "finetune_objects", (kind.value[2],), sum(1 for _ in self._store.projections(kind))
        yield "finetune_queue_depth", (), self._queue.depth()
        yield "finetune_queue_longest_wait_seconds", (), self._queue.longest_wait()


def _policy(policy: Policy) -> Iterator[Sample]:
    where, status = (policy.metadata.namespace, policy.spec.deployment), policy.status
    if status.live is not None:
        live = (*where, policy.spec.model, status.live.version)
        yield "finetune_live_info", live, 1
        yield "finetune_live_since_timestamp_seconds", live, status.live.since.timestamp()
    yield "finetune_policy_suspended", where, float(policy.spec.suspend)
    for kind in CONDITIONS:
        yield from _condition((*where, kind), find(status.conditions, kind))
    yield from _hold(where, status.hold)
    yield from _flight(where, status.in_flight)
    if status.scan is not None and status.scan.counted is not None:
        yield from _counted(where, status.scan.counted)


def _counted(where: tuple[str, str], counted: Counted) -> Iterator[Sample]:
    samples = {
        "pool": counted.pool,
        "heldOut": counted.held_out,
        "withdrawn": counted.withdrawn,
        "outside": counted.outside,
        "new": counted.new,
        "corrected": counted.corrected,
    }
    for word, number in samples.items():
        yield "finetune_scanned_samples", (*where, word), number
    pages = counted.pages
    if pages is not None:
        for stratum, number in (("Random", pages.random), ("Uncertain", pages.uncertain), ("Reported", pages.reported)):
            yield "finetune_captured_pages", (*where, stratum), number
    yield "finetune_scanned_since_timestamp_seconds", where, counted.at.timestamp()


def _condition(labels: tuple[str, ...], condition: Condition | None) -> Iterator[Sample]:
    shown = condition.status if condition is not None else "Unknown"
    for status in get_args(ConditionStatus):
        yield "finetune_policy_condition", (*labels, status), float(status == shown)
    since = condition.last_transition_time if condition is not None else None
    if since is not None:
        yield "finetune_policy_condition_since_timestamp_seconds", labels, since.timestamp()


def _hold(where: tuple[str, str], hold: Hold | None) -> Iterator[Sample]:
    shown = None if hold is None else hold.reason if hold.reason in HOLDS else OTHER_HOLD
    for reason in HOLDS:
        yield "finetune_policy_held", (*where, reason), float(reason == shown)
    if hold is not None:
        yield "finetune_policy_held_since_timestamp_seconds", where, hold.since.timestamp()


def _flight(where: tuple[str, str], flight: InFlight | None) -> Iterator[Sample]:
    for phase in get_args(FlightPhase):
        yield "finetune_flight", (*where, phase), float(flight is not None and flight.phase == phase)
    if flight is not None:
        yield "finetune_flight_started_timestamp_seconds", where, flight.started_at.timestamp()
        yield "finetune_flight_phase_since_timestamp_seconds", where, flight.phase_since.timestamp()
