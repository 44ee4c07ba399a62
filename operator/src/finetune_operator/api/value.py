"""The base of every parsed value, and the one way from and to plain JSON data."""

from functools import cache
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Value(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """An immutable value with camelCase names on the wire; fields at their default are left out."""


class InvalidObject(ValueError):
    """An object or document that does not have the shape of its kind; the message names the path."""


def parse(data: object, kind: type[T]) -> T:
    """Return `data` (plain JSON data) as a `kind`.

    Decimal strings become Decimal, RFC 3339 strings become aware datetimes.
    Raises InvalidObject with the path of the first field that does not fit.
    """
    try:
        return msgspec.convert(data, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidObject(str(error)) from error


def parse_json(text: bytes | str, kind: type[T]) -> T:
    """Like `parse`, from JSON text. Raises InvalidObject for text that is no JSON, too."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidObject(str(error)) from error


def plain(value: object) -> Any:
    """Return `value` as plain JSON data (dict, list, str, int, float, bool, None), as the API server gives it back.

    Tuples become lists here, or a status would differ from itself and be written for ever.
    """
    return msgspec.json.decode(msgspec.json.encode(value))


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of `value` that digests are taken of: sorted keys, no spaces."""
    return msgspec.json.encode(value, order="sorted")


def complete(value: object) -> Any:
    """Like `plain`, but with every field present: what leaves the cluster must not hang on our defaults."""
    if isinstance(value, msgspec.Struct):
        return {wire: complete(getattr(value, name)) for wire, name in _fields(type(value))}
    if isinstance(value, list | tuple):
        return [complete(item) for item in value]
    if isinstance(value, dict):
        return {key: complete(item) for key, item in value.items()}
    return msgspec.to_builtins(value)


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    """Return (name on the wire, attribute) of every field; looking them up costs more than all the rest."""
    return tuple((field.encode_name, field.name) for field in msgspec.structs.fields(kind))
