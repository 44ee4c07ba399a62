"""The watched objects in memory: by name, by reference, and never older than what was seen."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from .kinds import KINDS, Kind
from .port import Object
from .projection import Projection, project
from .reach import Scope
from .watched import is_watched

_TOMBSTONES: Final = 20_000
_FOREVER: Final = 2**63
_LAST_WORDS: Final = 256
"""So many objects that are gone are still heard, the newest."""

Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object came, changed or went: what was seen of it before, and what is now."""

    kind: Kind
    namespace: str
    name: str
    before: Projection | None
    after: Projection | None


Listener = Callable[[Change], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    projection: Projection
    data: bytes | Object


@dataclass(frozen=True, slots=True)
class _Grave:
    """At which resourceVersion an object left, and as which burial of all: a list may be older than the news."""

    version: int
    number: int


@dataclass(frozen=True, slots=True)
class _LastWord:
    """What an object that is gone said, for those who look after that."""

    kind: Kind
    name: str
    version: int
    projection: Projection


class Store:
    """A mirror of the watched objects, fed by watch events, lists and the operator's own writes.

    resourceVersions of one kind are comparable integers (guaranteed since Kubernetes 1.35, KEP-5504; true of
    every API server on etcd before), so an object is never replaced by an older one, whatever comes first. That
    they go back is possible only when etcd was restored from a backup: `forget` is for that.
    Objects handed out are not to be changed.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        self._tables: dict[Kind, dict[Name, _Entry]] = {kind: {} for kind in Kind}
        self._index: dict[tuple[Kind, str, str, str], set[str]] = {}
        self._gone: OrderedDict[Name, _Grave] = OrderedDict()
        self._last_words: OrderedDict[Name, _LastWord] = OrderedDict()
        self._burials = 0
        self._newest: dict[tuple[Kind, str], int] = {}
        self._lists: dict[tuple[Kind, str], tuple[Object, ...]] = {}
        self._digests: dict[tuple[Kind, str, str, str], tuple[tuple[str, Hashable], ...]] = {}
        self._listener = listener

    def listen(self, listener: Listener) -> None:
        """Set who is told of every change."""
        self._listener = listener

    def put(self, kind: Kind, obj: Object) -> bool:
        """Take in `obj`, unless something as new is known; tell whether it was news."""
        metadata = obj["metadata"]
        namespace, name, uid = metadata.get("namespace", ""), metadata["name"], metadata.get("uid", "")
        version = int(metadata.get("resourceVersion") or 0)
        table = self._tables[kind]
        current = table.get((namespace, name))
        grave = self._gone.get((namespace, uid))
        if (current is not None and current.version >= version) or (grave is not None and grave.version >= version):
            if current is None or current.projection.uid != uid:
                self._hear_late(kind, obj)
            return False
        self.saw(kind, namespace, version)
        if not is_watched(kind, obj):
            return self.remove(kind, namespace, name, uid, version)
        if current is not None and current.projection.uid != uid:
            self._bury(namespace, current.projection.uid, version)
            self._keep_last_word(kind, namespace, name, current.version, current.projection)
        if (namespace, uid) in self._last_words:
            self._drop_last_word((namespace, uid))
        projection = project(kind, obj)
        slim = _slim(kind, obj)
        table[namespace, name] = _Entry(version, projection, msgspec.json.encode(slim) if KINDS[kind].packed else slim)
        self._reindex(kind, namespace, name, current.projection if current else None, projection)
        self._notify(Change(kind, namespace, name, current.projection if current else None, projection))
        return True

    def remove(self, kind: Kind, namespace: str, name: str, uid: str, version: int | None = None) -> bool:
        """Forget the object with that uid; tell whether it was known.

        `version` is the resourceVersion at which it left the watch (it may come back later, with its label);
        None means that it was deleted for good.
        """
        self._bury(namespace, uid, _FOREVER if version is None else version)
        if version is not None:
            self.saw(kind, namespace, version)
        current = self._tables[kind].get((namespace, name))
        if current is None or current.projection.uid != uid or (version is not None and current.version > version):
            return False
        del self._tables[kind][namespace, name]
        self._keep_last_word(kind, namespace, name, current.version, current.projection)
        self._reindex(kind, namespace, name, current.projection, None)
        self._notify(Change(kind, namespace, name, current.projection, None))
        return True

    def sweep(self, kind: Kind, namespace: str | None, listed: Mapping[Name, str], version: int) -> int:
        """Forget what a whole list at resourceVersion `version` no longer showed; return how many ghosts went.

        `listed` maps names to uids. A watch that was cut may never tell of a deletion.
        """
        ghosts = [
            (key, entry)
            for key, entry in self._tables[kind].items()
            if (namespace is None or key[0] == namespace) and entry.version <= version
            and listed.get(key) != entry.projection.uid
        ]  # fmt: skip
        for key, entry in ghosts:
            self.remove(kind, *key, entry.projection.uid, version)
        return len(ghosts)

    def forget(self, scope: Scope) -> list[str]:
        """Forget all that was ever seen of `scope`, without a word to the listener; return the uids that went.

        What is read afterwards is taken for the truth, however old it is.
        """
        uids = []
        for kind, table in self._tables.items():
            for namespace, name in [key for key in table if scope in {None, key[0]}]:
                entry = table.pop((namespace, name))
                self._reindex(kind, namespace, name, entry.projection, None)
                uids.append(entry.projection.uid)
        for gone in [key for key in self._last_words if scope in {None, key[0]}]:
            self._drop_last_word(gone)
        for grave in [key for key in self._gone if scope in {None, key[0]}]:
            del self._gone[grave]
        for seen in [key for key in self._newest if scope in {None, key[1]}]:
            del self._newest[seen]
        return uids

    def saw(self, kind: Kind, namespace: str, version: int) -> None:
        """Remember that the API server was at `version`; namespace "" is for a list of all of them."""
        if version > self._newest.get((kind, namespace), 0):
            self._newest[kind, namespace] = version

    def newest(self, kind: Kind, scope: Scope) -> int:
        """Return the highest resourceVersion that was seen of a kind in `scope`."""
        if scope is not None:
            return self._newest.get((kind, scope), 0)
        return max((version for (seen, _), version in self._newest.items() if seen is kind), default=0)

    def burials(self) -> int:
        """Return how many objects have left so far: a list that begins now knows of these."""
        return self._burials

    def version(self, kind: Kind, namespace: str, name: str) -> tuple[str, int] | None:
        """Return uid and resourceVersion of the object, or None."""
        entry = self._tables[kind].get((namespace, name))
        return None if entry is None else (entry.projection.uid, entry.version)

    def is_older(self, kind: Kind, obj: Object, version: int, burials: int) -> bool:
        """Tell whether a list at `version`, begun after so many burials, shows `obj` as it can no longer be.

        A list that is newer than what is known of an object must show that or newer, and nothing that had left.
        """
        metadata = obj["metadata"]
        namespace, uid, seen = metadata.get("namespace", ""), metadata.get("uid", ""), int(metadata["resourceVersion"])
        known = self.version(kind, namespace, metadata["name"])
        if known is not None and seen < known[1] <= version:
            return True
        grave = self._gone.get((namespace, uid))
        if grave is None or seen > grave.version:
            return False
        return grave.version <= version or (grave.version == _FOREVER and grave.number <= burials)

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object, or None."""
        entry = self._tables[kind].get((namespace, name))
        return None if entry is None else _unpack(entry)

    def all(self, kind: Kind, namespace: str) -> tuple[Object, ...]:
        """Return the objects of a namespace, sorted by name; the same tuple while none of them changed."""
        objects = self._lists.get((kind, namespace))
        if objects is None:
            keys = sorted(key for key in self._tables[kind] if key[0] == namespace)
            objects = tuple(_unpack(self._tables[kind][key]) for key in keys)
            if not KINDS[kind].packed:
                self._lists[kind, namespace] = objects
        return objects

    def find(self, kind: Kind, namespace: str, ref: str, value: str) -> tuple[str, ...]:
        """Return the names of the objects with that reference, sorted."""
        return tuple(sorted(self._index.get((kind, namespace, ref, value), ())))

    def digests(self, kind: Kind, namespace: str, ref: str, value: str) -> tuple[tuple[str, Hashable], ...]:
        """Return name and digest of the objects with that reference; the same tuple while none of them changed.

        With them come the newest of those that are gone, where the kind says so (`KindEntry.outlives`).
        """
        key = (kind, namespace, ref, value)
        known = self._digests.get(key)
        if known is None:
            table = self._tables[kind]
            members = self._index.get(key, ())
            there = ((name, table[namespace, name].projection.digest) for name in members)
            known = self._digests[key] = (*there, *self._last_said(kind, namespace, ref, value))
        return known

    def projection(self, kind: Kind, namespace: str, name: str) -> Projection | None:
        """Return the projection of the object, without unpacking it."""
        entry = self._tables[kind].get((namespace, name))
        return None if entry is None else entry.projection

    def projections(self, kind: Kind) -> Iterator[tuple[str, str, Projection]]:
        """Yield namespace, name and projection of every object of a kind."""
        for (namespace, name), entry in self._tables[kind].items():
            yield namespace, name, entry.projection

    def _reindex(self, kind: Kind, namespace: str, name: str, old: Projection | None, new: Projection | None) -> None:
        self._lists.pop((kind, namespace), None)
        if old is None or new is None or (old.digest, old.references) != (new.digest, new.references):
            for ref, value in (*(old.references if old else ()), *(new.references if new else ())):
                self._digests.pop((kind, namespace, ref, value), None)
        for ref, value in old.references if old else ():
            members = self._index.get((kind, namespace, ref, value), set())
            members.discard(name)
            if not members:
                self._index.pop((kind, namespace, ref, value), None)
        for ref, value in new.references if new else ():
            self._index.setdefault((kind, namespace, ref, value), set()).add(name)

    def _last_said(self, kind: Kind, namespace: str, ref: str, value: str) -> Iterator[tuple[str, Hashable]]:
        if ref != KINDS[kind].outlives:
            return
        for (where, _), word in self._last_words.items():
            if where == namespace and word.kind is kind and (ref, value) in word.projection.references:
                yield word.name, word.projection.digest

    def _keep_last_word(self, kind: Kind, namespace: str, name: str, version: int, projection: Projection) -> None:
        """Who was woken by what it said looks when it can: no time tells when everybody has, and wrote it down."""
        outlives = KINDS[kind].outlives
        if outlives is None or projection.reference(outlives) is None:
            return
        self._last_words[namespace, projection.uid] = _LastWord(kind, name, version, projection)
        if len(self._last_words) > _LAST_WORDS:
            self._drop_last_word(next(iter(self._last_words)))

    def _hear_late(self, kind: Kind, obj: Object) -> None:
        """Hear what an object said that is gone: a read or a list may tell of that before the watch has come so far."""
        outlives = KINDS[kind].outlives
        projection = None if outlives is None else project(kind, obj)
        if outlives is None or projection is None or projection.reference(outlives) is None:
            return
        metadata = obj["metadata"]
        namespace, name, version = metadata.get("namespace", ""), metadata["name"], int(metadata["resourceVersion"])
        known = self._last_words.get((namespace, projection.uid))
        if known is not None and known.version >= version:
            return
        self._keep_last_word(kind, namespace, name, version, projection)
        for ref, value in projection.references:
            self._digests.pop((kind, namespace, ref, value), None)
        self._notify(Change(kind, namespace, name, None if known is None else known.projection, projection))

    def _drop_last_word(self, key: Name) -> None:
        word = self._last_words.pop(key)
        for ref, value in word.projection.references:
            self._digests.pop((word.kind, key[0], ref, value), None)

    def _bury(self, namespace: str, uid: str, version: int) -> None:
        old = self._gone.pop((namespace, uid), None)
        self._burials += 1
        self._gone[namespace, uid] = _Grave(version if old is None else max(version, old.version), self._burials)
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)

    def _notify(self, change: Change) -> None:
        if self._listener is not None:
            self._listener(change)


def _slim(kind: Kind, obj: Object) -> Object:
    """Return `obj` without what nobody reads; who manages a field is read of few kinds."""
    metadata = obj["metadata"]
    if KINDS[kind].managed_fields or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _unpack(entry: _Entry) -> Object:
    if isinstance(entry.data, bytes):
        obj: Object = msgspec.json.decode(entry.data)
        return obj
    return entry.data
