"""A Prometheus in virtual time: what the chart's rules come to, at their defaults, for what the Deployment serves."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.prometheus import NoAnswer
from finetune_operator.decide.signals import Alert, Alerts, Held, Rate, VersionSeries
from finetune_operator.decide.views import Problem

from .api_server import ApiServer
from .controllers import NAMESPACE

MINIMUM: Final = 0.90
MINIMUM_COUNT: Final = 50
FOR: Final = timedelta(minutes=30)
"""The chart's defaults of FinetuneFieldDetectionRateLow."""

WINDOW: Final = timedelta(minutes=30)
KEY: Final = "finetune-operator.io/model-version"


@dataclass
class VirtualPrometheus:
    """`rates` has by version on which share of documents field `total` is found; others are found always.

    `tick` tells it the time, as scrapes do. `silent` is why it does not answer.
    """

    server: ApiServer
    rates: dict[str, float]
    per_minute: float = 10
    silent: Problem | None = None
    asked: list[str] = field(default_factory=list)
    _serving: str = ""
    _since: datetime | None = None

    def tick(self) -> None:
        """See what is served now."""
        item = self.server.get(Kind.DEPLOYMENT, NAMESPACE, "invoice-detector")
        annotations = {} if item is None else item["spec"]["template"]["metadata"].get("annotations") or {}
        version = annotations.get(KEY, "")
        if version != self._serving:
            self._serving, self._since = version, self.server.now

    async def alerts(self, namespace: str, deployment: str, names: tuple[str, ...]) -> Alerts:
        """Return whether FinetuneFieldDetectionRateLow fires."""
        self._ask("alerts", namespace, deployment)
        lasted = self._lasted() - timedelta(minutes=MINIMUM_COUNT / self.per_minute)
        fires = self._serving in self.rates and self.rates[self._serving] < MINIMUM and lasted >= FOR
        name = "FinetuneFieldDetectionRateLow"
        alert = Alert(name, "total", self._serving, int(lasted.total_seconds()))
        return Alerts((alert,) if fires and name in names else ())

    async def series(self, namespace: str, deployment: str, version: str, back: str | None) -> VersionSeries:
        """Return what is recorded of the version in half an hour."""
        self._ask("series", namespace, deployment)
        if version != self._serving:
            return VersionSeries()
        documents = self.per_minute * min(self._lasted(), WINDOW) / timedelta(minutes=1)
        before = Rate(self.rates[back], 5000) if back in self.rates else None
        rates = {"number": 1.0, "total": self.rates.get(version, 1.0)}
        fields = [
            Held(Rate(share, documents), MINIMUM, name, before if name == "total" else Rate(1, 5000))
            for name, share in rates.items()
        ]
        return VersionSeries(documents, tuple(fields) if documents else ())

    def _ask(self, what: str, namespace: str, deployment: str) -> None:
        assert (namespace, deployment) == (NAMESPACE, "invoice-detector")
        self.asked.append(what)
        if self.silent is not None:
            raise NoAnswer(self.silent)

    def _lasted(self) -> timedelta:
        return timedelta() if self._since is None else self.server.now - self._since
