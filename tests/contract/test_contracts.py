"""contracts/ are schemas that say everything: descriptions, limits, closed objects; and the messages fit them."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from house.crds import Schema
from house.messages import contract_of, message, messages, problems
from house.schemas import COMMON, allowed, contract_files, contracts, limit, part, resolved, without_null

OPEN = {
    "run-document#/$defs/fineTune.gates": "by gate; the operator's own",
    "run-document#/$defs/rebuild.gates": "by gate; the operator's own",
    "result#/$defs/emitted.result": "by step: the allOf beside it closes it",
    "common#/$defs/servingSettings": "closed where it is a part of something",
    "serving": "other keys are the exporter's own",
}
"""Objects that take fields that they do not name, and why."""


def nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield the path and schema of every node of one file; references are not followed."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for name, child in schema.get("$defs", {}).items():
        yield from nodes(child, f"{path}#/$defs/{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")
    for child in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from nodes(child, f"{path}[]")


ALL = [(path, schema) for name, content in contracts().items() for path, schema in nodes(content, name)]


@pytest.mark.parametrize("name", contract_files())
def test_a_contract_is_a_schema_of_2020_12_with_a_title_and_a_description(name: str) -> None:
    raw = json.loads(contract_files()[name].read_text())
    Draft202012Validator.check_schema(raw)
    assert raw["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert raw["$id"] == f"https://finetune-operator.io/contracts/{name}.schema.json"
    assert {"title", "description"} <= raw.keys()


def test_every_field_is_described() -> None:
    fields = [(path, schema) for path, schema in ALL if "." in path.rpartition("/")[2] and path[-1] not in "]}"]
    assert len(fields) > 200
    assert [path for path, schema in fields if "description" not in resolved(schema)] == []


def test_every_object_is_closed_or_says_why_not() -> None:
    closing = {"additionalProperties", "unevaluatedProperties"}
    open_objects = {p for p, schema in ALL if schema.get("type") == "object" and not closing & schema.keys()}
    assert open_objects == OPEN.keys()


def test_a_number_is_whole_and_has_limits_and_every_reference_leads_somewhere() -> None:
    for path, schema in ALL:
        value = without_null(schema)[0]
        assert value.get("type") != "number", f"{path}: floats do not compare; use a decimal string"
        if value.get("type") == "integer":
            assert {"minimum", "maximum"} <= value.keys(), path


@pytest.mark.parametrize("name", messages())
def test_a_message_fits_its_contract(name: str) -> None:
    assert problems(contract_of(name), message(name)) == []


def test_every_contract_has_a_message() -> None:
    assert {contract_of(name) for name in messages()} == contract_files().keys() - {COMMON}


BROKEN: tuple[tuple[str, str, Any], ...] = (
    ("run-finetune", "training.optimizer", "RMSProp"),
    ("run-finetune", "classes", [f"class-{n}" for n in range(81)]),
    ("run-finetune", "classes", ["number", "a,b"]),
    ("run-finetune", "classes", ["number", "number"]),
    ("run-finetune", "surprise", 1),
    ("run-finetune", "serving.surprise", 1),
    ("run-finetune", "serving.imageSize", 330),
    ("run-finetune", "mixing", None),
    ("run-rebuild", "start", {"uri": "s3://bucket/start.pt"}),
    ("run-rebuild", "start", None),
    ("run-rebuild", "mixing.ratio", "Auto"),
    ("run-verify", "holdout", "0"),
    ("inputs-evaluate", "round", 0),
    ("inputs-train", "plan.sha256", "short"),
    ("result-train", "artifact", {}),
    ("result-train", "result.artifact.format", "engine"),
    ("result-evaluate", "result.models.candidate.map50", 0.98),
    ("result-failed", "error.class", "Sadness"),
    ("result-prepare", "manifest", None),
    ("run-scan", "base", {}),
    ("run-scan", "data.production.keepDays", 0),
    ("run-scan", "data.production", None),
    ("inputs-scan", "attempt", 0),
    ("inputs-scan", "judged", None),
    ("result-scan", "result.pages.oldest", "yesterday"),
    ("result-scan", "result.reports", [{"week": "2026-47", "documents": 1}]),
    ("result-scan", "result.listing", None),
    ("progress", "percent", 101),
    ("progress", "at", None),
    ("production-page", "stratum", "Best"),
    ("production-page", "probability", 0.01),
    ("production-page", "page.pixels", None),
    ("production-report", "comment", ""),
    ("production-report", "subject", None),
    ("production-window", "strata.Random.queue", None),
    ("production-week", "week", "2026-47"),
    ("production-week", "expired", None),
)


@pytest.mark.parametrize(("name", "path", "value"), BROKEN)
def test_a_message_with_a_wrong_field_does_not_fit(name: str, path: str, value: Any) -> None:
    content = copy.deepcopy(message(name))
    *parents, last = path.split(".")
    node = content
    for key in parents:
        node = node[key]
    if value is None:
        del node[last]
    else:
        node[last] = value
    assert problems(contract_of(name), content)


def test_a_limit_of_a_list_of_classes_stands_once() -> None:
    assert limit(part("common#/$defs/classNames"), "maxItems") == 80
    assert [p for p, s in ALL if s.get("maxItems") not in (None, 80, 16, 8, 4)] == []
    assert limit(part("step-inputs#/$defs/train")["properties"]["earlier"], "maxItems") == 16, "attempts before one"
    assert limit(part("production-page")["properties"]["fields"]["items"]["properties"]["box"], "maxItems") == 4
    assert limit(part("result#/$defs/column"), "maxItems") == 8, "the worst fields of a rule"
    assert allowed(part("common#/$defs/step")) == ("prepare", "train", "evaluate", "verify", "scan")
