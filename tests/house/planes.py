"""A control plane that knows the project's kinds: what the suites on a real API server begin with."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from house.api_server import ApiServer
from house.crds import crds
from local_cluster import ControlPlane, control_plane

GROUP = "/apis/finetune-operator.io/v1alpha1"
SERVED_SECONDS = 60.0
"""Far above the second that a new kind takes to be served on an idle machine."""


@contextmanager
def plane_with_crds(suite: str) -> Iterator[ControlPlane]:
    """Run a control plane that serves the project's kinds; `suite` names it, once in each process.

    Raises AssertionError when a CRD is refused, or is not served in time.
    """
    with control_plane(f"{suite}-{os.getpid()}") as plane:
        with closing(ApiServer(plane)) as server:
            install_crds(server)
        yield plane


def install_crds(server: ApiServer) -> None:
    """Create every CRD and wait until its kind is served."""
    for crd in crds().values():
        answer = server.create(crd.manifest)
        assert answer.accepted, answer.message
    end = time.monotonic() + SERVED_SECONDS
    for crd in crds().values():
        while not server.request("GET", f"{GROUP}/namespaces/default/{crd.plural}").accepted:
            assert time.monotonic() < end, f"{crd.plural} are not served after {SERVED_SECONDS:.0f} s"
            time.sleep(0.1)


def make_namespace(server: ApiServer, name: str, labels: dict[str, str] | None = None) -> None:
    """Create a namespace."""
    metadata = {"name": name, "labels": labels or {}}
    answer = server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    assert answer.accepted, answer.message
