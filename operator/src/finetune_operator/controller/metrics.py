"""Prometheus metrics of the operator, prefix finetune_; base units, bounded labels."""

import logging
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..api.run import RunPhase, Verdict
from ..cluster.kinds import RECONCILED, Kind
from ..cluster.store import Store
from ..decide.decision import RecordMetric

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
OUTCOMES: Final = ("settled", "wrote", "conflict", "unavailable", "refused", "invalid", "away", "error")


Series = Counter | Gauge | Histogram

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric of the domain. `closed` names labels with a closed set of values: each has its series from the first.

    `buckets` are the upper bounds of a histogram, in its unit; a histogram without them is refused.
    """

    type: type[Counter] | type[Gauge] | type[Histogram]
    meaning: str
    labels: tuple[str, ...]
    closed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()

    def series(self, name: str, registry: CollectorRegistry) -> Series:
        """Return this metric under `name`. Raises ValueError for a histogram without buckets of its own."""
        if self.type is not Histogram:
            return self.type(name, self.meaning, self.labels, registry=registry)
        if not self.buckets:
            raise ValueError(f"{name} is a histogram: declare its buckets")
        return Histogram(name, self.meaning, self.labels, buckets=self.buckets, registry=registry)


DOMAIN: Final[Mapping[str, Declared]] = {
    "finetune_verdicts": Declared(
        Counter, "Judgements of runs.", ("namespace", "model", "verdict"), {"verdict": get_args(Verdict)}
    ),
    "finetune_gate_value": Declared(
        Gauge,
        "What each gate saw in the last judged run of a model: for `regression` the drop in points (higher is worse), "
        "for `newSamples` and `newSamplesFresh` the share of boxes found (higher is better).",
        ("namespace", "model", "gate"),
    ),
}
"""What `decide` records, by the action RecordMetric; `make format` writes it into docs/operate/metrics.md."""


def _kinds() -> tuple[str, ...]:
    return tuple(kind.value[2] for kind in RECONCILED)


@dataclass(slots=True)
class Metrics:
    """Every series of the operator; a closed set of labels is there whole from the first record."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    reconciles: Counter = field(init=False)
    reconcile_seconds: Histogram = field(init=False)
    requests: Counter = field(init=False)
    request_seconds: Histogram = field(init=False)
    events_dropped: Counter = field(init=False)
    ghosts: Counter = field(init=False)
    _domain: dict[str, Series] = field(init=False)

    def __post_init__(self) -> None:
        registry = self.registry
        self.reconciles = Counter(
            "finetune_reconciles", "Reconciles by what came of them.", ("kind", "outcome"), registry=registry
        )
        self.reconcile_seconds = Histogram(
            "finetune_reconcile_duration_seconds", "Time of one reconcile.", ("kind",), buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.requests = Counter(
            "finetune_api_requests", "Requests to the API server.", ("verb", "resource", "code"), registry=registry
        )
        self.request_seconds = Histogram(
            "finetune_api_request_duration_seconds", "Time of one request to the API server.", ("verb",),
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.events_dropped = Counter(
            "finetune_events_dropped", "Events that were not posted, under load or refused.", registry=registry
        )
        self.ghosts = Counter(
            "finetune_watch_ghosts", "Objects whose deletion the watch never told.", registry=registry
        )
        self._domain = {name: declared.series(name, registry) for name, declared in DOMAIN.items()}
        for kind in _kinds():
            self.reconcile_seconds.labels(kind)
            for outcome in OUTCOMES:
                self.reconciles.labels(kind, outcome)

    def request(self, verb: str, kind: Kind, code: str, seconds: float) -> None:
        """Count one request to the API server."""
        self.requests.labels(verb, kind.value[2], code).inc()
        self.request_seconds.labels(verb).observe(seconds)

    def reconciled(self, kind: Kind, outcome: str, seconds: float) -> None:
        """Count one reconcile."""
        self.reconciles.labels(kind.value[2], outcome).inc()
        self.reconcile_seconds.labels(kind.value[2]).observe(seconds)

    def record(self, action: RecordMetric) -> None:
        """Record a value that `decide` asked for; what is not declared here is said in the log and dropped."""
        declared = DOMAIN.get(action.metric)
        if declared is None or action.labels.keys() != set(declared.labels):
            log.error("no metric %s with labels %s is declared", action.metric, sorted(action.labels))
            return
        series = self._domain[action.metric]
        for label, values in declared.closed.items():
            for value in values:
                series.labels(**{**action.labels, label: value})
        match series.labels(**action.labels):
            case Counter() as counter:
                counter.inc(action.value)
            case Gauge() as gauge:
                gauge.set(action.value)
            case Histogram() as histogram:
                histogram.observe(action.value)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class State(Collector):
    """What is read from the store and the queue at every scrape, so that it cannot drift."""

    def __init__(self, store: Store, queue: Any) -> None:
        self._store = store
        self._queue = queue

    def collect(self) -> Iterable[Metric]:
        """Yield runs by phase, objects by kind, and the queue's figures."""
        runs = GaugeMetricFamily("finetune_runs", "FineTuneRuns by phase.", labels=("namespace", "phase"))
        tally = Tally(
            (namespace, projection.phase or "Pending") for namespace, _, projection in self._store.projections(Kind.RUN)
        )
        for namespace in sorted({namespace for namespace, _ in tally}):
            for phase in get_args(RunPhase):
                runs.add_metric((namespace, phase), tally[namespace, phase])
        objects = GaugeMetricFamily("finetune_objects", "Objects that are reconciled.", labels=("kind",))
        for kind in RECONCILED:
            objects.add_metric((kind.value[2],), sum(1 for _ in self._store.projections(kind)))
        depth = GaugeMetricFamily("finetune_queue_depth", "Keys that wait for a worker.", value=self._queue.depth())
        wait = GaugeMetricFamily(
            "finetune_queue_longest_wait_seconds", "How long the first key waits.", value=self._queue.longest_wait()
        )
        return (runs, objects, depth, wait)
