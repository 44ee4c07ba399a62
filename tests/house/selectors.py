"""What rules ask Prometheus for: the selectors of their expressions, with the labels that they rest on."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_SELECTOR: Final = re.compile(r"(?<![\w:])(finetune_\w+|[a-z_]+:finetune_[\w:]+)\{([^}]*)\}")
_NAME: Final = re.compile(r"(?<![\w:])(finetune_\w+|[a-z_]+:finetune_[\w:]+)")
_AGGREGATED: Final = re.compile(r"\b(?:sum|max|min) by \(([^)]*)\)\s*\((?:\w+\()?$")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Selector:
    """A selector: name, matchers as (label, operator, value), and labels that the aggregation around it keeps."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    kept: frozenset[str]

    @property
    def is_recorded(self) -> bool:
        """Whether it asks for what another rule records."""
        return ":" in self.name

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a series with these labels is one that is asked for, and has every label that is kept."""
        return self.kept <= labels.keys() and all(_matches(labels.get(key, ""), *how) for key, *how in self.matchers)


def _matches(value: str, operator: str, wanted: str) -> bool:
    match operator:
        case "=":
            return value == wanted
        case "!=":
            return value != wanted
        case "=~":
            return re.fullmatch(wanted, value) is not None
        case _:
            return re.fullmatch(wanted, value) is None


def expressions(groups: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the name and the expression of every rule."""
    for group in groups:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]


def selectors(expression: str) -> list[Selector]:
    """Return the selectors of an expression. Raises ValueError for a series that is named without matchers."""
    matches = list(_SELECTOR.finditer(expression))
    names = _NAME.findall(expression)
    if len(matches) != len(names):
        raise ValueError(f"a series is asked for without matchers, among {names}: {expression}")
    chosen = []
    for match in matches:
        around = _AGGREGATED.search(expression[: match.start()])
        kept = frozenset(label.strip() for label in around[1].split(",")) if around else frozenset[str]()
        matchers = tuple((key, how, value) for key, how, value in _MATCHER.findall(match[2]))
        chosen.append(Selector(match[1], matchers, kept))
    return chosen
