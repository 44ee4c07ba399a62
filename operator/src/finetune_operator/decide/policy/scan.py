"""Scans: a short Job now and then counts pool and captured pages, and removes what is too old (rows D120 to D128)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from msgspec.structs import replace

from ...api.names import scan_document_name
from ...api.policy import Policy
from ...api.policy_status import PolicyStatus
from ...api.run import Attempt
from ...api.run_document import document_sha256
from ...api.scan import Basis, Counted, ScanStatus
from ...api.step_result import ScanResult, StepResult
from ...api.value import canonical_json
from .. import limits
from ..attempts import results
from ..attempts.clock import as_recorded
from ..attempts.engine import advance
from ..attempts.history import attempt_text, newly_failed, swept
from ..attempts.step import AttemptsView, StepFailed, StepRequest, StepSucceeded, StepUnderway
from ..bases import default_base
from ..decision import Action, CreateJob, CreateSnapshot, Decision, Emit
from ..snapshot import document_of_scan
from ..templates import usable_template
from ..times import moment, soonest
from ..views import PolicyView, Problem
from .scanned import events, interval, is_past, say_scanned, until_stale, without_scanned

DEADLINE: Final = timedelta(hours=2)
"""Running time of one scan: the first one of a large pool takes a minute, and a clock may be off by an hour."""

_LONG_AGO: Final = timedelta(days=1)
"""Longer than any pause between attempts."""

_OPEN: Final = frozenset(("Planned", "Running"))


@dataclass(frozen=True, slots=True)
class _Step:
    """Where the scans of a policy stand: what is to be recorded and done, and what stands in their way.

    `waits` is what the one under way waits for, in words to be put behind a sentence.
    """

    scans: ScanStatus
    actions: tuple[Action, ...] = ()
    after: timedelta | None = None
    problem: Problem | None = None
    waits: str = ""


def wants_scan(policy: Policy) -> bool:
    """Tell whether anybody has to know what pool and captured pages are, or that old pages are removed.

    Pages expire in a suspended policy, too; its triggers wait, and need no counts.
    """
    spec = policy.spec
    fires = spec.triggers is not None or spec.rebuild_rules.pool_samples is not None
    return spec.data.production is not None or (fires and not spec.suspend)


def basis_now(view: PolicyView) -> Basis:
    """Return what a scan would count by now; counts by anything else are no counts of the policy as it is."""
    policy = view.policy
    base = default_base(view.versions, policy)
    return Basis(
        document=document_sha256(document_of_scan(policy)),
        base="" if base is None else base.spec.artifact.sha256,
        judged=tuple(dict.fromkeys(entry.inputs.sha256 for entry in policy.status.judged)),
    )


def document_name(policy: Policy) -> str:
    """Return the name of the ConfigMap with the document of a scan: one for each that the policy ever had."""
    return scan_document_name(policy.metadata.name, policy.metadata.uid, document_sha256(document_of_scan(policy)))


def scan(view: PolicyView) -> Decision[PolicyStatus] | None:
    """Count pool and captured pages where that is due, and say in `Scanned` what came of it."""
    policy, before = view.policy, view.policy.status
    if not wants_scan(policy):
        return _given_up(view)
    known = before.scan or ScanStatus()
    basis = basis_now(view)
    step = _blocked(view, known) or _waiting(view, known, basis) or _advanced(view, known, basis)
    scans = _worth_writing(known, step.scans)
    failed = newly_failed(known.attempts, scans.attempts)
    status = say_scanned(view, replace(before, scan=scans), basis, step.problem, step.waits)
    sweep, due = swept(scans.attempts, view.jobs, view.now)
    actions = (
        *step.actions,
        *(action for action in sweep if action not in step.actions),
        *(Emit("Warning", a.reason, f"{attempt_text(a)}: {a.message}") for a in failed),
        *events(before, status),
    )
    return Decision(status, actions, soonest(step.after, due, until_stale(view, scans)))


def _given_up(view: PolicyView) -> Decision[PolicyStatus] | None:
    """End what is under way where nothing is to be scanned any more; the number of the newest attempt stays."""
    status = view.policy.status
    if status.scan is None:
        return None
    ended = tuple(
        replace(a, outcome="Suspended", finished_at=view.now, counted=False) if a.outcome in _OPEN else a
        for a in status.scan.attempts
    )
    sweep, due = swept(ended, view.jobs, view.now)
    return Decision(replace(without_scanned(status), scan=ScanStatus(attempts=ended[-1:])), sweep, due)


def _blocked(view: PolicyView, known: ScanStatus) -> _Step | None:
    """Stand back where an older policy has the Deployment: pages are kept as long as one policy says."""
    if not view.rivals:
        return None
    name, other = view.policy.spec.deployment, view.rivals[0]
    text = f"Deployment {name!r} belongs to the older policy {other!r}, which scans its pages; delete one of the two"
    return _Step(known, problem=Problem("DeploymentTaken", text))


def _waiting(view: PolicyView, known: ScanStatus, basis: Basis) -> _Step | None:
    """Wait while the counts are of the policy as it is, and not older than the interval; None: a scan is due."""
    if known.attempts and known.attempts[-1].outcome not in ("Succeeded", "Suspended"):
        return None
    counted = known.counted
    if counted is None or counted.basis != basis or not is_past(counted.at, view.now):
        return None
    left = interval(view.policy) - (view.now - counted.at)
    return _Step(known, after=left) if left > timedelta() else None


def _advanced(view: PolicyView, known: ScanStatus, basis: Basis) -> _Step:
    """Bring the scan that is due or under way further."""
    policy, document = view.policy, document_of_scan(view.policy)
    state = advance(_attempts_view(view, known, basis), _request(view, known, basis))
    attempts = _kept(state.attempts)
    match state:
        case StepSucceeded(_, result):
            return _taken(view, replace(known, attempts=attempts), basis, result)
        case StepFailed(_, problem):
            return _Step(replace(known, attempts=attempts), problem=problem)
        case StepUnderway(actions=actions, requeue_after=after):
            scans = replace(known, attempts=attempts)
            if any(isinstance(action, CreateJob) for action in actions):
                scans = replace(scans, basis=basis)
                if not view.scan_document:
                    actions = (CreateSnapshot(document_name(policy), document), *actions)
            return _Step(scans, actions, after, _trouble(state, attempts), _waits(view, state, attempts))


def _trouble(state: StepUnderway, attempts: tuple[Attempt, ...]) -> Problem | None:
    """Return what a scan does not get further for: what stands in its way, or failed and would fail again.

    The next attempt mends nothing by being made, so that stands until one succeeds.
    """
    if state.state == "Blocked":
        return Problem(state.explanation.reason, state.explanation.message)
    failed = next((a for a in reversed(attempts) if a.outcome == "Failed"), None)
    return Problem(failed.reason, f"{attempt_text(failed)}: {failed.message}") if failed and failed.fatal else None


def _waits(view: PolicyView, state: StepUnderway, attempts: tuple[Attempt, ...]) -> str:
    """Return what the scan under way waits for, by its reason alone: each other word of a pod would be a write."""
    if state.state != "Waiting" or not isinstance(state.explanation, Problem) or attempts[-1].outcome not in _OPEN:
        return ""
    newest, namespace = attempts[-1], view.policy.metadata.namespace
    command = f"kubectl get events -n {namespace} | grep {newest.job}"
    return f"; {attempt_text(newest)}, waits: {state.explanation.reason}; what says why: {command}"


def _taken(view: PolicyView, scans: ScanStatus, basis: Basis, result: ScanResult) -> _Step:
    """Take the counts, unless they are by another document, base or judged run than those of now: then scan again."""
    if scans.basis != basis:
        return _Step(scans, after=timedelta(seconds=1))
    counted = Counted(
        at=moment(view.now),
        basis=basis,
        pool=result.pool,
        held_out=result.held_out,
        withdrawn=result.withdrawn,
        outside=result.outside,
        new=result.new,
        corrected=result.corrected,
        by_image=result.by_image,
        listing=result.listing,
        pages=result.pages,
        waiting=result.waiting,
        reports=result.reports,
        answered=result.answered,
    )
    return _Step(replace(scans, counted=counted), tuple(_expired(view.policy, result)), interval(view.policy))


def _expired(policy: Policy, result: ScanResult) -> Iterator[Emit]:
    production = policy.spec.data.production
    if result.expired_days and production is not None:
        days = "1 day" if result.expired_days == 1 else f"{result.expired_days} days"
        yield Emit(
            "Normal", "PagesExpired", f"removed {days} of captured pages, older than {production.keep_days} days"
        )


def _attempts_view(view: PolicyView, known: ScanStatus, basis: Basis) -> AttemptsView:
    metadata, attempts = view.policy.metadata, known.attempts
    # A clock that was set back must not hold up what failed by the clock before.
    failed_at = attempts[-1].finished_at if attempts and attempts[-1].outcome == "Failed" else None
    ahead = failed_at is not None and not is_past(failed_at, view.now)
    return AttemptsView(
        owner=metadata.name,
        uid=metadata.uid,
        snapshot=document_name(view.policy),
        attempts=attempts,
        jobs=view.jobs,
        now=view.now,
        backoff_limit=0,
        deadline=DEADLINE,
        observed=_LONG_AGO if ahead else None,
        nonce=view.nonce,
        fingerprint=view.fingerprint,
        snapshot_sha256=basis.document,
    )


def _request(view: PolicyView, known: ScanStatus, basis: Basis) -> StepRequest[ScanResult]:
    return StepRequest(
        step="scan",
        role="scan",
        template=usable_template("scan", view.scan_template, view.policy),
        step_inputs=partial(_step_inputs, view, basis),
        accept=partial(_accepted, view, basis if known.basis == basis else None),
        ends=lambda _: False,
    )


def _step_inputs(view: PolicyView, basis: Basis, attempt: Attempt) -> str:
    base = default_base(view.versions, view.policy)
    plans = {entry.inputs.sha256: entry.inputs for entry in view.policy.status.judged}
    step_inputs = {
        "attempt": attempt.attempt,
        "nonce": attempt.nonce,
        "basePlan": None if base is None else base.spec.inputs,
        "judged": [plans[sha256] for sha256 in basis.judged],
    }
    return canonical_json(step_inputs).decode()


def _accepted(view: PolicyView, basis: Basis | None, _: Attempt, said: StepResult) -> ScanResult | Problem:
    """Return what was counted, or why that is not taken; `basis` is None where the scan counts by something else."""
    if basis is None:
        return results.scanned(said, captures=None, classes=None, all_outside=False, all_new=False)
    base = default_base(view.versions, view.policy)
    return results.scanned(
        said,
        captures=view.policy.spec.data.production is not None,
        classes=len(view.policy.spec.classes),
        all_outside=base is None or base.spec.inputs is None,
        all_new=not basis.judged,
    )


def _kept(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Return the newest attempt, and those before it that came after the newest success."""
    since = max((n for n, a in enumerate(attempts) if a.outcome == "Succeeded"), default=0)
    newest = attempts[since:]
    if len(newest) > 1 and newest[0].outcome == "Succeeded":
        newest = newest[1:]
    return newest[-limits.SCAN_ATTEMPTS :]


def _worth_writing(before: ScanStatus, after: ScanStatus) -> ScanStatus:
    """Return `before` if time went by and that is all."""
    if len(before.attempts) != len(after.attempts):
        return after
    attempts = tuple(as_recorded(old, new) for old, new in zip(before.attempts, after.attempts, strict=True))
    return before if replace(after, attempts=attempts) == before else after
