"""What the operator may do: the one list that the chart's roles and the tests are held against."""

from collections.abc import Iterator, Mapping
from typing import Final

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
