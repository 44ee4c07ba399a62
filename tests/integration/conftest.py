"""How pytest-xdist shares out these tests: those that share a control plane of their own go to one worker together."""

from collections.abc import Iterator

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from house.planes import plane_with_crds
from local_cluster import ControlPlane

ALONE = {
    "chart": "chart",
    "crds": "quiet",
    "demo": "demo",
    "operator/test_scopes.py": "quiet",
    "prometheus": "prometheus",
    "semantics": "quiet",
}
"""Folders and files with one control plane, or one Prometheus, by its name; the operator's other tests share a control
plane in each worker, and mostly wait."""


class ByControlPlane(LoadScopeScheduling):  # type: ignore[misc]  # of an untyped library
    """`--dist=loadgroup` does not group under pytest 9.2 (pytest-xdist issue 1386), so the groups are said here."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of a test's group; a test of its own goes to whoever is free."""
        path = nodeid.partition("tests/integration/")[2].partition("::")[0]
        return next((name for place, name in ALONE.items() if path == place or path.startswith(f"{place}/")), nodeid)


@pytest.fixture(scope="session")
def quiet() -> Iterator[ControlPlane]:
    """A control plane with our CRDs where no operator watches every namespace."""
    with plane_with_crds("test-quiet") as plane:
        yield plane


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest, so that no worker is left alone with one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByControlPlane:
    """Make the scheduler."""
    return ByControlPlane(config, log)
