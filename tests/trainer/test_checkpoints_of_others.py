"""Files of other kinds of models, made as their tools make them: taken, or refused at import with the true reason."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_trainer.cli import main
from house.deep import first_of

NAMES = {0: "number", 1: "date"}


def imported(checkpoint: Path, folder: Path, side: int) -> int:
    """The exit code of `finetune-trainer import`."""
    places = ["--artifacts", (folder / "artifacts").as_uri(), "--namespace", "ml", "--image-size", str(side)]
    return main(["import", str(checkpoint), "--model", "marks", "--version", "base_v1", *places])


def best_of(recipe: str, folder: Path, kind: str = "DetectionModel") -> Path:
    """A best.pt as training from ultralytics' own recipe leaves it, of random weights."""
    import torch
    from ultralytics.nn import tasks

    model = getattr(tasks, kind)(recipe, nc=len(NAMES), verbose=False)
    model.names = NAMES
    arguments = {"model": recipe, "task": "detect"}
    torch.save({"model": model.half(), "ema": None, "train_args": arguments, "epoch": -1}, folder / "best.pt")
    return folder / "best.pt"


def test_a_yolov5_model_of_ultralytics_is_a_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(best_of("yolov5n.yaml", tmp_path), tmp_path, 64) == 0
    spec = yaml.safe_load(capsys.readouterr().out)["spec"]
    assert spec["classes"] == list(NAMES.values())


def test_a_model_that_records_nothing_of_its_training_is_a_base(tmp_path: Path) -> None:
    import torch

    best = best_of("yolov5n.yaml", tmp_path)
    torch.save({**torch.load(best, weights_only=False), "train_args": None}, best)
    assert imported(best, tmp_path, 64) == 0


