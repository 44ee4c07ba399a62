"""Object metadata, references and conditions, as the Kubernetes API conventions have them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, Protocol, TypeVar

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
    condition = find(conditions, kind)
    return condition is not None and condition.status == "True"


def set_condition(
    conditions: tuple[Condition, ...],
    kind: str,
    status: ConditionStatus,
    reason: str,
    message: str = "",
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return `conditions` with that one in its place; the transition time moves only with the status.

    The message is cut at 3,000 characters so that a status stays small.
    """
    old = find(conditions, kind)
    new = Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[:3000],
        last_transition_time=now if old is None or old.status != status else old.last_transition_time,
        observed_generation=generation,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if c.type == kind else c for c in conditions)


def with_all(
    conditions: tuple[Condition, ...], kinds: Iterable[str], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Return `conditions` with every one of `kinds` present: what is not known yet is Unknown (NotYet)."""
    for kind in kinds:
        if find(conditions, kind) is None:
            conditions = set_condition(conditions, kind, "Unknown", "NotYet", generation=generation, now=now)
    return conditions


class Named(Protocol):
    """An object with metadata."""

    @property
    def metadata(self) -> ObjectMeta:
        """The object's metadata."""
        ...


NamedT = TypeVar("NamedT", bound=Named)


def oldest_first(objects: Iterable[NamedT]) -> list[NamedT]:
    """Return the objects by age, then by name; one that the API server has not stamped yet comes last."""
    return sorted(objects, key=_age)


def _age(obj: Named) -> tuple[bool, float, str]:
    created = obj.metadata.creation_timestamp
    return created is None, 0.0 if created is None else created.timestamp(), obj.metadata.name


class FileReference(Value, frozen=True, kw_only=True):
    """Bytes by digest: where they lie, what they hash to (64 hex digits)."""

    uri: str
    sha256: str


class Artifact(Value, frozen=True, kw_only=True):
    """The artifact that is served."""

    uri: str
    sha256: str
    format: Literal["onnx"] = "onnx"
    bytes: int = 0
