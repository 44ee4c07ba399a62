"""How much is played of what can be played for ever: a part in `make test`, the rest in `make test-deep`."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pytest
from _pytest.mark import ParameterSet

DEEP: Final = os.environ.get("FINETUNE_TESTS") == "deep"
"""All is to be played of tests that are marked `part`."""


def part_of(every: int) -> int:
    """Return how many of `every` example of a dear property are tried: a sixth, the same each time, or all."""
    return every if DEEP else every // 6


def first_of(values: Iterable[Any], count: int = 1) -> list[ParameterSet]:
    """Return values to parametrize with: so many as they are, and the others for `make test-deep`."""
    return [_param(value, is_deep=number >= count) for number, value in enumerate(values)]


def in_turn(rows: Iterable[Any], columns: Sequence[Any], count: int = 1) -> list[ParameterSet]:
    """Return each row with each column: a row with so many of them, in turn, and other pairs for `make test-deep`."""
    return [
        _param((row, column), is_deep=(place - number * count) % len(columns) >= count)
        for number, row in enumerate(rows)
        for place, column in enumerate(columns)
    ]


def _param(value: Any, *, is_deep: bool) -> ParameterSet:
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=[pytest.mark.deep] * is_deep)
