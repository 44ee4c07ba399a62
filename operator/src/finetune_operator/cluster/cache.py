"""A Cluster whose reads come from memory and whose writes are known at once."""

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ..api import names
from .admission import Admission
from .kinds import RECONCILED, Kind
from .port import Cluster, Object
from .reach import Reach, Scope, WentBack
from .store import Store
from .watched import WATCHED, is_watched


class Pages(Protocol):
    """Where whole kinds are read, page by page."""

    def pages(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str], limit: int | None = None
    ) -> AsyncIterator[tuple[Sequence[Object], int]]:
        """Yield pages of objects with the resourceVersion of the whole list."""
        ...


@dataclass(frozen=True, slots=True)
class CachedCluster:
    """The port `Cluster` over a Store: reads cost no request, and what was written is read back.

    Only watched objects are in memory; `fresh` asks the API server, and what it says is remembered. Every verb raises
    Away in a namespace that is out of reach, and WentBack when the answer is older than what was seen before it was
    asked for.
    """

    kube: Cluster
    store: Store
    reach: Reach = field(default_factory=Reach)
    admission: Admission = field(default_factory=Admission)

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        """Return the object, or None."""
        self.reach.enter(namespace)
        if not fresh and kind in WATCHED:
            return self.store.get(kind, namespace, name)
        known = self.store.version(kind, namespace, name)
        now_there = await self.kube.get(kind, namespace, name)
        self.reach.enter(namespace)
        if now_there is not None:
            if known is not None:
                self._check(kind, namespace, now_there, known[1])
            self._remember(kind, now_there)
        elif known is not None:
            self.store.remove(kind, namespace, name, known[0])
        return now_there

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        """Return the objects of a namespace that carry all `labels`, sorted by name."""
        self.reach.enter(namespace)
        wanted = dict(labels or {})
        if fresh or kind not in WATCHED:
            return await self._listed(kind, namespace, wanted)
        owner = wanted.get(names.OWNER_UID_LABEL)
        if owner is None:
            objects = self.store.all(kind, namespace)
        else:
            members = self.store.find(kind, namespace, "owner", owner)
            objects = tuple(o for o in (self.store.get(kind, namespace, name) for name in members) if o is not None)
        if not wanted:
            return objects
        return tuple(o for o in objects if wanted.items() <= (o["metadata"].get("labels") or {}).items())

    async def find(self, kind: Kind, namespace: str, reference: str, value: str) -> tuple[str, ...]:
        """Return the names of the objects with that reference, sorted."""
        self.reach.enter(namespace)
        return self.store.find(kind, namespace, reference, value)

    async def digests(self, kind: Kind, namespace: str, ref: str, value: str) -> tuple[tuple[str, Hashable], ...]:
        """Return name and digest of the objects with that reference, without unpacking them."""
        self.reach.enter(namespace)
        return self.store.digests(kind, namespace, ref, value)

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        """Create, and remember what was made."""
        self.reach.enter(namespace)
        newest = self.store.newest(kind, namespace)
        request = partial(self.kube.create, kind, namespace, manifest)
        made = await self.admission.create(kind, namespace, request)
        return self._written(kind, namespace, made, newest)

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, patch: Object
    ) -> Object:
        """Merge-patch the status, and remember the outcome."""
        self.reach.enter(namespace)
        newest = self.store.newest(kind, namespace)
        changed = await self.kube.patch_status(kind, namespace, name, uid, resource_version, patch)
        return self._written(kind, namespace, changed, newest, resource_version)

    async def annotate(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, annotations: Mapping[str, str]
    ) -> Object:
        """Merge-patch the annotations, and remember the outcome."""
        self.reach.enter(namespace)
        newest = self.store.newest(kind, namespace)
        changed = await self.kube.annotate(kind, namespace, name, uid, resource_version, annotations)
        return self._written(kind, namespace, changed, newest, resource_version)

    async def apply(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        """Server-side apply, and remember the outcome."""
        self.reach.enter(namespace)
        newest = self.store.newest(kind, namespace)
        changed = await self.kube.apply(kind, namespace, name, manifest)
        return self._written(kind, namespace, changed, newest, manifest["metadata"].get("resourceVersion"))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> bool:
        """Delete; the watch tells when the object is gone, because finalizers may hold it.

        One that was gone before is forgotten at once: a watch that broke off never tells of it, and who waits for its
        end would wait until the next list.
        """
        self.reach.enter(namespace)
        was_gone = await self.kube.delete(kind, namespace, name, uid)
        if was_gone:
            self.store.remove(kind, namespace, name, uid)
        return was_gone

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int, limit_bytes: int) -> str:
        """Return the end of a container's log; empty when there is none to be had."""
        return await self.kube.log_tail(namespace, pod, container, lines, limit_bytes)

    async def _listed(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> tuple[Object, ...]:
        """Return what the API server has, and remember it: else the next look would see less than this one."""
        listed = await self.kube.list(kind, namespace, labels)
        self.reach.enter(namespace)
        for obj in listed:
            if is_watched(kind, obj):
                self.store.put(kind, obj)
        return listed

    def _written(self, kind: Kind, namespace: str, obj: Object, newest: int, before: str | None = None) -> Object:
        """Remember what a write led to: it is newer than all that was seen, or nothing was committed."""
        self.reach.enter(namespace)
        if kind in WATCHED and obj["metadata"].get("resourceVersion") != before:
            self._check(kind, namespace, obj, newest)
        return self._remember(kind, obj)

    def _check(self, kind: Kind, namespace: str, obj: Object, at_least: int) -> None:
        version = _version(obj)
        if version < at_least:
            what = f"{kind.value[2]} {obj['metadata']['name']!r}"
            raise self.reach.went_back(namespace, f"{what} is at resourceVersion {version} after {at_least}")

    def _remember(self, kind: Kind, obj: Object) -> Object:
        if kind in WATCHED:
            self.store.put(kind, obj)
        return obj


@dataclass(slots=True)
class Listed:
    """What whole lists brought: objects that had gone unseen, and the newest of each kind that was news."""

    ghosts: int = 0
    news: dict[Kind, int] = field(default_factory=dict)


async def resync(kube: Pages, store: Store, scope: Scope) -> Listed:
    """Make `store` agree with whole lists of every watched kind in `scope`.

    Raises ClusterError; then the store holds what was taken in so far. Raises WentBack when the lists are older than
    what the store knows: nothing that it holds of `scope` is to be trusted then.
    """
    listed = Listed()
    for kind in WATCHED:
        await _resync_kind(kube, store, kind, scope, listed)
    return listed


async def _resync_kind(kube: Pages, store: Store, kind: Kind, scope: Scope, listed: Listed) -> None:
    there: dict[tuple[str, str], str] = {}
    newest, burials, version = store.newest(kind, scope), store.burials(), 0
    async for page, list_version in kube.pages(kind, scope, WATCHED[kind]):
        version = list_version
        check_forward(kind, newest, version)
        for obj in page:
            metadata = obj["metadata"]
            there[metadata.get("namespace", ""), metadata["name"]] = metadata["uid"]
            if store.is_older(kind, obj, version, burials):
                raise WentBack(f"{kind.value[2]} {metadata['name']!r} is as it was before a change that was seen")
            if store.put(kind, obj):
                listed.news[kind] = max(listed.news.get(kind, 0), _version(obj))
    listed.ghosts += store.sweep(kind, scope, there, version)
    store.saw(kind, scope or "", version)


async def probe(kube: Pages, store: Store, scope: Scope) -> None:
    """Ask for one object of one kind of ours. Raises ClusterError, WentBack among them.

    All kinds of ours lie in one etcd, so that their resourceVersions tell of each other.
    """
    kind = RECONCILED[0]
    newest = max(store.newest(ours, scope) for ours in RECONCILED)
    async for _, version in kube.pages(kind, scope, WATCHED[kind], 1):
        check_forward(kind, newest, version)
        store.saw(kind, scope or "", version)
        return


def check_forward(kind: Kind, newest: int, version: int) -> None:
    """Raise WentBack when a list is older than what was seen before it was asked for."""
    if version < newest:
        raise WentBack(f"a list of {kind.value[2]} is at resourceVersion {version} after {newest}")


def _version(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)
