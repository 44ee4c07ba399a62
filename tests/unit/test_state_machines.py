"""docs/develop/state-machines.md is the specification: each row has a test in `make test`, no test one of its own."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([RVPD]\d+) \|", re.MULTILINE)


def specified() -> list[str]:
    return ROW.findall((ROOT / "docs" / "develop" / "state-machines.md").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Held:
    """A row that a test names, and whether only `make test-deep` plays that test."""

    row: str
    is_deep: bool


def marked(source: str) -> Iterator[Held]:
    """The rows that test functions (and test classes) of this source are marked with."""
    tree = ast.parse(source)
    whole = any(map(is_deep, module_marks(tree)))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    inside = {id(node) for one in classes if any(map(is_deep, one.decorator_list)) for node in ast.walk(one)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name.lower().startswith(
            "test"
        ):
            deep = whole or id(node) in inside or any(map(is_deep, node.decorator_list))
            yield from (Held(row, deep) for row in filter(None, map(row_of, node.decorator_list)))


def module_marks(tree: ast.Module) -> Iterator[ast.expr]:
    """What `pytestmark` of a module is made of."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=ast.List(elts=marks)):
                yield from marks
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=mark):
                yield mark
            case _:
                pass


def is_deep(mark: ast.expr) -> bool:
    return isinstance(mark, ast.Attribute) and mark.attr == "deep"


def row_of(decorator: ast.expr) -> str | None:
    match decorator:
        case ast.Call(func=ast.Attribute(attr="row"), args=[ast.Constant(value=str(row))]):
            return row
        case _:
            return None


@cache
def held_by_tests() -> frozenset[Held]:
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if "e2e" not in file.parts]
    return frozenset(held for file in files for held in marked(file.read_text(encoding="utf-8")))


def test_the_specification_has_every_kinds_rows() -> None:
    assert {row[0] for row in specified()} == {"R", "V", "P", "D"}


def test_rows_have_one_number_each() -> None:
    rows = specified()
    assert sorted(rows) == sorted(set(rows))


def test_every_row_has_a_test_that_each_change_must_pass() -> None:
    assert sorted(set(specified()) - {held.row for held in held_by_tests() if not held.is_deep}) == []


def test_no_test_holds_a_row_that_is_not_there() -> None:
    assert sorted({held.row for held in held_by_tests()} - set(specified())) == []


def test_marks_on_tests_alone_count() -> None:
    source = '@pytest.mark.row("R1")\ndef helper(): ...\n\n@pytest.mark.row("R2")\ndef test_it(): ...\n'
    assert list(marked(source)) == [Held("R2", is_deep=False)]


DEEP = "@pytest.mark.deep\n"
NAMED = '@pytest.mark.row("R1")\n'


@pytest.mark.parametrize(
    "source",
    [
        f"{DEEP}{NAMED}def test_it(): ...\n",
        f"pytestmark = pytest.mark.deep\n{NAMED}def test_it(): ...\n",
        f"pytestmark = [pytest.mark.slow, pytest.mark.deep]\n{NAMED}def test_it(): ...\n",
        f"{DEEP}class TestIt:\n    @pytest.mark.row('R1')\n    def test_it(self): ...\n",
    ],
    ids=["function", "file", "file of several marks", "class"],
)
def test_a_test_that_is_left_out_holds_no_row(source: str) -> None:
    assert list(marked(source)) == [Held("R1", is_deep=True)]
