"""The one error type that ends a step, with the class, reason and remedy that reach the run's status."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class ErrorClass(StrEnum):
    """What the operator does about an error; see "Exit codes" in docs/reference/contracts.md."""

    BAD_INPUT = "BadInput"
    BAD_TRAINING = "BadTraining"
    OUT_OF_MEMORY = "OutOfMemory"
    UNAVAILABLE = "Unavailable"
    PREEMPTED = "Preempted"
    INTERNAL = "Internal"


class Reason(StrEnum):
    """CamelCase reasons, as Kubernetes conditions carry them."""

    POOL_TOO_SMALL = "PoolTooSmall"
    DATA_UNREADABLE = "DataUnreadable"
    ANCHOR_INDEX_MISSING = "AnchorIndexMissing"
    CLASS_LIST_DIFFERS = "ClassListDiffers"
    CLASS_LIST_INVALID = "ClassListInvalid"
    LABELS_OUT_OF_RANGE = "LabelsOutOfRange"
    LABEL_COLUMNS = "LabelColumns"
    LABEL_MISSING = "LabelMissing"
    HELD_OUT_PAGE_IN_POOL = "HeldOutPageInPool"
    FILE_UNUSABLE = "FileUnusable"
    IMAGE_MISSING = "ImageMissing"
    LABEL_CONTRADICTS = "LabelContradicts"
    NOT_IN_POOL = "NotInPool"
    SAMPLE_WITHDRAWN = "SampleWithdrawn"
    LABEL_SHARED = "LabelShared"
    SPLITS_OVERLAP = "SplitsOverlap"
    TEST_SPLIT_MISSING = "TestSplitMissing"
    TOO_MANY_BOXES = "TooManyBoxes"
    VERIFIER_MISSING = "VerifierMissing"
    IMAGE_UNREADABLE = "ImageUnreadable"
    DIGEST_MISMATCH = "DigestMismatch"
    BASE_UNUSABLE = "BaseUnusable"
    DUPLICATE_SAMPLE = "DuplicateSample"
    TASK_UNFINISHED = "TaskUnfinished"
    ANNOTATIONS_SEVERAL = "AnnotationsSeveral"
    SHAPE_UNUSABLE = "ShapeUnusable"
    FIELD_UNKNOWN = "FieldUnknown"
    PAGE_CHANGED = "PageChanged"
    RECORD_MISSING = "RecordMissing"
    PREFIX_SHARED = "PrefixShared"
    CONTRACT_VIOLATED = "ContractViolated"
    PRECISION_UNSUPPORTED = "PrecisionUnsupported"
    SHARED_MEMORY_TOO_SMALL = "SharedMemoryTooSmall"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    OUT_OF_MEMORY = "OutOfMemory"
    NOT_A_NUMBER = "NotANumber"
    PREEMPTED = "Preempted"
    RESULT_MISSING = "ResultMissing"
    INTERNAL = "Internal"


def exit_code(error_class: ErrorClass) -> int:
    """Return the process's exit code for an error of this class."""
    match error_class:
        case ErrorClass.BAD_INPUT:
            return 10
        case ErrorClass.BAD_TRAINING:
            return 11
        case ErrorClass.OUT_OF_MEMORY:
            return 12
        case ErrorClass.UNAVAILABLE:
            return 13
        case ErrorClass.PREEMPTED:
            return 143  # 128 + SIGTERM, what a shell reports for a process that the signal ended
        case ErrorClass.INTERNAL:
            return 1
        case _:
            assert_never(error_class)


class StepError(Exception):
    """A step cannot go on: what is wrong, where, and how to mend it."""

    def __init__(self, error_class: ErrorClass, reason: Reason, message: str, remedy: str) -> None:
        super().__init__(f"{reason}: {message} Remedy: {remedy}")
        self.error_class = error_class
        self.reason = reason
        self.message = message
        self.remedy = remedy


class PartlyDoneError(StepError):
    """A person's command did what it was asked to, but for what was wrong and left out; `done` is what it says."""

    def __init__(self, done: str, left_out: StepError) -> None:
        super().__init__(left_out.error_class, left_out.reason, left_out.message, left_out.remedy)
        self.done = done


def bad_input(reason: Reason, message: str, remedy: str) -> StepError:
    """Return an error that a retry cannot mend: the data, the document or the base is wrong."""
    return StepError(ErrorClass.BAD_INPUT, reason, message, remedy)


class Preempted(BaseException):
    """SIGTERM arrived. Not an Exception, so that no `except Exception` below us takes it for a failed batch."""
