"""Holds a CRD's schema against the operator's types, in both directions."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from finetune_operator.api.value import complete
from house.crds import Schema, with_defaults

_LEAVES: dict[type[inspect.Type], tuple[dict[str, str], tuple[str, ...]]] = {
    inspect.BoolType: ({"type": "boolean"}, ()),
    inspect.DateTimeType: ({"type": "string", "format": "date-time"}, ()),
    inspect.DecimalType: ({"type": "string"}, ("maxLength", "x-kubernetes-validations")),
    inspect.IntType: ({"type": "integer"}, ("minimum", "maximum")),
    inspect.StrType: ({"type": "string"}, ("maxLength",)),
}
"""What a schema must say and have for each type without parts."""


def differences(schema: Schema, kind: type, *, stored: bool) -> list[str]:
    """Return one line per difference between `schema` and the Struct `kind`; none means that they agree.

    `stored` says that people write this part (a spec), so that defaults stand in the schema and equal the types'.
    """
    return list(_node(schema, inspect.type_info(kind), "", stored))


def _node(schema: Schema, kind: inspect.Type, path: str, stored: bool) -> Iterator[str]:
    match kind:
        case inspect.AnyType():
            return
        case inspect.UnionType(types=types):
            yield from _union(schema, types, path, stored)
        case inspect.StructType():
            yield from _struct(schema, kind, path, stored)
        case inspect.VarTupleType(item_type=item):
            yield from _expect(path, schema, type="array", present=("maxItems", "items"))
            yield from _node(schema.get("items", {}), item, f"{path}[]", stored)
        case inspect.DictType(value_type=value):
            yield from _map(schema, value, path, stored)
        case inspect.LiteralType(values=values):
            yield from _expect(path, schema, type="string")
            if set(schema.get("enum", ())) != set(values):
                yield f"{path}: enum {schema.get('enum')} against {list(values)}"
        case _ if type(kind) in _LEAVES:
            wanted, present = _LEAVES[type(kind)]
            yield from _expect(path, schema, present=present, **wanted)
        case _:
            yield f"{path}: {kind} has no counterpart in a CRD"


def _union(schema: Schema, types: tuple[inspect.Type, ...], path: str, stored: bool) -> Iterator[str]:
    rest = [kind for kind in types if not isinstance(kind, inspect.NoneType)]
    if len(rest) == 1:
        yield from _node(schema, rest[0], path, stored)
    elif {type(kind) for kind in rest} != {inspect.IntType, inspect.StrType}:
        yield f"{path}: a CRD has no such union: {types}"
    elif not schema.get("x-kubernetes-int-or-string") or "maxLength" not in schema:
        yield f"{path}: is no int-or-string with maxLength"


def _map(schema: Schema, value: inspect.Type, path: str, stored: bool) -> Iterator[str]:
    if "properties" in schema:  # a map whose keys the schema knows is the narrower promise
        for name, child in schema["properties"].items():
            yield from _node(child, value, f"{path}.{name}", stored)
        return
    yield from _expect(path, schema, type="object", present=("maxProperties", "additionalProperties"))
    yield from _node(schema.get("additionalProperties", {}), value, f"{path}{{}}", stored)


def _struct(schema: Schema, kind: inspect.StructType, path: str, stored: bool) -> Iterator[str]:
    yield from _expect(path, schema, type="object")
    properties = schema.get("properties", {})
    fields = {field.encode_name: field for field in kind.fields}
    for name in sorted(properties.keys() ^ fields.keys()):
        yield f"{path}.{name}: only in the {'schema' if name in properties else 'types'}"
    required = {name for name, field in fields.items() if field.required}
    if set(schema.get("required", ())) != required:
        yield f"{path}: required {sorted(schema.get('required', ()))} against {sorted(required)}"
    for name in sorted(properties.keys() & fields.keys()):
        yield from _default(properties[name], fields[name], f"{path}.{name}", stored)
        yield from _node(properties[name], fields[name].type, f"{path}.{name}", stored)


def _default(schema: Schema, field: inspect.Field, path: str, stored: bool) -> Iterator[str]:
    default = _default_of(field)
    if not stored:
        if "default" in schema:
            yield f"{path}: a status has no defaults"
    elif default is None:
        if "default" in schema:
            yield f"{path}: default {schema['default']!r} only in the schema"
    elif "default" not in schema:
        yield f"{path}: default {default!r} only in the types"
    elif with_defaults(schema, schema["default"]) != default:
        yield f"{path}: default {schema['default']!r} against {default!r}"


def _default_of(field: inspect.Field) -> Any:
    """Return the field's default as the API server would store it; None for none."""
    if field.default_factory is not msgspec.NODEFAULT:
        return _present(complete(_call(field.default_factory)))
    return None if field.default is msgspec.NODEFAULT else _present(complete(field.default))


def _call(factory: Callable[[], object]) -> object:
    return factory()


def _present(value: Any) -> Any:
    """Leave out what is None: in an object it is absent."""
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not None}
    return value


def _expect(path: str, schema: Schema, *, present: tuple[str, ...] = (), **wanted: str) -> Iterator[str]:
    for key, value in wanted.items():
        if schema.get(key) != value:
            yield f"{path}: {key} is {schema.get(key)!r}, not {value!r}"
    for key in present:
        if key not in schema and not (key == "maxLength" and {"enum", "format"} & schema.keys()):
            yield f"{path}: has no {key}"
