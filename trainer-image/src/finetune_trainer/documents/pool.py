"""What the pool's log has: batches, corrections and withdrawals, each an immutable manifest beside files by content."""

from __future__ import annotations

from typing import Final, Literal

from .codec import Bytes, ClassNames, Document, Look, Sha256, decode, written_schema

BATCH: Final = "finetune-operator.io/pool-batch/v1"
CORRECTION: Final = "finetune-operator.io/pool-correction/v1"
WITHDRAWAL: Final = "finetune-operator.io/pool-withdrawal/v1"


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

    schema: Literal["finetune-operator.io/pool-batch/v1"] = BATCH
    id: str
    created_at: str
    classes: ClassNames
    samples: tuple[BatchSample, ...]


class CorrectedSample(Document, frozen=True):
    """A page of the pool, by its image there and its pixels, and the label that it has from now on."""

    image: Sha256
    pixels: Sha256
    label: LabelFile
    replaces: Sha256
    verified_by: str
    verified_at: str


class PoolCorrection(Document, frozen=True, kw_only=True):
    """New labels for pages of the pool, and why."""

    schema: Literal["finetune-operator.io/pool-correction/v1"] = CORRECTION
    id: str
    created_at: str
    classes: ClassNames
    reason: str
    samples: tuple[CorrectedSample, ...]


class WithdrawnSample(Document, frozen=True):
    """A sample as it was when its page was withdrawn; `pixels` is null where its image could not be read."""

    image: Sha256
    pixels: Sha256 | None
    label: Sha256


class PoolWithdrawal(Document, frozen=True, kw_only=True):
    """Pages that are to train and judge no more; `erased` says that their bytes go too."""

    schema: Literal["finetune-operator.io/pool-withdrawal/v1"] = WITHDRAWAL
    id: str
    created_at: str
    by: str
    reason: str
    erased: bool
    samples: tuple[WithdrawnSample, ...]


PoolEntry = PoolBatch | PoolCorrection | PoolWithdrawal


def parse_pool_entry(data: bytes, where: str) -> PoolEntry:
    """Parse a manifest of the pool's log; StepError ContractViolated, also for a kind that is not known here."""
    match written_schema(data):
        case "finetune-operator.io/pool-correction/v1":
            return decode(data, PoolCorrection, f"The pool correction {where}")
        case "finetune-operator.io/pool-withdrawal/v1":
            return decode(data, PoolWithdrawal, f"The pool withdrawal {where}")
        case _:
            return decode(data, PoolBatch, f"The pool batch {where}", BATCH)
