"""What a labelling tool wrote back, whichever tool it was: tasks with boxes, and what is wrong with others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from ..data.problems import Problem
from ..documents.classes import spelling
from ..errors import Reason

TURNED: Final = 0.01
"""Degrees below which a rectangle is upright: tools write rounding errors."""

_PREDICTION: Final = re.compile(r"(?<![0-9a-f])([0-9a-f]{32})(?![0-9a-f])")
_OF_ROBOFLOW: Final = re.compile(r"[.]rf[.][0-9a-f]{32}")
"""A digest that Roboflow writes behind every name: as long as a prediction's id, and none."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A field's box by its corners, as shares of the page (0..1)."""

    field: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Returned:
    """A labelled page: `task` is how a message names it, `image` its file below the export, None where none came.

    `prediction` is the captured page that the tool says it is, `size` width and height that it saw. `verified_by` and
    `verified_at` (a date) are None where the tool does not say them; it may know its users by number only. `trouble`
    says why a file that came is not the image.
    """

    task: str
    image: str | None
    prediction: str | None
    size: tuple[float, float] | None
    marks: tuple[Mark, ...]
    verified_by: str | None = None
    verified_at: str | None = None
    trouble: str | None = None


@dataclass(slots=True)
class Export:
    """What a tool's export comes to; filled as it is read. `unfinished` may be left out, `problems` may not.

    `unread` lies beside it, and is a problem where the picture of a task is looked for and not found.

    `classes` are the names that the tool had to label with, None where its export does not say them: it says nothing
    of boxes of others.
    """

    classes: tuple[str, ...] | None = None
    pages: list[Returned] = field(default_factory=list)
    unfinished: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unread: tuple[Problem, ...] = ()
    remarks: list[str] = field(default_factory=list)


class UnusableError(Exception):
    """A task cannot be taken: why."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def problem(self, task: str) -> Problem:
        """Return it as a problem of that task."""
        return Problem(self.reason, task, self.message)


def prediction_in(*texts: str | None) -> str | None:
    """Return the one prediction id that stands in these texts; None where there is none, or two."""
    ids = {match for text in texts if text for match in _PREDICTION.findall(_OF_ROBOFLOW.sub("", unquote(text)))}
    return ids.pop() if len(ids) == 1 else None


def known_field(name: Any, classes: Sequence[str]) -> str:
    """Return a class by its name; raises UnusableError FieldUnknown."""
    if name not in classes:
        box = f"a box {name!r}{spelling(name, classes)}"
        raise UnusableError(Reason.FIELD_UNKNOWN, f"it has {box}, which is no class; they are {', '.join(classes)}")
    return str(name)


def upright(degrees: Any, of: str) -> None:
    """Raise UnusableError ShapeUnusable for a box or a page that is turned by these degrees; None is 0."""
    turned = number(degrees or 0, "rotation")
    if min(turned % 360, -turned % 360) > TURNED:
        raise UnusableError(Reason.SHAPE_UNUSABLE, f"{of} is turned by {turned:g} degrees")


def number(value: Any, what: str) -> float:
    """Return a number; raises UnusableError ShapeUnusable for anything else."""
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = float("nan")
    if not abs(result) < float("inf"):
        raise UnusableError(Reason.SHAPE_UNUSABLE, f"its {what} is {str(value)[:40]!r}, which is no number")
    return result


def label_text(marks: Sequence[Mark], classes: Sequence[str]) -> bytes:
    """Return the boxes as a YOLO label."""
    index = {name: number for number, name in enumerate(classes)}
    rows = (
        f"{index[m.field]} {(m.left + m.right) / 2:.8f} {(m.top + m.bottom) / 2:.8f} "
        f"{m.right - m.left:.8f} {m.bottom - m.top:.8f}\n"
        for m in marks
    )
    return "".join(rows).encode()


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}
