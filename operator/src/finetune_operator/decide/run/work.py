"""The stages of a run that do work: prepare, train, evaluate (rows R4, R5, R10 to R22)."""

from collections.abc import Callable
from dataclasses import replace as replace_request
from functools import partial
from typing import Final, TypeVar

from msgspec.structs import replace

from ...api.meta import ConditionStatus, FileReference
from ...api.policy_status import LiveVersion
from ...api.run import BY_GATES, Attempt, Inputs, Ruling, RunStatus
from ...api.step_result import StepResult
from ...api.value import canonical_json, plain
from ..attempts import results
from ..attempts.engine import advance
from ..attempts.history import attempt_text, latest
from ..attempts.step import StepFailed, StepRequest, StepSucceeded, StepUnderway
from ..commands import run_command, with_remedy
from ..decision import CreateJob, Decision
from ..gates.evidence import evidence_of
from ..gates.verdict import judge
from ..snapshot import default_seed
from ..templates import evaluating_role, evaluating_template, training_role, usable_template
from ..views import Problem
from .copies import known_bytes
from .drawn import drawn_in_words, plans_of_judged, told_plans
from .stage import Continue, ModelReference, RunContext, attempts_view, model_reference, suspended
from .standing import standing_of
from .status import (
    CONDITION_OF,
    PHASE_OF,
    blocked,
    current_round,
    finish,
    mark,
    progress_text,
    progressed,
    say,
    unblocked,
)
from .turn import wait_for_landing, wait_for_turn
from .version_spec import unwritable

T = TypeVar("T")

MAX_ROUNDS: Final = 3
MAX_EARLIER: Final = 16
"""Earlier attempts that one is told of: contracts/step-inputs.schema.json takes no more."""

# Waiting for these is nobody's mistake: the step's condition stays Unknown.
_PATIENCE: Final = frozenset(("Queued", "PodsEnding", "JobDeleting", "PodTemplateChanged"))


