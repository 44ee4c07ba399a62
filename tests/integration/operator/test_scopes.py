"""Several watched namespaces: one that is deleted, or whose rights go, ends nothing for the others."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import kopf
import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.kube import connect
from finetune_operator.cluster.rbac import RULES
from finetune_operator.cluster.store import Store
from finetune_operator.controller.settings import make_settings
from finetune_operator.controller.watch import Watch, WatchEnded
from house.api_server import ApiServer, Object
from house.planes import bring_back, is_stopped, make_namespace, plane_with_crds
from local_cluster import ControlPlane, processes
from simulation.stories import run, stage

from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane
RBAC = "/apis/rbac.authorization.k8s.io/v1"
HOME = "finetune-system"


class Cluster:
    """Namespaces with the chart's Roles, and an operator with the rights of these alone."""

    def __init__(self, plane: ControlPlane, server: ApiServer, folder: Path) -> None:
        self.server = server
        self._plane = plane
        self._folder = folder
        if not server.request("GET", f"/api/v1/namespaces/{HOME}").accepted:
            make_namespace(server, HOME)
            account = {"metadata": {"name": "operator"}}
            assert server.request("POST", f"/api/v1/namespaces/{HOME}/serviceaccounts", account).accepted

    def space(self, name: str) -> Space:
        """Make a namespace as a user of the operator does."""
        make_namespace(self.server, name)
        space = Space(self.server, name)
        for _, manifest in stage():
            space.apply(manifest)
        rules = [{"apiGroups": [group], "resources": [resource], "verbs": sorted(verbs)}
                 for (group, resource), verbs in RULES.items()]  # fmt: skip
        role = {"metadata": {"name": "operator"}, "rules": rules}
        assert self.server.request("POST", f"{RBAC}/namespaces/{name}/roles", role).accepted
        self.bind(space)
        return space

    def bind(self, space: Space) -> None:
        """Give the operator its rights in a namespace."""
        account = {"kind": "ServiceAccount", "name": "operator", "namespace": HOME}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"}
        binding: Object = {"metadata": {"name": "operator"}, "subjects": [account], "roleRef": role}
        assert self.server.request("POST", f"{RBAC}/namespaces/{space.namespace}/rolebindings", binding).accepted

    def unbind(self, space: Space) -> None:
        """Take them away."""
        path = f"{RBAC}/namespaces/{space.namespace}/rolebindings/operator"
        assert self.server.request("DELETE", path).accepted

    def remove(self, space: Space) -> None:
        """Delete a namespace, and wait until it is gone."""
        path = f"/api/v1/namespaces/{space.namespace}"
        assert self.server.request("DELETE", path).accepted
        eventually(lambda: self.server.request("GET", path).status == 404, seconds=90, what="the namespace is gone")

    def kubeconfig(self) -> Path:
        """Write a kubeconfig with the operator's rights."""
        path = f"/api/v1/namespaces/{HOME}/serviceaccounts/operator/token"
        token = self.server.request("POST", path, {"spec": {"expirationSeconds": 3600}})
        assert token.accepted, token.message
        config = json.loads(self._plane.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token.body["status"]["token"]}
        kubeconfig = self._folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        return kubeconfig

    def operator(self, *spaces: Space) -> Operator:
        """Return an operator that watches these, not yet started."""
        names = ",".join(space.namespace for space in spaces)
        return Operator(self.kubeconfig(), self._folder / "operator.log", names, FINETUNE_RESYNC_SECONDS="3")


@pytest.fixture(scope="module")
def plane(quiet: ControlPlane) -> ControlPlane:
    """Another one than the other tests of this folder have: their operator watches every namespace."""
    return quiet


@pytest.fixture
def cluster(plane: ControlPlane, server: ApiServer, tmp_path: Path) -> Cluster:
    return Cluster(plane, server, tmp_path)


@pytest.fixture
def started() -> Iterator[Callable[[Operator], Operator]]:
    operators: list[Operator] = []

    def start(operator: Operator) -> Operator:
        operators.append(operator)
        operator.start()
        return operator

    yield start
    for operator in operators:
        operator.close()


def _watched(operator: Operator, space: Space) -> float:
    return operator.metric("finetune_namespace_watched", f'namespace="{space.namespace}"')


def _lines(operator: Operator, *having: str) -> list[str]:
    return [line for line in operator.log.read_text().splitlines() if all(text in line for text in having)]


def _worked_on(space: Space, name: str) -> None:
    space.apply(run(name))
    eventually(lambda: space.phase(name), seconds=30, what=f"{name} in {space.namespace} is looked at")


def test_a_namespace_whose_rights_go_is_given_up_alone_and_taken_up_when_they_are_back(
    cluster: Cluster, started: Callable[[Operator], Operator]
) -> None:
    here, there = cluster.space("rights-here"), cluster.space("rights-there")
    operator = started(cluster.operator(here, there))
    assert _watched(operator, here) == _watched(operator, there) == 1
    cluster.unbind(there)
    eventually(lambda: _watched(operator, there) == 0, seconds=30, what="it is given up")
    there.apply(run("meanwhile"))
    _worked_on(here, "meanwhile")
    assert there.phase("meanwhile") == ""
    assert operator.probe("readyz") == operator.probe("livez") == 200
    cluster.bind(there)
    eventually(lambda: there.phase("meanwhile"), seconds=60, what="it is taken up")
    assert _watched(operator, there) == 1
    assert len(_lines(operator, "cannot be read", "rights-there")) == 1
    assert len(_lines(operator, "is read again", "rights-there")) == 1
    assert operator.metric("finetune_namespace_failures_total", 'namespace="rights-here"') == 0
    assert operator.stop() == 0


