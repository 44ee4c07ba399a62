"""What the operator passes to a step in `--inputs`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from finetune_trainer.documents.codec import Document, Located

Attempt = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class LiveInputs(Document, frozen=True):
    """The live fine-tune whose training inputs tell which pool samples are fresh."""

    version: str
    inputs: Located


class LiveModel(Document, frozen=True):
    """The live version to measure beside the candidate."""

    version: str
    artifact: Located
    inputs: Located | None = None


class PrepareInputs(Document, frozen=True):
    attempt: Attempt
    live: LiveInputs | None = None


class TrainInputs(Document, frozen=True):
    attempt: Attempt
    plan: Located


class EvaluateInputs(Document, frozen=True):
    attempt: Attempt
    round: Annotated[int, msgspec.Meta(ge=1, le=100)]
    plan: Located
    candidate: Located
    live: LiveModel | None = None


class VerifyInputs(Document, frozen=True):
    attempt: Attempt


StepInputs = PrepareInputs | TrainInputs | EvaluateInputs | VerifyInputs
