"""Holds a JSON Schema - of a CRD or of a contract - against a msgspec Struct: one engine for both.

A side that reads takes everything that the schema allows and asks for nothing that it does not promise. A side that
writes stays within what the schema allows and leaves out nothing that it promises. Who does both says the same.
"""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import inspect

from house.crds import Schema, with_defaults
from house.schemas import allowed, limit, resolved, same_pattern, type_of, without_null

Direction = Literal["reads", "writes", "same"]

_LEAVES: dict[type[inspect.Type], str] = {
    inspect.BoolType: "boolean",
    inspect.DateTimeType: "string",
    inspect.DecimalType: "string",
    inspect.IntType: "integer",
    inspect.StrType: "string",
}
_BOUNDED: dict[type[inspect.Type], tuple[str, ...]] = {
    inspect.DecimalType: ("maxLength", "x-kubernetes-validations"),
    inspect.IntType: ("minimum", "maximum"),
    inspect.StrType: ("maxLength",),
}
"""What a CRD must say of each type without parts, so that no object grows without limit."""

_LIMITS: dict[type[inspect.Type], dict[str, str]] = {
    inspect.IntType: {
        "ge": "minimum",
        "le": "maximum",
        "gt": "exclusiveMinimum",
        "lt": "exclusiveMaximum",
        "multiple_of": "multipleOf",
    },
    inspect.StrType: {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"},
    inspect.VarTupleType: {"min_length": "minItems", "max_length": "maxItems"},
    inspect.DictType: {"min_length": "minProperties", "max_length": "maxProperties"},
}
"""How msgspec and JSON Schema call the same limit."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """How two sides are compared.

    `strict`: the type refuses what it does not know, so it must know everything, limits included. `bounded`: the
    schema of a CRD, in which everything has a limit. `stored`: its defaults are stored, and equal the type's;
    False where there are none; None where nobody looks at defaults.
    """

    reads: bool
    writes: bool
    strict: bool = False
    bounded: bool = False
    stored: bool | None = None
    every_field: bool = False


def differences(schema: Schema, kind: type, *, stored: bool) -> list[str]:
    """Return one line per difference between a CRD's `schema` and the Struct `kind`; none means that they agree.

    `stored` says that people write this part (a spec), so that defaults stand in the schema and equal the types'.
    """
    terms = _Terms(reads=True, writes=True, bounded=True, stored=stored)
    return list(_node(schema, inspect.type_info(kind), "", terms))


def contract_differences(schema: Schema, kind: type, direction: Direction, *, every_field: bool = False) -> list[str]:
    """Return one line per difference between a contract's `schema` and the Struct `kind` of a side of it.

    `every_field` says that it is written with its defaults, whatever its Struct leaves out otherwise.
    """
    strict = bool(kind.__struct_config__.forbid_unknown_fields)  # type: ignore[attr-defined]
    reads, writes = direction != "writes", direction != "reads"
    terms = _Terms(reads=reads, writes=writes, strict=strict and reads, every_field=every_field)
    return list(_node(schema, inspect.type_info(kind), "", terms))


def _node(schema: Schema, kind: inspect.Type, path: str, terms: _Terms, *, required: bool = True) -> Iterator[str]:
    schema, null = without_null(schema)
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    rest = [item for item in kinds if not isinstance(item, inspect.NoneType)]
    if not terms.bounded and not _anything(rest[0]):
        yield from _null(null, len(rest) < len(kinds), path, terms, required)
    if len(rest) == 1:
        yield from _value(schema, rest[0], path, terms)
    elif {type(item) for item in rest} != {inspect.IntType, inspect.StrType}:
        yield f"{path}: a schema of ours has no such union: {rest}"
    elif not schema.get("x-kubernetes-int-or-string") or "maxLength" not in schema:
        yield f"{path}: is no int-or-string with maxLength"


def _anything(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.AnyType) or (isinstance(kind, inspect.CustomType) and kind.cls is object)


def _null(schema: bool, types: bool, path: str, terms: _Terms, required: bool) -> Iterator[str]:
    """Compare whether null is allowed; a writer leaves an optional field out instead."""
    if terms.reads and schema and not types:
        yield f"{path}: null only in the schema"
    if terms.writes and types and not schema and required:
        yield f"{path}: null only in the types"


def _value(schema: Schema, kind: inspect.Type, path: str, terms: _Terms) -> Iterator[str]:
    match kind:
        case _ if _anything(kind):
            return
        case inspect.StructType():
            yield from _struct(schema, kind, path, terms)
        case inspect.VarTupleType(item_type=item):
            yield from _expect(path, schema, "array", terms, ("maxItems", "items"))
            yield from _limits(schema, kind, path, terms)
            yield from _node(schema.get("items", {}), item, f"{path}[]", terms)
        case inspect.DictType(value_type=value):
            yield from _map(schema, kind, value, path, terms)
        case inspect.LiteralType(values=values):
            yield from _expect(path, schema, "string", terms)
            yield from _enum(set(allowed(schema)), {str(value) for value in values}, path, terms)
        case _ if type(kind) in _LEAVES:
            yield from _expect(path, schema, _LEAVES[type(kind)], terms, _BOUNDED.get(type(kind), ()))
            if isinstance(kind, inspect.DateTimeType) and schema.get("format") != "date-time":
                yield f"{path}: format is {schema.get('format')!r}, not 'date-time'"
            yield from _limits(schema, kind, path, terms)
        case _:
            yield f"{path}: {kind} has no counterpart in a schema of ours"


def _enum(schema: set[str], types: set[str], path: str, terms: _Terms) -> Iterator[str]:
    if (terms.reads and not (schema and schema <= types)) or (terms.writes and schema and not types <= schema):
        yield f"{path}: enum {sorted(schema)} against {sorted(types)}"


def _map(schema: Schema, kind: inspect.Type, value: inspect.Type, path: str, terms: _Terms) -> Iterator[str]:
    if "properties" in schema:  # a map whose keys the schema knows is the narrower promise
        for name, child in schema["properties"].items():
            yield from _node(child, value, f"{path}.{name}", terms)
        return
    yield from _expect(path, schema, "object", terms, ("maxProperties", "additionalProperties"))
    yield from _limits(schema, kind, path, terms)
    if not _anything(value):
        yield from _node(schema.get("additionalProperties", {}), value, f"{path}{{}}", terms)


def _struct(schema: Schema, kind: inspect.StructType, path: str, terms: _Terms) -> Iterator[str]:
    yield from _expect(path, schema, "object", terms)
    if not terms.bounded and "properties" not in schema and "additionalProperties" not in schema:
        return  # the contract leaves it to one side
    properties = dict(schema.get("properties", {}))
    promised = set(schema.get("required", ()))
    if kind.tag_field is not None:
        yield from _tag(properties.pop(kind.tag_field, {}), kind, path)
        promised.discard(kind.tag_field)
    fields = {field.encode_name: field for field in kind.fields}
    yield from _names(properties.keys(), fields.keys(), promised, path, terms)
    yield from _required(promised, kind, path, terms)
    for name in sorted(properties.keys() & fields.keys()):
        place = f"{path}.{name}"
        if terms.stored is not None:
            yield from _default(properties[name], fields[name], place, terms.stored)
        yield from _node(properties[name], fields[name].type, place, terms, required=name in promised)


def _tag(schema: Schema, kind: inspect.StructType, path: str) -> Iterator[str]:
    if allowed(resolved(schema)) != (kind.tag,):
        yield f"{path}.{kind.tag_field}: is not always {kind.tag!r} in the schema"


def _names(
    schema: AbstractSet[str], types: AbstractSet[str], promised: set[str], path: str, terms: _Terms
) -> Iterator[str]:
    for name in sorted(types - schema):
        yield f"{path}.{name}: only in the types"
    needed = schema if terms.bounded or terms.strict else promised if terms.writes else set()
    for name in sorted(needed & (schema - types)):
        yield f"{path}.{name}: only in the schema"


def _required(promised: set[str], kind: inspect.StructType, path: str, terms: _Terms) -> Iterator[str]:
    asked = {field.encode_name for field in kind.fields if field.required}
    leaves_out = kind.cls.__struct_config__.omit_defaults and not terms.every_field
    always = asked if leaves_out else {field.encode_name for field in kind.fields}
    wrong = (terms.reads and not asked <= promised) or (terms.writes and not promised <= always)
    if wrong:
        yield f"{path}: required {sorted(promised)} against {sorted(asked if terms.reads else always)}"


def _limits(schema: Schema, kind: inspect.Type, path: str, terms: _Terms) -> Iterator[str]:
    for ours, name in _LIMITS.get(type(kind), {}).items():
        types, stands = getattr(kind, ours), limit(schema, name)
        types = same_pattern(types) if name == "pattern" and types else types
        if types == stands or (types is None and not terms.strict):
            continue
        if terms.strict or not _within(name, types, stands, terms):
            yield f"{path}: {name} {stands!r} in the schema against {types!r}"


def _within(name: str, types: Any, schema: Any, terms: _Terms) -> bool:
    """Tell whether limits that differ do no harm: a reader's is the wider one, a writer's the narrower one."""
    if terms.reads:
        return not terms.writes and schema is not None and _narrower(name, schema, types)
    return schema is None or _narrower(name, types, schema)


def _narrower(name: str, one: Any, other: Any) -> bool:
    if name in ("pattern", "multipleOf"):
        return False
    return bool(one > other) if "inimum" in name or name.startswith("min") else bool(one < other)


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
        return _complete(_call(field.default_factory))
    return None if field.default is msgspec.NODEFAULT else _complete(field.default)


def _call(factory: Callable[[], object]) -> object:
    return factory()


def _complete(value: Any) -> Any:
    """Return plain data with every field that is not None, defaults too: in an object, None is absent."""
    if isinstance(value, msgspec.Struct):
        fields = ((field.encode_name, getattr(value, field.name)) for field in msgspec.structs.fields(value))
        return {name: _complete(item) for name, item in fields if item is not None}
    if isinstance(value, list | tuple):
        return [_complete(item) for item in value]
    if isinstance(value, dict):
        return {key: _complete(item) for key, item in value.items()}
    return msgspec.to_builtins(value)


def _expect(path: str, schema: Schema, kind: str, terms: _Terms, present: tuple[str, ...] = ()) -> Iterator[str]:
    if (stands := type_of(schema)) != kind:
        yield f"{path}: type is {stands!r}, not {kind!r}"
    for key in present if terms.bounded else ():
        if key not in schema and not (key == "maxLength" and {"enum", "format"} & schema.keys()):
            yield f"{path}: has no {key}"
