"""What an evaluation counts of the pool that a plan lists: what `prepare` counted, whatever came to the pool since."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_trainer.data.earlier_plans import read_plan
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.result import ListedPool
from finetune_trainer.storage import Storage
from trainer.policy import FIRST, Policy, forget_pixels, saved_anew
from trainer.test_listed_plans import judged_by
from trainer.world import CLASSES, add_to_pool, write_new_pages


def said(plan: FileReference) -> ListedPool:
    """What `prepare` says of the pool by this plan."""
    drawn = read_plan(Storage(), plan)
    return ListedPool(drawn.digests.pool, drawn.counts.pool, drawn.counts.withdrawn, drawn.counts.outside)


def nothing(_: Policy) -> None:
    """Nobody touches the pool."""


def all_of_it(policy: Policy) -> None:
    policy.correct(FIRST, 6)
    policy.withdraw(FIRST, 3)
    policy.add(8100, 5)


@pytest.mark.row("R315")
@pytest.mark.parametrize("holdout", ["0", "0.5"])
@pytest.mark.parametrize("earlier", [False, True], ids=["pool", "pool of an earlier release"])
@pytest.mark.parametrize("since", [nothing, all_of_it])
def test_it_counts_what_prepare_counted(
    policy: Policy, since: Callable[[Policy], None], earlier: bool, holdout: str
) -> None:
    policy.base = policy.run()
    policy.holdout = holdout
    policy.add(8000, 9)
    if earlier:
        forget_pixels(policy.pool)
        again = write_new_pages(policy.world.root / "again", count=2, first=FIRST + 4)
        saved_anew(again)
        add_to_pool(policy.pool, again, policy.world.anchor)
    policy.correct(FIRST + 6, 2)
    policy.withdraw(FIRST + 8, 2)
    policy.withdraw(FIRST + 11, 1, erase=True)
    plan = policy.run()
    assert (said(plan).samples, said(plan).withdrawn) == (18, 3)
    since(policy)
    assert judged_by(policy, plan).listed == said(plan)


def labelled_for_fewer(pool: Path) -> Path:
    """Make the pool's only batch one whose labels were made for fewer classes; return its manifest."""
    [batch] = (pool / "batches").iterdir()
    content = json.loads(batch.read_text())
    for sample in content["samples"]:
        label = pool / sample["label"]["path"]
        rows = [row for row in label.read_text().splitlines() if not row.startswith(str(len(CLASSES) - 1))]
        short = ("\n".join(rows) + "\n").encode()
        sample["label"] = {"path": f"files/{sha256_of(short)}.txt", "sha256": sha256_of(short)}
        (pool / sample["label"]["path"]).write_bytes(short)
    batch.write_text(json.dumps(content | {"classes": list(CLASSES[:-1])}))
    return batch


@pytest.mark.row("R315")
def test_where_labels_were_completed_nobody_can_tell_what_they_taught_when_the_plan_was_drawn(policy: Policy) -> None:
    """The label is the same file, and teaches more: whoever completed it in the middle of a run accuses nobody."""
    batch = labelled_for_fewer(policy.pool)
    plan = policy.run()
    assert judged_by(policy, plan).listed == said(plan)
    content = json.loads(batch.read_text())
    later = f"{content['id']}z"
    (batch.parent / f"{later}.json").write_text(json.dumps(content | {"id": later, "classes": list(CLASSES)}))
    listed = judged_by(policy, plan).listed
    assert (listed.digest, listed.samples) == (None, 12)
