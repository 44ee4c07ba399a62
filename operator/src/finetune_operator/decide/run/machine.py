"""What a FineTuneRun does next: docs/develop/state-machines.md, rows R1 to R39 and R56 on, as a chain of stages."""

from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from ...api.meta import find
from ...api.names import snapshot_name
from ...api.run import FINAL_PHASES, RunStatus
from ...api.run_document import document_sha256
from ..attempts.history import active_jobs, deletions, swept
from ..commands import run_command, with_remedy
from ..decision import Action, CreateSnapshot, Decision
from ..since import dated
from ..snapshot import snapshot_of_run, spec_hash
from ..times import soonest
from ..views import Problem
from .acceptance import Refused, Waits, accept
from .adopt import adopt
from .copies import end_copy
from .late_no import keep_no
from .metrics import metrics
from .promote import leave_to_people, promote
from .record import record_version
from .review import await_review, check_still_current, end_overtaken, end_rejected, end_served, show_verdict
from .stage import RunContext, Stage, suspended
from .status import blocked, concluded, events, finish, first_visit, say, unblocked, worth_writing
from .turn import place_of, wait_for_turn
from .twins import await_twin
from .view import RunView
from .work import evaluate, prepare, train

STAGES: Final[tuple[Stage, ...]] = (
    prepare,  # draw the mix, and fix every digest
    await_twin,  # wait for a run under way that asks for the same
    adopt,  # take over what a run made that trained the same on the same samples, or end as it ended
    train,  # fine-tune the base, and export
    end_served,  # end a run whose candidate went live by another record of it
    evaluate,  # measure candidate, base and what is live; judge
    check_still_current,  # measure again, or give way, when another version went live meanwhile
    end_copy,  # end a run whose candidate another one made
    show_verdict,  # end a run whose gates could not be judged
    await_review,  # wait for a person where a gate asks for one
    record_version,  # reserve a number and make the ModelVersion
    end_overtaken,  # end what went live changed too often for
    end_rejected,  # end what a gate or a person rejected, or what nobody decided
    leave_to_people,  # end where the policy promotes by hand, or holds
    promote,  # ask for the promotion, and end as it ends
)
# A cache that starts may show a Job before the snapshot that it was made from.
DOCUMENT_GRACE: Final = timedelta(seconds=30)


def decide(view: RunView) -> Decision[RunStatus]:
    """Return the next status of a run and what is to be done. Total: it never raises."""
    before = view.run.status
    if view.run.metadata.deletion_timestamp is not None:
        return Decision(before)
    if before.phase in FINAL_PHASES:
        return Decision(before, deletions(active_jobs(view.jobs)))
    decision = concluded(view, keep_no(view, _next(view, first_visit(view))))
    place = place_of(view.run, decision.status)
    seen = replace(decision.status, observed_generation=view.run.metadata.generation, place=place)
    status = dated(before, worth_writing(before, seen), view.now)
    sweep, due = swept(status.attempts, view.jobs, view.now)
    # Metrics go first: nothing asks for them a second time when another action is refused.
    left = (action for action in sweep if action not in decision.actions)
    actions = (*metrics(view, status), *decision.actions, *left, *events(before, status))
    return Decision(status, actions, soonest(decision.requeue_after, due))


def _next(view: RunView, status: RunStatus) -> Decision[RunStatus]:
    """Fix the snapshot first; then follow the stages up to the one that has something to wait for."""
    if view.snapshot_problem is not None:
        message = with_remedy(view.snapshot_problem.message, f"to begin anew: {run_command(view.run)}")
        return finish(view, status, "Failed", view.snapshot_problem.reason, message)
    if view.snapshot is None or status.snapshot is None:
        return _accepted(view, status)
    return _staged(RunContext(view, view.snapshot), status)


def _accepted(view: RunView, status: RunStatus) -> Decision[RunStatus]:
    """Take in policy and base, and fix them in the snapshot, before the first Job (R4, R6 to R11)."""
    if any(attempt.job_uid is not None for attempt in status.attempts):
        return _snapshot_missing(view, status)
    accepted = accept(view)
    if isinstance(accepted, Waits):
        return blocked(view, status, accepted.problem, "Pending")
    if isinstance(accepted, Refused):
        problem = accepted.problem
        return finish(view, blocked(view, status, problem, "Pending").status, "Failed", problem.reason, problem.message)
    held = suspended(view)
    if held is not None:
        return Decision(say(unblocked(view, status), "Suspended", held.message))
    waits = wait_for_turn(view, status)
    if waits is not None:
        return waits
    # Whatever stands under that name before the intent is written is somebody else's.
    run_document = snapshot_of_run(view.run, accepted.policy, accepted.base)
    name = snapshot_name(view.run.metadata.name, view.run.metadata.uid)
    sha256 = document_sha256(run_document)
    status = replace(status, snapshot=name, snapshot_sha256=sha256, model=run_document.model)
    status = replace(status, asks=spec_hash(run_document, view.run))
    return _staged(RunContext(view, run_document), status, (CreateSnapshot(name, run_document),))


def _staged(context: RunContext, status: RunStatus, actions: tuple[Action, ...] = ()) -> Decision[RunStatus]:
    """Follow the stages, and take along the actions of those that did not stop."""
    for stage in STAGES:
        outcome = stage(context, status)
        actions = (*actions, *outcome.actions)
        if isinstance(outcome, Decision):
            return Decision(outcome.status, actions, outcome.requeue_after)
        status = outcome.status
    return Decision(status, actions)


def _snapshot_missing(view: RunView, status: RunStatus) -> Decision[RunStatus]:
    """End a run whose snapshot was deleted: what it was to be judged by cannot be known any more (R38)."""
    message = f"ConfigMap {status.snapshot}, the snapshot of this run, is gone"
    message = with_remedy(message, f"to begin anew: {run_command(view.run)}")
    condition = find(status.conditions, "Accepted")
    since = condition.last_transition_time if condition and condition.reason == "SnapshotMissing" else None
    if since is None or (view.now - since if view.observed is None else view.observed) < DOCUMENT_GRACE:
        waiting = blocked(view, status, Problem("SnapshotMissing", message), status.phase or "Pending")
        return Decision(waiting.status, (), DOCUMENT_GRACE)
    return finish(view, status, "Failed", "SnapshotLost", message)
