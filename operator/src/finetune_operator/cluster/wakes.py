"""Whom a change concerns: the objects to wake, few enough that a burst of one kind stays a burst of that kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

from .kinds import KINDS, Kind, KindEntry, Wake, is_final
from .object_ref import ObjectRef
from .projection import Projection
from .store import Change, Store


@dataclass(frozen=True, slots=True)
class _Seen:
    """The object that a wake starts from, and the changed object that began it all."""

    namespace: str
    name: str
    projection: Projection
    changed: Projection


def dependents(change: Change, store: Store, kinds: Mapping[Kind, KindEntry] = KINDS) -> Iterator[ObjectRef]:
    """Yield the objects whose next decision may differ after `change`, the changed one itself among them."""
    entry = kinds[change.kind]
    if entry.reconciled is not None:
        yield ObjectRef(change.kind, change.namespace, change.name)
    before, after = change.before, change.after
    same = before is not None and after is not None and before.digest == after.digest
    for wake in entry.wakes:
        if (same and not wake.always) or not _matters(wake, before, after):
            continue
        for projection in (before, after):
            if projection is not None:
                yield from _woken(wake, _Seen(change.namespace, change.name, projection, projection), store)


def _matters(wake: Wake, before: Projection | None, after: Projection | None) -> bool:
    if wake.when is None:
        return True
    return wake.when(before.digest if before is not None else None, after.digest if after is not None else None)


def _woken(wake: Wake, seen: _Seen, store: Store) -> Iterator[ObjectRef]:
    if wake.only is not None and seen.changed.reference(wake.only[0]) != wake.only[1]:
        return
    value = seen.name if wake.value == "name" else seen.projection.reference(wake.value)
    if value is None:
        return
    names = (value,) if wake.find_by == "name" else store.find(wake.kind, seen.namespace, wake.find_by, value)
    for name in names if wake.first is None else _first(wake.first, names, wake.kind, seen.namespace, store):
        projection = store.projection(wake.kind, seen.namespace, name)
        if wake.open_only and (projection is None or is_final(wake.kind, projection.phase)):
            continue
        yield ObjectRef(wake.kind, seen.namespace, name)
        if projection is not None:
            through = _Seen(seen.namespace, name, projection, seen.changed)
            for following in wake.then:
                yield from _woken(following, through, store)


def _first(number: int, names: tuple[str, ...], kind: Kind, namespace: str, store: Store) -> list[str]:
    """Return so many of the names, those with the smallest digests."""

    def digest(name: str) -> tuple[Any, str]:
        projection = store.projection(kind, namespace, name)
        return projection.digest if projection is not None else None, name

    return nsmallest(number, names, key=digest)
