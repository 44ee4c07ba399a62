"""People who send their invoices and report what was not read: each page once, with the id of its document.

A person who reads the page knows its fields: here the rendered labels. Fields without a box are reported as missing,
and those whose best box has IoU < 0.5 as wrong; the page goes along. Prints a JSON line a page. Standard library only,
beside measure.py: PYTHONPATH names this folder.
"""

import argparse
import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from measure import Box, iou, labelled

BOUNDARY = "page-and-report"
COMMENT = "some fields of this invoice are not read"


def judged(truth: list[tuple[str, Box]], boxes_read: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the fields that a person misses, and those whose boxes are all beside the field."""
    missing, wrong = [], []
    for field, box in truth:
        boxes = [tuple(entry["box"]) for entry in boxes_read if entry["field"] == field]
        if not boxes:
            missing.append(field)
        elif max(iou(box, (x1, y1, x2, y2)) for x1, y1, x2, y2 in boxes) < 0.5:
            wrong.append(field)
    return missing, wrong


def form(report: dict[str, Any], page: bytes) -> bytes:
    """Return a form with the report and the page's file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="report"\r\n\r\n{json.dumps(report)}\r\n'
    file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="page"; filename="page.jpg"\r\n\r\n'
    return head.encode() + file.encode() + page + f"\r\n--{BOUNDARY}--\r\n".encode()


def ask(connection: http.client.HTTPConnection, path: str, body: bytes, content_type: str) -> dict[str, Any]:
    """Post and return the answer; ends the program for any other than 200 and 202."""
    connection.request("POST", path, body=body, headers={"Content-Type": content_type})
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    if response.status not in (200, 202):
        raise SystemExit(f"POST {path}: HTTP {response.status} {answer}")
    return answer


def main() -> int:
    """Send every page, report what was not read, exit 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--pages", type=Path, required=True, help="a folder with images/ and labels/")
    parser.add_argument("--limit", type=int, default=None, help="at most so many pages")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two pages")
    arguments = parser.parse_args()
    connection = http.client.HTTPConnection(arguments.host, arguments.port, timeout=60)
    connection.request("GET", "/version")
    classes = json.loads(connection.getresponse().read())["classes"]
    for image in sorted((arguments.pages / "images").glob("*.jpg"))[: arguments.limit]:
        page, document = image.read_bytes(), image.stem
        answer = ask(connection, f"/predict?document={quote(document)}", page, "image/jpeg")
        size = answer["page"]["width"], answer["page"]["height"]
        truth = labelled(arguments.pages / "labels" / f"{document}.txt", classes, *size)
        missing, wrong = judged(truth, answer["fields"])
        said: dict[str, Any] = {"document": document, "missing": missing, "wrong": wrong}
        if missing or wrong:
            report = {"prediction": answer["prediction"], "fields": wrong, "missing": missing, "comment": COMMENT}
            taken = ask(connection, "/feedback", form(report, page), f"multipart/form-data; boundary={BOUNDARY}")
            said["kept"] = taken["kept"]
        print(json.dumps(said), flush=True)
        time.sleep(arguments.pause)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
