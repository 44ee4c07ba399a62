"""The plan of a run: every file that trains, validates or tests, by URI and digest."""

from __future__ import annotations

from typing import Final, Literal

from .codec import (
    Bytes,
    ClassNames,
    Count,
    Document,
    FileReference,
    Ratio,
    Seed,
    Sha256,
    Uid,
    Uri,
    VersionName,
    decode,
)

SCHEMA: Final = "finetune-operator.io/plan/v1"


class Sample(Document, frozen=True):
    """One page with its label. `label` is null for a declared background page."""

    image: FileReference
    label: FileReference | None
    bytes: Bytes
    boxes: Count


class TrainSample(Sample, frozen=True):
    """A page that trains, and where it comes from."""

    origin: Literal["pool", "anchor"]


class PoolSample(Sample, frozen=True):
    """A verified page of the pool in the Gate 2 set.

    fresh: the live version was not trained on it. held_out: the candidate is not trained on it.
    """

    document: str
    fresh: bool
    held_out: bool


class Digests(Document, frozen=True):
    """sha256 of the sorted digests of the images and labels of each set."""

    pool: Sha256
    anchor: Sha256
    test_set: Sha256
    new_set: Sha256


class Counts(Document, frozen=True):
    """Numbers of images; `heldOut` of the pool; `anchor` is the whole train split that `old` is drawn from."""

    pool: Count
    fresh: Count
    held_out: Count
    train: Count
    new: Count
    old: Count
    anchor: Count
    val: Count
    test: Count


class NewSetCounts(Document, frozen=True):
    """What Gate 2 looks at; `fresh` counts documents with pages that the live version was not trained on."""

    documents: Count
    boxes: Count
    fresh: Count


class PlanBase(Document, frozen=True):
    """The base that the plan was made for."""

    version: VersionName
    checkpoint: FileReference


class Plan(Document, frozen=True, kw_only=True):
    """`pool` lists the image digests of every pool sample at the time, for later runs to tell what is fresh."""

    schema: Literal["finetune-operator.io/plan/v1"] = SCHEMA
    owner: Uid
    classes: ClassNames
    base: PlanBase
    anchor_uri: Uri
    pool_uri: Uri
    seed: Seed
    ratio: Ratio
    counts: Counts
    digests: Digests
    train: tuple[TrainSample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    new_set: tuple[PoolSample, ...]
    held_out_documents: tuple[str, ...]
    pool: tuple[Sha256, ...]


def parse_plan(data: bytes, where: str) -> Plan:
    """Parse `plan.json`; StepError ContractViolated."""
    return decode(data, Plan, f"The plan {where}", SCHEMA)
