"""Prometheus metrics of the operator, prefix finetune_; base units, bounded labels."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..api.policy_status import PromotionOutcome
from ..api.run import FINAL_PHASES, RunPhase, Step, Verdict
from ..api.triggers import TriggerKind
from ..cluster.kinds import RECONCILED, Kind
from ..decide.attempts.metrics import RESULTS
from ..decide.decision import RecordMetric
from .state_metrics import State

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ENDS: Final = tuple(phase for phase in get_args(RunPhase) if phase in FINAL_PHASES)
OUTCOMES: Final = ("settled", "wrote", "conflict", "unavailable", "refused", "invalid", "away", "error")
REFUSALS: Final = frozenset(("400", "403", "422", "500"))
"""Answers that say no to what was asked; 500 is an admission webhook that does not answer, too."""

GONE_FOR: Final = 3600.0
"""Seconds without a policy after which its series go, too; a namespace that cannot be read is back before, mostly."""

Series = Counter | Gauge | Histogram
_PLACES: Final = ("namespace", "model", "deployment")
Place = tuple[tuple[str, str], ...]
"""Namespace with model or Deployment, as labels: what series of the domain are of."""

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


MINUTES: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
DAYS: Final = (10, 60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400, 172_800, 345_600, 604_800)
"""Bounds of what takes seconds in a test and days in earnest."""

DOMAIN: Final[Mapping[str, Declared]] = {
    "finetune_verdicts": Declared(
        Counter, "Judgements of runs.", ("namespace", "model", "verdict"), {"verdict": get_args(Verdict)}
    ),
    "finetune_gate_value_ratio": Declared(
        Gauge,
        "What each gate saw in the last judged run of a model, as a share of 1: for `regression` the drop of mAP50 "
        "(0.01 is a point; higher is worse), for `newSamples` and `newSamplesFresh` boxes found (higher is better).",
        ("namespace", "model", "gate"),
    ),
    "finetune_pool_samples": Declared(
        Gauge,
        "Samples of the pool as the last prepared run of a model counted them, by word: pool, heldOut, withdrawn, "
        "outside, new, corrected, fresh (see the glossary).",
        ("namespace", "model", "count"),
    ),
    "finetune_runs_ended": Declared(
        Counter, "Runs that ended, by how.", ("namespace", "model", "phase"), {"phase": ENDS}
    ),
    "finetune_runs_fired": Declared(
        Counter,
        "Runs that triggers of policies fired, by which; each try counts.",
        ("namespace", "model", "kind"),
        {"kind": tuple(kind for kind in get_args(TriggerKind) if kind != "Manual")},
    ),
    "finetune_run_duration_seconds": Declared(
        Histogram, "Time from a run's first look to its end, reviews included.", ("namespace", "model"), buckets=DAYS
    ),
    "finetune_attempts": Declared(
        Counter,
        "Attempts of steps that ended, by what came of them; Other is what the trainer calls Internal, and the rest.",
        ("namespace", "model", "step", "result"),
        {"step": get_args(Step), "result": RESULTS},
    ),
    "finetune_step_duration_seconds": Declared(
        Histogram,
        "Time that the trainers of an attempt that succeeded ran.",
        ("namespace", "model", "step"),
        {"step": get_args(Step)},
        DAYS,
    ),
    "finetune_promotions_ended": Declared(
        Counter,
        "Promotions that were acted upon or refused, by outcome.",
        ("namespace", "deployment", "outcome"),
        {"outcome": get_args(PromotionOutcome)},
    ),
    "finetune_flight_duration_seconds": Declared(
        Histogram,
        "Observed time from the first write of the keys to the end of the watch, or of the way back.",
        ("namespace", "deployment", "outcome"),
        {"outcome": get_args(PromotionOutcome)},
        MINUTES,
    ),
}
"""What `decide` records, by the action RecordMetric; `make format` writes it into docs/operate/metrics.md."""


def _kinds() -> tuple[str, ...]:
    return tuple(kind.value[2] for kind in RECONCILED)


@dataclass(slots=True)
class Metrics:
    """Every series of the operator; a closed set of labels is there whole from the first record."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    clock: Callable[[], float] = time.monotonic
    reconciles: Counter = field(init=False)
    reconcile_seconds: Histogram = field(init=False)
    requests: Counter = field(init=False)
    request_seconds: Histogram = field(init=False)
    events_dropped: Counter = field(init=False)
    ghosts: Counter = field(init=False)
    jobs_refused: Counter = field(init=False)
    _states: list[State] = field(default_factory=list)
    _domain: dict[str, Series] = field(init=False)
    _places: dict[Place, float] = field(default_factory=dict)
    """When there was a policy at each place, or something was recorded there, for the last time."""

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
        self.jobs_refused = Counter(
            "finetune_jobs_refused", "Jobs that the API server refused: rights, quota, admission.", registry=registry
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
        if (verb, kind) == ("create", Kind.JOB) and code in REFUSALS:
            self.jobs_refused.inc()

    def show(self, state: State) -> None:
        """Show what `state` reads at every scrape, too."""
        self._states.append(state)
        self.registry.register(state)

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
        self._places[_place(declared, action.labels)] = self.clock()
        _begin(declared, series, action.labels)
        match series.labels(**action.labels):
            case Counter() as counter:
                counter.inc(action.value)
            case Gauge() as gauge:
                gauge.set(action.value)
            case Histogram() as histogram:
                histogram.observe(action.value)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format; what is counted of a policy begins at 0 with the policy."""
        for scope in (scope for state in self._states for scope in state.scopes()):
            for name, declared in DOMAIN.items():
                self._places[_place(declared, scope)] = self.clock()
                if declared.closed.keys() >= set(declared.labels) - scope.keys():
                    _begin(declared, self._domain[name], scope)
        self._forget()
        return generate_latest(self.registry)

    def _forget(self) -> None:
        """Drop the series of policies that are gone: else they were scraped as long as the operator runs."""
        now = self.clock()
        for place in [place for place, at in self._places.items() if now - at > GONE_FOR]:
            del self._places[place]
            for name, declared in DOMAIN.items():
                if _place(declared, dict(place)) == place:
                    self._domain[name].remove_by_labels(dict(place))


def _begin(declared: Declared, series: Series, known: Mapping[str, str]) -> None:
    """Have every series of a metric that its closed labels allow beside the `known` ones."""
    labels = {label: value for label, value in known.items() if label in declared.labels}
    for values in product(*declared.closed.values()):
        series.labels(**{**labels, **dict(zip(declared.closed, values, strict=True))})


def _place(declared: Declared, labels: Mapping[str, str]) -> Place:
    """Return what series of a metric with these labels are of."""
    return tuple((label, labels[label]) for label in _PLACES if label in declared.labels and label in labels)
