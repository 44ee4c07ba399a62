"""Parsing is exact and says where it fails; what is written can be read; conditions move as the conventions say."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.api.meta import Condition, find, is_true, set_condition
from finetune_operator.api.policy import Policy, PolicySpec
from finetune_operator.api.training import Training
from finetune_operator.api.value import InvalidObject, canonical_json, complete, parse, parse_json, plain
from house.samples import SAMPLES, TYPES, changed, sample

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "ModelVersion of the last release"])
@pytest.mark.parametrize("first", [True, False])
def test_what_is_parsed_is_written_back_as_it_was(name: str, first: bool) -> None:
    manifest = sample(name, first=first)
    kind = TYPES[manifest["kind"]]
    spec = complete(parse(manifest, kind).spec)
    assert _without_none(spec) == _without_none({**spec, **manifest["spec"]})


@pytest.mark.parametrize("name", SAMPLES)
def test_leaving_defaults_out_loses_nothing(name: str) -> None:
    manifest = sample(name)
    value = parse(manifest, TYPES[manifest["kind"]])
    assert parse(plain(value), type(value)) == value
    assert parse(complete(value), type(value)) == value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


BAD = (
    ("FineTunePolicy", "model", None, "missing required field `model` - at `$.spec`"),
    ("FineTunePolicy", "serving.imageSize", "big", "$.spec.serving.imageSize"),
    ("FineTunePolicy", "gates.newSamples.minimum", "much", "$.spec.gates.newSamples.minimum"),
    ("FineTunePolicy", "promotion", "Never", "$.spec.promotion"),
    ("FineTunePolicy", "training.optimizer", "auto", "$.spec.training.optimizer"),
    ("FineTunePolicy", "classes", "number", "$.spec.classes"),
    ("FineTuneRun", "mode", "Anew", "$.spec.mode"),
    ("FineTuneRun", "review.decision", "Maybe", "$.spec.review.decision"),
    ("ModelPromotion", "releaseHold", "yes", "$.spec.releaseHold"),
)


@pytest.mark.parametrize(("name", "path", "value", "expected"), BAD)
def test_a_bad_object_is_refused_with_the_path_of_the_field(name: str, path: str, value: Any, expected: str) -> None:
    manifest = changed(sample(name), ("spec", *path.split(".")), value)
    with pytest.raises(InvalidObject) as refused:
        parse(manifest, TYPES[manifest["kind"]])
    assert expected in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff", '{"model": 1}', "null", "NaN"])
def test_text_that_is_no_object_is_refused_and_nothing_else_happens(text: str | bytes) -> None:
    with pytest.raises(InvalidObject):
        parse_json(text, PolicySpec)


def test_a_field_of_a_newer_version_is_ignored() -> None:
    manifest = sample("FineTunePolicy")
    manifest["spec"]["later"] = {"deep": [1]}
    assert parse(manifest, Policy) == parse(sample("FineTunePolicy"), Policy)


@given(st.decimals(min_value=0, max_value=1, places=6))
def test_decimals_travel_as_strings_and_keep_every_digit(value: Decimal) -> None:
    training = Training(lr0=value)
    assert complete(training)["lr0"] == str(value)
    assert parse(complete(training), Training).lr0 == value


def test_equal_values_have_one_canonical_text_whatever_their_order() -> None:
    one = parse({"epochs": 3, "lr0": "0.5"}, Training)
    other = parse({"lr0": "0.5", "epochs": 3}, Training)
    assert canonical_json(complete(one)) == canonical_json(complete(other))
    assert canonical_json({"b": 1, "a": 2}) == b'{"a":2,"b":1}'


def test_a_condition_keeps_its_transition_time_while_its_status_stays() -> None:
    first = set_condition((), "Ready", "False", "Waiting", generation=1, now=NOW)
    later = NOW + timedelta(minutes=5)
    same = set_condition(first, "Ready", "False", "Other", generation=1, now=later)
    moved = set_condition(same, "Ready", "True", "Done", generation=1, now=later)
    assert [c.last_transition_time for c in (*first, *same, *moved)] == [NOW, NOW, later]
    assert [c.reason for c in same] == ["Other"]
    assert is_true(moved, "Ready")
    assert not is_true(same, "Ready")


def test_a_condition_replaces_its_own_type_in_place() -> None:
    names = ("A", "B", "C")
    conditions: tuple[Condition, ...] = ()
    for name in names:
        conditions = set_condition(conditions, name, "Unknown", "NotYet", generation=1, now=NOW)
    conditions = set_condition(conditions, "B", "True", "Done", generation=1, now=NOW)
    assert tuple(condition.type for condition in conditions) == names
    assert find(conditions, "Z") is None


@given(st.text(max_size=3000))
def test_a_condition_s_message_fits_the_schema(message: str) -> None:
    (condition,) = set_condition((), "A", "True", "R", message, generation=1, now=NOW)
    assert condition.message == message[:1024]
