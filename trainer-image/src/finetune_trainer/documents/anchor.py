"""The anchor's index: what the train, val and test splits hold, with digests."""

from __future__ import annotations

from typing import Final, Literal

from .codec import Bytes, ClassNames, Count, Document, Look, Sha256, decode

SCHEMA: Final = "finetune-operator.io/anchor-index/v1"
INDEX_NAME: Final = "finetune-index.json"


class AnchorPage(Document, frozen=True):
    """Paths relative to the anchor's URI; `label` and its digest are null for a declared background page.

    `pixels` is the digest of the decoded pixels, `look` a hash that differs little between copies; null in an index of
    an earlier release.
    """

    image: str
    label: str | None
    image_sha256: Sha256
    label_sha256: Sha256 | None
    bytes: Bytes
    boxes: Count
    pixels: Sha256 | None = None
    look: Look | None = None


class Splits(Document, frozen=True):
    """The entries of each split."""

    train: tuple[AnchorPage, ...]
    val: tuple[AnchorPage, ...]
    test: tuple[AnchorPage, ...]


class AnchorIndex(Document, frozen=True, kw_only=True):
    """The whole index; class order is index order."""

    schema: Literal["finetune-operator.io/anchor-index/v1"] = SCHEMA
    classes: ClassNames
    splits: Splits


def parse_anchor_index(data: bytes, where: str) -> AnchorIndex:
    """Parse `finetune-index.json`; StepError ContractViolated."""
    return decode(data, AnchorIndex, f"The anchor index {where}", SCHEMA)
