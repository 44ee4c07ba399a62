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
from finetune_trainer.data.plan import Known, MadePlan, make_plan
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_count import PoolCount, count_pool
from finetune_trainer.documents.codec import FileReference, encode
from finetune_trainer.documents.inputs import EvaluateInputs, LiveModel
from finetune_trainer.documents.plan import EARLIER_SCHEMA, SECOND_SCHEMA, Plan, parse_plan
from finetune_trainer.documents.run import FineTuneDocument
from finetune_trainer.steps.yardstick import Yardstick, read_yardstick
from finetune_trainer.storage import Storage, local_path
from trainer.world import NONCE, World, add_to_pool, context, correct_pool, relabel, withdraw_from, write_new_pages

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
        return self.drawn().plan

    def drawn(self) -> MadePlan:
        """The same, with what counted in the pool."""
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


def judged_by(policy: Policy, plan: FileReference, live: FileReference | None = None) -> Yardstick:
    """What an evaluation makes of a plan now."""
    document = policy.document()
    model = None if live is None else LiveModel("ft_v1.1", FileReference("file:///live", "1" * 64), live)
    inputs = EvaluateInputs(1, NONCE, 1, plan, FileReference("file:///c", "c" * 64), model)
    return read_yardstick(context("evaluate", document, policy.world.root / "s"), document, inputs)


def parsed(plan: FileReference) -> Plan:
    """Return a plan as the trainer reads it."""
    return parse_plan(Storage().read(plan.uri), plan.uri)


def content_of(plan: FileReference) -> dict[str, Any]:
    """What stands in a plan."""
    path = local_path(plan.uri)
    assert path is not None
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def written_over(plan: FileReference, content: dict[str, Any], name: str = "forged") -> FileReference:
    """Write another plan beside it, as whoever writes the bucket could."""
    path = local_path(plan.uri)
    assert path is not None
    path = path.with_name(f"{name}-{path.name}")
    data = json.dumps(content).encode()
    path.write_bytes(data)
    return FileReference(path.as_uri(), hashlib.sha256(data).hexdigest())


def of_the_last_release(plan: FileReference, *, known_labels: bool = True) -> FileReference:
    """The same plan as the last release wrote it."""
    content = content_of(plan)
    content["schema"] = EARLIER_SCHEMA
    content["pool"] = sorted({s["image"] for s in content.pop("listing")})
    del content["judgedBefore"], content["poolLog"]
    for name in ("withdrawn", "outside", "corrected"):
        del content["counts"][name]
    if not known_labels:
        content["train"] = [s for s in content["train"] if s["origin"] != "pool"]
        content["newSet"] = []
    return written_over(plan, content, "earlier")


def of_an_image_between(plan: FileReference) -> FileReference:
    """The same plan as images after the last release wrote it."""
    content = content_of(plan) | {"schema": SECOND_SCHEMA}
    del content["poolLog"]
    return written_over(plan, content, "between")


def grown(policy: Policy) -> None:
    """Pages come to the pool."""
    policy.add(8000, 5)


def corrected_since(policy: Policy) -> None:
    """Labels are corrected."""
    policy.correct(FIRST, 3)


def withdrawn_since(policy: Policy) -> None:
    """Pages are withdrawn."""
    policy.withdraw(FIRST, 3)


def all_of_it(policy: Policy) -> None:
    """All of these."""
    policy.correct(FIRST, 6)
    policy.withdraw(FIRST, 3)
    policy.add(8000, 5)


def forget_pixels(pool: Path) -> None:
    """Make the pool one of an earlier release."""
    for file in (pool / "batches").iterdir():
        content = json.loads(file.read_text())
        for sample in content["samples"]:
            sample["image"] |= {"pixels": None, "look": None}
        file.write_text(json.dumps(content))


def taken_twice(policy: Policy) -> None:
    """Have the first two pages of the pool twice, in other files with other labels, as an earlier release took them."""
    forget_pixels(policy.pool)
    folder = policy.folder(FIRST, 2)
    saved_anew(folder)
    relabel(folder, FIRST, 2)
    add_to_pool(policy.pool, folder, policy.world.anchor)
    forget_pixels(policy.pool)


def saved_anew(folder: Path) -> None:
    for image in (folder / "images" / "train").iterdir():
        cv2.imwrite(str(image), cv2.imread(str(image)), [cv2.IMWRITE_PNG_COMPRESSION, 9])
