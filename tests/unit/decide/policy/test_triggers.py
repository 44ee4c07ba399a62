"""What a policy fires by volume, what keeps it from firing, and what is said of either."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.figures import Figure
from finetune_operator.api.names import fired_run_name
from finetune_operator.api.policy_status import Hold
from finetune_operator.api.run import RunSpec
from finetune_operator.api.triggers import RunTrigger, Triggers, VolumeTrigger
from finetune_operator.decide.decision import CreateRun
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.policy.refusal import say_refused
from finetune_operator.decide.policy.scan import basis_now
from finetune_operator.decide.policy.triggers.memory import made
from finetune_operator.decide.refusal import Refusal
from unit.decide.policy.trigger_world import BASE, HOUR, NOW, VOLUME, Made, TriggerWorld, counts, judged
from unit.decide.policy.world import base, tuned

COOL_DOWN = timedelta(seconds=21_600)


@pytest.mark.row("D140")
def test_a_policy_without_triggers_fires_nothing_and_says_so() -> None:
    world = TriggerWorld(triggers=None)
    world.settle()
    assert (world.made, world.due) == ([], ("False", "NoTriggers", ""))


@pytest.mark.row("D141")
def test_it_fires_once_enough_samples_are_new() -> None:
    world = TriggerWorld(counted=counts(49))
    world.settle()
    assert world.made == []
    assert world.due == ("False", "NotEnoughNewSamples", "49 of 50 new samples; next look at 2026-11-22 12:00 UTC")
    world.counted = counts(50)
    world.settle()
    name = fired_run_name(
        "invoice-fields", namespace="ml", listing="pool-1", base=BASE.spec.artifact.sha256, attempt=1, rebuilds=False
    )
    assert [made for made, _ in world.made] == [name]
    assert world.due[:2] == ("True", "Fired")
    assert [event.reason for event in world.emitted] == ["Fired"]
    fired = [(m.metric, dict(m.labels)) for m in world.metrics if m.metric == "finetune_runs_fired"]
    assert fired == [("finetune_runs_fired", {"namespace": "ml", "model": "invoice-fields", "kind": "Volume"})]


@pytest.mark.row("R200")
def test_a_fired_run_says_why_it_was_made_with_what_was_counted() -> None:
    world = TriggerWorld(counted=counts(52, outside=61, corrected=3, held_out=5))
    world.settle()
    spec = world.runs[world.newest].spec
    assert spec.trigger is not None
    assert (spec.trigger.kind, spec.trigger.requester) == ("Volume", "FineTunePolicy invoice-fields")
    assert spec.trigger.reason == "52 new samples, and 50 are enough"
    assert spec.trigger.figures == tuple(
        Figure(name=name, value=value)
        for name, value in (("new", "52"), ("corrected", "3"), ("outside", "61"), ("heldOut", "5"))
    )
    assert (spec.policy, spec.base_version, spec.suspend) == ("invoice-fields", "base_v1", False)


@pytest.mark.row("D142")
@pytest.mark.parametrize(
    ("counted", "reason", "words"),
    [
        (None, "NotScanned", "were not counted yet; the condition Scanned says what keeps it"),
        (
            counts(at=NOW - timedelta(days=4)),
            "ScanStale",
            "older than 3 intervals; the condition Scanned says what keeps it",
        ),
        (
            counts(outside=49),
            "PoolTooSmall",
            "49 of 50 samples that the base does not know, which spec.minPoolSamples asks for; next look at ",
        ),
    ],
)
def test_it_fires_by_no_count_that_is_none_to_go_by(counted: Any, reason: str, words: str) -> None:
    world = TriggerWorld(counted=counted, scans=False)
    world.settle()
    assert (world.made, world.due[:2]) == ([], ("False", reason))
    assert words in world.due[2]


@pytest.mark.row("D142")
def test_a_count_from_before_a_run_was_judged_fires_nothing() -> None:
    """What that run had is not new any more, and the count still has it."""
    world = TriggerWorld()
    before = basis_now(world.unscanned())
    world.counted = counts(51, listing="pool-2", basis=before)
    world.set_status(judged=(judged("first"),))
    world.settle()
    assert (world.made, world.due[1]) == ([], "NotScanned")
    assert "judged runs changed since the scan" in world.due[2]
    world.counted = counts(51, listing="pool-2")
    world.settle()
    assert len(world.made) == 1


@pytest.mark.row("D143")
def test_a_model_without_a_base_fires_nothing() -> None:
    world = TriggerWorld(versions=(tuned(verdict=None),))
    world.settle()
    assert (world.made, world.due[1]) == ([], "BaseNotFound")


@pytest.mark.row("D144")
@pytest.mark.parametrize("brake", ["Suspended", "OnHold", "PolicyNotReady"])
def test_what_stands_in_the_way_keeps_everything_from_firing_until_it_is_gone(brake: str) -> None:
    world = TriggerWorld()
    hold = Hold(by="x", reason="External", message="somebody wrote the keys", since=NOW)
    match brake:
        case "Suspended":
            world.edit(suspend=True)
        case "OnHold":
            world.set_status(hold=hold)
        case _:
            world.edit(pod_templates=replace(world.policy.spec.pod_templates, evaluate="missing"))
    world.wait(HOUR)
    assert (world.made, world.due[:2]) == ([], ("False", brake))
    world.edit(suspend=False, pod_templates=replace(world.policy.spec.pod_templates, evaluate=None))
    world.set_status(hold=None)
    world.settle()
    assert len(world.made) == 1


@pytest.mark.row("D145")
@pytest.mark.parametrize("phase", ["", "Pending", "Training", "Suspended", "Evaluating"])
def test_a_run_that_is_not_judged_keeps_the_next_from_being_fired(phase: str) -> None:
    """What it trains on is still counted as new: whoever made it."""
    world = TriggerWorld(others=(("by-hand", phase),))
    world.settle()
    assert (world.made, world.due[:2]) == ([], ("False", "RunUnderway"))
    assert f"'by-hand' ({phase or 'new'})" in world.due[2]
    assert ("spec.suspend" in world.due[2]) == (phase == "Suspended")
    world.others = ()
    world.settle()
    assert len(world.made) == 1


@pytest.mark.row("D146")
def test_the_cool_down_counts_from_the_newest_run_that_was_fired() -> None:
    world = TriggerWorld()
    world.settle()
    world.end(world.newest, "Judged")
    world.counted = counts(50, listing="pool-2")
    world.wait(COOL_DOWN - timedelta(minutes=5))
    assert len(world.made) == 1
    assert world.due[1:] == ("CoolingDown", "cooling down until 18:00 UTC, 21600 s after the last run")
    world.wait(timedelta(minutes=5))
    assert len(world.made) == 2


@pytest.mark.row("D146")
def test_a_week_has_no_more_runs_than_it_may() -> None:
    world = TriggerWorld(triggers=Triggers(volume=VolumeTrigger(), cooldown_seconds=0, max_runs_per_week=3))
    for n in range(5):
        world.counted = counts(50, listing=f"pool-{n}")
        world.wait(HOUR)
        if world.runs[world.newest].outcome == "Underway":
            world.end(world.newest, "Judged")
    assert len(world.made) == 3
    assert world.due[1] == "WeeklyLimit"
    assert "next one at 2026-11-28 12:05 UTC" in world.due[2]
    world.wait(timedelta(days=7) - 5 * HOUR, HOUR)
    assert len(world.made) == 3
    world.wait(HOUR)
    assert len(world.made) == 4


@pytest.mark.row("D147")
def test_the_status_remembers_a_run_before_it_is_made_and_a_crash_in_between_makes_it_once() -> None:
    world = TriggerWorld()
    world.look(acts=False)
    assert (world.made, [entry.outcome for entry in world.fired]) == ([], ["Planned"])
    world.settle()
    assert len(world.made) == 1
    assert [(entry.outcome, entry.run_uid) for entry in world.fired] == [("Underway", "uid-1")]
    assert world.runs[world.newest].spec.base_version == "base_v1"
    writes = world.writes
    world.wait(HOUR)
    assert (len(world.made), world.writes) == (1, writes), "at rest nothing is written"


@pytest.mark.row("D148")
def test_a_run_that_was_remembered_is_not_made_during_a_hold_or_a_suspension_that_came_since() -> None:
    world = TriggerWorld()
    world.look(acts=False)
    world.edit(suspend=True)
    world.wait(HOUR)
    assert (world.made, world.due[1]) == ([], "Suspended")
    world.edit(suspend=False)
    world.settle()
    assert len(world.made) == 1


@pytest.mark.row("D150")
def test_a_draft_is_suspended_and_there_is_one_at_a_time() -> None:
    world = TriggerWorld(triggers=Triggers(volume=VolumeTrigger(), start="Suspended", cooldown_seconds=0))
    world.settle()
    assert world.runs[world.newest].spec.suspend
    world.counted = counts(80, listing="pool-2")
    world.wait(HOUR)
    assert len(world.made) == 1


@pytest.mark.row("D151")
def test_a_run_in_review_or_over_silences_nothing() -> None:
    world = TriggerWorld(triggers=Triggers(volume=VolumeTrigger(), cooldown_seconds=0))
    world.settle()
    world.end(world.newest, "Judged")
    world.counted = counts(50, listing="pool-2")
    world.wait(HOUR)
    assert [entry.outcome for entry in world.fired] == ["Judged", "Underway"]


@pytest.mark.row("D152")
@pytest.mark.parametrize("lost", [False, True], ids=["remembered", "status lost"])
def test_what_was_fired_is_not_fired_again_whatever_became_of_the_run(lost: bool) -> None:
    world = TriggerWorld()
    world.settle()
    name = world.newest
    if lost:
        world.end(name, "Judged")
        world.set_status(fired=())
    else:
        del world.runs[name]
    world.wait(timedelta(days=8), HOUR)
    assert len(world.made) == 1
    assert (world.due[1], name in world.due[2]) == ("FiredBefore", True)
    assert [entry.run for entry in world.fired] == [name]


@pytest.mark.row("D152")
def test_a_version_tells_of_a_run_when_status_and_run_are_lost() -> None:
    world = TriggerWorld()
    world.settle()
    version = tuned()
    assert version.spec.lineage is not None
    lineage = replace(version.spec.lineage, run=world.newest)
    world.versions = (BASE, replace(version, spec=replace(version.spec, lineage=lineage)))
    world.runs.clear()
    world.set_status(fired=())
    world.wait(timedelta(days=8), HOUR)
    assert (len(world.made), world.due[1]) == (1, "FiredBefore")


@pytest.mark.row("D152")
def test_another_base_is_another_run_of_the_same_pool() -> None:
    world = TriggerWorld(triggers=Triggers(volume=VolumeTrigger(), cooldown_seconds=0))
    world.settle()
    world.end(world.newest, "Judged")
    world.versions = (base("base_v2"),)
    world.settle()
    assert len(world.made) == 2
    assert world.runs[world.newest].spec.base_version == "base_v2"


@pytest.mark.row("D153")
def test_a_failed_run_is_tried_again_three_times_each_time_after_twice_the_pause() -> None:
    world = TriggerWorld()
    world.settle()
    pauses = []
    for _ in range(3):
        ended = world.now
        world.end(world.newest, "Failed")
        tries = len(world.made)
        assert world.due[1] == "TriedAgainLater"
        while len(world.made) == tries:
            world.wait(HOUR, HOUR)
        pauses.append((world.now - ended) / HOUR)
    assert pauses == [6, 12, 24]
    world.end(world.newest, "Failed")
    world.wait(timedelta(days=20), HOUR)
    assert len(world.made) == 4
    assert world.due[:2] == ("False", "FailedRepeatedly")
    assert "FailedRepeatedly" in [event.reason for event in world.emitted]
    assert "no run is fired" in world.policy.status.message
    assert [entry.attempt for entry in world.fired] == [1, 2, 3, 4]
    world.counted = counts(51, listing="pool-2")
    world.settle()
    assert len(world.made) == 5


@pytest.mark.row("D153")
def test_tries_go_on_from_the_highest_that_is_known_where_those_before_it_are_lost() -> None:
    world = TriggerWorld()
    world.settle()
    for tries in (1, 2):
        world.end(world.newest, "Failed")
        while len(world.made) == tries:
            world.wait(HOUR, HOUR)
    first, second, third = (name for name, _ in world.made)
    world.end(third, "Failed")
    for name in (first, second):
        del world.runs[name]
    world.set_status(fired=())
    world.wait(timedelta(days=8), HOUR)
    known = {"namespace": "ml", "listing": "pool-1", "base": BASE.spec.artifact.sha256, "rebuilds": False}
    assert [name for name, _ in world.made][3:] == [fired_run_name("invoice-fields", attempt=4, **known)]  # type: ignore[arg-type]


@pytest.mark.row("D153")
def test_a_try_that_was_deleted_is_not_tried_again() -> None:
    world = TriggerWorld()
    world.settle()
    world.end(world.newest, "Failed")
    world.wait(7 * HOUR)
    assert len(world.made) == 2
    del world.runs[world.newest]
    world.wait(timedelta(days=8), HOUR)
    assert (len(world.made), world.due[1]) == (2, "FiredBefore")


@pytest.mark.row("D154")
@pytest.mark.parametrize("wrong_by", [-HOUR, HOUR, timedelta(days=400)])
def test_a_clock_that_was_wrong_brakes_for_no_longer_than_once_more(wrong_by: timedelta) -> None:
    world = TriggerWorld(wrong_by=wrong_by)
    world.settle()
    world.end(world.newest, "Judged")
    world.wrong_by = timedelta()
    world.counted = counts(50, listing="pool-2")
    world.wait(2 * COOL_DOWN, HOUR)
    assert len(world.made) == 2


@pytest.mark.row("D155")
def test_a_run_that_the_api_server_refuses_is_said_in_due_and_the_policy_stays_ready() -> None:
    world = TriggerWorld()
    world.look(acts=False)
    seen = world.seen()
    decision = decide(seen)
    action = next(action for action in decision.actions if isinstance(action, CreateRun))
    said = say_refused(seen, decision, Refusal("QuotaExceeded", "exceeded quota: runs", action, NOW))
    states = {c.type: (c.status, c.reason) for c in said.status.conditions}
    assert states["Due"] == ("False", "QuotaExceeded")
    assert states["Ready"] == ("True", "Operational")


@pytest.mark.row("D171")
def test_a_run_that_is_not_made_yet_and_whose_pool_is_too_small_by_now_is_forgotten() -> None:
    world = TriggerWorld(counted=counts(50, outside=60))
    world.look(acts=False)
    assert world.due[:2] == ("True", "Firing")
    world.edit(min_pool_samples=80)
    world.settle()
    assert (world.made, world.fired) == ([], ())
    assert world.due[:2] == ("False", "PoolTooSmall")
    assert world.due[2].startswith("60 of 80 samples that the base does not know, which spec.minPoolSamples asks for")
    world.counted = counts(70, outside=80)
    world.settle()
    assert len(world.made) == 1


@pytest.mark.row("D142")
def test_a_holdout_that_holds_nothing_out_would_be_refused_by_the_run_so_nothing_is_fired() -> None:
    world = TriggerWorld(counted=counts(60, outside=60))
    world.edit(data=replace(world.policy.spec.data, pool=replace(world.policy.spec.data.pool, holdout=Decimal("0.2"))))
    world.settle()
    assert (world.made, world.due[:2]) == ([], ("False", "PoolTooSmall"))
    assert world.due[2].startswith(
        "0 samples are held out (holdout 0.2), so nothing would be measured on; verify pages of more documents"
    )
    world.counted = counts(60, outside=60, held_out=1)
    world.settle()
    assert len(world.made) == 1


@pytest.mark.row("D155")
def test_due_says_fired_only_when_the_run_is_there() -> None:
    world = TriggerWorld()
    for _ in range(2):
        world.look(acts=False)  # the API server answers 409 or 500 to its making
        assert world.due[:2] == ("True", "Firing")
        assert "it is not there yet" in world.due[2]
    world.settle()
    assert world.due == ("True", "Fired", f"run '{world.newest}' (Volume), try 1: 50 new samples, and 50 are enough")


@pytest.mark.row("D156")
def test_the_newest_are_remembered_and_one_that_is_open_is_never_forgotten() -> None:
    world = TriggerWorld(triggers=Triggers(volume=VolumeTrigger(), cooldown_seconds=0, max_runs_per_week=28))
    for n in range(40):
        world.counted = counts(50, listing=f"pool-{n}")
        world.wait(timedelta(hours=7), HOUR)
        if n < 39:
            world.end(world.newest, "Judged")
            world.runs.clear()
    assert len(world.made) == 40
    assert [entry.run for entry in world.fired] == [name for name, _ in world.made][-32:]
    assert world.fired[-1].is_open


@pytest.mark.row("D170")
def test_a_run_that_was_made_and_is_gone_before_anybody_looked_is_deleted() -> None:
    world = TriggerWorld()
    world.look(acts=False)
    (entry,) = world.fired
    status = made(world.policy.status, entry.run, "uid-1", world.now)
    assert made(status, entry.run, "uid-2", world.now) == status
    assert made(status, "another", "uid-2", world.now) == status
    world.set_status(fired=status.fired)
    assert [(e.outcome, e.run_uid, e.reason) for e in world.fired] == [("Underway", "uid-1", entry.reason)]
    world.wait(timedelta(days=8), HOUR)
    assert (world.made, world.due[1]) == ([], "FiredBefore")
    assert [(e.outcome, e.reason) for e in world.fired] == [("Deleted", "")]


@pytest.mark.row("D171")
@pytest.mark.parametrize("meanwhile", ["judged", "counted", "triggers gone"])
def test_a_run_that_could_not_be_made_for_a_while_is_not_made_when_nothing_asks_for_it_any_more(meanwhile: str) -> None:
    world = TriggerWorld()
    world.look(acts=False)
    world.set_status(hold=Hold(by="x", reason="External", message="", since=NOW))
    world.wait(HOUR)
    if meanwhile == "triggers gone":
        world.edit(triggers=None)
        world.settle()
        world.edit(triggers=VOLUME)
    world.counted = counts(0 if meanwhile == "judged" else 49, listing="pool-2")
    world.set_status(hold=None)
    world.wait(timedelta(days=1), HOUR)
    assert (world.made, world.fired, world.due[1]) == ([], (), "NotEnoughNewSamples")


@pytest.mark.row("D171")
def test_a_run_that_could_not_be_made_for_a_while_waits_for_a_persons_run_and_for_a_count() -> None:
    world = TriggerWorld()
    world.look(acts=False)
    world.others = (("by-hand", "Training"),)
    world.settle()
    assert (world.made, world.due[1]) == ([], "RunUnderway")
    world.others, world.counted = (), None
    world.settle()
    assert (world.made, world.due[1]) == ([], "NotScanned")
    world.counted = counts(50)
    world.settle()
    assert len(world.made) == 1


@pytest.mark.row("D173")
def test_a_memory_from_before_a_run_was_made_does_not_make_it_again_when_a_version_tells_of_it() -> None:
    world = TriggerWorld()
    world.look(acts=False)
    backup, version = world.fired, tuned()
    world.settle()
    assert version.spec.lineage is not None
    lineage = replace(version.spec.lineage, run=world.newest)
    world.versions = (BASE, replace(version, spec=replace(version.spec, lineage=lineage)))
    world.runs.clear()
    world.set_status(fired=backup)
    world.wait(timedelta(days=8), HOUR)
    assert len(world.made) == 1
    assert [entry.outcome for entry in world.fired] == ["Judged"]


@pytest.mark.row("D172")
def test_what_only_runs_tell_of_never_makes_the_policy_forget_what_it_fired() -> None:
    world = TriggerWorld(triggers=Triggers(volume=VolumeTrigger(), cooldown_seconds=0))
    world.settle()
    name = world.newest
    del world.runs[name]
    world.wait(HOUR)
    trigger = RunTrigger(kind="Volume")
    for n in range(40):
        world.runs[f"forged-{n}"] = Made(
            RunSpec(policy="invoice-fields", trigger=trigger), world.now, f"u-{n}", "Judged"
        )
    world.wait(timedelta(days=20), HOUR)
    assert (len(world.made), len(world.fired)) == (1, 32)
    assert name in [entry.run for entry in world.fired]
    writes = world.writes
    world.wait(HOUR)
    assert world.writes == writes


@pytest.mark.row("D152")
def test_what_runs_tell_of_counts_as_of_when_they_were_made() -> None:
    """A status that is lost is no reason to cool down once more, or to have no run for a week."""
    world = TriggerWorld(triggers=Triggers(volume=VolumeTrigger(), max_runs_per_week=1))
    world.settle()
    world.end(world.newest, "Judged")
    world.now += timedelta(days=7)
    world.set_status(fired=())
    world.counted = counts(50, listing="pool-2", at=world.now)
    world.settle()
    assert len(world.made) == 2


@pytest.mark.row("D146")
def test_the_cool_down_counts_from_the_newest_of_several() -> None:
    world = TriggerWorld()
    for n in range(3):
        world.counted = counts(50, listing=f"pool-{n}")
        tries = len(world.made)
        while len(world.made) == tries:
            world.wait(HOUR, HOUR)
        world.end(world.newest, "Judged")
    moments = [at for _, at in world.made]
    assert [b - a for a, b in pairwise(moments)] == [COOL_DOWN, COOL_DOWN]


@pytest.mark.row("D174")
def test_due_says_that_a_draft_waits_for_somebody_and_that_a_late_count_is_due() -> None:
    world = TriggerWorld(triggers=Triggers(volume=VolumeTrigger(), start="Suspended"))
    world.settle()
    world.others = ((world.newest, "Suspended"),)
    world.settle()
    assert world.due[:2] == ("True", "Fired")
    assert world.due[2].endswith("; a suspended one goes on when its spec.suspend is false, or delete it")
    late = TriggerWorld(counted=counts(34, at=NOW - timedelta(days=2)), scans=False)
    late.settle()
    assert late.due[2] == "34 of 50 new samples; the next look is due"
