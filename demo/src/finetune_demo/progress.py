"""Following one FineTuneRun from apply to its end, on the screen and as evidence."""

import time
from dataclasses import dataclass, field
from typing import Any

from .console import Failed
from .kube import Kube, Object

FINAL = ("Promoted", "Passed", "Adopted", "Rejected", "Expired", "Superseded", "RolledBack", "Failed")


@dataclass(slots=True)
class Followed:
    """What the watch saw: the last state, the phases in order, the epochs reported while training ran."""

    run: Object = field(default_factory=dict)
    phases: list[str] = field(default_factory=list)
    epochs: set[int] = field(default_factory=set)

    @property
    def phase(self) -> str:
        """The last phase."""
        return self.phases[-1] if self.phases else ""


def describe(status: dict[str, Any]) -> str:
    """Return one line about a run's status: phase, epoch, percent, remaining time, losses or message."""
    progress = status.get("progress") or {}
    parts = [status.get("phase") or "Pending"]
    if status.get("phase") == "Training" and progress.get("epochs"):
        parts.append(f"epoch {progress.get('epoch', 0)}/{progress['epochs']}, {progress.get('percent', 0)} %")
        if progress.get("remainingSeconds") is not None:
            parts.append(f"{progress['remainingSeconds']} s left")
        if progress.get("losses"):
            parts.append(" ".join(f"{name} {value}" for name, value in progress["losses"].items()))
    elif status.get("message"):
        parts.append(status["message"])
    return ": ".join([parts[0], ", ".join(parts[1:])]) if len(parts) > 1 else parts[0]


def follow(kube: Kube, name: str, seconds: float, *, until: tuple[str, ...] = FINAL) -> Followed:
    """Show a run's progress until one of the phases `until`; raises Failed when the time is over."""
    end = time.monotonic() + seconds
    seen, line = Followed(), ""
    while time.monotonic() < end:
        with kube.watching("finetuneruns", name, end - time.monotonic()) as states:
            for state in states:
                status = state.get("status", {})
                seen.run = state
                phase = status.get("phase") or "Pending"
                if not seen.phases or seen.phases[-1] != phase:
                    seen.phases.append(phase)
                progress = status.get("progress") or {}
                if progress.get("step") == "train" and progress.get("epoch"):
                    seen.epochs.add(progress["epoch"])
                if describe(status) != line:
                    line = describe(status)
                    kube.console.say(f"     {name}: {line}")
                if phase in until:
                    return seen
                if time.monotonic() > end:
                    break
    raise Failed(f"FineTuneRun {name} was not done within {seconds:.0f} s: {line}\n{kube.state()}")
