"""People who correct pre-labels: reads the tasks of `production export`, writes what Label Studio exports as JSON.

Stands in for an afternoon in front of the tool. What a person sees on the page is where the renderer put the fields;
what a hand makes of it is each edge off by up to some pixels, so no label is the truth again. One page is skipped, as
people do. The same seed makes the same hands. Prints one JSON object. Standard library only, beside measure.py:
PYTHONPATH names this folder.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

from measure import Box, iou, labelled

PEOPLE = ({"id": 1, "email": "ann@example.com"}, {"id": 2, "email": "bo@example.com"})
AT = "2026-11-24T10:00:00.000000Z"


def by_hand(box: Box, size: tuple[int, int], most: float, hand: random.Random) -> Box:
    """Return the box with each edge moved by up to `most` pixels, within the page."""
    x1, y1, x2, y2 = (edge + hand.uniform(-most, most) for edge in box)
    return max(0.0, x1), max(0.0, y1), min(float(size[0]), x2), min(float(size[1]), y2)


def region(number: int, field: str, box: Box, size: tuple[int, int]) -> dict[str, Any]:
    """Return a rectangle as Label Studio writes it: in percent of the page."""
    across, down = 100 / size[0], 100 / size[1]
    value = {
        "x": box[0] * across,
        "y": box[1] * down,
        "width": (box[2] - box[0]) * across,
        "height": (box[3] - box[1]) * down,
        "rotation": 0,
        "rectanglelabels": [field],
    }
    return {
        "id": f"box{number}",
        "type": "rectanglelabels",
        "from_name": "fields",
        "to_name": "page",
        "origin": "manual",
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": value,
    }


def annotation(number: int, result: list[dict[str, Any]], *, skipped: bool) -> dict[str, Any]:
    """Return an annotation of a task, by one of the people in turn."""
    return {
        "id": 1000 + number,
        "completed_by": PEOPLE[number % len(PEOPLE)],
        "result": [] if skipped else result,
        "was_cancelled": skipped,
        "ground_truth": False,
        "created_at": AT,
        "updated_at": AT,
        "lead_time": 21.5,
        "task": number,
    }


def main() -> int:
    """Label every task but one, exit 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", type=Path, required=True, help="the folder of `production export`")
    parser.add_argument("--truth", type=Path, required=True, help="a folder with labels/ by document")
    parser.add_argument("--classes", required=True, help="names in the order of the labels, by commas")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--pixels", type=float, default=1.5, help="how far a hand is off at most")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    hand = random.Random(arguments.seed)  # noqa: S311 - a hand that is the same in each demo
    classes = arguments.classes.split(",")
    tasks = json.loads((arguments.export / "tasks.json").read_text())
    done, overlaps = [], []
    for number, task in enumerate(tasks, start=1):
        prediction = task["data"]["prediction"]
        record = json.loads((arguments.export / "records" / f"{prediction}.json").read_text())
        size = record["page"]["width"], record["page"]["height"]
        truth = labelled(arguments.truth / "labels" / f"{record['document']}.txt", classes, *size)
        moved = [(field, box, by_hand(box, size, arguments.pixels, hand)) for field, box in truth]
        overlaps += [iou(box, drawn) for _, box, drawn in moved]
        result = [region(at, field, drawn, size) for at, (field, _, drawn) in enumerate(moved)]
        made = annotation(number, result, skipped=number == len(tasks))
        done.append(task | {"id": number, "annotations": [made], "drafts": [], "project": 1})
    arguments.out.write_text(json.dumps(done, indent=1))
    overlap = round(sum(overlaps) / len(overlaps), 3)
    print(json.dumps({"tasks": len(tasks), "skipped": 1, "boxes": len(overlaps), "overlap": overlap}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
