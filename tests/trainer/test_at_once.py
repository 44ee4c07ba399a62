"""Two people who write to a pool in one moment: each learns what the other did, and nothing is covered up."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetune_trainer.data import corrections, pool_batch, pool_log
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_batch import NewBatch, add_batch
from finetune_trainer.data.pool_log import append
from finetune_trainer.storage import Storage
from trainer.world import (
    BATCH_TIME,
    CLASSES,
    VERIFICATION,
    World,
    add_to_pool,
    correct_pool,
    relabel,
    withdraw_from,
    write_new_pages,
)


def in_one_moment(monkeypatch: pytest.MonkeyPatch, write: Callable[[], Any], meanwhile: Callable[[], object]) -> str:
    """Let somebody else write once all is checked and nothing is said yet; return the remarks on what was written."""

    def appends(*entry: Any) -> None:
        monkeypatch.undo()
        meanwhile()
        append(*entry)

    for module in (pool_batch, corrections):
        monkeypatch.setattr(module, "append", appends)
    return "\n".join(write().remarks)


@pytest.fixture
def mine(world: World) -> Path:
    """Two pages, as I have them."""
    return write_new_pages(world.root / "mine", count=2, first=7000)


@pytest.fixture
def others(world: World) -> Path:
    """The same pages, of which somebody else labelled one otherwise."""
    folder = write_new_pages(world.root / "others", count=2, first=7000)
    relabel(folder, 7000, 1)
    return folder


@pytest.fixture
def complete(world: World) -> Path:
    """The same pages with the same boxes, labelled for one more class."""
    folder = write_new_pages(world.root / "complete", count=2, first=7000)
    (folder / "data.yaml").write_text(json.dumps({"names": [*CLASSES, "iban"]}))
    return folder


def test_a_page_that_two_people_add_with_two_labels_is_told(
    world: World, mine: Path, others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = in_one_moment(
        monkeypatch,
        lambda: add_to_pool(world.pool, mine, world.anchor),
        lambda: add_to_pool(world.pool, others, world.anchor),
    )
    assert "1 pages were added with another label by somebody else" in said
    assert "that of ann@example.com counts" in said


def test_a_page_that_two_people_add_with_one_label_is_one_page_and_nothing_is_told(
    world: World, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(read_pool(Storage(), world.pool.as_uri(), CLASSES).samples)
    add = partial(add_to_pool, world.pool, mine, world.anchor)
    assert in_one_moment(monkeypatch, add, add) == ""
    assert len(read_pool(Storage(), world.pool.as_uri(), CLASSES).samples) == before + 2


@pytest.mark.parametrize("token", ["00000000", "ffffffff"], ids=["first by its name", "last by its name"])
def test_a_page_that_two_people_add_with_one_label_is_complete_if_one_of_them_labelled_it_for_more_classes(
    world: World, mine: Path, complete: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr(pool_log, "secrets", SimpleNamespace(token_hex=lambda _: token))
    new = NewBatch(complete.as_uri(), world.anchor.as_uri(), VERIFICATION, {}, appended=("iban",))
    in_one_moment(
        monkeypatch,
        lambda: add_to_pool(world.pool, mine, world.anchor),
        lambda: add_batch(Storage(), world.pool.as_uri(), new, BATCH_TIME),
    )
    pool = read_pool(Storage(), world.pool.as_uri(), (*CLASSES, "iban"))
    assert [sample.fields for sample in pool.samples][-2:] == [4, 4]


def test_a_correction_by_the_shorter_list_that_makes_a_page_incomplete_in_this_moment_is_told(
    world: World, mine: Path, others: Path, complete: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_to_pool(world.pool, mine, world.anchor)
    monkeypatch.setattr(pool_log, "secrets", SimpleNamespace(token_hex=lambda _: "ffffffff"))
    said = in_one_moment(
        monkeypatch,
        lambda: correct_pool(world.pool, others, world.anchor),
        lambda: correct_pool(world.pool, complete, world.anchor, appended=("iban",)),
    )
    assert "1 pages were corrected with another label by somebody else" in said


@pytest.mark.parametrize("change", ["correct", "withdraw"])
def test_a_page_that_somebody_else_corrects_or_withdraws_while_it_is_corrected_is_told(
    world: World, mine: Path, others: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    add_to_pool(world.pool, mine, world.anchor)
    theirs = write_new_pages(world.root / "theirs", count=1, first=7000)
    (theirs / "labels/train/page-7000.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    meanwhile = {
        "correct": lambda: correct_pool(world.pool, theirs, world.anchor, verified_by="dee@example.com"),
        "withdraw": lambda: withdraw_from(world.pool, images=((theirs / "images").as_uri(),)),
    }[change]
    said = in_one_moment(monkeypatch, lambda: correct_pool(world.pool, others, world.anchor), meanwhile)
    pool = read_pool(Storage(), world.pool.as_uri(), CLASSES)
    if change == "withdraw":
        assert "1 pages were withdrawn in this moment: cy@example.com withdrew it" in said
        assert len(pool.withdrawn) == 1
    else:
        (page,) = [page for page in pool.pages if len(page.samples) > 1]
        assert "1 pages were corrected with another label by somebody else" in said
        assert f"that of {page.last.verified_by} counts" in said


def test_a_correction_that_nobody_crosses_tells_nothing(world: World, mine: Path, others: Path) -> None:
    add_to_pool(world.pool, mine, world.anchor)
    said = "\n".join(correct_pool(world.pool, others, world.anchor).remarks)
    assert "in this moment" not in said
    assert correct_pool(world.pool, mine, world.anchor).remarks == (
        "1 pages have these labels already and were left out",
    )
