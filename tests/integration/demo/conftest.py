"""One control plane for all tests of this folder; each leaves it without our kinds."""

import os
from collections.abc import Iterator

import pytest

from local_cluster import ControlPlane, control_plane


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with control_plane(f"test-demo-{os.getpid()}") as plane:
        yield plane
