"""The log has a line for each decision that changed something, and none at rest."""

import asyncio
import json
import logging
from typing import Any

import pytest

from finetune_operator.__main__ import JsonLines
from finetune_operator.cluster.act import Outlets
from finetune_operator.cluster.errors import Forbidden
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.observe import Observer
from finetune_operator.cluster.port import Object
from finetune_operator.controller.decision_log import LONGEST_TEXT, Journal, decision, without_secrets
from finetune_operator.controller.loop import Loop
from finetune_operator.controller.metrics import Metrics
from finetune_operator.controller.queue import WorkQueue
from finetune_operator.controller.reconcile import Reconciler
from simulation.api_server import ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import run, stage

RUN = ObjectRef(Kind.RUN, NAMESPACE, "first")
POLICY = ObjectRef(Kind.POLICY, NAMESPACE, "invoice-fields")
VERSION = ObjectRef(Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-base-v1")


class NoJobs(Client):
    """Refuses every Job."""

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        if kind is Kind.JOB:
            raise Forbidden("jobs are forbidden: exceeded quota")
        return await super().create(kind, namespace, manifest)


class World:
    """The loop over a simulated API server; `lines` are the log's."""

    def __init__(self, caplog: pytest.LogCaptureFixture, client: type[Client] = Client) -> None:
        caplog.set_level(logging.INFO)
        self._caplog = caplog
        self.server = ApiServer()
        self._client = client(self.server)
        for kind, manifest in stage():
            self.server.create("user", kind, NAMESPACE, manifest)
        self.server.create("user", Kind.RUN, NAMESPACE, run())

    def work(self, key: ObjectRef) -> list[dict[str, Any]]:
        """Reconcile a key once, and return the lines of the log."""
        self._caplog.clear()

        async def once() -> None:
            outlets = Outlets(events=lambda regarding, emit: None, metrics=lambda action: None)
            cluster = Journal(self._client)
            reconciler = Reconciler(cluster, Observer(cluster), outlets, lambda: self.server.now)
            queue: WorkQueue[ObjectRef] = WorkQueue(lambda ref: 0, lambda: 0.0, lambda: 0.0)
            queue.wake(key)
            taken = await queue.take()
            assert taken == key
            await Loop(queue, reconciler, cluster, Metrics(), lambda: 0.0).work(key)

        asyncio.run(once())
        return [json.loads(JsonLines().format(r)) for r in self._caplog.records if r.name.endswith("decision_log")]


def test_a_decision_has_one_line_with_what_changed_and_what_was_done(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    world.work(POLICY)
    (line,) = world.work(VERSION)
    assert (line["kind"], line["namespace"], line["object"]) == ("modelversions", NAMESPACE, VERSION.name)
    assert line["level"] == "INFO"
    assert line["phase"].startswith("new -> ")
    assert [action for action in line["actions"] if action.startswith("create jobs invoice-fields-base-v1-verify-1")]
    assert line["message"].startswith("ModelVersion invoice-fields-base-v1: new -> ")
    assert any(text.startswith("Verified=") for text in line["conditions"])


def test_at_rest_there_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    for key in (POLICY, VERSION, RUN) * 4:
        world.work(key)
    assert [world.work(key) for key in (POLICY, VERSION, RUN)] == [[], [], []]


def test_a_decision_that_failed_half_way_says_what_it_wrote(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog, NoJobs)
    world.work(POLICY)
    (line,) = world.work(VERSION)
    assert "attempts" in line["changed"]
    assert not [action for action in line.get("actions", ()) if "jobs" in action]


def test_no_line_shows_a_specification_or_a_password(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    text = ""
    for key in (POLICY, VERSION, RUN) * 3:
        text += json.dumps(world.work(key))
    assert text
    for secret in ("sha256:", "podTemplates", "--inputs", '"spec"'):
        assert secret not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read s3://bucket/key.onnx", "cannot read s3://bucket/key.onnx"),
        ("https://user:pa@ss@host/x?X-Amz-Signature=abc&y=1 is refused", "https://host/x is refused"),
        ('"https://token@host:443/a#part", and so on', '"https://host:443/a", and so on'),
        ("no URI: a?b@c", "no URI: a?b@c"),
    ],
)
def test_uris_lose_users_passwords_and_queries(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_a_line_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = ApiServer(believed=frozenset(("finetune-operator",)))
    server.create("user", Kind.RUN, NAMESPACE, run())
    conditions = [{"type": f"C{n}", "status": "True", "reason": "R", "message": "x" * 5000} for n in range(50)]

    async def write() -> None:
        journal = Journal(Client(server))
        obj = server.get(Kind.RUN, NAMESPACE, "first")
        assert obj is not None
        metadata = obj["metadata"]
        with decision(RUN):
            status = {"status": {"conditions": conditions, "message": "y" * 5000}}
            await journal.patch_status(
                Kind.RUN, NAMESPACE, "first", metadata["uid"], metadata["resourceVersion"], status
            )

    asyncio.run(write())
    (record,) = caplog.records
    assert len(JsonLines().format(record)) < 20 * LONGEST_TEXT
