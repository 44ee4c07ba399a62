"""A batch of the pool: one immutable manifest beside its content-addressed files."""

from __future__ import annotations

from typing import Final, Literal

from .codec import Bytes, ClassNames, Document, Look, Sha256, decode

SCHEMA: Final = "finetune-operator.io/pool-batch/v1"


class ImageFile(Document, frozen=True):
    """An image by its path below the pool; digest of its pixels and its look, null in a batch of an earlier release."""

    path: str
    sha256: Sha256
    bytes: Bytes
    pixels: Sha256 | None = None
    look: Look | None = None


class LabelFile(Document, frozen=True):
    """A label by its path below the pool."""

    path: str
    sha256: Sha256


class BatchSample(Document, frozen=True):
    """One verified page. `verified_at` is an ISO 8601 date; empty verifiers are refused where samples are used."""

    image: ImageFile
    label: LabelFile
    document: str
    source: str
    verified_by: str = ""
    verified_at: str = ""


class PoolBatch(Document, frozen=True, kw_only=True):
    """One batch; `created_at` is RFC 3339."""

    schema: Literal["finetune-operator.io/pool-batch/v1"] = SCHEMA
    id: str
    created_at: str
    classes: ClassNames
    samples: tuple[BatchSample, ...]


def parse_pool_batch(data: bytes, where: str) -> PoolBatch:
    """Parse a batch manifest; StepError ContractViolated."""
    return decode(data, PoolBatch, f"The pool batch {where}", SCHEMA)
