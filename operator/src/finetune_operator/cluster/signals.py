"""What a policy hears of its Deployment: the narrow port to a Prometheus, and how its answers are read."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from ..api.policy import Policy
from ..decide.policy.by_series import FIELD_LINE, asks_for_before, is_watched_by_series
from ..decide.signals import Alert, Alerts, Held, Rate, Slow, VersionSeries
from ..decide.views import Problem
from . import promql
from .prometheus import NoAnswer, Prometheus, Sample, invalid

ASKED_EVERY: Final = timedelta(minutes=1)
"""How often alerts are asked for: their rules are evaluated as often."""

NOT_CONFIGURED: Final = Problem(
    "PrometheusNotConfigured",
    "the operator knows no Prometheus; the platform names one in the chart (prometheus.url)",
)


class Signals(Protocol):
    """Where alerts and series come from. Every verb raises only NoAnswer."""

    async def alerts(self, namespace: str, deployment: str, names: tuple[str, ...]) -> Alerts:
        """Return which of the alerts of those names fire for the Deployment."""
        ...

    async def series(self, namespace: str, deployment: str, version: str, back: str | None) -> VersionSeries:
        """Return how the version did in the last half hour; `back` is what it would go back to."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """The signals of a Prometheus."""

    prometheus: Prometheus

    async def alerts(self, namespace: str, deployment: str, names: tuple[str, ...]) -> Alerts:
        """Return which alerts fire. Raises NoAnswer, also where an answer is of somebody else."""
        samples = await self.prometheus.ask(promql.firing(namespace, deployment, names))
        _check_place(samples, namespace, deployment)
        firing = [sample for sample in samples if "alertname" in sample.metric]
        if any(sample.metric["alertname"] not in names for sample in firing):
            raise _foreign("an alert that was not asked for")
        if any(not math.isfinite(sample.number) for sample in firing):
            raise invalid("it is not a number since when an alert fires")
        seen = {sample.metric.get("__name__") for sample in samples}
        alerts = {_alert(sample) for sample in firing}
        return Alerts(tuple(sorted(alerts)), promql.SCRAPED in seen, promql.DOCUMENTS in seen)

    async def series(self, namespace: str, deployment: str, version: str, back: str | None) -> VersionSeries:
        """Return what is recorded of the version. Raises NoAnswer, also where an answer is of somebody else."""
        samples = await self.prometheus.ask(promql.of_version(namespace, deployment, version))
        _check_place(samples, namespace, deployment, version)
        series = _version_series(samples)
        if back is None or not asks_for_before(series):
            return series
        earlier = await self.prometheus.ask(promql.before(namespace, deployment, back))
        _check_place(earlier, namespace, deployment, back)
        return _beside(series, earlier)


class Hearing:
    """What policies hear; remembers the alerts of each for a minute."""

    def __init__(self, signals: Signals | None) -> None:
        self._signals = signals
        self._known: dict[str, tuple[tuple[str, ...], datetime, Alerts | Problem]] = {}

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a policy that is gone."""
        self._known.pop(uid, None)

    async def alerts(self, policy: Policy, now: datetime) -> Alerts | Problem | None:
        """Return which of its alerts fire, or why nobody knows; None where the policy asks for none."""
        triggers, uid = policy.spec.triggers, policy.metadata.uid
        if triggers is None or triggers.performance is None or policy.spec.suspend:
            self._known.pop(uid, None)
            return None
        if self._signals is None:
            return NOT_CONFIGURED
        names, known = tuple(sorted(triggers.performance.alerts)), self._known.get(uid)
        if known is not None and known[0] == names and timedelta() <= now - known[1] < ASKED_EVERY:
            return known[2]
        answer: Alerts | Problem
        try:
            answer = await self._signals.alerts(policy.metadata.namespace, policy.spec.deployment, names)
        except NoAnswer as error:
            answer = error.problem
        self._known[uid] = (names, now, answer)
        return answer

    async def series(self, policy: Policy) -> VersionSeries | Problem | None:
        """Return how the version that is watched did, asked for this very look; None where none is watched so."""
        flight = policy.status.in_flight
        if self._signals is None or flight is None or not is_watched_by_series(policy.spec.watch, flight):
            return None
        where = policy.metadata.namespace, policy.spec.deployment
        try:
            return await self._signals.series(*where, flight.to.version, flight.back_version)
        except NoAnswer as error:
            return error.problem


