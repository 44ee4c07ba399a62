"""A line in the log for each decision that changed something, and none for one that did not."""

import contextlib
import logging
from collections.abc import Hashable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from ..cluster.kinds import KINDS, Kind
from ..cluster.object_ref import ObjectRef
from ..cluster.port import Cluster, Object
from ..decide.text import within, without_credentials

LONGEST_TEXT: Final = 400
MOST: Final = 12
"""So many conditions, fields and actions stand in a line; further ones are counted."""
FIELDS: Final = ("phase", "changed", "conditions", "actions", "says")
"""What a line carries beside its message and the object."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Written:
    """What one decision has written so far: the object's status before and after, and the rest in words."""

    key: ObjectRef
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    actions: list[str] = field(default_factory=list)


_WRITTEN: Final[ContextVar[_Written | None]] = ContextVar("written", default=None)


@contextlib.contextmanager
def decision(key: ObjectRef) -> Iterator[None]:
    """Log, at the end of the block, what was written in it through a Journal; also when it failed half-way."""
    written = _Written(key)
    token = _WRITTEN.set(written)
    try:
        yield
    finally:
        _WRITTEN.reset(token)
        if written.after is not None or written.actions:
            _say(written)


@dataclass(frozen=True, slots=True)
class Journal:
    """The port `Cluster` over another one: remembers for the log what is written."""

    cluster: Cluster

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        """See Cluster.get."""
        return await self.cluster.get(kind, namespace, name, fresh=fresh)

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        """See Cluster.list."""
        return await self.cluster.list(kind, namespace, labels, fresh=fresh)

    async def find(self, kind: Kind, namespace: str, reference: str, value: str) -> tuple[str, ...]:
        """See Cluster.find."""
        return await self.cluster.find(kind, namespace, reference, value)

    async def digests(self, kind: Kind, namespace: str, ref: str, value: str) -> tuple[tuple[str, Hashable], ...]:
        """See Cluster.digests."""
        return await self.cluster.digests(kind, namespace, ref, value)

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        """See Cluster.create."""
        made = await self.cluster.create(kind, namespace, manifest)
        _did("create", kind, made["metadata"]["name"])
        return made

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, patch: Object
    ) -> Object:
        """See Cluster.patch_status."""
        known = await self.cluster.get(kind, namespace, name)
        changed = await self.cluster.patch_status(kind, namespace, name, uid, resource_version, patch)
        written = _WRITTEN.get()
        if written is not None and written.key == ObjectRef(kind, namespace, name):
            written.before = (known or {}).get("status") or {} if written.after is None else written.before
            written.after = changed.get("status") or {}
        else:
            _did("patch status of", kind, name)
        return changed

    async def annotate(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, annotations: Mapping[str, str]
    ) -> Object:
        """See Cluster.annotate."""
        changed = await self.cluster.annotate(kind, namespace, name, uid, resource_version, annotations)
        _did("annotate", kind, name)
        return changed

    async def apply(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        """See Cluster.apply."""
        changed = await self.cluster.apply(kind, namespace, name, manifest)
        _did("apply", kind, name)
        return changed

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> bool:
        """See Cluster.delete."""
        was_gone = await self.cluster.delete(kind, namespace, name, uid)
        _did("delete", kind, name)
        return was_gone

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int, limit_bytes: int) -> str:
        """See Cluster.log_tail."""
        return await self.cluster.log_tail(namespace, pod, container, lines, limit_bytes)


def without_secrets(text: str) -> str:
    """Return `text` in a length that fits a line, its URIs without users, passwords and signed queries."""
    return within(without_credentials(text), LONGEST_TEXT)


def _did(verb: str, kind: Kind, name: str) -> None:
    written = _WRITTEN.get()
    if written is not None:
        written.actions.append(f"{verb} {kind.value[2]} {name}")


def _say(written: _Written) -> None:
    before, after = written.before or {}, written.after or {}
    phases = (str(before.get("phase") or ""), str(after.get("phase") or ""))
    extra: dict[str, Any] = {
        "kind": written.key.kind.value[2],
        "namespace": written.key.namespace,
        "object": written.key.name,
        "phase": f"{phases[0] or 'new'} -> {phases[1]}" if phases[0] != phases[1] else phases[1],
        "changed": _some([name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]),
        "conditions": _some(_conditions(before, after)),
        "actions": _some(written.actions),
        "says": without_secrets(str(after.get("message") or "")),
    }
    entry = KINDS[written.key.kind].reconciled
    states = [line.partition(": ")[0] for line in extra["conditions"]]
    what = extra["phase"] if phases[0] != phases[1] else ", ".join(states or extra["changed"])
    words = "; ".join(part for part in (what, ", ".join(extra["actions"])) if part)
    title = f"{entry.name if entry else extra['kind']} {written.key.name}: {words}"
    log.info("%s", without_secrets(title), extra={name: value for name, value in extra.items() if value})


def _conditions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old = {condition.get("type"): condition for condition in before.get("conditions") or ()}
    lines = []
    for condition in after.get("conditions") or ():
        known = old.get(condition.get("type"), {})
        if any(known.get(part) != condition.get(part) for part in ("status", "reason", "message")):
            state = f"{condition.get('type')}={condition.get('status')}/{condition.get('reason')}"
            lines.append(without_secrets(f"{state}: {condition.get('message') or ''}".removesuffix(": ")))
    return lines


def _some(items: list[str]) -> list[str]:
    rest = len(items) - MOST
    return [*items[:MOST], f"and {rest} more"] if rest > 0 else items
