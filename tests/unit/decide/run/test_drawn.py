"""What `prepare` is told of judged runs, and which counts of a draw are taken."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import FileReference, find
from finetune_operator.api.model_version import Lineage, ModelVersion, VersionEvidence
from finetune_operator.api.policy import Data, Pool, Source
from finetune_operator.api.policy_status import Judged
from finetune_operator.api.run import RunStatus
from finetune_operator.api.value import parse, plain
from finetune_operator.decide import limits
from finetune_operator.decide.decision import CreateJob
from unit.decide.run.results import BASE, START, evaluate_result, prepare_result, sha
from unit.decide.run.world import World, base


def entry(n: int, minutes: int = 0) -> Judged:
    plan = FileReference(uri=f"file:///artifacts/{n}/plan.json", sha256=sha(f"plan {n}"))
    return Judged(run=f"run-{n}", run_uid=f"uid-{n}", inputs=plan, at=START + timedelta(minutes=minutes or n))


def version_of(judged: Judged, policy: str = "invoice-fields") -> ModelVersion:
    """The version that a judged run made."""
    lineage = Lineage(
        run=judged.run, run_uid=judged.run_uid, policy=policy, base_sha256=BASE, inputs=judged.inputs,
        spec_hash="s", inputs_hash="i", pool=60, seed=1, created_at=judged.at,
    )  # fmt: skip
    evidence = VersionEvidence(digest=f"sha256:{sha('e')}", verdict="Reject", gates=())
    name = f"ft_v1.{judged.run.removeprefix('run-')}"
    return base(name, sha(name), type="FineTuned", base="base_v1", lineage=lineage, evidence=evidence)


def told(world: World) -> list[list[str]]:
    """Which plans each Job of `prepare` was told."""
    inputs = [json.loads(a.step_inputs) for a in world.history if isinstance(a, CreateJob) and a.step == "prepare"]
    return [[plan["uri"].split("/")[-2] for plan in said["judged"]] for said in inputs]


def after_draw(world: World | None = None, **changes: Any) -> World:
    """A world after `prepare` reported those counts."""
    world = world or World()
    world.settle()
    world.start("prepare")
    world.complete("prepare", prepare_result(**changes))
    return world


def crash(world: World) -> None:
    """Plan the first attempt, and lose its Job."""
    while not world.status.attempts:
        world.decide(crash=True)
    assert told(world) == []


class TestTold:
    @pytest.mark.row("R150")
    def test_prepare_is_told_the_plans_of_judged_runs_oldest_first(self) -> None:
        world = World(versions=(base(), version_of(entry(2))))
        world.set_policy(judged=(entry(1),))
        world.judged_runs = (entry(3),)
        world.settle()
        assert told(world) == [["1", "2", "3"]]
        assert world.status.attempts[0].judged == tuple(entry(n).inputs.sha256 for n in (1, 2, 3))

    @pytest.mark.row("R150")
    def test_the_newest_are_told_wherever_they_stand_and_each_plan_once(self) -> None:
        world = World(versions=(base(), *(version_of(entry(n)) for n in range(1, 7))))
        same_plan = updated(entry(9), inputs=entry(8).inputs)
        world.set_policy(judged=tuple(entry(n) for n in range(1, 9)))
        world.judged_runs = (same_plan, entry(10))
        world.settle()
        assert told(world) == [["3", "4", "5", "6", "7", "8", "10"]]
        assert len(world.status.attempts[0].judged) <= limits.JUDGED

    @pytest.mark.row("R150")
    def test_of_the_other_policys_runs_nothing_is_told(self) -> None:
        world = World(versions=(base(), version_of(entry(1), policy="prod")))
        world.settle()
        assert told(world) == [[]]

    @pytest.mark.row("R151")
    def test_what_was_told_stands_with_the_attempt_when_its_job_is_made_after_a_crash(self) -> None:
        world = World()
        world.set_policy(judged=(entry(1),))
        crash(world)
        world.set_policy(judged=(entry(1), entry(2)))
        world.settle()
        assert told(world) == [["1"]]

    @pytest.mark.row("R151")
    def test_it_is_known_by_its_version_when_the_policy_has_forgotten_it(self) -> None:
        world = World(versions=(base(), version_of(entry(1))))
        crash(world)
        world.set_policy(judged=tuple(entry(n) for n in range(2, 10)))
        world.settle()
        assert told(world) == [["1"]]

    @pytest.mark.row("R151")
    def test_what_collects_a_lost_result_was_told_the_same(self) -> None:
        world = World()
        world.set_policy(judged=(entry(1),))
        world.settle()
        world.start("prepare")
        world.set_policy(judged=(entry(1), entry(2)))
        world.complete("prepare", None)
        assert told(world) == [["1"], ["1"]]

    @pytest.mark.row("R151")
    def test_another_attempt_is_told_what_was_judged_by_then(self) -> None:
        world = World()
        world.settle()
        world.start("prepare")
        world.set_policy(judged=(entry(1),))
        world.fail("prepare", 1, {"class": "Internal", "reason": "Internal", "message": "m", "remedy": "r"})
        world.wait(60)
        world.settle()
        assert told(world) == [[], ["1"]]


PLAN = FileReference(uri="file:///models/plan.json", sha256=sha("the base's plan"))


def knowing_base(holdout: str = "0") -> World:
    """A world whose base has a plan, and where a run was judged before."""
    world = World(versions=(base(inputs=PLAN),))
    pool = Pool(uri="file:///data/pool", holdout=Decimal(holdout))
    world.set_rules(data=Data(anchor=Source(uri="file:///data/anchor"), pool=pool))
    world.set_policy(judged=(entry(1),))
    return world


CONTRADICTIONS: dict[str, dict[str, int]] = {
    "more in the mix than outside and old": {"train": 1261},
    "less in the mix than outside and old": {"train": 1259},
    "more outside than may train": {"outside": 61, "train": 1261},
    "more new than may train": {"new": 61},
    "more outside than is not held out": {"heldOut": 5, "outside": 56, "train": 1176, "old": 1120, "new": 4},
    "more new than is not held out": {"heldOut": 5, "outside": 55, "train": 1155, "old": 1100, "new": 56},
    "more corrected than new": {"new": 3, "corrected": 4},
    "more old than the base knows": {"outside": 55, "train": 1155, "old": 1100, "anchor": 1094},
    "fewer outside than are needed": {"outside": 49, "train": 1029, "old": 980},
}
NO_COUNTS: dict[str, int] = {"a negative count": -1, "no count of any pool": 10**17}


class TestCounts:
    @pytest.mark.row("R152")
    @pytest.mark.parametrize("case", CONTRADICTIONS)
    def test_counts_that_contradict_each_other_are_not_taken(self, case: str) -> None:
        counts: dict[str, Any] = CONTRADICTIONS[case]
        if "heldOut" in counts:
            counts = counts | {"newSet": {"documents": 5, "boxes": 100, "fresh": 5}}
        (attempt,) = after_draw(knowing_base("0.1" if "heldOut" in counts else "0"), **counts).status.attempts
        assert (attempt.outcome, attempt.reason) == ("Failed", "ResultContradictory"), attempt.message
        assert ";" not in attempt.message, "the case is about one thing"

    @pytest.mark.row("R152")
    @pytest.mark.parametrize("case", NO_COUNTS)
    def test_what_is_no_count_is_not_taken(self, case: str) -> None:
        (attempt,) = after_draw(withdrawn=NO_COUNTS[case]).status.attempts
        assert (attempt.outcome, attempt.reason) == ("Failed", "ResultInvalid"), attempt.message

    @pytest.mark.row("R152")
    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            ({"outside": 59, "train": 1239, "old": 1180}, "without plan"),
            ({"new": 59}, "nothing was judged"),
            ({"corrected": 1}, "nothing was judged"),
        ],
    )
    def test_without_a_plan_that_tells_nothing_is_known(self, counts: dict[str, Any], words: str) -> None:
        (attempt,) = after_draw(**counts).status.attempts
        assert (attempt.outcome, attempt.reason) == ("Failed", "ResultContradictory")
        assert words in attempt.message

    @pytest.mark.row("R152")
    def test_what_the_base_knows_of_the_pool_is_old(self) -> None:
        """A rebuilt base has a part of the pool in its plan; some of the rest were judged, some corrected since."""
        counts = {"pool": 100, "outside": 60, "new": 4, "corrected": 2, "fresh": 100, "withdrawn": 3, "anchor": 1160}
        inputs = after_draw(knowing_base(), **counts).status.inputs
        assert inputs is not None
        assert {key: getattr(inputs, key) for key in counts} == counts
        assert (inputs.held_out, inputs.old, inputs.train, inputs.val, inputs.test) == (0, 1200, 1260, 100, 200)

    @pytest.mark.row("R152")
    def test_the_condition_says_what_was_drawn_in_these_words(self) -> None:
        plain_words = find(after_draw().status.conditions, "Prepared")
        new_set = {"documents": 9, "boxes": 1000, "fresh": 9}
        counts = {"outside": 50, "heldOut": 10, "new": 4, "corrected": 2, "withdrawn": 3, "old": 1000, "train": 1050}
        words = find(after_draw(knowing_base("0.1"), **counts, newSet=new_set).status.conditions, "Prepared")
        assert plain_words is not None
        assert words is not None
        assert plain_words.message == (
            "60 samples in the pool: 60 new, 60 fresh, 0 held out; training on 1260: 60 outside the base and 1200 old "
            "ones, ratio 20"
        )
        assert words.message == (
            "60 samples in the pool: 4 new, 2 of them corrected, 60 fresh, 10 held out, 3 withdrawn before; training "
            "on 1050: 50 outside the base and 1000 old ones, ratio 20"
        )


def by_the_last_release(world: World) -> World:
    """Take from the status what the last release did not count."""
    status = plain(world.status)
    for key in ("outside", "corrected", "withdrawn", "val"):
        del status["inputs"][key]
    world.run = updated(world.run, status=parse(status, RunStatus))
    return world


@pytest.mark.row("R153")
def test_a_run_that_the_last_release_prepared_goes_on() -> None:
    world = by_the_last_release(World().trained())
    inputs = world.status.inputs
    assert inputs is not None
    assert (inputs.new, inputs.outside, inputs.corrected, inputs.withdrawn) == (60, None, None, None)
    world.start("evaluate")
    world.complete("evaluate", evaluate_result())
    assert world.status.verdict == "Pass"
    assert world.status.inputs == inputs, "what was not counted is not made up"
