"""A client of the control plane that no operator watches."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from house.api_server import ApiServer
from local_cluster import ControlPlane


@pytest.fixture(scope="session")
def server(quiet: ControlPlane) -> Iterator[ApiServer]:
    with closing(ApiServer(quiet)) as client:
        yield client
