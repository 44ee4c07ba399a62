"""What is counted of a policy: promotions by what became of them, and how long flights lasted."""

from collections import Counter

import pytest

from finetune_operator.controller.metrics import DOMAIN
from finetune_operator.decide.decision import RecordMetric
from finetune_operator.decide.policy.machine import decide, refused
from unit.decide.policy.world import NOW, base, deployment, keys, live, policy, promotion, running, seconds, tuned, view

BASE, TUNED = base(), tuned()
ASKED = promotion("ft_v1.1", "base_v1")


def test_a_promotion_is_counted_once_with_how_long_its_flight_lasted() -> None:
    world, recorded = running(BASE, TUNED), list[RecordMetric]()
    world.ask(ASKED)
    for _ in range(60):
        recorded += [a for a in decide(world.view()).actions if isinstance(a, RecordMetric)]
        world.turn()
        world.now += seconds(5)
    assert world.phase("to-ft-v1-1") == "Succeeded"
    labels = {"namespace": "ml", "deployment": "invoice-detector", "outcome": "Succeeded"}
    assert [(a.metric, a.labels) for a in recorded] == [
        ("finetune_promotions_ended", labels),
        ("finetune_flight_duration_seconds", labels),
    ]
    assert 60 < recorded[1].value < 120, "a rollout of ten seconds and a watch of sixty"


def test_a_refused_promotion_is_counted_without_a_flight() -> None:
    late = promotion("ft_v1.1", "ft_v1.9")
    decision = decide(view(policy(live(BASE)), deployment(keys(BASE)), late, versions=(BASE, TUNED)))
    assert [(a.metric, a.labels["outcome"]) for a in decision.actions if isinstance(a, RecordMetric)] == [
        ("finetune_promotions_ended", "Superseded")
    ]


def test_a_flight_that_ends_at_a_foreign_field_is_counted() -> None:
    flying = decide(view(policy(live(BASE)), deployment(keys(BASE)), ASKED, versions=(BASE, TUNED))).status
    ended = refused(view(policy(flying), deployment(keys(BASE)), now=NOW + seconds(9)), "argocd", "conflict")
    assert Counter((a.metric, a.value) for a in ended.actions if isinstance(a, RecordMetric)) == {
        ("finetune_promotions_ended", 1.0): 1,
        ("finetune_flight_duration_seconds", 9.0): 1,
    }


@pytest.mark.parametrize("name", ["finetune_promotions_ended", "finetune_flight_duration_seconds"])
def test_every_outcome_has_its_series(name: str) -> None:
    assert set(DOMAIN[name].closed["outcome"]) == {"Succeeded", "RolledBack", "Failed", "Superseded"}
