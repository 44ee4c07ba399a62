"""What a policy and its runs see of runs that were judged: by their verdict alone, and without reading one."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from finetune_operator.api.meta import FileReference
from finetune_operator.api.policy_status import Judged
from finetune_operator.api.run import FINAL_PHASES
from finetune_operator.cluster.cache import CachedCluster
from finetune_operator.cluster.judged_runs import JudgedRuns
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.store import Store
from finetune_operator.decide import limits
from simulation.api_server import START, ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import run
from unit.cluster.test_finished_jobs import Counting

PLAN = {"uri": "file:///artifacts/ml/uid/plan.json", "sha256": "a" * 64}
JUDGED = {
    "phase": "InReview",
    "verdict": "Review",
    "startedAt": "2026-11-21T12:00:00Z",
    "inputs": {"plan": PLAN},
}


def stored() -> ApiServer:
    """An API server that has whatever somebody wrote into it."""
    return ApiServer(believed=frozenset(("x",)))


def put(server: ApiServer, name: str, **status: Any) -> str:
    """Put a judged run there, and return its uid."""
    meta = server.create("user", Kind.RUN, NAMESPACE, run(name))["metadata"]
    body = {"status": JUDGED | status}
    server.patch_status("x", Kind.RUN, NAMESPACE, name, meta["uid"], meta["resourceVersion"], body)
    return str(meta["uid"])


def seen(server: ApiServer, policy: str = "invoice-fields") -> tuple[Judged, ...]:
    client = Counting(server)
    runs = asyncio.run(JudgedRuns(client).of(NAMESPACE, policy))
    assert client.reads == 0
    return runs


def seen_of_one(policy: str = "invoice-fields", **status: Any) -> tuple[Judged, ...]:
    server = stored()
    put(server, "first", **status)
    return seen(server, policy)


@pytest.mark.row("D90")
@pytest.mark.parametrize("verdict", ["Pass", "Review", "Reject"])
@pytest.mark.parametrize("phase", sorted(FINAL_PHASES | {"InReview", "Promoting", "Evaluating"}))
def test_a_run_with_a_verdict_was_judged_whatever_came_after(phase: str, verdict: str) -> None:
    (judged,) = seen_of_one(phase=phase, verdict=verdict)
    assert (judged.run, judged.inputs, judged.at) == ("first", FileReference(**PLAN), START)


@pytest.mark.row("D90")
@pytest.mark.parametrize(
    "status",
    [
        {"verdict": None},
        {"verdict": None, "phase": "Failed"},
        {"verdict": "Error", "phase": "Failed"},
        {"inputs": None},
        {"inputs": {"plan": {"uri": PLAN["uri"]}}},
        {"inputs": {"plan": PLAN | {"sha256": "no digest"}}},
        {"inputs": {"plan": [7]}},
        {"startedAt": None},
        {"startedAt": "soon"},
    ],
)
def test_a_run_without_a_verdict_of_its_gates_leaves_no_trace(status: Any) -> None:
    assert seen_of_one(**status) == ()


@pytest.mark.row("D90")
@pytest.mark.parametrize(
    ("status", "hours"),
    [
        ({"reviewSince": "2026-11-21T14:00:00Z"}, 2),
        ({"reviewSince": "2026-11-21T14:00:00Z", "decision": {"at": "2026-11-21T15:00:00Z"}}, 3),
    ],
)
def test_its_time_is_that_of_the_decision_else_of_the_judgement(status: Any, hours: int) -> None:
    (judged,) = seen_of_one(**status)
    assert judged.at == START + timedelta(hours=hours)


@pytest.mark.row("D92")
def test_another_policys_run_says_nothing_here() -> None:
    assert seen_of_one("other") == ()


@pytest.mark.row("D90")
def test_of_many_runs_the_newest_are_told() -> None:
    server = stored()
    for n in range(limits.JUDGED + 5):
        put(server, f"run-{n}", decision={"at": f"2026-11-21T12:{n:02}:00Z"})
    assert {judged.run for judged in seen(server)} == {f"run-{n}" for n in range(5, limits.JUDGED + 5)}


@pytest.mark.row("D90")
def test_what_is_told_follows_the_runs_and_is_looked_through_once_while_none_of_them_changes() -> None:
    server, store = stored(), Store()
    cluster = CachedCluster(Client(server), store)
    runs = JudgedRuns(cluster)

    def told() -> tuple[Judged, ...]:
        for item in server.list(Kind.RUN, NAMESPACE):
            store.put(Kind.RUN, item)
        return asyncio.run(runs.of(NAMESPACE, "invoice-fields"))

    assert told() == ()
    put(server, "first")
    assert [judged.run for judged in told()] == ["first"]
    assert told() is told()
    put(server, "second")
    assert {judged.run for judged in told()} == {"first", "second"}
