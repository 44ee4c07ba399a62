"""What a Markdown page of ours holds: code blocks with their reasons not to be run, links, reasons, fields."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from house.crds import ROOT, crds

README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "docs"
GUIDE: Final = (
    DOCS / "guide" / "README.md",
    *sorted((DOCS / "guide").glob("[0-9]*.md")),
    DOCS / "operate" / "uninstall.md",
)
"""The pages that are executed, in this order and in one shell: from a reader's data to a live fine-tune, and away."""

NOT_RUN: Final = re.compile(r"^<!-- not run: *(.*?) *-->$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: language, text, the line of its fence, why it is not run (None: it is), and its page's name."""

    language: str
    text: str
    line: int
    not_run: str | None
    page: str = ""


class PageError(Exception):
    """A page that cannot be read as meant; the message names the line."""


def blocks(text: str, page: str = "") -> list[Block]:
    """Return the fenced blocks of a page. Raises PageError for a fence that never closes."""
    fenced: list[Block] = []
    lines = text.splitlines()
    start, above = -1, ""
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            if start < 0:
                above = line
            continue
        if start < 0:
            start = number
            continue
        comment = NOT_RUN.match(above)
        body = "".join(f"{inner}\n" for inner in lines[start : number - 1])
        fenced.append(Block(lines[start - 1][3:].strip(), body, start, comment[1] if comment else None, page))
        start, above = -1, line
    if start >= 0:
        raise PageError(f"{page} line {start}: the block never ends; close it with ```".lstrip())
    return fenced


def page_name(page: Path) -> str:
    """Return a page's path from the repository's root, for people."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(pages: Iterable[Path]) -> list[Block]:
    """Return the fenced blocks of several pages, in order."""
    return [block for page in pages for block in blocks(page.read_text(), page_name(page))]


def runnable(among: Iterable[Block]) -> list[Block]:
    """Return the sh blocks that are to be run, in order."""
    return [block for block in among if block.language == "sh" and block.not_run is None]


def session(shell: Sequence[Block], after_each: str = "") -> str:
    """Return one bash script of the blocks, which stops at the first failure; each says its place when it begins.

    `after_each` is a command that is run after each block, with the block's number, from 1, as its argument.
    """
    parts = ["set -euo pipefail\n"]
    for number, block in enumerate(shell, start=1):
        parts += [f"echo '### {block.page} line {block.line}' >&2\n", block.text]
        if after_each:
            parts.append(f"{after_each} {number}\n")
    return "".join(parts)


def manifests(among: Iterable[Block]) -> Iterator[tuple[Block, dict[str, Any]]]:
    """Yield the objects of our kinds that blocks apply from here-documents, each with its block.

    Shell variables become the text `variable`, or 64 where the object wants a number.
    """
    for block in among:
        for document in re.findall(r"<<EOF\n(.*?)\nEOF\n", block.text, re.DOTALL):
            filled = re.sub(r"\$[A-Z_]+", "variable", re.sub(r"\$IMAGE_SIZE", "64", document))
            for parsed in yaml.safe_load_all(filled):
                if parsed["kind"] in crds():
                    yield block, parsed


def unknown_fields(value: object, schema: dict[str, Any], path: str = "") -> list[str]:
    """Return the paths in `value` that the schema does not know; free maps know every key."""
    if isinstance(value, list):
        return [bad for item in value for bad in unknown_fields(item, schema.get("items", {}), f"{path}[]")]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    known: dict[str, Any] = schema["properties"]
    bad = [f"{path}.{key}" for key in value if key not in known]
    return bad + [b for key in value if key in known for b in unknown_fields(value[key], known[key], f"{path}.{key}")]


def paths_of(schema: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yield every path of fields in a schema, for example spec.data.pool.uri; lists are passed through."""
    inner = schema.get("items", schema)
    for key, child in inner.get("properties", {}).items():
        yield f"{prefix}.{key}"
        yield from paths_of(child, f"{prefix}.{key}")


def named_fields(text: str) -> set[str]:
    """Return the field paths in code spans: `spec.a.b`, `.status.a`."""
    spans = re.findall(r"`\.?((?:spec|status)\.[A-Za-z0-9.]+)(?:: [^`]*)?`", text)
    return {span for span in spans if not span.startswith("spec.template")}


def reasons_of_tables(text: str) -> set[str]:
    """Return the reasons in the tables of a page: the code spans in their column `reason`."""
    reasons: set[str] = set()
    column = -1
    for line in text.splitlines():
        if not line.startswith("|"):
            column = -1
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if column < 0:
            column = cells.index("reason") if "reason" in cells else len(cells)
        elif column < len(cells):
            reasons |= set(re.findall(r"`([A-Z][A-Za-z]+)`", cells[column]))
    return reasons


def source_reasons() -> set[str]:
    """Return every CamelCase text in the sources of operator and trainer: what reasons are written as."""
    folders = (ROOT / "operator/src/finetune_operator", ROOT / "trainer-image/src/finetune_trainer")
    texts = (path.read_text() for folder in folders for path in _sources(folder))
    return {word for text in texts for word in re.findall(r'"([A-Z][A-Za-z]+)"', text)}


def trouble_reasons() -> set[str]:
    """Return the reasons that the operator's code names of what stands in the way, and of its Warning Events."""
    reasons: set[str] = set()
    for path in _sources(ROOT / "operator/src/finetune_operator"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name("Problem" | "Explanation" | "Wait"), args=[ast.Constant(str(reason)), *_]):
                    reasons.add(reason)
                case ast.Call(func=ast.Name("Refuse"), args=[_, ast.Constant(str(reason)), *_]):
                    reasons.add(reason)
                case ast.Call(func=ast.Name("Emit"), args=[ast.Constant("Warning"), ast.Constant(str(reason)), *_]):
                    reasons.add(reason)
                case _:
                    pass
    return reasons


def trainer_reasons() -> set[str]:
    """Return the reasons that the trainer's steps end with."""
    text = (ROOT / "trainer-image/src/finetune_trainer/errors.py").read_text()
    (body,) = re.findall(r"class Reason\(StrEnum\):(.*?)\n\n\n", text, re.DOTALL)
    return set(re.findall(r'= "([A-Z][A-Za-z]+)"', body))


def fields_of_messages() -> set[str]:
    """Return the fields of our objects that texts in the sources of operator and trainer name: `spec.a.b`."""
    folders = (ROOT / "operator/src/finetune_operator", ROOT / "trainer-image/src/finetune_trainer")
    texts = (text for folder in folders for path in _sources(folder) for text in _texts(path))
    named = {field for text in texts for field in re.findall(r"(?<![\w.-])spec(?:\.[A-Za-z0-9]+)+", text)}
    return {field for field in named if not field.startswith(("spec.template", "spec.schedulerName"))}


def _texts(path: Path) -> Iterator[str]:
    """Yield the texts of a source, but for docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def _sources(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.py") if "__pycache__" not in path.parts]
