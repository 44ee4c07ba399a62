"""What a verdict stands on, and how it is said."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...api.figures import Figure, either
from ...api.meta import Artifact, FileReference
from ...api.run import Evidence, GateVerdict, Inputs, RunStatus


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a verdict stands on; all of it is in the status once there is a verdict."""

    inputs: Inputs
    candidate: Artifact
    checkpoint: FileReference
    evidence: Evidence
    figures: tuple[Figure, ...]
    """Empty when the gates could not be judged."""


def grounds_of(status: RunStatus) -> Grounds | None:
    """Return what the verdict stands on, or None when the status was tampered with."""
    if status.inputs is None or status.candidate is None or status.checkpoint is None or status.evidence is None:
        return None
    figures = either(status.figures, status.measurements)
    if status.verdict != "Error" and not figures:
        return None
    return Grounds(status.inputs, status.candidate, status.checkpoint, status.evidence, figures)


def gates_text(gates: Iterable[GateVerdict]) -> str:
    """Return what the gates say, the ones that did not pass first."""
    ordered = sorted(gates, key=lambda gate: gate.verdict == "Pass")
    return "; ".join(f"{gate.name} {gate.verdict}: {gate.message}" for gate in ordered)


def objections(gates: Iterable[GateVerdict]) -> str:
    """Return what the gates say that did not pass: the others are no news in a summary."""
    return gates_text(gate for gate in gates if gate.verdict != "Pass")


def reasons_of(gates: Iterable[GateVerdict]) -> str:
    """Return in one word each what the gates object to, so that a summary names all of it, however long it gets."""
    return ", ".join(dict.fromkeys(gate.reason for gate in gates if gate.verdict != "Pass" and gate.reason))
