"""What is read out of a Prometheus' answers, and what of them is never believed."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy import Watch
from finetune_operator.api.triggers import PerformanceTrigger, Triggers, VolumeTrigger
from finetune_operator.cluster import promql
from finetune_operator.cluster.prometheus import Address, NoAnswer, Prometheus, Sample
from finetune_operator.cluster.signals import ASKED_EVERY, NOT_CONFIGURED, Asked, Hearing
from finetune_operator.decide.policy.by_series import FIELD_LINE
from finetune_operator.decide.signals import Alert, Alerts, Held, Rate, Slow, VersionSeries
from finetune_operator.decide.views import Problem
from unit.decide.policy.flight import watching
from unit.decide.policy.world import NOW, policy, seconds

PLACE = {"namespace": "ml", "deployment": "invoice-detector"}
OF = {**PLACE, "model": "invoice-fields", "version": "ft_v1.1"}
NAMES = ("FinetuneConfidenceDropped", "FinetuneFieldDetectionRateLow")


def sample(value: object, name: str = "", **labels: str) -> Sample:
    named = {"__name__": name} if name else {}
    return Sample({**named, **labels}, (1700000000.0, str(value)))


class Scripted(Prometheus):
    """Answers question after question, and remembers them."""

    def __init__(self, *answers: tuple[Sample, ...]) -> None:
        super().__init__(Address(url="http://unused"))
        self.answers = list(answers)
        self.asked: list[str] = []

    async def ask(self, expression: str) -> tuple[Sample, ...]:
        self.asked.append(expression)
        return self.answers.pop(0)


def alerts(*answer: Sample) -> Alerts | Problem:
    try:
        return asyncio.run(Asked(Scripted(answer)).alerts("ml", "invoice-detector", NAMES))
    except NoAnswer as error:
        return error.problem


def series(*answer: Sample, back: str | None = None, earlier: tuple[Sample, ...] = ()) -> VersionSeries | Problem:
    try:
        return asyncio.run(Asked(Scripted(answer, earlier)).series("ml", "invoice-detector", "ft_v1.1", back))
    except NoAnswer as error:
        return error.problem


@pytest.mark.row("D200")
def test_alerts_are_read_with_field_version_and_for_how_long() -> None:
    answer = alerts(
        sample(2700.5, alertname=NAMES[1], field="bankgiro", version="ft_v1.1", severity="critical", **PLACE),
        sample(-3, alertname=NAMES[0], **PLACE),
        sample(2, promql.SCRAPED, **PLACE),
        sample(1, promql.DOCUMENTS, **PLACE),
    )
    assert answer == Alerts((Alert(NAMES[0]), Alert(NAMES[1], "bankgiro", "ft_v1.1", 2700)), scraped=True, ruled=True)


def test_nothing_fires_where_nothing_is_seen_and_that_is_told() -> None:
    assert alerts() == Alerts((), scraped=False, ruled=False)


@pytest.mark.row("D205")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sample(1, alertname=NAMES[0], **{**PLACE, "namespace": "others"}), "ForeignSeries"),
        (sample(1, alertname=NAMES[0], **{**PLACE, "deployment": "others"}), "ForeignSeries"),
        (sample(1, alertname=NAMES[0], namespace="ml"), "ForeignSeries"),
        (sample(1, alertname="Watchdog", **PLACE), "ForeignSeries"),
        (sample(1, promql.SCRAPED), "ForeignSeries"),
        (sample("NaN", alertname=NAMES[0], **PLACE), "PrometheusAnswerInvalid"),
        (sample("+Inf", alertname=NAMES[0], **PLACE), "PrometheusAnswerInvalid"),
        (sample("soon", alertname=NAMES[0], **PLACE), "PrometheusAnswerInvalid"),
    ],
    ids=str,
)
def test_of_an_answer_that_is_of_somebody_else_nothing_is_believed(answer: Sample, reason: str) -> None:
    good = sample(60, alertname=NAMES[1], **PLACE)
    problem = alerts(good, answer)
    assert isinstance(problem, Problem)
    assert problem.reason == reason


@pytest.mark.row("D191")
def test_a_versions_series_are_read_with_their_lines() -> None:
    assert series(
        sample(0.61, promql.RATIO, field="bankgiro", **OF),
        sample(142, promql.EXPECTED, field="bankgiro", **OF),
        sample(0.8, promql.FIELD_LINE, field="bankgiro", **OF),
        sample(0.99, promql.RATIO, field="amount", **OF),
        sample(142, promql.EXPECTED, field="amount", **OF),
        sample(0.99, promql.RATIO, field="of which nothing is expected", **OF),
        sample(160, promql.DOCUMENTS, **OF),
        sample(0.9, promql.CONFIDENCE, **OF),
        sample(0.87, promql.CONFIDENCE_LINE, **OF),
        sample(280, promql.DETECTIONS, **OF),
        sample(0.2, promql.LATENCY, **OF),
    ) == VersionSeries(
        160.0,
        (
            Held(Rate(0.99, 142), FIELD_LINE, "amount"),
            Held(Rate(0.61, 142), 0.8, "bankgiro"),
        ),
        Held(Rate(0.9, 280), 0.87),
        None,
    )


@pytest.mark.row("D205")
@pytest.mark.parametrize("value", ["NaN", "-Inf", "+Inf", "x", "-1"])
def test_a_series_that_is_no_number_is_no_data(value: str) -> None:
    read = series(
        sample(value, promql.RATIO, field="bankgiro", **OF),
        sample(142, promql.EXPECTED, field="bankgiro", **OF),
        sample(value, promql.DOCUMENTS, **OF),
    )
    assert read == VersionSeries()


def test_two_series_that_say_different_things_are_no_data() -> None:
    twice = [sample(0.9, promql.LATENCY_LINE, instance=name, **OF) for name in ("a", "b")]
    value = sample(0.9, promql.LATENCY, **OF)
    read = series(value, *twice)
    assert isinstance(read, VersionSeries)
    assert read.latency == Slow(0.9, 0.9)
    assert series(value, *twice, sample(0.8, promql.LATENCY_LINE, instance="c", **OF)) == VersionSeries()


@pytest.mark.row("D205")
@pytest.mark.parametrize("label", ["namespace", "deployment", "version"])
def test_series_of_another_place_or_version_are_believed_in_nothing(label: str) -> None:
    problem = series(sample(160, promql.DOCUMENTS, **{**OF, label: "another"}))
    assert isinstance(problem, Problem)
    assert problem.reason == "ForeignSeries"


BAD = (
    sample(0.5, promql.RATIO, field="bankgiro", **OF),
    sample(100, promql.EXPECTED, field="bankgiro", **OF),
)
EARLIER = {**PLACE, "version": "base_v1", "field": "bankgiro"}


@pytest.mark.row("D193")
def test_what_was_before_is_asked_for_only_where_it_may_lead_back() -> None:
    prometheus = Scripted((sample(0.99, promql.RATIO, field="bankgiro", **OF), BAD[1]))
    asyncio.run(Asked(prometheus).series("ml", "invoice-detector", "ft_v1.1", "base_v1"))
    assert len(prometheus.asked) == 1
    earlier = (sample(600, of=promql.FOUND, **EARLIER), sample(1000, of=promql.SHOULD, **EARLIER))
    read = series(*BAD, back="base_v1", earlier=earlier)
    assert isinstance(read, VersionSeries)
    assert read.fields[0].before == Rate(0.6, 1000)


@pytest.mark.row("D195")
def test_how_sure_and_how_slow_the_version_before_was_is_read_with_it() -> None:
    beside = {**PLACE, "version": "base_v1"}
    slow = (
        sample(200, promql.DOCUMENTS, **OF),
        sample(0.5, promql.LATENCY, **OF),
        sample(0.4, promql.LATENCY_LINE, **OF),
    )
    earlier = (sample(0.45, of=promql.SLOW, **beside), sample(440, of=promql.SURE, **beside))
    read = series(*slow, back="base_v1", earlier=earlier)
    assert isinstance(read, VersionSeries)
    assert (read.latency, read.confidence) == (Slow(0.5, 0.4, before=0.45), None)
    sure = [(0.8, promql.CONFIDENCE), (280, promql.DETECTIONS), (0.9, promql.CONFIDENCE_LINE)]
    boxes = (*earlier, sample(500, of=promql.BOXES, **beside))
    read = series(*(sample(value, name, **OF) for value, name in sure), back="base_v1", earlier=boxes)
    assert isinstance(read, VersionSeries)
    assert read.confidence == Held(Rate(0.8, 280), 0.9, before=Rate(0.88, 500))


@pytest.mark.parametrize(
    "earlier",
    [
        (),
        (sample(600, of=promql.FOUND, **EARLIER),),
        (sample("NaN", of=promql.FOUND, **EARLIER), sample(9, of=promql.SHOULD, **EARLIER)),
        (sample(0, of=promql.FOUND, **EARLIER), sample(0, of=promql.SHOULD, **EARLIER)),
    ],
    ids=["nothing", "half of it", "no number", "nobody asked"],
)
def test_where_nothing_is_left_of_before_the_line_alone_counts(earlier: tuple[Sample, ...]) -> None:
    read = series(*BAD, back="base_v1", earlier=earlier)
    assert isinstance(read, VersionSeries)
    assert read.fields[0].before is None


@pytest.mark.row("D205")
def test_the_place_is_in_every_question_whatever_it_is_called() -> None:
    odd = 'x"} or up{a="\\\n'
    quoted = r'"x\"} or up{a=\"\\\n"'
    for question in (
        promql.firing(odd, odd, NAMES),
        promql.of_version(odd, odd, odd),
        promql.before(odd, odd, odd),
    ):
        selectors = question.count("{")
        assert question.count(f"namespace={quoted},deployment={quoted}") == selectors - question.count("up{a")
        assert "\n" not in question


@dataclass
class Spoken:
    """Signals that answer the same each time, and count."""

    answer: Problem | Alerts | None = None
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def alerts(self, namespace: str, deployment: str, names: tuple[str, ...]) -> Alerts:
        self.asked.append((namespace, deployment, *names))
        if isinstance(self.answer, Problem):
            raise NoAnswer(self.answer)
        return Alerts()

    async def series(self, namespace: str, deployment: str, version: str, back: str | None) -> VersionSeries:
        self.asked.append((namespace, deployment, version, str(back)))
        if isinstance(self.answer, Problem):
            raise NoAnswer(self.answer)
        return VersionSeries()


PERFORMANCE = Triggers(performance=PerformanceTrigger(alerts=("B", "A")))
AWAY = Problem("PrometheusUnreachable", "away")


@pytest.mark.parametrize("answer", [Alerts(), AWAY], ids=["an answer", "none"])
def test_alerts_are_asked_for_once_a_minute_and_anew_where_others_are_wanted(answer: Alerts | Problem) -> None:
    spoken, of = Spoken(answer), policy(triggers=PERFORMANCE)
    hearing = Hearing(spoken)
    for age in (0, 1, 59, 60, 61):
        assert asyncio.run(hearing.alerts(of, NOW + seconds(age))) == answer
    assert spoken.asked == [("ml", "invoice-detector", "A", "B")] * 2
    other = replace(of, spec=replace(of.spec, triggers=Triggers(performance=PerformanceTrigger(alerts=("C",)))))
    asyncio.run(hearing.alerts(other, NOW + seconds(62)))
    assert spoken.asked[-1] == ("ml", "invoice-detector", "C")
    asyncio.run(hearing.alerts(other, NOW - timedelta(days=1)))
    assert len(spoken.asked) == 4, "a clock that was set back keeps no answer alive"
    assert timedelta(minutes=1) == ASKED_EVERY


@pytest.mark.parametrize("triggers", [None, Triggers(volume=VolumeTrigger())], ids=["none", "another"])
def test_who_asks_for_no_alert_costs_no_question(triggers: Triggers | None) -> None:
    spoken = Spoken()
    assert asyncio.run(Hearing(spoken).alerts(policy(triggers=triggers), NOW)) is None
    assert asyncio.run(Hearing(spoken).alerts(policy(triggers=PERFORMANCE, suspend=True), NOW)) is None
    assert spoken.asked == []


@pytest.mark.row("D203")
def test_without_a_prometheus_in_the_chart_the_trigger_says_where_it_goes() -> None:
    assert asyncio.run(Hearing(None).alerts(policy(triggers=PERFORMANCE), NOW)) == NOT_CONFIGURED
    assert "prometheus.url" in NOT_CONFIGURED.message


@pytest.mark.row("D190")
def test_series_are_asked_for_in_each_look_at_a_long_watch() -> None:
    spoken = Spoken()
    of = watching(deadline=NOW + seconds(20 + 3600))
    hearing = Hearing(spoken)
    assert [asyncio.run(hearing.series(of)) for _ in range(2)] == [VersionSeries()] * 2
    assert spoken.asked == [("ml", "invoice-detector", "ft_v1.1", "base_v1")] * 2
    spoken.answer = AWAY
    assert asyncio.run(hearing.series(of)) == AWAY


@pytest.mark.row("D190")
def test_without_a_prometheus_or_in_a_short_watch_nobody_looks_at_series() -> None:
    spoken, long = Spoken(), watching(deadline=NOW + seconds(20 + 3600))
    assert asyncio.run(Hearing(None).series(long)) is None
    assert asyncio.run(Hearing(spoken).series(watching())) is None
    assert asyncio.run(Hearing(spoken).series(policy())) is None
    off = replace(long, spec=replace(long.spec, watch=Watch(seconds=3600, series=False)))
    assert asyncio.run(Hearing(spoken).series(off)) is None
    assert spoken.asked == []
