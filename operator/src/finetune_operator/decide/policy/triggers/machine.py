"""A policy's triggers: what is due, what keeps it back, and the one run that is fired (rows D140 to D156)."""

from dataclasses import dataclass
from dataclasses import replace as with_changes
from datetime import datetime, timedelta
from typing import assert_never

from msgspec.structs import replace

from ....api.meta import ConditionStatus
from ....api.model_version import ModelVersion
from ....api.policy_status import PolicyStatus
from ....api.run import RunSpec
from ....api.scan import Counted
from ....api.triggers import Fired, RunTrigger, Triggers
from ...bases import default_base, loses_fields, why_no_default
from ...decision import CreateRun, Decision
from ...views import Explanation, PolicyView, Problem
from . import brakes, memory, performance, rebuild, schedule, volume
from .counted import counted, look_in_words
from .wish import Missing, Wish, clock_time, samples

NO_TRIGGERS = Explanation("NoTriggers", "")


@dataclass(frozen=True, slots=True)
class Firing:
    """The run that is to be fired: why, of which counts, from which base, and its try number."""

    wish: Wish
    counts: Counted
    base: ModelVersion
    attempt: int


def fire(view: PolicyView) -> Decision[PolicyStatus] | None:
    """Fire the run that is due, remembered first; make what a crash kept from being made (D147, D150).

    The status goes first (decision 2), and the name is made from the pool, so that a second try makes the same run.
    """
    view = _with(view, schedule.anchored(view, memory.refreshed(view)))
    view = _with(view, rebuild.recounted(view))
    view = _with(view, _without_pointless(view))
    status, ruling = view.policy.status, judge(view)
    if isinstance(ruling, Firing):
        window = schedule.due(status, view.now)
        status = memory.planned(view, ruling.wish, ruling.counts, ruling.base, ruling.attempt)
        status = status if window is None else schedule.passed(status, window)
        view = _with(view, status)
    elif isinstance(ruling, Missing) and ruling.for_good:
        window = schedule.due(status, view.now)
        status = status if window is None else schedule.passed(status, window)
    return Decision(status, _making(view, judge(view)), _wait(view, ruling))


def due(view: PolicyView) -> tuple[ConditionStatus, str, str]:
    """Return the condition Due: what was fired or is to be made, or what is missing and when it is looked at again."""
    ruling = judge(view)
    match ruling:
        case Fired():
            reason = f": {ruling.reason}" if ruling.reason else ""
            said = f"run '{ruling.run}' ({ruling.kind}), try {ruling.attempt or 1}{reason}"
            if ruling.outcome == "Planned":
                return "True", "Firing", f"{said}; it is not there yet, and made as soon as the API server takes it"
            draft = brakes.DRAFT if (ruling.run, "Suspended") in view.underway else ""
            return "True", "Fired", f"{said}{draft}"
        case Firing():
            return "True", "Firing", ruling.wish.reason
        case Missing(explanation=explanation):
            return "False", explanation.reason, explanation.message


def judge(view: PolicyView) -> Firing | Fired | Missing:
    """Return the run to be fired, the one that was and is not over, or what is missing."""
    rules, fired = _rules(view), memory.open_entry(view.policy.status)
    if rules is None:
        return Missing(NO_TRIGGERS)
    if fired is not None and fired.outcome == "Underway":
        return fired
    braked = brakes.standing(view) or brakes.underway(view)
    if braked is not None:
        return braked
    counts = counted(view)
    if isinstance(counts, Problem):
        return Missing(counts)
    return fired if fired is not None else _ruled(view, rules, counts)


def _ruled(view: PolicyView, rules: Triggers, counts: Counted) -> Firing | Missing:
    """Return the run that the counts ask for: a rebuild before a fine-tune, which trains in vain beside it."""
    base = default_base(view.versions, view.policy)
    if base is None:
        return Missing(why_no_default(view.versions, view.policy))
    if not rebuild.is_on(view):
        return _ripe(view, rules, counts, _wish(view, rules, counts), base)
    rebuilt = _ripe(view, rules, counts, rebuild.wish(view, counts, base), base)
    if isinstance(rebuilt, Firing) or not rules.any:
        return rebuilt
    tuned = _ripe(view, rules, counts, _wish(view, rules, counts), base)
    return tuned if isinstance(tuned, Firing) else _both(tuned, rebuilt)


def _both(tuned: Missing, rebuilt: Missing) -> Missing:
    """Return what both miss, a rebuild that is due and kept back first; a window of the schedule is the fine-tune's."""
    first, second = (tuned, rebuilt) if rebuilt.explanation.reason in rebuild.NOT_DUE else (rebuilt, tuned)
    moments = [again for again in (tuned.again, rebuilt.again) if again is not None]
    text = f"{first.explanation.message}; {second.explanation.message}"
    return Missing(Explanation(first.explanation.reason, text), min(moments, default=None), for_good=tuned.for_good)


