"""The README and the docs say what is so: their shell parses, their links lead somewhere, their names exist."""

import re
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from house.crds import ROOT, crds
from house.pages import (
    PAGES,
    Block,
    PageError,
    blocks,
    links,
    manifests,
    named_fields,
    paths_of,
    reasons_of_tables,
    runnable,
    session,
    source_reasons,
    trainer_reasons,
    unknown_fields,
)

README = (ROOT / "README.md").read_text()


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def block_name(block: Block) -> str:
    return f"line {block.line}"


class TestReading:
    def test_a_block_is_run_unless_the_comment_directly_above_says_why_not(self) -> None:
        text = "<!-- not run: slow -->\n```sh\nsleep 9\n```\n\ntext\n```sh\ntrue\n```\n```yaml\na: 1\n```\n"
        slow, run, other = blocks(text)
        assert (slow.not_run, slow.text, slow.line) == ("slow", "sleep 9\n", 2)
        assert (run.not_run, run.line) == (None, 7)
        assert other.language == "yaml"
        assert runnable(text) == [run]

    def test_a_comment_further_up_does_not_count(self) -> None:
        (block,) = blocks("<!-- not run: slow -->\n\n```sh\ntrue\n```\n")
        assert block.not_run is None

    def test_a_block_that_never_ends_is_an_error_with_its_line(self) -> None:
        with pytest.raises(PageError, match="line 2"):
            blocks("text\n```sh\ntrue\n")

    def test_the_session_is_one_shell_and_stops_at_the_first_failure(self) -> None:
        shell = runnable("```sh\nexport A=1\n```\n```sh\ntest $A = 1; false | true\n```\n```sh\necho never\n```\n")
        done = subprocess.run(["bash"], input=session(shell), capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "never" not in done.stdout
        assert done.stderr.splitlines() == ["### README.md line 1", "### README.md line 4"]

    def test_reasons_are_found_in_the_column_of_that_name_alone(self) -> None:
        assert reasons_of_tables("| a | reason |\n|---|---|\n| `No` | `Yes`, `Also` |\n\n`Neither`\n") == {
            "Yes",
            "Also",
        }

    def test_unknown_fields_are_named_by_path(self) -> None:
        schema: dict[str, Any] = {"properties": {"a": {"items": {"properties": {"b": {}}}}, "free": {}}}
        assert unknown_fields({"a": [{"b": 1, "c": 2}], "free": {"x": 1}, "d": 3}, schema) == [".d", ".a[].c"]


@pytest.mark.parametrize("block", [b for b in blocks(README) if b.language == "sh"], ids=block_name)
def test_every_shell_block_parses(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_blocks_have_a_language_and_those_that_are_not_run_a_reason() -> None:
    assert [b.line for b in blocks(README) if b.language not in {"sh", "yaml"}] == []
    assert [b.line for b in blocks(README) if b.not_run is not None and len(b.not_run.split()) < 4] == []


def test_most_of_the_page_is_run() -> None:
    """A page could be made true by running nothing of it."""
    assert len(runnable(README)) >= 3 * sum(b.not_run is not None for b in blocks(README))


@pytest.mark.parametrize("block", [b for b in blocks(README) if b.language == "yaml"], ids=block_name)
def test_every_yaml_block_parses(block: Block) -> None:
    assert yaml.safe_load(block.text)


def test_every_object_on_the_page_has_only_fields_that_exist() -> None:
    found = list(manifests(README))
    assert {item["kind"] for _, item in found} == {"FineTunePolicy", "FineTuneRun", "ModelPromotion"}
    bad = {line: unknown_fields(item["spec"], crds()[item["kind"]].spec, "spec") for line, item in found}
    assert {line: fields for line, fields in bad.items() if fields} == {}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert [link for link in links(page.read_text()) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "docs/reasons.md", "docs/promises.md"])
def test_every_field_that_is_named_exists(name: str) -> None:
    known = {
        path
        for crd in crds().values()
        for path in chain(paths_of(crd.spec, "spec"), paths_of(crd.status, "status"), ("spec", "status"))
    }
    assert named_fields((ROOT / name).read_text()) - known == set()


def test_defaults_in_the_table_of_fields_are_the_crds() -> None:
    """Rows of one field with one default; lists of fields are held by their names alone."""
    policy = crds()["FineTunePolicy"].spec
    rows = re.findall(r"^\| `spec\.([A-Za-z.]+)` \| ([^|]+) \|", README.split("### FineTunePolicy")[1], re.MULTILINE)
    compared = 0
    for path, default in rows:
        schema = policy
        for key in path.split("."):
            schema = schema.get("properties", {}).get(key, {})
        if "default" in schema:
            compared += 1
            assert default.strip().strip('"').lower() == str(schema["default"]).lower(), path
    assert compared >= 5


@pytest.mark.parametrize("name", ["README.md", "docs/reasons.md"])
def test_every_reason_that_is_named_exists_in_the_sources(name: str) -> None:
    named = reasons_of_tables((ROOT / name).read_text())
    assert len(named) > 20
    assert named - source_reasons() == set()


def test_the_page_of_reasons_has_every_reason_of_the_trainer() -> None:
    assert trainer_reasons() - reasons_of_tables((ROOT / "docs" / "reasons.md").read_text()) == set()


def test_the_page_of_reasons_has_every_reason_of_the_readme() -> None:
    known = reasons_of_tables((ROOT / "docs" / "reasons.md").read_text())
    assert reasons_of_tables(README) - known == set()
