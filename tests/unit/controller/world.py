"""The simulated API server with a ready policy and a run, which refuses what a test has it refuse."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from finetune_operator.cluster.act import Outlets
from finetune_operator.cluster.errors import (
    ClusterError,
    Forbidden,
)
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.observe import Observer
from finetune_operator.cluster.port import Object
from finetune_operator.controller.reconcile import Outcome, Reconciler
from simulation.api_server import ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import run, stage

RUN = ObjectRef(Kind.RUN, NAMESPACE, "first")
POLICY = ObjectRef(Kind.POLICY, NAMESPACE, "invoice-fields")
VERSION = ObjectRef(Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-base-v1")


QUOTA = "exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=3, limited: count/jobs.batch=3"


class Refusing(Client):
    """Refuses to create what it is told to refuse, and to write a status when it is told so."""

    refused: frozenset[Kind] = frozenset()
    error: type[ClusterError] = Forbidden
    words: str = QUOTA
    statuses: bool = False
    unread: frozenset[Kind] = frozenset()
    relabels: str = ""
    strips: bool = False
    """Takes annotations off again, as an admission webhook may."""

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        if kind in self.unread:
            raise self.error(f"{kind.value[2]} is forbidden: {self.words}")
        return await super().get(kind, namespace, name, fresh=fresh)

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        if kind in self.refused:
            raise self.error(f"{kind.value[2]} is forbidden: {self.words}")
        if kind is Kind.JOB and self.relabels:
            labels = {**manifest["metadata"]["labels"], "app.kubernetes.io/managed-by": self.relabels}
            manifest = {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}
        return await super().create(kind, namespace, manifest)

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, patch: Object
    ) -> Object:
        if self.statuses:
            raise self.error(f"{kind.value[2]} is forbidden: {self.words}")
        return await super().patch_status(kind, namespace, name, uid, resource_version, patch)

    async def annotate(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, annotations: Mapping[str, str]
    ) -> Object:
        given: Mapping[str, str] = {} if self.strips else annotations
        return await super().annotate(kind, namespace, name, uid, resource_version, given)


class World:
    """The simulated API server with a ready policy and a run."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.client = Refusing(self.server)
        for kind, manifest in stage():
            self.server.create("user", kind, NAMESPACE, manifest)
        # Named, the base need not be verified first.
        asked = run()
        self.server.create("user", Kind.RUN, NAMESPACE, asked | {"spec": {**asked["spec"], "baseVersion": "base_v1"}})
        self.events: list[tuple[str, str]] = []
        outlets = Outlets(
            events=lambda regarding, emit: self.events.append((regarding.kind, emit.reason)),
            metrics=lambda action: None,
        )
        self.reconciler = Reconciler(self.client, Observer(self.client), outlets, self.now)
        self.reconcile(POLICY, VERSION)

    def now(self) -> Any:
        return self.server.now

    def reconcile(self, *keys: ObjectRef) -> Outcome:
        for key in keys:
            outcome = asyncio.run(self.reconciler.reconcile(key))
        return outcome

    def refuse(self, *keys: ObjectRef, tries: int = 3) -> None:
        """Reconcile each of the keys some times; every try is refused."""
        for key in keys:
            for _ in range(tries):
                with pytest.raises(Forbidden):
                    self.reconcile(key)

    def warned(self, reason: str) -> int:
        return [said for _, said in self.events].count(reason)

    def get(self, key: ObjectRef) -> Any:
        return self.server.get(key.kind, key.namespace, key.name)

    def condition(self, key: ObjectRef, kind: str) -> Any:
        return next(c for c in self.get(key)["status"]["conditions"] if c["type"] == kind)


class Broken(Exception):
    """A bug of the operator."""


def fail(world: World, key: ObjectRef, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Broken):
            world.reconcile(key)
