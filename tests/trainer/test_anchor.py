"""Indexing an anchor: layouts that are read, mistakes that are named, and nothing that is executed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_trainer.data.anchor import anchor_sample, build_index
from finetune_trainer.data.materialise import materialise
from finetune_trainer.documents.anchor import AnchorIndex
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage
from trainer.world import CLASSES, World, index, write_anchor


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    return write_anchor(tmp_path / "anchor", train=6, val=2, test=3)


def build(anchor: Path, background: float = 0) -> AnchorIndex:
    return build_index(Storage(), anchor.as_uri(), background=background).index


def rewrite(anchor: Path, **changes: Any) -> None:
    content = yaml.safe_load((anchor / "data.yaml").read_text()) | changes
    (anchor / "data.yaml").write_text(yaml.safe_dump(content))


def sizes(index: AnchorIndex) -> tuple[int, int, int]:
    return len(index.splits.train), len(index.splits.val), len(index.splits.test)


def test_directories_lists_and_text_files_are_read_alike(anchor: Path) -> None:
    expected = build(anchor)
    listed = sorted((anchor / "images" / "train").iterdir())
    (anchor / "lists").mkdir()
    (anchor / "lists" / "train.txt").write_text(
        f"./../images/train/{listed[0].name}\nimages/train/{listed[1].name}\n{listed[2]}\n\n"
    )
    rewrite(
        anchor,
        path=".",
        train=["lists/train.txt", *(f"images/train/{p.name}" for p in listed[3:])],
        val=["images/val"],
        names=list(CLASSES),
        nc=3,
    )
    assert build(anchor) == expected


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_missing_split_is_named(anchor: Path, split: str) -> None:
    rewrite(anchor, **{split: None})
    with pytest.raises(StepError, match=f"has no {split} pages") as caught:
        build(anchor)
    assert caught.value.reason is Reason.TEST_SPLIT_MISSING


def test_a_page_in_two_splits_is_refused_whatever_its_name(anchor: Path) -> None:
    shutil.copy(anchor / "images/test/page-2000.png", anchor / "images/train/innocent.png")
    shutil.copy(anchor / "labels/test/page-2000.txt", anchor / "labels/train/innocent.txt")
    with pytest.raises(StepError, match="are the same page") as caught:
        build(anchor)
    assert caught.value.reason is Reason.SPLITS_OVERLAP


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_text("")], ids=["missing", "empty"])
def test_a_page_without_label_is_refused_unless_it_is_declared(anchor: Path, lose: Callable[[Path], Any]) -> None:
    lose(anchor / "labels/train/page-1.txt")
    with pytest.raises(StepError, match="page-1") as caught:
        build(anchor)
    assert caught.value.reason is Reason.LABEL_MISSING
    assert "--allow-background" in caught.value.remedy
    declared = build(anchor, background=0.5)
    assert [e.image for e in declared.splits.train if e.boxes == 0] == ["images/train/page-1.png"]


def test_all_bad_labels_are_listed_at_once(anchor: Path) -> None:
    for seed in (1, 2):
        (anchor / f"labels/train/page-{seed}.txt").write_text("9 0.5 0.5 0.1 0.1")
    with pytest.raises(StepError) as caught:
        build(anchor)
    assert "page-1.txt: line 1: class 9" in caught.value.message
    assert "page-2.txt" in caught.value.message


def test_a_damaged_image_is_named(anchor: Path) -> None:
    (anchor / "images/val/page-1000.png").write_bytes(b"not an image")
    with pytest.raises(StepError, match="page-1000") as caught:
        build(anchor)
    assert caught.value.reason is Reason.IMAGE_UNREADABLE


def test_code_in_data_yaml_is_never_executed(anchor: Path, tmp_path: Path) -> None:
    rewrite(anchor, download=f"import pathlib; pathlib.Path({str(tmp_path / 'owned')!r}).touch()")
    build(anchor)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": "../elsewhere"}, "leads out of"),
        ({"train": "/somewhere/else"}, "leads out of"),
        ({"train": "images/nowhere"}, "names no image"),
        ({"names": {0: "a", 2: "b"}}, "indices"),
        ({"names": None}, "no names"),
        ({"nc": 7}, "nc: 7"),
        ({"train": 5}, "train: 5"),
    ],
)
def test_a_data_yaml_that_means_nothing_is_refused(anchor: Path, changes: dict[str, Any], said: str) -> None:
    rewrite(anchor, **changes)
    with pytest.raises(StepError, match=said) as caught:
        build(anchor)
    assert caught.value.reason is Reason.DATA_UNREADABLE


def test_no_data_yaml_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="does not exist") as caught:
        build(tmp_path / "nothing")
    assert caught.value.reason is Reason.DATA_UNREADABLE


def test_an_anchor_with_any_names_is_indexed_and_laid_out_for_training(world: World, tmp_path: Path) -> None:
    for number, name in enumerate(("a b", "a%20b", "a#b", "a?b", "a[1]b", "a*b", "日本語", "Re\u0301sume\u0301")):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            old = world.anchor / kind / "train" / f"page-{number}.{suffix}"
            old.rename(old.with_name(f"{name}.{suffix}"))
    pages = index(world.anchor).splits.train
    samples = [anchor_sample(world.anchor.as_uri(), page) for page in pages]
    laid_out = materialise(Storage(), samples, tmp_path / "train")
    assert [path.read_bytes() for path in laid_out] == [(world.anchor / page.image).read_bytes() for page in pages]


@pytest.mark.parametrize("allowed", [0.5, 0.95])
def test_an_anchor_whose_labels_lie_elsewhere_does_not_pass_for_empty_pages(world: World, allowed: float) -> None:
    for path in list((world.anchor / "labels/train").glob("*.txt"))[:60]:
        path.write_text("")
    if allowed == 0.5:
        with pytest.raises(StepError, match=r"Of 64 pages of the train split .* 60 have no box") as caught:
            build_index(Storage(), world.anchor.as_uri(), background=allowed)
        assert caught.value.remedy.endswith("--allow-background 0.94.")
        return
    assert (
        "60 of 64 train pages have no box" in build_index(Storage(), world.anchor.as_uri(), background=allowed).remarks
    )
