"""Label Studio's tasks with pre-labels, and the labelling interface that they need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from .written import PreLabel, WrittenPage

FROM_NAME: Final = "fields"
TO_NAME: Final = "page"
_COLOURS: Final = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#e377c2", "#8c564b")


def label_studio_files(pages: Sequence[WrittenPage], classes: Sequence[str], image_url: str) -> Mapping[str, bytes]:
    """Return tasks.json and label-config.xml. `image_url` stands before the name of each picture."""
    tasks = [_task(page, image_url) for page in pages]
    return {
        "tasks.json": json.dumps(tasks, indent=1, ensure_ascii=False).encode(),
        "label-config.xml": labelling_interface(classes).encode(),
    }


def labelling_interface(classes: Sequence[str]) -> str:
    """Return the interface: rectangles that cannot be turned, one label each."""
    labels = "\n".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(_COLOURS[number % len(_COLOURS)])}/>"
        for number, name in enumerate(classes)
    )
    return (
        "<View>\n"
        '  <Text name="about" value="$about"/>\n'
        f'  <RectangleLabels name="{FROM_NAME}" toName="{TO_NAME}" choice="single" canRotate="false">\n'
        f"{labels}\n"
        "  </RectangleLabels>\n"
        f'  <Image name="{TO_NAME}" value="$image" zoom="true" zoomControl="true" rotateControl="false"/>\n'
        "</View>\n"
    )


def _task(page: WrittenPage, image_url: str) -> dict[str, Any]:
    record = page.chosen.record
    kept = page.chosen.reported or record.stratum
    about = f"{kept} (not found: {', '.join(record.missing)})" if record.missing else kept
    model = f"{record.model.name} {record.model.version}"
    regions = [_region(label, page, number) for number, label in enumerate(page.pre_labels)]
    score = min((label.confidence for label in page.pre_labels), default=0.0)
    return {
        "data": {
            "image": f"{image_url}{page.name}",
            "prediction": record.prediction,
            "about": about,
            "page": record.page.number,
            "stratum": record.stratum,
        },
        "predictions": [{"model_version": model, "score": score, "result": regions}],
    }


def _region(label: PreLabel, page: WrittenPage, number: int) -> dict[str, Any]:
    across, down = 100 / page.width, 100 / page.height
    return {
        "id": f"{page.chosen.record.prediction[:8]}-{number}",
        "from_name": FROM_NAME,
        "to_name": TO_NAME,
        "type": "rectanglelabels",
        "original_width": page.width,
        "original_height": page.height,
        "image_rotation": 0,
        "score": label.confidence,
        "value": {
            "x": label.left * across,
            "y": label.top * down,
            "width": label.width * across,
            "height": label.height * down,
            "rotation": 0,
            "rectanglelabels": [label.field],
        },
    }
