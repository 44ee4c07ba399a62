"""An API server that refuses or loses writes: by kind and verb, once or for as long as somebody wants."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from finetune_operator.cluster.errors import (
    AdmissionUnavailable,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    Unavailable,
)
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Cluster

from .api_server import Client
from .stories import Story, World

What = tuple[str, Kind]
"""Verb and kind of a write."""

Fault = Callable[[int, What], str | None]
"""From a write's number and what it is to a key of ANSWERS, LOST, or None: it is done."""

ANSWERS: dict[str, ClusterError] = {
    "422": Invalid("spec is invalid: Invalid value: somebody's rule"),
    "409": Conflict("the object has been modified"),
    "500": Unavailable("Internal error occurred"),
    "403": Forbidden("admission webhook 'rules.example' denied the request: no"),
    "webhook": AdmissionUnavailable("failed calling webhook 'rules.example': connection refused"),
}
LOST = "answer lost"
"""The write is committed, and the operator hears only of a timeout."""


@dataclass
class Faulty:
    """A client whose writes are answered as `fault` says."""

    client: Client
    fault: Fault
    asked: list[What] = field(default_factory=list)
    """Every write that was tried."""

    def __getattr__(self, name: str) -> object:
        """Read as the client does."""
        return getattr(self.client, name)

    async def _try(self, verb: str, kind: Kind, *rest: object) -> object:
        number = len(self.asked)
        self.asked.append((verb, kind))
        answer = self.fault(number, (verb, kind))
        if answer is not None and answer != LOST:
            raise copy.copy(ANSWERS[answer])
        result = await getattr(self.client, verb)(kind, *rest)
        if answer == LOST:
            raise Unavailable("timed out")
        return result

    async def create(self, kind: Kind, *rest: object) -> object:
        """See Cluster.create."""
        return await self._try("create", kind, *rest)

    async def patch_status(self, kind: Kind, *rest: object) -> object:
        """See Cluster.patch_status."""
        return await self._try("patch_status", kind, *rest)

    async def annotate(self, kind: Kind, *rest: object) -> object:
        """See Cluster.annotate."""
        return await self._try("annotate", kind, *rest)

    async def apply(self, kind: Kind, *rest: object) -> object:
        """See Cluster.apply."""
        return await self._try("apply", kind, *rest)

    async def delete(self, kind: Kind, *rest: object) -> object:
        """See Cluster.delete."""
        return await self._try("delete", kind, *rest)


class Refusing(World):
    """A story on an API server that answers writes as `fault` says."""

    def __init__(self, story: Story, fault: Fault) -> None:
        self.faulty: list[Faulty] = []
        self.fault = fault

        super().__init__(story, wrap=self._wrapped)

    def _wrapped(self, client: Client) -> Cluster:
        def fault(number: int, what: What) -> str | None:
            return self.fault(number, what)  # which may be another one by then

        self.faulty.append(Faulty(client, fault))
        return self.faulty[-1]  # type: ignore[return-value]

    def play_for(self, hours: float) -> None:
        """Play on, at rest or not by then; that the world settles at each moment is asked for all the same."""
        try:
            self.play(hours=hours)
        except AssertionError as error:
            if "not at rest" not in str(error):
                raise

    @property
    def asked(self) -> list[What]:
        """Every write that the operator tried, over all its lives."""
        return [what for faulty in self.faulty for what in faulty.asked]
