"""What `kubectl get` says of a policy: what matters most, and since when."""

from typing import Any

import pytest

from finetune_operator.api.meta import find
from finetune_operator.api.policy_status import PolicyStatus
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.policy.machine import decide, refused
from finetune_operator.decide.policy.memory import held
from finetune_operator.decide.views import DeploymentView, Problem
from unit.decide.policy.flight import at, flying, served
from unit.decide.policy.world import NOW, base, deployment, keys, live, policy, promotion, running, seconds, tuned, view

BASE, TUNED = base(), tuned()
SERVED = deployment(keys(BASE))
HELD = held(live(BASE), "finetune-operator", "RolledBack", "ft_v1.1 was rolled back", NOW - seconds(500))


def look(
    status: PolicyStatus, there: DeploymentView | None, *asked: Any, later: float = 0, **spec: Any
) -> Decision[PolicyStatus]:
    return decide(view(policy(status, **spec), there, *asked, versions=(BASE, TUNED), now=NOW + seconds(later)))


@pytest.mark.row("D47")
def test_a_policy_at_rest_says_nothing_and_writes_nothing() -> None:
    status = look(live(BASE), SERVED).status
    assert (status.message, status.since) == ("", None)
    later = look(status, SERVED, later=3600)
    assert (later.status, later.actions) == (status, ())


@pytest.mark.row("D47")
def test_what_is_wrong_comes_before_the_hold_and_those_who_wait() -> None:
    well = look(HELD, SERVED).status
    status = look(well, None, promotion("ft_v1.1", "base_v1"), later=60).status
    first, hold, waiting = (
        status.message.split("; ", 3)[0],
        "held (RolledBack)",
        "1 promotion waits ('to-ft-v1-1', for Held)",
    )
    assert first == "Deployment 'invoice-detector' is not there"
    assert status.message.index(hold) < status.message.index(waiting)
    assert status.since == NOW + seconds(60)


@pytest.mark.row("D47")
def test_a_hold_is_shown_with_when_it_began() -> None:
    status = look(HELD, SERVED).status
    assert status.message == "held (RolledBack): ft_v1.1 was rolled back"
    assert status.since == NOW - seconds(500)


@pytest.mark.row("D47")
def test_a_hold_says_what_shows_its_ways_out() -> None:
    status = look(held(live(BASE), "x", "RolledBack", "it failed; to try again: COMMAND", NOW), SERVED).status
    where = "kubectl get finetunepolicy invoice-fields -n ml -o jsonpath='{.status.hold.message}'"
    assert status.message == f"held (RolledBack): it failed; ways out: {where}"


@pytest.mark.row("D47")
def test_what_ails_the_pods_of_a_flight_is_said() -> None:
    trouble = Problem("QuotaExceeded", "pods are refused: exceeded quota")
    status = decide(at(20, flying(), served(trouble=trouble))).status
    assert (
        status.message == "promotion 'to-ft-v1-1' rolls out 'ft_v1.1'; QuotaExceeded: pods are refused: exceeded quota"
    )


@pytest.mark.row("D47")
def test_a_policy_that_does_not_own_the_deployment_judges_nothing_of_it() -> None:
    status = decide(view(policy(PolicyStatus()), SERVED, versions=(BASE, TUNED), now=NOW, rivals=("older",))).status
    seen = [find(status.conditions, kind) for kind in ("InSync", "Available")]
    assert [(c.status, c.reason) for c in seen if c] == [("Unknown", "DeploymentTaken")] * 2


@pytest.mark.row("D47")
def test_a_refused_apply_is_said_once() -> None:
    status = refused(view(policy(live(BASE)), SERVED), "argocd", "conflict").status
    ready = find(status.conditions, "Ready")
    assert ready is not None
    assert status.message == ready.message


@pytest.mark.row("D47")
def test_pods_that_are_missing_come_before_a_hold() -> None:
    ill = deployment(keys(BASE), available=0, trouble=Problem("Unschedulable", "no node takes the pod"))
    message = look(HELD, ill).status.message
    assert message.index("Unschedulable") < message.index("held (RolledBack)")


@pytest.mark.row("D47")
def test_promotions_that_wait_are_counted_and_the_oldest_says_why() -> None:
    busy = deployment(keys(BASE), updated=1)
    first, second = promotion("ft_v1.1", "base_v1", age=600), promotion("ft_v1.1", "base_v1", name="again", age=30)
    status = look(live(BASE), busy, second, first).status
    assert status.message == "2 promotions wait (the oldest, 'to-ft-v1-1', for NotSettled)"
    assert status.since == NOW - seconds(600)
    assert look(live(BASE), busy, first).status.message == "1 promotion waits ('to-ft-v1-1', for NotSettled)"


@pytest.mark.row("D47")
def test_a_burst_of_promotions_is_not_counted_one_by_one() -> None:
    busy = deployment(keys(BASE), updated=1)
    many = [promotion("ft_v1.1", "base_v1", name=f"p{number:03}", age=1000 - number) for number in range(300)]
    status = look(live(BASE), busy, *many[:10]).status
    assert status.message.startswith("more than 9 promotions wait")
    assert look(status, busy, *many).status == status


@pytest.mark.row("D47")
def test_a_flight_is_followed_from_phase_to_phase() -> None:
    world = running(BASE, TUNED)
    world.ask(promotion("ft_v1.1", "base_v1"), promotion("ft_v1.1", "base_v1", name="next", age=10))
    seen: dict[str, set[Any]] = {}
    for _ in range(40):
        world.turn()
        status = world.policy.status
        if status.in_flight is not None:
            seen.setdefault(status.message, set()).add(status.since)
            assert status.since == status.in_flight.phase_since
        world.now += seconds(5)
    assert next(iter(seen)) == "promotion 'to-ft-v1-1' rolls out 'ft_v1.1'; 1 promotion waits ('next', for its end)"
    assert any("watches 'ft_v1.1' for 60 s" in message for message in seen)
    assert all(len(moments) == 1 for moments in seen.values())
    assert (world.policy.status.message, world.policy.status.since) == ("", None)


@pytest.mark.row("D47")
def test_a_suspension_is_since_it_is_said() -> None:
    status = look(live(BASE), SERVED, later=10, suspend=True).status
    assert status.message == "suspended; set spec.suspend to false to go on"
    assert status.since == NOW + seconds(10)
    again = look(status, SERVED, later=100, suspend=True)
    assert (again.status, again.actions) == (status, ())


@pytest.mark.row("D47")
def test_a_summary_fits_its_field() -> None:
    long = held(live(BASE), "x", "External", "w" * 5000, NOW)
    status = look(long, None).status
    assert len(status.message) <= 1024
    command = held(live(BASE), "x", "External", "w" * 900 + "; these wait: " + "c" * 300, NOW)
    assert look(command, None).status.message.endswith("; ...")
