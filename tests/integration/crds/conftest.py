"""One control plane with our CRDs for all tests of this folder."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from house.api_server import ApiServer
from house.planes import plane_with_crds


@pytest.fixture(scope="session")
def server() -> Iterator[ApiServer]:
    with plane_with_crds("test-crds") as plane, closing(ApiServer(plane)) as client:
        yield client
