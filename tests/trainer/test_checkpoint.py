"""Checkpoints: what may be a base, and that nothing of the machine leaves with what is published."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_trainer.cli import main
from finetune_trainer.documents.serving import Lineage
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.detector import open_detector
from finetune_trainer.storage import local_path
from finetune_trainer.training.checkpoint import (
    check_is_base,
    class_names,
    load_checkpoint,
    parent_checkpoint,
    publishable,
    weights_of,
)
from finetune_trainer.training.usable import check_usable
from trainer.world import CLASSES, SIDE, World


def command(checkpoint: Path, world: World, *more: str) -> list[str]:
    place = ["--artifacts", world.artifacts.as_uri(), "--namespace", "ml"]
    return [
        "import",
        str(checkpoint),
        "--model",
        "marks",
        "--version",
        "base_v1",
        *place,
        "--image-size",
        str(SIDE),
        *more,
    ]


def saved(checkpoint: dict[str, Any], folder: Path) -> Path:
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, folder / "model.pt")
    return folder / "model.pt"


def raw(path: Path) -> dict[str, Any]:
    import torch  # not at the top: the pod's environment must be set before

    content: dict[str, Any] = torch.load(path, weights_only=False)
    return content


def test_an_import_prints_a_model_version_of_what_it_stored(
    best_pt: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(best_pt, world, "--classes", ",".join(CLASSES))) == 0
    manifest = yaml.safe_load(capsys.readouterr().out)
    spec = manifest["spec"]
    assert (manifest["kind"], manifest["metadata"]) == ("ModelVersion", {"name": "marks-base-v1", "namespace": "ml"})
    assert (spec["type"], spec["version"], spec["classes"]) == ("Base", "base_v1", list(CLASSES))
    assert spec["serving"] == {"imageSize": SIDE, "confidence": "0.25", "nmsIou": "0.7", "maxDetections": 300}
    model = local_path(spec["artifact"]["uri"])
    assert model is not None
    assert model.stat().st_size == spec["artifact"]["bytes"]
    detector = open_detector(model, "model", threads=1)
    assert detector.serving.classes == CLASSES
    assert detector.lineage == Lineage(type="Base", model="marks", base="base_v1")


def test_importing_the_same_checkpoint_again_gives_the_same_artifact(
    best_pt: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(best_pt, world)) == 0
    first = capsys.readouterr().out
    assert main(command(best_pt, world)) == 0
    assert capsys.readouterr().out == first


def test_nothing_of_the_machine_is_published(best_pt: Path, pod: Path, tmp_path: Path) -> None:
    original = raw(best_pt)
    original["git"] = {"origin": "https://token:secret@git.example.com/team/repo.git", "root": str(pod)}
    path = saved(publishable(original, Lineage(type="Base", base="base_v1")), tmp_path)
    with zipfile.ZipFile(path) as archive:
        [pickled] = [archive.read(n) for n in archive.namelist() if n.endswith("data.pkl")]
    assert b"secret" not in pickled
    assert str(pod).encode() not in pickled
    assert b"git.example.com" not in pickled


def test_a_published_checkpoint_still_loads_safely_and_knows_what_it_is(best_pt: Path, tmp_path: Path) -> None:
    path = saved(publishable(raw(best_pt), Lineage(type="FineTuned", base="base_v1", owner="uid")), tmp_path)
    checkpoint = load_checkpoint(path, "it")
    assert class_names(checkpoint) == CLASSES
    with pytest.raises(StepError, match="itself a fine-tune, of base_v1") as caught:
        check_is_base(checkpoint, "it", None)
    assert caught.value.reason is Reason.BASE_UNUSABLE


def test_a_fine_tune_is_refused_by_import(
    best_pt: Path, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(publishable(raw(best_pt), Lineage(type="FineTuned", base="base_v1", owner="uid")), tmp_path)
    assert main(command(path, world)) == 10
    assert "BaseUnusable" in capsys.readouterr().err
    assert not world.artifacts.exists()


@pytest.mark.parametrize(
    ("arguments", "parent"),
    [
        ({"model": "tiny.yaml", "pretrained": True}, None),
        ({"model": "/home/ann/runs/best.pt", "pretrained": True}, "best.pt"),
        ({"model": "tiny.yaml", "pretrained": "C:\\models\\old.pt"}, "old.pt"),
        ({"model": "/runs/last.pt", "resume": "/runs/last.pt"}, None),
        ({}, None),
    ],
)
def test_the_parent_is_read_from_the_training_arguments(arguments: dict[str, Any], parent: str | None) -> None:
    assert parent_checkpoint({"train_args": arguments}) == parent


@pytest.mark.parametrize(
    ("model", "pretrained", "allowed"),
    [
        ("yolo26n.pt", None, True),  # published by ultralytics
        ("/somewhere/yolo11s.pt", None, True),
        ("company-documents.pt", None, False),
        ("company-documents.pt", "company-documents.pt", True),
        ("tiny.yaml", None, True),
    ],
)
def test_training_from_general_weights_makes_a_base_from_others_only_when_declared(
    model: str, pretrained: str | None, allowed: bool
) -> None:
    checkpoint = {"train_args": {"model": model}}
    if allowed:
        check_is_base(checkpoint, "it", pretrained)
    else:
        with pytest.raises(StepError, match="looks like a fine-tune"):
            check_is_base(checkpoint, "it", pretrained)


def test_classes_in_another_order_are_refused(best_pt: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(best_pt, world, "--classes", "date,number,total")) == 10
    assert "ClassListDiffers" in capsys.readouterr().err


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_code_in_a_checkpoint_is_not_executed(best_pt: Path, tmp_path: Path) -> None:
    path = saved(raw(best_pt) | {"extra": Payload(tmp_path / "owned")}, tmp_path)
    with pytest.raises(StepError) as caught:
        load_checkpoint(path, "it")
    assert caught.value.reason is Reason.BASE_UNUSABLE
    assert not (tmp_path / "owned").exists()
    with path.open("wb") as stream:
        pickle.dump(Payload(tmp_path / "owned"), stream)
    with pytest.raises(StepError):
        load_checkpoint(path, "it")
    assert not (tmp_path / "owned").exists()


def foreign(module: str, folder: Path) -> Path:
    """A checkpoint whose model is of a class in `module`, which is not there when it is read."""
    import torch

    names = [module.rsplit(".", depth)[0] for depth in range(module.count("."), -1, -1)]
    sys.modules.update({name: types.ModuleType(name) for name in names})
    kind = type("Model", (torch.nn.Module,), {"__module__": module})
    sys.modules[module].Model = kind  # type: ignore[attr-defined]
    path = saved({"model": kind()}, folder)
    for name in names:
        del sys.modules[name]
    return path


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("models.yolo", "is a file of the yolov5 repository"),
        ("models.common", "is a file of the yolov5 repository"),
        ("our_layers.attention", "carries code that is not loaded: our_layers.attention.Model"),
    ],
)
def test_a_file_of_another_project_is_told_whose_it_is(module: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=said) as caught:
        load_checkpoint(foreign(module, tmp_path), "it")
    assert caught.value.reason is Reason.BASE_UNUSABLE


def fuse(model: Any) -> None:
    model.fuse(verbose=False)


def diverge(model: Any) -> None:
    next(model.parameters()).data.fill_(float("nan"))


def gap(model: Any) -> None:
    model.names = {0: "number", 1: "date", 3: "total"}


def nameless(model: Any) -> None:
    model.names = {}


def too_many_names(model: Any) -> None:
    model.names = dict(enumerate((*CLASSES, "tax")))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (fuse, "was fused"),
        (diverge, "weights that are no numbers"),
        (gap, r"names have the indices \[0, 1, 3\]"),
        (nameless, r"names have the indices \[\]"),
        (too_many_names, "answers with 3 classes"),
    ],
)
def test_a_checkpoint_that_cannot_be_a_base_is_refused_with_the_reason(
    best_pt: Path, spoil: Callable[[Any], None], said: str
) -> None:
    checkpoint = load_checkpoint(best_pt, "it")
    spoil(weights_of(checkpoint))
    with pytest.raises(StepError, match=said) as caught:
        check_usable(checkpoint, "it", SIDE)
    assert caught.value.reason is Reason.BASE_UNUSABLE
    assert caught.value.remedy


@pytest.mark.row("R255")
@pytest.mark.parametrize(
    ("activation", "right"),
    [
        ("nn.SiLU()", True),
        ("torch.nn.LeakyReLU(0.1, inplace=True)", True),
        ("__import__('os').abort()", False),
        ("nn.Hardtanh(__import__('os').abort())", False),
        ("nn.ReLU(inplace=__import__('os').abort())", False),
        ("nn.ReLU() if __import__('os').abort() else nn.SiLU()", False),
        ("nn.modules.activation.__builtins__['exec']('')", False),
        ("nn.SiLU(", False),
        ("(" * 9000, False),
        ("nn.SiLU", False),
        (7, False),
    ],
    ids=str,
)
def test_an_activation_is_a_class_of_torch_and_nothing_that_python_would_do(
    best_pt: Path, activation: object, right: bool
) -> None:
    """Ultralytics has Python evaluate it whenever it builds the model: as training begins, and for an evaluation."""
    checkpoint = load_checkpoint(best_pt, "it")
    weights_of(checkpoint).yaml["activation"] = activation
    if right:
        check_usable(checkpoint, "it", SIDE)
        return
    with pytest.raises(StepError, match=r"has an activation that is no class of torch\.nn") as caught:
        check_usable(checkpoint, "it", SIDE)
    assert caught.value.reason is Reason.BASE_UNUSABLE


@pytest.mark.parametrize(
    ("stride", "size", "right"), [(32, 640, True), (64, 640, True), (64, 672, False), (32, 650, False)]
)
def test_an_image_size_is_a_multiple_of_the_models_stride(best_pt: Path, stride: int, size: int, right: bool) -> None:
    import torch

    checkpoint = load_checkpoint(best_pt, "it")
    weights_of(checkpoint).stride = torch.tensor([8.0, float(stride)])
    if right:
        check_usable(checkpoint, "it", size)
        return
    with pytest.raises(StepError, match=f"multiples of {stride} pixels, and {size} is none"):
        check_usable(checkpoint, "it", size)


def test_a_detector_of_another_kind_is_refused(best_pt: Path) -> None:
    checkpoint = load_checkpoint(best_pt, "it")
    model = weights_of(checkpoint)
    model.__class__ = type("RTDETRDetectionModel", (type(model),), {})
    with pytest.raises(StepError, match="is a RTDETRDetectionModel"):
        check_usable(checkpoint, "it", SIDE)


@pytest.mark.parametrize("data", [b"", b"not a checkpoint", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_checkpoint_is_a_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "best.pt").write_bytes(data)
    with pytest.raises(StepError, match="no ultralytics checkpoint") as caught:
        load_checkpoint(tmp_path / "best.pt", "it")
    assert caught.value.reason is Reason.BASE_UNUSABLE


@pytest.mark.parametrize(
    ("option", "value"),
    [("--image-size", "300"), ("--version", "ft_v1.1"), ("--model", "Not_A_Label"), ("--confidence", "2")],
)
def test_options_are_checked_before_anything_is_loaded(
    world: World, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(world.root / "missing.pt", world, option, value)
    assert main(arguments) == 10
    assert "ContractViolated" in capsys.readouterr().err


class Built:
    """What has a model built as it is loaded, of any size; with a URL for the architecture it would be fetched."""

    def __reduce__(self) -> tuple[Any, ...]:
        from ultralytics.nn.tasks import DetectionModel

        layers = {"backbone": [[-1, 1, "Conv", [8, 3, 2]]], "head": [[[0], 1, "Detect", ["nc"]]]}
        return DetectionModel, ({"nc": 1, **layers},)


@pytest.mark.row("R258")
@pytest.mark.parametrize("of_before", [False, True])
def test_no_checkpoint_has_a_model_built_as_it_is_loaded(best_pt: Path, tmp_path: Path, *, of_before: bool) -> None:
    import torch
    from torch.nn import Identity

    path = tmp_path / "best.pt"
    torch.save({"model": Built()}, path, _use_new_zipfile_serialization=not of_before)
    with pytest.raises(StepError, match=r"a DetectionModel built|no ultralytics"):
        load_checkpoint(path, "it")
    assert load_checkpoint(best_pt, "it")["model"] is not None
    assert Identity()(torch.ones(1)) == 1
