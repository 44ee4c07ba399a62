"""The plan of a run: every file that trains, validates or tests, by URI and digest."""

from __future__ import annotations

from typing import Final, Literal

from finetune_trainer.documents.codec import ClassNames, Document, Located, Sha256, Uri, decode

SCHEMA: Final = "finetune-operator.io/plan/v1"


class Sample(Document, frozen=True):
    """One page with its label. `label` is null for a declared background page."""

    image: Located
    label: Located | None
    bytes: int
    boxes: int


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

    pool: int
    fresh: int
    held_out: int
    train: int
    new: int
    old: int
    anchor: int
    val: int
    test: int


class PlanBase(Document, frozen=True):
    """The base that the plan was made for."""

    version: str
    checkpoint: Located


class Plan(Document, frozen=True, kw_only=True):
    """`pool` lists the image digests of every pool sample at the time, for later runs to tell what is fresh."""

    schema: str = SCHEMA
    owner: str
    classes: ClassNames
    base: PlanBase
    anchor_uri: Uri
    pool_uri: Uri
    seed: int
    ratio: str
    counts: Counts
    digests: Digests
    train: tuple[TrainSample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    new_set: tuple[PoolSample, ...]
    held_out_documents: tuple[str, ...]
    pool: tuple[Sha256, ...]


def parse_plan(data: bytes, where: str) -> Plan:
    """Parse `plan.json`; StepError DocumentInvalid."""
    return decode(data, Plan, f"The plan {where}", SCHEMA)
