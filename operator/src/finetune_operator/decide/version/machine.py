"""What a ModelVersion's status says: what became of it, and how an imported base was measured (rows V1 to V7)."""

from datetime import timedelta
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from ...api.meta import ConditionStatus, find, oldest_first, set_condition, with_all
from ...api.model_version import VersionPhase, VersionStatus
from ...api.names import snapshot_name
from ...api.policy import Policy
from ...api.run_document import RunDocument, document_sha256
from ...api.step_result import EvaluateResult
from ...api.value import canonical_json
from .. import limits
from ..attempts import results
from ..attempts.clock import as_recorded
from ..attempts.engine import advance
from ..attempts.history import active_jobs, attempt_text, deletions, newly_failed, swept
from ..attempts.step import AttemptsView, StepFailed, StepRequest, StepSucceeded, StepUnderway
from ..decision import Action, CreateSnapshot, Decision, Emit
from ..gates.evidence import test_set_of
from ..gates.regression import CANDIDATE_MAP50
from ..gates.served import CONFIDENCE, SECONDS, seconds, seen_in_production
from ..gates.shares import share
from ..rejections import in_words, rejection_on
from ..since import dated
from ..snapshot import snapshot_of_base
from ..templates import evaluating_role, evaluating_template, usable_template
from ..text import quarantined_in_words, taken_back_in_words
from ..times import soonest, stamp
from ..views import Explanation, Problem
from .metrics import metrics
from .record import record_due, served_before
from .view import VersionView

DEADLINE: Final = timedelta(hours=6)
"""Running time of one verification: a test set of some thousand pages takes minutes on a CPU."""

_ABOUT_BYTES: Final = frozenset(
    ("DigestMismatch", "NotANumber", "FindsNothing", "BaseUnusable", "ClassListDiffers", "ClassListInvalid")
)
_TRIED_AGAIN: Final = frozenset(
    ("BackoffLimitExceeded", "TooManyDisruptions", "DeadlineExceeded", "NameTaken", "SnapshotInvalid")
)
"""What the last release took for the end of a verification, and what people can mend without the bytes."""

_BELOW: Final = "BelowFloor"
"""The one verdict that a policy can change: what was measured stands, and is held against its floor anew (V45)."""

CONDITIONS: Final = ("Verified", "Live")
_NO_WAITS: Final = frozenset(("NotYet", "Starting", "Running", "Collecting", "PolicyNotFound", "PolicySuspended"))
"""Reasons of a verification that is not decided, though its Job waits for nothing."""
_PATIENCE: Final = frozenset(("Queued", "PodsEnding", "JobDeleting", "PodTemplateChanged"))
"""Waiting for these is nobody's mistake."""


def decide(view: VersionView) -> Decision[VersionStatus]:
    """Return the next status of a version and what is to be done. Total: it never raises."""
    before = view.version.status
    if view.version.metadata.deletion_timestamp is not None:
        return Decision(before)
    measured = _measured(view, _first_visit(view))
    status = _summary(view, _served(view, measured.status))
    status = replace(status, observed_generation=view.version.metadata.generation)
    status = dated(before, _worth_writing(before, status), view.now)
    record = record_due(view)
    due = () if record is None else (record,)
    sweep, after = swept(status.attempts, view.jobs, view.now)
    left = (action for action in sweep if action not in measured.actions)
    actions = (*metrics(view, status), *measured.actions, *left, *_events(before, status), *due)
    return Decision(status, actions, soonest(measured.requeue_after, after))


def owner_policy(view: VersionView) -> Policy | None:
    """Return the policy that a base is measured by: the oldest of its model."""
    mine = (policy for policy in view.policies if policy.spec.model == view.version.spec.model)
    return next(iter(oldest_first(mine)), None)


def _first_visit(view: VersionView) -> VersionStatus:
    status, generation = view.version.status, view.version.metadata.generation
    return replace(status, conditions=with_all(status.conditions, CONDITIONS, generation=generation, now=view.now))


