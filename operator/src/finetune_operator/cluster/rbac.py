"""What the operator may do: the one list that the chart's roles and the tests are held against."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from .kinds import KINDS, Kind, KindEntry

Rights = dict[tuple[str, str], frozenset[str]]
"""(API group, resource or subresource) -> verbs."""


def rights(kinds: Mapping[Kind, KindEntry]) -> Rights:
    """Return what the table of kinds asks for."""
    return dict(_rules(kinds))


def _rules(kinds: Mapping[Kind, KindEntry]) -> Iterator[tuple[tuple[str, str], frozenset[str]]]:
    for kind, entry in kinds.items():
        group, _, plural = kind.value
        yield (group, plural), entry.verbs
        for subresource, verbs in entry.subresources.items():
            yield (group, f"{plural}/{subresource}"), verbs


RULES: Final = rights(KINDS)
"""In the watched namespaces (cluster-wide: in all)."""


def for_people(kinds: Mapping[Kind, KindEntry], role: Literal["view", "edit", "admin"]) -> Rights:
    """Return what is added to one of Kubernetes' roles for people: everybody reads, `made_by` says who writes."""
    if role == "view":
        return {(k.value[0], k.value[2]): frozenset(("get", "list", "watch")) for k, e in kinds.items() if e.made_by}
    writes = frozenset(("create", "update", "patch", "delete"))
    return {(k.value[0], k.value[2]): writes for k, e in kinds.items() if e.made_by == role}
