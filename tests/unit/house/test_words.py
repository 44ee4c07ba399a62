"""One word for one thing: the words that docs/glossary.md retired are refused in code and in prose."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from house.crds import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
SOURCES = (
    "operator/src",
    "trainer-image/src",
    "serving-image/src",
    "local-cluster/src",
    "demo",
    "examples/invoices/src",
    "tests",
)
KINDS = frozenset(("prose", "types", "variables"))


@dataclass(frozen=True)
class Use:
    """A word where it is used: as one of `KINDS`, in a line of its file."""

    kind: str
    text: str
    line: int


def retired(glossary: str) -> dict[str, dict[str, str]]:
    """Return kind of use -> retired word -> what is said instead, from the rows "`word`, `word` | instead | kinds"."""
    words: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    table = glossary.partition("| not | but | as |\n")[2].splitlines()[1:]
    for row in table:
        if not row.startswith("|"):
            break
        old, new, kinds = (cell.strip() for cell in row.strip("|").split("|"))
        for kind in kinds.split(", "):
            words[kind] |= dict.fromkeys(re.findall(r"`([^`]+)`", old), new)
    return words


def uses_of_code(source: str) -> Iterator[Use]:
    """Yield the names that Python code gives to values and types, its docstrings and its comments."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield Use("variables", name, node.lineno)
            case ast.ClassDef(name=name):
                yield Use("types", name, node.lineno)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.ExceptHandler(name=str(name)):
                yield Use("variables", name, node.lineno)
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield Use("prose", text, node.lineno)
            case _:
                pass
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Use("prose", token.string, token.start[0])


def uses_of_page(text: str) -> Iterator[Use]:
    """Yield the prose of a Markdown page by paragraphs: code is somebody's to name, `like this` or in a block."""
    fenced, first, paragraph = False, 1, ""
    for number, line in enumerate((*text.splitlines(), ""), start=1):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        if line.strip() and not fence and not fenced:
            first = first if paragraph else number
            paragraph += f"{line}\n"
        elif paragraph:
            yield Use("prose", re.sub(r"`[^`]*`", "", paragraph), first)
            paragraph = ""


def refused(uses: Iterator[Use], words: dict[str, dict[str, str]]) -> list[str]:
    """Return what is wrong, one line for each retired word: its line, the word, and what is said instead."""
    faults = []
    for use in uses:
        for word, instead in words[use.kind].items():
            if use.kind == "prose":
                wrong = re.search(rf"\b{re.escape(word)}s?\b", re.sub(r"\s+", " ", use.text), re.IGNORECASE) is not None
            else:
                wrong = use.text.lstrip("_") == word
            if wrong:
                faults.append(f"line {use.line}: '{word}' ({use.kind}) is not said any more; say: {instead}")
    return faults


def faults_of(path: Path, words: dict[str, dict[str, str]]) -> list[str]:
    text = path.read_text()
    uses = uses_of_code(text) if path.suffix == ".py" else uses_of_page(text.partition("## What is not said")[0])
    return [f"{path.relative_to(ROOT)}, {fault}" for fault in refused(uses, words)]


def pages() -> list[Path]:
    return sorted((ROOT / "docs").rglob("*.md")) + sorted(
        path for path in (*ROOT.glob("*.md"), *ROOT.glob("*/README.md")) if path.name != "CHANGELOG.md"
    )


WORDS = retired(GLOSSARY.read_text())


def test_the_glossary_says_which_words_are_retired_and_what_as() -> None:
    assert {"told", "found", "note"} <= set(WORDS["variables"])
    assert "snapshot document" in WORDS["prose"]
    assert {"Case", "Work", "Located"} <= set(WORDS["types"])


@pytest.mark.parametrize("folder", SOURCES)
def test_no_retired_word_names_anything_in_code(folder: str) -> None:
    faults = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        faults += faults_of(path, WORDS)
    assert faults == []


def test_no_retired_word_stands_in_the_docs() -> None:
    assert [fault for page in pages() for fault in faults_of(page, WORDS)] == []


RULES = """
| not | but | as |
|---|---|---|
| `told`, `found` | what it is | variables |
| `Case`, `Go` | its name | types |
| `snapshot document`, document (for JSON) | run document | prose |

| `other` | table | prose |
"""
PLANTED = {
    "a variable": "told = 1",
    "one of several": "a, (found, *b) = 1, (2, 3)",
    "a private name": "_told = 1",
    "an annotated field": "class A:\n    told: str",
    "an attribute": "self.found = 1",
    "a parameter": "def f(*, told: int) -> None: ...",
    "a lambda's parameter": "f = lambda found: found",
    "a loop's variable": "for found in (): ...",
    "a comprehension's variable": "a = [found for found in ()]",
    "the name of an assignment in an expression": "print(found := 1)",
    "the name of a context": "with a() as found: ...",
    "the name of an error": "try: ...\nexcept ValueError as told: ...",
    "the name of a match": "match 1:\n    case int() as found: ...",
    "a type": "class Case: ...",
    "a docstring": 'def f() -> None:\n    """Return the Snapshot documents."""',
    "a docstring over two lines": 'def f() -> None:\n    """Return the snapshot\n    document."""',
    "a comment": "a = 1  # the snapshot document",
}
FINE = {
    "a use of another's name": "a = server.found",
    "a function": "def found() -> None: ...",
    "a longer name": "told_by = 1; founder = 2; Cases = 3",
    "a word in a message": "a = 'the snapshot document was found'",
    "a word that is retired as a name only": "a = 1  # what it was told, in any case",
    "a row of another table": "a = 1  # the other",
    "a word without marks": "a = 1  # a document",
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_word_is_refused(name: str) -> None:
    (fault,) = refused(uses_of_code(PLANTED[name]), retired(RULES))
    assert "is not said any more; say: " in fault


@pytest.mark.parametrize("name", FINE)
def test_what_only_looks_like_one_is_left_alone(name: str) -> None:
    assert refused(uses_of_code(FINE[name]), retired(RULES)) == []


def test_a_page_is_refused_for_its_prose_and_not_for_its_code() -> None:
    text = "the snapshot document\n\n```sh\n# the snapshot document\n```\n`snapshot document`\n\na Snapshot\nDocument\n"
    faults = refused(uses_of_page(text), retired(RULES))
    assert [fault.partition(":")[0] for fault in faults] == ["line 1", "line 8"]
