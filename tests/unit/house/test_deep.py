"""What `make test` leaves out: of each table a part that has every row and every column, and of some tables nothing."""

import re

import pytest
from _pytest.mark import ParameterSet

from house.crds import ROOT
from house.deep import first_of, in_turn

WHOLE = ("contract", "integration/crds", "integration/semantics", "unit/api", "unit/docs", "unit/rules")
"""Tests that are made from tables of fields, messages, cases of alerts, commands, and of what an API server does."""
LEFT_OUT = re.compile(r"mark\.(deep|part)\b|\bhouse\.deep\b")


def is_left_out(param: ParameterSet) -> bool:
    return pytest.mark.deep in param.marks


@pytest.mark.parametrize("folder", WHOLE)
def test_what_is_made_from_a_table_is_played_whole(folder: str) -> None:
    files = sorted((ROOT / "tests" / folder).rglob("*.py"))
    assert files
    assert [file.name for file in files if LEFT_OUT.search(file.read_text(encoding="utf-8"))] == []


def test_of_several_values_the_first_are_played() -> None:
    assert [(*param.values, is_left_out(param)) for param in first_of("abc", 2)] == [
        ("a", False), ("b", False), ("c", True)]  # fmt: skip


@pytest.mark.parametrize(("rows", "columns", "count"), [(4, 4, 1), (10, 4, 1), (4, 5, 2), (9, 6, 2)])
def test_of_pairs_every_row_and_every_column_is_played(rows: int, columns: int, count: int) -> None:
    pairs = in_turn(range(rows), range(columns), count)
    played = [param.values for param in pairs if not is_left_out(param)]
    assert len({param.values for param in pairs}) == rows * columns
    assert len(played) == rows * count
    assert {row for row, _ in played} == set(range(rows))
    assert {column for _, column in played} == set(range(columns))
