"""kopf's settings: the watcher and the frame, without its handlers, finalizers, peering and writes."""

from collections.abc import Mapping
from typing import Any

import kopf

from ..api import names
from ..cluster.reach import Scope
from ..cluster.watched import WATCHED, selector


class NoDiffs(kopf.DiffBaseStorage):
    """Stores nothing and compares nothing: without change handlers, nobody reads the differences.

    kopf's own storages copy every object at every event to prepare them.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return an empty essence, equal to itself."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Return that nothing was stored."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


class NoProgress(kopf.ProgressStorage):
    """Stores nothing: handlers' progress is our own queue's business."""

    def fetch(self, **_: Any) -> None:
        """Return that nothing was stored."""

    def store(self, **_: Any) -> None:
        """Store nothing."""

    def purge(self, **_: Any) -> None:
        """Purge nothing."""

    def touch(self, **_: Any) -> None:
        """Touch nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return the essence as it is."""
        return essence


def make_settings(*, instance: str) -> kopf.OperatorSettings:
    """Return the settings for kopf.operator."""
    settings = kopf.OperatorSettings()
    _networking(settings)
    # A stray KopfPeering object would pause us without a word (nolar/kopf#734); the chart runs one replica.
    settings.peering.standalone = True
    # CRDs are there before the first list succeeds; scanning would only need more rights.
    settings.scanning.disabled = True
    # Events are posted by our own recorder.
    settings.posting.enabled = False
    settings.posting.reporting_component = names.FIELD_MANAGER
    settings.posting.reporting_instance = instance
    # Never written, but the default is shared by all kopf operators.
    settings.persistence.finalizer = f"{names.GROUP}/operator"
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.progress_storage = NoProgress()
    # A worker per object lives this long after its last event; each keeps the object's body in memory.
    settings.queueing.idle_timeout = 0.5
    # Errors of the framework must not mute an object for ten minutes.
    settings.queueing.error_delays = (1, 1, 2, 3, 5, 8, 13, 21, 34, 55)
    # A watch that ends and is begun anew is no end of the process: kopf would kill it that many seconds later.
    settings.process.ultimate_exiting_timeout = None
    for kind, labels in WATCHED.items():
        if labels:
            settings.watching.label_selectors[kind.value] = selector(labels)
    return settings


def _networking(settings: kopf.OperatorSettings) -> None:
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30  # the default of 5 minutes blocks start-up on a dead endpoint
    settings.networking.enforce_retry_after = True
    # Short: the namespace is then looked at, and its watch begun anew, with a back-off of our own.
    settings.networking.error_backoffs = (1, 2, 4, 8)
    # Load balancers drop silent streams (nolar/kopf#585): end each after ten minutes, and never wait longer.
    settings.watching.connect_timeout = 30
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = 500


def scope_arguments(scope: Scope) -> Mapping[str, Any]:
    """Return kopf's arguments for a scope: one namespace, or the whole cluster."""
    return {"clusterwide": True} if scope is None else {"namespaces": (scope,)}
