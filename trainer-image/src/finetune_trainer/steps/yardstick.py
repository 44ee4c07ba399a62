"""What an evaluation measures on: drawn anew from anchor and pool, and held to the plan that it is given.

A plan lies in the store. What is measured on is the operator's word (the anchor and the pool of the run document), so
a plan that names anything else is refused, whoever wrote it. So is one that lets a model train on what measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec.structs import replace

from ..data.anchor import anchor_sample, check_splits, pages_digest, read_index
from ..data.mixing import is_held_out
from ..data.plan import count_new_set, read_plan, samples_digest, trained_pool
from ..data.pool import StoredSample, read_pool
from ..digests import set_digest
from ..documents.anchor import AnchorIndex
from ..documents.classes import check_classes
from ..documents.inputs import EvaluateInputs
from ..documents.plan import NewSetCounts, Plan, PoolSample, Sample
from ..documents.run import FineTuneDocument
from ..errors import Reason, StepError, bad_input
from ..storage import Storage, normalise
from .context import StepContext


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The plan, the test set and the new samples; these are fresh by what is live at this evaluation."""

    plan: Plan
    test_digest: str
    test: tuple[Sample, ...]
    new_digest: str
    new_set: tuple[PoolSample, ...]
    counts: NewSetCounts


def read_yardstick(context: StepContext, document: FineTuneDocument, inputs: EvaluateInputs) -> Yardstick:
    """Return what to measure on; StepError DigestMismatch where the plan says otherwise than anchor and pool do."""
    plan = read_plan(context.storage, inputs.plan)
    if plan.owner != document.owner.uid:
        raise _differs(f"it belongs to {plan.owner}, not to {document.owner.uid}")
    anchor = normalise(document.data.anchor.uri)
    index = read_index(context.storage, anchor)
    check_classes(index.classes, f"The anchor {anchor}", expected=document.classes)
    check_splits(index, anchor)
    test_digest = pages_digest(index.splits.test)
    if plan.digests.test_set != test_digest:
        raise _differs(f"the test split of {anchor} has digest {test_digest}, not {plan.digests.test_set}")
    pool = _listed_pool(context.storage, document, plan)
    _check_new_set(context.storage, document, plan, index, pool)
    _check_training(document, plan, index, pool)
    known = trained_pool(context.storage, inputs.live.inputs if inputs.live else None)
    new_set = tuple(replace(sample, fresh=sample.image.sha256 not in known) for sample in plan.new_set)
    test = tuple(anchor_sample(anchor, page) for page in index.splits.test)
    return Yardstick(plan, test_digest, test, plan.digests.new_set, new_set, count_new_set(new_set))


def _listed_pool(storage: Storage, document: FineTuneDocument, plan: Plan) -> list[StoredSample]:
    """Return the samples of the pool that the plan was drawn from: the pool may have grown since."""
    uri, listed = normalise(document.data.pool.uri), frozenset(plan.pool)
    pool = [sample for sample in read_pool(storage, uri, document.classes) if sample.image.sha256 in listed]
    if len(pool) != len(listed) or len(pool) < document.mixing.min_pool_samples:
        raise _differs(f"{len(pool)} of its {len(listed)} samples are in the pool {uri}")
    return pool


def _check_new_set(
    storage: Storage, document: FineTuneDocument, plan: Plan, index: AnchorIndex, pool: Sequence[StoredSample]
) -> None:
    """Raise StepError unless the plan's new samples are those of the pool that it was drawn from, every one."""
    uri, share = document.data.pool.uri, Decimal(document.holdout)
    trained = trained_pool(storage, document.base.inputs) | {page.image_sha256 for page in index.splits.train}
    judged = [s for s in pool if s.image.sha256 not in trained and (share == 0 or is_held_out(s.document, share))]
    digest = set_digest((sample.image.sha256, sample.label.sha256) for sample in judged)
    if not digest == samples_digest(plan.new_set) == plan.digests.new_set:
        raise _differs(f"the new samples of the pool {uri} have digest {digest}, not {plan.digests.new_set}")
    held_out = {s.image.sha256: (s.document, is_held_out(s.document, share)) for s in judged}
    if any((s.document, s.held_out) != held_out[s.image.sha256] for s in plan.new_set):
        raise _differs("it names other documents, or holds out others, than the pool and the holdout say")


def _check_training(document: FineTuneDocument, plan: Plan, index: AnchorIndex, pool: Sequence[StoredSample]) -> None:
    """Raise StepError where the plan trains on other pages than those of pool and anchor that are there to train.

    What `train` did by it is not seen here. But a plan that teaches what is held out is seen before it is judged, and
    later runs read in it what this version knows already.
    """
    share = Decimal(document.holdout)
    verified = {s.image.sha256 for s in pool}
    new = {(s.image.sha256, s.label.sha256) for s in pool if not is_held_out(s.document, share)}
    old = {(p.image_sha256, p.label_sha256) for p in index.splits.train if p.image_sha256 not in verified}
    if {_pair(s) for s in plan.train if s.origin == "pool"} != new:
        raise _differs("it trains on other pages of the pool than those that are not held out")
    if not {_pair(s) for s in plan.train if s.origin == "anchor"} <= old:
        raise _differs("it trains on pages that are not in the anchor's train split")
    if samples_digest(plan.val) != pages_digest(index.splits.val):
        raise _differs("its val pages are not the anchor's")


def _pair(sample: Sample) -> tuple[str, str | None]:
    return sample.image.sha256, sample.label.sha256 if sample.label else None


def _differs(what: str) -> StepError:
    return bad_input(
        Reason.DIGEST_MISMATCH,
        f"The plan is not what the run document's anchor and pool lead to: {what}.",
        "Where the anchor was indexed anew meanwhile, make a new run; else see who writes to the artifacts' prefix.",
    )
