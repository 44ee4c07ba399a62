"""Step `prepare`: check everything that a run stands on, draw the mix, write the plan. Bad data ends here, cheaply."""

from __future__ import annotations

from msgspec.structs import asdict

from finetune_trainer.data.plan import Known, make_plan
from finetune_trainer.documents.codec import Located, encode
from finetune_trainer.documents.inputs import PrepareInputs
from finetune_trainer.documents.plan import Plan, parse_plan
from finetune_trainer.documents.result import PrepareResult
from finetune_trainer.documents.run import FineTuneDocument
from finetune_trainer.errors import Reason, bad_input
from finetune_trainer.steps.context import StepContext
from finetune_trainer.steps.models import fetch_base
from finetune_trainer.storage import check_digest, normalise, sha256_of


def prepare(context: StepContext, document: FineTuneDocument, inputs: PrepareInputs) -> PrepareResult:
    """Check base, anchor and pool; publish plan.json; return counts and digests."""
    context.progress.report(percent=0, activity="checking the base")
    _check_base(context, document)
    known = Known(
        base=_trained_pool(context, document.base.inputs),
        live=_trained_pool(context, inputs.live.inputs if inputs.live else None),
    )
    context.progress.report(percent=20, activity="checking pool and anchor")
    plan = make_plan(context.storage, document, known)
    located = context.publisher.file("plan.json", encode(plan))
    context.progress.report(percent=100, activity="plan written")
    return PrepareResult(**asdict(plan.counts), plan=located, ratio=plan.ratio, digests=plan.digests)


def _check_base(context: StepContext, document: FineTuneDocument) -> None:
    detector = fetch_base(context, document.base, document.classes)
    if detector.serving.image_size != document.serving.image_size:
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"{document.base.version} takes {detector.serving.image_size} pixels, the policy serves "
            f"{document.serving.image_size}.",
            "Import the base with the policy's serving.imageSize, or change the policy.",
        )
    checkpoint = document.base.checkpoint
    if not context.storage.exists(normalise(checkpoint.uri)):
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"The checkpoint {checkpoint.uri} of {document.base.version} does not exist.",
            "Restore it, or import the base again: training starts from the checkpoint.",
        )


def _trained_pool(context: StepContext, inputs: Located | None) -> frozenset[str]:
    """Image digests of the pool that a model was trained on, by its plan; none when it has no plan."""
    if inputs is None:
        return frozenset()
    return frozenset(s.image.sha256 for s in read_plan(context, inputs).train if s.origin == "pool")


def read_plan(context: StepContext, located: Located) -> Plan:
    """A plan by URI and digest; StepError DigestMismatch or ContractViolated."""
    uri = normalise(located.uri)
    data = context.storage.read(uri)
    check_digest(uri, sha256_of(data), located.sha256)
    return parse_plan(data, uri)
