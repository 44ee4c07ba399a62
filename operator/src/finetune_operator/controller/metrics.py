"""Prometheus metrics of the operator, prefix finetune_; base units, bounded labels."""

from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..api.run import RunPhase, Verdict
from ..cluster.kinds import RECONCILED, Kind
from ..cluster.store import Store

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
OUTCOMES: Final = ("settled", "wrote", "conflict", "unavailable", "refused", "invalid", "error")


def _kinds() -> tuple[str, ...]:
    return tuple(kind.value[2] for kind in RECONCILED)


@dataclass(slots=True)
class Metrics:
    """Every series of the operator; those with a closed set of labels exist at 0 from the start."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    reconciles: Counter = field(init=False)
    reconcile_seconds: Histogram = field(init=False)
    requests: Counter = field(init=False)
    request_seconds: Histogram = field(init=False)
    verdicts: Counter = field(init=False)
    gates: Gauge = field(init=False)
    events_dropped: Counter = field(init=False)
    ghosts: Counter = field(init=False)

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
        self.verdicts = Counter(
            "finetune_verdicts", "Judgements of runs.", ("namespace", "model", "verdict"), registry=registry
        )
        self.gates = Gauge(
            "finetune_gate_value", "What each gate saw in the last judged run of a model.",
            ("namespace", "model", "gate"), registry=registry,
        )  # fmt: skip
        self.events_dropped = Counter(
            "finetune_events_dropped", "Events that were not posted, under load or refused.", registry=registry
        )
        self.ghosts = Counter(
            "finetune_watch_ghosts", "Objects whose deletion the watch never told.", registry=registry
        )
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

    def judged(self, namespace: str, model: str, verdict: Verdict, gates: Iterable[tuple[str, str]]) -> None:
        """Record the judgement of a run: its verdict, and the value of each gate where it is a number."""
        for known in get_args(Verdict):
            self.verdicts.labels(namespace, model, known).inc(known == verdict)
        for gate, value in gates:
            number = _decimal(value)
            if number is not None:
                self.gates.labels(namespace, model, gate).set(number)

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


def _decimal(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
