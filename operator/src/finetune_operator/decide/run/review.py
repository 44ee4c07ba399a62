"""The stages between the verdict and its record: is it still current, does a human have to decide (rows R23 to R30)."""

from datetime import timedelta

from msgspec.structs import replace

from ...api.meta import ConditionStatus, find
from ...api.policy import Policy
from ...api.run import Decision as Ruling
from ...api.run import Evidence, RunStatus
from ..decision import Decision
from ..times import span
from .acceptance import policy_not_found
from .grounds import gates_text, grounds_of
from .stage import Case, Go
from .status import blocked, finish, mark, say, unblocked
from .work import evaluate


def still_current(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Void a verdict that was measured against something else than what is live now (R23)."""
    if status.promotion is not None:
        return Go(status)
    view, found = case.view, grounds_of(status)
    if found is None:
        told = "the status lost what the verdict stands on; make a new run"
        return finish(view, status, "Failed", "StatusIncomplete", told)
    if case.policy is None:
        problem = policy_not_found(view.run.spec.policy, view.run.metadata.namespace)
        return blocked(view, status, problem, status.phase or "Evaluating")
    status = unblocked(view, status)
    live = case.policy.status.live
    if (live.sha256 if live else None) == found.evidence.live_sha256:
        return Go(status)
    served = live.version if live else "nothing"
    if live and _pool_of(case, live.sha256) > found.inputs.pool:
        told = f"{live.version}, trained on a larger pool, went live meanwhile"
        status = mark(view, status, "GatesPassed", "Unknown", "LiveChanged", told)
        return finish(view, status, "Superseded", "NewerPoolIsLive", told)
    told = f"{served} is live now, {found.evidence.live or 'nothing'} was when this was measured: measuring again"
    return evaluate(case, _voided(case, status, told))


def gates_known(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Show the verdict; end a run whose gates could not be judged (R26)."""
    view, told = case.view, gates_text(status)
    match status.verdict:
        case "Pass":
            return Go(mark(view, status, "GatesPassed", "True", "Pass", told))
        case "Reject":
            return Go(mark(view, status, "GatesPassed", "False", "Reject", told))
        case "Review":
            return Go(status)
        case _:
            status = mark(view, status, "GatesPassed", "False", "GateError", told)
            return finish(view, status, "Failed", "GateError", told)


def reviewed(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Wait for a human, until the review expires (R27 to R30)."""
    evidence, policy = status.evidence, case.policy
    if status.verdict != "Review" or status.decision is not None or evidence is None or policy is None:
        return Go(status)
    view, review = case.view, case.view.run.spec.review
    since = status.review_since or view.now
    status = replace(status, review_since=since)
    if review is not None and review.evidence == evidence.digest:
        ruling = Ruling(verdict=review.decision, by=review.by, at=view.now, reason=review.reason)
        approved = review.decision == "Approve"
        value: ConditionStatus = "True" if approved else "False"
        told = "approved" if approved else "rejected"
        words = f"{told} by {review.by}: {review.reason or 'no reason given'}; {gates_text(status)}"
        return Go(mark(view, replace(status, decision=ruling), "GatesPassed", value, "Reviewed", words))
    left = since + _review_time(policy) - view.now
    if left <= timedelta():
        told = f"nobody decided within {int(_review_time(policy).total_seconds())} s"
        return Go(mark(view, status, "GatesPassed", "False", "ReviewExpired", told))
    reason, told = _review_needed(case, evidence)
    status = mark(view, status, "GatesPassed", "Unknown", reason, f"{told}; {gates_text(status)}")
    return Decision(say(status, "InReview", f"{told}; {gates_text(status)}"), (), left)


def rejected(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """End what was rejected, by a gate or a human, or what nobody decided (R25, R28, R30)."""
    view, ruling = case.view, status.decision
    if ruling is None:
        condition = find(status.conditions, "GatesPassed")
        return finish(view, status, "Expired", "ReviewExpired", condition.message if condition else "")
    if ruling.verdict == "Reject":
        status = mark(view, status, "Promoted", "False", "Rejected", f"rejected by {ruling.by}")
        told = (
            f"{status.version} was rejected by {ruling.by}: {ruling.reason or 'no reason given'}; {gates_text(status)}"
        )
        return finish(view, status, "Rejected", "Rejected", told)
    return Go(status)


def _voided(case: Case, status: RunStatus, told: str) -> RunStatus:
    status = mark(case.view, status, "GatesPassed", "Unknown", "LiveChanged", told)
    status = mark(case.view, status, "Evaluated", "Unknown", "LiveChanged", told)
    return replace(
        status,
        verdict=None,
        gates=(),
        measurements=None,
        evidence=None,
        decision=None,
        review_since=None,
    )


def _pool_of(case: Case, sha256: str) -> int:
    """Return the pool size that the version of that digest was trained from; 0 for a base."""
    lineages = (v.spec.lineage for v in case.view.versions if v.spec.artifact.sha256 == sha256)
    return max((lineage.pool for lineage in lineages if lineage), default=0)


def _review_time(policy: Policy) -> timedelta:
    return span(policy.spec.review.timeout_seconds)


def _review_needed(case: Case, evidence: Evidence) -> tuple[str, str]:
    """Return reason and message of a review that is to be made, with the command that makes it."""
    run, review = case.view.run, case.view.run.spec.review
    patch = f'{{"spec":{{"review":{{"decision":"Approve","evidence":"{evidence.digest}","by":"YOUR NAME"}}}}}}'
    command = f"kubectl -n {run.metadata.namespace} patch finetunerun {run.metadata.name} --type merge -p '{patch}'"
    if review is None:
        return "ReviewNeeded", f"a human decides (Approve or Reject): {command}"
    told = f"the review by {review.by[:64]} is of other evidence ({review.evidence[:80]}); look at {evidence.uri} and"
    return "ReviewNotForThisEvidence", f"{told} {command}"
