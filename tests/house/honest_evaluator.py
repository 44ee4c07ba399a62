"""An evaluator that counts: pages with labels and models that find some of them, and what is reported of that.

It works as the trainer's does, from pages up, so that whatever it says goes together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What an evaluation is asked for: fields, limits, whether another version is live, and rows that fit."""

    classes: int = 2
    drop_boxes: int = 30
    floor_boxes: int = 30
    points: Decimal = Decimal(3)
    boxes_lost: int = 3
    minimum: Decimal = Decimal("0.50")
    live: bool = False
    all_fresh: bool = True
    most_boxes: int = 100
    rows: int = 8

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are measured."""
        return ("candidate", "base", "live") if self.live else ("candidate", "base")


@dataclass(frozen=True, slots=True)
class PageCount:
    """A page: of which document, whether it is fresh, labels by field; what each model found and detected by field."""

    document: int
    fresh: bool
    labels: tuple[int, ...]
    matched: dict[str, tuple[int, ...]]
    detected: dict[str, tuple[int, ...]]


def measurement(setting: Setting, seed: int) -> tuple[Result, Result]:
    """Return testSet, newSet and models of an honest evaluation; and the same models by name."""
    chance = Random(seed)
    skill = {name: chance.choice((0.0, 0.5, 0.8, 0.97, 1.0)) for name in setting.models}
    usual = [chance.choice((0, 0, 1, 3, 9)) for _ in range(setting.classes)]
    test = [_page(chance, setting, usual, skill, number, fresh=True) for number in range(chance.randint(1, 40))]
    documents, fresh_share = chance.randint(1, 30), chance.choice((0.0, 0.3, 1.0))
    new = [
        _page(chance, setting, usual, skill, document, fresh=setting.all_fresh or chance.random() < fresh_share)
        for document in range(documents)
        for _ in range(chance.randint(1, 2))
    ]
    ap50 = {
        name: [chance.choice((0.0, 1.0, chance.random(), skill[name])) for _ in range(setting.classes)]
        for name in setting.models
    }
    totals = _totals(setting, test)
    result = {
        "testSet": {
            "images": len(test),
            "boxes": sum(totals[0]),
            "drops": _drops(setting, totals, ap50),
            "floor": _floor(setting, totals),
        },
        "newSet": {
            "documents": len({page.document for page in new}),
            "fresh": len({page.document for page in new if page.fresh}),
            "floor": _floor(setting, _totals(setting, new)),
        },
    }
    return result, {name: _measured(name, totals[0], ap50[name], new) for name in setting.models}


def _page(
    chance: Random, setting: Setting, usual: Sequence[int], skill: dict[str, float], document: int, *, fresh: bool
) -> PageCount:
    labels, left = [], setting.most_boxes
    for most in usual:
        labels.append(min(chance.randint(0, most), left))
        left -= labels[-1]
    matched = {name: tuple(sum(chance.random() < skill[name] for _ in range(n)) for n in labels) for name in skill}
    detected = {name: tuple(n + (chance.random() < 0.05) for n in matched[name]) for name in skill}
    return PageCount(document, fresh, tuple(labels), matched, detected)


Totals = tuple[list[int], dict[str, list[int]], dict[str, list[int]]]


def _totals(setting: Setting, pages: Sequence[PageCount]) -> Totals:
    def total(of: Callable[[PageCount], Sequence[int]]) -> list[int]:
        return [sum(of(page)[field] for page in pages) for field in range(setting.classes)]

    matched = {name: total(lambda page, name=name: page.matched[name]) for name in setting.models}  # type: ignore[misc]
    detected = {name: total(lambda page, name=name: page.detected[name]) for name in setting.models}  # type: ignore[misc]
    return total(lambda page: page.labels), matched, detected


def _measured(name: str, boxes: Sequence[int], ap50: Sequence[float], new: Sequence[PageCount]) -> Result:
    labelled = [ap for ap, count in zip(ap50, boxes, strict=True) if count]
    fresh = [page for page in new if page.fresh]
    return {
        "map50": f"{sum(labelled) / len(labelled) if labelled else 0:.6f}",
        "pool": _rates(name, new),
        "fresh": _rates(name, fresh) if fresh else None,
    }


def _rates(name: str, pages: Sequence[PageCount]) -> Result:
    boxes, matched = sum(sum(p.labels) for p in pages), sum(sum(p.matched[name]) for p in pages)
    missing: dict[int, int] = {}
    for page in pages:
        if sum(page.labels):
            missing[page.document] = missing.get(page.document, 0) + sum(page.labels) - sum(page.matched[name])
    return {
        "boxes": boxes,
        "matched": matched,
        "rate": _share(matched, boxes),
        "documentRate": _share(sum(count == 0 for count in missing.values()), len(missing)),
        "precision": _share(matched, sum(sum(p.detected[name]) for p in pages)),
    }


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.6f}" if whole else ""


def _drops(setting: Setting, totals: Totals, ap50: dict[str, list[float]]) -> Result:
    boxes, matched, _ = totals
    millionths = {
        name: [round(ap * 1_000_000) if n else 0 for ap, n in zip(aps, boxes, strict=True)]
        for name, aps in ap50.items()
    }
    others = setting.models[1:]

    def key(field: int) -> tuple[bool, int, int, int]:
        drop = max(millionths[name][field] for name in others) - millionths["candidate"][field]
        lost = max(matched[name][field] for name in others) - matched["candidate"][field]
        worse = drop >= setting.points * 10_000 and lost >= setting.boxes_lost
        return (not worse, -drop, -lost, field)

    return _listed(setting, boxes, setting.drop_boxes, key, {"matched": matched, "ap50": millionths})


def _floor(setting: Setting, totals: Totals) -> Result:
    boxes, matched, detected = totals

    def key(field: int) -> tuple[bool, Decimal, int]:
        most = max(boxes[field], detected["candidate"][field])
        hits = matched["candidate"][field]
        return (hits > setting.minimum * most, Decimal(hits) / most, field)

    return _listed(setting, boxes, setting.floor_boxes, key, {"matched": matched, "detections": detected})


def _listed(
    setting: Setting,
    boxes: Sequence[int],
    least: int,
    key: Callable[[int], Any],
    columns: dict[str, dict[str, list[int]]],
) -> Result:
    measured = [field for field, count in enumerate(boxes) if count >= least]
    fields = sorted(measured, key=key)[: setting.rows]
    live = {} if setting.live else {"live": None}
    return {
        "measured": len(measured),
        "field": fields,
        "boxes": [boxes[field] for field in fields],
        **{
            column: {name: [numbers[field] for field in fields] for name, numbers in models.items()} | live
            for column, models in columns.items()
        },
    }
