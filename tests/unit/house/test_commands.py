"""Commands in the operator's messages: whoever runs one may have another namespace as the default."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from house.crds import ROOT

CLUSTER_WIDE = ("webhookconfigurations", "kubectl taint node", "| kubectl create -f -")
"""Commands of what has no namespace, or that carry it in a manifest."""


def texts(path: Path) -> Iterator[str]:
    """Yield the strings of a module; what is filled in stands in braces, as the code has it."""
    tree = ast.parse(path.read_text())
    skipped = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    skipped |= {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(map(_part, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.FormattedValue):
        return f"{{{ast.unparse(part.value)}}}"
    return str(part.value) if isinstance(part, ast.Constant) else ""


def commands(text: str) -> Iterator[str]:
    """Yield each command with the few words before and after it."""
    for match in re.finditer(r"(\| )?kubectl \w[^;]*", text):
        yield match[0]


def names_its_namespace(command: str) -> bool:
    return " -n " in command or ".address" in command or any(words in command for words in CLUSTER_WIDE)


def test_every_command_in_a_message_names_its_namespace() -> None:
    sources = sorted((ROOT / "operator" / "src").rglob("*.py"))
    said = [(path.name, c) for path in sources for text in texts(path) for c in commands(text)]
    assert len(said) > 10
    assert [(name, c) for name, c in said if not names_its_namespace(c)] == []
