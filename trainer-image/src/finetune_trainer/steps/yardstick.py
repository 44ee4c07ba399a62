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
from ..data.plan import checked_index, count_new_set, samples_digest, taught_digest
from ..digests import set_digest
from ..documents.anchor import AnchorIndex
from ..documents.inputs import EvaluateInputs
from ..documents.plan import NewSetCounts, Plan, PoolSample, Sample
from ..documents.result import ListedPool
from ..documents.run import RebuildDocument, TrainingDocument
from ..storage import normalise
from .context import StepContext
from .listed_pool import CurrentSample, differs, read_listed_pool


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The plan, the test set and the new samples; these are fresh by what is live at this evaluation.

    `index` is the anchor's, `pool` what counted in the pool when the plan was drawn, and `listed` how much that was:
    both read once, and held to it.
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
    pool = read_listed_pool(context.storage, document, plan, (base, live))
    _check_new_set(document, plan, index, base, pool)
    _check_training(document, plan, index, base, pool)
    _check_fields(document, plan, index, pool)
    known = {_stored_pair(sample): sample.known for sample in pool}
    new_set = tuple(replace(sample, fresh=not live.has(known[_pair(sample)])) for sample in plan.new_set)
    fields = anchor_fields(index, document.classes)
    test = tuple(anchor_sample(anchor, page, fields) for page in index.splits.test)
    return Yardstick(
        plan=plan,
        index=index,
        pool=tuple(pool),
        listed=_count_listed(plan, base, pool, len(document.classes)),
        test_digest=test_digest,
        test=test,
        new_digest=plan.digests.new_set,
        new_set=new_set,
        counts=count_new_set(new_set),
    )


def _count_listed(plan: Plan, base: Listing, pool: Sequence[CurrentSample], classes: int) -> ListedPool:
    """Return what `prepare` has to have counted, by the plan's listing as the pool bears it out."""
    whole = ({None if fields is None or fields >= classes else fields for fields in s.fields} for s in pool)
    taught = ((s.stored.image.sha256, s.stored.label.sha256, next(iter(s.fields))) for s in pool)
    return ListedPool(
        digest=taught_digest(taught, classes) if all(len(fields) == 1 for fields in whole) else None,
        samples=len(pool),
        withdrawn=len({listed.image for listed in plan.listing if listed.use == "withdrawn"}),
        outside=sum(not s.held_out and not base.has(s.known) for s in pool),
    )


def _check_new_set(
    document: TrainingDocument, plan: Plan, index: AnchorIndex, base: Listing, pool: Sequence[CurrentSample]
) -> None:
    """Raise StepError unless the plan's new samples are those of the pool that it was drawn from, every one."""
    uri, share = document.data.pool.uri, Decimal(document.holdout)
    trained = anchor_digests(index.splits.train)
    judged = [
        s
        for s in pool
        if is_measured_on(s.known, held_out=s.held_out, base=base, trained=trained, only_held_out=share > 0)
    ]
    digest = set_digest((s.stored.image.sha256, s.stored.label.sha256) for s in judged)
    if not digest == samples_digest(plan.new_set) == plan.digests.new_set:
        raise differs(f"the new samples of the pool {uri} have digest {digest}, not {plan.digests.new_set}")
    held_out = {s.stored.image.sha256: (s.stored.document, s.held_out) for s in judged}
    if any((s.document, s.held_out) != held_out[s.image.sha256] for s in plan.new_set):
        raise differs("it names other documents, or holds out others, than the pool and the holdout say")


def _check_training(
    document: TrainingDocument, plan: Plan, index: AnchorIndex, base: Listing, pool: Sequence[CurrentSample]
) -> None:
    """Raise StepError where the plan trains on other pages than those of pool and anchor that are there to train.

    A rebuild trains on all of them.

    What `train` did by it is not seen here. But a plan that teaches what is held out is seen before it is judged, and
    later runs read in it what this version knows already.
    """
    trainable = [s for s in pool if not s.held_out]
    rebuilds = isinstance(document, RebuildDocument)
    least = {_stored_pair(s) for s in trainable if rebuilds or not base.has(s.known)}
    taught = {_pair(s) for s in plan.train if s.origin == "pool"}
    if not least <= taught <= {_stored_pair(s) for s in trainable}:
        raise differs("it trains on other pages of the pool than those that are not held out")
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


def _check_fields(document: TrainingDocument, plan: Plan, index: AnchorIndex, pool: Sequence[CurrentSample]) -> None:
    """Raise StepError where the plan says of a label that it was made for other classes than it was."""
    of_anchor = frozenset((anchor_fields(index, document.classes),))
    of_pool = {_stored_pair(sample): sample.fields for sample in pool}
    from_pool = [sample for sample in plan.train if sample.origin == "pool"]
    said = [(sample, of_pool[_pair(sample)]) for sample in (*from_pool, *plan.new_set)]
    others = (*(sample for sample in plan.train if sample.origin == "anchor"), *plan.val, *plan.test)
    said += [(sample, of_anchor) for sample in others]
    if any(sample.fields not in fields for sample, fields in said):
        raise differs("it says of labels that they were made for other classes than they were")


def _stored_pair(sample: CurrentSample) -> tuple[str, str | None]:
    return sample.stored.image.sha256, sample.stored.label.sha256


def _pair(sample: Sample) -> tuple[str, str | None]:
    return sample.image.sha256, sample.label.sha256 if sample.label else None
