"""One control plane, one operator process; a namespace and a scripted node for each test."""

import itertools
from collections.abc import Iterator
from contextlib import closing

import pytest

from house.api_server import ApiServer
from house.planes import make_namespace, plane_with_crds
from local_cluster import ControlPlane
from simulation.stories import stage

from .node import ScriptedNode
from .prometheus import FewWords, few_words
from .world import Operator, Space

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with plane_with_crds("test-operator") as plane:
        yield plane


@pytest.fixture(scope="session")
def prometheus() -> Iterator[FewWords]:
    with few_words() as prometheus:
        yield prometheus


@pytest.fixture(scope="session")
def operator_process(
    plane: ControlPlane, prometheus: FewWords, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    operator = Operator(plane.kubeconfig, log, FINETUNE_PROMETHEUS_URL=prometheus.url)
    operator.start()
    yield operator
    operator.close()


@pytest.fixture
def operator(operator_process: Operator) -> Operator:
    """The operator, running; a test that kills it starts it again, or the next test does."""
    if operator_process.probe("readyz") != 200:
        operator_process.close()
        operator_process.start()
    return operator_process


@pytest.fixture
def server(plane: ControlPlane) -> Iterator[ApiServer]:
    with closing(ApiServer(plane)) as client:
        yield client


@pytest.fixture
def space(server: ApiServer) -> Iterator[Space]:
    """A fresh namespace with base, policy, PodTemplates and Deployment; nobody runs its pods yet."""
    namespace = f"ml-{next(_numbers)}"
    make_namespace(server, namespace)
    with closing(Space(server, namespace)) as space:
        for _, manifest in stage():
            space.apply(manifest)
        # The simulation watches a flip for twenty virtual seconds; here they are real.
        assert space.patch("finetunepolicies", "invoice-fields", {"spec": {"watch": {"seconds": 2}}}).accepted
        yield space


@pytest.fixture
def node(plane: ControlPlane, space: Space) -> Iterator[ScriptedNode]:
    with ScriptedNode(ApiServer(plane), space.namespace) as node:
        yield node
