"""Whether the API server takes a value: the schema of the CRDs themselves, for what the operator writes.

`schemas.json` is made from crds/ by `make format`. Rules that compare with what was there before are left out.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Final

import msgspec

from .rules import rule_of
from .value import plain

Schema = Mapping[str, Any]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_INT64: Final = 2**63
_SHOWN: Final = 80
"""Characters of a value that a message quotes."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def misfit(kind: str, path: str, value: object) -> str | None:
    """Return why the API server would not take `value` at `path` (status, spec.artifact) of a kind; None: it would."""
    try:
        return next(_wrong(path, _schema(kind, path), plain(value)), None)
    except (UnicodeEncodeError, ValueError, OverflowError) as error:
        return f"{path} cannot be written as JSON: {error}"


def all_rules() -> Iterator[str]:
    """Yield every rule of the schemas."""
    pending: list[Any] = list(_schemas().values())
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield from node.get("rules", ())
            pending.extend(node.values())


@cache
def _schemas() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("schemas.json").read_bytes()
    schemas: dict[str, Any] = msgspec.json.decode(text)
    return schemas


@cache
def _schema(kind: str, path: str) -> Schema:
    schema: Schema = _schemas()[kind]
    for part in path.split("."):
        schema = schema["properties"][part]
    return schema


def _wrong(path: str, schema: Schema, value: Any) -> Iterator[str]:
    """Yield what is wrong with a value and all that is in it."""
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{path}: {_quoted(value)} is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {_quoted(value)} is not one of {', '.join(map(str, schema['enum']))}"
    check = _CHECKS.get(type(value))
    if check is not None:
        yield from check(path, schema, value)
    for rule in schema.get("rules", ()):
        holds = rule_of(rule)
        if holds is not None and not holds(value):
            yield f"{path}: {_quoted(value)} breaks the rule {rule}"


def _text(path: str, schema: Schema, value: str) -> Iterator[str]:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{path} has {len(value)} characters, not {_range(schema, 'minLength', 'maxLength')}"
    if schema.get("format") == "date-time" and not _is_time(value):
        yield f"{path}: {_quoted(value)} is no time"
    if "pattern" in schema and re.search(schema["pattern"].replace("$", r"\Z"), value) is None:
        yield f"{path}: {_quoted(value)} is not like {schema['pattern']}"


def _is_time(text: str) -> bool:
    if _TIME.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _number(path: str, schema: Schema, value: float) -> Iterator[str]:
    fits = not isinstance(value, int) or -_INT64 <= value < _INT64
    if not fits or not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: {_quoted(value)} is not {_range(schema, 'minimum', 'maximum')}"
    if "multipleOf" in schema and value % schema["multipleOf"]:
        yield f"{path}: {value} is no multiple of {schema['multipleOf']}"


def _list(path: str, schema: Schema, value: list[Any]) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{path} has {len(value)} entries, not {_range(schema, 'minItems', 'maxItems')}"
        return
    for number, item in enumerate(value):
        yield from _wrong(f"{path}[{number}]", schema.get("items", {}), item)
    kind = schema.get("x-kubernetes-list-type")
    if kind in ("map", "set"):
        keys = schema.get("x-kubernetes-list-map-keys", ())
        named = [
            [item.get(key) for key in keys] if kind == "map" and isinstance(item, dict) else item for item in value
        ]
        if any(one in named[:number] for number, one in enumerate(named)):
            yield f"{path} has an entry twice"


def _object(path: str, schema: Schema, value: dict[str, Any]) -> Iterator[str]:
    fields, others = schema.get("properties", {}), schema.get("additionalProperties")
    yield from (f"{path}.{name} is missing" for name in schema.get("required", ()) if name not in value)
    if len(value) > schema.get("maxProperties", len(value)):
        yield f"{path} has {len(value)} fields, not {_range(schema, 'minProperties', 'maxProperties')}"
        return
    for name, item in value.items():
        if name in fields:
            yield from _wrong(f"{path}.{name}", fields[name], item)
        elif isinstance(others, Mapping):
            yield from _wrong(f"{path}[{_quoted(name)}]", others, item)


_CHECKS: Final[Mapping[type, Callable[[str, Schema, Any], Iterator[str]]]] = {
    str: _text,
    int: _number,
    float: _number,
    list: _list,
    dict: _object,
}


def _range(schema: Schema, least: str, most: str) -> str:
    ends = (f"at least {schema[least]}" if least in schema else "", f"at most {schema[most]}" if most in schema else "")
    return " and ".join(end for end in ends if end) or "a number of 64 bits"


def _quoted(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
