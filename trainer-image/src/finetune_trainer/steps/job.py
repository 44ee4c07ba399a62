"""Running one step as a Job: documents in, exit code and termination message out, whatever happens between."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, assert_never

import msgspec

from ..cpu import Cpus
from ..digests import sha256_of
from ..documents.codec import decode, encode
from ..documents.inputs import EvaluateInputs, PrepareInputs, ScanInputs, StepInputs, TrainInputs, VerifyInputs
from ..documents.result import RESULT_LIMIT, RESULT_SCHEMA, Emitted, ErrorReport, StepName, StepResult
from ..documents.run import (
    FineTuneDocument,
    RebuildDocument,
    RunDocument,
    ScanDocument,
    VerifyDocument,
    parse_run_document,
)
from ..environment import Paths
from ..errors import ErrorClass, Preempted, Reason, StepError, bad_input, exit_code
from ..progress import Progress, utc_now
from ..storage import Storage
from .context import StepContext
from .publish import Publisher
from .scratch import clear

_LONGEST_TEXT: Final = 1500
"""Bytes of an error's message and of its remedy, as JSON; all together are RESULT_LIMIT."""


_LISTS: Final = ("testSet", "newSet", "production", "added", "resumed")
"""Parts of a result that have lists: of the worst fields, or of attempts."""

_FIRST: Final = ("baseline",)
"""The part whose list goes first where a result is too long: no verdict hangs on it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One step to run, with its raw inputs."""

    step: StepName
    inputs: str
    paths: Paths
    cpus: Cpus


def run_job(job: Job) -> int:
    """Run the step and report it, and return the exit code of docs/reference/contracts.md. Never raises."""
    owner, attempt = "", 0
    try:
        with _preemptible():
            inputs = parse_inputs(job.step, job.inputs)
            attempt = inputs.attempt
            document = parse_run_document(_document(job.paths))
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
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator must be told
        traceback.print_exc()
        failure = StepError(
            ErrorClass.INTERNAL,
            Reason.INTERNAL,
            f"{type(error).__name__}: {error}",
            "See the pod's log; if the operator's retries fail alike, report it.",
        )
    _emit(job.paths.termination_log, failed(job.step, owner, attempt, failure))
    return exit_code(failure.error_class)


def parse_inputs(step: StepName, raw: str) -> StepInputs:
    """Parse `--inputs` of a step; StepError ContractViolated."""
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
        case "scan":
            return decode(data, ScanInputs, what)
        case _:
            assert_never(step)


def _document(paths: Paths) -> bytes:
    """Return the run document's bytes; StepError ContractViolated for any other than those that are meant."""
    path = paths.document
    data = _read(path)
    if paths.document_sha256 not in (None, sha256_of(data)):
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            f"The run document {path} is not the one that the Job was made for: its sha256 is {sha256_of(data)}, "
            f"not {paths.document_sha256}.",
            "Leave the run's ConfigMap alone, and make a new run.",
        )
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            f"The run document {path} cannot be read: {error.strerror}.",
            "Mount the run's ConfigMap there (FINETUNE_DOCUMENT).",
        ) from error


def _run(job: Job, document: RunDocument, inputs: StepInputs) -> Emitted:
    storage = Storage()
    round_ = inputs.round if isinstance(inputs, EvaluateInputs) else None
    publisher = Publisher(
        storage,
        artifacts=document.artifacts.uri,
        owner=document.owner.uid,
        step=job.step,
        attempt=inputs.attempt,
        round_=round_,
        nonce=inputs.nonce,
    )
    if (done := publisher.existing()) is not None:
        return _tidied(storage, document, inputs, done)
    if job.paths.collect:
        raise StepError(
            ErrorClass.INTERNAL,
            Reason.RESULT_MISSING,
            f"No pod of attempt {inputs.attempt} of {job.step} left a complete manifest.",
            "Nothing to do: the operator starts a new attempt.",
        )
    job.paths.scratch.mkdir(parents=True, exist_ok=True)
    context = StepContext(storage, publisher, Progress(job.step), job.paths.scratch, job.cpus)
    # What training imports takes long from a cold disk.
    context.progress.report(percent=0, activity="starting")
    result = _step(document, inputs, context)()
    if isinstance(inputs, ScanInputs):
        return publisher.emitted(result)
    return _tidied(storage, document, inputs, publisher.finish(result))


