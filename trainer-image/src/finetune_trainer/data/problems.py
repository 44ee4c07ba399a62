"""Problems found in data, collected so that a person sees all places at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import Reason, bad_input

_SHOWN: Final = 5
"""Places that a message lists."""

_REMEDIES: Final[dict[Reason, str]] = {
    Reason.LABELS_OUT_OF_RANGE: "Write indices of the class list and shares of the page (0..1); clip boxes to it.",
    Reason.LABEL_COLUMNS: "Write five columns per box: class x y width height. Of a polygon take the box around it.",
    Reason.LABEL_MISSING: "Add the label; declare pages without any field with --allow-background.",
    Reason.IMAGE_UNREADABLE: "Replace the image by one that opens, or take it out.",
    Reason.FILE_UNUSABLE: "Rename, convert (mogrify -format png FILE), copy or delete it.",
    Reason.IMAGE_MISSING: "Add the image; or move the label to where that of its image is looked for "
    "(images/a/p.png has labels/a/p.txt); or delete it.",
    Reason.LABEL_CONTRADICTS: "One page has one label: leave out the page whose label is wrong. Where the pool's is "
    "wrong, `finetune-trainer pool correct` replaces it.",
    Reason.NOT_IN_POOL: "Only what is in the pool can be corrected or withdrawn. Add new pages with `finetune-trainer "
    "pool add`; with --only-known `pool correct` leaves them out.",
    Reason.SAMPLE_WITHDRAWN: "A withdrawn page stays withdrawn. Leave it out; with --only-new `pool add` does it, "
    "with --only-known `pool correct`.",
    Reason.LABEL_SHARED: "Keep one of both, or rename one of them together with a label of its own.",
    Reason.HELD_OUT_PAGE_IN_POOL: "Leave the page out, or take it out with `finetune-trainer pool withdraw`: val and "
    "test pages of the anchor never train.",
    Reason.DUPLICATE_SAMPLE: "Leave out pages that are there already; with --only-new `pool add` does it.",
    Reason.VERIFIER_MISSING: "Record who verified each page and when; unverified pages never train.",
    Reason.TASK_UNFINISHED: "Finish the tasks in the labelling tool and export again; with --only-labelled "
    "they are left out.",
    Reason.ANNOTATIONS_SEVERAL: "A page has one label: delete all annotations of the task but one, or mark one as "
    "ground truth, and export again.",
    Reason.SHAPE_UNUSABLE: "Draw upright rectangles of one field each on the page as it was given, and export again.",
    Reason.FIELD_UNKNOWN: "Use the names of the anchor's classes, or name what a new base is to learn with "
    "--append-classes.",
    Reason.PAGE_CHANGED: "Label the page as it was exported: whole, upright, and the same page.",
    Reason.RECORD_MISSING: "Name the folder that `production export` wrote with --captured; --source, --verified-by "
    "and --verified-at are for pages of other origin, which come with their image.",
    Reason.DIGEST_MISMATCH: "Restore the file as it was recorded, or index or add the data again.",
}
"""How each kind of problem is mended."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place."""

    reason: Reason
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def raise_first(problems: Sequence[Problem], where: str) -> None:
    """Raise StepError for the first problem's reason, listing the first few places; nothing when there are none."""
    if not problems:
        return
    reason = problems[0].reason
    same = [p for p in problems if p.reason is reason]
    shown = "; ".join(str(p) for p in same[:_SHOWN])
    more = f"; and {len(same) - _SHOWN} more" if len(same) > _SHOWN else ""
    others = len(problems) - len(same)
    rest = f" {others} other problems besides." if others else ""
    raise bad_input(reason, f"In {where}: {shown}{more}.{rest}", _REMEDIES[reason])
