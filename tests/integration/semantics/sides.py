"""The two API servers that must agree, the real one and the simulated one, with a foreign manager on each."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.kube import connect
from finetune_operator.cluster.port import Cluster, Object
from house.api_server import ApiServer as RealServer
from integration.operator.world import Space
from local_cluster import ControlPlane
from simulation.api_server import ApiServer, Client, merge

FOREIGN = "helm"
SETTLE = 0.05


class Side(Protocol):
    """One API server with a namespace of its own: `cluster` is the operator's way in, the rest is others'."""

    cluster: Cluster

    @property
    def namespace(self) -> str:
        """The namespace."""
        ...

    async def foreign_edit(self, kind: Kind, name: str, patch: Object) -> Object:
        """Merge-patch an object as the foreign manager; return it."""
        ...

    async def foreign_apply(self, name: str, manifest: Object) -> Object:
        """Server-side apply a Deployment as the foreign manager; return it."""
        ...

    async def settled(self, kind: Kind, name: str) -> Object:
        """Return the object once Kubernetes' controllers have nothing more to say about it."""
        ...

    async def garbage_collected(self) -> None:
        """Wait until no ConfigMap is left whose owners are all gone."""
        ...


Play = Callable[[Side], Awaitable[object]]


@dataclass
class Simulated:
    """The in-memory API server."""

    cluster: Cluster
    server: ApiServer
    namespace: str = "ml"

    async def foreign_edit(self, kind: Kind, name: str, patch: Object) -> Object:
        """See Side."""
        return self.server.update_spec(
            FOREIGN, kind, self.namespace, name, lambda item: item.update(merge(item, patch))
        )

    async def foreign_apply(self, name: str, manifest: Object) -> Object:
        """See Side."""
        return self.server.apply(FOREIGN, Kind.DEPLOYMENT, self.namespace, name, manifest)

    async def settled(self, kind: Kind, name: str) -> Object:
        """See Side."""
        obj = self.server.get(kind, self.namespace, name)
        assert obj is not None
        return obj

    async def garbage_collected(self) -> None:
        """See Side."""
        self.server.collect_garbage()


@dataclass
class Real:
    """A real API server, with Kubernetes' controllers at work."""

    cluster: Cluster
    space: Space

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.space.namespace

    async def foreign_edit(self, kind: Kind, name: str, patch: Object) -> Object:
        """See Side."""
        return self._foreign(kind, f"{name}?fieldManager={FOREIGN}", patch, "application/merge-patch+json")

    async def foreign_apply(self, name: str, manifest: Object) -> Object:
        """See Side."""
        return self._foreign(
            Kind.DEPLOYMENT, f"{name}?fieldManager={FOREIGN}", manifest, "application/apply-patch+yaml"
        )

    def _foreign(self, kind: Kind, target: str, body: Object, content: str) -> Object:
        answer = self.space.patch(kind.value[2], target, body, content)
        assert answer.accepted, answer.message
        return answer.body

    async def settled(self, kind: Kind, name: str) -> Object:
        """See Side; a Deployment's status follows each change of it."""
        before: Object | None = None
        for _ in range(2400):
            now_there = await self.cluster.get(kind, self.namespace, name)
            assert now_there is not None
            seen = (now_there.get("status") or {}).get("observedGeneration") == now_there["metadata"]["generation"]
            if now_there == before and (seen or kind is not Kind.DEPLOYMENT):
                return now_there
            before = now_there
            await asyncio.sleep(SETTLE)
        raise AssertionError(f"{name} does not settle")

    async def garbage_collected(self) -> None:
        """See Side; the owners that tests make are runs.

        Kubernetes' garbage collector looks for new kinds every half minute.
        """
        for _ in range(2400):
            runs = {run["metadata"]["uid"] for run in await self.cluster.list(Kind.RUN, self.namespace)}
            maps = await self.cluster.list(Kind.CONFIG_MAP, self.namespace)
            owners = [o["uid"] for item in maps for o in item["metadata"].get("ownerReferences", ())]
            if all(uid in runs for uid in owners):
                return
            await asyncio.sleep(SETTLE)
        raise AssertionError("what a run that is gone has owned is not collected")


def play_simulated(play: Play) -> object:
    """Play on the simulated API server; return what came of it."""
    server = ApiServer()
    return asyncio.run(_awaited(play(Simulated(Client(server), server))))


def play_real(play: Play, plane: ControlPlane, namespace: str) -> object:
    """Play in a new namespace of the real API server; return what came of it."""
    server = RealServer(plane)
    answer = server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    assert answer.accepted, answer.message

    async def connected() -> object:
        kube, _ = await connect(plane.kubeconfig, None, seconds=30, connections=2, observer=None)
        try:
            return await play(Real(kube, Space(server, namespace)))
        finally:
            await kube.close()

    try:
        return asyncio.run(connected())
    finally:
        server.close()


async def _awaited(work: Awaitable[object]) -> object:
    return await work
