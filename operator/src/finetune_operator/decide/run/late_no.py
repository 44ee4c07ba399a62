"""A person's no to a candidate whose promotion is asked for: it counts until that takes off (rows R170 and R171)."""

from ...api.policy import Policy
from ...api.promotion import Promotion
from ...api.run import BY_GATES, Ruling, RunStatus
from ..commands import promoting
from .review import decided_by, ruled, said_no
from .stage import RunContext

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
