"""How often each rule of the third gate holds an equal model back, and lets one pass that lost something.

Reckoned, not drawn: of each field every document is lost, gained or neither, each with its own probability, and
independently. The rules are the operator's own. docs/guide/third-gate.md has the tables, and the command for them.
"""

from collections.abc import Callable, Iterator
from itertools import product
from math import exp, lgamma, log, sqrt
from typing import Final

from finetune_operator.api.policy import ProductionGate
from finetune_operator.decide.gates.production import chance, is_worse

DOCUMENTS: Final = (50, 100, 200, 300, 500)
FIELDS: Final = 10
"""Fields of a model: it is held back where one of them is."""
DIFFER: Final = (0.02, 0.04, 0.08)
"""Shares of the documents that two equally good models read differently, of one field."""
LOST: Final = (0.02, 0.05, 0.10)
"""Shares of the documents that a worse model lost of one field, beside what differs anyway."""
USUAL: Final = 0.04
"""The share that differs anyway, in the tables of worse models."""

Rule = Callable[[int, int], bool]
"""Tells by documents lost and gained whether a field is worse."""

RULES: Final[dict[str, Rule]] = {
    "Paired": lambda lost, gained: is_worse(ProductionGate(rule="Paired"), lost=lost, gained=gained),
    "Literal": lambda lost, gained: is_worse(ProductionGate(rule="Literal"), lost=lost, gained=gained),
    "exact test, 0.05": lambda lost, gained: chance(lost=lost, gained=gained) < 0.05,
}


def held_back(rule: Rule, documents: int, *, lost: float, gained: float) -> float:
    """Return how likely the rule calls one field worse; `lost` and `gained` are each document's probabilities."""
    return sum(p for (many, few), p in _outcomes(documents, lost, gained) if rule(many, few))


def _outcomes(documents: int, lost: float, gained: float) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield documents lost and gained, and how likely they are, leaving out what never happens."""
    for many, few in product(_likely(documents, lost), _likely(documents, gained)):
        neither = documents - many - few
        if neither < 0:
            continue
        ways = lgamma(documents + 1) - lgamma(many + 1) - lgamma(few + 1) - lgamma(neither + 1)
        yield (many, few), exp(ways + many * log(lost) + few * log(gained) + neither * log(1 - lost - gained))


def _likely(documents: int, share: float) -> range:
    middle, spread = documents * share, 9 * sqrt(documents * share) + 9
    return range(max(int(middle - spread), 0), min(int(middle + spread), documents) + 1)


def equal_models() -> Iterator[str]:
    """Yield the table of equally good models: held back by one of their fields."""
    yield "| documents | differ | " + " | ".join(RULES) + " |"
    yield "|---|---|" + "---|" * len(RULES)
    for documents, differ in product(DOCUMENTS, DIFFER):
        each = (held_back(rule, documents, lost=differ / 2, gained=differ / 2) for rule in RULES.values())
        yield f"| {documents} | {differ:.0%} | " + " | ".join(f"{1 - (1 - one) ** FIELDS:.0%}" for one in each) + " |"


def worse_models() -> Iterator[str]:
    """Yield the table of worse models: not held back by the field that they lost something of."""
    yield "| documents | lost | " + " | ".join(RULES) + " |"
    yield "|---|---|" + "---|" * len(RULES)
    for documents, lost in product(DOCUMENTS, LOST):
        shares = {"lost": USUAL / 2 + lost, "gained": USUAL / 2}
        passed = (1 - held_back(rule, documents, **shares) for rule in RULES.values())
        yield f"| {documents} | {lost:.0%} | " + " | ".join(f"{one:.0%}" for one in passed) + " |"


def tables() -> str:
    """Return both tables, as the page has them."""
    return "\n".join([*equal_models(), "", *worse_models()])


if __name__ == "__main__":
    print(tables())
