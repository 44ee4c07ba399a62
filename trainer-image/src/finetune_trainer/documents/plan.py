"""The plan of a run: every file that trains, validates or tests, by URI and digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec.structs import asdict

from .codec import (
    Bytes,
    ClassNames,
    Count,
    Document,
    Fields,
    FileReference,
    Ratio,
    Seed,
    Sha256,
    Uid,
    Uri,
    VersionName,
    decode,
    written_schema,
)
from .production import Id

SCHEMA: Final = "finetune-operator.io/plan/v3"
SECOND_SCHEMA: Final = "finetune-operator.io/plan/v2"
EARLIER_SCHEMA: Final = "finetune-operator.io/plan/v1"

ManifestName = Annotated[str, msgspec.Meta(pattern=r"^[^/]*\.json$")]
"""The name of a file in the pool's log, without its folder."""

Use = Literal["train", "heldOut", "superseded", "withdrawn"]


class Labelled(Document, frozen=True, kw_only=True, omit_defaults=True):
    """What has a label, which was made for the first `fields` classes; None: for those of the plan.

    With fewer nothing is known of the others on this page; with more, boxes of these do not count.
    """

    fields: Fields | None = None


class Sample(Labelled, frozen=True):
    """One page with its label. `label` is null for a declared background page; `boxes` are of the plan's classes."""

    image: FileReference
    label: FileReference | None
    bytes: Bytes
    boxes: Count


class TrainSample(Sample, frozen=True):
    """A page that trains, and where it comes from."""

    origin: Literal["pool", "anchor"]


class PoolSample(Sample, frozen=True):
    """A verified page of the pool in the Gate 2 set.

    fresh: the live version's plan does not list it. held_out: the candidate is not trained on it.
    """

    document: str
    fresh: bool
    held_out: bool


class DrawnPage(Labelled, frozen=True):
    """A captured page that the third gate compares; `label` is null where nobody verified it."""

    prediction: Id
    record: FileReference
    pixels: Sha256
    label: FileReference | None


DrawnDocument = Annotated[tuple[DrawnPage, ...], msgspec.Meta(min_length=1)]
"""A document of production, by the pages of it that were drawn."""


class Digests(Document, frozen=True, omit_defaults=True):
    """sha256 of the sorted digests of the images and labels of each set; `production` is that of what was drawn.

    Those of pool and anchor have beside a label that was made for fewer classes than the plan's, for how many.
    """

    pool: Sha256
    anchor: Sha256
    test_set: Sha256
    new_set: Sha256
    production: Sha256 | None = None


class Counts(Document, frozen=True):
    """Numbers of pages. `train` is `outside` and `old`; `anchor` is the whole train split, each page once.

    pool, held_out: current samples, and those of them that only measure. withdrawn: pages that are in no other count.
    outside: samples that may train and that the base's listing does not have. new: those that no judged listing has;
    corrected: of these, the ones whose page was judged with another label. fresh: those (held-out ones too) that the
    live version's listing does not have.
    """

    pool: Count
    held_out: Count
    withdrawn: Count
    outside: Count
    new: Count
    corrected: Count
    fresh: Count
    train: Count
    old: Count
    anchor: Count
    val: Count
    test: Count


class NewSetCounts(Document, frozen=True):
    """What Gate 2 looks at; `fresh` counts documents with pages that the live version's listing does not have."""

    documents: Count
    boxes: Count
    fresh: Count


class PlanBase(Document, frozen=True):
    """The base that the plan was made for."""

    version: VersionName
    checkpoint: FileReference


class KnownSample(Document, frozen=True):
    """A sample by its digests. A page is known by its pixels, or where these are null by its image.

    Null stands for what a plan of an earlier release does not say; a null label is any label of the page.
    """

    image: Sha256
    pixels: Sha256 | None
    label: Sha256 | None


class ListedSample(KnownSample, frozen=True):
    """A sample of the pool as it was, and what it was there for."""

    use: Use


class _OfPool(Document, frozen=True, kw_only=True, omit_defaults=True):
    schema: str
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
    listing: tuple[ListedSample, ...]
    judged_before: tuple[KnownSample, ...]
    production: tuple[DrawnDocument, ...] | None = None


class Plan(_OfPool, frozen=True, kw_only=True):
    """`listing` is the whole pool as it was, by which later runs tell what is fresh, new and outside.

    `pool_log` names what it was drawn from: the manifests of the pool's log, sorted, each once. Plans that an earlier
    trainer wrote do not say it: there it is empty. `judged_before` has what judged runs listed of other pools.
    `production` is None where the third gate is not asked for.
    """

    schema: Literal["finetune-operator.io/plan/v3"]
    pool_log: Annotated[tuple[ManifestName, ...], msgspec.Meta(min_length=1)]


