"""Few ask at a time while admission does not answer: a webhook that hangs would else hold every worker."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from .errors import AdmissionUnavailable, ClusterError, Unavailable
from .kinds import Kind

T = TypeVar("T")

ASK_AT_ONCE: Final = 2
"""Creations of one kind in one namespace that may find out at a time whether its webhook is back."""

_Place = tuple[Kind, str]


@dataclass(slots=True)
class Admission:
    """A gate for creations, by kind and namespace as webhooks select: what was said last, and how many ask now."""

    _said: dict[_Place, str] = field(default_factory=dict)
    _asking: Counter[_Place] = field(default_factory=Counter)

    async def create(self, kind: Kind, namespace: str, request: Callable[[], Awaitable[T]]) -> T:
        """Send the request. Raises AdmissionUnavailable without it while enough others ask a webhook that is away."""
        place = kind, namespace
        if place in self._said and self._asking[place] >= ASK_AT_ONCE:
            raise AdmissionUnavailable(self._said[place])
        self._asking[place] += 1
        try:
            made = await request()
        except AdmissionUnavailable as error:
            self._said[place] = str(error)
            raise
        except Unavailable:
            raise  # nobody knows how far the request came
        except ClusterError:
            self._said.pop(place, None)
            raise
        finally:
            self._asking[place] -= 1
        self._said.pop(place, None)
        return made
