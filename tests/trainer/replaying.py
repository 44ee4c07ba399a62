"""A small world of the third gate: captured pages, a policy that asks for it, models that see what they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final, cast

import msgspec
import numpy as np

from finetune_trainer.data.images import pixels_digest
from finetune_trainer.data.mixing import is_held_out
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference, encode
from finetune_trainer.documents.inputs import EvaluateInputs, LiveInputs, LiveModel, PrepareInputs
from finetune_trainer.documents.plan import Plan
from finetune_trainer.documents.run import FineTuneDocument, parse_run_document
from finetune_trainer.documents.serving import ServingMetadata
from finetune_trainer.evaluation.detector import Detector, UnusableOutput
from finetune_trainer.evaluation.fields import Model
from finetune_trainer.evaluation.postprocess import Detections, Thresholds
from finetune_trainer.evaluation.preprocess import Pixels
from finetune_trainer.steps.context import StepContext
from finetune_trainer.steps.production_baseline import MeasuredBaseline, measure_baseline
from finetune_trainer.steps.production_draw import with_production
from finetune_trainer.steps.production_replay import Replay, replay
from finetune_trainer.steps.yardstick import Yardstick, read_yardstick
from trainer.captured import TODAY, Production, boxes
from trainer.policy import NOTHING, Policy
from trainer.world import CLASSES, NONCE, add_to_pool, context, page, write_new_pages

Evaluating = tuple[StepContext, FineTuneDocument, EvaluateInputs, Plan, dict[Model, tuple[Detector, str]]]

NOW: Final = datetime.combine(TODAY, time(9), UTC)
ANYWHERE: Final = (2.0, 2.0, 12.0, 12.0)
"""A place where no page of the world has a mark."""


@cache
def _known(seeds: range) -> Mapping[str, int]:
    """Return the seed of every page there may be, by its pixels; that of a strange one is a million higher."""
    known = {pixels_digest(page(seed)[0]): seed for seed in (*seeds, *range(5000, 5012))}
    return known | {pixels_digest(page(seed, strange=True)[0]): seed + 1_000_000 for seed in range(5000, 5012)}


def _above(seen: Detections, confidence: float) -> Detections:
    kept = seen.scores > confidence
    return Detections(seen.boxes[kept], seen.scores[kept], seen.fields[kept])


@dataclass
class Seer:
    """A model that finds each mark of a page where it is, but for the fields that it misses or sees elsewhere."""

    misses: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """By seed of a page: fields that it does not find."""
    invents: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """By seed: fields that it finds once more, where there is nothing."""
    moves: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """By seed: fields that it finds elsewhere."""
    silent: Sequence[int] = ()
    """Seeds of pages that it does not answer."""
    seeds: range = range(7000, 7100)
    confidence: str = "0.25"
    """What it is served with: fields are found at 0.9, 0.85 and 0.8, in the order of the classes."""
    asked: int = 0

    @property
    def serving(self) -> ServingMetadata:
        """See Detector."""
        return ServingMetadata(128, self.confidence, "0.7", 300, classes=CLASSES)

    def detect_timed(self, image: Pixels, thresholds: Sequence[Thresholds]) -> tuple[list[Detections], float]:
        """See Detector."""
        self.asked += 1
        seed = _known(self.seeds)[pixels_digest(image)]
        if seed in self.silent:
            raise UnusableOutput("the output is not finite")
        marks = boxes(page(seed % 1_000_000, strange=seed > 1_000_000)[1])
        seen_at = {
            CLASSES.index(mark["field"]): tuple(float(corner) for corner in mark["box"])
            for mark in marks
            if CLASSES.index(mark["field"]) not in self.misses.get(seed, ())
        }
        seen_at |= dict.fromkeys(self.moves.get(seed, ()), ANYWHERE)
        every = [*seen_at.items(), *((number, ANYWHERE) for number in self.invents.get(seed, ()))]
        rows = np.array([box for _, box in every], np.float32).reshape(-1, 4)
        scores = np.linspace(0.9, 0.8, len(every), dtype=np.float32)
        seen = Detections(rows, scores, np.array([number for number, _ in every], np.int64))
        return [_above(seen, each.confidence) for each in thresholds], 0.001


@dataclass
class Gate:
    """The third gate on a policy of the trainer's tests."""

    policy: Policy
    production: Production
    documents: int = 6
    days: int = 30
    keep_days: int = 90
    review_days: int = 15
    seed: int = 7
    rule: str = "Paired"
    rounds: int = 0
    asked: bool = True
    """Whether the third gate is."""
    place: str = ""
    """Where the captured pages lie, where that is not the folder that they are written to."""

    def capture(self, *seeds: int, days_ago: int = 0, **said: Any) -> list[str]:
        """Keep pages of those seeds, on a day."""
        at = (NOW - timedelta(days=days_ago)).isoformat().replace("+00:00", "Z")
        return [self.production.image(seed, at=at, **said) for seed in seeds]

    def verify(self, *seeds: int, held_out: bool) -> list[str]:
        """Let people verify captured pages, as pages of documents that are held out, or that train; return these."""
        documents: list[str] = []
        share = Decimal(self.policy.holdout)
        for seed in seeds:
            folder = write_new_pages(self.policy.world.root / f"verified-{seed}", count=1, first=seed, strange=False)
            names = (f"invoice {seed}-{n}" for n in range(10_000))
            name = next(name for name in names if is_held_out(name, share) == held_out)
            [image] = (folder / "images" / "train").iterdir()
            add_to_pool(self.policy.pool, folder, self.policy.world.anchor, {image.name: name})
            documents.append(name)
        return documents

    def parsed(self) -> FineTuneDocument:
        """The run document."""
        base = {"version": "base_v1", "artifact": NOTHING, "checkpoint": NOTHING, "inputs": None}
        if self.policy.base is not None:
            base["inputs"] = {"uri": self.policy.base.uri, "sha256": self.policy.base.sha256}
        document = self.policy.world.document(
            base,
            holdout=self.policy.holdout,
            mixing__minPoolSamples=1,
            mixing__seed=self.seed,
            data__pool__uri=self.policy.pool.as_uri(),
        )
        document["data"]["production"] = {
            "uri": self.place or self.production.folder.parents[1].as_uri(),
            "keepDays": self.keep_days,
            "deployment": self.production.folder.name,
            "reviewDays": self.review_days,
        }
        if self.asked:
            document["gates"]["production"] = {"documents": self.documents, "days": self.days, "rule": self.rule}
        return cast(FineTuneDocument, parse_run_document(encode(document)))

    def plan(self) -> Plan:
        """The plan, with documents of production."""
        document = self.parsed()
        live = LiveInputs("ft_v1.1", self.policy.live) if self.policy.live else None
        drawing = context("prepare", document, self.policy.world.root / "scratch")
        return with_production(drawing, document, PrepareInputs(1, NONCE, live), self.policy.drawn(), NOW)

    def predictions(self) -> set[str]:
        """The pages that are drawn."""
        return {page.prediction for pages in self.plan().production or () for page in pages}

    def replay(
        self,
        old: Seer,
        new: Seer,
        plan: Plan | None = None,
        *,
        live: FileReference | None = None,
        known: int | None = None,
        base: Seer | None = None,
    ) -> Replay:
        """Run both models; with `base` another one is live than the base."""
        return self.replayed(self.evaluating(old, new, plan, live, base), known=known)

    def replayed(self, given: Evaluating, *, known: int | None = None) -> Replay:
        """Run both models of an evaluation of these."""
        step, document, inputs, _, models = given
        made = replay(step, document, inputs, self.yardstick(given), models, known=known)
        assert made is not None
        return made

    def baseline(self, old: Seer, new: Seer, *, live: FileReference | None = None) -> MeasuredBaseline | None:
        """Measure what alerts hold production against, by the third gate's documents where there are any."""
        given = self.evaluating(old, new, None, live)
        return self.measured(given, self.replayed(given) if self.asked else None)

    def measured(self, given: Evaluating, replayed: Replay | None = None) -> MeasuredBaseline | None:
        """Measure it on what an evaluation of these has read before."""
        step, document, inputs, _, models = given
        return measure_baseline(step, document, inputs, self.yardstick(given), models, replayed, TODAY)

    def yardstick(self, given: Evaluating) -> Yardstick:
        """Return what an evaluation of these measures on, by its plan in the store."""
        step, document, inputs, plan, _ = given
        data = encode(plan)
        stored = self.policy.world.root / f"plan-{sha256_of(data)}.json"
        stored.write_bytes(data)
        reference = FileReference(stored.as_uri(), sha256_of(data))
        return read_yardstick(step, document, msgspec.structs.replace(inputs, plan=reference))

    def evaluating(
        self, old: Seer, new: Seer, plan: Plan | None, live: FileReference | None, base: Seer | None = None
    ) -> Evaluating:
        """Return what an evaluation of two models goes by; with `base` another one is live than the base."""
        self.rounds += 1
        nothing = FileReference(**NOTHING)
        inputs = EvaluateInputs(
            1, NONCE, self.rounds, nothing, nothing, LiveModel("ft_v1.1", nothing, live) if live else None
        )
        document = self.parsed()
        step = context("evaluate", document, self.policy.world.root / f"scratch-{self.rounds}")
        models: dict[Model, tuple[Detector, str]] = {
            "base": (cast(Detector, base or old), "0" * 64),
            "candidate": (cast(Detector, new), "1" * 64),
        }
        if base is not None:
            models["live"] = (cast(Detector, old), "2" * 64)
        return step, document, inputs, plan or self.plan(), models
