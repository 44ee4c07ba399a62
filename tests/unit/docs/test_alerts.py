"""The page of alerts and the runbooks: every alert, every case, and expressions that Prometheus takes.

WRITE_ALERTS=1 writes the list of cases anew.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from house.pages import DOCS, blocks
from house.rules import promtool_path, rules
from house.selectors import expressions
from unit.rules import test_alerts_operator, test_alerts_serving

PAGE = DOCS / "operate" / "alerts.md"
RUNBOOKS = sorted((DOCS / "operate" / "runbooks").glob("*.md"))
MADE = re.compile(r"(<!-- made by tests/unit/docs/test_alerts\.py.*?-->\n).*?(<!-- end -->)", re.DOTALL)
CASES = {**test_alerts_serving.CASES, **test_alerts_operator.CASES}


def cases() -> Iterator[str]:
    yield "| alert | cases |"
    yield "|---|---|"
    for name, of in CASES.items():
        yield f"| {name} | {'; '.join(case.name for case in of)} |"


def test_the_page_has_every_case_that_promtool_runs() -> None:
    table = "".join(f"{line}\n" for line in cases())
    made = MADE.sub(lambda match: f"{match[1]}{table}{match[2]}", PAGE.read_text())
    if os.environ.get("WRITE_ALERTS"):
        PAGE.write_text(made)
    assert made == PAGE.read_text(), "make it anew with WRITE_ALERTS=1"


def test_every_alert_has_its_row_with_its_runbook_its_severity_and_its_value() -> None:
    rows = dict(re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| (\w+) \|", PAGE.read_text(), re.MULTILINE))
    alerts = {
        rule["alert"]: rule["labels"]["severity"]
        for group in rules()["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert rows == alerts
    assert CASES.keys() == alerts.keys()


def test_each_alert_has_cases_in_which_it_fires_and_in_which_nothing_does() -> None:
    for name, of in CASES.items():
        seen = [{labels["alertname"] for labels in firing} for case in of for firing in case.firing.values()]
        assert any(name in names for names in seen), name
        assert any(name not in names for names in seen), name


def test_the_page_names_what_is_recorded() -> None:
    recorded = {name for name, _ in expressions(rules()["groups"]) if ":" in name}
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `namespace_")]
    named = {
        stem if more is None else re.sub(r"30m$", more, stem)
        for row in rows
        for stem, more in [
            (row.split("`")[1], None),
            *((row.split("`")[1], m) for m in re.findall(r"`\.\.\.(\w+)`", row)),
        ]
    }
    assert named == recorded


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_expressions_of_a_runbook_are_ones_that_prometheus_takes(page: Path, tmp_path: Path) -> None:
    asked = [block.text for block in blocks(page.read_text()) if block.language == "promql"]
    group = {"name": "g", "rules": [{"record": f"r{number}", "expr": text} for number, text in enumerate(asked)]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    done = subprocess.run(
        [promtool_path(), "check", "rules", str(tmp_path / "rules.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_no_fault_in_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    done = subprocess.run(
        [promtool_path(), "check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