def _check_place(samples: Iterable[Sample], namespace: str, deployment: str, version: str | None = None) -> None:
    """Raise NoAnswer where a series is not of that place: who answers so did not look at what was asked."""
    wanted = {"namespace": namespace, "deployment": deployment, **({} if version is None else {"version": version})}
    if any(sample.metric.get(label) != value for sample in samples for label, value in wanted.items()):
        raise _foreign(f"series that are not of Deployment {namespace}/{deployment}")


def _foreign(what: str) -> NoAnswer:
    return NoAnswer(Problem("ForeignSeries", f"Prometheus answered with {what}, so nothing of it is believed"))


def _alert(sample: Sample) -> Alert:
    labels = sample.metric
    seconds = max(int(sample.number), 0)
    return Alert(labels["alertname"], labels.get("field", ""), labels.get("version", ""), seconds)


def _version_series(samples: tuple[Sample, ...]) -> VersionSeries:
    known = _values(samples)
    fields = sorted({field for name, field in known if name == promql.RATIO})
    held = (_held(known, (promql.RATIO, promql.EXPECTED, promql.FIELD_LINE), field, FIELD_LINE) for field in fields)
    slow, line = (known.get((name, "")) for name in (promql.LATENCY, promql.LATENCY_LINE))
    return VersionSeries(
        documents=known.get((promql.DOCUMENTS, "")),
        fields=tuple(one for one in held if one is not None),
        confidence=_held(known, (promql.CONFIDENCE, promql.DETECTIONS, promql.CONFIDENCE_LINE)),
        latency=None if slow is None or line is None else Slow(slow, line),
    )


def _held(
    known: Mapping[tuple[str, str], float], names: tuple[str, str, str], field: str = "", default: float | None = None
) -> Held | None:
    """Return a share with its line by the names of share, count and line; None where one of them is not known."""
    share, of, line = (known.get((name, field)) for name in names)
    line = default if line is None else line
    return None if share is None or of is None or line is None else Held(Rate(share, of), line, field)


def _values(samples: Iterable[Sample]) -> dict[tuple[str, str], float]:
    """Return values by series and field. What is no number, or what two series say differently, is no data.

    An operator that was restarted leaves its series for a while beside those of the next pod: they say the same.
    """
    every: dict[tuple[str, str], set[float]] = {}
    for sample in samples:
        key = sample.metric.get("__name__", ""), sample.metric.get("field", "")
        every.setdefault(key, set()).add(sample.number)
    return {key: next(iter(values)) for key, values in every.items() if len(values) == 1 and _is_usable(*values)}


def _is_usable(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _beside(series: VersionSeries, earlier: tuple[Sample, ...]) -> VersionSeries:
    """Return the series with how the version before did."""
    parts = {(sample.metric.get("of", ""), sample.metric.get("field", "")): sample.number for sample in earlier}
    known = {key: value for key, value in parts.items() if _is_usable(value)}
    fields = (replace(one, before=_share(known, promql.FOUND, promql.SHOULD, one.field)) for one in series.fields)
    sure, slow = series.confidence, series.latency
    return replace(
        series,
        fields=tuple(fields),
        confidence=None if sure is None else replace(sure, before=_share(known, promql.SURE, promql.BOXES)),
        latency=None if slow is None else replace(slow, before=known.get((promql.SLOW, ""))),
    )


def _share(known: Mapping[tuple[str, str], float], part: str, whole: str, field: str = "") -> Rate | None:
    count, of = known.get((part, field)), known.get((whole, field))
    return Rate(min(count / of, 1.0), of) if count is not None and of else None
