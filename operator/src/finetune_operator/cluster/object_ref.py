"""What is reconciled: an object of one of the operator's own kinds, by name."""

from dataclasses import dataclass

from .kinds import Kind


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object by kind, namespace and name; who has the name now is looked up at every reconcile."""

    kind: Kind
    namespace: str
    name: str
