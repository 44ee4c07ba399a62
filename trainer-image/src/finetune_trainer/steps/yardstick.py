"""What an evaluation measures on: drawn anew from anchor and pool, and held to the plan that it is given.

A plan lies in the store. What is measured on is the operator's word (the anchor and the pool of the run document), so
a plan that names anything else is refused, whoever wrote it. So is one that lets a model train on what measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec.structs import replace

from ..data.anchor import anchor_fields, anchor_sample, pages_digest
from ..data.earlier_plans import listing_of, read_plan
from ..data.listing import Listing, anchor_digests, digests_of, is_measured_on
from ..data.plan import CurrentSample, checked_index, count_new_set, samples_digest, taught_digest
from ..digests import set_digest
from ..documents.anchor import AnchorIndex
from ..documents.inputs import EvaluateInputs
from ..documents.plan import NewSetCounts, Plan, PoolSample, Sample, TrainSample
from ..documents.result import ListedPool
from ..documents.run import RebuildDocument, TrainingDocument
from ..storage import normalise
from .context import StepContext
from .listed_pool import differs, read_listed_pool


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The plan, the test set and the new samples; these are fresh by what is live at this evaluation.

    `index` is the anchor's, `pool` what counted in the pool that the plan was drawn from, and `listed` how much that
    was: both read once.
    """

    plan: Plan
    index: AnchorIndex
    pool: tuple[CurrentSample, ...]
    listed: ListedPool
    test_digest: str
    test: tuple[Sample, ...]
    new_digest: str
    new_set: tuple[PoolSample, ...]
    counts: NewSetCounts


def read_yardstick(context: StepContext, document: TrainingDocument, inputs: EvaluateInputs) -> Yardstick:
    """Return what to measure on; StepError DigestMismatch where the plan says otherwise than anchor and pool do."""
    plan = read_plan(context.storage, inputs.plan)
    if plan.owner != document.owner.uid:
        raise differs(f"it belongs to {plan.owner}, not to {document.owner.uid}")
    anchor = normalise(document.data.anchor.uri)
    index = checked_index(context.storage, anchor, document.classes)
    test_digest = pages_digest(index.splits.test)
    if plan.digests.test_set != test_digest:
        raise differs(f"the test split of {anchor} has digest {test_digest}, not {plan.digests.test_set}")
    base = listing_of(context.storage, document.base.inputs)
    live = listing_of(context.storage, inputs.live.inputs if inputs.live else None)
    reading = context.progress.counting("reading pages of the pool", "pages", percent=(0, 10))
    pool = read_listed_pool(context.storage, document, plan, reading)
    judged = _judged(document, index, base, pool)
    _check_new_set(document, plan, judged)
    _check_training(document, plan, index, base, pool)
    fields = anchor_fields(index, document.classes)
    _check_anchor_fields(plan, fields)
    fresh = (not live.has(sample.stored.known) for sample in judged)
    new_set = tuple(replace(sample, fresh=is_fresh) for sample, is_fresh in zip(plan.new_set, fresh, strict=True))
    test = tuple(anchor_sample(anchor, page, fields) for page in index.splits.test)
    return Yardstick(
        plan=plan,
        index=index,
        pool=pool,
        listed=_count_listed(plan, base, pool, len(document.classes)),
        test_digest=test_digest,
        test=test,
        new_digest=plan.digests.new_set,
        new_set=new_set,
        counts=count_new_set(new_set),
    )


def _count_listed(plan: Plan, base: Listing, pool: Sequence[CurrentSample], classes: int) -> ListedPool:
    """Return what `prepare` has to have counted of the pool that the plan was drawn from."""
    taught = ((s.stored.image.sha256, s.stored.label.sha256, s.fields) for s in pool)
    return ListedPool(
        digest=taught_digest(taught, classes),
        samples=len(pool),
        withdrawn=len({listed.image for listed in plan.listing if listed.use == "withdrawn"}),
        outside=sum(not s.held_out and not base.has(s.stored.known) for s in pool),
    )