def _tidied(storage: Storage, document: RunDocument, inputs: StepInputs, emitted: Emitted) -> Emitted:
    """Delete what a training kept on its way, once its manifest stands: until then another attempt may need it."""
    if isinstance(inputs, TrainInputs):
        clear(storage, document.artifacts.uri)
    return emitted


def _step(document: RunDocument, inputs: StepInputs, context: StepContext) -> Callable[[], StepResult]:
    # Imported when chosen: only training needs torch, which takes seconds to import.
    match document, inputs:
        case FineTuneDocument() | RebuildDocument(), PrepareInputs():
            from .prepare import prepare

            return lambda: prepare(context, document, inputs)
        case FineTuneDocument() | RebuildDocument(), TrainInputs():
            from .train import train

            return lambda: train(context, document, inputs)
        case FineTuneDocument() | RebuildDocument(), EvaluateInputs():
            from .evaluate import evaluate

            return lambda: evaluate(context, document, inputs)
        case VerifyDocument(), VerifyInputs():
            from .verify import verify

            return lambda: verify(context, document)
        case ScanDocument(), ScanInputs():
            from .scan import scan

            return lambda: scan(context, document, inputs, utc_now())
        case _:
            raise bad_input(
                Reason.CONTRACT_VIOLATED,
                f"The step does not go with a document of mode {type(document).__name__.removesuffix('Document')}.",
                "verify belongs to mode Verify, scan to mode Scan, the other steps to the modes FineTune and Rebuild.",
            )


def failed(step: StepName, owner: str, attempt: int, error: StepError) -> Emitted:
    """Return what is reported of a step that failed; its texts are cut so that it always fits."""
    report = ErrorReport(error.error_class.value, error.reason.value, _clipped(error.message), _clipped(error.remedy))
    return Emitted(RESULT_SCHEMA, step, owner, attempt, "Failed", error=report)


def _clipped(text: str) -> str:
    """Return the text, cut so that it takes at most `_LONGEST_TEXT` bytes as JSON, where a NUL takes six."""
    if len(encode(text)) <= _LONGEST_TEXT:
        return text
    text = text[:_LONGEST_TEXT]
    while len(encode(f"{text}…")) > _LONGEST_TEXT:
        text = text[: len(text) * 9 // 10]
    return f"{text}…"


def _emit(termination_log: Path | None, emitted: Emitted) -> None:
    """Write the termination message where the kubelet reads it, and on standard output."""
    data = fitting(emitted)
    sys.stdout.write(data.decode() + "\n")
    sys.stdout.flush()
    if termination_log is not None:
        termination_log.write_bytes(data)


def fitting(emitted: Emitted) -> bytes:
    """Return the result within the limit of a termination message; where it is too long, lists lose their last rows.

    What a verdict hangs on is never left out: the first row of a list is the worst field (or the newest attempt), and
    the count of measured fields stays. What alerts go by is left out before there is none. StepError (Internal) when
    even that does not fit.
    """
    data = encode(emitted)
    if len(data) > RESULT_LIMIT:
        emitted = _with_rows(emitted, 0, _FIRST)
        data = encode(emitted)
    for rows in range(7, 0, -1):
        if len(data) <= RESULT_LIMIT:
            return data
        data = encode(_with_rows(emitted, rows, _LISTS))
    if len(data) > RESULT_LIMIT:
        data = encode(_with_rows(_without_baseline(emitted), 1, _LISTS))
    if len(data) > RESULT_LIMIT:
        raise StepError(
            ErrorClass.INTERNAL,
            Reason.INTERNAL,
            f"The result has {len(data)} bytes, {RESULT_LIMIT} are possible.",
            "Use shorter artifact URIs.",
        )
    return data


def _without_baseline(emitted: Emitted) -> Emitted:
    """Return the result without what alerts go by, for which they have the test set."""
    kept = {name: value for name, value in (emitted.result or {}).items() if name != "baseline"}
    return msgspec.structs.replace(emitted, result=kept)


def _with_rows(emitted: Emitted, rows: int, parts: Collection[str]) -> Emitted:
    """Return the result with so many rows in each list of these parts."""
    result = emitted.result or {}
    changed = {name: _shortened(value, rows) for name, value in result.items() if name in parts}
    return msgspec.structs.replace(emitted, result=result | changed)


def _shortened(value: Any, rows: int) -> Any:
    match value:
        case list() | tuple():
            return value[:rows]
        case dict():
            return {key: _shortened(item, rows) for key, item in value.items()}
        case _:
            return value


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