class SecondPlan(_OfPool, frozen=True, kw_only=True):
    """A plan that does not say what it was drawn from, and is as today's otherwise."""

    schema: Literal["finetune-operator.io/plan/v2"]

    def today(self) -> Plan:
        """Return the plan as this release has it."""
        return Plan(**{**asdict(self), "schema": SCHEMA, "pool_log": ()})


class EarlierCounts(Document, frozen=True):
    """What the last release counted: its `new` was what is `outside` now, its `fresh` what live did not train on."""

    pool: Count
    fresh: Count
    held_out: Count
    train: Count
    new: Count
    old: Count
    anchor: Count
    val: Count
    test: Count


class EarlierPlan(Document, frozen=True, kw_only=True):
    """A plan of the last release: its `pool` has the digests of the images of all samples."""

    schema: Literal["finetune-operator.io/plan/v1"]
    owner: Uid
    classes: ClassNames
    base: PlanBase
    anchor_uri: Uri
    pool_uri: Uri
    seed: Seed
    ratio: Ratio
    counts: EarlierCounts
    digests: Digests
    train: tuple[TrainSample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    new_set: tuple[PoolSample, ...]
    held_out_documents: tuple[str, ...]
    pool: tuple[Sha256, ...]

    def today(self) -> Plan:
        """Return the plan as this release has it. Labels are known of what trained and of what was measured on."""
        counts = self.counts
        return Plan(
            schema=SCHEMA,
            owner=self.owner,
            classes=self.classes,
            base=self.base,
            anchor_uri=self.anchor_uri,
            pool_uri=self.pool_uri,
            seed=self.seed,
            ratio=self.ratio,
            counts=Counts(
                pool=counts.pool,
                held_out=counts.held_out,
                withdrawn=0,
                outside=counts.new,
                new=counts.new,
                corrected=0,
                fresh=counts.fresh,
                train=counts.train,
                old=counts.old,
                anchor=counts.anchor,
                val=counts.val,
                test=counts.test,
            ),
            digests=self.digests,
            train=self.train,
            val=self.val,
            test=self.test,
            new_set=self.new_set,
            held_out_documents=self.held_out_documents,
            listing=tuple(self._listing()),
            judged_before=(),
            pool_log=(),
        )

    def _listing(self) -> Iterator[ListedSample]:
        trained = {sample.image.sha256 for sample in self.train if sample.origin == "pool"}
        labels = {sample.image.sha256: sample.label for sample in (*self.new_set, *self.train)}
        for image in self.pool:
            label = labels.get(image)
            use: Use = "train" if image in trained else "heldOut"
            yield ListedSample(image=image, pixels=None, label=label.sha256 if label else None, use=use)


class _Listed(Document, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Of a plan, only what it lists: the rest of a long one takes most of the memory, and is passed over."""

    schema: Literal["finetune-operator.io/plan/v2", "finetune-operator.io/plan/v3"]
    listing: tuple[ListedSample, ...]
    judged_before: tuple[KnownSample, ...]


def parse_listed(data: bytes, where: str) -> tuple[KnownSample, ...]:
    """Return all that `plan.json` says was known by then, of its pool and of others; StepError ContractViolated.

    Digests tell that the file is the plan that is meant, so nothing else of it is looked at.
    """
    plan = _listed(data, where)
    return (*plan.listing, *plan.judged_before)


def parse_listing(data: bytes, where: str) -> tuple[ListedSample, ...]:
    """Return what `plan.json` lists of its own pool alone, as `parse_listed` does."""
    return _listed(data, where).listing


def _listed(data: bytes, where: str) -> _Listed | Plan:
    written = written_schema(data)
    if written == EARLIER_SCHEMA:
        return parse_plan(data, where)
    return decode(data, _Listed, f"The plan {where}", SECOND_SCHEMA if written == SECOND_SCHEMA else SCHEMA)


def parse_plan(data: bytes, where: str) -> Plan:
    """Parse `plan.json`, also one that an earlier trainer wrote; StepError ContractViolated."""
    written = written_schema(data)
    if written in (EARLIER_SCHEMA, SECOND_SCHEMA):
        kind: type[EarlierPlan | SecondPlan] = EarlierPlan if written == EARLIER_SCHEMA else SecondPlan
        return decode(data, kind, f"The plan {where}").today()
    return decode(data, Plan, f"The plan {where}", SCHEMA)
