"""Objects of the operator's kinds, as values of their types: parsed once, and anew when they changed."""

from collections.abc import Callable
from typing import TypeVar

from ..api.model_version import ModelVersion
from ..api.policy import Policy
from ..api.promotion import Promotion
from ..api.value import InvalidObject, parse
from .kinds import Kind
from .port import Cluster, Object

T = TypeVar("T")


class ParsedObjects:
    """Reads what decisions look at; one that is invalid counts as missing where another object's decision looks at it.

    Remembers each object as it was parsed, by uid and resourceVersion. Runs are not among them: there may be thousands,
    and nobody looks at another's whole.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, tuple[str, object]] = {}
        self._versions: dict[str, tuple[tuple[Object, ...], tuple[ModelVersion, ...]]] = {}

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._known.pop(uid, None)

    def parse(self, raw: Object, kind: type[T]) -> T:
        """Return the object as a value of its type. Raises InvalidObject."""
        return self.read(raw, lambda obj: parse(obj, kind))

    def read(self, raw: Object, reader: Callable[[Object], T]) -> T:
        """Return what `reader` makes of the object; it is the same for all objects of a kind."""
        uid, version = raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]
        known = self._known.get(uid)
        if known is None or known[0] != version:
            known = (version, reader(raw))
            self._known[uid] = known
        return known[1]  # type: ignore[return-value]  # one uid is always read as one type

    async def policy(self, namespace: str, name: str) -> Policy | None:
        """Return the policy of that name."""
        raw = await self._cluster.get(Kind.POLICY, namespace, name)
        return None if raw is None else self._try(raw, Policy)

    async def policies(self, namespace: str) -> tuple[Policy, ...]:
        """Return the policies of a namespace."""
        policies = [self._try(raw, Policy) for raw in await self._cluster.list(Kind.POLICY, namespace)]
        return tuple(p for p in policies if p is not None)

    async def promotion(self, namespace: str, name: str) -> Promotion | None:
        """Return the promotion; a missing one is asked for anew, because its absence ends a run."""
        raw = await self._cluster.get(Kind.PROMOTION, namespace, name)
        raw = raw or await self._cluster.get(Kind.PROMOTION, namespace, name, fresh=True)
        return None if raw is None else self._try(raw, Promotion)

    async def promotions(self, policy: Policy, *, fresh: bool = False) -> tuple[Promotion, ...]:
        """Return the promotions that name the policy; `fresh` asks the API server for them."""
        listed = await self._cluster.list(Kind.PROMOTION, policy.metadata.namespace, fresh=fresh)
        read = (self._try(promotion, Promotion) for promotion in listed)
        return tuple(p for p in read if p is not None and p.spec.policy == policy.metadata.name)

    async def versions(self, namespace: str, model: str | None) -> tuple[ModelVersion, ...]:
        """Return the versions of a model; none where nobody says of which."""
        if model is None:
            return ()
        raws = await self._cluster.list(Kind.MODEL_VERSION, namespace)
        known = self._versions.get(namespace)
        if known is None or known[0] is not raws:
            parsed = [self._try(raw, ModelVersion) for raw in raws]
            known = (raws, tuple(v for v in parsed if v is not None))
            self._versions[namespace] = known
        return tuple(v for v in known[1] if v.spec.model == model)

    def _try(self, raw: Object, kind: type[T]) -> T | None:
        """Return the parsed object; None for one that is invalid, which its own reconcile reports."""
        try:
            return self.parse(raw, kind)
        except InvalidObject:
            return None