def prepare(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Draw the mix and fix every digest."""
    if status.inputs is not None:
        return Continue(status)
    request = StepRequest(
        step="prepare",
        role="cpu",
        template=usable_template("cpu", context.view.cpu_template, context.policy),
        step_inputs=partial(_prepare_inputs, context),
        accept=partial(_accept_mix, context),
        live=_digest(context.live),
        live_plan=lambda attempt: _plan_of(_fresh_in_pool_by(context, attempt)),
        judged=plans_of_judged(context),
    )
    return _carry_on(context, status, request, partial(_record_inputs, context))


def train(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Fine-tune the base by the plan, or train a new one, and export."""
    inputs = status.inputs
    assert inputs is not None
    if status.candidate is not None:
        return Continue(status)
    role = training_role(context.view.run.spec)
    request = StepRequest(
        step="train",
        role=role,
        template=usable_template(role, context.view.train_template, context.policy),
        step_inputs=partial(_train_inputs, status, inputs),
        accept=lambda _, said: results.trained(context.run_document, inputs, said, known_bytes(context)),
    )
    return _carry_on(context, status, request, partial(_record_candidate, context))


def evaluate(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Measure candidate, base and what is live now; judge by the gates of the snapshot."""
    inputs, candidate = status.inputs, status.candidate
    assert inputs is not None
    assert candidate is not None
    if status.verdict is not None:
        return Continue(status)
    number = current_round(status)
    if number > 1 and latest(status.attempts, "evaluate", number) is None and suspended(context.view) is None:
        landing = wait_for_landing(context.view, status)
        if landing is not None:
            return landing
    role = evaluating_role(context.policy)
    request = StepRequest(
        step="evaluate",
        role=role,
        template=usable_template(role, evaluating_template(context.view, context.policy), context.policy),
        step_inputs=partial(_evaluate_inputs, context, status),
        accept=partial(_accept_evaluation, context, status),
        round=number,
        live=_digest(context.live),
        live_plan=lambda attempt: _plan_of(_measured_beside(context, attempt)),
    )
    return _carry_on(context, status, request, partial(_record_judgement, context))


def _carry_on(
    context: RunContext, status: RunStatus, request: StepRequest[T], record: Callable[[RunStatus, T], RunStatus]
) -> Continue | Decision[RunStatus]:
    """Let the attempt engine go on, and put what it says into the status."""
    kind = CONDITION_OF[request.step]
    request = replace_request(request, accept=partial(_accept_what_fits, context, status, request.accept, record))
    match advance(attempts_view(context, status), request):
        case StepSucceeded(attempts, value):
            return Continue(record(replace(status, attempts=attempts), value))
        case StepFailed(attempts, problem):
            view = context.view
            status = mark(view, replace(status, attempts=attempts), kind, "False", problem.reason, problem.message)
            message = f"{request.step}: {problem.message}"
            if status.candidate is not None:
                message = with_remedy(message, _ways_on(context, status))
            return finish(view, status, "Failed", problem.reason, message)
        case StepUnderway() as underway:
            begins = any(isinstance(action, CreateJob) for action in underway.actions)
            waits = wait_for_turn(context.view, status) if begins else None
            return waits or _show_underway(context, status, request, underway)


def _ways_on(context: RunContext, status: RunStatus) -> str:
    """Return what can be done when an evaluation failed for good.

    A candidate that was judged before is on record: the same spec takes that over, and trains nothing.
    """
    run = context.view.run
    same = f"when that is mended, make a new run: {run_command(run)}"
    if not status.earlier_evidence:
        return same
    anew = run_command(run, seed=default_seed(context.uid))
    return f"{same}; where it lies in the candidate, train anew with another seed: {anew}"


def _accept_what_fits(
    context: RunContext,
    status: RunStatus,
    accept: Callable[[Attempt, StepResult], T | Problem],
    record: Callable[[RunStatus, T], RunStatus],
    attempt: Attempt,
    said: StepResult,
) -> T | Problem:
    """Take a result only if all that is to be written of it can be: in the status, and in the version's record."""
    value = accept(attempt, said)
    if isinstance(value, Problem):
        return value
    done = replace(attempt, outcome="Succeeded")
    attempts = tuple(done if (a.step, a.attempt) == (done.step, done.attempt) else a for a in status.attempts)
    wrong = unwritable(context, record(replace(status, attempts=attempts), value))
    if wrong is None:
        return value
    return Problem("ResultInvalid", f"the result of {attempt.step} is not taken, it cannot be recorded: {wrong}")


def _show_underway(
    context: RunContext, status: RunStatus, request: StepRequest[T], underway: StepUnderway
) -> Decision[RunStatus]:
    """Show a step that is not over."""
    view, explanation = context.view, underway.explanation
    kind, phase = CONDITION_OF[request.step], PHASE_OF[request.step]
    if _newest(underway.attempts) != _newest(status.attempts):
        status = replace(status, progress=None)
    status = replace(status, attempts=underway.attempts)
    match underway.state:
        case "Blocked":
            decision = blocked(view, status, explanation, phase)
        case "Suspended":
            status = mark(view, status, kind, "Unknown", explanation.reason, explanation.message)
            decision = Decision(say(status, "Suspended", explanation.message))
        case "Waiting":
            value: ConditionStatus = "Unknown" if explanation.reason in _PATIENCE else "False"
            status = mark(view, unblocked(view, status), kind, value, explanation.reason, explanation.message)
            decision = Decision(
                say(status, phase, f"{request.step} waits: {explanation.reason}: {explanation.message}")
            )
        case "Running":
            status = mark(view, unblocked(view, status), kind, "Unknown", explanation.reason, explanation.message)
            status = progressed(view, status, request.step)
            shown = progress_text(status.progress, request.step)
            text = f"{attempt_text(status.attempts[-1])}: {shown}" if shown else explanation.message
            decision = Decision(say(status, phase, text))
    return Decision(decision.status, underway.actions, underway.requeue_after)


def _record_inputs(context: RunContext, status: RunStatus, inputs: Inputs) -> RunStatus:
    message = drawn_in_words(inputs, rebuilds=context.view.run.spec.rebuilds)
    return mark(context.view, replace(status, inputs=inputs), "Prepared", "True", "Prepared", message)


def _record_candidate(context: RunContext, status: RunStatus, trained: results.Trained) -> RunStatus:
    status = replace(status, candidate=trained.artifact, checkpoint=trained.checkpoint)
    return mark(context.view, status, "Trained", "True", "Trained", trained.summary)


def _record_judgement(context: RunContext, status: RunStatus, evaluated: results.Evaluated) -> RunStatus:
    """Judge, and bind the verdict to its evidence (R22)."""
    number = current_round(status) - 1
    live_sha256 = next(a.live for a in reversed(status.attempts) if a.step == "evaluate")
    live = model_reference(context, live_sha256)
    standing = standing_of(context, live_sha256, live)
    judgement = judge(context.run_document, evaluated.result, standing)
    evidence = evidence_of(
        context.run_document,
        evaluated.result,
        judgement.gates,
        standing=standing,
        # A version that nobody knows any more keeps its digest as its name: "nothing was live" would be untrue.
        live=live.version if live else live_sha256,
        live_sha256=live_sha256,
        round_=number,
        uri=evaluated.uri,
        provenance=_provenance(status, number),
    )
    message = (
        f"measured on {evaluated.result.test_set.images} test images, round {number}, against {_against(evidence.live)}"
    )
    status = mark(context.view, status, "Promoted", "Unknown", "NotYet")  # it said why an earlier round was void
    return replace(
        mark(context.view, status, "Evaluated", "True", "Evaluated", message),
        gates=judgement.gates,
        verdict=judgement.verdict,
        figures=judgement.figures or (),
        evidence=evidence,
        decision=_ruling(context, judgement.verdict),
    )


def _ruling(context: RunContext, verdict: str) -> Ruling | None:
    """Return the decision that needs no person."""
    match verdict:
        case "Pass":
            return Ruling(verdict="Approve", by=BY_GATES, at=context.view.now, reason="every gate passed")
        case "Reject":
            return Ruling(verdict="Reject", by=BY_GATES, at=context.view.now, reason="a gate rejected it")
        case _:
            return None


def _accept_evaluation(
    context: RunContext, status: RunStatus, attempt: Attempt, said: StepResult
) -> results.Evaluated | Problem:
    assert status.inputs is not None
    assert status.candidate is not None
    return results.evaluated(
        context.run_document,
        status.inputs,
        status.candidate,
        attempt,
        said,
        fresh_by=_fresh_by(context, attempt),
        live_fields=live.fields if (live := _measured_beside(context, attempt)) is not None else None,
    )


def _accept_mix(context: RunContext, attempt: Attempt, said: StepResult) -> Inputs | Problem:
    tells = _was_told(attempt, _fresh_in_pool_by(context, attempt))
    fresh_by = (attempt.live or context.run_document.base.artifact.sha256) if tells else None
    return results.prepared(context.run_document, attempt, said, fresh_by)


def _prepare_inputs(context: RunContext, attempt: Attempt) -> str:
    version = _fresh_in_pool_by(context, attempt)
    known = {"version": version.version, "inputs": plain(version.inputs)} if version is not None else None
    judged = [plain(plan) for plan in told_plans(context, attempt)]
    return _text({"attempt": attempt.attempt, "nonce": attempt.nonce, "live": known, "judged": judged})


def _train_inputs(status: RunStatus, inputs: Inputs, attempt: Attempt) -> str:
    """Name the attempts before this one: it goes on from what they kept, which their nonces seal (R210).

    Of very many those that never ran are left out first: a node that rejects pods makes twenty, and none kept anything.
    """
    before = [a for a in status.attempts if a.step == "train" and a.attempt < attempt.attempt and a.nonce]
    known = sorted(before, key=lambda a: (a.ran_seconds > 0, a.attempt))[-MAX_EARLIER:]
    step_inputs = {
        "attempt": attempt.attempt,
        "nonce": attempt.nonce,
        "plan": plain(inputs.plan),
        "earlier": [{"attempt": a.attempt, "nonce": a.nonce} for a in sorted(known, key=lambda a: a.attempt)],
    }
    return _text(step_inputs)


def _evaluate_inputs(context: RunContext, status: RunStatus, attempt: Attempt) -> str:
    assert status.inputs is not None
    assert status.candidate is not None
    live = _measured_beside(context, attempt)
    step_inputs = {
        "attempt": attempt.attempt,
        "nonce": attempt.nonce,
        "round": attempt.round,
        "plan": plain(status.inputs.plan),
        "candidate": plain(FileReference(uri=status.candidate.uri, sha256=status.candidate.sha256)),
        "live": live and {"version": live.version, "artifact": plain(live.artifact), "inputs": plain(live.inputs)},
    }
    # Later runs begin with a new base's checkpoint; a fine-tune's is nobody's start.
    checkpoint = status.checkpoint if context.run_document.mode == "Rebuild" else None
    return _text(step_inputs if checkpoint is None else step_inputs | {"checkpoint": plain(checkpoint)})


def _measured_beside(context: RunContext, attempt: Attempt) -> ModelReference | None:
    """Return the live version of that attempt, unless it is the base, which is measured anyway."""
    return None if attempt.live == context.run_document.base.artifact.sha256 else model_reference(context, attempt.live)


def _fresh_by(context: RunContext, attempt: Attempt) -> str | None:
    """Return the digest of the version whose plan tells an evaluation what is fresh; None where nothing tells."""
    return attempt.live if _was_told(attempt, _measured_beside(context, attempt)) else None


def _was_told(attempt: Attempt, version: ModelReference | None) -> bool:
    """Tell whether the attempt was told a plan, whatever became of the version's record since (R285)."""
    return bool(_plan_of(version) if attempt.live_plan is None else attempt.live_plan)


def _plan_of(version: ModelReference | None) -> str:
    """Return the digest of the plan that a version was trained by; "" where none is known."""
    return version.inputs.sha256 if version is not None and version.inputs is not None else ""


def _fresh_in_pool_by(context: RunContext, attempt: Attempt) -> ModelReference | None:
    """Return the version whose plan tells `prepare` what is fresh: what is live, else the base; None without a plan.

    A rebuilt base has one: what it learned of the pool is not fresh while it is live. An evaluation needs it not: it
    measures on nothing that the base knows.
    """
    base = context.run_document.base
    if attempt.live in (None, base.artifact.sha256):
        version: ModelReference | None = ModelReference(base.version, base.artifact, base.inputs)
    else:
        version = model_reference(context, attempt.live)
    return version if version is not None and version.inputs is not None else None


def _provenance(status: RunStatus, round_: int) -> dict[str, object]:
    """Return who made what the verdict is of: what was drawn, and each step's image and manifest."""
    made = [a for a in status.attempts if a.outcome == "Succeeded" and a.round in (0, round_)]
    steps = [{"step": a.step, "attempt": a.attempt, "imageId": a.image_id, "manifest": a.manifest} for a in made]
    return {"inputs": plain(status.inputs), "steps": steps}


def _against(live: str | None) -> str:
    return f"{live}, which is live" if live else "the base; nothing is live"


def _digest(live: LiveVersion | None) -> str | None:
    return live.sha256 if live else None


def _newest(attempts: tuple[Attempt, ...]) -> tuple[str, int] | None:
    return (attempts[-1].step, attempts[-1].attempt) if attempts else None


def _text(inputs: dict[str, object]) -> str:
    return canonical_json(inputs).decode()
