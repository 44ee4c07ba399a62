"""What the operator shows to the outside and takes from it: probes, metrics, Events and its environment."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from finetune_operator.cluster.errors import Forbidden, Throttled
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.prometheus import Address
from finetune_operator.controller.config import BadConfiguration, configure
from finetune_operator.controller.events import EventPoster
from finetune_operator.controller.metrics import Metrics
from finetune_operator.controller.probes import STALLED, Health, metrics_app, probe_app
from finetune_operator.controller.queue import WorkQueue
from finetune_operator.decide.decision import Emit
from finetune_operator.manifests.events import Regarding
from house.virtual_time import run_virtually
from simulation.api_server import ApiServer, Client

RUN = ObjectRef(Kind.RUN, "ml", "first")


async def asked(app: web.Application, path: str) -> tuple[int, str, str]:
    async with TestClient(TestServer(app)) as client:
        answer = await client.get(path)
        return answer.status, await answer.text(), answer.headers["Content-Type"]


@pytest.mark.parametrize(
    ("dead", "ready", "path", "says"),
    [
        ((), True, "/livez", (200, "ok")),
        (("worker-3",), True, "/livez", (503, "ended: worker-3")),
        ((), True, "/readyz", (200, "ok")),
        ((), False, "/readyz", (503, "reading the cluster")),
    ],
)
def test_the_probes_say_what_ails(dead: tuple[str, ...], ready: bool, path: str, says: tuple[int, str]) -> None:
    queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, lambda: 0.0, lambda: 0.0)
    health = Health(queue, lambda: dead, lambda: False, ready=ready)
    assert asyncio.run(asked(probe_app(health), path))[:2] == says


def test_metrics_are_served_as_prometheus_reads_them() -> None:
    status, text, content = asyncio.run(asked(metrics_app(Metrics()), "/metrics"))
    assert (status, content) == (200, "text/plain; version=0.0.4")
    assert "# HELP finetune_" in text


def test_before_the_cluster_is_read_nothing_is_late_and_at_the_limit_nothing_yet() -> None:
    at = [0.0]
    queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, lambda: at[0], lambda: 0.0)
    health = Health(queue, lambda: (), lambda: False)
    queue.wake(RUN)
    at[0] = STALLED
    health.ready = True
    assert health.illness() is None
    at[0] = STALLED + 0.1
    assert "waited" in str(health.illness())
    health.ready = False
    assert health.illness() is None
    asyncio.run(queue.take())
    health.ready = True
    at[0] += STALLED
    assert health.illness() is None
    at[0] += 0.1
    assert "has run" in str(health.illness())


@pytest.mark.parametrize(
    ("name", "least", "most", "field"),
    [
        ("WORKERS", 1, 256, "workers"),
        ("RESYNC_SECONDS", 1, 86_400, "resync_seconds"),
        ("REQUEST_TIMEOUT_SECONDS", 1, 300, "request_timeout"),
        ("PROBE_PORT", 0, 65_535, "probe_port"),
        ("METRICS_PORT", 0, 65_535, "metrics_port"),
    ],
)
def test_each_number_of_the_environment_has_its_limits(name: str, least: int, most: int, field: str) -> None:
    for good in (least, most):
        assert getattr(configure({f"FINETUNE_{name}": str(good)}), field) == good
    for bad in (least - 1, most + 1):
        with pytest.raises(BadConfiguration, match=f"use a number from {least} to"):
            configure({f"FINETUNE_{name}": str(bad)})


def test_address_and_context_are_taken_from_the_environment() -> None:
    config = configure({"FINETUNE_ADDRESS": "::1", "FINETUNE_CONTEXT": "two"})
    assert (config.address, config.context) == ("::1", "two")
    assert configure({"FINETUNE_CONTEXT": ""}).context is None


@pytest.mark.parametrize(
    "url",
    [
        "prom:9090",
        "ftp://prom",
        "http://",
        "http://user:hunter2@prom",
        "http://prom?a=b",
        "http://prom#x",
        "http://p:x",
    ],
)
def test_an_address_of_prometheus_that_cannot_be_used_is_refused_without_being_said(url: str) -> None:
    with pytest.raises(BadConfiguration, match=r"^FINETUNE_PROMETHEUS_URL: use http\(s\)://host") as caught:
        configure({"FINETUNE_PROMETHEUS_URL": url})
    assert "hunter2" not in str(caught.value)


def test_without_an_address_there_is_no_prometheus_whatever_else_is_named() -> None:
    assert configure({"FINETUNE_PROMETHEUS_TOKEN_FILE": "/token"}).prometheus is None
    named = configure(
        {"FINETUNE_PROMETHEUS_URL": "https://prom:9090/a", "FINETUNE_PROMETHEUS_CA_FILE": "/ca"}
    ).prometheus
    assert named == Address(url="https://prom:9090/a", ca_file=Path("/ca"))


class NoEvents(Client):
    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        raise Forbidden("no Events here")


def posted(client: Client, busy: Callable[[], bool], seconds: float) -> int:
    """Return how many of two Events were dropped."""
    dropped: list[int] = []

    async def story() -> None:
        poster = EventPoster(client, lambda: datetime(2026, 11, 21, tzinfo=UTC), "i", lambda: dropped.append(1), busy)
        for number in range(2):
            poster.record(Regarding("FineTuneRun", "ml", "first", "u"), Emit("Normal", "Training", f"epoch {number}"))
        task = asyncio.create_task(poster.run())
        await asyncio.sleep(seconds)
        task.cancel()

    run_virtually(story())
    return len(dropped)


def test_a_refused_event_is_dropped_and_the_next_one_tried() -> None:
    assert posted(NoEvents(ApiServer()), lambda: False, 0.1) == 2


class Throttling(Client):
    """An API server that takes the third try, and none of the others."""

    tries = 0

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        self.tries += 1
        if self.tries == 3:
            return await super().create(kind, namespace, manifest)
        raise Throttled("too many requests", after=7)


def test_an_api_server_that_throttles_is_not_sent_fifty_events_a_second() -> None:
    """Each is tried three times, and the pause that is asked for is kept after each."""
    client, dropped = Throttling(ApiServer()), list[float]()

    async def story() -> None:
        clock = asyncio.get_running_loop().time
        poster = EventPoster(client, lambda: datetime(2026, 11, 21, tzinfo=UTC), "i", lambda: dropped.append(clock()))
        for number in range(3):
            poster.record(Regarding("FineTuneRun", "ml", "first", "u"), Emit("Normal", "Training", f"epoch {number}"))
        task = asyncio.create_task(poster.run())
        await asyncio.sleep(60)
        task.cancel()

    run_virtually(story())
    assert (client.tries, [round(at) for at in dropped]) == (9, [35, 56])
    assert sum(kind is Kind.EVENT for kind, *_ in client.server.objects) == 1


def test_events_wait_for_work_but_not_for_ever() -> None:
    server, looks = ApiServer(), []

    def busy() -> bool:
        looks.append(sum(kind is Kind.EVENT for kind, *_ in server.objects))
        return len(looks) < 3 or looks[-1] > 0

    assert posted(Client(server), busy, 0.5) == 0
    assert looks[:3] == [0, 0, 0], "while keys wait none is posted"
    assert looks[3] == 1, "and then at once"
