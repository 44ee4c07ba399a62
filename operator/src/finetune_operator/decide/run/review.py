"""The stages between verdict and record: is it still current, does a person have to decide (rows R23 to R30, R270)."""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from ...api.meta import ConditionStatus, find
from ...api.policy import Policy
from ...api.policy_status import Rejected
from ...api.run import BY_GATES, Evidence, Ruling, RunStatus
from .. import text
from ..commands import run_command, with_remedy
from ..decision import Decision
from ..rejections import in_words, rejection_of
from ..snapshot import default_seed
from ..times import later, span, stamp, whole_seconds
from .acceptance import live_is_unknown, policy_not_found, policy_not_looked_at, was_looked_at
from .again import end_as_live, end_outrun, is_current, is_outrun, itself_live, measure_again
from .copies import is_copy
from .grounds import gates_text, grounds_of, objections, reasons_of
from .stage import Continue, RunContext
from .status import blocked, finish, mark, say, unblocked
from .view import RunView, recorded_every

_NAME: Final = 64
_REASON: Final = 1024
"""Characters of a person's name and reason that messages quote."""


def end_served(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """End a run whose candidate went live before this round measured it: it would be measured against itself (R270).

    Not what a person rejected: that ends by the no (R172). A copy is told when it is judged (R110).
    """
    itself = None if status.verdict is not None else itself_live(context, status)
    if itself is None or said_no(context.view, status) is not None or is_copy(context.view, status):
        return Continue(status)
    return end_as_live(context, unblocked(context.view, status), itself)


def check_still_current(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Void a verdict that was measured against something else than what is live now (R23), but not a copy's (R110)."""
    if status.promotion is not None:
        return Continue(status)
    view, grounds = context.view, grounds_of(status)
    if grounds is None:
        message = with_remedy("the status lost what the verdict stands on", f"make a new run: {run_command(view.run)}")
        return finish(view, status, "Failed", "StatusIncomplete", message)
    if context.policy is None:
        problem = policy_not_found(view.run.spec.policy, view.run.metadata.namespace, context.run_document.model)
        return blocked(view, status, problem, status.phase or "Evaluating")
    if not was_looked_at(context.policy):
        # One that was made anew says that nothing is live, until it has seen its Deployment.
        return blocked(view, status, policy_not_looked_at(context.policy), status.phase or "Evaluating")
    if is_current(context, grounds) or persons_no(view, status) is not None or is_copy(view, status):
        return Continue(unblocked(view, status))
    unknown = live_is_unknown(context.policy)
    if unknown is not None:
        return blocked(view, status, unknown, status.phase or "Evaluating")
    status = unblocked(view, status)
    return measure_again(context, status, grounds.inputs.ever)


def persons_no(view: RunView, status: RunStatus) -> Ruling | None:
    """Return a person's no to the candidate: the one on record, or a review of this run's evidence, of any round.

    It is about the bytes, so nothing that goes live meanwhile makes it void, and neither a gate overrules it nor an
    approval that came before: what the gates alone reject may pass another time (R111).
    """
    ruling = status.decision
    if status.verdict in (None, "Error") or status.promotion is not None or status.evidence is None:
        return None
    if ruling is not None and ruling.verdict == "Reject" and ruling.by != BY_GATES:
        return ruling
    return said_no(view, status)


def said_no(view: RunView, status: RunStatus) -> Ruling | None:
    """Return what a review says now that rejects this run's evidence, of any round."""
    review, evidence = view.run.spec.review, status.evidence
    digests = (*status.earlier_evidence, *(() if evidence is None else (evidence.digest,)))
    if review is None or review.decision != "Reject" or review.evidence not in digests:
        return None
    return Ruling(verdict="Reject", by=review.by, at=view.now, reason=review.reason)


def show_verdict(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Show the verdict; end a run whose gates could not be judged (R26)."""
    view, message = context.view, gates_text(status.gates)
    match status.verdict:
        case "Pass":
            return Continue(mark(view, status, "GatesPassed", "True", "Pass", message))
        case "Reject":
            return Continue(mark(view, status, "GatesPassed", "False", "Reject", message))
        case "Review":
            return Continue(status)
        case _:
            status = mark(view, status, "GatesPassed", "False", "GateError", message)
            remedy = f"mend that, then make a new run, which trains again: {run_command(view.run)}"
            return finish(view, status, "Failed", "GateError", with_remedy(message, remedy))


def await_review(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Wait for a person, until the review expires (R27 to R30)."""
    evidence, policy, no = status.evidence, context.policy, persons_no(context.view, status)
    if no is not None:
        return Continue(ruled(context.view, status, no))
    if status.verdict != "Review" or status.promotion is not None or evidence is None or policy is None:
        return Continue(status)
    sha256 = "" if status.candidate is None else status.candidate.sha256
    known = rejection_of(sha256, context.view.versions, policy.status)
    if known is not None:
        return _rejected_before(context, status, known)
    if status.decision is not None or is_left_behind(context, status):
        return Continue(status)
    view, review = context.view, context.view.run.spec.review
    since = status.review_since or view.now
    status = replace(status, review_since=since)
    if review is not None and review.evidence == evidence.digest:
        ruling = Ruling(verdict=review.decision, by=review.by, at=view.now, reason=review.reason)
        return Continue(ruled(view, status, ruling))
    until = later(since, _review_time(policy))
    status, left = _open_for(view, status, _review_time(policy))
    if left <= timedelta():
        message = f"nobody decided within {int(_review_time(policy).total_seconds())} s"
        return Continue(mark(view, status, "GatesPassed", "False", "ReviewExpired", message))
    reason, message = _review_needed(context, status, evidence, until)
    status = mark(view, status, "GatesPassed", "Unknown", reason, message)
    return Decision(say(status, "InReview", message), (), min(left, recorded_every(policy.spec.review.timeout_seconds)))


def ruled(view: RunView, status: RunStatus, ruling: Ruling) -> RunStatus:
    """Return the status with a person's decision; where the gates decided by themselves, what they said stands."""
    if status.decision == ruling:
        return status
    status = replace(status, decision=ruling)
    if status.verdict != "Review":
        return status
    approved = ruling.verdict == "Approve"
    value: ConditionStatus = "True" if approved else "False"
    message = f"{'approved' if approved else 'rejected'} by {decided_by(ruling)}; {gates_text(status.gates)}"
    return mark(view, status, "GatesPassed", value, "Reviewed", message)


def _open_for(view: RunView, status: RunStatus, most: timedelta) -> tuple[RunStatus, timedelta]:
    """Return how much is left of the time for a review, with what went by on record from time to time.

    Only time that the operator runs counts: a wall clock that is set expires nobody's review.
    """
    since = status.review_since or view.now
    lasted = view.now - since if view.observed is None else span(status.review_seconds) + view.observed
    new = lasted - span(status.review_seconds)
    if view.observed is not None and (new >= recorded_every(whole_seconds(most)) or lasted >= most):
        status = replace(status, review_seconds=whole_seconds(lasted), review_seen_at=view.now)
    return status, most - lasted


def end_overtaken(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """End a run that no round is left to, when its record is made (R64)."""
    if not is_left_behind(context, status) or persons_no(context.view, status) is not None:
        return Continue(status)
    return end_outrun(context, status)


def is_left_behind(context: RunContext, status: RunStatus) -> bool:
    """Tell whether the judgement is of something that is no longer live, and cannot be made again."""
    grounds = grounds_of(status)
    if status.promotion is not None or grounds is None or context.policy is None:
        return False
    return is_outrun(status) and not is_current(context, grounds)


def end_rejected(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """End what was rejected, by a gate or a person, or what nobody decided (R25, R28, R30)."""
    view, ruling = context.view, status.decision
    if ruling is None:
        condition = find(status.conditions, "GatesPassed")
        remedy = f"to ask for a review of {status.version} again, without training: {run_command(view.run)}"
        message = with_remedy(condition.message if condition else "nobody decided", remedy)
        return finish(view, status, "Expired", "ReviewExpired", message)
    # One that comes when the promotion is asked for already waits for the end of that (R170).
    if ruling.verdict == "Reject" and status.promotion is None:
        return rejected(context, status, ruling)
    return Continue(status)


def rejected(context: RunContext, status: RunStatus, ruling: Ruling) -> Decision[RunStatus]:
    """End a run whose candidate a gate or a person rejected."""
    view = context.view
    status = mark(view, status, "Promoted", "False", "Rejected", f"rejected by {text.quoted(ruling.by, _NAME)}")
    by = BY_GATES if ruling.by == BY_GATES else decided_by(ruling)
    message = f"{status.version} was rejected by {by}; {objections(status.gates) or 'every gate passed'}"
    again = run_command(view.run, seed=default_seed(context.uid))
    remedy = f"more pages in the pool make a new run train anew; so does another seed: {again}"
    return finish(view, status, "Rejected", "Rejected", with_remedy(message, remedy))


def _rejected_before(context: RunContext, status: RunStatus, no: Rejected) -> Decision[RunStatus]:
    """End a run whose candidate a person rejected as another run's: nobody is asked again, and no yes counts (R244)."""
    view, text = context.view, f"nobody is asked about the candidate: {in_words(no)}"
    status = mark(view, status, "GatesPassed", "False", "JudgedBefore", text)
    again = run_command(view.run, seed=default_seed(context.uid))
    message = with_remedy(text, f"to train anew with another seed: {again}")
    return finish(view, status, "Rejected", "JudgedBefore", message)


def decided_by(ruling: Ruling) -> str:
    """Return who decided and why, as messages have it: both are anybody's words."""
    return f"{text.quoted(ruling.by, _NAME)}: {text.quoted(ruling.reason, _REASON) or 'no reason given'}"


def _review_time(policy: Policy) -> timedelta:
    return span(policy.spec.review.timeout_seconds)


def _review_needed(context: RunContext, status: RunStatus, evidence: Evidence, until: datetime) -> tuple[str, str]:
    """Return reason and message of a review: what it is about, until when, where to look, and how it is made."""
    run, review = context.view.run, context.view.run.spec.review
    patch = f'{{"spec":{{"review":{{"decision":"Approve","evidence":"{evidence.digest}","by":"YOUR NAME"}}}}}}'
    command = f"kubectl -n {run.metadata.namespace} patch finetunerun {run.metadata.name} --type merge -p '{patch}'"
    what = reasons_of(status.gates) or "Review"
    message = (
        f"{what}: a person decides until {stamp(until)}: {objections(status.gates)}; the report is report.json beside "
        f"{evidence.uri}"
    )
    remedy = f"to approve it (or Reject, with a reason): {command}"
    if review is None:
        return "ReviewNeeded", with_remedy(message, remedy)
    other = f"the review by {text.quoted(review.by, _NAME)} is of other evidence ({review.evidence[:80]})"
    return "ReviewNotForThisEvidence", with_remedy(f"{other}; {message}", remedy)
