"""One control plane with our CRDs for all tests of this folder."""

import os
import time
from collections.abc import Iterator

import pytest

from house.api_server import ApiServer
from house.crds import crds
from local_cluster import control_plane


@pytest.fixture(scope="session")
def server() -> Iterator[ApiServer]:
    with control_plane(f"test-crds-{os.getpid()}") as plane:
        client = ApiServer(plane)
        for crd in crds().values():
            answer = client.create(crd.manifest)
            assert answer.accepted, answer.message
        for crd in crds().values():
            _wait_until_served(client, crd.plural)
        yield client
        client.close()


def _wait_until_served(client: ApiServer, plural: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        path = f"/apis/finetune-operator.io/v1alpha1/namespaces/default/{plural}"
        if client.request("GET", path).accepted:
            return
        time.sleep(0.1)
    pytest.fail(f"{plural} is not served after 30 s")
