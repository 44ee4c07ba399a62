"""Plans that list other pages than they name: each agrees with itself, and would pick what a candidate is good at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from finetune_trainer.documents.codec import FileReference
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import local_path
from trainer.policy import FIRST, Policy, forget_pixels, saved_anew
from trainer.test_listed_plans import judged_by, without
from trainer.world import add_to_pool, write_new_pages

Entries = list[dict[str, Any]]


def by_pixels(there: Entries, _: Entries) -> None:
    """Pages are named by their pixels, so that no batch seems to have been there."""
    for entry in there:
        entry["image"] = entry["pixels"]


def by_no_image(there: Entries, _: Entries) -> None:
    for number, entry in enumerate(there):
        entry["image"] = f"{number:064x}"


def as_labels_of_others(there: Entries, gone: Entries) -> None:
    """What is left out seems to be listed: a page that is listed was it, with a label that counts no more."""
    there += [other | {"pixels": left["pixels"], "use": "superseded"} for other, left in zip(there, gone, strict=False)]


def as_withdrawn(there: Entries, gone: Entries) -> None:
    for other, left in zip([e for e in there if e["use"] == "withdrawn"], gone, strict=True):
        other["pixels"] = left["pixels"]


def as_what_others_show(there: Entries, gone: Entries) -> None:
    for other, left in zip([e for e in there if e["use"] == "train"], gone, strict=False):
        other["pixels"] = left["pixels"]


def forged(policy: Policy, plan: FileReference, hide: Callable[[Entries, Entries], None]) -> FileReference:
    """The plan without three pages, which it hides."""
    contents = []
    for reference in (plan, without(policy, plan, 3)):
        path = local_path(reference.uri)
        assert path is not None
        contents.append(json.loads(path.read_text()))
    honest, content = contents
    there: Entries = content["listing"]
    images = {entry["image"] for entry in there}
    hide(there, [entry for entry in honest["listing"] if entry["image"] not in images])
    data = json.dumps(content).encode()
    path = policy.world.root / "forged.json"
    path.write_bytes(data)
    return FileReference(path.as_uri(), hashlib.sha256(data).hexdigest())


@pytest.mark.row("R313")
@pytest.mark.parametrize("earlier", [False, True], ids=["pool", "pool of an earlier release"])
@pytest.mark.parametrize("hide", [by_pixels, by_no_image, as_labels_of_others, as_withdrawn, as_what_others_show])
def test_nobody_hides_that_a_plan_lists_a_part_of_a_batch(
    policy: Policy, hide: Callable[[Entries, Entries], None], earlier: bool
) -> None:
    if earlier:
        forget_pixels(policy.pool)
    policy.withdraw(FIRST, 3)
    honest = policy.run()
    assert judged_by(policy, honest).counts.documents == 9
    with pytest.raises(StepError, match="The plan is not what") as caught:
        judged_by(policy, forged(policy, honest, hide))
    assert caught.value.reason is Reason.DIGEST_MISMATCH


@pytest.mark.row("R313")
def test_nobody_picks_pages_that_two_people_added_at_once(policy: Policy) -> None:
    [first] = (policy.pool / "batches").iterdir()
    content = json.loads(first.read_text())
    again = f"{content['id']}z"
    (first.parent / f"{again}.json").write_text(json.dumps(content | {"id": again}))
    honest = policy.run()
    assert judged_by(policy, honest).counts.documents == 12
    with pytest.raises(StepError, match="leaves out 3 of their pages"):
        judged_by(policy, without(policy, honest, 3))


@pytest.mark.row("R313")
@pytest.mark.parametrize("since", ["nothing", "corrected", "withdrawn"])
def test_a_page_of_an_earlier_release_that_came_again_in_another_file_is_not_left_out(
    policy: Policy, since: str
) -> None:
    """The batch that brought it again was there, with a page of its own; the page is listed once, as the first file."""
    forget_pixels(policy.pool)
    again = write_new_pages(policy.world.root / "again", count=3, first=FIRST + 10)
    saved_anew(again)
    add_to_pool(policy.pool, again, policy.world.anchor)
    plan = policy.run()
    if since == "corrected":
        policy.correct(FIRST + 10, 2)
    elif since == "withdrawn":
        policy.withdraw(FIRST + 10, 2)
    assert judged_by(policy, plan).counts.documents == 13
