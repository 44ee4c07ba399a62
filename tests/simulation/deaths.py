"""Deaths of the operator at the writes of a play: each goes on from where it comes, and nothing is played up to there.

The world is what outlives the operator: it is copied at every write, and each copy is played on with a new life of the
operator, which remembers nothing.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .api_server import Client
from .stories import World

W = TypeVar("W", bound=World)
PARTS = ("client", "jobs", "deployments")
"""What acts on the world's API server."""


@dataclass(frozen=True)
class Death(Generic[W]):
    """What is left at one write; a death before a write that leaves what one after the write before it left is that."""

    number: int
    moment: str
    left: W

    def __str__(self) -> str:
        return f"crash {self.moment} write {self.number}"


def deaths(
    make: Callable[[], W], play: Callable[[W], object] = World.play, *, every: int = 1, first: int = 0
) -> Iterator[tuple[str, W]]:
    """Yield the world at the end of a play in which the operator died, and where; before and after the same writes.

    They are from write number `first` (from 0) on, each or each so manieth. `play` has to go on by what the world is,
    not by how often it went round. Raises AssertionError where a play does, and where the one of them in the middle is
    not as it becomes when all is played from the beginning.
    """
    met = _deaths(make(), play, range(first, 10**6, every))
    assert met, "the operator writes nothing"
    for number, death in enumerate(met):
        world = death.left
        world.restart()
        _play(world, play, str(death))
        if number == len(met) // 2:
            _check(make(), play, death)
        yield str(death), world


def dying(client: Client, dies: Callable[[int], str | None]) -> Client:
    """Have the operator die at each write that `dies` names a moment of, `before` or `after`, as it is played."""

    def then(number: int) -> None:
        client.crash_at = (number + 1, dies(number + 1) or "never")
        if dies(number) == "after":
            client.crash_at = (number, "after")

    client.then = then
    return client


def _deaths(world: W, play: Callable[[W], object], points: range) -> list[Death[W]]:
    assert world.wrap is None, "what stands between the operator and its client may remember something"
    assert world.signals is None, "a Prometheus is not copied"
    met: list[Death[W]] = []

    def note(number: int, moment: str) -> None:
        if number in points:
            death = Death(number, moment, twin(world))
            if not (met and met[-1].moment == "after" and _is_same(met[-1].left, death.left)):
                met.append(death)

    world.client.at_write = note
    play(world)
    return met


def _play(world: W, play: Callable[[W], object], where: str) -> None:
    try:
        play(world)
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from error


def _check(world: W, play: Callable[[W], object], death: Death[W]) -> None:
    """Play all of it with that death; it has to come to the same, write by write."""
    world.client.crash_at = (death.number, death.moment)
    _play(world, play, str(death))
    assert world.crashes == 1, f"{death} is not reached"
    assert world.server.log == death.left.server.log, f"{death} is another one from the beginning on"
    assert world.events == death.left.events


def twin(world: W) -> W:
    """Return a copy of the world with the operator that it has. Objects are shared: nobody changes them in place."""
    made: W = _copied(world)
    made.server = _copied(world.server)
    made.server.owners = {uid: dict(owned) for uid, owned in world.server.owners.items()}
    for name in PARTS:
        part = _copied(getattr(world, name))
        part.server = made.server
        setattr(made, name, part)
    made.client.at_write = None
    return made


def _copied(thing: Any) -> Any:
    made = copy.copy(thing)
    for name, value in vars(thing).items():
        if isinstance(value, list | dict | set):
            setattr(made, name, copy.copy(value))
    return made


def _is_same(one: World, other: World) -> bool:
    """Tell whether nothing that outlives the operator has changed in between."""
    return _lasting(one) == _lasting(other)


def _lasting(world: World) -> list[dict[str, Any]]:
    # How many writes were begun is the operator's own; its timers and what it was refused go with it, or stay, alike.
    parts = (world, world.jobs, world.deployments)
    apart = {"operator", "due", "looked", *PARTS}
    states = [{name: value for name, value in vars(part).items() if name not in apart} for part in parts]
    return [states[0], *({name: value for name, value in state.items() if name != "server"} for state in states[1:])]
