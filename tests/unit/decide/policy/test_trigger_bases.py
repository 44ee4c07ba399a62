"""From which base a fired run starts: none is made of one that is the default no more, nor one that can only fail."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy import RebuildRules
from finetune_operator.api.policy_status import Hold, Rejected
from finetune_operator.api.triggers import ScheduleTrigger, Triggers, VolumeTrigger
from unit.decide.policy.trigger_world import BASE, HOUR, NOW, VOLUME, TriggerWorld, counts
from unit.decide.policy.world import live, live_version, tuned

APPENDED = (*BASE.spec.classes, "appended")
NIGHTLY = Triggers(schedule=ScheduleTrigger(cron="0 2 * * *"), cooldown_seconds=0)
MADE = tuned("base_v2", type="Base")
"""A new base, which was live before."""


def of_new_base(version: str = "ft_v2.1", **spec: Any) -> ModelVersion:
    """A fine-tune of a new base that has a class more."""
    made = tuned(version, baseline="base_v2", base="base_v2", **spec)
    assert made.spec.lineage is not None
    lineage = replace(made.spec.lineage, base_sha256=MADE.spec.artifact.sha256)
    return replace(made, spec=replace(made.spec, lineage=lineage, classes=APPENDED))


def reject(there: TriggerWorld, version: ModelVersion) -> None:
    no = Rejected(version=version.spec.version, sha256=version.spec.artifact.sha256, by="ann", at=NOW)
    there.set_status(rejected=(no,))


@pytest.mark.row("D231")
def test_no_run_is_fired_that_would_lose_fields_of_what_is_live() -> None:
    """A rejected base is live through a fine-tune of it: each run from the older one would end for that."""
    tune = of_new_base()
    new_base = replace(MADE, spec=replace(MADE.spec, classes=APPENDED))
    there = TriggerWorld(versions=(BASE, new_base, tune), serves=tune)
    there.edit(classes=APPENDED)
    reject(there, new_base)
    there.wait(HOUR)
    assert (there.made, there.due[1]) == ([], "ClassListDiffers")
    words = "ft_v2.1 is live and has appended, which base_v1 has not, and so no fine-tune of it"
    assert words in there.due[2]
    assert f"no run is fired: {words}" in there.policy.status.message
    there.set_status(rejected=())
    there.settle()
    assert [there.runs[name].spec.base_version for name, _ in there.made] == ["base_v2"]


@pytest.mark.row("D231")
def test_no_rebuild_is_fired_while_the_policy_lacks_fields_of_what_is_live() -> None:
    """The policy was restored from before an edit: each rebuild would end for that (R267)."""
    made = replace(MADE, spec=replace(MADE.spec, classes=APPENDED))
    there = TriggerWorld(
        versions=(BASE, made), serves=made, counted=counts(0, outside=2000), rebuild=RebuildRules(pool_samples=2000),
        triggers=None,
    )  # fmt: skip
    there.wait(HOUR)
    assert (there.made, there.due[1]) == ([], "ClassListDiffers")
    assert "append appended to the policy's spec.classes" in there.due[2]
    there.edit(classes=APPENDED)
    there.settle()
    assert [there.runs[name].spec.mode for name, _ in there.made] == ["Rebuild"]


@pytest.mark.row("D231")
def test_no_rebuild_is_fired_that_cannot_be_measured_beside_what_is_live() -> None:
    """The policy was restored from before an edit, and edited otherwise: each rebuild would end for that (R276)."""
    made = replace(MADE, spec=replace(MADE.spec, classes=APPENDED))
    there = TriggerWorld(
        versions=(BASE, made), serves=made, counted=counts(0, outside=2000), rebuild=RebuildRules(pool_samples=2000),
        triggers=None,
    )  # fmt: skip
    there.edit(classes=(*BASE.spec.classes, "another"))
    there.wait(HOUR)
    assert (there.made, there.due[1]) == ([], "ClassListDiffers")
    words = f"base_v2 is live and has appended where policy '{there.policy.metadata.name}' has another"
    assert words in there.due[2]


@pytest.mark.row("D232")
@pytest.mark.parametrize("by", ["volume", "schedule"])
def test_a_run_that_could_not_be_made_for_a_while_is_made_from_what_is_the_base_by_then(by: str) -> None:
    there = TriggerWorld(versions=(BASE, MADE), triggers=NIGHTLY if by == "schedule" else VOLUME)
    there.set_status(last_good=(live_version(BASE), live_version(MADE)))
    while not there.fired:
        there.look(acts=False)
        there.now += timedelta(minutes=5)
    assert [entry.base_version for entry in there.fired] == ["base_v2"]
    there.set_status(hold=Hold(by="x", reason="External", message="", since=NOW))
    reject(there, MADE)
    there.wait(HOUR)
    there.set_status(hold=None)
    there.wait(HOUR)
    assert [there.runs[name].spec.base_version for name, _ in there.made] == ["base_v1"]
    kind = there.runs[there.newest].spec.trigger
    assert (kind and kind.kind) == ("Schedule" if by == "schedule" else "Volume")


@pytest.mark.row("D171")
def test_a_window_whose_run_was_forgotten_fires_nothing_where_nothing_is_new_any_more() -> None:
    there = TriggerWorld(triggers=NIGHTLY)
    while not there.fired:
        there.look(acts=False)
        there.now += timedelta(minutes=5)
    there.set_status(hold=Hold(by="x", reason="External", message="", since=NOW))
    there.counted = counts(0)
    there.wait(HOUR)
    there.set_status(hold=None)
    there.settle()
    assert (there.made, there.fired) == ([], ())
    there.counted = counts(5, listing="pool-2")
    there.wait(HOUR)
    assert there.made == [], "its window is over"


@pytest.mark.row("D250")
@pytest.mark.parametrize("by", ["volume", "schedule"])
def test_a_run_that_could_not_be_made_for_a_while_is_not_made_where_it_would_lose_fields_by_then(by: str) -> None:
    """People promoted a fine-tune of a rejected base meanwhile: the base that it names is the default still."""
    tune = of_new_base()
    new_base = replace(MADE, spec=replace(MADE.spec, classes=APPENDED))
    there = TriggerWorld(versions=(BASE, new_base, tune), triggers=NIGHTLY if by == "schedule" else VOLUME)
    there.edit(classes=APPENDED)
    reject(there, new_base)
    while not there.fired:
        there.look(acts=False)
        there.now += timedelta(minutes=5)
    there.set_status(hold=Hold(by="x", reason="External", message="", since=NOW))
    there.wait(HOUR)
    there.serves = tune
    there.set_status(live=live(tune).live, hold=None)
    there.wait(HOUR)
    # A window that finds that is over, as in D158.
    assert (there.made, there.due[1]) == ([], "ClassListDiffers" if by == "volume" else "WaitingForWindow")
    there.set_status(rejected=())
    there.settle()
    assert [there.runs[name].spec.base_version for name, _ in there.made] == (["base_v2"] if by == "volume" else [])


@pytest.mark.row("D171")
def test_a_run_of_a_schedule_that_went_while_it_could_not_be_made_is_not_made() -> None:
    there = TriggerWorld(triggers=NIGHTLY)
    while not there.fired:
        there.look(acts=False)
        there.now += timedelta(minutes=5)
    there.set_status(hold=Hold(by="x", reason="External", message="", since=NOW))
    there.wait(HOUR)
    there.edit(triggers=Triggers(volume=VolumeTrigger(new_samples=10_000)))
    there.set_status(hold=None)
    there.wait(HOUR)
    assert (there.made, there.fired, there.due[1]) == ([], (), "NotEnoughNewSamples")
