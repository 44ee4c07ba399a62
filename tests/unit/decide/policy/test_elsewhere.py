"""A policy that lost its memory, beside records of another namespace: restored from there, or copied from there."""

import pytest

from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.names import FIELD_MANAGER
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import PolicyStatus
from finetune_operator.api.record import Service, services
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.promotion.eligibility import was_live
from finetune_operator.decide.views import DeploymentView
from unit.decide.policy.pair import BASE, TUNED
from unit.decide.policy.world import (
    NOW,
    ModelDeployment,
    World,
    base,
    deployment,
    keys,
    policy,
    promotion,
    seconds,
    view,
    with_record,
)

EMPTY, ON_IT = deployment(available=0, updated=0), deployment(keys(BASE))


def good(version: ModelVersion, namespace: str) -> ModelVersion:
    """The version, which passed a watch two hours ago in that namespace."""
    return with_record(version, Service(good=NOW - seconds(7200), good_in=namespace))


def names(status: PolicyStatus) -> set[str]:
    return {entry.version for entry in status.last_good}


def looked(there: DeploymentView, versions: tuple[ModelVersion, ...], of: Policy | None = None) -> PolicyStatus:
    status = (of or policy()).status
    for _ in range(5):
        status = decide(view(policy(status), there, versions=versions)).status
    return status


@pytest.mark.row("D269")
def test_what_is_verified_again_after_a_restore_is_gone_back_to_beside_what_was_adopted_before() -> None:
    """What is adopted is good by its record, which must not say of itself then that it was good here."""
    waits, adopted = good(base(verified="Unknown"), "elsewhere"), good(TUNED, "elsewhere")
    target = ModelDeployment(now=NOW, keys=keys(TUNED), epoch=3, manager=FIELD_MANAGER)
    world = World(policy=policy(), target=target, versions=(waits, adopted))
    world.run(30)
    status = world.policy.status
    assert (status.hold is not None and status.hold.reason, names(status)) == ("Adopted", {"ft_v1.1"})
    assert world.versions == (waits, adopted)
    world.versions = (good(BASE, "elsewhere"), adopted)
    world.run(30)
    assert names(world.policy.status) == {"ft_v1.1", "base_v1"}
    world.ask(promotion("ft_v1.1", "ft_v1.1", name="keep", release_hold=True))
    world.run(30)
    assert (world.phase("keep"), world.policy.status.hold) == ("Succeeded", None)
    record = services(world.versions[1].metadata.annotations, TUNED.spec.artifact.sha256)["invoice-detector"]
    assert record.good_in == "ml", "a person stands for it"
    world.ask(promotion("base_v1", "ft_v1.1", name="back"))
    world.run(200)
    assert world.phase("back") == "Succeeded"


@pytest.mark.row("D270")
@pytest.mark.parametrize("there", [EMPTY, ON_IT], ids=["Recalled", "Adopted"])
def test_a_copy_that_comes_before_what_was_good_here_is_good_no_more_once_that_is_there(there: DeploymentView) -> None:
    """Versions come back in any order."""
    own, copied = good(BASE, "ml"), good(TUNED, "trial")
    first = looked(there, (copied,))
    assert names(first) == {"ft_v1.1"}, "all of it may be a backup"
    later = looked(there, (copied, own), policy(first))
    assert names(later) == {"base_v1"}
    assert not was_live(policy(later), copied)
    assert names(looked(there, (own,), policy(later))) == {"base_v1"}


@pytest.mark.row("D270")
def test_the_same_bytes_that_were_good_here_stay_good_beside_a_copy_of_them() -> None:
    own, copied = good(BASE, "ml"), good(base("base_v7", artifact=BASE.spec.artifact), "trial")
    first = looked(EMPTY, (own,))
    assert names(looked(EMPTY, (own, copied), policy(first))) == {"base_v1"}
