"""Which runs a policy remembers as judged: from runs and versions, of its own alone, and bounded."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import FileReference
from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy_status import Judged, PolicyStatus
from finetune_operator.api.run import Ruling, Verdict
from finetune_operator.decide import limits
from finetune_operator.decide.judgements import judged, newest
from finetune_operator.decide.policy.machine import decide
from unit.decide.policy.world import LINEAGE, MODEL, NOW, base, deployment, keys, live, policy, tuned, view

BASE = base()
PLAN = FileReference(uri="file:///artifacts/ml/uid-first/plan.json", sha256="0" * 64)
FIRST = Judged(run="first", run_uid="uid-first", inputs=LINEAGE.inputs, at=NOW)


def entry(n: int, *, minutes: int | None = None) -> Judged:
    """The n-th judged run, judged n minutes after the first one unless told otherwise."""
    at = NOW + timedelta(minutes=n if minutes is None else minutes)
    plan = FileReference(uri=f"file:///artifacts/{n}/plan.json", sha256=f"{n:064x}")
    return Judged(run=f"run-{n}", run_uid=f"uid-{n}", inputs=plan, at=at)


def version(
    verdict: Verdict | None = "Pass", decided: datetime | None = None, model: str = MODEL, **lineage: Any
) -> ModelVersion:
    """A version that a run made."""
    made = tuned(verdict=verdict, model=model, lineage=replace(LINEAGE, **lineage))
    if decided is None or made.spec.evidence is None:
        return made
    decision = Ruling(verdict="Reject", by="ann", at=decided, reason="blurred")
    return replace(made, spec=replace(made.spec, evidence=replace(made.spec.evidence, decision=decision)))


def seen(*versions: ModelVersion, status: PolicyStatus | None = None, runs: tuple[Judged, ...] = ()) -> PolicyStatus:
    """What the policy knows after a look."""
    status = live(BASE) if status is None else status
    return decide(view(policy(status), deployment(keys(BASE)), versions=(BASE, *versions), judged=runs)).status


@pytest.mark.row("D90")
def test_a_run_that_is_there_and_was_judged_is_remembered() -> None:
    assert seen(runs=(FIRST,)).judged == (FIRST,)


@pytest.mark.row("D90")
@pytest.mark.parametrize("verdict", ["Pass", "Review", "Reject"])
def test_a_run_is_remembered_by_its_version_whatever_the_gates_said(verdict: Verdict) -> None:
    assert seen(version(verdict)).judged == (FIRST,)


@pytest.mark.row("D90")
@pytest.mark.parametrize(
    "nothing",
    [version("Error"), version(None), base("base_v2"), tuned(lineage=None)],
    ids=["gates that could not judge", "no evidence", "a base", "no lineage"],
)
def test_what_was_not_judged_leaves_no_trace(nothing: ModelVersion) -> None:
    assert seen(nothing).judged == ()


@pytest.mark.row("D90")
def test_it_outlives_the_run_and_the_version_that_it_was_taken_from() -> None:
    status = seen(version(run_uid="uid-other"), runs=(FIRST,))
    assert len(status.judged) == 2
    assert seen(status=status).judged == status.judged


@pytest.mark.row("D90")
def test_it_is_taken_once_and_comes_to_rest() -> None:
    status = seen(version(), version(), runs=(FIRST, FIRST))
    assert status.judged == (FIRST,)
    assert seen(version(), status=status, runs=(FIRST,)) == status


@pytest.mark.row("D90")
def test_when_a_person_decides_its_time_moves_on_and_never_back() -> None:
    later = NOW + timedelta(days=1)
    status = seen(runs=(FIRST,))
    status = seen(version("Review", decided=later), status=status, runs=(FIRST,))
    assert status.judged == (replace(FIRST, at=later),)
    assert seen(status=status, runs=(FIRST,)).judged == status.judged


@pytest.mark.row("D90")
def test_the_plan_that_was_known_first_stands() -> None:
    """A version that took a candidate over names the plan that this was trained by, which lists the same."""
    known = replace(FIRST, inputs=PLAN)
    assert seen(version(), status=replace(live(BASE), judged=(known,))).judged == (known,)


@pytest.mark.row("D90")
def test_beyond_the_bound_the_oldest_leave_for_good() -> None:
    many = tuple(entry(n) for n in range(limits.JUDGED + 4))
    status = seen(runs=many)
    assert status.judged == many[4:]
    assert seen(status=status, runs=many) == status
    late = entry(99, minutes=5)
    assert late in seen(status=status, runs=(late,)).judged, "judged later than others that are remembered"


@pytest.mark.row("D91")
def test_a_policy_that_lost_its_status_takes_it_from_versions_and_runs() -> None:
    lost = seen(version(), status=PolicyStatus(), runs=(entry(1),))
    assert [known.run_uid for known in lost.judged] == ["uid-first", "uid-1"]


@pytest.mark.row("D91")
def test_versions_say_it_again_in_the_order_in_which_they_were_decided() -> None:
    late, early = NOW + timedelta(hours=2), NOW + timedelta(hours=1)
    lost = seen(
        version("Review", decided=late, run_uid="b"),
        version("Review", run_uid="expired"),
        version("Review", decided=early, run_uid="c"),
        status=PolicyStatus(),
    )
    assert [known.run_uid for known in lost.judged] == ["expired", "c", "b"]


@pytest.mark.row("D92")
def test_what_was_judged_for_another_policy_is_new_for_this_one() -> None:
    assert seen(version(policy="prod"), version(model="receipts")).judged == ()


@pytest.mark.row("D93")
@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": FileReference(uri="https://elsewhere/plan.json?x=1", sha256="0" * 64)},
        {"inputs": FileReference(uri="file:///" + "p" * 2048, sha256="0" * 64)},
        {"inputs": FileReference(uri="file:///plan.json", sha256="E" * 64)},
        {"inputs": FileReference(uri="file:///plan.json", sha256="")},
        {"run_uid": ""},
        {"run_uid": "u" * 65},
    ],
)
def test_what_no_step_could_be_told_is_not_remembered(wrong: dict[str, Any]) -> None:
    assert seen(version(**wrong)).judged == ()


@pytest.mark.row("D93")
def test_words_that_somebody_wrote_into_a_record_are_short_and_times_are_whole_seconds() -> None:
    odd = judged("r\n" * 99, "uid", PLAN, at=NOW.replace(microsecond=7, tzinfo=None))
    assert odd is not None
    assert (len(odd.run.encode()) <= limits.REVIEWED, "\n" in odd.run, odd.at) == (True, False, NOW)


@pytest.mark.row("D90")
def test_the_order_in_which_it_is_told_makes_no_difference() -> None:
    many = [entry(n) for n in range(limits.JUDGED + 4)]
    assert newest((), many) == newest((), reversed(many)) == newest(many[:3], many[3:])
