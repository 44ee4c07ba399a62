"""What the example promises about its data sets: repeatable, disjoint, in YOLO format."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from PIL import Image

from invoice_example.__main__ import main
from invoice_example.dataset import documents, write_example
from invoice_example.fields import FIELDS
from invoice_example.recipe import IMAGE_SIZE
from invoice_example.sizes import Sizes
from invoice_example.suppliers import BASE_SUPPLIERS, NEW_SUPPLIERS

SMALL = Sizes(train=20, val=10, test=10, verified=9, unseen=6, pdfs=2, height=96)
SPLITS = (
    "anchor/images/train",
    "anchor/images/val",
    "anchor/images/test",
    "new-suppliers/verified/images",
    "new-suppliers/unseen/images",
)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("example")
    write_example(out, seed=7, sizes=SMALL)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def label_of(image: Path) -> Path:
    return Path(str(image.with_suffix(".txt")).replace("/images/", "/labels/"))


def rows(label: Path) -> Iterator[list[str]]:
    return (line.split() for line in label.read_text(encoding="utf-8").splitlines())


def test_the_same_seed_gives_the_same_bytes_however_many_processes_render(example: Path, tmp_path: Path) -> None:
    sizes = [word for name, value in asdict(SMALL).items() for word in (f"--{name}", str(value))]
    assert main(["generate", "--out", str(tmp_path / "again"), "--seed", "7", "--workers", "2", *sizes]) == 0
    assert contents(tmp_path / "again") == contents(example)


def test_another_seed_gives_other_pages(example: Path, tmp_path: Path) -> None:
    write_example(tmp_path, seed=8, sizes=SMALL)
    pictures = [
        {hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*.jpg")} for root in (tmp_path, example)
    ]
    assert not pictures[0] & pictures[1]


def test_asking_for_more_documents_extends_the_series() -> None:
    few = [document.scan for document in documents(BASE_SUPPLIERS, 7, seed=5, height=64)]
    more = [document.scan for document in documents(BASE_SUPPLIERS, 21, seed=5, height=64)]
    assert more[:7] == few


def test_a_supplier_never_uses_an_invoice_number_twice() -> None:
    names = [document.name for document in documents(BASE_SUPPLIERS[:1], 300, seed=6, height=16)]
    assert len(set(names)) == 300


@pytest.mark.parametrize(("split", "count"), list(zip(SPLITS, (20, 10, 10, 9, 6), strict=True)), ids=str)
def test_a_split_has_the_pages_asked_for_each_with_its_label(example: Path, split: str, count: int) -> None:
    images = sorted((example / split).iterdir())
    assert len(images) == count
    assert sorted(label_of(image) for image in images) == sorted(
        Path(str(example / split).replace("images", "labels")).iterdir()
    )


def test_no_page_and_no_document_is_in_two_splits(example: Path) -> None:
    names = {split: {path.name for path in (example / split).iterdir()} for split in SPLITS}
    digests = {
        split: {hashlib.sha256(path.read_bytes()).hexdigest() for path in (example / split).iterdir()}
        for split in SPLITS
    }
    for one, other in combinations(SPLITS, 2):
        assert not names[one] & names[other]
        assert not digests[one] & digests[other]


def test_new_suppliers_are_none_of_the_anchors(example: Path) -> None:
    def suppliers(folder: str) -> set[str]:
        lines = (example / folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()
        return {json.loads(line)["supplier"] for line in lines}

    assert suppliers("anchor") == {supplier.slug for supplier in BASE_SUPPLIERS}
    for folder in ("new-suppliers/verified", "new-suppliers/unseen"):
        assert suppliers(folder) == {supplier.slug for supplier in NEW_SUPPLIERS}
    assert not suppliers("anchor") & suppliers("new-suppliers/verified")


def test_new_suppliers_write_none_of_the_key_words_that_the_base_learns() -> None:
    known = {slot.key for supplier in BASE_SUPPLIERS for slot in supplier.slots}
    new = {slot.key for supplier in NEW_SUPPLIERS for slot in supplier.slots}
    assert not known & new


def test_labels_are_five_columns_with_known_classes_and_shares_of_the_page(example: Path) -> None:
    labels = [label_of(image) for split in SPLITS for image in (example / split).iterdir()]
    for label in labels:
        parsed = list(rows(label))
        assert sorted(int(row[0]) for row in parsed) == list(range(len(FIELDS)))
        for row in parsed:
            x, y, width, height = map(float, row[1:])
            assert 0 <= x - width / 2 < x + width / 2 <= 1
            assert 0 <= y - height / 2 < y + height / 2 <= 1


def test_data_yaml_names_the_classes_in_order_and_folders_that_exist(example: Path) -> None:
    for folder in ("anchor", "new-suppliers/verified", "new-suppliers/unseen", "new-suppliers/poisoned"):
        data = yaml.safe_load((example / folder / "data.yaml").read_text(encoding="utf-8"))
        names = data.pop("names")
        assert [names[index] for index in range(len(names))] == [str(field) for field in FIELDS]
        assert "path" not in data, "a path would be read relative to the working folder"
        assert data
        for split in data.values():
            assert any((example / folder / split).iterdir())


def test_poisoned_pages_are_the_verified_ones_with_no_field_right(example: Path) -> None:
    good, bad = example / "new-suppliers/verified", example / "new-suppliers/poisoned"
    permutations = set()
    for image in sorted((good / "images").iterdir()):
        spoiled = bad / "images" / image.name
        assert spoiled.read_bytes() == image.read_bytes()
        before, after = list(rows(label_of(image))), list(rows(label_of(spoiled)))
        assert [row[1:] for row in before] == [row[1:] for row in after]
        assert all(one[0] != other[0] for one, other in zip(before, after, strict=True))
        renamed = {int(one[0]): int(other[0]) for one, other in zip(before, after, strict=True)}
        permutations.add(tuple(renamed[index] for index in range(len(FIELDS))))
    assert len(permutations) > 3, "one permutation for all pages could be learnt"


def test_pages_are_as_high_as_asked_and_upright(example: Path) -> None:
    for image in (example / "anchor/images/val").iterdir():
        with Image.open(image) as page:
            assert page.height == 96
            assert page.width < page.height


def test_pages_are_rendered_at_the_size_they_are_learnt_at() -> None:
    assert Sizes().height == IMAGE_SIZE


def test_there_are_pdf_pages_of_documents_that_no_set_contains(example: Path) -> None:
    pdfs = list((example / "pdf").iterdir())
    assert len(pdfs) == 2
    assert all(pdf.read_bytes().startswith(b"%PDF") for pdf in pdfs)
    known = {path.stem for split in SPLITS for path in (example / split).iterdir()}
    assert not known & {pdf.stem for pdf in pdfs}


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    assert main(["generate", "--out", str(tmp_path)]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert contents(tmp_path) == {"mine.txt": b"mine"}


@pytest.mark.parametrize("option", ["--train", "--height", "--verified"])
def test_an_empty_set_is_refused_by_name(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--out", str(tmp_path / "new"), option, "0"]) == 1
    assert f"{option.removeprefix('--')} is 0; it must be at least 1" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
