"""Strict decoding and canonical encoding of the contract's JSON."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec

from ..digests import sha256_of
from ..errors import Reason, bad_input

# These limits are copies: contracts/common.schema.json is their source, and tests/contract holds them to it.
LONGEST_URI: Final = 2048
MAX_CLASSES: Final = 80
LONGEST_CLASS_NAME: Final = 63
CLASS_NAME: Final = r"^[^\x00-\x20\x7f,]([^\x00-\x1f\x7f,]*[^\x00-\x20\x7f,])?$"

# Numbers that a verdict hangs on travel as decimal strings: the same digits on every side.
# Very small ones arrive with an exponent (1E-8), as Python's Decimal writes them.
Decimal = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?$")]
Share = Annotated[
    str, msgspec.Meta(pattern=r"^(0(\.[0-9]{1,12})?|1(\.0{1,12})?|[0-9](\.[0-9]{1,12})?[eE]-[0-9]{1,2})$")
]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Look = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Ratio = Annotated[str, msgspec.Meta(max_length=16, pattern=r"^[0-9]{1,4}(\.[0-9]{1,6})?$")]
Uri = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_URI)]
ClassName = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_CLASS_NAME, pattern=CLASS_NAME)]
ClassNames = Annotated[tuple[ClassName, ...], msgspec.Meta(min_length=1, max_length=MAX_CLASSES)]
Fields = Annotated[int, msgspec.Meta(ge=1, le=MAX_CLASSES)]
"""Number of classes, the first ones of a list."""
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=30, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
VersionName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=20,
        pattern=r"^(base_v[1-9][0-9]{0,4}|ft_v[1-9][0-9]{0,4}[.][1-9][0-9]{0,6})$",
    ),
]
Uid = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Nonce = Annotated[str, msgspec.Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9]+$")]
Attempt = Annotated[int, msgspec.Meta(ge=1, le=1000)]
ScanAttempt = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Round = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
ImageSize = Annotated[int, msgspec.Meta(ge=32, le=4096, multiple_of=32)]
MaxDetections = Annotated[int, msgspec.Meta(ge=1, le=10_000)]

DocumentT = TypeVar("DocumentT")


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base of all contract values: immutable, camelCase on the wire, unknown fields refused."""


class FileReference(Document, frozen=True):
    """An object by URI and digest."""

    uri: Uri
    sha256: Sha256


class _Header(msgspec.Struct, frozen=True):
    schema: str = ""


def decode(data: bytes, kind: type[DocumentT], what: str, schema: str | None = None) -> DocumentT:
    """Parse `data` as `kind`; StepError ContractViolated names the document, the place in it and the remedy.

    `schema` is the version that this trainer reads; another one is reported as such, not as a list of odd fields.
    """
    try:
        if schema is not None:
            written = msgspec.json.decode(data, type=_Header).schema
            if written != schema:
                raise bad_input(
                    Reason.CONTRACT_VIOLATED,
                    f"{what} has schema {written!r}; this trainer reads {schema!r}.",
                    "Use operator and trainer images of the same release.",
                )
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            f"{what} is not valid: {error}.",
            "Use operator and trainer images of the same release, and documents as they were written.",
        ) from error


def written_schema(data: bytes) -> str:
    """Return the version of its contract that a document says it is of; "" where it does not say it."""
    try:
        return msgspec.json.decode(data, type=_Header).schema
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""


def encode(value: Any) -> bytes:
    """Return compact JSON in the declared order of fields."""
    return msgspec.json.encode(value)


def digest(value: Any) -> str:
    """Return the sha256 of the value's canonical JSON (sorted keys)."""
    return sha256_of(msgspec.json.encode(value, order="deterministic"))
