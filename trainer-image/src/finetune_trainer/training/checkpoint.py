"""Checkpoints: what may be a base, what leaves the pod, and the marks that tell one from the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from ..artifact.metadata import check_lineage
from ..documents.serving import Lineage
from ..errors import Reason, bad_input
from .foreign import refused

MARKER_KEY: Final = "finetune_operator"
"""Where a checkpoint of ours carries its lineage."""

_PLACES: Final = ("data", "model", "project", "name", "save_dir", "cfg", "tracker", "source", "distill_model")
"""Arguments whose values are places on the machine that trained."""


def load_checkpoint(path: Path, where: str) -> dict[str, Any]:
    """Load a foreign checkpoint without executing what it carries; StepError BaseUnusable when that is impossible."""
    from ultralytics.nn.tasks import torch_safe_load

    try:
        with _nothing_built():
            checkpoint, _ = torch_safe_load(str(path), safe_only=True)
    except Exception as error:  # the loader's errors are of many kinds, all about this file
        raise refused(path, where, error) from error
    if not isinstance(checkpoint, dict) or (checkpoint.get("model") is None and checkpoint.get("ema") is None):
        raise bad_input(Reason.BASE_UNUSABLE, f"{where} holds no model.", "Use a best.pt of ultralytics' training.")
    return checkpoint


@contextmanager
def _nothing_built() -> Iterator[None]:
    """Have no module constructed meanwhile.

    Those of a checkpoint are put together from what they were. A pickle may call their classes instead, with anything:
    ultralytics then builds what it is told to, and fetches it by a URL.
    """
    from torch.nn import Module

    construct = Module.__init__

    def refuse(self: object, *_: object, **__: object) -> None:
        raise TypeError(f"it has a {type(self).__name__} built, and does not hold one that was")

    # A plain assignment is one to a method, which mypy refuses.
    setattr(Module, "__init__", refuse)  # noqa: B010
    try:
        yield
    finally:
        setattr(Module, "__init__", construct)  # noqa: B010


def weights_of(checkpoint: Mapping[str, Any]) -> Any:
    """Return the model in a checkpoint: the averaged weights while training, else the final ones."""
    return checkpoint.get("ema") or checkpoint["model"]


def class_names(checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the class names by index."""
    names = weights_of(checkpoint).names
    return tuple(str(names[i]) for i in range(len(names)))


def training_arguments(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments that training recorded; none where there is nothing, or something else."""
    arguments = checkpoint.get("train_args")
    return arguments if isinstance(arguments, Mapping) else {}


def check_detector(checkpoint: Mapping[str, Any], where: str) -> None:
    """Raise StepError BaseUnusable unless the checkpoint is a detection model."""
    task = getattr(weights_of(checkpoint), "task", None) or training_arguments(checkpoint).get("task", "detect")
    if task != "detect":
        raise bad_input(Reason.BASE_UNUSABLE, f"{where} is a {task} model.", "Use a detection model.")


def check_is_base(checkpoint: Mapping[str, Any], where: str, pretrained: str | None) -> None:
    """Raise StepError BaseUnusable for a fine-tune: chains of fine-tunes drift, so each starts from a base.

    A checkpoint of ours says so itself. Others are told by their training arguments: one that started from a
    checkpoint which is none of ultralytics' published ones was tuned on something; `pretrained` names a general
    pretrained checkpoint that is allowed there.
    """
    marker = checkpoint.get(MARKER_KEY)
    if marker is not None:
        check_lineage(msgspec.convert(marker, Lineage), where)
        return
    parent = parent_checkpoint(checkpoint)
    if parent is not None and parent != pretrained and not is_published(parent):
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"{where} was trained from {parent}, so it looks like a fine-tune.",
            f"Import the base instead; if {parent} is general pretraining, say --pretrained {parent}.",
        )


def parent_checkpoint(checkpoint: Mapping[str, Any]) -> str | None:
    """Return the file name of the weights that training started from, or None when it started from random ones."""
    arguments = training_arguments(checkpoint)
    if arguments.get("resume"):
        return None  # `model` is then the run's own last.pt, and the start is not recorded
    for value in (arguments.get("pretrained"), arguments.get("model")):
        if isinstance(value, str) and value.endswith(".pt"):
            return value.replace("\\", "/").rpartition("/")[2]
    return None


def is_published(name: str) -> bool:
    """Tell whether `name` is one of the checkpoints that ultralytics publishes."""
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

    return name in GITHUB_ASSETS_NAMES


def publishable(checkpoint: Mapping[str, Any], lineage: Lineage) -> dict[str, Any]:
    """Return a checkpoint that may leave the machine: weights, parameters and our mark, no places, no git origin.

    Ultralytics records the origin URL of the repository around its own package, tokens included, and the paths
    of the data. The optimizer's state goes too: a published model is not resumed.
    """
    model = weights_of(checkpoint)
    for attribute in ("criterion", "loss"):
        if hasattr(model, attribute) and not callable(getattr(type(model), attribute, None)):
            setattr(model, attribute, None)
    arguments = without_places(training_arguments(checkpoint))
    if hasattr(model, "args"):
        own = model.args if isinstance(model.args, dict) else vars(model.args)
        model.args = without_places(own)
    if isinstance(getattr(model, "yaml", None), dict) and "yaml_file" in model.yaml:
        model.yaml["yaml_file"] = Path(str(model.yaml["yaml_file"])).name
    for parameter in model.parameters():
        parameter.requires_grad = False
    return {
        "epoch": -1,
        "model": model.half(),
        "ema": None,
        "optimizer": None,
        "train_args": arguments,
        "train_metrics": checkpoint.get("train_metrics"),
        "version": checkpoint.get("version"),
        "license": "AGPL-3.0 (https://ultralytics.com/license)",
        MARKER_KEY: msgspec.to_builtins(lineage),
    }


def without_places(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return training arguments without paths: a file is named, not placed."""
    return {
        key: Path(value).name if key in _PLACES and isinstance(value, str) else value
        for key, value in arguments.items()
        if not isinstance(value, Path)
    }
