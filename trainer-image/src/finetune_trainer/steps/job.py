"""Running one step as a Job: documents in, exit code and termination message out, whatever happens between."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import assert_never

from finetune_trainer.documents.codec import decode, encode
from finetune_trainer.documents.inputs import EvaluateInputs, PrepareInputs, StepInputs, TrainInputs, VerifyInputs
from finetune_trainer.documents.result import RESULT_LIMIT, RESULT_SCHEMA, Emitted, ErrorReport, StepName, StepResult
from finetune_trainer.documents.run import FineTuneDocument, RunDocument, VerifyDocument, parse_run_document
from finetune_trainer.environment import Paths
from finetune_trainer.errors import ErrorClass, Preempted, Reason, StepError, bad_input, exit_code
from finetune_trainer.progress import Progress
from finetune_trainer.steps.context import StepContext
from finetune_trainer.steps.publish import Publisher
from finetune_trainer.storage import Storage

_LONGEST_MESSAGE = 1500  # characters of an error's message; the limit of the whole is 4,096 bytes


@dataclass(frozen=True)
class Job:
    """One step to run, with its raw inputs."""

    step: StepName
    inputs: str
    paths: Paths
    cpus: int


def run_job(job: Job) -> int:
    """Run the step and report it; returns the exit code of docs/contracts.md. Never raises."""
    owner, attempt = "", 0
    try:
        with _preemptible():
            inputs = parse_inputs(job.step, job.inputs)
            attempt = inputs.attempt
            document = parse_run_document(_document(job.paths.document))
            owner = document.owner.uid
            emitted = _run(job, document, inputs)
            _emit(job.paths.termination_log, emitted)
            return 0
    except StepError as error:
        failure = error
    except Preempted:
        failure = StepError(
            ErrorClass.PREEMPTED,
            Reason.PREEMPTED,
            "The pod was asked to stop (SIGTERM) before the step was complete.",
            "Nothing to do: the operator starts a new attempt.",
        )
    except MemoryError:
        failure = StepError(
            ErrorClass.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, "The step ran out of memory.", "Give the pod more memory."
        )
    except Exception as error:
        traceback.print_exc()
        failure = StepError(
            ErrorClass.INTERNAL,
            Reason.INTERNAL,
            f"{type(error).__name__}: {error}",
            "See the pod's log; if the operator's retries fail alike, report it.",
        )
    _emit(job.paths.termination_log, _failure(job.step, owner, attempt, failure))
    return exit_code(failure.error_class)


def parse_inputs(step: StepName, raw: str) -> StepInputs:
    """`--inputs` of a step; StepError DocumentInvalid."""
    data, what = raw.encode(), f"--inputs of {step}"
    match step:
        case "prepare":
            return decode(data, PrepareInputs, what)
        case "train":
            return decode(data, TrainInputs, what)
        case "evaluate":
            return decode(data, EvaluateInputs, what)
        case "verify":
            return decode(data, VerifyInputs, what)
        case _:
            assert_never(step)


def _document(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise bad_input(
            Reason.DOCUMENT_INVALID,
            f"The run document {path} cannot be read: {error.strerror}.",
            "Mount the run's ConfigMap there (FINETUNE_DOCUMENT).",
        ) from error


def _run(job: Job, document: RunDocument, inputs: StepInputs) -> Emitted:
    storage = Storage()
    round_ = inputs.round if isinstance(inputs, EvaluateInputs) else None
    publisher = Publisher(storage, document.artifacts.uri, document.owner.uid, job.step, inputs.attempt, round_)
    if (done := publisher.existing()) is not None:
        return done
    job.paths.scratch.mkdir(parents=True, exist_ok=True)
    context = StepContext(storage, publisher, Progress(job.step), job.paths.scratch, job.cpus)
    return publisher.finish(_step(document, inputs, context)())


def _step(document: RunDocument, inputs: StepInputs, context: StepContext) -> Callable[[], StepResult]:
    # Imported when chosen: only training needs torch, which takes seconds to import.
    match document, inputs:
        case FineTuneDocument(), PrepareInputs():
            from finetune_trainer.steps.prepare import prepare

            return lambda: prepare(context, document, inputs)
        case FineTuneDocument(), TrainInputs():
            from finetune_trainer.steps.train import train

            return lambda: train(context, document, inputs)
        case FineTuneDocument(), EvaluateInputs():
            from finetune_trainer.steps.evaluate import evaluate

            return lambda: evaluate(context, document, inputs)
        case VerifyDocument(), VerifyInputs():
            from finetune_trainer.steps.verify import verify

            return lambda: verify(context, document, inputs)
        case _:
            raise bad_input(
                Reason.DOCUMENT_INVALID,
                f"The step does not go with a document of mode {type(document).__name__.removesuffix('Document')}.",
                "verify belongs to mode Verify, the other steps to mode FineTune.",
            )


def _failure(step: StepName, owner: str, attempt: int, error: StepError) -> Emitted:
    message = error.message
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    return Emitted(
        schema=RESULT_SCHEMA,
        step=step,
        owner=owner,
        attempt=attempt,
        outcome="Failed",
        error=ErrorReport(error.error_class.value, error.reason.value, message, error.remedy),
    )


def _emit(termination_log: Path, emitted: Emitted) -> None:
    """Write the termination message where the kubelet reads it, and on standard output.

    The file exists in a pod; elsewhere only standard output is written.
    """
    data = encode(emitted)
    if len(data) > RESULT_LIMIT:
        # The manifest holds all of it; half a JSON document would be worth nothing.
        data = encode(_shortened(emitted))
    sys.stdout.write(data.decode() + "\n")
    sys.stdout.flush()
    if termination_log.exists() or "FINETUNE_TERMINATION_LOG" in os.environ:
        termination_log.write_bytes(data)


def _shortened(emitted: Emitted) -> Emitted:
    return Emitted(
        schema=emitted.schema,
        step=emitted.step,
        owner=emitted.owner,
        attempt=emitted.attempt,
        outcome=emitted.outcome,
        manifest=emitted.manifest,
        error=emitted.error,
    )


@contextmanager
def _preemptible() -> Iterator[None]:
    """Turn SIGTERM into Preempted, raised wherever the main thread is.

    Asking ultralytics to stop instead would validate, save an epoch as complete that is not, and use up the
    grace period.
    """
    main = os.getpid()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if os.getpid() != main:  # a loader worker that inherited the handler
            os._exit(143)
        raise Preempted

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
