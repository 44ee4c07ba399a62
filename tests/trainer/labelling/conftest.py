"""The captured pages that labelling tools' files are of, and a pool to add to."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.captured import Production
from trainer.fixtures.labelling.world import capture
from trainer.labelling.adding import Adding
from trainer.world import index, write_anchor


@pytest.fixture(scope="module")
def anchor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_anchor(tmp_path_factory.mktemp("anchor"), train=8)
    index(folder)
    return folder


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Production:
    """The pages that the fixtures are of; tests only read them."""
    return capture(tmp_path_factory.mktemp("production"))


@pytest.fixture
def add(tmp_path: Path, anchor: Path, production: Production) -> Adding:
    return Adding(tmp_path, anchor, production.folder)
