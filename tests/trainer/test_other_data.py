"""Data that is no invoice, through every step: names in any script, pages without objects, files of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from finetune_trainer.cli import main
from finetune_trainer.data.anchor import read_index
from finetune_trainer.data.images import as_trained
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EvaluateInputs, PrepareInputs, TrainInputs
from finetune_trainer.documents.result import RESULT_LIMIT, EvaluateResult, PrepareResult, StepResult, TrainResult
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.detector import open_detector
from finetune_trainer.evaluation.preprocess import decode
from finetune_trainer.steps.context import StepContext
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.job import fitting
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.train import train
from finetune_trainer.steps.verify import verify
from finetune_trainer.storage import Storage, local_path
from trainer.world import NONCE, TINY_MODEL, World, context, training_parameters

SIDE = 64
ODD = (
    "Gesamt-betrag",
    'a "quoted" name',
    "back\\slash",
    "{brace}: 1",
    "Счёт № 7",
    "مجموع",
    "🧾",
    "no",
    "1e3",
    "~",
    "#7",
)
EIGHTY = (*ODD, *(f"{number:02}" + "漢" * 61 for number in range(80 - len(ODD))))
"""As many as can be, the most of them as long as can be: 63 characters, 185 bytes."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
SIZES = ((90, 128), (128, 90), (400, 24), (12, 12), (240, 180))
"""Width and height: portrait, landscape, a strip, the smallest and one that is scaled down a lot."""


