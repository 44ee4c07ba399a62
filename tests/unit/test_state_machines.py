"""docs/develop/state-machines.md is the specification: every row has a test, and no test holds a row of its own."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([RVPD]\d+) \|", re.MULTILINE)


def specified() -> list[str]:
    return ROW.findall((ROOT / "docs" / "develop" / "state-machines.md").read_text(encoding="utf-8"))


def marked(source: str) -> Iterator[str]:
    """The rows that test functions (and test classes) of this source are marked with."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name.lower().startswith(
            "test"
        ):
            yield from filter(None, map(row_of, node.decorator_list))


def row_of(decorator: ast.expr) -> str | None:
    match decorator:
        case ast.Call(func=ast.Attribute(attr="row"), args=[ast.Constant(value=str(row))]):
            return row
        case _:
            return None


@cache
def held_by_tests() -> frozenset[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return frozenset(row for file in files for row in marked(file.read_text(encoding="utf-8")))


def test_the_specification_has_every_kinds_rows() -> None:
    assert {row[0] for row in specified()} == {"R", "V", "P", "D"}


def test_rows_have_one_number_each() -> None:
    rows = specified()
    assert sorted(rows) == sorted(set(rows))


def test_every_row_has_its_test() -> None:
    assert sorted(set(specified()) - held_by_tests()) == []


def test_no_test_holds_a_row_that_is_not_there() -> None:
    assert sorted(held_by_tests() - set(specified())) == []


def test_marks_on_tests_alone_count() -> None:
    source = '@pytest.mark.row("R1")\ndef helper(): ...\n\n@pytest.mark.row("R2")\ndef test_it(): ...\n'
    assert list(marked(source)) == ["R2"]
