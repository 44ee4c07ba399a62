"""The schemas of contracts/ as data: references followed, variants merged, limits by one name each."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from house.crds import ROOT, Schema

CONTRACTS = ROOT / "contracts"
COMMON = "common"
"""Parts that the others share; no message of its own."""

LIMITS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
_MATCHES = re.compile(r"^self\.matches\(r?'(.*?)'\)")


def contract_files() -> dict[str, Path]:
    """Return the file of every contract by name, for example plan."""
    return {path.name.removesuffix(".schema.json"): path for path in sorted(CONTRACTS.glob("*.schema.json"))}


@cache
def contracts() -> dict[str, Schema]:
    """Return every contract by name; references name their file, so that a part can be looked at by itself."""
    return {
        name: _with_full_references(json.loads(path.read_text()), path.name) for name, path in contract_files().items()
    }


def _with_full_references(node: Any, file: str) -> Any:
    if isinstance(node, list):
        return [_with_full_references(item, file) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: f"{file}{value}"
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _with_full_references(value, file)
        for key, value in node.items()
    }


def part(place: str) -> Schema:
    """Return a contract, or a part of it by its pointer: plan, plan#/$defs/counts."""
    file, _, pointer = place.partition("#")
    node: Schema = contracts()[file.removesuffix(".schema.json")]
    for key in pointer.split("/")[1:]:
        node = node[key]
    return node


def resolved(schema: Schema) -> Schema:
    """Return `schema` with its references followed; what stands beside a reference goes before it.

    Objects that an allOf refers to are taken in, with their properties and what they require.
    """
    while "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**part(schema["$ref"]), **beside}
    for item in schema.get("allOf", ()):
        if "$ref" in item:
            whole = resolved(item)
            properties = {**whole["properties"], **schema.get("properties", {})}
            required = sorted({*whole["required"], *schema.get("required", ())})
            schema = {**whole, **schema, "properties": properties, "required": required}
    return schema


def without_null(schema: Schema) -> tuple[Schema, bool]:
    """Return the schema of all values but null, resolved, and whether null is one of them; variants are merged."""
    schema = resolved(schema)
    kind = schema.get("type")
    if isinstance(kind, list):
        (rest,) = (name for name in kind if name != "null")
        return {**schema, "type": rest}, "null" in kind
    for key in ("anyOf", "oneOf"):
        if key in schema and "type" not in schema:
            variants = [resolved(item) for item in schema[key]]
            values = [item for item in variants if item.get("type") != "null"]
            return merged(values), len(values) < len(variants)
    return schema, False


def merged(variants: list[Schema]) -> Schema:
    """Return one schema of objects that takes each of `variants`: all properties, required where all require them."""
    first, *others = variants
    for other in others:
        first = _both(first, other)
    return first


def _both(one: Schema, other: Schema) -> Schema:
    one, other = resolved(one), resolved(other)
    if one == other:
        return one
    if "const" in one or "enum" in one:
        return {**one, "enum": sorted({*allowed(one), *allowed(other)})}
    mine, theirs = one.get("properties", {}), other.get("properties", {})
    properties = {
        name: _both(mine[name], theirs[name]) if name in mine and name in theirs else mine.get(name, theirs.get(name))
        for name in {**mine, **theirs}
    }
    required = [name for name in one.get("required", ()) if name in other.get("required", ())]
    return {**one, "properties": properties, "required": required}


def allowed(schema: Schema) -> tuple[str, ...]:
    """Return the values that a schema names, by enum or const; none where it names none."""
    return tuple(schema["enum"]) if "enum" in schema else (schema["const"],) if "const" in schema else ()


def type_of(schema: Schema) -> str | None:
    """Return the JSON type; values that are named by an enum or a const are text here."""
    kind = schema.get("type")
    return str(kind) if kind else "string" if allowed(schema) else None


def limit(schema: Schema, name: str) -> Any:
    """Return the limit of that name (see LIMITS), None for none; a CRD says patterns in rules, with a remedy."""
    if name == "pattern" and "pattern" not in schema:
        rules = (_MATCHES.match(rule["rule"]) for rule in schema.get("x-kubernetes-validations", ()))
        return next((same_pattern(rule[1]) for rule in rules if rule), None)
    value = schema.get(name)
    return same_pattern(value) if name == "pattern" and value is not None else value


def same_pattern(pattern: str) -> str:
    """Return `pattern` as all sides write it: a dot in brackets is an escaped dot."""
    return pattern.replace("[.]", r"\.")
