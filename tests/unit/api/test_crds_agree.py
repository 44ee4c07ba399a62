"""crds/ and api/ say the same: fields, types, required ones, enums, defaults; and every size has a limit."""

import copy
from collections.abc import Callable
from typing import get_type_hints

import pytest

from finetune_operator.api.policy import PolicySpec
from house.agreement import differences
from house.crds import Schema, crds, nodes
from house.samples import TYPES

KINDS = {name: (get_type_hints(kind)["spec"], get_type_hints(kind)["status"]) for name, kind in TYPES.items()}

OF_SCHEMAS = frozenset((
    "type", "description", "format", "enum", "default", "required", "properties", "additionalProperties", "items",
    "minimum", "maximum", "multipleOf", "minLength", "maxLength", "pattern", "minItems", "maxItems", "maxProperties",
))  # fmt: skip


def test_every_kind_has_a_crd_and_every_crd_a_kind() -> None:
    assert crds().keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_the_spec_of_the_schema_is_the_spec_of_the_types(kind: str) -> None:
    assert differences(crds()[kind].spec, KINDS[kind][0], stored=True) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_status_of_the_schema_is_the_status_of_the_types(kind: str) -> None:
    assert differences(crds()[kind].status, KINDS[kind][1], stored=False) == []


def _serving(spec: Schema) -> Schema:
    schema: Schema = spec["properties"]["serving"]["properties"]
    return schema


PLANTED: dict[str, tuple[Callable[[Schema], object], str]] = {
    "a field only in the types": (lambda spec: spec["properties"].pop("suspend"), ".suspend: only in the types"),
    "a field only in the schema": (
        lambda spec: spec["properties"].update(extra={"type": "string"}),
        ".extra: only in the schema",
    ),
    "another default": (lambda spec: _serving(spec)["imageSize"].update(default=320), ".serving: default"),
    "no default": (lambda spec: spec["properties"]["promotion"].pop("default"), ".promotion: default"),
    "another enum": (lambda spec: spec["properties"]["promotion"]["enum"].append("Never"), ".promotion: enum"),
    "another type": (lambda spec: _serving(spec)["confidence"].update(type="number"), ".serving.confidence: type"),
    "no limit of a string": (lambda spec: spec["properties"]["model"].pop("maxLength"), ".model: has no maxLength"),
    "no limit of a list": (lambda spec: spec["properties"]["classes"].pop("maxItems"), ".classes: has no maxItems"),
    "a field not required": (lambda spec: spec["required"].remove("model"), ": required"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_found(name: str) -> None:
    plant, expected = PLANTED[name]
    schema = copy.deepcopy(crds()["FineTunePolicy"].spec)
    plant(schema)
    assert [line for line in differences(schema, PolicySpec, stored=True) if line.startswith(expected)]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_schema_is_unlimited_or_open(kind: str) -> None:
    for path, schema in nodes({"properties": {"spec": crds()[kind].spec, "status": crds()[kind].status}}):
        assert "x-kubernetes-preserve-unknown-fields" not in schema, path
        assert schema.get("type") != "number", f"{path}: floats do not compare; use a decimal string"
        assert _is_limited(schema), path


@pytest.mark.parametrize("kind", KINDS)
def test_no_description_is_cut_at_a_comma(kind: str) -> None:
    """In braces a comma ends a text without quotes, and the rest of it becomes a key that nobody knows."""
    for path, schema in nodes({"properties": {"spec": crds()[kind].spec, "status": crds()[kind].status}}):
        assert {key for key in schema if not key.startswith("x-kubernetes-")} <= OF_SCHEMAS, path


def _is_limited(schema: Schema) -> bool:
    match schema.get("type"):
        case "string":
            return bool({"maxLength", "enum", "format"} & schema.keys())
        case "array":
            return "maxItems" in schema
        case "integer":
            return {"minimum", "maximum"} <= schema.keys()
        case "object":
            return "properties" in schema or "maxProperties" in schema
        case _:
            return True


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_that_people_write_is_described(kind: str) -> None:
    undescribed = [
        path
        for path, schema in nodes(crds()[kind].spec)
        if not path.endswith(("[]", "{}")) and "description" not in schema
    ]
    assert undescribed == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_names_a_remedy_of_its_own(kind: str) -> None:
    for path, schema in nodes(crds()[kind].schema):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert len(rule["message"].split()) >= 5, f"{path}: {rule['message']!r} is no sentence"


@pytest.mark.parametrize("kind", KINDS)
def test_why_and_since_when_stand_in_the_default_columns_the_words_last(kind: str) -> None:
    (version,) = crds()[kind].manifest["spec"]["versions"]
    shown = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert shown[-3:] == ["Since", "Age", "Message"]


@pytest.mark.parametrize("kind", KINDS)
def test_printer_columns_read_fields_that_exist(kind: str) -> None:
    crd = crds()[kind]
    (version,) = crd.manifest["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        assert column.keys() <= {"name", "type", "jsonPath", "description", "priority"}, column
        path = column["jsonPath"].split("[")[0].removeprefix(".").split(".")
        if path[0] == "metadata":
            continue
        schema = crd.schema
        for name in path:
            assert name in schema["properties"], f"{column['name']}: {column['jsonPath']}"
            schema = schema["properties"][name]
