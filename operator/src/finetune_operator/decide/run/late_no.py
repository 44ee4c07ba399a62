"""A person's no that comes late: its promotion is asked for, or it is measured again (R170 to R172)."""

from msgspec.structs import replace

from ...api.model_version import ModelVersion
from ...api.policy import Policy
from ...api.promotion import Promotion
from ...api.run import BY_GATES, FINAL_PHASES, Ruling, RunStatus
from ..commands import promoting, run_command, with_remedy
from ..decision import Decision
from ..snapshot import default_seed
from .copies import is_copy, same_bytes
from .review import decided_by, ruled, said_no
from .stage import RunContext
from .status import finish, mark, unblocked
from .view import RunView

_FLYING = frozenset(("Flipping", "Watching", "Succeeded", "RolledBack"))
_UNJUDGED = frozenset(("Failed", "Superseded"))
"""Ends of a run that say nothing of its candidate."""


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
    words = f"rejected by {decided_by(no)}, when it had taken off: it is gone back to only where there is no other"
    return words, _way_back(context, status)


def keep_no(view: RunView, decision: Decision[RunStatus]) -> Decision[RunStatus]:
    """End as rejected what a person rejected in any round, and no judgement will say so (R172).

    What is on record of the same bytes could go live by another run, so that waits for no other round. Where nothing
    is, the judgement of the next round makes a record that says no; only where there will be none, the run ends so.
    """
    status, records = decision.status, _records(view, decision.status)
    no = standing_no(status) or said_no(view, status)
    is_over, is_open = status.phase in _UNJUDGED, status.verdict is None and status.phase not in FINAL_PHASES
    if no is None or status.candidate is None or not (is_over or (is_open and records)):
        return decision
    if is_copy(view, status) or (status.promotion is not None and _has_flown(view.policy, status, view.promotion)):
        return decision
    if records:
        status = replace(status, version=records[0].spec.version, model_version=records[0].metadata.name)
    text = f"{status.version or 'its candidate'} was rejected by {decided_by(no)}; measured again it was not"
    message = with_remedy(
        f"{text}: {status.message}" if is_over else text,
        f"to train anew with another seed: {run_command(view.run, seed=default_seed(view.run.metadata.uid))}",
    )
    if is_open:  # an attempt that is planned in this look has no Job yet, and gets none
        status = replace(unblocked(view, status), attempts=status.attempts[: len(view.run.status.attempts)])
    status = mark(view, replace(status, decision=no), "Promoted", "False", "Rejected", text)
    ended = finish(view, status, "Rejected", "Rejected", message)
    return Decision(ended.status, decision.actions if is_over else (), decision.requeue_after)


def _records(view: RunView, status: RunStatus) -> list[ModelVersion]:
    """Return the records of the candidate's bytes, that of the round which was rejected first."""
    digest = view.run.spec.review.evidence if view.run.spec.review is not None else ""
    return sorted(same_bytes(view, status), key=lambda v: v.spec.evidence is None or v.spec.evidence.digest != digest)


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
