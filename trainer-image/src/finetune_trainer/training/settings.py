"""Ultralytics' per-user state: no telemetry, no trackers, a font that is there. Written before it is imported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

# Looked up by name in the configuration folder; where they are missing, ultralytics tries to download them.
_FONTS: Final = ("Arial.ttf", "Arial.Unicode.ttf")


def prepare_ultralytics(configuration: Path) -> None:
    """Fill `YOLO_CONFIG_DIR` so that a start needs no network and reports to nobody.

    Trackers are on by default as soon as their package can be imported.
    """
    import matplotlib

    folder = configuration / "Ultralytics"
    folder.mkdir(parents=True, exist_ok=True)
    # DejaVu covers more scripts than Arial, and matplotlib always brings it.
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in _FONTS:
        if not (folder / name).exists():
            shutil.copyfile(font, folder / name)
    from ultralytics import settings

    trackers = ("clearml", "comet", "dvc", "mlflow", "neptune", "raytune", "tensorboard", "wandb", "hub", "platform")
    settings.update({"sync": False} | {key: False for key in trackers if key in settings})
