"""Where decisions may be made: in what was read whole, and is watched."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import ClusterError

Scope = str | None
"""What is read, watched and given up as one: a namespace; None is the whole cluster."""


class Away(ClusterError):
    """The namespace is not in reach: it was never read, its rights are gone, or it is being read anew."""


class WentBack(ClusterError):
    """The API server told of an older world than it told of before: its etcd was restored from a backup."""


@dataclass(slots=True)
class Reach:
    """Which scopes are closed: nothing is read from memory there, and nothing written."""

    _closed: set[Scope] = field(default_factory=set)
    _doubt: Callable[[str, WentBack], None] | None = None

    def close(self, scope: Scope) -> None:
        """End decisions in `scope`, those under way included: their next read or write raises Away."""
        self._closed.add(scope)

    def open(self, scope: Scope) -> None:
        """Let decisions be made in `scope`: what the store holds of it is whole."""
        self._closed.discard(scope)

    def is_open(self, namespace: str) -> bool:
        """Tell whether decisions may be made in a namespace."""
        return namespace not in self._closed and None not in self._closed

    def enter(self, namespace: str) -> None:
        """Raise Away unless decisions may be made in a namespace."""
        if not self.is_open(namespace):
            raise Away(f"namespace {namespace!r} cannot be read at the moment")

    def listen(self, doubt: Callable[[str, WentBack], None]) -> None:
        """Set who is asked to read a namespace anew."""
        self._doubt = doubt

    def went_back(self, namespace: str, what: str) -> WentBack:
        """Have a namespace read anew, and return the error to raise: nothing is decided from a mix of two worlds."""
        error = WentBack(what)
        if self._doubt is not None:
            self._doubt(namespace, error)
        return error
