"""A run whose attempts are looked at: what became of them, and a step's error."""

from finetune_operator.api.run import Attempt
from unit.decide.run.world import World


def outcomes(world: World, step: str) -> list[tuple[str, str]]:
    return [(a.outcome, a.reason) for a in world.status.attempts if a.step == step]


def newest(world: World) -> Attempt:
    return world.status.attempts[-1]


def training() -> World:
    world = World().prepared()
    world.start("train")
    return world


def error(kind: str, reason: str) -> dict[str, str]:
    return {"class": kind, "reason": reason, "message": "what and where.", "remedy": "How to mend it."}
