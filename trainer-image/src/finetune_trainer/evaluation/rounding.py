"""Whether answers hang on the last digits of what a network computes, which are others from machine to machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from ..errors import Reason, bad_input
from ..progress import Counted, uncounted
from .detector import new_session
from .disturbing import disturbed, sizes, with_sizes
from .postprocess import Detections, Ints, Thresholds, postprocess
from .preprocess import Letterbox, Tensor

SHARES: Final = (2.0**-23, 2.0**-20)
"""By how much weights are changed, as a share of each: half a unit in the last place of float32, and some of them."""

DRAWS: Final = 4
"""Changes by chance for each share: one that happens to lie on the side that a network lets pass is not the last."""

THREADS: Final = (1, 2, 4)
"""Numbers of threads, by which sums are taken in another order."""

CHANGES: Final = len(THREADS) + 1 + len(SHARES) * DRAWS
"""How often the pages are answered anew: also where nothing is optimised."""

SCORE: Final = 0.02
"""How far a score may move. Networks that training made moved by 0.00004 (invoices, yolo11 of 0.28 million weights)."""

BOX: Final = 0.05
"""How far a side of a box may move, as a share of the box's own: a hundredth of a page is the height of a line."""

PAGE: Final = (0.001, 0.01)
"""The same as shares of the page's side, for boxes that are very small or large; those of training moved by 0.00002."""

MOVED: Final = 0.05
"""How many boxes of a field may be lost, or come, where no number is another, as a share of all: of two that hide each
other both may have the same score, and one may lie at the confidence. Of 960 on 80 pages none was another (two models
of invoices)."""

LARGEST: Final = 1e18
"""What the numbers of a weight, or of a layer, may add up to without their signs. The product of two such sums is a
number yet: in whatever order a layer adds up, none is too large on its way. Networks that training made have 1e6."""

_SEEN: Final = 0.1
"""The score from which on it is looked where a box lies."""


def check_rounding(
    content: bytes,
    where: str,
    pages: Iterable[Tensor],
    served: Thresholds,
    *,
    threads: int,
    seed: int,
    counted: Counted = uncounted,
) -> None:
    """Raise StepError BaseUnusable for a network that answers these pages otherwise for a change of rounding.

    `pages` are as the network takes them, (1, 3, size, size), all of one size, and are gone through for each change; it
    is `served` with these thresholds; `seed` is one that nobody knew who made the network. No number may be another
    one, and few of the boxes that are found. Raises it, too, for one that computes with numbers that are too large for
    sums in any order, or with none at all. Sums are rounded: by other threads, CPUs or releases of onnxruntime
    otherwise. What such a difference decides is not what was measured, wherever else it is computed.

    `counted` is called before each change: a large network takes minutes.
    """
    _check_sizes(content, where, pages, threads)
    answers = list(_answers(_opened(content, threads=threads), pages))
    size = next((page.shape[-1] for page in pages), 0)
    for count, (opened, changed) in enumerate(_others(content, seed)):
        counted(count, CHANGES)
        if _finds_others(zip(_answers(opened(), pages), answers, strict=True), size, served):
            raise bad_input(
                Reason.BASE_UNUSABLE,
                f"{where} answers a page otherwise {changed}: what it finds hangs on how sums are rounded, and so on "
                "the machine.",
                "See how the model was trained: its weights are too large, it hardly learnt, or no training made it.",
            )


def answers_alike(content: bytes, other: bytes, pages: Iterable[Tensor], *, threads: int) -> bool:
    """Tell whether two networks answer each of these pages alike, but for what is no more than rounding."""
    both = (_answers(_opened(each, threads=threads), pages) for each in (content, other))
    return not any(
        _is_other(answer, expected, page.shape[-1]) for answer, expected, page in zip(*both, pages, strict=True)
    )


def _check_sizes(content: bytes, where: str, pages: Iterable[Tensor], threads: int) -> None:
    """Raise StepError BaseUnusable where a sum may be too large for float32 in one order, and not in another."""
    # Not optimised, it computes what is written, in that order: a layer is added up as soon as it is there.
    session = _opened(with_sizes(content), threads=threads, optimised=False)
    name = session.get_inputs()[0].name
    by_page = (session.run(["sizes"], {name: page})[0].tolist() for page in pages)
    sums = [each for of_one in (sizes(content), *by_page) for each in of_one]
    largest = max(sums, key=lambda each: (math.isnan(each), each), default=0.0)
    if not largest <= LARGEST:
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"{where} computes with numbers that add up to {largest:.0e}, and more than {LARGEST:.0e} are too large: "
            "what such sums come to hangs on their order, and so on the machine.",
            "See how the model was trained: it diverged, or no training made it.",
        )