@pytest.mark.parametrize(
    ("given", "another"),
    first_of([("yolov5n.pt", "yolov5nu.pt"), ("it's.pt", "its.pt"), ("yolov3-spp.pt", None)]),
)
def test_the_file_that_is_named_is_imported_and_no_other(
    given: str,
    another: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ultralytics takes published weights for those of the names that they had once, and drops apostrophes."""
    monkeypatch.chdir(tmp_path)  # a longer path may have a letter that keeps it from that
    best = best_of("yolov5n.yaml", tmp_path)
    if another is not None:
        save({"model": None}, tmp_path / another)
    best.rename(given)
    assert imported(Path(given), tmp_path, 64) == 0
    assert yaml.safe_load(capsys.readouterr().out)["spec"]["classes"] == list(NAMES.values())


@pytest.mark.parametrize(
    ("recipe", "kind", "side", "said"),
    [
        ("yolov8n-p6.yaml", "DetectionModel", 96, "multiples of 64 pixels, and 96 is none"),
        ("rtdetr-l.yaml", "RTDETRDetectionModel", 64, "is a RTDETRDetectionModel"),
        ("yolov8n-seg.yaml", "SegmentationModel", 64, "is a SegmentationModel"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_by_what_it_is(
    recipe: str, kind: str, side: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(best_of(recipe, tmp_path, kind), tmp_path, side) == 10
    refusal = capsys.readouterr().err
    assert "BaseUnusable" in refusal
    assert said in refusal


def test_a_model_of_grey_pages_is_refused_before_it_is_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    best = best_of("yolov5n.yaml", tmp_path)
    content = torch.load(best, weights_only=False)
    content["model"].yaml["channels"] = 1
    torch.save(content, best)
    assert imported(best, tmp_path, 64) == 10
    refusal = capsys.readouterr().err
    assert "reads pages of 1 channels, and not of 3" in refusal
    assert "says no channels:" in refusal.partition("remedy:")[2]


@contextmanager
def repository(*classes: str) -> Iterator[list[Any]]:
    """Make classes of torch modules that are there only while a file is written, by `package.module.Name`."""
    import torch

    made: list[Any] = []
    before = set(sys.modules)
    for path in classes:
        module, _, name = path.rpartition(".")
        for part in (module.partition(".")[0], module):
            sys.modules.setdefault(part, types.ModuleType(part))
        made.append(type(name, (torch.nn.Module,), {"__module__": module, "__qualname__": name}))
        setattr(sys.modules[module], name, made[-1])
    try:
        yield made
    finally:
        for module in set(sys.modules) - before:
            del sys.modules[module]


def save(content: Any, path: Path, *, old: bool = False) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old format asks for the source of classes
        torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


def yolov5(folder: Path, *, old: bool) -> Path:
    """A best.pt of the yolov5 repository; its first releases wrote the format that torch had before 1.6."""
    import torch

    with repository("models.yolo.DetectionModel", "models.common.Conv") as (model_class, conv_class):
        model, conv = model_class(), conv_class()
        conv.conv = torch.nn.Conv2d(3, 8, 3)
        model.model, model.names = torch.nn.Sequential(conv), list(NAMES.values())
        content = {"epoch": -1, "model": model, "ema": None, "opt": {"save_dir": Path("runs")}, "git": None}
        return save(content, folder / "best.pt", old=old)


def own_layers(folder: Path, *, old: bool) -> Path:
    with repository("our.layers.Net") as (net,):
        return save({"model": net()}, folder / "best.pt", old=old)


def torchscript(folder: Path) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 4, 4)).save(str(folder / "best.pt"))
    return folder / "best.pt"


def cut_off(folder: Path) -> Path:
    path = weights_alone(folder)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def onnx_model(folder: Path) -> Path:
    import onnx

    graph = onnx.helper.make_graph([], "g", [], [])
    onnx.save(onnx.helper.make_model(graph, producer_name="pytorch"), str(folder / "best.pt"))
    return folder / "best.pt"


def weights_alone(folder: Path) -> Path:
    import torch

    return save({"model": torch.nn.Conv2d(3, 3, 1).state_dict()}, folder / "best.pt")


def text(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "best.pt").write_bytes(content)
        return folder / "best.pt"

    return write


@pytest.mark.parametrize(
    ("make", "said", "remedy"),
    [
        (lambda folder: yolov5(folder, old=False), "is a file of the yolov5 repository", "Train with ultralytics"),
        (lambda folder: yolov5(folder, old=True), "is a file of the yolov5 repository", "Train with ultralytics"),
        (lambda folder: own_layers(folder, old=False), "carries code that is not loaded: our.layers.Net", "stock"),
        (lambda folder: own_layers(folder, old=True), "carries code that is not loaded: our.layers.Net.", "stock"),
        (torchscript, "is TorchScript", "Import the best.pt that it was exported from"),
        (weights_alone, "holds weights alone (a state_dict)", "Use the best.pt of a training"),
        (cut_off, "or was cut off: it begins as torch's files do", "Copy or download it again"),
        (onnx_model, "is ONNX, an export that cannot be trained", "Import the best.pt that it was exported from"),
        (text(b"<!DOCTYPE html><html>"), "it begins with '<!DOCTYPE html><html>'", "Use a best.pt"),
        (text(b"version https://git-lfs.github.com/spec/v1\noid"), "is a pointer of git-lfs", "git lfs pull"),
        (text(b""), "it begins with nothing", "Use a best.pt"),
    ],
    ids=[
        "yolov5",
        "old-yolov5",
        "own",
        "old-own",
        "torchscript",
        "weights",
        "cut-off",
        "onnx",
        "web-page",
        "git-lfs",
        "empty",
    ],
)
def test_a_file_of_another_kind_is_refused_by_whose_it_is(
    make: Callable[[Path], Path], said: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(make(tmp_path), tmp_path, 64) == 10
    refusal = capsys.readouterr().err
    assert "BaseUnusable" in refusal
    assert said in refusal
    assert remedy in refusal.partition("remedy:")[2]
