"""What an evaluation measures on: drawn anew from anchor and pool, and held to the plan that it is given.

A plan lies in the store. What is measured on is the operator's word (the anchor and the pool of the run document), so
a plan that names anything else is refused, whoever wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from msgspec.structs import replace

from ..data.anchor import anchor_sample, check_splits, pages_digest, read_index
from ..data.mixing import is_held_out
from ..data.plan import count_new_set, read_plan, samples_digest, trained_pool
from ..data.pool import read_pool
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
    _check_new_set(context.storage, document, plan, index)
    known = trained_pool(context.storage, inputs.live.inputs if inputs.live else None)
    new_set = tuple(replace(sample, fresh=sample.image.sha256 not in known) for sample in plan.new_set)
    test = tuple(anchor_sample(anchor, page) for page in index.splits.test)
    return Yardstick(plan, test_digest, test, plan.digests.new_set, new_set, count_new_set(new_set))


def _check_new_set(storage: Storage, document: FineTuneDocument, plan: Plan, index: AnchorIndex) -> None:
    """Raise StepError unless the plan's new samples are those of the pool that it was drawn from, every one."""
    uri, listed, share = normalise(document.data.pool.uri), frozenset(plan.pool), Decimal(document.holdout)
    pool = [sample for sample in read_pool(storage, uri, document.classes) if sample.image.sha256 in listed]
    if len(pool) != len(listed) or len(pool) < document.mixing.min_pool_samples:
        raise _differs(f"{len(pool)} of its {len(listed)} samples are in the pool {uri}")
    trained = trained_pool(storage, document.base.inputs) | {page.image_sha256 for page in index.splits.train}
    judged = [s for s in pool if s.image.sha256 not in trained and (share == 0 or is_held_out(s.document, share))]
    digest = set_digest((sample.image.sha256, sample.label.sha256) for sample in judged)
    if not digest == samples_digest(plan.new_set) == plan.digests.new_set:
        raise _differs(f"the new samples of the pool {uri} have digest {digest}, not {plan.digests.new_set}")
    held_out = {s.image.sha256: (s.document, is_held_out(s.document, share)) for s in judged}
    if any((s.document, s.held_out) != held_out[s.image.sha256] for s in plan.new_set):
        raise _differs("it names other documents, or holds out others, than the pool and the holdout say")


def _differs(what: str) -> StepError:
    return bad_input(
        Reason.DIGEST_MISMATCH,
        f"The plan is not what the run document's anchor and pool lead to: {what}.",
        "Where the anchor was indexed anew meanwhile, make a new run; else see who writes to the artifacts' prefix.",
    )
