"""What the steps of a run report, as the trainer would."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from finetune_operator.api.names import sha256_of
from finetune_operator.decide.views import JobView

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
CLASSES = ("invoice_number", "amount_total")
ROOT = f"file:///artifacts/ml/{UID}"
CANDIDATE = "ca" * 32
BASE = "ba" * 32
LIVE = "1e" * 32
DIGESTS = {"pool": "a1" * 32, "anchor": "a2" * 32, "testSet": "a3" * 32, "newSet": "a4" * 32}

PRODUCTION = "a5" * 32
DRAWN = {**DIGESTS, "production": PRODUCTION}
"""What `prepare` fixes where the third gate is asked for."""


def sha(text: str) -> str:
    """Return the digest of a text."""
    return sha256_of(text.encode())


def envelope(job: JobView, result: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A termination message as the trainer writes it."""
    folder = f"{ROOT}/attempt-{job.attempt}/{job.step}"
    return {
        "schema": "finetune-operator.io/step-result/v1",
        "step": job.step,
        "owner": UID,
        "attempt": job.attempt,
        "outcome": "Succeeded",
        "manifest": {"uri": f"{folder}/manifest.json", "sha256": sha("manifest")},
        "result": result,
        **changes,
    }


def prepare_result(**changes: Any) -> dict[str, Any]:
    return {
        "plan": {"uri": f"{ROOT}/attempt-1/prepare/plan.json", "sha256": sha("plan")},
        "pool": 60,
        "heldOut": 0,
        "withdrawn": 0,
        "outside": 60,
        "new": 60,
        "corrected": 0,
        "fresh": 60,
        "train": 1260,
        "old": 1200,
        "ratio": "20",
        "anchor": 1500,
        "val": 100,
        "test": 200,
        "newSet": {"documents": 60, "boxes": 1000, "fresh": 60},
        "digests": DIGESTS,
        **changes,
    }


def train_result(**changes: Any) -> dict[str, Any]:
    return {
        "artifact": {"uri": f"{ROOT}/attempt-1/train/model.onnx", "sha256": CANDIDATE, "bytes": 9, "format": "onnx"},
        "checkpoint": {"uri": f"{ROOT}/attempt-1/train/checkpoint.pt", "sha256": sha("pt")},
        "epochs": 10,
        "batch": 16,
        "images": 1260,
        "seconds": 130,
        "device": "cpu",
        "losses": {"box": "1.1"},
        "resumed": [],
        **changes,
    }


def scores(matched: int, boxes: int = 1000) -> dict[str, Any]:
    rate = f"{matched / boxes:.6f}" if boxes else ""
    precision = f"{matched / detected(matched):.6f}" if boxes else ""
    return {"boxes": boxes, "matched": matched, "rate": rate, "documentRate": rate, "precision": precision}


def detected(matched: int) -> int:
    """Return how many detections there were for so many boxes found: about one of 50 is wrong."""
    return matched + max(matched, 0) // 50 + 2


def measured(digest: str, map50: str, matched: int = 950) -> dict[str, Any]:
    served = {"meanConfidence": "0.912345", "inferenceSeconds": "0.021400"}
    return {"sha256": digest, "map50": map50, "pool": scores(matched), "fresh": scores(matched), **served}


def columns(candidate: list[int], other: list[int], live: list[int] | None = None) -> dict[str, Any]:
    return {"candidate": candidate, "base": other, "live": live}


def millionths(map50: str | None) -> int:
    """Return a mAP50 as each of the fields has it; 0 for what is none."""
    try:
        share = Decimal(map50 or "0")
        return int((share * 1_000_000).to_integral_value()) if 0 <= share <= 1 else 0
    except InvalidOperation:
        return 0


def drops(candidate: str = "0.981000", base: str = "0.985000", live: str | None = None) -> dict[str, Any]:
    """Both fields on the test set, each with the mAP50 that its model has, and too few boxes lost to be worse."""
    ap50 = [[millionths(map50)] * 2 for map50 in (candidate, base, live)]
    return {
        "measured": 2,
        "field": [1, 0],
        "boxes": [600, 600],
        "matched": columns([588, 590], [590, 590], [590, 590] if live else None),
        "ap50": columns(ap50[0], ap50[1], ap50[2] if live else None),
    }


def floors(*, live: bool = False) -> dict[str, Any]:
    """Both fields on the test set, most of them found and little else."""
    return {
        "measured": 2,
        "field": [1, 0],
        "boxes": [600, 600],
        "matched": columns([588, 590], [590, 590], [590, 590] if live else None),
        "detections": columns([600, 600], [600, 600], [600, 600] if live else None),
    }


def halves(count: int) -> list[int]:
    """Return a count as the sum of two."""
    return [count // 2, count - count // 2]


def new_floors(matched: int, *, live: bool = False) -> dict[str, Any]:
    """Both fields on the new samples, each with half of the boxes that were found."""
    counts = [max(count, 0) for count in (matched, 400, 900)]
    matches, detections = [halves(count) for count in counts], [halves(detected(count)) for count in counts]
    return {
        "measured": 2,
        "field": [0, 1],
        "boxes": [500, 500],
        "matched": columns(matches[0], matches[1], matches[2] if live else None),
        "detections": columns(detections[0], detections[1], detections[2] if live else None),
    }


def production_set(**changes: Any) -> dict[str, Any]:
    """A hundred documents of production, on which both models were right of the same."""
    return {
        "digest": PRODUCTION,
        "drawn": 100,
        "vanished": 0,
        "documents": 100,
        "labelled": 0,
        "measured": 2,
        "field": [1, 0],
        "old": [90, 90],
        "lost": [0, 0],
        "gained": [0, 0],
        **changes,
    }


def prepared_with_production(documents: int = 100, labelled: int = 0, **changes: Any) -> dict[str, Any]:
    """What `prepare` reports where the third gate is asked for."""
    drawn = {"documents": documents, "labelled": labelled}
    return prepare_result(**{"digests": DRAWN, "production": drawn, **changes})


def evaluate_result(
    candidate: str = "0.981000", base_map50: str = "0.985000", live_map50: str | None = None, matched: int = 950
) -> dict[str, Any]:
    """Measurements that pass unless told otherwise, and that could all have been counted on the same pages."""
    live = live_map50 is not None
    return {
        "settings": sha("settings"),
        "evaluator": "finetune-trainer 0.1.0",
        "testSet": {
            "digest": DIGESTS["testSet"],
            "images": 200,
            "boxes": 1200,
            "drops": drops(candidate, base_map50, live_map50),
            "floor": floors(live=live),
        },
        "newSet": {
            "digest": DIGESTS["newSet"],
            "documents": 60,
            "fresh": 60,
            "trainedOn": True,
            "floor": new_floors(matched, live=live),
        },
        "models": {
            "candidate": measured(CANDIDATE, candidate, matched),
            "base": measured(BASE, base_map50, 400),
            "live": measured(LIVE, live_map50, 900) if live_map50 else None,
        },
    }
