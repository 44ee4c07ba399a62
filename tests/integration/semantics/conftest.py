"""One control plane with the project's CRDs; nobody but Kubernetes' own controllers acts on it."""

from collections.abc import Iterator

import pytest

from house.planes import plane_with_crds
from local_cluster import ControlPlane


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with plane_with_crds("test-semantics") as plane:
        yield plane
