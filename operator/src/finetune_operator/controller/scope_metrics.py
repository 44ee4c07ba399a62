"""What is known of the watched namespaces, as metrics; "*" stands for the whole cluster."""

from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge

from ..cluster.reach import Scope


@dataclass(slots=True)
class ScopeMetrics:
    """The series of the namespaces that are watched, each there from the start."""

    registry: CollectorRegistry
    ghosts: Callable[[int], None] = lambda _: None
    """Counts objects whose deletion a watch never told."""
    watched: Gauge = field(init=False)
    failures: Counter = field(init=False)
    rewinds: Counter = field(init=False)

    def __post_init__(self) -> None:
        labels = ("namespace",)
        self.watched = Gauge(
            "finetune_namespace_watched", "1: read and watched. 0: it cannot be, and nothing is decided there.", labels,
            registry=self.registry,
        )  # fmt: skip
        self.failures = Counter(
            "finetune_namespace_failures", "Reads and watches of a namespace that failed.", labels,
            registry=self.registry,
        )  # fmt: skip
        self.rewinds = Counter(
            "finetune_namespace_rewinds", "Times that resourceVersions went back: etcd was restored.", labels,
            registry=self.registry,
        )  # fmt: skip

    def begin(self, scope: Scope) -> None:
        """Have every series of a scope, at 0."""
        for series in (self.watched, self.failures, self.rewinds):
            series.labels(self.label(scope))

    def label(self, scope: Scope) -> str:
        """Return the value of the label `namespace`."""
        return "*" if scope is None else scope
