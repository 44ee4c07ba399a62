"""Gate for the yardstick's size: what is measured on a few pages proves little."""

from typing import Final

from ...api.policy import YardstickGate
from ...api.run import GateVerdict
from .gate import Evaluation, Gate, no_figures
from .new_samples import shows_nothing_shared
from .rows import MAX_COUNT

NAME: Final = "yardstick"
TEST_NAME: Final = "testSetSize"
NEW_NAME: Final = "newSetSize"


def judge(limits: YardstickGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge the images of the test split and the labelled boxes of the new samples: fewer is a Review."""
    candidate = case.result.models.candidate
    boxes = candidate.pool.boxes if candidate is not None and candidate.pool is not None else None
    images = case.result.test_set.images
    few = 0 if shows_nothing_shared(case.result) else 1
    return (
        _verdict(TEST_NAME, "TestSetTooSmall", images, limits.test_images, "images in the test split"),
        _verdict(NEW_NAME, "NewSetTooSmall", boxes, limits.new_boxes, "labelled boxes in the new samples", few=few),
    )


def _verdict(name: str, reason: str, count: int | None, least: int, what: str, *, few: int = 1) -> GateVerdict:
    """Return the verdict on a count; below `few` it is none."""
    threshold = f"at least {least}"
    if count is None or not few <= count <= MAX_COUNT:
        message = f"no valid count of the {what}: {count}"
        return GateVerdict(name=name, verdict="Error", threshold=threshold, message=message)
    message = f"{count} {what}; {least} are needed"
    enough = count >= least
    return GateVerdict(
        name=name,
        verdict="Pass" if enough else "Review",
        reason="" if enough else reason,
        value=str(count),
        threshold=threshold,
        message=message,
    )


YARDSTICK: Final = Gate(
    name=NAME,
    limits=lambda gates: gates.yardstick,
    judge=judge,
    figures=no_figures,
    names=(TEST_NAME, NEW_NAME),
    counts=frozenset((TEST_NAME, NEW_NAME)),
)
