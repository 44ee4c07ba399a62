"""Configuration, kopf's settings, watches, probes, metrics and Events."""

import asyncio
import inspect
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import kopf
import pytest
from prometheus_client import CollectorRegistry, Histogram

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.kube import Connection
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.store import Store
from finetune_operator.cluster.watched import WATCHED, selector
from finetune_operator.controller.config import BadConfiguration, Config, configure
from finetune_operator.controller.events import EventPoster
from finetune_operator.controller.metrics import DOMAIN, Declared, Metrics
from finetune_operator.controller.probes import STALLED, Health
from finetune_operator.controller.queue import WorkQueue
from finetune_operator.controller.settings import make_settings, scope_arguments
from finetune_operator.controller.state_metrics import State
from finetune_operator.controller.watch import make_registry, observe
from finetune_operator.decide.decision import Emit, RecordMetric
from finetune_operator.manifests.events import Regarding
from house.virtual_time import run_virtually
from simulation.api_server import ApiServer, Client


def test_an_empty_environment_watches_everything_from_the_pods_account() -> None:
    assert configure({}) == Config()
    assert scope_arguments(None) == {"clusterwide": True}


def test_the_environment_of_the_chart_is_understood() -> None:
    config = configure({
        "FINETUNE_NAMESPACES": "b, a,,b", "FINETUNE_LOG_LEVEL": "DEBUG", "FINETUNE_PROBE_PORT": "9000",
        "FINETUNE_METRICS_PORT": "9001", "POD_NAME": "finetune-operator-0", "KUBECONFIG": "/k/config:/other",
    })  # fmt: skip
    assert config.namespaces == ("a", "b")
    assert [scope_arguments(name) for name in config.namespaces] == [{"namespaces": ("a",)}, {"namespaces": ("b",)}]
    assert (config.log_level, config.probe_port, config.metrics_port) == ("debug", 9000, 9001)
    assert (config.instance, str(config.kubeconfig)) == ("finetune-operator-0", "/k/config")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"FINETUNE_WORKERS": "many"}, "FINETUNE_WORKERS='many': use a number from 1 to 256"),
        ({"FINETUNE_WORKERS": "0"}, "FINETUNE_WORKERS"),
        ({"FINETUNE_PROBE_PORT": "70000"}, "65535"),
        ({"FINETUNE_LOG_LEVEL": "loud"}, "debug, info, warning, error"),
    ],
)
def test_a_bad_variable_is_named_with_what_is_expected(environment: Mapping[str, str], says: str) -> None:
    with pytest.raises(BadConfiguration, match=says):
        configure(environment)


def _resource(kind: Kind) -> kopf.Resource:
    group, version, plural = kind.value
    return kopf.Resource(group=group, version=version, plural=plural, namespaced=True, preferred=True)


@pytest.mark.parametrize("kind", list(WATCHED))
def test_the_api_server_filters_each_watch_by_the_labels_that_the_store_expects(kind: Kind) -> None:
    settings = make_settings(instance="i")
    expected = [selector(WATCHED[kind])] if WATCHED[kind] else []
    assert settings.watching.label_selectors.collect(_resource(kind)) == expected


def test_kopf_pauses_for_nobody_posts_nothing_and_never_waits_for_ever() -> None:
    settings = make_settings(instance="i")
    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert settings.watching.server_timeout is not None
    assert settings.watching.client_timeout is not None
    assert settings.watching.client_timeout > settings.watching.server_timeout
    assert settings.networking.request_timeout is not None


async def _login() -> Connection:
    return Connection("https://api", None, "token", None, None)


def test_only_low_level_event_handlers_are_registered_one_for_each_watched_kind() -> None:
    registry = make_registry(Store(), _login)
    handlers = registry._watching.get_all_handlers()
    selectors = [handler.selector for handler in handlers if handler.selector]
    assert sorted((s.group, s.version, str(s.plural)) for s in selectors) == sorted(kind.value for kind in WATCHED)
    assert all(inspect.iscoroutinefunction(handler.fn) for handler in handlers)
    assert not [*registry._changing.get_all_handlers(), *registry._spawning.get_all_handlers()]


def test_watch_events_of_every_type_reach_the_store() -> None:
    store = Store()

    def event(kind: str | None, version: int) -> dict[str, Any]:
        metadata = {"namespace": "ml", "name": "first", "uid": "u", "resourceVersion": str(version)}
        return {"type": kind, "object": {"metadata": metadata, "spec": {}}}

    for kind, version in ((None, 1), ("ADDED", 1), ("MODIFIED", 2)):
        observe(store, Kind.RUN, event(kind, version))
    assert store.projection(Kind.RUN, "ml", "first") is not None
    observe(store, Kind.RUN, event("DELETED", 3))
    assert store.projection(Kind.RUN, "ml", "first") is None


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def healthy(*, dead: tuple[str, ...] = (), outage: bool = False) -> tuple[Health, WorkQueue[ObjectRef], Clock]:
    clock = Clock()
    queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, clock, lambda: 0.0)
    return Health(queue, lambda: dead, lambda: outage, ready=True), queue, clock


KEY = ObjectRef(Kind.RUN, "ml", "first")


def test_the_operator_is_alive_while_keys_get_worked_off() -> None:
    health, queue, clock = healthy()
    queue.wake(KEY)
    clock.at += STALLED - 1
    assert health.illness() is None


def test_a_key_that_nobody_takes_is_an_illness() -> None:
    health, queue, clock = healthy()
    queue.wake(KEY)
    clock.at += STALLED + 1
    assert "waited" in str(health.illness())


