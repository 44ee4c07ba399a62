"""A person's no that comes late: its promotion is asked for, or the next round comes to no judgement (R170 to R172)."""

from msgspec.structs import replace

from ...api.policy import Policy
from ...api.promotion import Promotion
from ...api.run import BY_GATES, Ruling, RunStatus
from ..commands import promoting, run_command, with_remedy
from ..decision import Decision
from ..snapshot import default_seed
from .review import decided_by, ruled, said_no
from .stage import RunContext
from .status import finish, mark
from .view import RunView

_FLYING = frozenset(("Flipping", "Watching", "Succeeded", "RolledBack"))


def take_no(context: RunContext, status: RunStatus, promotion: Promotion | None) -> RunStatus:
    """Take in a no that comes before the promotion took off: the policy refuses that, and then the run ends.

    Until then nobody knows which of the two was first, so that the run waits for the promotion's end.
    """
    no = said_no(context.view, status)
    if no is None or standing_no(status) is not None or _has_flown(context.policy, status, promotion):
        return status
    return ruled(context.view, status, no)


def standing_no(status: RunStatus) -> Ruling | None:
    """Return a person's no that is on record."""
    ruling = status.decision
    return ruling if ruling is not None and ruling.verdict == "Reject" and ruling.by != BY_GATES else None


def is_stopped(context: RunContext, status: RunStatus) -> str:
    """Return in words that a promotion which has yet to act never will; empty where nobody said no."""
    no, namespace = standing_no(status), context.view.run.metadata.namespace
    if no is None:
        return ""
    return (
        f"{status.version} was rejected by {decided_by(no)}; its promotion is refused as soon as the policy looks at "
        f"it; to end it at once: kubectl delete modelpromotion {status.promotion} -n {namespace}"
    )


def came_late(context: RunContext, status: RunStatus) -> tuple[str, str]:
    """Return in words that a no came after take-off, and how to go back; empty where nobody said no, or nothing is."""
    no = standing_no(status) or said_no(context.view, status)
    if no is None:
        return "", ""
    return f"rejected by {decided_by(no)}, when it had taken off", _way_back(context, status)


def keep_no(view: RunView, decision: Decision[RunStatus]) -> Decision[RunStatus]:
    """End as rejected what failed without a judgement, where a person rejected it in an earlier round.

    What was recorded in that round could go live by another run.
    """
    status, candidate = decision.status, decision.status.candidate
    no = said_no(view, status)
    if status.phase != "Failed" or status.verdict not in (None, "Error") or candidate is None or no is None:
        return decision
    review, same = view.run.spec.review, (v for v in view.versions if v.spec.artifact.sha256 == candidate.sha256)
    named = (v for v in same if review and v.spec.evidence and v.spec.evidence.digest == review.evidence)
    record = next(named, None)
    if record is not None:
        status = replace(status, version=record.spec.version, model_version=record.metadata.name)
    text = f"{status.version or 'its candidate'} was rejected by {decided_by(no)}; measured again it was not"
    again = run_command(view.run, seed=default_seed(view.run.metadata.uid))
    message = with_remedy(f"{text}: {status.message}", f"to train anew with another seed: {again}")
    status = mark(view, replace(status, decision=no), "Promoted", "False", "Rejected", text)
    ended = finish(view, status, "Rejected", "Rejected", message)
    return Decision(ended.status, decision.actions, decision.requeue_after)


def _way_back(context: RunContext, status: RunStatus) -> str:
    """Return the command that goes back to what was live before; it ends a flight that is under way."""
    policy, evidence = context.policy, status.evidence
    if policy is None or evidence is None or evidence.live is None or status.version is None:
        return ""
    return f"to go back: {promoting(policy, evidence.live, status.version)}"


def _has_flown(policy: Policy | None, status: RunStatus, promotion: Promotion | None) -> bool:
    """Tell whether the promotion took off, by itself, the policy's flight or memory, or what is live."""
    if promotion is not None and promotion.status.phase in _FLYING:
        return True
    if policy is None:
        return False
    memory, sha256 = policy.status, status.candidate.sha256 if status.candidate is not None else ""
    flight = memory.in_flight is not None and memory.in_flight.promotion == status.promotion
    outcomes = {entry.outcome for entry in memory.consumed if entry.name == status.promotion}
    return flight or not outcomes.isdisjoint(_FLYING) or (memory.live is not None and memory.live.sha256 == sha256)