def _measured(view: VersionView, status: VersionStatus) -> Decision[VersionStatus]:
    """Return what is known of the version's quality; an imported base is measured by a Job of its own."""
    evidence = view.version.spec.evidence
    if evidence is not None:
        message = (
            f"measured by run {view.version.spec.lineage.run}" if view.version.spec.lineage else "measured by a run"
        )
        status = replace(
            status,
            map50=evidence.figure(CANDIDATE_MAP50),
            mean_confidence=_decimal(share(evidence.figure(CONFIDENCE) or "")),
            inference_seconds=_decimal(seconds(evidence.figure(SECONDS) or "")),
            production=seen_in_production(evidence, view.version.spec.classes),
        )
        return Decision(_mark(view, status, "Verified", "True", "EvaluatedByRun", message))
    verified = find(status.conditions, "Verified")
    if verified is not None and verified.reason == _BELOW:
        return Decision(_held_to_the_floor(view, status), deletions(active_jobs(view.jobs)))
    if verified is not None and verified.status != "Unknown" and verified.reason not in _TRIED_AGAIN:
        return Decision(status, deletions(active_jobs(view.jobs)))
    if view.version.spec.type != "Base":
        message = "a fine-tuned version without evidence was not made by a run; it cannot be promoted"
        return Decision(_mark(view, status, "Verified", "False", "NoEvidence", message))
    return _verify(view, status)


def _verify(view: VersionView, status: VersionStatus) -> Decision[VersionStatus]:
    """Measure an imported base on the anchor of its policy (V1 to V5)."""
    policy = owner_policy(view)
    if policy is None:
        message = f"waiting for a FineTunePolicy of model {view.version.spec.model!r}, which says what to measure it on"
        return Decision(_mark(view, status, "Verified", "Unknown", "PolicyNotFound", message))
    if view.snapshot_problem is not None:
        return Decision(_refused(view, status, view.snapshot_problem))
    # Whatever stands under that name before the intent is written is somebody else's.
    known = view.snapshot if status.snapshot_sha256 or status.attempts else None
    run_document = known or snapshot_of_base(view.version, policy)
    if known is None:
        status = replace(status, snapshot_sha256=document_sha256(run_document))
    attempts_view = _attempts_view(view, status, policy)
    match advance(attempts_view, _request(view, policy, run_document)):
        case StepSucceeded(attempts, result):
            return Decision(_judged(view, replace(status, attempts=attempts), result))
        case StepFailed(attempts, problem):
            status = _refused(view, replace(status, attempts=attempts), problem)
            return Decision(status, deletions(active_jobs(view.jobs)))
        case StepUnderway() as underway:
            snapshot = CreateSnapshot(attempts_view.snapshot, run_document) if known is None else None
            return _show_underway(view, status, underway, snapshot)


def _request(view: VersionView, policy: Policy, run_document: RunDocument) -> StepRequest[EvaluateResult]:
    """Return what is asked of the Job that measures the base."""
    role = evaluating_role(policy)
    return StepRequest(
        step="verify",
        role=role,
        template=usable_template(role, evaluating_template(view, policy), policy),
        step_inputs=lambda attempt: canonical_json({"attempt": attempt.attempt, "nonce": attempt.nonce}).decode(),
        accept=lambda _, said: results.verified(run_document, said),
        ends=lambda problem: _is_about_bytes(view, policy, problem),
    )


def _attempts_view(view: VersionView, status: VersionStatus, policy: Policy) -> AttemptsView:
    """Return what the engine of attempts looks at."""
    suspended = Explanation("PolicySuspended", f"FineTunePolicy {policy.metadata.name} is suspended")
    return AttemptsView(
        owner=view.version.metadata.name,
        uid=view.version.metadata.uid,
        snapshot=snapshot_name(view.version.metadata.name, view.version.metadata.uid),
        attempts=status.attempts,
        jobs=view.jobs,
        now=view.now,
        backoff_limit=0,
        deadline=DEADLINE,
        suspended=suspended if policy.spec.suspend else None,
        observed=view.observed,
        nonce=view.nonce,
        fingerprint=view.fingerprint,
        snapshot_sha256=status.snapshot_sha256,
    )


def _is_about_bytes(view: VersionView, policy: Policy, problem: Problem) -> bool:
    """Tell whether the trainer's finding is about the version's own bytes, which never change (V3)."""
    spec, message = view.version.spec, problem.message
    if problem.reason not in _ABOUT_BYTES:
        return False
    ours = any(uri in message for uri in (spec.artifact.uri, spec.checkpoint.uri))
    return ours or policy.spec.data.anchor.uri not in message


