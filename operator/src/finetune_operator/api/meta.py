"""Object metadata, references and conditions, as the Kubernetes API conventions have them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from .value import Value

ConditionStatus = Literal["True", "False", "Unknown"]


class ObjectMeta(Value, frozen=True, kw_only=True):
    """The part of metadata that decisions look at."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Condition(Value, frozen=True, kw_only=True):
    """One observation about an object (type, status, reason, message)."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: int = 0


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """Return the condition of that type, if there is one."""
    return next((c for c in conditions if c.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Tell whether the condition of that type has status True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def with_condition(conditions: tuple[Condition, ...], new: Condition, now: datetime) -> tuple[Condition, ...]:
    """Return `conditions` with `new` in its place; the transition time moves only with the status.

    The message is cut at 1,024 characters so that a status stays small.
    """
    old = find(conditions, new.type)
    moved = old is None or old.status != new.status
    stamped = Condition(
        type=new.type,
        status=new.status,
        reason=new.reason,
        message=new.message[:1024],
        last_transition_time=now if moved or old is None else old.last_transition_time,
        observed_generation=new.observed_generation,
    )
    if old is None:
        return (*conditions, stamped)
    return tuple(stamped if c.type == new.type else c for c in conditions)


class Artifact(Value, frozen=True, kw_only=True):
    """Bytes by digest: where they lie, what they hash to (64 hex digits)."""

    uri: str
    sha256: str


class ModelArtifact(Value, frozen=True, kw_only=True):
    """The artifact that is served."""

    uri: str
    sha256: str
    format: Literal["onnx"] = "onnx"
    bytes: int = 0
