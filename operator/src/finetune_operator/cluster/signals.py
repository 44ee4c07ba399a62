"""What a policy hears of its Deployment: the narrow port to a Prometheus, and how its answers are read."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from ..api.policy import Policy
from ..decide.policy.by_series import FIELD_LINE, asks_for_before, is_watched_by_series
from ..decide.signals import Against, Alert, Alerts, FieldRate, Rate, VersionSeries
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
    names = {field for name, field in known if name == promql.RATIO}
    rates = [
        FieldRate(
            field,
            Rate(known[promql.RATIO, field], known[promql.EXPECTED, field]),
            known.get((promql.FIELD_LINE, field), FIELD_LINE),
        )
        for field in sorted(names)
        if (promql.EXPECTED, field) in known
    ]
    return VersionSeries(
        documents=known.get((promql.DOCUMENTS, "")),
        fields=tuple(rates),
        confidence=_against(known, promql.CONFIDENCE, promql.CONFIDENCE_LINE),
        latency=_against(known, promql.LATENCY, promql.LATENCY_LINE),
    )


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


def _against(known: Mapping[tuple[str, str], float], series: str, line: str) -> Against | None:
    value, beside = known.get((series, "")), known.get((line, ""))
    return None if value is None or beside is None else Against(value, beside)


def _beside(series: VersionSeries, earlier: tuple[Sample, ...]) -> VersionSeries:
    """Return the series with how the version before did."""
    parts = {(sample.metric.get("of"), sample.metric.get("field", "")): sample.number for sample in earlier}
    known = {key: value for key, value in parts.items() if _is_usable(value)}
    fields = []
    for field in series.fields:
        count, of = (known.get((half, field.field)) for half in (promql.FOUND, promql.SHOULD))
        before = Rate(min(count / of, 1.0), of) if count is not None and of else None
        fields.append(replace(field, before=before))
    return replace(
        series,
        fields=tuple(fields),
        confidence=_as_before(series.confidence, known.get((promql.SURE, ""))),
        latency=_as_before(series.latency, known.get((promql.SLOW, ""))),
    )


def _as_before(figure: Against | None, before: float | None) -> Against | None:
    return None if figure is None else replace(figure, before=before)
