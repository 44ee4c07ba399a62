"""The pods of what is live, while no promotion is in flight."""

from dataclasses import replace as with_changes
from typing import Any

import pytest

from finetune_operator.api.meta import Condition, find
from finetune_operator.api.policy_status import PolicyStatus
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.views import DeploymentView, Problem
from unit.decide.policy.world import NOW, base, deployment, events, keys, live, policy, promotion, seconds, tuned, view

BASE, TUNED = base(), tuned()
PENDING = Problem("Unschedulable", "no node takes the pod: 0/3 nodes are available")


def look(status: PolicyStatus, there: DeploymentView, later: float = 0, **changes: Any) -> Decision[PolicyStatus]:
    return decide(view(policy(status), there, versions=(BASE, TUNED), now=NOW + seconds(later), **changes))


def available(decision: Decision[PolicyStatus]) -> Condition:
    shown = find(decision.status.conditions, "Available")
    assert shown is not None
    return shown


def short(trouble: Problem | None = PENDING, **changes: Any) -> DeploymentView:
    return deployment(keys(BASE), trouble=trouble, **({"available": 1, "ready": 1} | changes))


@pytest.mark.row("D45")
def test_a_pending_pod_is_seen_while_nothing_flies_with_reason_and_since_when() -> None:
    well = look(live(BASE), deployment(keys(BASE))).status
    ill = look(well, short(), 100)
    shown = available(ill)
    assert (shown.status, shown.reason) == ("False", "Unschedulable")
    assert "0/3 nodes" in shown.message
    assert shown.last_transition_time == NOW + seconds(100)
    assert (shown.message in ill.status.message, ill.status.since) == (True, NOW + seconds(100))
    assert events(ill) == ["Unschedulable"]
    assert find(ill.status.conditions, "Ready") == find(well.conditions, "Ready"), "promotions and runs go on"


@pytest.mark.row("D45")
def test_the_same_trouble_in_other_words_is_no_write_and_no_event() -> None:
    ill = look(live(BASE), short()).status
    other = with_changes(PENDING, message="no node takes the pod: 1/4 nodes are available")
    later = look(ill, short(other), 15)
    assert (later.status, later.actions) == (ill, ())
    crash = look(ill, short(Problem("ContainerFails", "exit code 1")), 30)
    assert available(crash).reason == "ContainerFails"
    assert events(crash) == ["ContainerFails"]
    assert available(crash).last_transition_time == NOW, "it is unavailable since before"


@pytest.mark.row("D45")
@pytest.mark.parametrize("before", ["well", "ill"])
def test_pods_that_merely_start_change_nothing(before: str) -> None:
    status = look(live(BASE), deployment(keys(BASE)) if before == "well" else short()).status
    starting = look(status, short(None, replicas=8), 15)
    assert (starting.status, starting.actions) == (status, ())


@pytest.mark.row("D46")
def test_pods_that_are_there_again_end_it() -> None:
    ill = look(live(BASE), short()).status
    well = look(ill, deployment(keys(BASE)), 60)
    assert (available(well).status, available(well).reason) == ("True", "ReplicasAvailable")
    assert (well.status.message, well.status.since) == ("", None)


@pytest.mark.row("D46")
@pytest.mark.parametrize(
    ("status", "there", "reason"),
    [
        (PolicyStatus(epoch=1), deployment(available=0), "NothingLive"),
        (live(BASE), short(replicas=0, available=0), "NoReplicas"),
        (live(BASE), None, "DeploymentNotFound"),
        (live(BASE), short(None), "Starting"),
    ],
)
def test_what_cannot_be_said_is_unknown(status: PolicyStatus, there: DeploymentView, reason: str) -> None:
    shown = available(look(status, there))
    assert (shown.status, shown.reason) == ("Unknown", reason)


@pytest.mark.row("D46")
def test_a_flight_says_itself_what_ails_its_pods() -> None:
    asked = promotion("ft_v1.1", "base_v1")
    begun = decide(view(policy(live(BASE)), deployment(keys(BASE)), asked, versions=(BASE, TUNED))).status
    assert begun.in_flight is not None
    shown = find(begun.conditions, "Available")
    assert shown is not None
    assert (shown.status, shown.reason) == ("Unknown", "Flipping")
