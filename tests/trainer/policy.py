"""A policy in small: what its runs leave behind, as the operator tells it to the next one; and pools of long ago."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import cv2

from finetune_trainer.data.earlier_plans import judged_listing, judged_samples, listing_of
from finetune_trainer.data.plan import Known, make_plan
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_count import PoolCount, count_pool
from finetune_trainer.documents.codec import FileReference, encode
from finetune_trainer.documents.plan import Plan
from finetune_trainer.documents.run import FineTuneDocument
from finetune_trainer.storage import Storage
from trainer.world import World, add_to_pool, correct_pool, relabel, withdraw_from, write_new_pages

NOTHING = {"uri": "file:///nowhere", "sha256": "0" * 64}
FIRST = 5000  # of the twelve pages that a world's pool has


@dataclass
class Policy:
    """A policy on a pool: what its runs left behind, as the operator tells it to the next one."""

    world: World
    pool: Path
    judged: list[FileReference] = field(default_factory=list)
    live: FileReference | None = None
    base: FileReference | None = None
    holdout: str = "0"
    minimum: int = 1
    runs: int = 0
    created: datetime | None = None

    def made(self) -> None:
        """A run is made, of which the pool had by then what it has now: an hour later, as the store's clock may be."""
        self.created = datetime.now(UTC) + timedelta(hours=1)
        time.sleep(0.05)  # a file's time is that of the last tick, which was before

    def document(self) -> FineTuneDocument:
        base: dict[str, Any] = {"version": "base_v1", "artifact": NOTHING, "checkpoint": NOTHING, "inputs": None}
        if self.base is not None:
            base["inputs"] = {"uri": self.base.uri, "sha256": self.base.sha256}
        made = {} if self.created is None else {"createdAt": self.created.isoformat()}
        return self.world.parsed(
            base, holdout=self.holdout, mixing__minPoolSamples=self.minimum, data__pool__uri=self.pool.as_uri(), **made
        )

    def draw(self) -> Plan:
        """The plan that a run would be given now."""
        storage = Storage()
        known = Known(
            base=listing_of(storage, self.base),
            live=listing_of(storage, self.live),
            judged=judged_samples(storage, self.judged[-8:])[0],
        )
        return make_plan(storage, self.document(), known)

    def counted(self) -> PoolCount:
        """What a scan counts now."""
        storage, document = Storage(), self.document()
        return count_pool(
            read_pool(storage, document.data.pool.uri, document.classes),
            Decimal(document.holdout),
            base=listing_of(storage, self.base),
            judged=judged_listing(storage, self.judged[-8:])[0],
        )

    def run(self, *, judged: bool = True, goes_live: bool = False) -> FileReference:
        """A run: its plan is stored; whether it was judged and went live is remembered."""
        self.runs += 1
        data = encode(self.draw())
        path = self.world.root / f"{self.pool.name}-{id(self)}-{self.runs}.json"
        path.write_bytes(data)
        plan = FileReference(path.as_uri(), hashlib.sha256(data).hexdigest())
        if judged:
            self.judged.append(plan)
        if goes_live:
            self.live = plan
        return plan

    def folder(self, first: int, count: int) -> Path:
        folder = self.world.root / f"pages-{first}-{count}"
        return write_new_pages(folder, count=count, first=first)

    def add(self, first: int, count: int) -> None:
        """Pages become verified."""
        add_to_pool(self.pool, self.folder(first, count), self.world.anchor)

    def correct(self, first: int, count: int, *, again: bool = False) -> None:
        """Labels are corrected; `again`: back to what they were."""
        folder = self.folder(first, count)
        if not again:
            relabel(folder, first, count)
        correct_pool(self.pool, folder, self.world.anchor)

    def withdraw(self, first: int, count: int, *, erase: bool = False) -> None:
        withdraw_from(self.pool, images=(self.folder(first, count).as_uri(),), erase=erase)


def forget_pixels(pool: Path) -> None:
    """Make the pool one of an earlier release."""
    for file in (pool / "batches").iterdir():
        content = json.loads(file.read_text())
        for sample in content["samples"]:
            sample["image"] |= {"pixels": None, "look": None}
        file.write_text(json.dumps(content))


def saved_anew(folder: Path) -> None:
    for image in (folder / "images" / "train").iterdir():
        cv2.imwrite(str(image), cv2.imread(str(image)), [cv2.IMWRITE_PNG_COMPRESSION, 9])
