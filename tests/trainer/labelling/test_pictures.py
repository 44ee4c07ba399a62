"""A picture that comes back renamed, written anew or as another one: it finds its page, or is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from finetune_trainer.data.images import inspect_image
from trainer.captured import Production
from trainer.labelling.adding import SAID, Adding, returned_picture
from trainer.world import page

REWRITTEN: Mapping[str, tuple[str, Callable[[Any], Any], list[int]]] = {
    "as png": (".png", lambda picture: picture, []),
    "as jpeg": (".jpg", lambda picture: picture, [cv2.IMWRITE_JPEG_QUALITY, 60]),
    "twice the size": (".jpg", lambda picture: cv2.resize(picture, (256, 256)), []),
}


@pytest.mark.parametrize("how", REWRITTEN)
@pytest.mark.parametrize("seed", [7001, 7002])
def test_a_picture_that_was_renamed_and_rewritten_finds_its_page(
    add: Adding, tmp_path: Path, production: Production, how: str, seed: int
) -> None:
    suffix, change, options = REWRITTEN[how]
    folder = returned_picture(tmp_path, f"scan 12{suffix}", change(as_captured(production, seed)), options)
    assert add(folder, "yolo", *SAID) == 0
    [(prediction, sample)] = add.samples.items()
    assert (prediction, sample.document) == (f"{seed:032x}", f"doc-{seed}")
    assert sample.pixels == production.records[prediction]["page"]["pixels"], "the page as it was answered"


def test_a_picture_of_half_the_size_finds_its_page(tmp_path: Path, anchor: Path) -> None:
    production = Production(tmp_path / "production")
    large = {seed: cv2.resize(page(seed)[0], (512, 512)) for seed in range(7001, 7007)}
    for seed, picture in large.items():
        captured(production, picture, seed)
    half = cv2.resize(large[7003], (256, 256), interpolation=cv2.INTER_AREA)
    adding = Adding(tmp_path, anchor, production.folder)
    assert adding(returned_picture(tmp_path, "small.jpg", half), "yolo", *SAID) == 0
    assert [*adding.samples] == [f"{7003:032x}"]


def test_a_label_whose_picture_is_lost_is_no_page(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = returned_picture(tmp_path, f"{7001:032x}.png", page(7001)[0])
    (folder / "labels" / "lost.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert add(folder, "yolo", *SAID) == 10
    assert "labels/lost.txt: a label, and there is no image of its name" in capsys.readouterr().err


def test_a_page_of_a_pdf_that_was_renamed_and_rewritten_finds_its_page(
    add: Adding, tmp_path: Path, production: Production
) -> None:
    drawn = production.pages.page(f"{90_002:032x}")
    assert not isinstance(drawn, str)
    picture = cv2.imdecode(np.frombuffer(drawn.data, np.uint8), cv2.IMREAD_COLOR)
    folder = returned_picture(tmp_path, "renamed.png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    assert add(folder, "yolo", *SAID) == 0
    [sample] = add.samples.values()
    assert (sample.document, sample.source[-6:]) == ("invoice-2", "page 2")


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture[10:, :],
        lambda picture: picture[6:-6, 6:-6],
        lambda picture: cv2.rotate(picture, cv2.ROTATE_180),
        lambda picture: page(7005)[0],
    ],
    ids=["cut off", "cut all round", "turned", "swapped"],
)
def test_a_picture_that_says_which_page_it_is_and_shows_another_is_refused(
    add: Adding,
    tmp_path: Path,
    production: Production,
    change: Callable[[Any], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = returned_picture(tmp_path, f"{7001:032x}.png", change(as_captured(production, 7001)))
    assert add(folder, "yolo", *SAID) == 10
    said = capsys.readouterr().err
    assert said.count("PageChanged") == 1
    assert "was cropped, turned or swapped" in said


def test_a_picture_that_two_captured_pages_look_like_is_refused(
    tmp_path: Path, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    production = Production(tmp_path / "two")
    drawn = page(7001)[0]
    for number, shade in enumerate((0, 1)):
        captured(production, np.clip(drawn.astype(int) - shade, 0, 255).astype(np.uint8), number + 1)
    folder = returned_picture(tmp_path, "x.jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert Adding(tmp_path, anchor, production.folder)(folder, "yolo", *SAID) == 10
    assert "it looks like two captured pages" in capsys.readouterr().err


def as_captured(production: Production, seed: int) -> Any:
    kept = production.pages.page(f"{seed:032x}")
    assert not isinstance(kept, str)
    return cv2.imdecode(np.frombuffer(kept.data, np.uint8), cv2.IMREAD_COLOR)


def captured(production: Production, picture: Any, number: int) -> None:
    """Capture a picture, with nothing found on it."""
    data = cv2.imencode(".png", picture)[1].tobytes()
    shown = inspect_image(data)
    assert not isinstance(shown, str)
    size = {"number": 1, "dpi": None, "width": shown.width, "height": shown.height, "pixels": shown.pixels}
    production.keep(data, "image/png", size, {"fields": []}, number)
