"""The performance trigger: it fires while an alert fires for the Deployment, if enough samples are new."""

from collections.abc import Iterator
from typing import Final

from ....api.figures import Figure
from ....api.scan import Counted
from ....api.triggers import PerformanceTrigger
from ...signals import Alert, Alerts
from ...text import listed, plain
from ...views import Explanation, PolicyView, Problem
from .wish import Wish, samples

NEEDS_LABELS: Final = "LabelsNeeded"
"""Why nothing is fired though an alert fires: people have to label first."""

_NAMED: Final = 3
"""Alerts that a message names."""

_LONGEST: Final = 10**9
"""Seconds that a figure says at most."""


def heard(rules: PerformanceTrigger, view: PolicyView) -> tuple[Alert, ...] | Problem | None:
    """Return the alerts that say so of what is live, or why nobody knows; None where Prometheus was not asked.

    A version that went has its windows for hours after it: its alert is no reason to train. While a promotion flies
    the same holds of what it replaces.
    """
    alerts, live = view.alerts, view.policy.status.live
    if not isinstance(alerts, Alerts):
        return alerts
    if view.policy.status.in_flight is not None:
        return ()
    versions = {"", *(() if live is None else (live.version,))}
    return tuple(
        alert
        for alert in alerts.firing
        if alert.name in rules.alerts and alert.version in versions and alert.seconds >= rules.for_seconds
    )


def wish(rules: PerformanceTrigger, view: PolicyView, counts: Counted) -> Wish | None:
    """Return the run that the trigger asks for: an alert fires, and so many samples are new."""
    alerts = heard(rules, view)
    if not isinstance(alerts, tuple) or not alerts or counts.new < rules.new_samples:
        return None
    figures = (
        Figure(name="alerts", value=str(len(alerts))),
        Figure(name="alertSeconds", value=str(min(max(alert.seconds for alert in alerts), _LONGEST))),
    )
    enough = f"{samples(counts.new)}, and {rules.new_samples} are enough"
    return Wish("Performance", f"{in_words(alerts)}; {enough}", figures)


def is_wanted(rules: PerformanceTrigger, view: PolicyView, counts: Counted) -> bool:
    """Tell whether a run that was to be made is still asked for; a Prometheus that is away takes nothing back."""
    return not isinstance(heard(rules, view), tuple) or wish(rules, view, counts) is not None


def missing(rules: PerformanceTrigger, view: PolicyView, counts: Counted) -> Explanation:
    """Return what the trigger waits for, in words; what to label next where an alert fires."""
    alerts = heard(rules, view)
    if isinstance(alerts, Problem):
        return Explanation(alerts.reason, alerts.message)
    if not alerts:
        return Explanation("NoAlertFires", _no_alert(rules, view))
    more = rules.new_samples - counts.new
    wanted = "1 more verified sample starts a run" if more == 1 else f"{more} more verified samples start a run"
    return Explanation(NEEDS_LABELS, "; ".join((in_words(alerts), *_waiting(view, counts, alerts), wanted)))


def _waiting(view: PolicyView, counts: Counted, alerts: tuple[Alert, ...]) -> Iterator[str]:
    """Yield what there is to label: pages of the alerts' fields, else all; nothing where none is captured.

    The counts are by class index, of the policy as it is: those by another class list are none (row D124).
    """
    waiting, classes = counts.waiting, view.policy.spec.classes
    if waiting is None:
        return
    by_field = dict(zip(classes, waiting.fields, strict=False))
    fields = [name for name in classes if name in {alert.field for alert in alerts} and name in by_field]
    for name in fields[:_NAMED]:
        yield f"field {plain(name)}: {_pages(by_field[name])} in production/"
    if not fields:
        yield f"{_pages(waiting.pages)} in production/"


def _pages(count: int) -> str:
    return "1 page reported or uncertain waits" if count == 1 else f"{count} pages reported or uncertain wait"


def in_words(alerts: tuple[Alert, ...]) -> str:
    """Return which alerts fire, and of which fields."""
    fields: dict[str, list[str]] = {}
    for alert in alerts:
        fields.setdefault(alert.name, []).extend([plain(alert.field)] if alert.field else [])
    names = [f"{name} ({listed(sorted(set(of)), most=_NAMED)})" if of else name for name, of in sorted(fields.items())]
    verb = "alert fires" if len(names) == 1 else "alerts fire"
    return f"{verb}: {listed(names, most=_NAMED)}"


def _no_alert(rules: PerformanceTrigger, view: PolicyView) -> str:
    """Return that no alert counts, and why one that fires does not."""
    alerts = view.alerts
    if view.policy.status.in_flight is not None:
        return "no alert counts while a promotion flies"
    if not isinstance(alerts, Alerts) or not alerts.firing:
        return "no alert fires"
    if any(alert.seconds < rules.for_seconds for alert in alerts.firing):
        return f"no alert has been so for {rules.for_seconds} s yet"
    return "no alert fires for what is live"
