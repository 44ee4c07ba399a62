"""The control plane on which nobody but Kubernetes' own controllers acts."""

import pytest

from local_cluster import ControlPlane


@pytest.fixture(scope="session")
def plane(quiet: ControlPlane) -> ControlPlane:
    return quiet
