"""The server reads all that contracts/serving.schema.json allows, and refuses to serve what it does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from finetune_server.errors import ExitCode, StartError
from finetune_server.metadata import (
    LONGEST_CLASS_NAME,
    MAX_CLASSES,
    PREPROCESS,
    SERVING_KEY,
    SERVING_SCHEMA,
    parse_settings,
)
from house.crds import ROOT, Schema
from house.schemas import part, resolved, without_null

MESSAGE = json.loads((ROOT / "tests" / "contract" / "messages" / "artifact-metadata.json").read_text())
SERVING = resolved(part("serving#/$defs/serving"))["properties"]
SHARES = ("0", "1", "0.5", "0.123456789012", "1.000", "1E-8", "5e-07")


def field(name: str) -> Schema:
    """Return the schema of a field of the metadata."""
    return without_null(SERVING[name])[0]


def text(**changes: Any) -> str:
    return json.dumps({**MESSAGE[SERVING_KEY], **changes})


def within() -> Iterator[tuple[str, Any]]:
    """Yield values at the edge of what the contract allows."""
    for name in ("imageSize", "maxDetections"):
        yield name, field(name)["minimum"]
        yield name, field(name)["maximum"]
    for name in ("confidence", "nmsIou"):
        yield from ((name, value) for value in SHARES)
    classes = field("classes")
    item = without_null(classes["items"])[0]
    yield "classes", [f"class-{n}" for n in range(classes["maxItems"])]
    yield "classes", ["ö" * item["maxLength"]]
    yield "classes", ["total amount", "発行日", "a"]


def beyond() -> Iterator[tuple[str, Any]]:
    """Yield values that are just not allowed."""
    for name in ("imageSize", "maxDetections"):
        step = field(name).get("multipleOf", 1)
        yield from ((name, field(name)["minimum"] - step), (name, field(name)["maximum"] + step))
        yield from ((name, str(field(name)["minimum"])), (name, 100.5), (name, None), (name, True))
    yield "imageSize", field("imageSize")["minimum"] + 1
    for name in ("confidence", "nmsIou"):
        yield from ((name, value) for value in ("1.1", "-0.1", "NaN", "", "half", 0.5, 1, None))
    classes = field("classes")
    yield "classes", [f"class-{n}" for n in range(classes["maxItems"] + 1)]
    yield "classes", ["c" * (without_null(classes["items"])[0]["maxLength"] + 1)]
    yield from (("classes", value) for value in ([], "number", None, ["a", "a"], [""], [1], {"0": "a"}))
    yield from (("classes", [value]) for value in ("a,b", " a", "a ", "a\n", "a\tb", "\x7f"))
    yield from (("schema", "finetune-operator.io/serving/v2"), ("preprocess", "stretch"))


def test_the_message_is_read_in_full() -> None:
    settings, said = parse_settings(text()), MESSAGE[SERVING_KEY]
    assert list(settings.classes) == said["classes"]
    assert (settings.image_size, settings.max_detections) == (said["imageSize"], said["maxDetections"])
    assert (settings.confidence, settings.nms_iou) == (float(said["confidence"]), float(said["nmsIou"]))


@pytest.mark.parametrize(("name", "value"), tuple(within()), ids=str)
def test_what_the_contract_allows_is_served(name: str, value: Any) -> None:
    assert parse_settings(text(**{name: value}))


@pytest.mark.parametrize(("name", "value"), tuple(beyond()), ids=str)
def test_what_the_contract_does_not_allow_is_not_served(name: str, value: Any) -> None:
    with pytest.raises(StartError) as caught:
        parse_settings(text(**{name: value}))
    assert caught.value.reason in ("ModelSettingsInvalid", "ModelSettingsUnknown")


@pytest.mark.parametrize("name", SERVING)
def test_every_field_is_needed(name: str) -> None:
    said = copy.deepcopy(MESSAGE[SERVING_KEY])
    del said[name]
    with pytest.raises(StartError):
        parse_settings(json.dumps(said))


def test_too_many_classes_are_refused_with_the_limit() -> None:
    with pytest.raises(StartError, match="there are 81 classes; 1 to 80 are possible"):
        parse_settings(text(classes=[f"class-{n}" for n in range(81)]))


def test_the_server_ends_with_the_codes_of_a_step() -> None:
    codes = part("result")["x-exit-codes"]
    assert (codes["BadInput"], codes["Unavailable"]) == (ExitCode.BAD_INPUT, ExitCode.UNAVAILABLE)
    assert codes["Preempted"] == ExitCode.TERMINATED


def test_limits_in_the_code_are_those_of_the_contract() -> None:
    assert field("classes")["maxItems"] == MAX_CLASSES
    assert without_null(field("classes")["items"])[0]["maxLength"] == LONGEST_CLASS_NAME
    assert field("schema")["const"] == SERVING_SCHEMA
    assert field("preprocess")["const"] == PREPROCESS
    assert {SERVING_KEY} == set(part("serving")["required"])
