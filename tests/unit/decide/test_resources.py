"""Resources that no pod can have are known before a Job is made, as far as Kubernetes' rules for a container tell."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from finetune_operator.decide.resources import amount, impossible, misfit
from unit.decide.run.world import World, run, template


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        (2, "2"),
        ("500m", "0.5"),
        ("8Gi", "8589934592"),
        ("1.5", "1.5"),
        ("1e3", "1000"),
        ("2E", "2e18"),
        ("100k", "1e5"),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(quantity: str | int, number: str) -> None:
    assert amount(quantity) == Decimal(number)


@pytest.mark.parametrize("quantity", ["", "many", "1.2.3", "8gi", "1 Gi", None])
def test_what_is_no_quantity_is_none(quantity: Any) -> None:
    assert amount(quantity) is None


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"requests": {"memory": "8Gi"}, "limits": {"memory": "4Gi"}}, "requests 8Gi of memory, above its limit of 4Gi"),
    ({"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}, "above its limit of 1500m"),
    ({"limits": {"nvidia.com/gpu": "0.5"}}, "0.5 of nvidia.com/gpu is not whole"),
    ({"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}}, "both have to be equal"),
    ({"requests": {"hugepages-2Mi": "2Mi"}, "limits": {"hugepages-2Mi": "4Mi"}}, "both have to be equal"),
    ({"limits": {"gpu": 1}}, "'gpu' is no resource"),
]
POSSIBLE: list[dict[str, Any]] = [
    {"requests": {"memory": "4Gi"}, "limits": {"memory": "4096Mi"}},
    {"requests": {"cpu": "0.5", "memory": "1Gi"}},
    {"limits": {"nvidia.com/gpu": "1"}},
    {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": 1}},
    {"limits": {"nvidia.com/mig-1g.5gb": 2, "ephemeral-storage": "10Gi"}},
    {"requests": {"nvidia.com/gpu": "1"}},
    {},
]


@pytest.mark.parametrize(("resources", "words"), IMPOSSIBLE)
def test_what_a_run_can_never_have_is_a_problem_of_its_own(resources: dict[str, Any], words: str) -> None:
    problem = impossible(resources)
    assert problem is not None
    assert words in problem.message
    assert problem.reason == "ResourcesInvalid"


@pytest.mark.parametrize("resources", POSSIBLE)
def test_what_some_template_can_carry_is_none(resources: dict[str, Any]) -> None:
    assert impossible(resources) is None


def test_what_does_not_go_with_the_template_names_it_and_can_be_mended_there() -> None:
    problem = misfit({"limits": {"memory": "4Gi"}}, {"requests": {"memory": "8Gi"}}, name="gpu-trainer")
    assert problem is not None
    assert "PodTemplate 'gpu-trainer'" in problem.message
    assert misfit({"limits": {"memory": "8Gi"}}, {"requests": {"memory": "8Gi"}}, name="gpu-trainer") is None
    assert misfit({}, {"requests": {"nvidia.com/gpu": 1}}, name="gpu-trainer") is not None
    assert misfit({"limits": {"nvidia.com/gpu": 1}}, {"requests": {"nvidia.com/gpu": 1}}, name="gpu-trainer") is None
    assert misfit({"requests": {"cpu": 2}, "limits": {"cpu": 1}}, None, name="the API server judges it") is None


@pytest.mark.row("R52")
@pytest.mark.parametrize(("resources", "words"), IMPOSSIBLE)
def test_a_run_that_asks_for_what_no_pod_can_have_ends_before_any_job(resources: dict[str, Any], words: str) -> None:
    world = World(run=run(resources=resources))
    world.settle()
    assert (world.phase(), world.jobs) == ("Failed", ())
    assert world.condition("Accepted") == ("False", "ResourcesInvalid")
    assert words in world.status.message
    assert "ResourcesInvalid" in world.events()


@pytest.mark.row("R52")
def test_a_run_whose_resources_do_not_go_with_the_template_waits_until_it_is_mended() -> None:
    small = replace(template("gpu-trainer"), resources={"limits": {"memory": "4Gi"}})
    world = World(run=run(resources={"requests": {"memory": "8Gi"}}), train_template=small)
    world.settle()
    assert world.phase() == "Pending"
    assert world.condition("Accepted") == ("False", "ResourcesInvalid")
    world.train_template = replace(small, resources={"limits": {"memory": "16Gi"}})
    world.settle()
    assert world.phase() == "Preparing"