def turned(picture: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


def deep(picture: Image.Image, path: Path) -> None:
    cv2.imwrite(str(path), np.asarray(picture, np.uint16)[..., ::-1] * 257)


def transparent(picture: Image.Image, path: Path) -> None:
    picture.putalpha(128)
    picture.save(path)


def mode(name: str) -> Callable[[Image.Image, Path], None]:
    return lambda picture, path: picture.convert(name).save(path)


KINDS: dict[str, Callable[[Image.Image, Path], object]] = {
    "colour.png": lambda picture, path: picture.save(path),
    "grey.png": mode("L"),
    "one-bit.png": mode("1"),
    "palette.png": mode("P"),
    "transparent.png": transparent,
    "deep.png": deep,
    "deep-grey.png": lambda picture, path: cv2.imwrite(str(path), np.asarray(picture.convert("L"), np.uint16) * 257),
    "turned.jpg": turned,
    "grey.jpg": mode("L"),
    "cmyk.jpg": mode("CMYK"),
    "progressive.jpg": lambda picture, path: picture.save(path, progressive=True),
    "one-bit.tif": lambda picture, path: picture.convert("1").save(path, compression="group4"),
    "deep.tif": deep,
    "page.bmp": lambda picture, path: picture.save(path),
    "page.webp": lambda picture, path: picture.save(path),
}


def drawn(seed: int, classes: int) -> tuple[Image.Image, str]:
    """A page with up to two marks; every fourth has none."""
    random = np.random.default_rng(seed)
    width, height = SIZES[seed % len(SIZES)]
    page: Pixels = random.integers(200, 256, (height, width, 3), np.uint8)
    rows = []
    for number in range(0 if seed % 4 == 3 else 2):
        x, y = (round(side * (0.25 + 0.5 * number)) for side in (width, height))
        half = max(2, min(width, height) // 6)
        page[max(0, y - half) : y + half, max(0, x - half) : x + half] = random.integers(0, 120, 3)
        box = (x / width, y / height, 2 * half / width, 2 * half / height)
        rows.append(" ".join(map(str, ((2 * seed + number) % classes, *(round(value, 6) for value in box)))))
    return Image.fromarray(page), "".join(f"{row}\n" for row in rows)


def write(folder: Path, split: str, seeds: range, classes: int) -> None:
    """Pages of every kind in turn; what shows nothing has an empty label, or none."""
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for seed in seeds:
        name, save = list(KINDS.items())[seed % len(KINDS)]
        picture, label = drawn(seed, classes)
        save(picture, images / f"{seed}-{name}")
        if label or seed % 8 == 3:
            (labels / f"{seed}-{name}").with_suffix(".txt").write_text(label)


@dataclass(frozen=True)
class Story:
    """A world with its base, and what each step said."""

    world: World
    classes: tuple[str, ...]
    base: dict[str, Any]
    prepared: PrepareResult
    trained: TrainResult
    evaluated: EvaluateResult
    verified_images: int
    messages: list[bytes]


@pytest.fixture(
    scope="module",
    params=[EIGHTY, pytest.param(("犬",), marks=pytest.mark.deep)],
    ids=["80-classes", "1-class"],
)
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    classes: tuple[str, ...] = request.param
    world = World(tmp_path_factory.mktemp("other"))
    return told(world, classes, tmp_path_factory.mktemp("scratch-of-other"))


def told(world: World, classes: tuple[str, ...], scratch: Path) -> Story:
    """Index, add and import by the command line; then every step."""
    count = len(KINDS)
    for split, seeds in {"train": range(count), "val": range(100, 104), "test": range(200, 200 + count)}.items():
        write(world.anchor, split, seeds, len(classes))
    places = {split: f"images/{split}" for split in ("train", "val", "test")}
    (world.anchor / "data.yaml").write_text(yaml.safe_dump({**places, "names": list(classes)}, allow_unicode=True))
    write(world.root / "new", "train", range(300, 300 + 2 * count), len(classes))
    (world.root / "new" / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    assert main(["anchor", "index", str(world.anchor), "--allow-background", "0.3"]) == 0
    verified = ["--verified-by", "ann", "--verified-at", "2026-11-20", "--source", "camera", "--allow-background"]
    anchor = ["--anchor", str(world.anchor)]
    assert main(["pool", "add", str(world.pool), "--from", str(world.root / "new"), *anchor, *verified]) == 0
    base = imported(world, classes, scratch)
    changes = {"classes": list(classes), "serving__imageSize": SIDE, "holdout": "0.5", "mixing__ratio": "1"}
    document = world.parsed(base, **changes, training=training_parameters(epochs=1))
    messages: list[bytes] = []

    def said(made: StepContext, result: StepResult) -> Any:
        messages.append(fitting(made.publisher.finish(result)))
        return result

    def step(name: str) -> StepContext:
        return context(name, document, scratch / name)

    at = step("prepare")
    prepared = said(at, prepare(at, document, PrepareInputs(1, NONCE)))
    at = step("train")
    trained = said(at, train(at, document, TrainInputs(1, NONCE, prepared.plan)))
    at = step("evaluate")
    candidate = FileReference(trained.artifact.uri, trained.artifact.sha256)
    evaluated = said(at, evaluate(at, document, EvaluateInputs(1, NONCE, 1, prepared.plan, candidate)))
    to_verify = world.verification(base, **{name: changes[name] for name in ("classes", "serving__imageSize")})
    at = context("verify", to_verify, scratch / "verify")
    images = said(at, verify(at, to_verify)).test_set.images
    return Story(world, classes, base, prepared, trained, evaluated, images, messages)


def imported(world: World, classes: tuple[str, ...], scratch: Path) -> dict[str, Any]:
    """A base of random weights, as `import` takes it."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(1)
    model = DetectionModel({**TINY_MODEL, "nc": len(classes)}, nc=len(classes), verbose=False)
    model.names = dict(enumerate(classes))
    best = scratch / "best.pt"
    torch.save({"model": model, "ema": None, "train_args": {"model": "tiny.yaml", "task": "detect"}}, best)
    from finetune_trainer.commands.import_base import ImportRequest, import_base
    from finetune_trainer.documents.model_version import PlainServing

    serving = PlainServing(SIDE, "0.25", "0.7", 300)
    request = ImportRequest(best, "marks", "base_v1", world.artifacts.as_uri(), "ml", classes, serving, None)
    spec = yaml.safe_load(import_base(request, scratch))["spec"]
    assert spec["classes"] == list(classes)
    artifact = {key: spec["artifact"][key] for key in ("uri", "sha256")}
    return {"version": "base_v1", "artifact": artifact, "checkpoint": spec["checkpoint"], "inputs": None}


def test_every_kind_of_page_is_indexed_with_its_boxes(story: Story) -> None:
    index = read_index(Storage(), story.world.anchor.as_uri())
    assert index.classes == story.classes
    assert len(index.splits.train) == len(KINDS)
    assert len({page.pixels for page in index.splits.train}) == len(KINDS)
    assert sum(page.boxes == 0 for page in index.splits.train) == len(KINDS) // 4


def test_pages_without_objects_are_trained_on_and_measured(story: Story) -> None:
    assert (story.prepared.pool, story.trained.images) == (2 * len(KINDS), story.prepared.train)
    assert story.trained.epochs == 1
    assert story.evaluated.test_set.images == story.verified_images == len(KINDS)
    plan = json.loads(Path(str(local_path(story.prepared.plan.uri))).read_text())
    assert any(page["boxes"] == 0 for page in plan["train"])
    assert any(page["boxes"] == 0 for page in plan["test"])


def test_training_sees_the_pixels_that_are_measured_and_served(story: Story, tmp_path: Path) -> None:
    from ultralytics.utils.patches import imread

    for image in sorted((story.world.anchor / "images").rglob("*.*")):
        placed = tmp_path / image.name
        placed.write_bytes(as_trained(image.read_bytes()))
        evaluated, trained = decode(image.read_bytes()), imread(placed)
        assert evaluated is not None
        assert evaluated.shape == trained.shape, image.name
        # Of 16 bits training takes the upper 8, where OpenCV rounds.
        assert np.abs(evaluated.astype(int) - trained).max() <= (1 if image.name.endswith("deep.tif") else 0), (
            image.name
        )


def test_names_arrive_in_the_artifact_and_in_the_report(story: Story) -> None:
    artifact = local_path(story.trained.artifact.uri)
    assert artifact is not None
    assert open_detector(artifact, "it", threads=1).serving.classes == story.classes
    [report] = story.world.artifacts.rglob("evaluate-*/*/report.json")
    assert json.loads(report.read_text())["classes"] == list(story.classes)


@pytest.mark.row("R161")
def test_new_pages_without_any_object_end_the_run_before_it_trains(story: Story, tmp_path: Path) -> None:
    folder, pool = tmp_path / "empty", tmp_path / "pool"
    write(folder, "train", range(403, 443, 4), len(story.classes))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in story.classes))
    verified = ["--verified-by", "ann", "--verified-at", "2026-11-20", "--source", "camera"]
    places = [str(pool), "--from", str(folder), "--anchor", str(story.world.anchor)]
    assert main(["pool", "add", *places, *verified, "--allow-background", "1"]) == 0
    changes = {"classes": list(story.classes), "serving__imageSize": SIDE, "data__pool__uri": pool.as_uri()}
    document = story.world.parsed(story.base, **changes)
    with pytest.raises(StepError, match=r"None of the 10 new pages .* has a labelled box") as caught:
        prepare(context("prepare", document, tmp_path / "scratch"), document, PrepareInputs(1, "0b"))
    assert caught.value.reason is Reason.POOL_TOO_SMALL


def test_what_a_step_says_fits_into_a_termination_message(story: Story) -> None:
    assert len(story.messages) == 4
    assert all(len(message) <= RESULT_LIMIT for message in story.messages)
