"""Helm, and the chart rendered by it."""

from functools import partial

import pytest

from house.chart import Render, helm_path, render_chart


@pytest.fixture(scope="session")
def helm() -> str:
    return helm_path()


@pytest.fixture
def render(helm: str) -> Render:
    return partial(render_chart, helm)
