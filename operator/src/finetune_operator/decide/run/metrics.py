"""The metrics of a run: its judgement, and what each gate saw."""

from collections.abc import Iterator

from ...api.run import RunStatus
from ..decision import RecordMetric
from .adopt import owes_its_evidence
from .view import RunView


def metrics(view: RunView, after: RunStatus) -> Iterator[RecordMetric]:
    """Yield what is to be recorded of a change, from the status in `view` to the one `after` it."""
    if after.evidence is None or after.evidence == view.run.status.evidence or after.verdict is None:
        return
    if owes_its_evidence(after):
        return  # the run that measured has counted it
    labels = {"namespace": view.run.metadata.namespace, "model": view.snapshot.model if view.snapshot else ""}
    yield RecordMetric("finetune_verdicts", {**labels, "verdict": after.verdict})
    for gate in after.gates:
        value = _number(gate.value)
        if value is not None:
            yield RecordMetric("finetune_gate_value", {**labels, "gate": gate.name}, value)


def _number(text: str) -> float | None:
    """Return the value of a gate, which has none when it is an Error."""
    try:
        return float(text)
    except ValueError:
        return None