def _worth_writing(before: VersionStatus, after: VersionStatus) -> VersionStatus:
    """Return `before` if time went by and that is all."""
    if len(before.attempts) != len(after.attempts):
        return after
    attempts = tuple(as_recorded(old, new) for old, new in zip(before.attempts, after.attempts, strict=True))
    return before if replace(after, attempts=attempts) == before else after


def _show_underway(
    view: VersionView, status: VersionStatus, underway: StepUnderway, snapshot: CreateSnapshot | None
) -> Decision[VersionStatus]:
    """Show a verification that is not over; its snapshot goes before its first Job."""
    explanation = underway.explanation
    message = explanation.message if underway.state == "Running" else f"waiting: {explanation.message}"
    status = _mark(
        view, replace(status, attempts=underway.attempts), "Verified", "Unknown", explanation.reason, message
    )
    creates = underway.state == "Running" and bool(underway.actions)
    before: tuple[Action, ...] = (snapshot,) if creates and snapshot is not None else ()
    return Decision(status, (*before, *underway.actions), underway.requeue_after)


def _judged(view: VersionView, status: VersionStatus, result: EvaluateResult) -> VersionStatus:
    """Record the measurement, if it is of the bytes that the version names (V4, V5)."""
    asked, measured = view.version.spec.artifact.sha256, result.models.base.sha256
    hashed = result.artifact.sha256 if result.artifact else measured
    map50 = share(result.models.base.map50)
    if not asked == measured == hashed:
        message = (
            f"the artifact at {view.version.spec.artifact.uri} has sha256 {hashed[:64]}, not {asked}; "
            f"put the bytes back, or import what is there as a new version"
        )
        return _refused(view, status, Problem("DigestMismatch", message))
    if map50 is None:
        message = f"mAP50 {result.models.base.map50[:32]!r} is no share; import the base anew"
        return _refused(view, status, Problem("NotANumber", message))
    if result.test_set.images < 1:
        message = "it was measured on no image; look at the anchor's test split, then import the base anew"
        return _refused(view, status, Problem("NotANumber", message))
    if map50 == 0:
        message = (
            f"mAP50 is 0 on {result.test_set.images} test images: it finds nothing of what is labelled there; "
            f"see that base and anchor are of the same documents, then import the base anew"
        )
        return _refused(view, status, Problem("FindsNothing", message))
    status = replace(
        status,
        map50=str(map50),
        mean_confidence=_decimal(share(result.models.base.mean_confidence)),
        inference_seconds=_decimal(seconds(result.models.base.inference_seconds)),
        test_set=test_set_of(result),
    )
    return _held_to_the_floor(view, status)