def _others(content: bytes, seed: int) -> Iterator[tuple[Callable[[], Any], str]]:
    """Yield what opens sessions of the same network on other terms, and the terms in words.

    It is opened after the last one is let go of: for large pages each has hundreds of megabytes.
    """
    for threads in THREADS:
        yield partial(_opened, content, threads=threads), f"with {threads} thread{'s' * (threads > 1)}"
    yield partial(_opened, content, threads=1, optimised=False), "where onnxruntime optimises nothing"
    chance = np.random.default_rng(seed)
    for share in SHARES:
        for _ in range(DRAWS):
            changed = disturbed(content, share, chance)
            yield partial(_opened, changed, threads=1), f"where its weights differ by a share of {share:.0e}"


def _opened(content: bytes, *, threads: int, optimised: bool = True) -> Any:
    return new_session(content, threads=threads, optimised=optimised, sparing=True)


def _answers(session: Any, pages: Iterable[Tensor]) -> Iterator[Tensor]:
    name = session.get_inputs()[0].name
    for page in pages:
        yield session.run(None, {name: page})[0][0]


def _is_other(answer: Tensor, expected: Tensor, size: int) -> bool:
    """Tell whether a score, or the place of what is found, is another one; each is (4 + classes, candidates)."""
    if answer.shape != expected.shape or not np.isfinite(answer).all():
        return True
    scores = np.abs(answer[4:] - expected[4:]).max(initial=0.0)
    seen = np.maximum(answer[4:], expected[4:]).max(axis=0) >= _SEEN
    moved = np.abs(answer[:4, seen] - expected[:4, seen]) > np.tile(_far(expected[2:4, seen], size), (2, 1))
    return bool(scores > SCORE or moved.any())


def _far(sides: Tensor, size: int) -> Tensor:
    """Return how far the sides of a box may move: width and height, in pixels."""
    least, most = PAGE
    far: Tensor = np.clip(BOX * sides, least * size, most * size)
    return far


def _finds_others(pairs: Iterable[tuple[Tensor, Tensor]], size: int, served: Thresholds) -> bool:
    """Tell whether a number is another one in these pairs of answers, or too many boxes are, of a field or of all.

    Where numbers are nearly the same, boxes may be others: on the last digit of a score hangs which of two boxes hides
    the other, and whether one is above the confidence.
    """
    counts: list[Ints] = []
    for answer, expected in pairs:
        if _is_other(answer, expected, size):
            return True
        counts.append(_came_and_lost(answer, expected, size, served))
    came, lost, total = sum(counts, start=np.zeros((3, 1)))
    return bool((np.maximum(came, lost) > np.maximum(1, MOVED * total)).any())


def _came_and_lost(answer: Tensor, expected: Tensor, size: int, served: Thresholds) -> Ints:
    """Return how many boxes of each field, and at last of all, the answer finds alone, lacks, and was to find."""
    place = Letterbox(size, size, size, size, 0, 0)
    now, before = (postprocess(each, place, served) for each in (answer, expected))
    parts = (_missing(now, before, size), _missing(before, now, size), before.fields)
    by_field = np.array([np.bincount(fields, minlength=len(expected) - 4) for fields in parts])
    # Of all fields together, too: a page may have one box of each.
    return np.column_stack([by_field, by_field.sum(axis=1)])


def _missing(detections: Detections, others: Detections, size: int) -> Ints:
    """Return the fields of those that are not among the others: of their field, with no side far from theirs."""
    far = np.tile(_far(detections.boxes[:, 2:] - detections.boxes[:, :2], size), (1, 2))
    # One by one: of ten thousand, which a model may be served with, all pairs together take gigabytes.
    alone = [
        not ((others.fields == field) & (np.abs(others.boxes - box) <= most).all(axis=1)).any()
        for box, most, field in zip(detections.boxes, far, detections.fields, strict=True)
    ]
    fields: Ints = detections.fields[np.array(alone, dtype=bool)]
    return fields
