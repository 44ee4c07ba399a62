"""A Cluster whose reads come from memory and whose writes are known at once."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from ..api import names
from .kinds import Kind
from .kube import KubeCluster
from .port import Object
from .store import Store
from .watched import WATCHED


@dataclass(frozen=True, slots=True)
class CachedCluster:
    """The port `Cluster` over a Store: reads cost no request, and what was written is read back.

    Only watched objects are in memory; `fresh` asks the API server, and what it says is remembered.
    """

    kube: KubeCluster
    store: Store

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        """Return the object, or None."""
        if not fresh and kind in WATCHED:
            return self.store.get(kind, namespace, name)
        known = self.store.projection(kind, namespace, name)
        now_there = await self.kube.get(kind, namespace, name)
        if now_there is not None:
            self._remember(kind, now_there)
        elif known is not None:
            self.store.remove(kind, namespace, name, known.uid)
        return now_there

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        """Return the objects of a namespace that carry all `labels`, sorted by name."""
        wanted = dict(labels or {})
        if fresh or kind not in WATCHED:
            return await self.kube.list(kind, namespace, wanted)
        owner = wanted.get(names.OWNER_UID_LABEL)
        if owner is None:
            objects = self.store.all(kind, namespace)
        else:
            members = self.store.find(kind, namespace, "owner", owner)
            objects = tuple(o for o in (self.store.get(kind, namespace, name) for name in members) if o is not None)
        if not wanted:
            return objects
        return tuple(o for o in objects if wanted.items() <= (o["metadata"].get("labels") or {}).items())

    async def find(self, kind: Kind, namespace: str, ref: str, value: str) -> tuple[tuple[str, Hashable], ...]:
        """Return name and digest of the objects with that reference, without unpacking them."""
        return self.store.digests(kind, namespace, ref, value)

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        """Create, and remember what was made."""
        return self._remember(kind, await self.kube.create(kind, namespace, manifest))

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, patch: Object
    ) -> Object:
        """Merge-patch the status, and remember the outcome."""
        changed = await self.kube.patch_status(kind, namespace, name, uid, resource_version, patch)
        return self._remember(kind, changed)

    async def annotate(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, annotations: Mapping[str, str]
    ) -> Object:
        """Merge-patch the annotations, and remember the outcome."""
        changed = await self.kube.annotate(kind, namespace, name, uid, resource_version, annotations)
        return self._remember(kind, changed)

    async def apply(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        """Server-side apply, and remember the outcome."""
        return self._remember(kind, await self.kube.apply(kind, namespace, name, manifest))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete; the watch tells when the object is gone, because finalizers may hold it."""
        await self.kube.delete(kind, namespace, name, uid)

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int, limit_bytes: int) -> str:
        """Return the end of a container's log; empty when there is none to be had."""
        return await self.kube.log_tail(namespace, pod, container, lines, limit_bytes)

    def _remember(self, kind: Kind, obj: Object) -> Object:
        if kind in WATCHED:
            self.store.put(kind, obj)
        return obj


async def resync(kube: KubeCluster, store: Store, namespaces: tuple[str, ...]) -> int:
    """Make `store` agree with whole lists of every watched kind; return how many ghosts were swept.

    `namespaces` empty means all. Raises ClusterError; then the store holds what was taken in so far.
    """
    return sum(
        [
            await _resync_kind(kube, store, kind, namespace, labels)
            for kind, labels in WATCHED.items()
            for namespace in namespaces or (None,)
        ]
    )


async def _resync_kind(
    kube: KubeCluster, store: Store, kind: Kind, namespace: str | None, labels: Mapping[str, str]
) -> int:
    listed: dict[tuple[str, str], str] = {}
    version = 0
    async for page, list_version in kube.pages(kind, namespace, labels):
        version = list_version
        for obj in page:
            metadata = obj["metadata"]
            listed[metadata.get("namespace", ""), metadata["name"]] = metadata["uid"]
            store.put(kind, obj)
    return store.sweep(kind, namespace, listed, version)
