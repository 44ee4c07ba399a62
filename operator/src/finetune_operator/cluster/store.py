"""The watched objects in memory: by name, by reference, and never older than what was seen."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from .notes import Note, note_of
from .port import Kind, Object
from .watched import is_watched

_PACKED: Final = frozenset((Kind.RUN, Kind.JOB, Kind.POD, Kind.CONFIG_MAP))
"""Kinds of which there are thousands: kept as JSON text, a tenth of the size of parsed objects."""
_TOMBSTONES: Final = 20_000
_FOREVER: Final = 2**63

Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object came, changed or went: what was noted before, and what is noted now."""

    kind: Kind
    namespace: str
    name: str
    before: Note | None
    after: Note | None


Listener = Callable[[Change], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    note: Note
    data: bytes | Object


class Store:
    """A mirror of the watched objects, fed by watch events, lists and the operator's own writes.

    resourceVersions of one kind are comparable integers (guaranteed since Kubernetes 1.35, KEP-5504; true of
    every API server on etcd before), so an object is never replaced by an older one, whatever comes first.
    Objects handed out are not to be changed.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        self._tables: dict[Kind, dict[Name, _Entry]] = {kind: {} for kind in Kind}
        self._index: dict[tuple[Kind, str, str, str], set[str]] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()
        self._lists: dict[tuple[Kind, str], tuple[Object, ...]] = {}
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
        if (current is not None and current.version >= version) or self._gone.get(uid, -1) >= version:
            return False
        if not is_watched(kind, obj):
            return self.remove(kind, namespace, name, uid, version)
        if current is not None and current.note.uid != uid:
            self._bury(current.note.uid, _FOREVER)
        note = note_of(kind, obj)
        slim = _slim(kind, obj)
        table[namespace, name] = _Entry(version, note, msgspec.json.encode(slim) if kind in _PACKED else slim)
        self._reindex(kind, namespace, name, current.note if current else None, note)
        self._tell(Change(kind, namespace, name, current.note if current else None, note))
        return True

    def remove(self, kind: Kind, namespace: str, name: str, uid: str, version: int | None = None) -> bool:
        """Forget the object with that uid; tell whether it was known.

        `version` is the resourceVersion at which it left the watch (it may come back later, with its label);
        None means that it was deleted for good.
        """
        self._bury(uid, _FOREVER if version is None else version)
        current = self._tables[kind].get((namespace, name))
        if current is None or current.note.uid != uid or (version is not None and current.version > version):
            return False
        del self._tables[kind][namespace, name]
        self._reindex(kind, namespace, name, current.note, None)
        self._tell(Change(kind, namespace, name, current.note, None))
        return True

    def sweep(self, kind: Kind, namespace: str | None, listed: Mapping[Name, str], version: int) -> int:
        """Forget what a whole list at resourceVersion `version` no longer showed; return how many ghosts went.

        `listed` maps names to uids. A watch that was cut may never tell of a deletion.
        """
        ghosts = [
            (key, entry)
            for key, entry in self._tables[kind].items()
            if (namespace is None or key[0] == namespace) and entry.version <= version
            and listed.get(key) != entry.note.uid
        ]  # fmt: skip
        for (space, name), entry in ghosts:
            self.remove(kind, space, name, entry.note.uid)
        return len(ghosts)

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object, or None."""
        entry = self._tables[kind].get((namespace, name))
        return None if entry is None else _unpack(entry)

    def all(self, kind: Kind, namespace: str) -> tuple[Object, ...]:
        """Return the objects of a namespace, sorted by name; the same tuple while none of them changed."""
        found = self._lists.get((kind, namespace))
        if found is None:
            keys = sorted(key for key in self._tables[kind] if key[0] == namespace)
            found = tuple(_unpack(self._tables[kind][key]) for key in keys)
            if kind not in _PACKED:
                self._lists[kind, namespace] = found
        return found

    def find(self, kind: Kind, namespace: str, ref: str, value: str) -> tuple[str, ...]:
        """Return the names of the objects with that reference, sorted."""
        return tuple(sorted(self._index.get((kind, namespace, ref, value), ())))

    def note(self, kind: Kind, namespace: str, name: str) -> Note | None:
        """Return what is noted of the object, without unpacking it."""
        entry = self._tables[kind].get((namespace, name))
        return None if entry is None else entry.note

    def notes(self, kind: Kind) -> Iterator[tuple[str, str, Note]]:
        """Yield namespace, name and note of every object of a kind."""
        for (namespace, name), entry in self._tables[kind].items():
            yield namespace, name, entry.note

    def _reindex(self, kind: Kind, namespace: str, name: str, old: Note | None, new: Note | None) -> None:
        self._lists.pop((kind, namespace), None)
        for ref, value in old.refs if old else ():
            members = self._index.get((kind, namespace, ref, value), set())
            members.discard(name)
            if not members:
                self._index.pop((kind, namespace, ref, value), None)
        for ref, value in new.refs if new else ():
            self._index.setdefault((kind, namespace, ref, value), set()).add(name)

    def _bury(self, uid: str, version: int) -> None:
        self._gone[uid] = max(version, self._gone.pop(uid, -1))
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)

    def _tell(self, change: Change) -> None:
        if self._listener is not None:
            self._listener(change)


def _slim(kind: Kind, obj: Object) -> Object:
    """Return `obj` without what nobody reads; who manages a field is read of Deployments alone."""
    metadata = obj["metadata"]
    if kind is Kind.DEPLOYMENT or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _unpack(entry: _Entry) -> Object:
    if isinstance(entry.data, bytes):
        found: Object = msgspec.json.decode(entry.data)
        return found
    return entry.data
