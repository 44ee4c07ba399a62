"""A watch of an hour or longer looks at the new version's own series: what takes it back, and what says nothing."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy import Policy, Watch
from finetune_operator.decide.policy.by_series import BEYOND_CHANCE, LEAST_DOCUMENTS, at_most, is_watched_by_series
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.signals import Held, Rate, Slow, VersionSeries
from finetune_operator.decide.views import PolicyView, Problem
from unit.decide.policy.flight import BASE, COMPLETE, at, flight_of, flying, served
from unit.decide.policy.world import NOW, applied, deployment, events, keys, seconds

HOUR: Final = 3600
HALF: Final = 20 + HOUR // 2
AWAY: Final = Problem("PrometheusUnreachable", "Prometheus does not answer: no answer within 5 s")


def long_watch(length: int = HOUR, **changes: Any) -> Policy:
    given: dict[str, Any] = {"replicas": 2, "phase_since": NOW + seconds(20), "deadline": NOW + seconds(20 + length)}
    of = flying("Watching", **(given | changes))
    return replace(of, spec=replace(of.spec, watch=Watch(seconds=length)))


def rate(share: float, of: float = 100, *, line: float = 0.90, before: Rate | None = None) -> Held:
    return Held(Rate(share, of), line, "bankgiro", before)


def seen(*fields: Held, documents: float | None = 100, **more: Any) -> VersionSeries:
    return VersionSeries(documents=documents, fields=fields, **more)


def looked(age: float, series: VersionSeries | Problem | None, of: Policy | None = None, **more: Any) -> PolicyView:
    return at(age, of or long_watch(), served(**COMPLETE), series=series, **more)


@pytest.mark.row("D191")
def test_a_field_that_is_found_too_rarely_means_back_with_field_value_and_line() -> None:
    decision = decide(looked(HALF, seen(rate(0.61, 142, before=Rate(0.97, 5000)))))
    flight = flight_of(decision)
    assert (flight.phase, flight.why) == ("Returning", "WorseInProduction")
    assert flight.message == (
        "worse than its lines in the last half hour: field 'bankgiro' found on 61 % of 142 documents "
        "(line 90 %, before 97 %)"
    )
    keys_back = applied(decision)
    assert keys_back is not None
    assert keys_back.version == "base_v1"
    assert events(decision) == ["Returning"]
    assert decision.status.quarantined == ()


@pytest.mark.row("D191")
def test_it_holds_when_it_is_back_and_blames_nobody_for_good() -> None:
    """What came in may have changed, and series are others' word: the hold says how to try again."""
    going = decide(looked(HALF, seen(rate(0.5))))
    of = replace(long_watch(), status=going.status)
    epoch = flight_of(going).epoch
    decision = decide(at(HALF + 60, of, deployment(keys(BASE), epoch=epoch)))
    hold = decision.status.hold
    assert hold is not None
    assert (hold.reason, decision.status.quarantined) == ("RolledBack", ())
    assert (
        "WorseInProduction: worse than its lines in the last half hour: field 'bankgiro' found on 50 %" in hold.message
    )
    assert "to try 'ft_v1.1' again once that is mended" in hold.message
    consumed = decision.status.consumed[-1]
    assert (consumed.outcome, consumed.reason) == ("RolledBack", "WorseInProduction")


@pytest.mark.row("D192")
@pytest.mark.parametrize(
    ("field", "goes_back"),
    [
        (rate(0.76, 50), True),
        (rate(0.78, 50), False),
        (rate(0.5, 49.9), False),
        (rate(0.86, 500), False),
        (rate(0.85, 500), True),
        (rate(0.89, 10_000), True),
        (rate(0.90, 1e12), False),
        (rate(1.04, 60), False),
        (rate(0.0, 50), True),
        (rate(0.80, 1000, line=0.75), False),
    ],
    ids=lambda value: f"{value.rate.share:g} of {value.rate.of:g}" if isinstance(value, Held) else str(value),
)
def test_a_rate_is_below_its_line_by_more_than_chance(field: Held, goes_back: bool) -> None:
    phase = flight_of(decide(looked(HALF, seen(field)))).phase
    assert phase == ("Returning" if goes_back else "Watching")


def test_what_is_likely_for_a_rate_is_wilsons_upper_end() -> None:
    """Its end is where the share that was seen lies z standard errors of that end below it."""
    for share, of in ((0.5, 60), (0.9, 200), (0.0, 50), (0.99, 1000)):
        end = at_most(Rate(share, of))
        assert end - share == pytest.approx(BEYOND_CHANCE * (end * (1 - end) / of) ** 0.5)


@pytest.mark.row("D193")
def test_a_field_that_was_read_no_better_before_is_no_reason_to_go_back() -> None:
    """A run that an alert asked for mends 60 % to 80 %: to go back to 60 % would make an end of every mending."""
    better = rate(0.80, 400, before=Rate(0.60, 5000))
    assert flight_of(decide(looked(HALF, seen(better)))).phase == "Watching"
    worse = rate(0.40, 400, before=Rate(0.60, 5000))
    assert flight_of(decide(looked(HALF, seen(worse)))).phase == "Returning"
    few = rate(0.80, 400, before=Rate(0.60, LEAST_DOCUMENTS - 1))
    assert flight_of(decide(looked(HALF, seen(few)))).phase == "Returning"


@pytest.mark.row("D194")
def test_the_window_lies_within_the_watch() -> None:
    """What the same version did in an earlier flight is nothing that it did in this one."""
    bad = seen(rate(0.5))
    assert flight_of(decide(looked(HALF - 1, bad))).phase == "Watching"
    assert flight_of(decide(looked(HALF, bad))).phase == "Returning"


