"""Loss curves from ultralytics' results.csv."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from matplotlib.figure import Figure


def loss_curves(results: Path) -> bytes:
    """Return a PNG with the training losses over the epochs."""
    with results.open(newline="", encoding="utf-8") as stream:
        rows = [{k.strip(): v for k, v in row.items()} for row in csv.DictReader(stream)]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name in rows[0] if rows else {}:
        if name.startswith("train/"):
            epochs = [int(float(row["epoch"])) for row in rows]
            axes.plot(epochs, [float(row[name]) for row in rows], marker="o", label=name.removeprefix("train/"))
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.legend()
    return png(figure)


def png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
