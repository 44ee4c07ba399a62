"""What the operator remembers of an object beside its bytes: enough to find it and to see whom it concerns."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from ..api import names
from ..api.run import FINAL_PHASES
from .port import Kind, Object

Ref = tuple[str, str]
"""A way to find an object: ("policy", name), ("deployment", name), ("owner", uid) ..."""


@dataclass(frozen=True, slots=True)
class Note:
    """A projection of one object.

    `digest` is what other objects look at: while it stays the same, a change wakes nobody else.
    """

    uid: str
    refs: tuple[Ref, ...] = ()
    phase: str = ""
    digest: Hashable = None

    def ref(self, kind: str) -> str | None:
        """Return the first reference of that kind."""
        return next((value for key, value in self.refs if key == kind), None)


def note_of(kind: Kind, obj: Object) -> Note:
    """Return the note of `obj`; total over whatever an API server may hold."""
    metadata = obj.get("metadata") or {}
    uid = str(metadata.get("uid", ""))
    spec: dict[str, Any] = obj.get("spec") or {}
    status: dict[str, Any] = obj.get("status") or {}
    phase = str(status.get("phase") or "")
    match kind:
        case Kind.RUN:
            return Note(uid, _refs(policy=spec.get("policy"), uid=uid, promotion=status.get("promotion")), phase)
        case Kind.POLICY:
            templates = spec.get("podTemplates") or {}
            refs = (
                *_refs(deployment=spec.get("deployment"), model=spec.get("model")),
                *(("template", name) for name in sorted({str(t) for t in templates.values()})),
            )
            return Note(uid, refs, "", _policy_digest(metadata, status))
        case Kind.MODEL_VERSION:
            return Note(uid, _refs(model=spec.get("model"), uid=uid, type=spec.get("type")), phase, phase)
        case Kind.PROMOTION:
            return Note(uid, _refs(policy=spec.get("policy")), phase, phase)
        case Kind.JOB:
            return Note(uid, _owner(metadata), "Finished" if _is_finished(status) else "Active")
        case Kind.POD | Kind.CONFIG_MAP:
            return Note(uid, _owner(metadata), phase)
        case Kind.DEPLOYMENT | Kind.POD_TEMPLATE | Kind.EVENT:
            return Note(uid)


def is_final_run(note: Note) -> bool:
    """Tell whether a run's phase is final; final means final."""
    return note.phase in FINAL_PHASES


def _refs(**found: object) -> tuple[Ref, ...]:
    return tuple((key, value) for key, value in found.items() if isinstance(value, str) and value)


def _owner(metadata: dict[str, Any]) -> tuple[Ref, ...]:
    return _refs(owner=(metadata.get("labels") or {}).get(names.OWNER_UID_LABEL))


def _is_finished(status: dict[str, Any]) -> bool:
    return any(
        c.get("type") in {"Complete", "Failed"} and c.get("status") == "True" for c in status.get("conditions") or ()
    )


def _policy_digest(metadata: dict[str, Any], status: dict[str, Any]) -> Hashable:
    """Return what runs and versions look at: rules, readiness, what is live, the hold, the quarantine."""
    ready: dict[str, Any] = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    live = status.get("live") or {}
    return (
        metadata.get("generation"),
        status.get("observedGeneration"),
        ready.get("status"),
        ready.get("message"),
        (live.get("version"), live.get("sha256")),
        (status.get("hold") or {}).get("since"),
        tuple(q.get("sha256") for q in status.get("quarantined") or ()),
    )
