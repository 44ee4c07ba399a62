"""The handful of verbs by which the operator talks to an API server, real or simulated."""

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

from .kinds import Kind

Object = dict[str, Any]
"""A Kubernetes object as plain JSON data."""


class Cluster(Protocol):
    """One API server. Every verb raises only cluster.errors.ClusterError (and its kinds)."""

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        """Return the object, or None. `fresh` asks the API server itself, past any cache."""
        ...

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        """Return the objects of a namespace that carry all `labels`, sorted by name.

        `fresh` asks the API server itself, past any cache: for objects that are not watched.
        """
        ...

    async def find(self, kind: Kind, namespace: str, reference: str, value: str) -> tuple[str, ...]:
        """Return the names of the objects with that reference (see KindEntry.references), sorted.

        Of watched kinds alone, from memory, and without reading an object.
        """
        ...

    async def digests(self, kind: Kind, namespace: str, ref: str, value: str) -> tuple[tuple[str, Hashable], ...]:
        """Return name and digest of the objects with that reference (cluster/kinds.py), in any order."""
        ...

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        """Create. Raises AlreadyExists for a taken name, Invalid, Forbidden."""
        ...

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, patch: Object
    ) -> Object:
        """Merge-patch the status subresource of exactly that uid at exactly that resourceVersion.

        Raises Conflict when either moved on, NotFound when the object is gone.
        """
        ...

    async def annotate(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, annotations: Mapping[str, str]
    ) -> Object:
        """Merge-patch metadata.annotations of exactly that uid at exactly that resourceVersion.

        Raises Conflict when either moved on, NotFound when the object is gone.
        """
        ...

    async def apply(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        """Server-side apply under the operator's field manager, never forced.

        `manifest.metadata` carries uid and resourceVersion, so the request creates nothing and overwrites
        nothing unseen. Raises FieldConflict, Conflict, NotFound, Invalid.
        """
        ...

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> bool:
        """Delete exactly that uid, its children first; tell whether nothing of that name was there any more."""
        ...

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int, limit_bytes: int) -> str:
        """Return the end of a container's log; empty when there is none to be had."""
        ...