@pytest.mark.row("D194")
def test_only_time_that_was_observed_fills_the_window() -> None:
    bad = seen(rate(0.5))
    view = looked(HOUR, bad, observed=seconds(HOUR / 2 - 1))
    assert flight_of(decide(view)).phase == "Watching"


@pytest.mark.row("D194")
def test_nothing_is_taken_back_by_a_look_that_did_not_read_the_deployment() -> None:
    assert flight_of(decide(looked(HALF, seen(rate(0.5)), read_anew=False))).phase == "Watching"


def sure(mean: float, of: float = 600, before: Rate | None = None) -> Held:
    return Held(Rate(mean, of), 0.855, before=before)


@pytest.mark.row("D195")
@pytest.mark.parametrize(
    ("more", "goes_back"),
    [
        ({"confidence": sure(0.80)}, True),
        ({"confidence": sure(0.85)}, False),
        ({"confidence": sure(0.50, 49)}, False),
        ({"confidence": sure(0.80), "documents": 49}, False),
        ({"confidence": sure(0.80), "documents": None}, False),
        ({"confidence": sure(0.80, before=Rate(0.90, 5000))}, True),
        ({"confidence": sure(0.80, before=Rate(0.81, 5000))}, False),
        ({"confidence": Held(Rate(0.0, 600), 0.0)}, False),
        ({"latency": Slow(0.41, 0.40), "documents": 200}, True),
        ({"latency": Slow(0.41, 0.40), "documents": 199}, False),
        ({"latency": Slow(0.40, 0.40), "documents": 200}, False),
        ({"latency": Slow(0.41, 0.0), "documents": 200}, False),
        ({"latency": Slow(0.41, 0.40, before=0.40), "documents": 200}, True),
        ({"latency": Slow(9.0, 0.40, before=0.41), "documents": 200}, False),
    ],
    ids=str,
)
def test_confidence_and_latency_are_held_to_their_lines_unless_it_was_no_better_before(
    more: dict[str, Any], goes_back: bool
) -> None:
    phase = flight_of(decide(looked(HALF, seen(rate(0.95), **({"documents": 60} | more))))).phase
    assert phase == ("Returning" if goes_back else "Watching")


@pytest.mark.row("D191")
def test_the_record_names_the_worst_fields_and_how_many_more() -> None:
    fields = [Held(Rate(share, 100), 0.9, name) for name, share in (("a", 0.5), ("b", 0.1), ("c", 0.6), ("d", 1))]
    message = flight_of(decide(looked(HALF, seen(*fields)))).message
    assert "field 'b' found on 10 %" in message
    assert "field 'a' found on 50 %" in message
    assert message.endswith("; and 1 more fields")


@pytest.mark.row("D191")
def test_a_field_of_any_name_fits_the_record_and_is_no_command() -> None:
    long = Held(Rate(0.5, 100), 0.9, "x; rm -rf $HOME\n" * 20, Rate(0.97, 5000))
    message = flight_of(decide(looked(HALF, seen(long, replace_name(long, "y" * 300))))).message
    assert ";" not in message.partition("half hour")[0]
    assert "$" not in message
    assert message.count("before 97 %") == 2


def replace_name(field: Held, name: str) -> Held:
    return Held(field.rate, field.line, name, field.before)


@pytest.mark.row("D196")
@pytest.mark.parametrize(
    ("series", "words"),
    [
        (seen(rate(0.95)), ", and none of its series is worse than its line"),
        (seen(rate(0.95, 20), documents=20), ", watched without series: in the last half hour fewer than 50 documents"),
        (VersionSeries(), ", watched without series: in the last half hour fewer than 50 documents"),
        (AWAY, ", watched without series: Prometheus does not answer: no answer within 5 s"),
        (None, ""),
    ],
    ids=["good", "few", "none", "away", "not asked"],
)
def test_without_data_the_watch_ends_as_it_would_and_says_so(series: Any, words: str) -> None:
    decision = decide(looked(20 + HOUR, series))
    assert decision.status.live is not None
    assert decision.status.live.version == "ft_v1.1"
    assert f"'ft_v1.1' went live{words}" in decision.status.consumed[-1].message
    assert applied(decision) is None


@pytest.mark.row("D190")
@pytest.mark.parametrize(
    ("length", "rules", "changes", "watched"),
    [
        (HOUR, Watch(), {}, True),
        (HOUR - 1, Watch(), {}, False),
        (HOUR, Watch(series=False), {}, False),
        (HOUR, Watch(), {"takes_back": True}, False),
        (HOUR, Watch(), {"back": None}, False),
        (HOUR, Watch(), {"phase": "Flipping"}, False),
        (HOUR, Watch(), {"phase": "Returning"}, False),
    ],
    ids=["an hour", "less", "switched off", "people went back", "nothing to go back to", "before", "after"],
)
def test_which_watch_looks_at_series(length: int, rules: Watch, changes: dict[str, Any], watched: bool) -> None:
    flight = long_watch(length).status.in_flight
    assert flight is not None
    assert is_watched_by_series(rules, replace(flight, **changes)) is watched


@pytest.mark.row("D195")
def test_a_changed_template_is_named_as_the_cause() -> None:
    decision = decide(looked(HALF, seen(rate(0.5)), long_watch(template_hash="before")))
    flight = flight_of(decision)
    assert flight.why == "ConcurrentChange"
    assert "field 'bankgiro' found on 50 %" in flight.message
