"""Gate 2's detection rate, measured through the Service on a YOLO folder of labelled pages.

A labelled box counts when a detected box of the same field has IoU >= 0.5 with it, one to one, pooled over
pages; the server applies the serving confidence. Prints one JSON object. Standard library only.
"""

import argparse
import http.client
import json
from pathlib import Path
from typing import Any

Box = tuple[float, float, float, float]


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes (x1, y1, x2, y2)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def labelled(path: Path, classes: list[str], width: int, height: int) -> list[tuple[str, Box]]:
    """Return the labelled boxes of a page, in pixels."""
    boxes = []
    for row in path.read_text().splitlines():
        number, *rest = row.split()
        x, y, w, h = (float(value) for value in rest)
        boxes.append(
            (
                classes[int(number)],
                ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height),
            )
        )
    return boxes


def matched(truth: list[tuple[str, Box]], detections: list[dict[str, Any]]) -> int:
    """Return how many labelled boxes are matched, surest detections first."""
    open_boxes = list(truth)
    count = 0
    for detection in sorted(detections, key=lambda d: -float(d["confidence"])):
        box: Box = tuple(detection["box"])
        best = max(
            (t for t in open_boxes if t[0] == detection["field"] and iou(t[1], box) >= 0.5),
            key=lambda t: iou(t[1], box),
            default=None,
        )
        if best is not None:
            open_boxes.remove(best)
            count += 1
    return count


def main() -> int:
    """Measure, print, exit 0; any answer but 200 is an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--data", type=Path, required=True, help="a folder with images/ and labels/")
    arguments = parser.parse_args()
    connection = http.client.HTTPConnection(arguments.host, arguments.port, timeout=60)
    connection.request("GET", "/version")
    served = json.loads(connection.getresponse().read())
    boxes = hits = pages = 0
    versions: set[str] = set()
    for image in sorted((arguments.data / "images").glob("*.jpg")):
        connection.request("POST", "/predict", body=image.read_bytes(), headers={"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        body = json.loads(response.read())
        if response.status != 200:
            raise SystemExit(f"{image.name}: HTTP {response.status} {body}")
        truth = labelled(
            arguments.data / "labels" / f"{image.stem}.txt",
            served["classes"],
            body["page"]["width"],
            body["page"]["height"],
        )
        versions.add(body["model"]["version"])
        boxes += len(truth)
        hits += matched(truth, body["fields"])
        pages += 1
    print(
        json.dumps(
            {
                "pages": pages,
                "boxes": boxes,
                "matched": hits,
                "rate": round(hits / boxes, 4),
                "versions": sorted(versions),
            }
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
