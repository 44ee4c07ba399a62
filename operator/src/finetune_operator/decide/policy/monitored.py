"""Whether what a policy asks its Prometheus has an answer: the condition Monitored, of policies that ask (row D204)."""

from typing import Final

from msgspec.structs import replace

from ...api.meta import ConditionStatus, set_condition
from ...api.policy_status import PolicyStatus
from ...api.triggers import GOT_WORSE
from ..signals import Alerts, VersionSeries
from ..times import moment
from ..views import PolicyView, Problem

CONDITION: Final = "Monitored"


def say_monitored(view: PolicyView, status: PolicyStatus) -> PolicyStatus:
    """Return `status` with the condition; without it where nothing is asked."""
    fact = _fact(view)
    if fact is None:
        if all(condition.type != CONDITION for condition in status.conditions):
            return status
        return replace(status, conditions=tuple(c for c in status.conditions if c.type != CONDITION))
    generation, now = view.policy.metadata.generation, moment(view.now)
    return replace(
        status, conditions=set_condition(status.conditions, CONDITION, *fact, generation=generation, now=now)
    )


def _fact(view: PolicyView) -> tuple[ConditionStatus, str, str] | None:
    answers = [answer for answer in (view.alerts, view.series) if answer is not None]
    if not answers:
        return None
    for answer in answers:
        if isinstance(answer, Problem):
            return "False", answer.reason, answer.message
    return _of_alerts(view) or _of_series(view) or ("True", "PrometheusAnswers", "")


def _of_alerts(view: PolicyView) -> tuple[ConditionStatus, str, str] | None:
    """Return why alerts that do not fire say nothing; one that fires speaks for itself."""
    alerts, name = view.alerts, view.policy.spec.deployment
    if not isinstance(alerts, Alerts) or alerts.firing:
        return None
    if view.policy.status.live is None or view.deployment is None or view.deployment.replicas == 0:
        return "Unknown", "NothingServes", f"no pod of Deployment '{name}' serves a model, so no alert can tell of one"
    if not alerts.scraped:
        text = f"Prometheus has no series of the pods of Deployment '{name}'; see the chart's podMonitor"
        return "False", "NotScraped", text
    if not alerts.ruled and _asks_for_ours(view):
        text = f"Prometheus has none of the series that the chart's rules record of Deployment '{name}'"
        return "False", "RulesMissing", f"{text}; see prometheusRule"
    return None


def _asks_for_ours(view: PolicyView) -> bool:
    triggers = view.policy.spec.triggers
    rules = None if triggers is None else triggers.performance
    return rules is not None and not set(rules.alerts).isdisjoint(GOT_WORSE)


def _of_series(view: PolicyView) -> tuple[ConditionStatus, str, str] | None:
    series, flight = view.series, view.policy.status.in_flight
    if not isinstance(series, VersionSeries) or flight is None or series.fields or series.documents is not None:
        return None
    text = f"Prometheus has no series that the chart's rules record of version '{flight.to.version}' yet"
    return "Unknown", "NoSeries", text
