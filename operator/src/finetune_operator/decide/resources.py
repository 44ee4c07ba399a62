"""Resources of the trainer container: a run's over its PodTemplate's, and whether any pod can have them (row R52)."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from .views import Problem

Resources = Mapping[str, Any]
"""As in a container: requests and limits by resource, and what else Kubernetes knows there."""

_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+)([eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE]?)")
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_NATIVE: Final = frozenset(("cpu", "memory", "ephemeral-storage"))
"""Of these a container may ask for less than its limit, and for fractions."""

REASON: Final = "ResourcesInvalid"


def merged(template: Resources, run: Mapping[str, Mapping[str, int | str]] | None) -> dict[str, Any]:
    """Return the container's resources with what a run asks for over those of the PodTemplate."""
    asked = run or {}
    return {
        **template,
        **{part: {**(template.get(part) or {}), **amounts} for part, amounts in asked.items()},
    }


def impossible(run: Resources | None) -> Problem | None:
    """Return why a run's own resources can never make a pod, whatever the PodTemplate says."""
    problem = next(_problems(run or {}, whole=False), None)
    if problem is None:
        return None
    return Problem(
        REASON, f"spec.resources of this run: {problem}; no pod can have that: make a run that asks for other"
    )


def misfit(template: Resources, run: Resources | None, *, name: str) -> Problem | None:
    """Return why a run's resources over those of the PodTemplate `name` can make no pod now."""
    if not run:
        return None
    problem = next(_problems(merged(template, run), whole=True), None)
    if problem is None:
        return None
    text = (
        f"spec.resources of this run over those of PodTemplate {name!r}: {problem}; edit the PodTemplate, or make a run"
    )
    return Problem(REASON, f"{text} that asks for other")


def amount(quantity: object) -> Decimal | None:
    """Return a quantity of Kubernetes as a number: 500m is 0.5, 8Gi is 8 x 2^30; None for what is none."""
    match = _QUANTITY.fullmatch(str(quantity).strip())
    if match is None:
        return None
    digits, suffix = match.groups()
    try:
        if suffix in _BINARY:
            return Decimal(digits) * Decimal(1024 ** _BINARY[suffix])
        return Decimal(digits).scaleb(_DECIMAL[suffix]) if suffix in _DECIMAL else Decimal(f"{digits}{suffix}")
    except InvalidOperation:
        return None


def _problems(resources: Resources, *, whole: bool) -> Iterator[str]:
    """Yield what the API server would refuse; `whole`: nothing is added to these resources any more."""
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name in sorted({*requests, *limits}):
        asked, limit = requests.get(name), limits.get(name)
        if name in _NATIVE:
            if asked is not None and limit is not None and _above(asked, limit):
                yield f"it requests {asked} of {name}, above its limit of {limit}"
            continue
        if "/" not in name and not name.startswith("hugepages-"):
            yield f"{name!r} is no resource of a container: cpu, memory, ephemeral-storage, or a device with its domain"
            continue
        yield from _problems_of_device(name, asked, limit, whole=whole)


def _problems_of_device(name: str, asked: object, limit: object, *, whole: bool) -> Iterator[str]:
    """Yield what is wrong with a resource that is given out in whole pieces, and never lent."""
    pieces = not name.startswith("hugepages-")
    for quantity in (asked, limit):
        number = amount(quantity) if quantity is not None else None
        if pieces and number is not None and number != number.to_integral_value():
            yield f"{quantity} of {name} is not whole"
    if asked is None:
        return
    if limit is None:
        if whole:
            yield f"it requests {asked} of {name} without a limit, and there both have to be equal"
    elif amount(asked) != amount(limit):
        yield f"it requests {asked} of {name} with a limit of {limit}, and there both have to be equal"


def _above(asked: object, limit: object) -> bool:
    left, right = amount(asked), amount(limit)
    return left is not None and right is not None and left > right
