"""What the operator remembers of an object beside its bytes: enough to find it and to see whom it concerns."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from .kinds import KINDS, Kind, KindEntry
from .port import Object

Reference = tuple[str, str]
"""A way to find an object: ("policy", name), ("deployment", name), ("owner", uid) ..."""


@dataclass(frozen=True, slots=True)
class Projection:
    """A projection of one object, as the table of kinds says.

    `digest` is what other objects look at: while it stays the same, a change wakes nobody else.
    """

    uid: str
    references: tuple[Reference, ...] = ()
    phase: str = ""
    digest: Hashable = None
    since: str = ""
    """Since when the phase is what it is, as the status says it."""

    def reference(self, kind: str) -> str | None:
        """Return the first reference of that kind."""
        return next((value for key, value in self.references if key == kind), None)


def project(kind: Kind, obj: Object, kinds: Mapping[Kind, KindEntry] = KINDS) -> Projection:
    """Return the projection of `obj`; total over whatever an API server may hold."""
    entry = kinds[kind]
    references = tuple(
        (key, value)
        for key, read in entry.references.items()
        for value in read(obj)
        if isinstance(value, str) and value
    )
    uid = str((obj.get("metadata") or {}).get("uid", ""))
    return Projection(uid, references, entry.phase(obj), entry.digest(obj), entry.since(obj))
