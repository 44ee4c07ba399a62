"""Ultralytics' per-user state: no telemetry, no trackers, a font that is there. Written before it is imported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from ..fonts import font_file

_FONTS: Final = ("Arial.ttf", "Arial.Unicode.ttf")
"""Looked up by name in the configuration folder; where they are missing, ultralytics tries to download them."""


def prepare_ultralytics(configuration: Path) -> None:
    """Fill `YOLO_CONFIG_DIR` so that a start needs no network and reports to nobody.

    Trackers are on by default as soon as their package can be imported.
    """
    folder = configuration / "Ultralytics"
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FONTS:
        if not (folder / name).exists():
            shutil.copyfile(font_file(), folder / name)
    from ultralytics import settings

    trackers = ("clearml", "comet", "dvc", "mlflow", "neptune", "raytune", "tensorboard", "wandb", "hub", "platform")
    settings.update({"sync": False} | {key: False for key in trackers if key in settings})
