"""What the operator passes to a step in `--inputs`; `nonce` is in the place of what the step writes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .codec import Attempt, Document, FileReference, Nonce, Round, ScanAttempt, VersionName


class LiveInputs(Document, frozen=True):
    """The live fine-tune whose plan tells which samples of the pool are fresh."""

    version: VersionName
    inputs: FileReference


class LiveModel(Document, frozen=True):
    """The live version to measure beside the candidate."""

    version: VersionName
    artifact: FileReference
    inputs: FileReference | None = None


class PrepareInputs(Document, frozen=True):
    """`live` is null when the base is live, nothing is, or its inputs are unknown.

    `judged` are plans of the policy's runs that were judged, which tell what is new.
    """

    attempt: Attempt
    nonce: Nonce
    live: LiveInputs | None = None
    judged: Annotated[tuple[FileReference, ...], msgspec.Meta(max_length=8)] = ()


class EarlierAttempt(Document, frozen=True):
    """An attempt of the same step that ended without a result; its nonce seals what it kept."""

    attempt: Attempt
    nonce: Nonce


class TrainInputs(Document, frozen=True):
    """The plan to train by, and the attempts that may have got some way with it."""

    attempt: Attempt
    nonce: Nonce
    plan: FileReference
    earlier: Annotated[tuple[EarlierAttempt, ...], msgspec.Meta(max_length=16)] = ()


class EvaluateInputs(Document, frozen=True, omit_defaults=True):
    """What to measure; `round` counts evaluations of one candidate, from 1.

    `checkpoint` is that of a rebuild's candidate, from which later runs begin.
    """

    attempt: Attempt
    nonce: Nonce
    round: Round
    plan: FileReference
    candidate: FileReference
    live: LiveModel | None = None
    checkpoint: FileReference | None = None


class VerifyInputs(Document, frozen=True):
    """Nothing but the attempt and its nonce: the base is in the document."""

    attempt: Attempt
    nonce: Nonce


class ScanInputs(Document, frozen=True):
    """The plan of the base that a run would fine-tune now, and those of the runs that were judged."""

    attempt: ScanAttempt
    nonce: Nonce
    base_plan: FileReference | None
    judged: Annotated[tuple[FileReference, ...], msgspec.Meta(max_length=8)]


StepInputs = PrepareInputs | TrainInputs | EvaluateInputs | VerifyInputs | ScanInputs
