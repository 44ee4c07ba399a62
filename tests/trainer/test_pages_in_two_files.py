"""A page in two files, of which an earlier release did not say that they are one: corrected, withdrawn as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.data import corrections
from finetune_trainer.errors import Reason, StepError
from trainer.policy import FIRST, Policy, forget_pixels, judged_by, parsed, saved_anew
from trainer.world import add_to_pool, correct_pool, relabel, withdraw_from, write_new_pages


@pytest.fixture
def twice(policy: Policy) -> Policy:
    """A policy whose pool has a page in two files, and nothing says their pixels."""
    forget_pixels(policy.pool)
    copy = write_new_pages(policy.world.root / "copy", count=1, first=FIRST)
    saved_anew(copy)
    add_to_pool(policy.pool, copy, policy.world.anchor)
    forget_pixels(policy.pool)
    return policy


def files_of_it(policy: Policy) -> list[Path]:
    """Return both files, the first one first."""
    newest = json.loads(max((policy.pool / "batches").iterdir()).read_text())["samples"][0]
    image = policy.folder(FIRST, 1) / "images" / "train" / f"page-{FIRST}.png"
    first = next(path for path in policy.pool.rglob("*.png") if path.read_bytes() == image.read_bytes())
    return [first, policy.pool / newest["image"]["path"]]


def test_a_page_that_is_withdrawn_by_its_other_file_while_it_is_corrected_is_told(
    twice: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = twice.folder(FIRST, 1)
    correcting: Any = corrections
    compare = correcting.compare

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        made = compare(*arguments, **named)
        twice.withdraw(FIRST, 1)
        file = max((twice.pool / "batches").iterdir())
        content = json.loads(file.read_text())
        del content["samples"][0]  # as an earlier release wrote it, to which the copy was another page
        file.write_text(json.dumps(content))
        relabel(folder, FIRST, 1)
        return made

    relabel(folder, FIRST, 1)
    monkeypatch.setattr(correcting, "compare", meanwhile)
    with pytest.raises(StepError, match=r"cy@example\.com withdrew it") as caught:
        correct_pool(twice.pool, folder, twice.world.anchor)
    assert caught.value.reason is Reason.SAMPLE_WITHDRAWN
    assert len(list((twice.pool / "batches").iterdir())) == 3


@pytest.mark.parametrize("which", [0, 1], ids=["first file", "other file"])
def test_a_page_that_was_withdrawn_while_it_could_not_be_read_is_withdrawn_in_all_its_files_once_it_can(
    twice: Policy, which: int
) -> None:
    file = files_of_it(twice)[which]
    data = file.read_bytes()
    file.unlink()
    withdraw_from(twice.pool, digests=(file.stem,))
    plan = twice.run()
    assert (parsed(plan).counts.pool, parsed(plan).counts.withdrawn) == (12, 1)
    assert judged_by(twice, plan).counts.documents == 12
    file.write_bytes(data)
    with pytest.raises(StepError, match="can be read again") as caught:
        judged_by(twice, plan)
    assert "make a new run" in caught.value.remedy
    later = twice.run()
    assert (parsed(later).counts.pool, parsed(later).counts.withdrawn) == (11, 1)
    assert judged_by(twice, later).counts.documents == 11
    file.unlink()
    with pytest.raises(StepError, match=r"1 pages .* cannot be read any more"):
        judged_by(twice, later)


def test_who_has_the_image_withdraws_every_file_of_it_though_one_cannot_be_read(twice: Policy) -> None:
    first, other = files_of_it(twice)
    data = first.read_bytes()
    first.unlink()
    image = twice.world.root / "image.png"
    image.write_bytes(data)
    made = withdraw_from(twice.pool, images=(image.as_uri(),))
    assert made.withdrawal is not None
    assert [sample.image for sample in made.withdrawal.samples] == [first.stem, other.stem]
    assert len({sample.pixels for sample in made.withdrawal.samples} - {None}) == 1
    assert (twice.draw().counts.pool, twice.draw().counts.withdrawn) == (11, 1)


def test_bytes_that_are_gone_are_not_looked_for(twice: Policy) -> None:
    twice.withdraw(FIRST, 1, erase=True)
    plan = twice.run()
    assert (parsed(plan).counts.pool, parsed(plan).counts.withdrawn) == (11, 1)
    assert judged_by(twice, plan).counts.documents == 11
