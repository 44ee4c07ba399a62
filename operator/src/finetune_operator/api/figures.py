"""Figures: the numbers that gates saw, by name; and the form in which the last release recorded them."""

import msgspec

from .value import Value


class Figure(Value, frozen=True, kw_only=True):
    """A number that a gate saw: a share as a six-digit decimal, or a count."""

    name: str
    value: str


class Measurements(Value, frozen=True, kw_only=True):
    """The figures as the last release recorded them: read, and no longer written (docs/develop/stored-objects.md)."""

    candidate_map50: str
    base_map50: str
    live_map50: str | None = None
    pool_rate: str = ""
    fresh_rate: str | None = None
    base_pool_rate: str | None = None
    boxes: int = 0
    documents: int = 0

    def figures(self) -> tuple[Figure, ...]:
        """Return the same numbers as figures, under the same names; what was not measured is left out."""
        stored = ((field.encode_name, getattr(self, field.name)) for field in msgspec.structs.fields(self))
        return tuple(Figure(name=name, value=str(value)) for name, value in stored if value not in (None, ""))


def either(figures: tuple[Figure, ...], measurements: Measurements | None) -> tuple[Figure, ...]:
    """Return the figures of an object that may be of the last release; empty when it has none in either form."""
    return figures or (measurements.figures() if measurements is not None else ())
