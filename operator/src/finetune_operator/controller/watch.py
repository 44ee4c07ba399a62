"""kopf's part: every watch event goes into the store, which tells whom it concerns. Nothing here can fail."""

from typing import Any

import kopf

from ..cluster.kinds import Kind
from ..cluster.kube import Login
from ..cluster.store import Store
from ..cluster.watched import WATCHED


def make_registry(store: Store, login: Login) -> kopf.OperatorRegistry:
    """Return a registry with one low-level handler for each watched kind, and the login."""
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        connection = await login()
        return kopf.ConnectionInfo(
            server=connection.server,
            ca_path=connection.ca_path,
            scheme="Bearer" if connection.token else None,
            token=connection.token,
            certificate_path=connection.certificate_path,
            private_key_path=connection.private_key_path,
        )

    kopf.on.login(registry=registry, id="login")(log_in)
    for kind in WATCHED:
        _watch(registry, kind, store)
    return registry


def _watch(registry: kopf.OperatorRegistry, kind: Kind, store: Store) -> None:
    async def take_in(event: kopf.RawEvent, **_: Any) -> None:  # kopf wants coroutines
        observe(store, kind, dict(event))

    group, version, plural = kind.value
    kopf.on.event(group=group, version=version, plural=plural, registry=registry, id=f"watch-{plural}")(take_in)


def observe(store: Store, kind: Kind, event: dict[str, Any]) -> None:
    """Take a raw watch event into the store: DELETED says that the object left the watch, perhaps for good."""
    obj = event["object"]
    if event.get("type") != "DELETED":
        store.put(kind, obj)
        return
    metadata = obj["metadata"]
    version = int(metadata.get("resourceVersion") or 0)
    store.remove(kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"], version)
