"""The files that the trainer writes are exactly the messages of this folder, and it reads them in full.

`test_contracts.py` holds the messages to contracts/. WRITE_MESSAGES=1 makes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finetune_trainer.artifact.metadata import serving_metadata
from finetune_trainer.documents.anchor import AnchorIndex, AnchorPage, Splits, parse_anchor_index
from finetune_trainer.documents.codec import FileReference, encode
from finetune_trainer.documents.plan import SCHEMA as PLAN_SCHEMA
from finetune_trainer.documents.plan import (
    Counts,
    Digests,
    DrawnPage,
    KnownSample,
    ListedSample,
    Plan,
    PlanBase,
    PoolSample,
    Sample,
    TrainSample,
    parse_plan,
)
from finetune_trainer.documents.pool import (
    BatchSample,
    CorrectedSample,
    ImageFile,
    LabelFile,
    PoolBatch,
    PoolCorrection,
    PoolWithdrawal,
    WithdrawnSample,
    parse_pool_entry,
)
from finetune_trainer.documents.report import (
    REPORT_SCHEMA,
    BaselineReport,
    Difference,
    FieldLine,
    Milliseconds,
    ModelDetails,
    PageLine,
    ProductionReport,
    ReplayedField,
    Report,
    SeenField,
)
from finetune_trainer.documents.result import MANIFEST_SCHEMA, EvaluateResult, Manifest, ManifestFile
from finetune_trainer.documents.serving import LINEAGE_KEY, SERVING_KEY, Lineage, Serving, ServingMetadata

MESSAGES = Path(__file__).parent / "messages"
CLASSES = ("invoice_number", "amount_total")
OWNER = "11111111-2222-3333-4444-555555555555"
DIGESTS = Digests(pool="a1" * 32, anchor="a2" * 32, test_set="a3" * 32, new_set="a4" * 32, production="a5" * 32)


def file(place: str, number: int) -> FileReference:
    return FileReference(f"file:///data/{place}", f"{number:02x}" * 32)


def drawn_page(number: int, *, labelled: bool = False) -> DrawnPage:
    prediction = f"{number:032x}"
    place = f"production/ml/invoice-detector/days/2026-11-20/pages/random/{prediction}.json"
    label = file("pool/files/0a.txt", 10) if labelled else None
    return DrawnPage(prediction, file(place, number), f"{number + 40:02x}" * 32, label)


def plan() -> Plan:
    return Plan(
        schema=PLAN_SCHEMA,
        owner=OWNER,
        classes=CLASSES,
        base=PlanBase("base_v1", file("base.pt", 1)),
        anchor_uri="file:///data/anchor",
        pool_uri="file:///data/pool",
        seed=7,
        ratio="12.5",
        counts=Counts(
            pool=2,
            held_out=1,
            withdrawn=1,
            outside=1,
            new=1,
            corrected=1,
            fresh=1,
            train=2,
            old=1,
            anchor=1,
            val=1,
            test=1,
        ),
        digests=DIGESTS,
        train=(
            TrainSample(file("pool/files/02.png", 2), file("pool/files/03.txt", 3), 100, 2, "pool"),
            TrainSample(file("anchor/images/train/a.png", 4), None, 90, 0, "anchor"),
        ),
        val=(Sample(file("anchor/images/val/b.png", 5), file("anchor/labels/val/b.txt", 6), 80, 1),),
        test=(Sample(file("anchor/images/test/c.png", 7), file("anchor/labels/test/c.txt", 8), 70, 1),),
        new_set=(PoolSample(file("pool/files/09.png", 9), file("pool/files/0a.txt", 10), 60, 1, "doc-17", True, True),),
        held_out_documents=("doc-17",),
        listing=(
            ListedSample("02" * 32, "12" * 32, "03" * 32, "train"),
            ListedSample("02" * 32, "12" * 32, "13" * 32, "superseded"),
            ListedSample("09" * 32, "19" * 32, "0a" * 32, "heldOut"),
            ListedSample("0b" * 32, None, "0c" * 32, "withdrawn"),
        ),
        judged_before=(KnownSample("0d" * 32, None, None),),
        production=((drawn_page(20, labelled=True), drawn_page(21)), (drawn_page(22),)),
        pool_log=("20261120T120000Z-0e0e0e0e.json", "20261124T120000Z-0f0f0f0f.json"),
    )


def index() -> AnchorIndex:
    labelled = AnchorPage("images/test/c.png", "labels/test/c.txt", "07" * 32, "08" * 32, 70, 1)
    background = AnchorPage("images/train/a.png", None, "04" * 32, None, 90, 0)
    return AnchorIndex(classes=CLASSES, splits=Splits(train=(background,), val=(labelled,), test=(labelled,)))


def batch() -> PoolBatch:
    image, label = "09" * 32, "0a" * 32
    sample = BatchSample(
        image=ImageFile(f"files/09/{image}.png", image, 60),
        label=LabelFile(f"files/0a/{label}.txt", label),
        document="doc-17",
        source="report-4711",
        verified_by="ann@example.com",
        verified_at="2026-11-20",
    )
    return PoolBatch(
        id="20261120T120000Z-0123abcd", created_at="2026-11-20T12:00:00Z", classes=CLASSES, samples=(sample,)
    )


def correction() -> PoolCorrection:
    label = "0e" * 32
    sample = CorrectedSample(
        image="09" * 32,
        pixels="19" * 32,
        label=LabelFile(f"files/0e/{label}.txt", label),
        replaces="0a" * 32,
        verified_by="bo@example.com",
        verified_at="2026-11-24",
    )
    return PoolCorrection(
        id="20261124T120000Z-0123abcd",
        created_at="2026-11-24T12:00:00Z",
        classes=CLASSES,
        reason="report-4712",
        samples=(sample,),
    )


def withdrawal() -> PoolWithdrawal:
    return PoolWithdrawal(
        id="20261126T120000Z-0123abcd",
        created_at="2026-11-26T12:00:00Z",
        by="cy@example.com",
        reason="the supplier asked for it",
        erased=True,
        samples=(WithdrawnSample("09" * 32, "19" * 32, "0e" * 32), WithdrawnSample("0b" * 32, None, "0c" * 32)),
    )


def manifest() -> Manifest:
    emitted = json.loads((MESSAGES / "result-train.json").read_text())
    del emitted["manifest"]
    files = tuple(ManifestFile(f"01234567/{name}", "0b" * 32, 9) for name in ("model.onnx", "checkpoint.pt"))
    return Manifest(MANIFEST_SCHEMA, "train", OWNER, 1, None, files, emitted)


def report() -> Report:
    result = json.loads((MESSAGES / "result-production.json").read_text())["result"]
    msgspec.convert(result, EvaluateResult)
    line = PageLine("file:///data/anchor/images/test/c.png", "07" * 32, 6, 7, 5)
    test, new = (
        tuple(FieldLine(name, boxes, *counts, ap50) for name, counts in zip(CLASSES, matched, strict=True))
        for boxes, matched, ap50 in (
            (600, ((590, 600), (588, 600)), "0.981000"),
            (500, ((475, 485), (475, 486)), ""),
        )
    )
    details = ModelDetails(Milliseconds("21.40", "30.05"), test, new, (line,), (line,))
    return Report(
        schema=REPORT_SCHEMA,
        classes=CLASSES,
        result=result,
        details={"candidate": details, "base": details},
        plan=DIGESTS,
        production=ProductionReport(
            (
                ReplayedField("invoice_number", 95, 1, 1, "0.990000", "0.985000"),
                ReplayedField("amount_total", 90, 5, 1, "", ""),
            ),
            (
                Difference("amount_total", "Lost", True, (f"{20:032x}", f"{21:032x}"), "file:///production/crop.jpg"),
                Difference("invoice_number", "Moved", False, (f"{22:032x}",), None),
            ),
            1,
        ),
        baseline=BaselineReport(
            98, "0.861200", "0.870100", (SeenField("invoice_number", 95, 96), SeenField("amount_total", 91, 92))
        ),
    )


def artifact() -> dict[str, Any]:
    """The metadata of an artifact, as JSON by key; in the file each value is text."""
    serving = serving_metadata(CLASSES, Serving(320, "0.25", "0.7", 300))
    lineage = Lineage(type="FineTuned", model="invoice-fields", base="base_v1", owner=OWNER)
    return {SERVING_KEY: msgspec.to_builtins(serving), LINEAGE_KEY: msgspec.to_builtins(lineage)}


WRITTEN: dict[str, Any] = {
    "plan": plan,
    "anchor-index": index,
    "pool-batch": batch,
    "pool-correction": correction,
    "pool-withdrawal": withdrawal,
    "manifest": manifest,
    "report": report,
    "artifact-metadata": artifact,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_is_written_as_the_contract_says(name: str) -> None:
    written = json.loads(encode(WRITTEN[name]()))
    path = MESSAGES / f"{name}.json"
    if os.environ.get("WRITE_MESSAGES"):
        path.write_text(json.dumps(written, indent=2) + "\n")
    assert written == json.loads(path.read_text())


def test_files_are_read_back_in_full() -> None:
    assert parse_plan((MESSAGES / "plan.json").read_bytes(), "it") == plan()
    assert parse_anchor_index((MESSAGES / "anchor-index.json").read_bytes(), "it") == index()
    for name in ("pool-batch", "pool-correction", "pool-withdrawal"):
        assert parse_pool_entry((MESSAGES / f"{name}.json").read_bytes(), "it") == WRITTEN[name]()
    assert msgspec.json.decode((MESSAGES / "manifest.json").read_bytes(), type=Manifest) == manifest()
    metadata = json.loads((MESSAGES / "artifact-metadata.json").read_text())
    assert json.loads(encode(msgspec.convert(metadata[SERVING_KEY], ServingMetadata))) == metadata[SERVING_KEY]
    assert json.loads(encode(msgspec.convert(metadata[LINEAGE_KEY], Lineage))) == metadata[LINEAGE_KEY]