def _decimal(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _held_to_the_floor(view: VersionView, status: VersionStatus) -> VersionStatus:
    """Hold what was measured against the least mAP50 of the policy that it was measured by (V4, V45).

    Asked of a base that was just measured or is below the floor: a verified one may serve, whatever is raised later.
    """
    policy, map50 = owner_policy(view), share(status.map50 or "")
    if policy is None or map50 is None or status.test_set is None:
        return status
    message, least = f"mAP50 {map50} on {status.test_set.images} test images", policy.spec.verification.min_map50
    if map50 < least:
        message = (
            f"{message} is below {least}, the minMap50 of FineTunePolicy {policy.metadata.name} (spec.verification); "
            f"import a better base, or lower it"
        )
        return _refused(view, status, Problem(_BELOW, message))
    return _mark(view, status, "Verified", "True", "Verified", message)


def _refused(view: VersionView, status: VersionStatus, problem: Problem) -> VersionStatus:
    return _mark(view, status, "Verified", "False", problem.reason, problem.message)


def _served(view: VersionView, status: VersionStatus) -> VersionStatus:
    """Record that the version went live or ceased to be (V6)."""
    digest = view.version.spec.artifact.sha256
    live = next((p for p in view.policies if p.status.live and p.status.live.sha256 == digest), None)
    was_live = find(status.conditions, "Live")
    if live is not None and live.status.live is not None:
        message = f"live on Deployment {live.spec.deployment} by policy {live.metadata.name}"
        status = replace(status, live_since=live.status.live.since)
        return _mark(view, status, "Live", "True", "Live", message)
    if was_live is not None and was_live.status == "True":
        status = replace(status, last_live=view.now)
    return _mark(view, status, "Live", "False", *_why_not_live(view, status))


def _why_not_live(view: VersionView, status: VersionStatus) -> tuple[str, str]:
    """Return reason and message: it failed (V15), was taken back (V14), served before (V12, V16), or did not."""
    failed, digest = _quarantined(view), view.version.spec.artifact.sha256
    if failed is not None:
        return "Quarantined", failed
    for policy in view.policies:
        taken = policy.status.taken_back_of(digest)
        if taken is not None:
            return "TakenBack", taken_back_in_words(taken, policy.spec.deployment)
    if status.last_live is not None:
        return "Retired", f"served until {stamp(status.last_live)}"
    return ("Retired", "served before, by its service record") if served_before(view.version) else ("NeverLive", "")


def _quarantined(view: VersionView) -> str | None:
    """Return where and on what evidence the version is quarantined; None where it is not (V15)."""
    for policy in view.policies:
        entry = policy.status.quarantine_of(view.version.spec.artifact.sha256)
        if entry is not None:
            words = quarantined_in_words(entry, f"on Deployment {policy.spec.deployment}")
            return f"{words}: {entry.evidence}" if entry.evidence else words
    return None


def _rejected(view: VersionView) -> str | None:
    """Return who rejected the bytes of a version whose own review says nothing of that; None: nobody (V23)."""
    spec = view.version.spec
    if spec.evidence is not None and spec.evidence.persons_no is not None:
        return None
    known = (policy.status.rejected_of(spec.artifact.sha256) for policy in view.policies)
    no = next((no for no in known if no is not None), None) or rejection_on(view.version)
    return None if no is None else in_words(no, spec.version)


def _summary(view: VersionView, status: VersionStatus) -> VersionStatus:
    """Derive the phase from the conditions and the policies."""
    verified, live = find(status.conditions, "Verified"), find(status.conditions, "Live")
    phase = _phase(view, status)
    message = verified.message if verified else ""
    if live and live.message and (phase == "Live" or (verified and verified.status != "Unknown")):
        message = live.message
    no = _rejected(view)
    if no is not None:
        message = no if phase == "Rejected" else f"{message}; {no}, which came when it had served" if message else no
    message = _quarantined(view) or message
    return replace(status, phase=phase, message=message[: limits.MESSAGE])


def _phase(view: VersionView, status: VersionStatus) -> VersionPhase:
    spec = view.version.spec
    if _quarantined(view) is not None:
        return "Quarantined"
    if _is(status, "Live"):
        return "Live"
    if status.last_live is not None or served_before(view.version):
        return "Retired"
    if (spec.evidence is not None and spec.evidence.rejected_by is not None) or _rejected(view) is not None:
        return "Rejected"
    if not spec.is_import:
        return "Candidate"
    return "Verified" if _is(status, "Verified") else "Imported"


def _is(status: VersionStatus, kind: str) -> bool:
    condition = find(status.conditions, kind)
    return condition is not None and condition.status == "True"


def _mark(
    view: VersionView, status: VersionStatus, kind: str, value: ConditionStatus, reason: str, message: str
) -> VersionStatus:
    generation = view.version.metadata.generation
    conditions = set_condition(status.conditions, kind, value, reason, message, generation=generation, now=view.now)
    return replace(status, conditions=conditions)


def _events(before: VersionStatus, after: VersionStatus) -> tuple[Action, ...]:
    """Return the Events of a change: phases, why a base was not verified, and what its verification waits for (R55)."""
    events: list[Action] = []
    if after.phase != before.phase and after.phase not in (None, "Imported"):
        events.append(Emit("Warning" if after.phase == "Quarantined" else "Normal", str(after.phase), after.message))
    old, new = find(before.conditions, "Verified"), find(after.conditions, "Verified")
    changed = new is not None and (old is None or (old.status, old.reason) != (new.status, new.reason))
    if (
        new is not None
        and changed
        and (new.status == "False" or (new.status == "Unknown" and new.reason not in _NO_WAITS))
    ):
        events.append(Emit("Normal" if new.reason in _PATIENCE else "Warning", new.reason, new.message))
    failed = newly_failed(before.attempts, after.attempts)
    events.extend(Emit("Warning", a.reason, f"{attempt_text(a)}: {a.message}") for a in failed)
    return tuple(events)
