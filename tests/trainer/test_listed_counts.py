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
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage
from trainer.policy import FIRST, Policy, content_of, forget_pixels, judged_by, saved_anew, written_over
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


def completed(batch: Path) -> None:
    """The labels are confirmed for all classes, as they are."""
    content = json.loads(batch.read_text())
    later = f"{content['id']}z"
    (batch.parent / f"{later}.json").write_text(json.dumps(content | {"id": later, "classes": list(CLASSES)}))


@pytest.mark.row("R315")
def test_where_labels_were_completed_it_counts_for_what_they_were_made_when_the_plan_was_drawn(policy: Policy) -> None:
    """The label is the same file, and teaches more: whoever completed it in the middle of a run accuses nobody."""
    batch = labelled_for_fewer(policy.pool)
    plan = policy.run()
    fewer = judged_by(policy, plan)
    assert fewer.listed == said(plan)
    completed(batch)
    assert judged_by(policy, plan).pool == fewer.pool
    assert judged_by(policy, plan).listed == said(plan)
    after = policy.run()
    assert judged_by(policy, after).listed == said(after)
    assert said(after).digest != said(plan).digest


@pytest.mark.row("R308")
@pytest.mark.parametrize("only", [("newSet",), ("train",), ("newSet", "train")])
def test_a_label_that_was_completed_is_not_taken_as_made_for_fewer_classes(
    policy: Policy, only: tuple[str, ...]
) -> None:
    """Its page would not be measured for the others."""
    completed(labelled_for_fewer(policy.pool))
    plan = policy.run()
    assert {sample.fields for sample in judged_by(policy, plan).pool} == {None}
    content = content_of(plan)
    for name in only:
        content[name] = [s | {"fields": len(CLASSES) - 1} if s.get("origin") != "anchor" else s for s in content[name]]
    with pytest.raises(StepError, match="files or classes") as caught:
        judged_by(policy, written_over(plan, content))
    assert caught.value.reason is Reason.DIGEST_MISMATCH
