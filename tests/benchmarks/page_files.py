"""Makes pages by the ten thousand, in a process of its own: benchmarks.page_files FOLDER PAGES HELD_OUT LARGE.

A child's peak memory counts what its parent had when it was started, so the benchmark itself loads no image library.
"""

import sys
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np

CLASSES = ("red", "green", "blue")
"""Of the shared fixture's model, which stands for a base."""

WIDTH, HEIGHT = 620, 877
DRAWN = 500
"""So many pages are drawn; the others are these, shifted."""
LARGE = (7016, 4960)
"""Rows and columns of an A4 page at 600 dots an inch."""
_QUANTISATION = b"\xff\xdb\x00\x43\x00"
"""Starts a JPEG's table of 64 divisors: another one in it makes other pixels of the same file."""


def main() -> None:
    """Make an anchor of so many train and held-out pages, a folder of as many others, and one of large pages."""
    root, pages, held_out = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    splits = {"train": range(pages), "val": range(pages, pages + held_out)}
    splits["test"] = range(pages + held_out, pages + 2 * held_out)
    for split, numbers in splits.items():
        for folder in ("images", "labels"):
            (root / "anchor" / folder / split).mkdir(parents=True)
        with Pool() as makers:
            alike = (numbers[drawing::DRAWN] for drawing in range(DRAWN))
            list(makers.imap_unordered(_write, ((root / "anchor", split, each) for each in alike)))
    names = "".join(f"- {name}\n" for name in CLASSES)
    places = "".join(f"{split}: images/{split}\n" for split in splits)
    (root / "anchor" / "data.yaml").write_text(f"{places}names:\n{names}")
    _write_variants(root / "anchor", root / "new", names)
    _write_large(root / "large", int(sys.argv[4]), names)


def drawn(number: int, rows: int, columns: int) -> np.ndarray:
    """Draw a page of lines of text, blocks and rules, another one for each number."""
    random = np.random.default_rng(number)
    page = np.full((rows, columns), 250, np.uint8)
    page += random.integers(0, 5, (rows, columns), np.uint8)
    for _ in range(60):
        y, x = int(random.integers(20, rows - 20)), int(random.integers(0, columns // 2))
        text = " ".join(str(word) for word in random.integers(0, 10**6, 5))
        cv2.putText(page, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, columns / 1500, 30, max(1, columns // 1000))
    for _ in range(6):
        y, x = int(random.integers(0, rows)), int(random.integers(0, columns))
        cv2.rectangle(page, (x, y), (x + columns // 4, y + rows // 8), int(random.integers(60, 200)), -1)
    return page


def label(number: int) -> str:
    """Return eight boxes."""
    random = np.random.default_rng(number)
    centres = random.uniform(0.1, 0.9, (8, 2))
    return "".join(f"{box % len(CLASSES)} {x:.6f} {y:.6f} 0.1 0.02\n" for box, (x, y) in enumerate(centres))


def _write(alike: tuple[Path, str, range]) -> None:
    folder, split, numbers = alike
    if not numbers:
        return
    page = drawn(numbers[0], HEIGHT, WIDTH)
    for number in numbers:
        page = np.roll(page, (37, 101), (0, 1))
        name = f"{split}/page-{number:06d}"
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), page, [cv2.IMWRITE_JPEG_QUALITY, 60])
        (folder / "labels" / f"{name}.txt").write_text(label(number))


def _write_variants(anchor: Path, folder: Path, names: str) -> None:
    """Make a page of other pixels of each train page, at the price of a copy."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for image in sorted((anchor / "images" / "train").iterdir()):
        (folder / "images" / f"new-{image.name}").write_bytes(varied(image.read_bytes(), 1))
        (folder / "labels" / f"new-{image.stem}.txt").write_text(label(int(image.stem[5:]) + 7))
    (folder / "data.yaml").write_text(f"names:\n{names}")


def varied(jpeg: bytes, number: int) -> bytes:
    """Return the file with another divisor: pixels of its own for each number from 1 to a few hundred."""
    at = jpeg.index(_QUANTISATION) + len(_QUANTISATION) + number % 20
    return jpeg[:at] + bytes([jpeg[at] + 1 + number // 20]) + jpeg[at + 1 :]


def _write_large(folder: Path, pages: int, names: str) -> None:
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    _, encoded = cv2.imencode(".jpg", cv2.merge([drawn(n, *LARGE) for n in range(3)]))
    for number in range(1, pages + 1):
        (folder / "images" / f"large-{number}.jpg").write_bytes(varied(encoded.tobytes(), number))
        (folder / "labels" / f"large-{number}.txt").write_text(label(number))
    (folder / "data.yaml").write_text(f"names:\n{names}")


if __name__ == "__main__":
    main()
