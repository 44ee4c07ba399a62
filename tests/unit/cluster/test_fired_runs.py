"""What a policy sees of the runs that its triggers made, and of those that keep them waiting."""

import asyncio
from typing import Any

import pytest

from finetune_operator.api.policy import Policy
from finetune_operator.api.value import parse
from finetune_operator.cluster.fired_runs import fired_runs, rebuilds, runs_underway
from finetune_operator.cluster.kinds import Kind
from simulation.api_server import ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import run, stage

MINE = "invoice-fields-0123456789"
PLAN = {"plan": {"uri": "file:///artifacts/plan.json", "sha256": "a" * 64}}


def put(server: ApiServer, name: str, kind: str | None = "Volume", mode: str = "FineTune", **status: Any) -> str:
    manifest = run(name)
    manifest["spec"]["mode"] = mode
    if kind is not None:
        manifest["spec"]["trigger"] = {"kind": kind}
    meta = server.create("user", Kind.RUN, NAMESPACE, manifest)["metadata"]
    server.patch_status("x", Kind.RUN, NAMESPACE, name, meta["uid"], meta["resourceVersion"], {"status": status})
    return str(meta["uid"])


def policy(*fired: dict[str, Any]) -> Policy:
    manifest = next(manifest for kind, manifest in stage() if kind is Kind.POLICY)
    return parse({**manifest, "status": {"fired": list(fired)}}, Policy)


def seen(server: ApiServer, of: Policy) -> dict[str, tuple[str, str]]:
    runs = asyncio.run(fired_runs(Client(server), NAMESPACE, of))
    return {entry.name: (entry.kind, entry.outcome) for entry in runs}


@pytest.mark.row("D151")
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ({}, "Underway"),
        ({"phase": "Suspended"}, "Underway"),
        ({"phase": "InReview", "verdict": "Review", "inputs": PLAN}, "Judged"),
        ({"phase": "Failed"}, "Failed"),
        ({"phase": "Failed", "verdict": "Pass", "inputs": PLAN}, "Judged"),
        ({"phase": "Failed", "verdict": "Error", "inputs": PLAN}, "Failed"),
        ({"phase": "Adopted"}, "Judged"),
        ({"phase": "Superseded"}, "Judged"),
    ],
)
def test_what_became_of_a_run_is_what_its_status_says(status: dict[str, Any], outcome: str) -> None:
    server = ApiServer(believed=frozenset(("x",)))
    put(server, MINE, **status)
    put(server, "by-hand", kind=None)
    assert seen(server, policy()) == {MINE: ("Volume", outcome)}


@pytest.mark.row("D147")
def test_a_run_of_that_name_that_somebody_else_made_counts_and_one_of_another_policy_does_not() -> None:
    server = ApiServer(believed=frozenset(("x",)))
    put(server, "mine", kind=None)
    entry = {"kind": "Schedule", "at": "2026-11-21T12:00:00Z", "outcome": "Planned"}
    assert seen(server, policy({"run": "mine", **entry})) == {"mine": ("Schedule", "Underway")}
    assert seen(server, policy({"run": "gone", **entry})) == {}


@pytest.mark.row("D145")
def test_runs_that_are_neither_over_nor_judged_are_under_way_whoever_made_them() -> None:
    server = ApiServer(believed=frozenset(("x",)))
    put(server, "a-trains", phase="Training")
    put(server, "by-hand", kind=None)
    put(server, "in-review", phase="InReview", verdict="Review", inputs=PLAN)
    put(server, "over", phase="Failed")
    assert asyncio.run(runs_underway(Client(server), NAMESPACE, policy())) == (
        ("a-trains", "Training"),
        ("by-hand", ""),
    )


@pytest.mark.row("R243")
@pytest.mark.parametrize("mode", ["FineTune", "Rebuild"])
def test_a_run_of_the_model_that_the_policy_had_before_keeps_no_trigger_waiting(mode: str) -> None:
    server = ApiServer(believed=frozenset(("x",)))
    for name, model in (("before", "receipts"), ("now", "invoice-fields")):
        put(server, name, phase="Evaluating", model=model)
        server.update_spec("user", Kind.RUN, NAMESPACE, name, lambda item: item["spec"].update(mode=mode))
    seen_by = (Client(server), NAMESPACE, policy())
    assert asyncio.run(runs_underway(*seen_by)) == (("now", "Evaluating"),)
    assert asyncio.run(rebuilds(*seen_by)) == (("now",) if mode == "Rebuild" else ())


@pytest.mark.row("D212")
def test_rebuilds_that_are_not_over_are_known_judged_or_not_whoever_made_them() -> None:
    server = ApiServer(believed=frozenset(("x",)))
    judged: dict[str, Any] = {"verdict": "Review", "inputs": PLAN}
    for name, phase in (("in-review", "InReview"), ("goes-live", "Promoting"), ("over", "Promoted")):
        put(server, name, kind=None, mode="Rebuild", phase=phase, **judged)
    put(server, "trains", mode="Rebuild", phase="Training")
    put(server, "fine-tune", phase="InReview", **judged)
    assert asyncio.run(rebuilds(Client(server), NAMESPACE, policy())) == ("goes-live", "in-review", "trains")


@pytest.mark.row("R337")
def test_a_rebuild_whose_version_was_deleted_before_its_promotion_took_off_holds_up_no_other() -> None:
    server = ApiServer(believed=frozenset(("x",)))
    lost = [{"type": "Promoted", "status": "Unknown", "reason": "VersionNotFound"}]
    put(server, "lost", mode="Rebuild", phase="Promoting", verdict="Pass", inputs=PLAN, conditions=lost)
    assert asyncio.run(rebuilds(Client(server), NAMESPACE, policy())) == ()


@pytest.mark.row("D172")
def test_a_copy_of_a_fired_run_under_another_name_is_somebodys_own() -> None:
    """It keeps the spec.trigger of what it was copied from, and would count for cool-down and week."""
    server = ApiServer(believed=frozenset(("x",)))
    for name in (MINE, f"{MINE}-again", "again", "invoice-fields-again12345", "other-policy-0123456789"):
        put(server, name)
    assert seen(server, policy()) == {MINE: ("Volume", "Underway")}
