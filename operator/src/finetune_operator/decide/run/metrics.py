"""The metrics of a run: its attempts, what it drew, its judgement and what each gate saw, its end."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from ...api.run import FINAL_PHASES, Inputs, RunStatus
from ..attempts import metrics as attempts
from ..decision import RecordMetric
from ..gates.verdict import COUNTS, IN_POINTS
from .adopt import owes_its_evidence
from .view import RunView


def metrics(view: RunView, after: RunStatus) -> Iterator[RecordMetric]:
    """Yield what is to be recorded of a change, from the status in `view` to the one `after` it."""
    before, namespace, model = view.run.status, view.run.metadata.namespace, _model(view)
    yield from attempts.metrics(before.attempts, after.attempts, namespace=namespace, model=model)
    if after.inputs is not None and before.inputs is None:
        yield from _drawn(after.inputs, {"namespace": namespace, "model": model})
    is_judged = after.evidence is not None and after.evidence != before.evidence
    # What was taken over is counted by the run that measured it.
    if is_judged and after.verdict is not None and not owes_its_evidence(after):
        yield from _judged(after, after.verdict, {"namespace": namespace, "model": model})
    if after.phase in FINAL_PHASES and before.phase not in FINAL_PHASES:
        yield from _ended(after, {"namespace": namespace, "model": model})


def _drawn(inputs: Inputs, labels: dict[str, str]) -> Iterator[RecordMetric]:
    counts = {
        "pool": inputs.pool,
        "heldOut": inputs.held_out,
        "withdrawn": inputs.withdrawn,
        "outside": inputs.outside,
        "new": inputs.new,
        "corrected": inputs.corrected,
        "fresh": inputs.fresh,
    }
    for word, count in counts.items():
        if count is not None:
            yield RecordMetric("finetune_pool_samples", {**labels, "count": word}, float(count))


def _judged(after: RunStatus, verdict: str, labels: dict[str, str]) -> Iterator[RecordMetric]:
    yield RecordMetric("finetune_verdicts", {**labels, "verdict": verdict})
    for gate in after.gates:
        if gate.name in COUNTS:
            continue
        value = _ratio(gate.value, points=gate.name in IN_POINTS)
        if value is not None:
            yield RecordMetric("finetune_gate_value_ratio", {**labels, "gate": gate.name}, value)


def _ended(after: RunStatus, labels: dict[str, str]) -> Iterator[RecordMetric]:
    yield RecordMetric("finetune_runs_ended", {**labels, "phase": str(after.phase)})
    if after.started_at is not None and after.finished_at is not None:
        took = max((after.finished_at - after.started_at).total_seconds(), 0.0)
        yield RecordMetric("finetune_run_duration_seconds", labels, took)


def _model(view: RunView) -> str:
    """Return the model that the run is of; none is known of a run that never saw its policy."""
    if view.snapshot is not None:
        return view.snapshot.model
    return view.policy.spec.model if view.policy is not None else ""


def _ratio(text: str, *, points: bool) -> float | None:
    """Return the value of a gate as a share of 1; it has none when it is an Error."""
    try:
        return float(Decimal(text) / 100 if points else Decimal(text))
    except InvalidOperation:
        return None
