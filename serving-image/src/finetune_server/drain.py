"""When a terminating server may leave: pure bookkeeping, with the clock passed in."""

from __future__ import annotations

from collections.abc import Callable

from .config import DrainConfig


class Drain:
    """Counts requests and decides when nobody is left to answer.

    A pod is told to stop before every client knows that it stops: endpoints change, kube-proxy
    rewrites its rules, and pooled connections live on. So after SIGTERM the socket stays open and
    requests go on being answered, each answer asking its client to connect anew, until no request
    and no connection has been seen for the quiet time.
    """

    def __init__(self, config: DrainConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._since: float | None = None
        self._last_activity = clock()
        self.in_flight = 0

    @property
    def seconds(self) -> float:
        """Return how long it may last."""
        return self._config.seconds

    @property
    def draining(self) -> bool:
        """Tell whether SIGTERM has come."""
        return self._since is not None

    def begin(self) -> None:
        """Begin, as SIGTERM has come; further ones change nothing."""
        if self._since is None:
            self._since = self._clock()

    def seconds_left(self, more: float) -> float:
        """Return what is left of the drain and `more` seconds behind it: all of it before SIGTERM, at least 0."""
        gone = 0.0 if self._since is None else self._clock() - self._since
        return max(0.0, self._config.seconds + more - gone)

    def entered(self) -> None:
        """Count a request (not a probe, not a scrape) that has begun."""
        self.in_flight += 1
        self._last_activity = self._clock()

    def left(self) -> None:
        """Count one that has been answered."""
        self.in_flight -= 1
        self._last_activity = self._clock()

    def finished(self, open_connections: int) -> bool:
        """Tell whether the process may go now. At the latest `seconds` after `begin`."""
        if self._since is None:
            return False
        now = self._clock()
        if now - self._since >= self._config.seconds:
            return True
        quiet = now - max(self._since, self._last_activity) >= self._config.quiet_seconds
        return quiet and self.in_flight == 0 and open_connections == 0
