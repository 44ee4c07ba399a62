"""What the performance trigger makes of alerts that fire, and what it says where it fires nothing."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from finetune_operator.api.figures import Figure
from finetune_operator.api.meta import find
from finetune_operator.api.scan import WaitingPages
from finetune_operator.api.triggers import GOT_WORSE, PerformanceTrigger, ScheduleTrigger, Triggers, VolumeTrigger
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.signals import Alert, Alerts
from finetune_operator.decide.views import Problem
from unit.decide.policy.flight import at, served, watching
from unit.decide.policy.trigger_world import HOUR, TriggerWorld, counts

PERFORMANCE: Final = Triggers(performance=PerformanceTrigger())
LOW: Final = Alert("FinetuneFieldDetectionRateLow", "bankgiro", "base_v1", 2700)
REPORTS: Final = Alert("FinetuneUserReportedFailuresRising", seconds=60)
AWAY: Final = Problem("PrometheusUnreachable", "Prometheus does not answer: it cannot be connected to")


def world(*firing: Alert, new: int = 20, triggers: Triggers = PERFORMANCE, **changes: Any) -> TriggerWorld:
    made = TriggerWorld(triggers=triggers, counted=counts(new), alerts=Alerts(firing), **changes)
    made.settle()
    return made


def monitored(there: TriggerWorld) -> tuple[str, str, str] | None:
    condition = find(there.policy.status.conditions, "Monitored")
    return None if condition is None else (condition.status, condition.reason, condition.message)


@pytest.mark.row("D200")
def test_an_alert_that_fires_makes_one_run_that_says_which() -> None:
    there = world(LOW, replace_field(LOW, "amount"), REPORTS, new=24)
    assert len(there.made) == 1
    trigger = there.runs[there.newest].spec.trigger
    assert trigger is not None
    assert trigger.kind == "Performance"
    assert trigger.reason == (
        "alerts fire: FinetuneFieldDetectionRateLow (amount, bankgiro), FinetuneUserReportedFailuresRising; "
        "24 new samples, and 20 are enough"
    )
    assert trigger.figures[-2:] == (Figure(name="alerts", value="3"), Figure(name="alertSeconds", value="2700"))
    assert [figure.name for figure in trigger.figures[:2]] == ["new", "corrected"]
    assert there.due[:2] == ("True", "Fired")
    fired = [dict(m.labels)["kind"] for m in there.metrics if m.metric == "finetune_runs_fired"]
    assert fired == ["Performance"]
    assert monitored(there) == ("True", "PrometheusAnswers", "")


def replace_field(alert: Alert, field: str) -> Alert:
    return Alert(alert.name, field, alert.version, alert.seconds)


@pytest.mark.row("D200")
def test_it_fires_nothing_without_an_alert() -> None:
    there = world()
    there.wait(HOUR)
    assert there.made == []
    assert there.due[:2] == ("False", "NoAlertFires")
    assert there.due[2].startswith("no alert fires; 20 new samples; next look at ")


@pytest.mark.row("D201")
def test_below_the_minimum_it_asks_for_labels_until_they_are_there() -> None:
    there = world(LOW, new=4)
    assert there.made == []
    assert there.due[:2] == ("False", "LabelsNeeded")
    assert there.due[2].startswith(
        "alert fires: FinetuneFieldDetectionRateLow (bankgiro); 16 more verified samples start a run"
    )
    assert [event.reason for event in there.emitted] == ["LabelsNeeded"]
    assert "no run is fired: alert fires: " in there.policy.status.message
    there.counted = counts(19, listing="pool-2")
    there.settle()
    assert "1 more verified sample starts a run" in there.due[2]
    there.counted = counts(20, listing="pool-3")
    there.settle()
    assert len(there.made) == 1


@pytest.mark.row("D201")
@pytest.mark.parametrize(
    ("alert", "waiting", "words"),
    [
        (
            "total",
            WaitingPages(pages=47, fields=(3, 31)),
            "(total); field total: 31 pages reported or uncertain wait in production/; 16 more",
        ),
        (
            "total",
            WaitingPages(pages=1, fields=(0, 1)),
            "field total: 1 page reported or uncertain waits in production/; 16",
        ),
        (
            "number",
            WaitingPages(pages=9, fields=(0, 9)),
            "field number: 0 pages reported or uncertain wait in production/; 16",
        ),
        (
            "",
            WaitingPages(pages=47, fields=(3, 31)),
            "Low; 47 pages reported or uncertain wait in production/; 16 more",
        ),
        (
            "of old",
            WaitingPages(pages=47, fields=(3, 31)),
            "(of old); 47 pages reported or uncertain wait in production/; 16",
        ),
        ("total", WaitingPages(pages=47), "(total); 47 pages reported or uncertain wait in production/; 16 more"),
        ("total", None, "(total); 16 more verified samples start a run"),
    ],
    ids=["a field", "one page", "none of it", "no field", "no class", "counted without fields", "nothing captured"],
)
def test_it_says_what_to_label_next(alert: str, waiting: WaitingPages | None, words: str) -> None:
    there = TriggerWorld(triggers=PERFORMANCE, counted=counts(4, waiting=waiting))
    there.alerts = Alerts((replace_field(LOW, alert),))
    there.settle()
    assert words in there.due[2]


@pytest.mark.row("D202")
@pytest.mark.parametrize(
    ("alert", "words"),
    [
        (Alert(LOW.name, "bankgiro", "ft_v0.9", 9000), "no alert fires for what is live"),
        (Alert("FinetuneInferenceLatencyHigh", "", "base_v1", 9000), "no alert fires for what is live"),
        (Alert(LOW.name, "bankgiro", "base_v1", 599), "no alert has been so for 600 s yet"),
    ],
    ids=["of a version that went", "one that is not asked for", "not for so long"],
)
def test_an_alert_that_does_not_count_fires_nothing(alert: Alert, words: str) -> None:
    rules = Triggers(performance=PerformanceTrigger(for_seconds=600))
    there = world(alert, triggers=rules)
    assert there.made == []
    assert there.due[1:] == ("NoAlertFires", there.due[2])
    assert there.due[2].startswith(words)


@pytest.mark.row("D202")
def test_while_a_promotion_flies_no_alert_counts() -> None:
    """It is of what the promotion replaces."""
    of = watching()
    of = replace(of, spec=replace(of.spec, triggers=PERFORMANCE))
    decision = decide(at(30, of, served(updated=2, total=2), alerts=Alerts((LOW,))))
    due = find(decision.status.conditions, "Due")
    assert due is not None
    assert due.reason != "Fired"


@pytest.mark.row("D203")
@pytest.mark.parametrize("alerts", [AWAY, None], ids=["away", "not asked yet"])
def test_without_a_word_of_prometheus_it_fires_nothing_and_says_so(alerts: Problem | None) -> None:
    there = TriggerWorld(triggers=PERFORMANCE, counted=counts(500), alerts=alerts)
    there.wait(HOUR)
    assert there.made == []
    if alerts is not None:
        assert there.due[:2] == ("False", "PrometheusUnreachable")
        assert there.due[2].startswith(AWAY.message)
        assert monitored(there) == ("False", "PrometheusUnreachable", AWAY.message)
        assert AWAY.message in there.policy.status.message


@pytest.mark.row("D203")
def test_the_other_triggers_go_on_without_prometheus() -> None:
    both = Triggers(performance=PerformanceTrigger(), volume=VolumeTrigger())
    there = TriggerWorld(triggers=both, counted=counts(50), alerts=AWAY)
    there.settle()
    assert [run.spec.trigger.kind for run in there.runs.values() if run.spec.trigger] == ["Volume"]


@pytest.mark.row("D200")
def test_with_other_triggers_the_alert_is_what_is_said() -> None:
    both = Triggers(
        performance=PerformanceTrigger(), volume=VolumeTrigger(), schedule=ScheduleTrigger(cron="0 2 * * 0")
    )
    quiet = world(triggers=both)
    assert quiet.due[1] == "NotEnoughNewSamples"
    assert quiet.due[2].startswith("no alert fires; 20 of 50 new samples; next look at ")
    few = world(LOW, new=5, triggers=both)
    assert few.due[1] == "LabelsNeeded"
    loud = world(LOW, new=60, triggers=both)
    assert [run.spec.trigger.kind for run in loud.runs.values() if run.spec.trigger] == ["Performance"]


@pytest.mark.row("D200")
def test_cool_down_and_what_was_trained_brake_it_like_the_others() -> None:
    """An alert that goes on firing trains nothing twice, and nothing sooner."""
    there = world(LOW)
    there.end(there.newest, "Judged")
    there.wait(2 * HOUR)
    assert len(there.made) == 1
    assert there.due[1] == "FiredBefore"
    there.counted = counts(20, listing="pool-2")
    there.settle()
    assert there.due[1] == "CoolingDown"
    there.wait(5 * HOUR)
    assert len(there.made) == 2


@pytest.mark.row("D206")
def test_a_run_that_was_to_be_made_is_forgotten_when_its_alert_is_over() -> None:
    there = TriggerWorld(triggers=PERFORMANCE, counted=counts(20), alerts=Alerts((LOW,)))
    there.look(acts=False)
    assert [entry.outcome for entry in there.fired] == ["Planned"]
    there.alerts = Alerts()
    there.settle()
    assert (there.made, there.fired) == ([], ())


@pytest.mark.row("D206")
def test_a_prometheus_that_goes_away_takes_nothing_back() -> None:
    there = TriggerWorld(triggers=PERFORMANCE, counted=counts(20), alerts=Alerts((LOW,)))
    there.look(acts=False)
    there.alerts = AWAY
    there.settle()
    assert len(there.made) == 1


@pytest.mark.row("D204")
@pytest.mark.parametrize(
    ("alerts", "condition"),
    [
        (Alerts((LOW,), scraped=False, ruled=False), ("True", "PrometheusAnswers")),
        (Alerts(scraped=False, ruled=False), ("False", "NotScraped")),
        (Alerts(ruled=False), ("False", "RulesMissing")),
        (Alerts(), ("True", "PrometheusAnswers")),
    ],
    ids=["one fires", "no series", "no rules", "quiet"],
)
def test_silence_is_told_from_health(alerts: Alerts, condition: tuple[str, str]) -> None:
    there = TriggerWorld(triggers=PERFORMANCE, counted=counts(5), alerts=alerts)
    there.settle()
    said = monitored(there)
    assert said is not None
    assert said[:2] == condition


@pytest.mark.row("D204")
def test_alerts_of_ones_own_need_no_rules_of_the_chart() -> None:
    own = Triggers(performance=PerformanceTrigger(alerts=("InvoicesUnread",)))
    there = TriggerWorld(triggers=own, counted=counts(5), alerts=Alerts(ruled=False))
    there.settle()
    assert monitored(there) == ("True", "PrometheusAnswers", "")


@pytest.mark.row("D204")
def test_who_asks_nothing_has_no_such_condition() -> None:
    there = world()
    assert monitored(there) is not None
    there.alerts = None
    there.edit(triggers=Triggers(volume=VolumeTrigger()))
    there.settle()
    assert monitored(there) is None


def test_a_fine_tune_is_not_asked_to_mend_latency() -> None:
    assert "FinetuneInferenceLatencyHigh" not in GOT_WORSE
