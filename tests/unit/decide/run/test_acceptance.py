"""What a run waits for before it starts, and what it can never start with; each with reason and remedy."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import Condition
from finetune_operator.api.policy_status import PolicyStatus, Quarantined
from finetune_operator.decide.serving import SERVING_DIFFERS
from finetune_operator.decide.views import Problem
from house.pages import DOCS, reasons_of_tables
from unit.decide.run.results import BASE, CLASSES, LIVE, START, prepare_result
from unit.decide.run.world import World, base, deleted, policy, run, template

NO_LABEL = Problem("PodTemplateNotLabelled", "label it finetune-operator.io/pod-template=true")
NO_CONTAINER = Problem("NoTrainerContainer", "name a container trainer")


def unready(reason: str, message: str) -> World:
    world = World()
    world.set_policy(conditions=(Condition(type="Ready", status="False", reason=reason, message=message),))
    return world


def unseen() -> World:
    return World(policy=updated(policy(), status=PolicyStatus()))


def restored() -> World:
    status = policy().status
    return World(policy=updated(policy(), status=updated(status, observed_generation=0)))


def going() -> World:
    return World(policy=updated(policy(), metadata=deleted(policy().metadata)))


WAITS: dict[str, tuple[Callable[[], World], str, str]] = {
    "no policy": (lambda: World(policy=None), "PolicyNotFound", "'invoice-fields'"),
    "policy is being deleted": (going, "PolicyNotFound", "create it"),
    "policy not looked at yet": (unseen, "PolicyNotReady", "waiting"),
    "policy status of another time": (restored, "PolicyNotReady", "waiting"),
    "policy not ready": (lambda: unready("DeploymentNotManaged", "label it"), "PolicyNotReady", "label it"),
    "no base at all": (lambda: World(versions=()), "BaseNotFound", "finetune-trainer import"),
    "unknown base": (lambda: World(run=run(base_version="base_v7")), "BaseNotFound", "known bases: base_v1"),
    "no cpu template": (lambda: World(cpu_template=None), "PodTemplateNotFound", "'cpu-trainer'"),
    "no train template": (lambda: World(train_template=None), "PodTemplateNotFound", "'gpu-trainer'"),
    "unlabelled template": (
        lambda: World(cpu_template=template("cpu-trainer", NO_LABEL)),
        "PodTemplateNotLabelled",
        "finetune-operator.io/pod-template",
    ),
    "template without trainer": (
        lambda: World(train_template=template("gpu-trainer", NO_CONTAINER)),
        "NoTrainerContainer",
        "trainer",
    ),
}


@pytest.mark.row("R6")
@pytest.mark.row("R7")
@pytest.mark.row("R10")
@pytest.mark.parametrize("case", WAITS)
def test_a_run_waits_for_what_people_can_still_bring(case: str) -> None:
    make, reason, remedy = WAITS[case]
    world = make()
    world.settle()
    assert world.phase() == "Pending"
    assert world.condition("Accepted") == ("False", reason)
    assert remedy in world.message("Accepted")
    assert remedy in world.status.message
    assert world.snapshot is None
    assert world.events() == [reason]


def fine_tuned() -> World:
    return World(run=run(base_version="ft_v1.1"), versions=(base(), base("ft_v1.1", LIVE, type="FineTuned")))


def quarantined() -> World:
    world = World(run=run(base_version="base_v1"))
    world.set_policy(quarantined=(Quarantined(version="base_v1", sha256=BASE, reason="Unhealthy", since=START),))
    return world


REFUSED: dict[str, tuple[Callable[[], World], str, str]] = {
    "fine-tuned base": (fine_tuned, "BaseIsFineTuned", "name a base: base_v1"),
    "quarantined base": (quarantined, "BaseQuarantined", "another base"),
    "other classes": (lambda: World(versions=(base(classes=("a",)),)), "ClassListDiffers", "missing in the base"),
    "other order": (lambda: World(versions=(base(classes=CLASSES[::-1]),)), "ClassListDiffers", "order"),
}


@pytest.mark.row("R8")
@pytest.mark.row("R9")
@pytest.mark.parametrize("case", REFUSED)
def test_a_run_fails_at_once_on_what_can_never_work(case: str) -> None:
    make, reason, remedy = REFUSED[case]
    world = make()
    world.settle()
    assert world.phase() == "Failed"
    assert world.condition("Accepted") == ("False", reason)
    assert world.condition("Finished") == ("True", reason)
    assert remedy in world.status.message
    assert world.jobs == ()


def test_the_page_of_reasons_tells_what_a_run_waits_for_from_what_ends_it() -> None:
    page = (DOCS / "operate" / "reasons.md").read_text()
    waits, ends = (
        reasons_of_tables(page.split(f"## A run {words} before it ")[1].split("\n## ")[0])
        for words in ("waits", "ends")
    )
    assert {SERVING_DIFFERS, *(reason for _, reason, _ in WAITS.values())} <= waits
    assert {reason for _, reason, _ in REFUSED.values()} <= ends
    assert waits & ends == {"ResourcesInvalid"}, "of its own it ends a run, with a PodTemplate's it waits"


@pytest.mark.row("R7")
def test_a_run_starts_when_what_it_waited_for_is_there() -> None:
    world = World(versions=())
    world.settle()
    world.versions = (base(),)
    world.settle()
    assert world.phase() == "Preparing"
    assert world.condition("Accepted") == ("True", "Accepted")


def test_the_newest_base_is_the_default() -> None:
    world = World(versions=(base("base_v10", "aa" * 32), base("base_v9", "bb" * 32), base("base_v2", "cc" * 32)))
    world.settle()
    assert world.snapshot is not None
    assert world.snapshot.base.version == "base_v10"


def test_a_base_of_another_model_is_none_of_ours() -> None:
    world = World(versions=(base(model="letters"),))
    world.settle()
    assert world.condition("Accepted") == ("False", "BaseNotFound")


@pytest.mark.row("R10")
def test_a_template_that_breaks_later_blocks_the_next_job_and_touches_none() -> None:
    world = World()
    world.settle()
    world.start("prepare")
    world.train_template = template("gpu-trainer", NO_LABEL)
    world.settle()
    assert world.condition("Accepted") == ("True", "Accepted")
    assert not world.job("prepare").deleting
    world.complete("prepare", prepare_result())
    assert world.phase() == "Training"
    assert world.condition("Accepted") == ("False", "PodTemplateNotLabelled")
    assert world.jobs_made("train") == 0
    world.train_template = template("gpu-trainer")
    world.settle()
    assert world.jobs_made("train") == 1
    assert world.condition("Accepted") == ("True", "Accepted")


@pytest.mark.row("R4")
@pytest.mark.parametrize("who", ["run", "policy"])
def test_a_run_that_is_suspended_from_the_start_makes_nothing(who: str) -> None:
    world = World(run=run(suspend=who == "run"))
    world.set_rules(suspend=who == "policy")
    world.settle()
    assert world.phase() == "Suspended"
    assert who == "run" or "FineTunePolicy" in world.status.message
    assert world.jobs == ()
    world.edit(suspend=False)
    world.set_rules(suspend=False)
    world.settle()
    assert world.phase() == "Preparing"
