"""What the operator passes to a step in `--inputs`."""

from __future__ import annotations

from .codec import Attempt, Document, FileReference, Round, VersionName


class LiveInputs(Document, frozen=True):
    """The live fine-tune whose training inputs tell which pool samples are fresh."""

    version: VersionName
    inputs: FileReference


class LiveModel(Document, frozen=True):
    """The live version to measure beside the candidate."""

    version: VersionName
    artifact: FileReference
    inputs: FileReference | None = None


class PrepareInputs(Document, frozen=True):
    """`live` is null when the base is live, nothing is, or its inputs are unknown."""

    attempt: Attempt
    live: LiveInputs | None = None


class TrainInputs(Document, frozen=True):
    """The plan to train by."""

    attempt: Attempt
    plan: FileReference


class EvaluateInputs(Document, frozen=True):
    """What to measure; `round` counts evaluations of one candidate, from 1."""

    attempt: Attempt
    round: Round
    plan: FileReference
    candidate: FileReference
    live: LiveModel | None = None


class VerifyInputs(Document, frozen=True):
    """Nothing but the attempt: the base is in the document."""

    attempt: Attempt


StepInputs = PrepareInputs | TrainInputs | EvaluateInputs | VerifyInputs
