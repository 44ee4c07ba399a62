"""What is reconciled: one key is one object of one of the operator's four kinds."""

from dataclasses import dataclass
from typing import Final

from ..cluster.port import Kind

RECONCILED: Final = (Kind.POLICY, Kind.PROMOTION, Kind.MODEL_VERSION, Kind.RUN)


@dataclass(frozen=True, slots=True)
class Key:
    """An object by kind, namespace and name; who has the name now is looked up at every reconcile."""

    kind: Kind
    namespace: str
    name: str
