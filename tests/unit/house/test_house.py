"""The house's rules hold, and the tools that hold them would notice: a planted violation fails."""

import ast
import operator
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from house.crds import ROOT

MEMBERS = {
    "finetune_operator": "operator/src",
    "finetune_server": "serving-image/src",
    "finetune_trainer": "trainer-image/src",
    "local_cluster": "local-cluster/src",
}
BIN = Path(sys.executable).parent


def _lint_imports(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter with our contracts on the sources below `root`."""
    path = os.pathsep.join(str(root / source) for source in MEMBERS.values())
    return subprocess.run(
        [BIN / "lint-imports", "--no-cache", "--no-logo", "--config", ROOT / "pyproject.toml", *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources of every member."""
    root = tmp_path_factory.mktemp("sources")
    for package, source in MEMBERS.items():
        shutil.copytree(ROOT / source / package, root / source / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def test_the_layers_and_borders_are_kept() -> None:
    done = _lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


OPERATOR = "operator/src/finetune_operator"
SERVER = "serving-image/src/finetune_server"
TRAINER = "trainer-image/src/finetune_trainer"
PLANTED = {
    "decide looks up at cluster": ("layers", f"{OPERATOR}/decide", "import finetune_operator.cluster.kube"),
    "api looks up at decide": ("layers", f"{OPERATOR}/api", "from ..decide import views"),
    "manifests looks up at cluster": ("layers", f"{OPERATOR}/manifests", "from ..cluster import port"),
    "a run looks up at its policy": ("decide", f"{OPERATOR}/decide/run", "from ..policy import memory"),
    "a promotion looks across at a run": ("decide", f"{OPERATOR}/decide/promotion", "from ..run import stage"),
    "a gate looks up at a kind": ("decide", f"{OPERATOR}/decide/gates", "from ..run import status"),
    "views look up at decisions": ("decide", f"{OPERATOR}/decide", "from .decision import Emit"),
    "cluster knows kopf": ("kopf", f"{OPERATOR}/cluster", "import kopf"),
    "decide knows kopf": ("kopf", f"{OPERATOR}/decide", "import kopf"),
    "controller knows the client": ("kubernetes", f"{OPERATOR}/controller", "import kubernetes.aio"),
    "decide knows the clock": ("pure", f"{OPERATOR}/decide", "import time"),
    "decide knows chance": ("pure", f"{OPERATOR}/decide", "import random"),
    "manifests does I/O": ("pure", f"{OPERATOR}/manifests", "import asyncio"),
    "controller reads the environment": ("environment", f"{OPERATOR}/controller", "import os"),
    "operator imports trainer": ("members", f"{OPERATOR}/api", "import finetune_trainer"),
    "data looks up at steps": ("trainer-layers", f"{TRAINER}/data", "from ..steps import job"),
    "artifact looks up at evaluation": ("trainer-layers", f"{TRAINER}/artifact", "from ..evaluation import detector"),
    "documents look up at data": ("trainer-layers", f"{TRAINER}/documents", "from ..data import labels"),
    "report knows training": ("trainer-layers", f"{TRAINER}/report", "from ..training import yolo"),
    "evaluation has torch": ("torch", f"{TRAINER}/evaluation", "import torch"),
    "data has ultralytics": ("torch", f"{TRAINER}/data", "import ultralytics"),
    "a room of the server without a layer": ("server-layers", SERVER, "import json"),
    "server imports operator": ("members", SERVER, "import finetune_operator"),
    "trainer imports server": ("members", TRAINER, "import finetune_server"),
    "server unpickles": ("server", SERVER, "import pickle"),
    "server has torch": ("server", SERVER, "import torch"),
}


def one_of_each_contract() -> Iterator[ParameterSet]:
    """Yield the names of what is planted; of one contract the first, and the others for `make test-deep`."""
    seen = set[str]()
    for name, (contract, _, _) in PLANTED.items():
        yield pytest.param(name, marks=[pytest.mark.deep] * (contract in seen))
        seen.add(contract)


@pytest.mark.parametrize("name", list(one_of_each_contract()))
def test_a_planted_import_breaks_its_contract(copy: Path, name: str) -> None:
    contract, folder, line = PLANTED[name]
    planted = copy / folder / "planted.py"
    planted.write_text(f'"""Planted."""\n\n{line}\n')
    try:
        done = _lint_imports(copy, "--contract", contract)
    finally:
        planted.unlink()
    assert done.returncode == 1, done.stdout
    assert "0 kept, 1 broken" in done.stdout


BANNED = {
    "decide reads the environment": ("decide", "import os\n\nVALUE = os.environ['A']\n", "TID251"),
    "decide asks the clock": ("decide", "import datetime\n\nNOW = datetime.datetime.now(datetime.UTC)\n", "TID251"),
    "manifests asks the clock": ("manifests", "import time\n\nNOW = time.time()\n", "TID251"),
    "a blind except": ("cluster", "try:\n    pass\nexcept Exception:\n    pass\n", "BLE001"),
    "a naive time": ("controller", "import datetime\n\nNOW = datetime.datetime.now()\n", "DTZ005"),
    "an untyped function": ("api", "def _f(x):\n    return x\n", "ANN"),
    "print": ("controller", "print()\n", "T201"),
}


@pytest.mark.parametrize("name", BANNED)
def test_a_planted_habit_is_found(name: str) -> None:
    layer, text, rule = BANNED[name]
    done = subprocess.run(
        [BIN / "ruff", "check", "--output-format=concise", f"--stdin-filename={OPERATOR}/{layer}/planted.py", "-"],
        cwd=ROOT,
        input=f'"""Planted."""\n\n{text}',
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert rule in done.stdout


def test_the_folder_operator_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not list((ROOT / "operator").rglob("operator.py"))
    assert operator.itemgetter(0)("ok") == "o"


LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_every_package_with_hashes_and_names_no_index(lock: Path) -> None:
    text = lock.read_text()
    entries = re.split(r"\n(?=[a-zA-Z0-9])", text.strip())
    for entry in entries:
        assert re.match(r"[a-zA-Z0-9._-]+(\[[a-z0-9,_-]+\])?==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("member", "lock"), [("operator", "operator"), ("serving-image", "server"), ("trainer-image", "trainer")]
)
def test_a_lock_holds_what_its_project_asks_for(member: str, lock: str) -> None:
    project = tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]
    pinned = set(
        re.findall(
            r"^([a-zA-Z0-9._-]+)(?:\[[^\]]*\])?==", (ROOT / f"requirements/{lock}.txt").read_text(), re.MULTILINE
        )
    )
    asked = {re.match(r"[a-zA-Z0-9._-]+", text)[0].lower() for text in project["dependencies"]}  # type: ignore[index]
    assert asked <= {name.lower() for name in pinned}


@pytest.mark.parametrize("package", ["numpy", "onnxruntime", "opencv-python-headless", "pypdfium2"])
def test_what_judges_and_what_serves_reckon_with_the_same_libraries(package: str) -> None:
    """Another release of one of them may decode a page, or compute a layer, otherwise."""
    judges, serves = (
        re.findall(rf"^{package}==(.*?) *\\$", (ROOT / f"requirements/{lock}.txt").read_text(), re.MULTILINE)
        for lock in ("trainer", "server")
    )
    assert judges
    assert judges == serves


def test_every_target_of_the_makefile_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (\S+)$", text, re.MULTILINE))
    described = set(re.findall(r"^([a-z0-9-]+):.*## \S", text, re.MULTILINE))
    assert phony == described
    assert phony >= {"help", "test", "demo", "demo-clean", "e2e", "bench"}


def test_no_file_of_the_repository_names_a_registry_or_this_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    pattern = re.compile(r"(?<![\w.-])/(?:work|root)/[a-z.]|[a-z0-9.-]+\.internal\b")
    named = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and path.suffix in {"", ".md", ".py", ".toml", ".txt", ".yaml", ".in", ".mod", ".json"}:
            named += [f"{name}: {match[0]}" for match in pattern.finditer(path.read_text(errors="replace"))]
    assert named == []


def _without_slots(source: str) -> list[str]:
    """Return the dataclasses of a module that have no slots."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        for decorator in map(ast.unparse, node.decorator_list)
        if decorator.startswith("dataclass") and "slots=True" not in decorator
    ]


def test_a_dataclass_without_slots_is_found() -> None:
    assert _without_slots("@dataclass(frozen=True)\nclass A:\n    x: int\n") == ["A"]
    assert _without_slots("@dataclass(frozen=True, slots=True)\nclass A:\n    x: int\n") == []


@pytest.mark.parametrize("folder", [*MEMBERS.values(), "demo/src", "examples/invoices/src"])
def test_every_dataclass_has_slots(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert {str(f.relative_to(ROOT)): names for f in files if (names := _without_slots(f.read_text()))} == {}
