"""An in-memory API server: few semantics, each checked against the real one (tests/integration/semantics).

It has uids, resourceVersions, generations, preconditions, merge patches of the status subresource, server-side
apply of Deployments with field ownership, background garbage collection by ownerReferences, and a write log. What a
real one refuses of an object (`admission`), it refuses.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec

from finetune_operator.cluster.errors import AlreadyExists, Conflict, FieldConflict, Invalid, NotFound
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.projection import Projection, project

from .admission import refusals

WITH_STATUS = frozenset(
    (Kind.POLICY, Kind.RUN, Kind.MODEL_VERSION, Kind.PROMOTION, Kind.JOB, Kind.DEPLOYMENT, Kind.POD)
)
START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
Path = tuple[str, ...]
Manager = tuple[str, str]
"""Field manager and operation: what one has updated and what it has applied are claims of two."""
Owners = dict[Path, frozenset[Manager]]
T = TypeVar("T")


class Crash(BaseException):
    """The operator's process dies here; nothing of it goes on."""


@dataclass(frozen=True, slots=True)
class Write:
    """One committed write: who did what to which object, and how it looked before and after."""

    actor: str
    verb: str
    kind: Kind
    name: str
    uid: str
    at: datetime
    before: Object | None
    after: Object | None
    text: bytes
    """`after` as JSON, when it was committed."""