def _judged(
    document: TrainingDocument, index: AnchorIndex, base: Listing, pool: Sequence[CurrentSample]
) -> list[CurrentSample]:
    """Return the samples of the pool that Gate 2 looks at, in the pool's order."""
    trained, only_held_out = anchor_digests(index.splits.train), Decimal(document.holdout) > 0
    return [
        s
        for s in pool
        if is_measured_on(s.stored.known, held_out=s.held_out, base=base, trained=trained, only_held_out=only_held_out)
    ]


def _check_new_set(document: TrainingDocument, plan: Plan, judged: Sequence[CurrentSample]) -> None:
    """Raise StepError unless the plan's new samples are these, each once, in their order and with all that is known.

    Only boxes are not known before labels are read, and what is fresh is by what is live at this evaluation.
    """
    digest = set_digest((s.stored.image.sha256, s.stored.label.sha256) for s in judged)
    if not digest == samples_digest(plan.new_set) == plan.digests.new_set:
        uri = document.data.pool.uri
        raise differs(f"the new samples of the pool {uri} have digest {digest}, not {plan.digests.new_set}")
    of_pool = [
        PoolSample(
            image=s.stored.image,
            label=s.stored.label,
            bytes=s.stored.bytes,
            boxes=0,
            document=s.stored.document,
            fresh=False,
            held_out=s.held_out,
            fields=s.fields,
        )
        for s in judged
    ]
    if [replace(sample, boxes=0, fresh=False) for sample in plan.new_set] != of_pool:
        raise differs(
            "of its new samples it says other documents, files or classes than the pool does, in another order, or "
            "holds out others than the holdout says"
        )


def _check_training(
    document: TrainingDocument, plan: Plan, index: AnchorIndex, base: Listing, pool: Sequence[CurrentSample]
) -> None:
    """Raise StepError where the plan trains on other pages than those of pool and anchor that are there to train.

    A rebuild trains on all of them.

    What `train` did by it is not seen here. But a plan that teaches what is held out is seen before it is judged, and
    later runs read in it what this version knows already.
    """
    if len({sample.image.sha256 for sample in plan.train}) < len(plan.train):
        raise differs("it trains on a page more than once")
    rebuilds = isinstance(document, RebuildDocument)
    trainable = {_trained(s): rebuilds or not base.has(s.stored.known) for s in pool if not s.held_out}
    taught = {replace(s, boxes=0) for s in plan.train if s.origin == "pool"}
    if not {sample for sample, must in trainable.items() if must} <= taught <= trainable.keys():
        raise differs(
            "it trains on other pages of the pool than those that are not held out, or says other files or classes of "
            "them than the pool does"
        )
    ever = {digest for sample in plan.listing for digest in digests_of(sample)}
    old = {
        (p.image_sha256, p.label_sha256)
        for p in index.splits.train
        if p.image_sha256 not in ever and p.pixels not in ever
    }
    of_anchor = {_pair(s) for s in plan.train if s.origin == "anchor"}
    if not of_anchor <= old:
        raise differs("it trains on pages that are not in the anchor's train split")
    if rebuilds and of_anchor != old:
        raise differs("it leaves out pages of the anchor's train split, and a rebuild trains on all of them")
    if samples_digest(plan.val) != pages_digest(index.splits.val):
        raise differs("its val pages are not the anchor's")


def _check_anchor_fields(plan: Plan, fields: int | None) -> None:
    """Raise StepError where the plan says of a label of the anchor that it was made for other classes than it was."""
    of_anchor = (*(sample for sample in plan.train if sample.origin == "anchor"), *plan.val, *plan.test)
    if any(sample.fields != fields for sample in of_anchor):
        raise differs("it says of the anchor's labels that they were made for other classes than they were")


def _trained(sample: CurrentSample) -> TrainSample:
    stored = sample.stored
    return TrainSample(stored.image, stored.label, stored.bytes, 0, "pool", fields=sample.fields)


def _pair(sample: Sample) -> tuple[str, str | None]:
    return sample.image.sha256, sample.label.sha256 if sample.label else None