def test_a_line_that_is_long_and_moves_is_no_illness() -> None:
    """An API server that throttles: a restart would begin the line anew, with all lists before it."""

    async def story() -> tuple[str | None, str | None]:
        health, queue, clock = healthy()
        for number in range(4):
            queue.wake(ObjectRef(Kind.RUN, "ml", f"run-{number}"))
        for _ in range(3):
            clock.at += STALLED - 20
            key = await queue.take()
            assert key is not None
            queue.done(key)
        moves = health.illness()
        clock.at += STALLED + 1
        return moves, health.illness()

    moves, stands = asyncio.run(story())
    assert moves is None
    assert "none was taken" in str(stands)


def test_work_that_never_ends_is_an_illness() -> None:
    async def story() -> str:
        health, queue, clock = healthy()
        queue.wake(KEY)
        await queue.take()
        clock.at += STALLED + 1
        return str(health.illness())

    assert "has run" in asyncio.run(story())


def test_a_dead_worker_is_an_illness_at_once_and_is_named() -> None:
    assert "worker-3" in str(healthy(dead=("worker-3",))[0].illness())


def test_an_api_server_that_is_away_is_not_our_illness() -> None:
    health, queue, clock = healthy(outage=True)
    queue.wake(KEY)
    clock.at += STALLED + 1
    assert health.illness() is None


def run_object(name: str, phase: str) -> dict[str, Any]:
    metadata = {"namespace": "ml", "name": name, "uid": name, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"policy": "p"}, "status": {"phase": phase} if phase else {}}


def series(metrics: Metrics) -> dict[str, float]:
    lines = (line for line in metrics.text().decode().splitlines() if not line.startswith("#"))
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_runs_are_counted_by_phase_with_every_phase_there_from_the_start() -> None:
    metrics, store = Metrics(), Store()
    metrics.registry.register(State(store, healthy()[1]))
    for name, phase in (("a", "Training"), ("b", "Training"), ("c", "")):
        store.put(Kind.RUN, run_object(name, phase))
    samples = series(metrics)
    assert samples['finetune_runs{namespace="ml",phase="Training"}'] == 2
    assert samples['finetune_runs{namespace="ml",phase="Pending"}'] == 1
    assert samples['finetune_runs{namespace="ml",phase="RolledBack"}'] == 0
    assert samples["finetune_queue_depth"] == 0


def test_a_verdict_is_counted_and_the_gates_figures_are_shown() -> None:
    metrics = Metrics()
    labels = {"namespace": "ml", "model": "invoices"}
    metrics.record(RecordMetric("finetune_verdicts", {**labels, "verdict": "Reject"}))
    metrics.record(RecordMetric("finetune_gate_value_ratio", {**labels, "gate": "regression"}, 0.0425))
    samples = series(metrics)
    assert samples['finetune_verdicts_total{model="invoices",namespace="ml",verdict="Reject"}'] == 1
    assert samples['finetune_verdicts_total{model="invoices",namespace="ml",verdict="Pass"}'] == 0
    assert samples['finetune_gate_value_ratio{gate="regression",model="invoices",namespace="ml"}'] == 0.0425


def test_a_value_that_no_metric_is_declared_for_is_said_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    before = series(metrics)
    metrics.record(RecordMetric("finetune_unknown", {}))
    metrics.record(RecordMetric("finetune_verdicts", {"namespace": "ml"}))
    assert series(metrics) == before
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


@pytest.mark.parametrize("name", DOMAIN)
def test_a_metric_of_the_domain_is_recorded_by_its_declaration_alone(name: str) -> None:
    metrics = Metrics()
    labels = {label: DOMAIN[name].closed.get(label, ("any",))[0] for label in DOMAIN[name].labels}
    metrics.record(RecordMetric(name, labels, 3.0))
    shown = {key: value for key, value in series(metrics).items() if key.startswith(name) and "_created" not in key}
    assert max(shown.values()) == 3.0


def test_a_histogram_is_declared_with_its_buckets() -> None:
    with pytest.raises(ValueError, match="declare its buckets"):
        Declared(Histogram, "Time.", ("model",)).series("finetune_x", CollectorRegistry())
    series = Declared(Histogram, "Time.", ("model",), buckets=(60.0,)).series("finetune_x", CollectorRegistry())
    assert isinstance(series, Histogram)
    series.labels("a").observe(30.0)
    assert {s.labels["le"]: s.value for m in series.collect() for s in m.samples if s.name.endswith("_bucket")} == {
        "60.0": 1.0,
        "+Inf": 1.0,
    }


def test_every_metric_has_our_prefix() -> None:
    assert all(name.startswith("finetune_") for name in series(Metrics()))


def test_events_are_posted_beside_the_work_and_a_flood_is_dropped_not_waited_for() -> None:
    server, dropped = ApiServer(), []

    async def story() -> None:
        now = datetime(2026, 11, 21, tzinfo=UTC)
        poster = EventPoster(Client(server), lambda: now, "pod-1", lambda: dropped.append(1))
        about = Regarding("FineTuneRun", "ml", "first", "u")
        for number in range(2_100):
            poster.record(about, Emit("Normal", "Training", f"epoch {number}"))
        task = asyncio.create_task(poster.run())
        await asyncio.sleep(0.99)
        task.cancel()

    run_virtually(story())
    posted = [key for key in server.objects if key[0] is Kind.EVENT]
    assert len(posted) == 50, "in a second"
    assert len(dropped) == 100
