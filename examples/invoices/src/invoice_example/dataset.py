"""Writes the example's documents as data sets in YOLO format, the same bytes for the same seed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import yaml

from .ageing import Scan, draw_wear, scan
from .fields import CLASS_IDS, FIELDS, LabelledBox
from .layouts import Supplier
from .page import Page, draw_page
from .poison import shuffled_fields
from .sizes import Sizes
from .suppliers import BASE_SUPPLIERS, NEW_SUPPLIERS
from .values import bankgiro, draw_invoice, org_number

_SHIFT = 7.0  # points: how far a supplier's printer moves the page, either way


@dataclass(frozen=True, slots=True)
class Document:
    """One invoice, drawn and scanned."""

    name: str
    supplier: str
    page: Page
    scan: Scan


def write_example(out: Path, *, seed: int, sizes: Sizes, mapper: Mapper = map) -> None:
    """Writes everything under `out`: anchor/, new-suppliers/{verified,unseen,poisoned}/ and pdf/.

    Raises:
        FileExistsError: `out` is there already and not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty; name a new folder or remove it first")
    known = documents(BASE_SUPPLIERS, sizes.train + sizes.val + sizes.test, seed, sizes.height, mapper)
    anchor = out / "anchor"
    _write_split(anchor, "train", known, sizes.train)
    _write_split(anchor, "val", known, sizes.val)
    _write_split(anchor, "test", known, sizes.test)
    _write_data_yaml(anchor, {split: f"images/{split}" for split in ("train", "val", "test")})

    fresh = documents(NEW_SUPPLIERS, sizes.verified + sizes.unseen, seed, sizes.height, mapper)
    new = out / "new-suppliers"
    verified = [next(fresh) for _ in range(sizes.verified)]
    for name, pages in (
        ("verified", verified),
        ("poisoned", [_poisoned(page, seed) for page in verified]),
        ("unseen", list(fresh)),
    ):
        _write_split(new / name, "", iter(pages), len(pages))
        _write_data_yaml(new / name, {"train": "images", "val": "images"})

    (out / "pdf").mkdir(parents=True)
    for document in documents(NEW_SUPPLIERS, sizes.pdfs, seed + 1_000_003, sizes.height):
        (out / "pdf" / f"{document.name}.pdf").write_bytes(document.page.pdf)


class Mapper(Protocol):
    """Applies a function to each of a series in order, like `map`; a pool's may do it in several processes."""

    def __call__(self, function: Callable[[int], Document], series: Iterable[int], /) -> Iterator[Document]:
        """The results, in the order of the series."""
        ...


def documents(
    suppliers: tuple[Supplier, ...], count: int, seed: int, height: int, mapper: Mapper = map
) -> Iterator[Document]:
    """`count` documents with names of their own, the suppliers taking turns.

    A document depends on the seed, its supplier and its turn alone, so more documents
    extend a series and do not change it, and it matters not which process drew which.
    """
    turns = -(-count // len(suppliers))
    series = tuple(_Series.of(supplier, seed, turns) for supplier in suppliers)
    return mapper(partial(_document, series, height), range(count))


def _document(series: tuple[_Series, ...], height: int, index: int) -> Document:
    return series[index % len(series)].document(index // len(series), height)


@dataclass(frozen=True, slots=True)
class _Series:
    """All documents of one supplier: its own numbers, and no invoice number twice."""

    supplier: Supplier
    seed: int
    org: str
    giro: str

    @classmethod
    def of(cls, supplier: Supplier, seed: int, turns: int) -> _Series:
        if turns > _SERIALS:
            raise ValueError(f"{turns} documents of one supplier, at most {_SERIALS} have numbers")
        rng = _stream(seed, supplier.slug)
        return cls(supplier, seed, org_number(rng), bankgiro(rng))

    def document(self, turn: int, height: int) -> Document:
        supplier = self.supplier
        rng = _stream(self.seed, supplier.slug, turn)
        number = f"{supplier.number_prefix}{_serial(self.seed, supplier.slug, turn)}"
        invoice = draw_invoice(rng, number=number, org=self.org, giro=self.giro, max_lines=supplier.table.max_lines)
        right, down = rng.uniform(-_SHIFT, _SHIFT, 2)
        page = draw_page(supplier, invoice, (float(right), float(down)))
        aged = scan(page, draw_wear(rng), rng, height=height)
        return Document(f"{supplier.slug}-{number}", supplier.slug, page, aged)


_SERIALS = 90_001  # a prime: steps of any other size visit every serial number once


def _serial(seed: int, slug: str, turn: int) -> int:
    """A five-digit number that looks drawn and never repeats within a series."""
    rng = _stream(seed, f"{slug} serial numbers")
    start, step = int(rng.integers(_SERIALS)), int(rng.integers(1, _SERIALS))
    return 9_999 + (start + step * turn) % _SERIALS


def _stream(seed: int, *purpose: str | int) -> np.random.Generator:
    # crc32, because Python's own hash of a string differs from process to process.
    key = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in purpose]
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _poisoned(document: Document, seed: int) -> Document:
    rng = _stream(seed, document.name, "poison")
    boxes = shuffled_fields(document.scan.boxes, rng)
    scanned = Scan(document.scan.jpeg, document.scan.width, document.scan.height, boxes)
    return Document(document.name, document.supplier, document.page, scanned)


def label_rows(page: Scan) -> str:
    """The page's label file: class id, then centre and size as shares of the page, a row a field."""

    def row(label: LabelledBox) -> str:
        box = label.box
        numbers = (
            (box.left + box.right) / 2 / page.width,
            (box.top + box.bottom) / 2 / page.height,
            (box.right - box.left) / page.width,
            (box.bottom - box.top) / page.height,
        )
        return " ".join([str(CLASS_IDS[label.field]), *(f"{number:.6f}" for number in numbers)])

    return "".join(f"{row(label)}\n" for label in page.boxes)


def _write_split(folder: Path, split: str, pages: Iterator[Document], count: int) -> None:
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    with (folder / "documents.jsonl").open("a", encoding="utf-8") as index:
        for _ in range(count):
            document = next(pages)
            image = images / f"{document.name}.jpg"
            image.write_bytes(document.scan.jpeg)
            (labels / f"{document.name}.txt").write_text(label_rows(document.scan), encoding="utf-8")
            entry = {
                "image": image.relative_to(folder).as_posix(),
                "document": document.name,
                "supplier": document.supplier,
            }
            index.write(json.dumps(entry) + "\n")


def _write_data_yaml(folder: Path, splits: dict[str, str]) -> None:
    # No `path`: ultralytics then reads the splits relative to this file, wherever it is mounted.
    content = {**splits, "names": {index: str(field) for index, field in enumerate(FIELDS)}}
    (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