def _wish(view: PolicyView, rules: Triggers, counts: Counted) -> Wish | Missing:
    """Return what one of the triggers asks for, or what all of them miss."""
    status, now = view.policy.status, view.now
    by_alert = None if rules.performance is None else performance.wish(rules.performance, view, counts)
    by_volume = None if rules.volume is None else volume.wish(rules.volume, counts)
    wish = by_alert or by_volume or schedule.wish(status, counts, now)
    if wish is not None:
        return wish
    wrong = None if rules.schedule is None else schedule.problem(rules.schedule)
    if wrong is not None:
        return Missing(wrong)
    next_window = schedule.coming(status, now)
    alert = None if rules.performance is None else performance.missing(rules.performance, view, counts)
    parts = [alert.message] if alert is not None else []
    parts.append(samples(counts.new) if rules.volume is None else volume.missing(rules.volume, counts))
    parts.append(look_in_words(view, counts))
    if next_window is not None:
        parts.append(f"next window at {clock_time(next_window, beside=counts.at)}")
    return Missing(Explanation(_why(rules, counts, alert), "; ".join(parts)), next_window, for_good=True)


def _why(rules: Triggers, counts: Counted, alert: Explanation | None) -> str:
    """Return the reason why nothing is due: what somebody has to do something about goes first."""
    only = rules.volume is None and rules.schedule is None
    if alert is not None and (only or alert.reason == performance.NEEDS_LABELS):
        return alert.reason
    return "WaitingForWindow" if rules.volume is None and counts.new > 0 else "NotEnoughNewSamples"


def _ripe(
    view: PolicyView, rules: Triggers, counts: Counted, wish: Wish | Missing, base: ModelVersion
) -> Firing | Missing:
    """Return the run that is to be fired, or what keeps it back."""
    if isinstance(wish, Missing):
        return wish
    lost = loses_fields(base, view.versions, view.policy, rebuilds=wish.rebuilds)
    if lost is not None:
        return Missing(lost, for_good=True)
    small = brakes.too_small(view, counts)
    if small is not None:
        return small
    attempt = memory.next_try(view, rules, wish, counts, base)
    if isinstance(attempt, Missing):
        return attempt
    return brakes.too_soon(view, rules) or Firing(wish, counts, base, attempt)


def _rules(view: PolicyView) -> Triggers | None:
    """Return the triggers of a policy that has one; where rebuilds are its only one, with the defaults' brakes."""
    rules = view.policy.spec.triggers or Triggers()
    return rules if rules.any or rebuild.is_on(view) else None


def _without_pointless(view: PolicyView) -> PolicyStatus:
    """Return the status without runs that were to be made, and that nobody would fire now (D171).

    Something stood in the way, and meanwhile triggers went, another run had what was new, more is asked for, what it
    starts from is the default no more, or lacks fields of what is live by now (D232, D250). A window that is still due
    is one again.
    """
    status, rules, counts = view.policy.status, _rules(view), counted(view)
    if rules is not None and isinstance(counts, Problem):
        return status
    pointless = [e for e in status.fired if e.outcome == "Planned" and not _is_wanted(view, e, rules, counts)]
    for entry in pointless:
        status = schedule.given_back(status, entry.at) if entry.kind == "Schedule" else status
    return replace(status, fired=tuple(e for e in status.fired if e not in pointless)) if pointless else status


def _is_wanted(view: PolicyView, entry: Fired, rules: Triggers | None, counts: Counted | Problem) -> bool:
    base = default_base(view.versions, view.policy)
    if rules is None or isinstance(counts, Problem) or brakes.too_small(view, counts) is not None:
        return False
    if base is None or base.spec.artifact.sha256 != entry.base:
        return False  # it names its base, and nobody would name that one now
    if loses_fields(base, view.versions, view.policy, rebuilds=entry.kind == "Rebuild") is not None:
        return False
    match entry.kind:
        case "Rebuild":
            return rebuild.is_on(view) and isinstance(rebuild.wish(view, counts, base), Wish)
        case "Volume":
            return rules.volume is not None and volume.wish(rules.volume, counts) is not None
        case "Performance":
            return rules.performance is not None and performance.is_wanted(rules.performance, view, counts)
        case "Schedule" | "Manual":
            return rules.schedule is not None and counts.new > 0
        case _:
            assert_never(entry.kind)


def _making(view: PolicyView, ruling: Firing | Fired | Missing) -> tuple[CreateRun, ...]:
    """Return the run that is fired and not made yet; none while something stands in the way by now."""
    rules = _rules(view)
    if rules is None or not isinstance(ruling, Fired) or ruling.outcome != "Planned":
        return ()
    return (CreateRun(ruling.run, _spec(view, rules, ruling)),)


def _spec(view: PolicyView, rules: Triggers, entry: Fired) -> RunSpec:
    name = view.policy.metadata.name
    return RunSpec(
        policy=name,
        mode="Rebuild" if entry.kind == "Rebuild" else "FineTune",
        base_version=entry.base_version or None,
        suspend=rules.start == "Suspended",
        trigger=RunTrigger(
            kind=entry.kind, reason=entry.reason, figures=entry.figures, requester=f"FineTunePolicy {name}"
        ),
    )


def _wait(view: PolicyView, ruling: Firing | Fired | Missing) -> timedelta | None:
    """Return when a clock alone may change something."""
    again: datetime | None = ruling.again if isinstance(ruling, Missing) else None
    return None if again is None else max(again - view.now, timedelta(seconds=1))


def _with(view: PolicyView, status: PolicyStatus) -> PolicyView:
    return with_changes(view, policy=replace(view.policy, status=status))