@dataclass
class ApiServer:
    """The store. What it hands out is shared and not to be changed, as in the operator's cache (see `is_intact`)."""

    now: datetime = START
    objects: dict[tuple[Kind, str, str], Object] = field(default_factory=dict)
    log: list[Write] = field(default_factory=list)
    owners: dict[str, Owners] = field(default_factory=dict)
    """Per uid of a Deployment: which managers own which annotation path."""
    counter: int = 0
    restores: int = 0
    believed: frozenset[str] = frozenset()
    """Actors whose objects are taken as they are: of an older release, whose rules were others."""
    projected: dict[tuple[Kind, str, str], tuple[Object, Projection]] = field(default_factory=dict, compare=False)
    """The projection of each object that was asked for, with the object: another one of its key is projected anew."""

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.now += timedelta(seconds=seconds)

    @property
    def state(self) -> tuple[int, int]:
        """Return what is another one after each write and each restore."""
        return len(self.log), self.restores

    def backup(self) -> tuple[dict[tuple[Kind, str, str], Object], dict[str, Owners], int]:
        """Return all that etcd holds, for `restore`."""
        return dict(self.objects), {uid: dict(owners) for uid, owners in self.owners.items()}, self.counter

    def restore(self, backup: tuple[dict[tuple[Kind, str, str], Object], dict[str, Owners], int]) -> None:
        """Go back to `backup`; resourceVersions and uids go back, too, and are given out again to others."""
        objects, owners, self.counter = backup
        self.restores += 1
        self.objects, self.owners = dict(objects), {uid: dict(kept) for uid, kept in owners.items()}

    def stamp(self) -> str:
        """Return the time as the API server writes it."""
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object, or None."""
        return self.objects.get((kind, namespace, name))

    def list(self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None) -> tuple[Object, ...]:
        """Return the objects with all the labels, by name."""
        wanted = (labels or {}).items()
        items = [
            item
            for (k, ns, _), item in self.objects.items()
            if k is kind and ns == namespace and wanted <= (item["metadata"].get("labels") or {}).items()
        ]
        return tuple(sorted(items, key=lambda o: str(o["metadata"]["name"])))

    def projections(self, kind: Kind, namespace: str) -> Iterator[tuple[str, Projection]]:
        """Yield name and projection of each object, by name; once made, as the operator's own cache keeps it."""
        for item in self.list(kind, namespace):
            key = (kind, namespace, str(item["metadata"]["name"]))
            of, projection = self.projected.get(key, (None, None))
            if projection is None or of is not item:
                projection = project(kind, item)
                self.projected[key] = (item, projection)
            yield key[2], projection

    def create(self, actor: str, kind: Kind, namespace: str, manifest: Object) -> Object:
        """Create; the status of kinds with a status subresource is dropped."""
        made = copied(manifest)
        name = str(made["metadata"]["name"])
        if (kind, namespace, name) in self.objects:
            raise AlreadyExists(f"{kind.value[2]} {name} already exists")
        if kind in WITH_STATUS:
            made.pop("status", None)
        self.counter += 1
        made["metadata"] |= {
            "namespace": namespace,
            "uid": f"uid-{self.counter:05d}",
            "creationTimestamp": self.stamp(),
            "generation": 1,
        }
        if kind is Kind.DEPLOYMENT:
            self._own_changes(actor, {}, made)
        return self._commit(actor, "create", kind, namespace, None, made)

    def patch_status(
        self, actor: str, kind: Kind, namespace: str, name: str, uid: str, version: str, patch: Object
    ) -> Object:
        """Merge-patch the status of exactly that resourceVersion; a patch of nothing commits nothing.

        The API server overlooks the uid here. No two objects ever have the same resourceVersion.
        """
        del uid
        old = self._expect(kind, namespace, name, version)
        new = copied(old)
        new["status"] = merge(new.get("status") or {}, patch.get("status", patch))
        if new == old:
            return old
        return self._commit(actor, "patch_status", kind, namespace, old, new)

    def annotate(
        self,
        actor: str,
        kind: Kind,
        namespace: str,
        name: str,
        uid: str,
        version: str,
        annotations: Mapping[str, str],
    ) -> Object:
        """Merge-patch the annotations of exactly that uid and resourceVersion; a patch of nothing commits nothing."""
        old = self._expect(kind, namespace, name, version)
        if old["metadata"]["uid"] != uid:
            raise Conflict("uid mismatch: another object has the name")
        new = copied(old)
        new["metadata"] = merge(new["metadata"], {"annotations": annotations})
        if new == old:
            return old
        return self._commit(actor, "annotate", kind, namespace, old, new)

    def update_spec(
        self, actor: str, kind: Kind, namespace: str, name: str, change: Callable[[Object], None]
    ) -> Object:
        """Change an object as a user does (kubectl edit, Git); a changed spec gets a new generation."""
        old = self.objects[(kind, namespace, name)]
        new = copied(old)
        change(new)
        if kind is Kind.DEPLOYMENT:
            self._own_changes(actor, old, new)
        new["metadata"]["generation"] += is_new_generation(kind, old, new)
        return self._commit(actor, "update", kind, namespace, old, new)

    def apply(self, actor: str, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        """Server-side apply of annotations on a Deployment: own them, release those no longer named, never force."""
        if kind is not Kind.DEPLOYMENT:
            raise Invalid("only Deployments are applied")
        old = self._expect_applied(kind, namespace, name, manifest["metadata"])
        new = copied(old)
        owned, me = self.owners[old["metadata"]["uid"]], (actor, "Apply")
        before, wanted = annotation_leaves(old), annotation_leaves(manifest)
        for path, value in wanted.items():
            others = sorted(owned.get(path, frozenset()) - {me})
            if others and before.get(path) != value:
                raise FieldConflict(f"conflict with {others[0][0]}: {'.'.join(path)}", others[0][0])
        for path in [p for p, managers in owned.items() if me in managers and p not in wanted]:
            owned[path] -= {me}
            if not owned[path]:
                del owned[path]
                remove_leaf(new, path)
        for path, value in wanted.items():
            owned[path] = owned.get(path, frozenset()) | {me}
            set_leaf(new, path, value)
        new["metadata"]["generation"] += is_new_generation(kind, old, new)
        new["metadata"]["managedFields"] = managed_fields(owned)
        return old if new == old else self._commit(actor, "apply", kind, namespace, old, new)

    def delete(self, actor: str, kind: Kind, namespace: str, name: str, uid: str | None = None) -> None:
        """Delete with background propagation; another uid of that name stays."""
        old = self.objects.get((kind, namespace, name))
        if old is None or (uid is not None and old["metadata"]["uid"] != uid):
            return
        del self.objects[(kind, namespace, name)]
        self.log.append(Write(actor, "delete", kind, name, old["metadata"]["uid"], self.now, old, None, b""))
        self.collect_garbage()

    def collect_garbage(self) -> None:
        """Delete what has owners and none of them is there, again and again until nothing is left of the kind."""
        while True:
            there = {item["metadata"]["uid"] for item in self.objects.values()}
            orphans = [
                key
                for key, item in self.objects.items()
                if (owners := item["metadata"].get("ownerReferences")) and not any(o["uid"] in there for o in owners)
            ]
            if not orphans:
                return
            for kind, namespace, name in orphans:
                old = self.objects.pop((kind, namespace, name))
                uid = old["metadata"]["uid"]
                self.log.append(Write("garbage-collector", "delete", kind, name, uid, self.now, old, None, b""))

    def _expect(self, kind: Kind, namespace: str, name: str, version: str) -> Object:
        old = self.objects.get((kind, namespace, name))
        if old is None:
            raise NotFound(f"{kind.value[2]} {name} not found")
        if old["metadata"]["resourceVersion"] != version:
            raise Conflict("the object has been modified")
        return old

    def _expect_applied(self, kind: Kind, namespace: str, name: str, wanted: Object) -> Object:
        old = self.objects.get((kind, namespace, name))
        if old is None:
            raise Conflict("uid mismatch: no existing object was found")
        if wanted.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise Conflict("uid mismatch: another object has the name")
        if wanted.get("resourceVersion", old["metadata"]["resourceVersion"]) != old["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")
        return old

    def _own_changes(self, actor: str, old: Object, new: Object) -> None:
        owned = self.owners.setdefault(new["metadata"]["uid"], {})
        before, after = annotation_leaves(old), annotation_leaves(new)
        for path in [p for p in owned if p not in after]:
            del owned[path]
        for path, value in after.items():
            if before.get(path) != value:
                owned[path] = frozenset(((actor, "Update"),))
        new["metadata"]["managedFields"] = managed_fields(owned)

    def _commit(self, actor: str, verb: str, kind: Kind, namespace: str, old: Object | None, new: Object) -> Object:
        refused = next(refusals(kind, new, old), None)
        if refused is not None and actor not in self.believed:
            raise Invalid(f"{kind.value[2]} {new['metadata']['name']!r} is invalid: {refused}")
        self.counter += 1
        new["metadata"]["resourceVersion"] = str(self.counter)
        name = str(new["metadata"]["name"])
        self.objects[(kind, namespace, name)] = new
        text = msgspec.json.encode(new)
        self.log.append(Write(actor, verb, kind, name, new["metadata"]["uid"], self.now, old, new, text))
        return new


def is_intact(write: Write) -> bool:
    """Tell whether what was committed is still as it was: nobody changed what was only lent to him."""
    return write.after is None or msgspec.json.encode(write.after) == write.text


def copied(node: T) -> T:
    """Return a copy of plain JSON data, by way of JSON: copy.deepcopy takes twenty times as long."""
    return cast("T", msgspec.json.decode(msgspec.json.encode(node)))


def merge(old: Any, patch: Any) -> Any:
    """Return the JSON merge patch (RFC 7386) of `old` by `patch`."""
    if not isinstance(patch, Mapping):
        return copied(patch)
    merged = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


PLACES: tuple[Path, ...] = (("metadata", "annotations"), ("spec", "template", "metadata", "annotations"))


def annotation_leaves(item: Object) -> dict[Path, str]:
    """Return path -> value of the annotations of a Deployment and of its pod template."""
    leaves: dict[Path, str] = {}
    for place in PLACES:
        node: Any = item
        for part in place:
            node = (node or {}).get(part)
        leaves |= {(*place, key): str(value) for key, value in (node or {}).items()}
    return leaves


def set_leaf(item: Object, path: Path, value: str) -> None:
    """Set the value at a path, making the maps on the way."""
    node = item
    for part in path[:-1]:
        node[part] = node.get(part) or {}
        node = node[part]
    node[path[-1]] = value


def remove_leaf(item: Object, path: Path) -> None:
    """Remove the value at a path, if it is there."""
    node: Any = item
    for part in path[:-1]:
        node = (node or {}).get(part)
    if node:
        node.pop(path[-1], None)


def is_new_generation(kind: Kind, old: Object, new: Object) -> bool:
    """Tell whether a change counts: of the spec, and of a Deployment's own annotations, too."""
    if new.get("spec") != old.get("spec"):
        return True
    return kind is Kind.DEPLOYMENT and new["metadata"].get("annotations") != old["metadata"].get("annotations")


def managed_fields(owned: Owners) -> list[Object]:
    """Return managedFields as the API server has them (fieldsV1 with f: keys)."""
    entries: dict[Manager, Object] = {}
    for path, managers in owned.items():
        for manager in managers:
            node: Any = entries.setdefault(manager, {})
            for part in path:
                node = node.setdefault(f"f:{part}", {})
    return [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        for (manager, operation), fields in sorted(entries.items())
    ]


@dataclass(frozen=True, slots=True)
class Read:
    """One read of the operator and what it was answered."""

    kind: Kind
    ask: Callable[[ApiServer], Any]
    answer: Any

    def is_current(self, server: ApiServer) -> bool:
        """Tell whether the same would be answered again; an object that was written is another one."""
        answer = self.ask(server)
        if isinstance(answer, tuple) and len(answer) == len(self.answer):
            return all(now is then or (isinstance(now, tuple) and now == then)
                       for now, then in zip(answer, self.answer, strict=True))  # fmt: skip
        return answer is self.answer


@dataclass
class Client:
    """The Cluster protocol over an ApiServer, as one process of the operator sees it.

    `crash_at` = (n, moment): the n-th write (from 0) dies `before` it is committed or `after` it, before the answer
    arrives. `writes` counts the operator's writes over all its lives.
    """

    server: ApiServer
    actor: str = "finetune-operator"
    crash_at: tuple[int, str] | None = None
    writes: int = 0
    then: Callable[[int], None] | None = None
    """Called after each write, with its number: what others do in the middle of the operator's work."""
    at_write: Callable[[int, str], None] | None = None
    """Called where `crash_at` could be, with number and moment: who looks at the world then."""
    written_down: list[Read] | None = None
    """What was read, where anybody wants to know that."""

    def _write(self, commit: Callable[[], Any]) -> Any:
        number, self.writes = self.writes, self.writes + 1
        self._could_die(number, "before")
        result = commit()
        if self.then is not None:
            self.then(number)
        self._could_die(number, "after")
        return result

    def _could_die(self, number: int, moment: str) -> None:
        if self.at_write is not None:
            self.at_write(number, moment)
        if self.crash_at == (number, moment):
            raise Crash(f"{moment} write {number}")

    def _read(self, kind: Kind, ask: Callable[[ApiServer], T]) -> T:
        answer = ask(self.server)
        if self.written_down is not None:
            self.written_down.append(Read(kind, ask, answer))
        return answer

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        """See Cluster.get."""
        return self._read(kind, lambda server: server.get(kind, namespace, name))

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        """See Cluster.list."""
        return self._read(kind, lambda server: server.list(kind, namespace, labels))

    async def find(self, kind: Kind, namespace: str, reference: str, value: str) -> tuple[str, ...]:
        """See Cluster.find."""
        return tuple(name for name, _ in await self.digests(kind, namespace, reference, value))

    async def digests(self, kind: Kind, namespace: str, ref: str, value: str) -> tuple[tuple[str, Hashable], ...]:
        """See Cluster.digests."""

        def ask(server: ApiServer) -> tuple[tuple[str, Hashable], ...]:
            projections = server.projections(kind, namespace)
            return tuple((name, p.digest) for name, p in projections if (ref, value) in p.references)

        return self._read(kind, ask)

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        """See Cluster.create."""
        made: Object = self._write(lambda: self.server.create(self.actor, kind, namespace, manifest))
        return made

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, patch: Object
    ) -> Object:
        """See Cluster.patch_status."""
        patched: Object = self._write(
            lambda: self.server.patch_status(self.actor, kind, namespace, name, uid, resource_version, patch)
        )
        return patched

    async def annotate(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, annotations: Mapping[str, str]
    ) -> Object:
        """See Cluster.annotate."""
        annotated: Object = self._write(
            lambda: self.server.annotate(self.actor, kind, namespace, name, uid, resource_version, annotations)
        )
        return annotated

    async def apply(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        """See Cluster.apply."""
        applied: Object = self._write(lambda: self.server.apply(self.actor, kind, namespace, name, manifest))
        return applied

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> bool:
        """See Cluster.delete."""
        was_gone = self.server.get(kind, namespace, name) is None
        self._write(lambda: self.server.delete(self.actor, kind, namespace, name, uid))
        return was_gone

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int, limit_bytes: int) -> str:
        """See Cluster.log_tail; the simulated pods print nothing."""
        return ""
