"""CONTRIBUTING's lists of files are short, and the files are there."""

import re

import pytest

from house.crds import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
LIMITS = {
    "trainer option": 6,
    "serving option": 8,
    "policy field": 5,
    "gate": 6,
    "trigger": 7,
    "column": 5,
    "metric": 3,
    "rule": 6,
    "kind": 9,
}


def _files(change: str) -> list[str]:
    """Return the rows of a change's list."""
    section = TEXT.split(f"\n### A {change}\n")[1].split("\n#")[0]
    return re.findall(r"^\d+\. (.+)$", section, re.MULTILINE)


def test_the_table_names_every_list_with_its_limit() -> None:
    rows = re.findall(r"^\| \[([a-z ]+)\]\(#[a-z-]+\) \| (\d+) files \|$", TEXT, re.MULTILINE)
    assert {change: int(limit) for change, limit in rows} == LIMITS


@pytest.mark.parametrize(("change", "limit"), LIMITS.items())
def test_a_change_touches_no_more_files_than_that(change: str, limit: int) -> None:
    assert 1 <= len(_files(change)) <= limit


@pytest.mark.parametrize("change", LIMITS)
def test_every_file_that_a_change_touches_is_there(change: str) -> None:
    """A name that the change chooses stands in <>; its folder is there."""
    named = [path for row in _files(change) for path in re.findall(r"`([\w./<>-]+/[\w./<>-]*)`", row)]
    assert [path for path in named if not (ROOT / path.partition("<")[0].rpartition("/")[0]).is_dir()] == []
    assert [path for path in named if "<" not in path and not (ROOT / path).exists()] == []
