"""Pages with more boxes than a model may answer with: on such a page even a perfect model cannot find everything."""

from __future__ import annotations

from collections.abc import Sequence

from ..documents.plan import Sample
from ..errors import Reason, bad_input


def check_density(samples: Sequence[Sample], max_detections: int) -> None:
    """Raise StepError TooManyBoxes for a page with more boxes than `max_detections`, naming the fullest."""
    fullest = max(samples, key=lambda sample: sample.boxes, default=None)
    if fullest is None or fullest.boxes <= max_detections:
        return
    count = sum(sample.boxes > max_detections for sample in samples)
    raise bad_input(
        Reason.TOO_MANY_BOXES,
        f"{count} pages have more boxes than the model answers with (spec.serving.maxDetections is {max_detections}); "
        f"{fullest.image.uri} has {fullest.boxes}.",
        f"Raise spec.serving.maxDetections of the policy to {fullest.boxes} or more, import the base with the same "
        "number, or cut such pages.",
    )
