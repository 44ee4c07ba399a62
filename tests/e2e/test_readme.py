"""The README's blocks, executed in order in one shell, take a reader from their data to a live fine-tune and back."""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from e2e.readme import Machine, bucket, lay_out, machine
from finetune_demo.environment import environment
from finetune_demo.story import Story
from house.crds import ROOT
from house.pages import runnable, session

SECONDS = 1200.0
"""Far above what it takes; the README's own waits are meant for real trainings."""


@pytest.fixture
def reader(stage: Story, tmp_path: Path) -> Iterator[Machine]:
    """A reader's machine. Afterwards the operator watches the other stories' namespace again."""
    console, settings = stage.console, stage.settings
    lay_out(settings.state / "invoices", settings.state / "data" / "artifacts" / "base" / "best.pt", tmp_path / "data")
    server_python = environment(console, settings, "server-dev") / "bin" / "python"
    try:
        with bucket(tmp_path, server_python) as endpoint:
            yield machine(stage, tmp_path, endpoint, server_python, Path(sys.executable))
    finally:
        stage.cluster.kube.kubectl("delete", "namespace", "ml", "--ignore-not-found")
        stage.install_operator()


def test_the_readme_does_what_it_says(reader: Machine) -> None:
    """Every block ends with 0; the run is promoted, by its gates or by the page's own patch; the rollback goes back."""
    blocks = runnable((ROOT / "README.md").read_text())
    reader.run(session(blocks, after_each=str(reader.record)), SECONDS)

    states = [state for state in reader.states() if state]
    runs = [state["FineTuneRun/new-suppliers"]["status"] for state in states if "FineTuneRun/new-suppliers" in state]
    run = runs[-1]
    assert run["phase"] == "Promoted", run
    if run["verdict"] == "Review":
        assert run["decision"]["by"] == "ann@example.com"
        assert run["decision"]["verdict"] == "Approve"

    policies = [state["FineTunePolicy/invoice-fields"] for state in states if "FineTunePolicy/invoice-fields" in state]
    live = [policy.get("status", {}).get("live", {}).get("version") for policy in policies]
    served = [version for version, _ in groupby(version for version in live if version)]
    assert served == ["base_v1", "ft_v1.1", "base_v1"]
    promotions = [item for name, item in states[-1].items() if name.startswith("ModelPromotion/")]
    assert {item["status"]["phase"] for item in promotions} == {"Succeeded"}
