"""The arguments of a training as a CPU's pod would be given them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from finetune_trainer.documents.run import Training
from finetune_trainer.training.arguments import train_arguments
from trainer.world import training_parameters


def arguments(**changes: Any) -> dict[str, object]:
    """Return them for the usual parameters with `changes`."""
    return train_arguments(
        msgspec.convert(training_parameters(**changes), Training),
        image_size=128,
        seed=7,
        data_yaml=Path("/s/data.yaml"),
        output=Path("/s/run"),
        device="cpu",
        loaders=0,
        amp=False,
    )
