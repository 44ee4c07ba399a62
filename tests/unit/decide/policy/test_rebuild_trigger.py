"""The trigger of rebuilds: when a new base is made, what keeps it back, and that a judged one is not tried again."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import FileReference
from finetune_operator.api.model_version import Lineage, ModelVersion
from finetune_operator.api.names import fired_run_name, is_fired_run_name
from finetune_operator.api.policy import RebuildRules
from finetune_operator.api.run import Verdict
from finetune_operator.api.triggers import FiredOutcome, ScheduleTrigger, Triggers, VolumeTrigger
from finetune_operator.decide.policy.scan import basis_now, wants_scan
from finetune_operator.decide.views import Problem, TemplateView
from unit.decide.policy.trigger_world import BASE, HOUR, NOW, TriggerWorld, counts
from unit.decide.policy.world import base, live, tuned

AT_2000 = RebuildRules(pool_samples=2000)
DIGEST = BASE.spec.artifact.sha256
DAY = timedelta(days=1)


def world(outside: int = 2000, new: int = 0, **more: Any) -> TriggerWorld:
    return TriggerWorld(**{"counted": counts(new, outside=outside), "rebuild": AT_2000, "triggers": None, **more})


def verified(there: TriggerWorld, outside: int, new: int = 0) -> None:
    """People verify more: the pool is another one."""
    there.counted = counts(new, outside=outside, listing=f"pool of {outside}")
    there.settle()


def recorded(
    outside: int | None,
    policy: str = "invoice-fields",
    of: str = DIGEST,
    verdict: Verdict = "Reject",
    by: str = "by-hand",
) -> ModelVersion:
    """A version that a rebuild made, live or not."""
    lineage = Lineage(
        run=by, run_uid="uid", policy=policy, base_sha256=of,
        inputs=FileReference(uri="file:///plan.json", sha256="b" * 64), spec_hash="s", inputs_hash="i", pool=2500,
        outside=outside, seed=1, created_at=NOW,
    )  # fmt: skip
    return tuned("base_v2", verdict, type="Base", lineage=lineage)


@pytest.mark.row("D210")
def test_it_fires_a_rebuild_once_enough_is_outside_the_base() -> None:
    there = world(1999)
    there.settle()
    assert there.made == []
    assert there.due == ("False", "NotEnoughOutside", "1999 of 2000 samples outside base_v1 for a new base")
    verified(there, 2000)
    spec = there.runs[there.newest].spec
    assert (spec.mode, spec.base_version, spec.suspend) == ("Rebuild", "base_v1", False)
    assert spec.trigger is not None
    assert (spec.trigger.kind, spec.trigger.requester) == ("Rebuild", "FineTunePolicy invoice-fields")
    assert spec.trigger.reason == "2000 samples outside base_v1, and 2000 are enough for a new base"
    assert there.due[:2] == ("True", "Fired")
    assert [dict(m.labels)["kind"] for m in there.metrics if m.metric == "finetune_runs_fired"] == ["Rebuild"]


@pytest.mark.row("D210")
def test_its_name_is_made_from_the_mode_too() -> None:
    there = world()
    there.settle()
    known = {"namespace": "ml", "listing": "pool-1", "base": DIGEST, "attempt": 1}
    rebuild, fine_tune = (fired_run_name("invoice-fields", **known, rebuilds=mode) for mode in (True, False))  # type: ignore[arg-type]
    assert there.newest == rebuild != fine_tune
    assert is_fired_run_name(rebuild, "invoice-fields")


@pytest.mark.row("D210")
def test_a_policy_without_a_number_of_samples_makes_no_rebuild_and_scans_for_none() -> None:
    there = world(5000, rebuild=RebuildRules())
    there.settle()
    assert (there.made, there.due[1], wants_scan(there.policy)) == ([], "NoTriggers", False)
    there.edit(rebuild=AT_2000)
    assert wants_scan(there.policy)


@pytest.mark.row("D210")
def test_a_crash_after_it_is_remembered_makes_it_once() -> None:
    there = world()
    there.look(acts=False)
    assert [(entry.kind, entry.outcome, entry.outside) for entry in there.fired] == [("Rebuild", "Planned", 2000)]
    there.settle()
    there.settle()
    assert len(there.made) == 1


@pytest.mark.row("D211")
@pytest.mark.parametrize("outcome", ["Judged", "Deleted"])
def test_a_judged_rebuild_is_not_tried_again_until_a_tenth_more_is_outside(outcome: FiredOutcome) -> None:
    there = world(2001)
    there.settle()
    there.end(there.newest, outcome)
    there.wait(DAY, HOUR)
    verified(there, 2200)
    there.wait(8 * DAY, HOUR)
    assert len(there.made) == 1
    assert there.due[1:] == (
        "RebuiltBefore",
        "2200 samples outside base_v1; a rebuild was judged by 2001, and the next one comes by 2202, a tenth more",
    )
    verified(there, 2202)
    assert len(there.made) == 2


@pytest.mark.row("D211")
def test_it_is_not_tried_again_either_when_status_and_runs_are_lost() -> None:
    there = world(2100, versions=(BASE, recorded(2000)))
    there.wait(DAY, HOUR)
    assert (there.made, there.due[1]) == ([], "RebuiltBefore")
    verified(there, 2200)
    assert len(there.made) == 1


@pytest.mark.row("D211")
@pytest.mark.parametrize(
    "version",
    [recorded(2000, policy="other"), recorded(2000, of="e" * 64), recorded(None)],
    ids=["policy", "base", "tune"],
)
def test_what_another_policy_or_base_made_and_a_fine_tune_hold_up_no_rebuild(version: ModelVersion) -> None:
    there = world(2000, versions=(BASE, version))
    there.settle()
    assert len(there.made) == 1


@pytest.mark.row("D211")
def test_of_several_judged_ones_the_largest_counts() -> None:
    there = world(2400, versions=(BASE, recorded(2300), recorded(2000)))
    there.settle()
    assert (there.made, there.due[1]) == ([], "RebuiltBefore")
    verified(there, 2530)
    assert len(there.made) == 1


@pytest.mark.row("D211")
def test_what_was_fired_of_another_base_holds_up_no_rebuild_of_this_one() -> None:
    there = world(2000)
    there.settle()
    there.end(there.newest, "Judged")
    there.wait(DAY, HOUR)
    there.versions = (base("base_v3"),)
    verified(there, 2001)
    assert len(there.made) == 2


@pytest.mark.row("D268")
def test_what_a_judged_rebuild_drew_counts_and_not_what_a_scan_had_counted_before_it() -> None:
    """One scan that counted a million would be the last word: no rebuild would ever be fired again."""
    there = world(1_000_000)
    there.settle()
    there.end(there.newest, "Judged")
    there.versions = (BASE, recorded(2001, by=there.newest), recorded(1900, by=there.newest))
    there.wait(DAY, HOUR)
    verified(there, 2201)
    assert (len(there.made), there.due[1]) == (1, "RebuiltBefore")
    assert "a rebuild was judged by 2001, and the next one comes by 2202" in there.due[2]
    verified(there, 2202)
    assert len(there.made) == 2


@pytest.mark.row("D271")
@pytest.mark.parametrize("outcome", ["Judged", "Deleted"])
def test_a_rebuild_that_left_no_version_holds_up_the_next_one_by_no_more_than_a_scan_finds(
    outcome: FiredOutcome,
) -> None:
    """Somebody deleted it, or it took over what was judged before: nobody says what it drew."""
    there = world(1_000_000)
    there.settle()
    there.end(there.newest, outcome)
    there.wait(DAY, HOUR)
    verified(there, 2001)
    verified(there, 2201)
    assert (len(there.made), there.due[1]) == (1, "RebuiltBefore")
    assert "a rebuild was judged by 2001, and the next one comes by 2202" in there.due[2]
    verified(there, 2202)
    assert len(there.made) == 2


@pytest.mark.row("D211")
def test_a_rebuild_that_failed_is_tried_again_as_a_fine_tune_is() -> None:
    there = world(2000)
    for number in range(1, 5):
        there.wait(4 * DAY, HOUR)
        assert len(there.made) == number
        there.end(there.newest, "Failed")
    there.wait(8 * DAY, HOUR)
    assert (len(there.made), there.due[1]) == (4, "FailedRepeatedly")


@pytest.mark.row("D212")
def test_a_rebuild_in_review_or_going_live_holds_up_the_next_one() -> None:
    there = world(rebuilding=("by-hand",))
    there.settle()
    assert (there.made, there.due[1]) == ([], "RebuildUnderway")
    assert "'by-hand'" in there.due[2]
    there.rebuilding = ()
    there.settle()
    assert len(there.made) == 1


@pytest.mark.row("D212")
@pytest.mark.parametrize("what", ["template", "no template", "start"])
def test_no_rebuild_is_fired_that_could_not_start(what: str) -> None:
    there = world()
    match what:
        case "template":
            bad = TemplateView("gpu-trainer", "hash", Problem("NoTrainerContainer", "no container"))
            there.rebuild_template = bad
        case "no template":
            there.rebuild_template = None
        case _:
            there.edit(rebuild=replace(AT_2000, start=BASE.spec.checkpoint))
    there.settle()
    assert (there.made, there.due[1]) == ([], "PolicyNotReady")
    assert there.due[2].startswith("no rebuild could start: ")


@pytest.mark.row("D212")
def test_the_brakes_of_all_triggers_hold_rebuilds_up() -> None:
    there = world(triggers=Triggers(volume=VolumeTrigger(), cooldown_seconds=7200), new=60, outside=100)
    there.settle()
    there.end(there.newest, "Judged")
    verified(there, 2000)
    assert (len(there.made), there.due[1]) == (1, "CoolingDown")
    there.wait(2 * HOUR)
    assert [there.runs[name].spec.mode for name, _ in there.made] == ["FineTune", "Rebuild"]
    there.end(there.newest, "Judged")
    for change in ({"suspend": True}, {"suspend": False}):
        there.edit(**change)
        there.settle()
    assert len(there.made) == 2


@pytest.mark.row("D213")
def test_a_rebuild_goes_before_a_fine_tune_and_a_fine_tune_goes_on_where_none_is_due() -> None:
    there = world(2000, new=60, triggers=Triggers(volume=VolumeTrigger(), cooldown_seconds=0))
    there.settle()
    assert [there.runs[name].spec.mode for name, _ in there.made] == ["Rebuild"]
    there.end(there.newest, "Judged")
    verified(there, 2060, new=60)
    assert [there.runs[name].spec.mode for name, _ in there.made] == ["Rebuild", "FineTune"]


@pytest.mark.row("D213")
def test_what_both_miss_is_said() -> None:
    there = world(1240, new=34, triggers=Triggers(volume=VolumeTrigger(), schedule=ScheduleTrigger(cron="0 2 * * 0")))
    there.settle()
    assert there.due[1] == "NotEnoughNewSamples"
    assert "34 of 50 new samples" in there.due[2]
    assert there.due[2].endswith("; 1240 of 2000 samples outside base_v1 for a new base")


@pytest.mark.row("D213")
def test_a_rebuild_that_somebody_has_to_mend_is_said_first() -> None:
    there = world(2000, triggers=Triggers(volume=VolumeTrigger(), cooldown_seconds=0))
    for _ in range(4):
        there.wait(DAY, HOUR)
        there.end(there.newest, "Failed")
    there.wait(DAY, HOUR)
    assert (len(there.made), there.due[1]) == (4, "FailedRepeatedly")
    assert "0 of 50 new samples" in there.due[2]


@pytest.mark.row("D214")
def test_once_the_new_base_is_live_counts_of_the_old_one_are_none() -> None:
    there = world(2000)
    there.settle()
    before = basis_now(there.unscanned()).base
    made = recorded(2000, verdict="Pass")
    new = replace(made, spec=replace(made.spec, inputs=FileReference(uri="file:///p", sha256="c" * 64)))
    there.versions = (BASE, new)
    assert basis_now(there.unscanned()).base == before, "made, and not live yet"
    there.policy = replace(there.policy, status=live(new))
    assert basis_now(there.unscanned()).base == new.spec.artifact.sha256 != before


@pytest.mark.row("D215")
def test_a_rebuild_that_is_planned_and_wanted_no_more_is_forgotten() -> None:
    there = world()
    there.look(acts=False)
    there.edit(suspend=True)
    there.settle()
    assert there.made == []
    there.edit(suspend=False, rebuild=RebuildRules(pool_samples=5000))
    there.settle()
    assert (there.made, there.fired) == ([], ())


@pytest.mark.row("D215")
def test_a_rebuild_that_is_planned_of_another_base_is_forgotten() -> None:
    there = world()
    there.look(acts=False)
    there.edit(suspend=True)
    there.settle()
    there.versions = (base("base_v3"),)
    there.edit(suspend=False)
    there.settle()
    assert [there.runs[name].spec.base_version for name, _ in there.made] == ["base_v3"]