@pytest.mark.deep
def test_a_deleted_namespace_leaves_the_memory_and_comes_back_without_a_restart(
    cluster: Cluster, started: Callable[[Operator], Operator]
) -> None:
    here, there = cluster.space("gone-here"), cluster.space("gone-there")
    operator = started(cluster.operator(here, there))
    _worked_on(there, "first")
    cluster.remove(there)
    eventually(lambda: _watched(operator, there) == 0, seconds=30, what="it is given up")
    assert operator.metric("finetune_runs", 'namespace="gone-there"') == 0
    _worked_on(here, "second")
    operator.stop()
    operator.start()  # as on another node: ready, although one of two is away
    assert (_watched(operator, here), _watched(operator, there)) == (1, 0)
    _worked_on(here, "third")
    again = cluster.space("gone-there")
    _worked_on(again, "first")
    assert operator.stop() == 0


async def _until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(1200):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{what}: not within 120 s; tasks: {sorted(map(str, asyncio.all_tasks()))}")


async def _comes(store: Store, kind: Kind, space: Space, name: str) -> None:
    await _until(lambda: store.get(kind, space.namespace, name) is not None, f"the watch tells of {name}")


def test_a_watch_that_fails_ends_with_all_its_tasks_and_no_other_watch_notices(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = cluster.space("watch-here"), cluster.space("watch-there")
    cluster.unbind(there)
    store = Store()

    def impatient(instance: str) -> kopf.OperatorSettings:
        settings = make_settings(instance=instance)
        settings.networking.error_backoffs = (0.1,)
        return settings

    async def body() -> None:
        mine = asyncio.all_tasks()
        kube, login = await connect(cluster.kubeconfig(), None, seconds=20, connections=4, observer=None)

        async def fails() -> None:
            with pytest.raises(WatchEnded, match="forbidden"):
                await asyncio.wait_for(Watch(store, login, "test", there.namespace).run(), 90)

        for _ in range(2):  # nothing else runs: whatever is left is this watch's
            await fails()
            await _until(lambda: asyncio.all_tasks() == mine, "a watch that failed leaves no task")
        stays = asyncio.create_task(Watch(store, login, "test", here.namespace).run())
        await _comes(store, Kind.POLICY, here, "invoice-fields")
        await fails()
        await asyncio.to_thread(here.apply, run("later"))
        await _comes(store, Kind.RUN, here, "later")
        assert not stays.done()
        stays.cancel()
        await asyncio.gather(stays, return_exceptions=True)
        await _until(lambda: asyncio.all_tasks() == mine, "a watch that is cancelled leaves no task")
        await kube.close()

    monkeypatch.setattr("finetune_operator.controller.watch.make_settings", impatient)
    asyncio.run(asyncio.wait_for(body(), 300))


class Etcd:
    """The etcd of a control plane, for taking a backup and going back to it."""

    def __init__(self, plane: ControlPlane, copy: Path) -> None:
        self._plane = plane
        self._data, self._copy = plane.folder / "etcd", copy

    def backup(self) -> None:
        """Copy its data as they are, while nothing of it goes on."""
        etcd = next(record for record in processes.read_records(self._plane.folder) if record.name == "etcd")
        os.kill(etcd.pid, signal.SIGSTOP)
        try:
            eventually(lambda: is_stopped(etcd.pid), what="every thread of etcd has stopped")
            shutil.copytree(self._data, self._copy)
        finally:
            os.kill(etcd.pid, signal.SIGCONT)

    def restore(self) -> None:
        """Go back to the copy: stop everything, exchange the data, start everything."""
        records = processes.read_records(self._plane.folder)
        commands = {record.name: Path(f"/proc/{record.pid}/cmdline").read_bytes() for record in records}
        for record in reversed(records):
            processes.stop(record)
        shutil.rmtree(self._data)
        shutil.copytree(self._copy, self._data)
        again = {name: line.decode().rstrip("\0").split("\0") for name, line in commands.items()}
        # It gives up ten seconds after its start when there is no API server by then.
        manager = again.pop("kube-controller-manager")
        bring_back(self._plane.folder, again, lambda: self._plane.get("/readyz")[0] == 200)
        processes.start(self._plane.folder, "kube-controller-manager", manager)


@pytest.mark.deep
def test_a_restored_etcd_is_noticed_and_what_came_after_the_backup_is_forgotten(tmp_path: Path) -> None:
    with plane_with_crds("test-restore") as plane:
        etcd = Etcd(plane, tmp_path / "copy")
        space = Space(ApiServer(plane), "restored")
        make_namespace(space.server, space.namespace)
        for _, manifest in stage():
            space.apply(manifest)
        operator = Operator(plane.kubeconfig, tmp_path / "operator.log")
        operator.start()
        try:
            _worked_on(space, "kept")
            etcd.backup()
            for number in range(200):
                space.apply(run(f"lost-{number}"))
            eventually(lambda: operator.metric("finetune_runs") == 201, seconds=60, what="all are seen")
            etcd.restore()
            space = Space(ApiServer(plane), space.namespace)
            eventually(lambda: operator.metric("finetune_namespace_rewinds_total") == 1, seconds=60, what="noticed")
            eventually(lambda: operator.metric("finetune_namespace_watched") == 1, seconds=30, what="read anew")
            assert operator.metric("finetune_runs") == 1
            _worked_on(space, "after")
            assert operator.metric("finetune_namespace_rewinds_total") == 1
            assert operator.stop() == 0
        finally:
            operator.close()
