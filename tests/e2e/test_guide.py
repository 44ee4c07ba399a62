"""The guide's blocks, executed in order in one shell, take a reader from their data to a live fine-tune and back."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.guide import Machine, bucket, check_story, lay_out, machine
from finetune_demo.environment import environment
from finetune_demo.story import Story
from house.pages import GUIDE, blocks_of, runnable, session

SECONDS = 1200.0
"""Far above what it takes; the guide's own waits are meant for real trainings."""


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


def test_the_guide_does_what_it_says(reader: Machine, tmp_path: Path) -> None:
    """Every block ends with 0; the run is promoted, by its gates or by a page's own patch; the rollback goes back."""
    reader.run(session(runnable(blocks_of(GUIDE)), after_each=str(reader.record)), SECONDS)
    check_story(reader.states())
    assert (tmp_path / "data" / "evidence" / "report.json").is_file(), "the review's page did not fetch the report"
