"""Production pages for the trainer's tests, as the server leaves them: images and a PDF, with records and reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import cv2
import pytest

from finetune_trainer.data.images import inspect_image, pixels_digest
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import encode
from finetune_trainer.documents.production import Stratum
from finetune_trainer.labelling.captured import CapturedPages, captured_pages
from finetune_trainer.storage import Storage, local_path
from trainer.world import CLASSES, SIDE, owner_document, page

MESSAGES = Path(__file__).resolve().parents[1] / "contract" / "messages"
DOCUMENTS = Path(__file__).resolve().parents[1] / "contract" / "fixtures" / "documents"
TODAY: Final = date(2026, 11, 26)
KINDS: Final = {".png": "image/png", ".jpg": "image/jpeg", ".tiff": "image/tiff", ".pdf": "application/pdf"}


class Production:
    """Pages of one Deployment, captured into a folder; records by prediction id."""

    def __init__(self, root: Path, namespace: str = "ml", deployment: str = "invoice-detector") -> None:
        self.folder = root / namespace / deployment
        self.folder.mkdir(parents=True)
        (self.folder / "capture.json").write_bytes(encode(owner_document(namespace, deployment)))
        self.records: dict[str, dict[str, Any]] = {}
        self._reports = 0

    @property
    def pages(self) -> CapturedPages:
        """As the commands read them."""
        return captured_pages(Storage(), self.folder.as_uri())

    def image(self, seed: int, suffix: str = ".png", stratum: Stratum = "Random", **said: Any) -> str:
        """Capture a page of the world by its seed, with its own boxes as the answer; return its prediction id."""
        drawn, label = page(seed)
        data = cv2.imencode(suffix, drawn)[1].tobytes()
        shown = inspect_image(data)
        assert not isinstance(shown, str)
        size = {"number": 1, "dpi": None, "width": SIDE, "height": SIDE, "pixels": shown.pixels}
        return self.keep(data, KINDS[suffix], size, {"fields": boxes(label), "stratum": stratum, **said}, seed)

    def pdf(self, number: int, dpi: int = 100, **said: Any) -> str:
        """Capture a page of the shared fixture's PDF, as the server drew it there."""
        picture = cv2.imread(str(DOCUMENTS / f"two-pages-{number}.png"))
        assert picture is not None
        height, width = picture.shape[:2]
        size = {"number": number, "dpi": dpi, "width": width, "height": height, "pixels": pixels_digest(picture)}
        renderer = {"renderer": "pypdfium2 5.15.2", "fields": [], **said}
        return self.keep((DOCUMENTS / "two-pages.pdf").read_bytes(), KINDS[".pdf"], size, renderer, 90_000 + number)

    def keep(self, data: bytes, kind: str, shown: dict[str, Any], said: dict[str, Any], number: int) -> str:
        """Write bytes and a record."""
        prediction = f"{number:032x}"
        digest = sha256_of(data)
        record = json.loads((MESSAGES / "production-page.json").read_text())
        record |= {"prediction": prediction, "page": {"sha256": digest, **shown}, "bytes": len(data), "kind": kind}
        record |= {"renderer": None, "document": None, "missing": [], "stratum": "Random", **said}
        day = self.folder / "days" / said.get("at", TODAY.isoformat())[:10]
        self._write(day / "files" / digest, data)
        name = day / "pages" / record["stratum"].lower() / f"{prediction}.json"
        self._write(name, json.dumps(record).encode())
        self.records[prediction] = record
        return prediction

    def report(self, **said: Any) -> None:
        """Write a report."""
        self._reports += 1
        report = json.loads((MESSAGES / "production-report.json").read_text())
        report |= {"prediction": None, "page": None, "document": None, "record": None, "fields": [], "missing": []}
        report |= {"id": f"{self._reports:032x}", **said}
        self._write(self.folder / "days" / TODAY.isoformat() / "reports" / f"{report['id']}.json", encode(report))

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def vanishing(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let a file expire, or somebody erase it, after it was listed and before it is read."""
    honest = Storage.read

    def meanwhile(storage: Storage, uri: str) -> bytes:
        if local_path(uri) == path:
            path.unlink(missing_ok=True)
        return honest(storage, uri)

    monkeypatch.setattr(Storage, "read", meanwhile)


def boxes(label: str, classes: Sequence[str] = CLASSES, side: int = SIDE) -> list[dict[str, Any]]:
    """A YOLO label as an answer has it."""
    answered = []
    for rank, row in enumerate(label.splitlines()):
        index, x, y, width, height = row.split()
        half = float(width) / 2, float(height) / 2
        corners = (float(x) - half[0], float(y) - half[1], float(x) + half[0], float(y) + half[1])
        box = [f"{corner * side:.3f}" for corner in corners]
        answered.append({"field": classes[int(index)], "confidence": f"0.{90 - rank}", "box": box})
    return answered
