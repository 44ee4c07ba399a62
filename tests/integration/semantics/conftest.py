"""One control plane with the project's CRDs; nobody but Kubernetes' own controllers acts on it."""

import os
from collections.abc import Iterator
from functools import partial

import pytest

from house.api_server import ApiServer
from house.crds import crds
from integration.operator.world import GROUP, eventually
from local_cluster import ControlPlane, control_plane


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with control_plane(f"test-semantics-{os.getpid()}") as plane:
        client = ApiServer(plane)
        for crd in crds().values():
            answer = client.create(crd.manifest)
            assert answer.accepted, answer.message
        for crd in crds().values():
            eventually(partial(_is_served, client, f"{GROUP}/namespaces/default/{crd.plural}"), what=crd.plural)
        client.close()
        yield plane


def _is_served(client: ApiServer, path: str) -> bool:
    return client.request("GET", path).accepted
