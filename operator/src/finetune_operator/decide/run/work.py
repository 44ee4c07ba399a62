"""The stages of a run that do work: prepare, adopt, train, evaluate (rows R4, R5, R10 to R22)."""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from msgspec.structs import replace

from ...api.contract import StepResult
from ...api.meta import Artifact, ConditionStatus
from ...api.policy import LiveVersion
from ...api.run import Attempt, Inputs, RunStatus
from ...api.run import Decision as Ruling
from ...api.value import canonical_json, plain
from ..attempts import results
from ..attempts.engine import Done, Moving, Over, Plan, advance
from ..decision import Decision
from ..gates.evidence import evidence_of
from ..gates.verdict import judge
from ..snapshot import inputs_hash, spec_hash
from ..templates import usable_template
from ..views import Problem
from .stage import Case, Go, Model, model_of, work_of
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

T = TypeVar("T")

MAX_ROUNDS: Final = 3
# Waiting for these is nobody's mistake: the step's condition stays Unknown.
_PATIENCE: Final = frozenset(("Queued", "PodsEnding", "JobDeleting", "PodTemplateChanged"))


def prepare(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Draw the mix and fix every digest."""
    if status.inputs is not None:
        return Go(status)
    plan = Plan(
        step="prepare",
        source="cpu",
        template=usable_template("cpu", case.view.cpu_template, case.policy),
        inputs=partial(_prepare_inputs, case),
        accept=lambda _, said: results.prepared(case.document, said),
        live=_digest(case.live),
    )
    return _carry_on(case, status, plan, partial(_record_inputs, case))


def adopt(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Take over the result of a finished run that asked for the same with the same inputs (R20)."""
    inputs = status.inputs
    assert inputs is not None
    if status.candidate is not None or any(a.step == "train" for a in status.attempts):
        return Go(status)
    asked = spec_hash(case.document, case.view.run), inputs_hash(inputs, case.document)
    for version in case.view.versions:
        lineage, evidence = version.spec.lineage, version.spec.evidence
        if version.metadata.deletion_timestamp or lineage is None or evidence is None:
            continue
        if (lineage.spec_hash, lineage.inputs_hash) != asked:
            continue
        told = (
            f"run {lineage.run} trained the same on the same samples: {version.spec.version}, verdict "
            f"{evidence.verdict}; to train anew, make a run with another spec.mixing.seed"
        )
        status = replace(status, model_version=version.metadata.name, version=version.spec.version)
        return finish(case.view, status, "Adopted", "SameSpecAndInputs", told)
    return Go(status)


def train(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Fine-tune the base by the plan, and export."""
    inputs = status.inputs
    assert inputs is not None
    if status.candidate is not None:
        return Go(status)
    plan = Plan(
        step="train",
        source="train",
        template=usable_template("train", case.view.train_template, case.policy),
        inputs=lambda attempt: _text({"attempt": attempt.attempt, "plan": plain(inputs.plan)}),
        accept=lambda _, said: results.trained(case.document, said),
    )
    return _carry_on(case, status, plan, partial(_record_candidate, case))


def evaluate(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Measure candidate, base and what is live now; judge by the gates of the snapshot."""
    inputs, candidate = status.inputs, status.candidate
    assert inputs is not None
    assert candidate is not None
    if status.verdict is not None:
        return Go(status)
    number = current_round(status)
    if number > MAX_ROUNDS:
        told = f"what is live changed during each of {MAX_ROUNDS} evaluations; make a new run when it stays"
        return finish(case.view, status, "Failed", "LiveKeepsChanging", told)
    plan = Plan(
        step="evaluate",
        source="cpu",
        template=usable_template("cpu", case.view.cpu_template, case.policy),
        inputs=partial(_evaluate_inputs, case, status),
        accept=partial(_accept_evaluation, case, status),
        round=number,
        live=_digest(case.live),
    )
    return _carry_on(case, status, plan, partial(_record_judgement, case))


def _carry_on(
    case: Case, status: RunStatus, plan: Plan[T], record: Callable[[RunStatus, T], RunStatus]
) -> Go | Decision[RunStatus]:
    """Let the attempt engine go on, and put what it says into the status."""
    kind = CONDITION_OF[plan.step]
    match advance(work_of(case, status), plan):
        case Done(attempts, value):
            return Go(record(replace(status, attempts=attempts), value))
        case Over(attempts, problem):
            status = mark(case.view, replace(status, attempts=attempts), kind, "False", problem.reason, problem.message)
            return finish(case.view, status, "Failed", problem.reason, problem.message)
        case Moving() as moving:
            return _moving(case, status, plan, moving)


def _moving(case: Case, status: RunStatus, plan: Plan[T], moving: Moving) -> Decision[RunStatus]:
    """Show a step that is not over."""
    view, note = case.view, moving.note
    kind, phase = CONDITION_OF[plan.step], PHASE_OF[plan.step]
    if _newest(moving.attempts) != _newest(status.attempts):
        status = replace(status, progress=None)
    status = replace(status, attempts=moving.attempts)
    match moving.state:
        case "Blocked":
            decision = blocked(view, status, note, phase)
        case "Suspended":
            status = mark(view, status, kind, "Unknown", note.reason, note.message)
            decision = Decision(say(status, "Suspended", note.message))
        case "Waiting":
            value: ConditionStatus = "Unknown" if note.reason in _PATIENCE else "False"
            status = mark(view, unblocked(view, status), kind, value, note.reason, note.message)
            decision = Decision(say(status, phase, f"{plan.step} waits: {note.reason}: {note.message}"))
        case "Running":
            status = mark(view, unblocked(view, status), kind, "Unknown", note.reason, note.message)
            status = progressed(view, status, plan.step)
            shown = progress_text(status.progress, plan.step)
            decision = Decision(say(status, phase, f"{note.message}: {shown}" if shown else note.message))
    return Decision(decision.status, moving.actions, moving.requeue_after)


def _record_inputs(case: Case, status: RunStatus, inputs: Inputs) -> RunStatus:
    told = (
        f"{inputs.pool} samples in the pool ({inputs.fresh} fresh, {inputs.held_out} held out); training on "
        f"{inputs.train}: {inputs.new} new and {inputs.old} of {inputs.anchor} old ones, ratio {inputs.ratio}"
    )
    return mark(case.view, replace(status, inputs=inputs), "Prepared", "True", "Prepared", told)


def _record_candidate(case: Case, status: RunStatus, trained: results.Trained) -> RunStatus:
    status = replace(status, candidate=trained.artifact, checkpoint=trained.checkpoint)
    return mark(case.view, status, "Trained", "True", "Trained", trained.told)


def _record_judgement(case: Case, status: RunStatus, evaluated: results.Evaluated) -> RunStatus:
    """Judge, and bind the verdict to its evidence (R22)."""
    judgement = judge(case.document, evaluated.result)
    number = current_round(status) - 1
    live_sha256 = next(a.live for a in reversed(status.attempts) if a.step == "evaluate")
    live = model_of(case, live_sha256)
    evidence = evidence_of(
        case.document,
        evaluated.result,
        judgement.gates,
        # A version that nobody knows any more keeps its digest as its name: "nothing was live" would be untrue.
        live=live.version if live else live_sha256,
        live_sha256=live_sha256,
        round_=number,
        uri=evaluated.uri,
    )
    told = (
        f"measured on {evaluated.result.test_set.images} test images, round {number}, against {_against(evidence.live)}"
    )
    return replace(
        mark(case.view, status, "Evaluated", "True", "Evaluated", told),
        gates=judgement.gates,
        verdict=judgement.verdict,
        measurements=judgement.measurements,
        evidence=evidence,
        decision=_ruling(case, judgement.verdict),
    )


def _ruling(case: Case, verdict: str) -> Ruling | None:
    """Return the decision that needs no human."""
    match verdict:
        case "Pass":
            return Ruling(verdict="Approve", by="gates", at=case.view.now, reason="every gate passed")
        case "Reject":
            return Ruling(verdict="Reject", by="gates", at=case.view.now, reason="a gate rejected it")
        case _:
            return None


def _accept_evaluation(
    case: Case, status: RunStatus, attempt: Attempt, said: StepResult
) -> results.Evaluated | Problem:
    assert status.inputs is not None
    assert status.candidate is not None
    return results.evaluated(case.document, status.inputs, status.candidate, attempt, said)


def _prepare_inputs(case: Case, attempt: Attempt) -> str:
    live = _measured_beside(case, attempt)
    known = {"version": live.version, "inputs": plain(live.inputs)} if live and live.inputs else None
    return _text({"attempt": attempt.attempt, "live": known})


def _evaluate_inputs(case: Case, status: RunStatus, attempt: Attempt) -> str:
    assert status.inputs is not None
    assert status.candidate is not None
    live = _measured_beside(case, attempt)
    told = {
        "attempt": attempt.attempt,
        "round": attempt.round,
        "plan": plain(status.inputs.plan),
        "candidate": plain(Artifact(uri=status.candidate.uri, sha256=status.candidate.sha256)),
        "live": live and {"version": live.version, "artifact": plain(live.artifact), "inputs": plain(live.inputs)},
    }
    return _text(told)


def _measured_beside(case: Case, attempt: Attempt) -> Model | None:
    """Return the live version of that attempt, unless it is the base, which is measured anyway."""
    return None if attempt.live == case.document.base.artifact.sha256 else model_of(case, attempt.live)


def _against(live: str | None) -> str:
    return f"{live}, which is live" if live else "the base; nothing is live"


def _digest(live: LiveVersion | None) -> str | None:
    return live.sha256 if live else None


def _newest(attempts: tuple[Attempt, ...]) -> tuple[str, int] | None:
    return (attempts[-1].step, attempts[-1].attempt) if attempts else None


def _text(inputs: dict[str, object]) -> str:
    return canonical_json(inputs).decode()
