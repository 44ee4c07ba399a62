"""What keeps every trigger from firing: a state of the policy, a run that is not judged, the cool-down, the week."""

from datetime import datetime, timedelta
from typing import Final

from ....api.policy_status import PolicyStatus
from ....api.scan import Counted
from ....api.triggers import Triggers
from ... import times
from ...deployment import deployment_problem
from ...templates import templates_problem
from ...text import listed
from ...views import Explanation, PolicyView
from ..holds import cause_of
from .counted import look_in_words
from .wish import Missing, clock_time

WEEK: Final = timedelta(days=7)

DRAFT: Final = "; a suspended one goes on when its spec.suspend is false, or delete it"


def standing(view: PolicyView) -> Missing | None:
    """Return what stands in the way whatever was counted: suspension, a hold, a policy with which no run can start."""
    policy = view.policy
    hold, problem = policy.status.hold, deployment_problem(view) or templates_problem(view)
    if policy.spec.suspend:
        return Missing(Explanation("Suspended", "the policy is suspended; set spec.suspend to false"))
    if hold is not None:
        return Missing(Explanation("OnHold", f"the policy is held ({hold.reason}): {cause_of(hold)}"))
    if problem is not None:
        return Missing(Explanation("PolicyNotReady", f"no run could start: {problem.reason}: {problem.message}"))
    return None


def underway(view: PolicyView) -> Missing | None:
    """Return that a run of the policy is neither over nor judged: what it trains on is not done with.

    A person's run counts, and a draft; one in review does not.
    """
    runs = view.underway
    if not runs:
        return None
    names = listed([f"'{name}' ({phase or 'new'})" for name, phase in sorted(runs)], most=3)
    release = DRAFT if any(phase == "Suspended" for _, phase in runs) else ""
    word = "run is" if len(runs) == 1 else "runs are"
    text = f"{len(runs)} {word} under way, and the samples of each are new until it is judged: {names}{release}"
    return Missing(Explanation("RunUnderway", text))


def too_small(view: PolicyView, counts: Counted) -> Missing | None:
    """Return that a run would be refused for its pool: `spec.minPoolSamples`, or nothing is held out to measure on."""
    spec = view.policy.spec
    if counts.outside < spec.min_pool_samples:
        text = f"{counts.outside} of {spec.min_pool_samples} samples that the base does not know, which "
        text += "spec.minPoolSamples asks for"
    elif spec.holdout > 0 and counts.held_out == 0:
        text = f"0 samples are held out (holdout {spec.holdout}), so nothing would be measured on; verify pages of "
        text += "more documents, or hold out a larger share"
    else:
        return None
    return Missing(Explanation("PoolTooSmall", f"{text}; {look_in_words(view, counts)}"), for_good=True)


def too_soon(view: PolicyView, rules: Triggers) -> Missing | None:
    """Return that the cool-down since the newest run that was fired is not over, or that the week has its runs."""
    status, now = view.policy.status, view.now
    newest = max((entry.at for entry in status.fired), default=None)
    if newest is not None:
        end = times.later(newest, timedelta(seconds=rules.cooldown_seconds))
        if end > now:
            text = f"cooling down until {clock_time(end, beside=newest)}, {rules.cooldown_seconds} s after the last run"
            return Missing(Explanation("CoolingDown", text), end)
    week = _of_the_week(view, status)
    if len(week) >= rules.max_runs_per_week:
        free = times.later(sorted(week)[-rules.max_runs_per_week], WEEK)
        text = f"{len(week)} runs were fired in 7 days, the most that spec.triggers.maxRunsPerWeek allows; next one at "
        return Missing(Explanation("WeeklyLimit", text + clock_time(free, beside=view.now - WEEK)), free)
    return None


def _of_the_week(view: PolicyView, status: PolicyStatus) -> list[datetime]:
    return [entry.at for entry in status.fired if times.later(entry.at, WEEK) > view.now]
