"""Which runs learned from what was withdrawn or corrected since: their plans held against the pool of today."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from ..documents.plan import Plan, TrainSample, parse_plan
from ..documents.result import Manifest
from ..errors import Reason, StepError, bad_input
from ..storage import Storage, join
from .pool import Pool, PoolPage, replayed
from .pool_log import existing_log

_OF_RUN: Final = re.compile(r"(?:^|/)([^/]+)/attempt-[0-9]+/(prepare|train)-[^/]+/(?:.*/)?(plan|manifest)\.json$")
"""Where steps write: <artifacts>/<namespace>/<uid>/attempt-<n>/<step>-<nonce>/."""


@dataclass(frozen=True, slots=True)
class LearnedPage:
    """A page that trained with a label that does not count any more, and what became of it."""

    image: str
    label: str | None
    document: str
    became: Literal["withdrawn", "corrected"]


_Learned = dict[tuple[str, str | None], LearnedPage]
"""Pages by the digests of image and label."""


@dataclass(frozen=True, slots=True)
class RunLineage:
    """A run by its uid, what it trained (digests of artifacts; none: nothing yet), and what it should not have."""

    run: str
    artifacts: tuple[str, ...]
    withdrawn: int
    corrected: int
    pages: tuple[LearnedPage, ...]


@dataclass(frozen=True, slots=True)
class PoolLineage:
    """The runs that learned from such pages, and the plans below the artifacts: how many, and which cannot be read."""

    plans: int
    unreadable: tuple[str, ...]
    runs: tuple[RunLineage, ...]


def pool_lineage(storage: Storage, uri: str, artifacts: str) -> PoolLineage:
    """Return which runs below `artifacts` trained on pages that are withdrawn or corrected by now.

    Raises StepError DataUnreadable where there is no plan at all: most often the URI is wrong, and nobody should take
    that for an answer. One plan is in memory at a time.
    """
    pool = replayed(uri, existing_log(storage, uri), {})
    learned: dict[str, _Learned] = {}
    trained: dict[str, set[str]] = {}
    unreadable: list[str] = []
    count = 0
    for path in storage.walk(artifacts).files:
        if (place := _OF_RUN.search(path)) is None:
            continue
        run, step, what = place.groups()
        where = join(artifacts, path)
        if (step, what) == ("train", "manifest"):
            trained.setdefault(run, set()).update(_artifacts(storage.read(where)))
        elif (step, what) == ("prepare", "plan"):
            count += 1
            try:
                _learn(pool, parse_plan(storage.read(where), where), learned.setdefault(run, {}))
            except StepError as error:
                if error.reason is not Reason.CONTRACT_VIOLATED:
                    raise
                unreadable.append(where)
    if not count:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"No plan of a run lies below {artifacts}, so nothing says what learned from the pool.",
            "Name the policy's artifacts.uri itself, not a run's folder below it. Without any run nothing learned.",
        )
    runs = (_run(run, pages, trained.get(run, set())) for run, pages in sorted(learned.items()) if pages)
    return PoolLineage(count, tuple(unreadable), tuple(runs))


def _artifacts(data: bytes) -> Iterator[str]:
    """Yield the digest of the artifact that a training's manifest reports; a damaged one reports none."""
    try:
        result = msgspec.json.decode(data, type=Manifest).emitted.get("result")
        artifact = result.get("artifact") if isinstance(result, dict) else None
        if isinstance(artifact, dict) and isinstance(artifact.get("sha256"), str):
            yield artifact["sha256"]
    except msgspec.DecodeError:
        return


def _learn(pool: Pool, plan: Plan, learned: _Learned) -> None:
    """Note the pages of a plan that should not have trained.

    A file may be a page of its own in a pool of an earlier release, and by the pixels that the plan has of it another
    one: what became of either became of it.
    """
    pixels = {sample.image: sample.pixels for sample in plan.listing}
    for sample in plan.train:
        label = sample.label.sha256 if sample.label else None
        for page in filter(None, map(pool.page, (sample.image.sha256, pixels.get(sample.image.sha256)))):
            became = _became(page, sample)
            if became is not None:
                page_of_run = LearnedPage(sample.image.sha256, label, page.last.document, became)
                learned.setdefault((sample.image.sha256, label), page_of_run)


def _run(run: str, learned: _Learned, artifacts: set[str]) -> RunLineage:
    pages = tuple(learned.values())
    return RunLineage(
        run=run,
        artifacts=tuple(sorted(artifacts)),
        withdrawn=sum(page.became == "withdrawn" for page in pages),
        corrected=sum(page.became == "corrected" for page in pages),
        pages=pages,
    )


def _became(page: PoolPage, sample: TrainSample) -> Literal["withdrawn", "corrected"] | None:
    if page.withdrawal is not None:
        return "withdrawn"
    # Only what this pool replaced: in another one the page may have another label.
    replaced = {stored.label.sha256 for stored in page.samples} - {page.last.label.sha256}
    return "corrected" if sample.label is not None and sample.label.sha256 in replaced else None
