"""Documents of production wherever they lie and whatever they are: in a bucket, in a folder with odd names, as PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.plan import Sample
from finetune_trainer.documents.run import Rule
from finetune_trainer.evaluation.average_precision import Truth
from finetune_trainer.evaluation.pages import Page, PageResult
from finetune_trainer.evaluation.postprocess import Detections
from finetune_trainer.evaluation.production import LEAST_LOST, Compared, count_replayed, outcome_of, worst_replayed
from finetune_trainer.storage import Storage
from trainer.captured import Production
from trainer.policy import Policy
from trainer.replaying import Gate, Seer
from trainer.world import CLASSES


def uploaded(folder: Path, bucket: str, prefix: str) -> str:
    """Put a folder into a bucket."""
    client = boto3.client("s3")
    for file in folder.rglob("*"):
        if file.is_file():
            client.upload_file(str(file), bucket, f"{prefix}/{file.relative_to(folder)}")
    return f"s3://{bucket}/{prefix}"


def test_documents_are_drawn_compared_and_shown_in_a_bucket(s3: str, policy: Policy, tmp_path: Path) -> None:
    gate = Gate(policy, Production(tmp_path / "production"))
    gate.capture(*range(7000, 7006))
    gate.place = uploaded(tmp_path / "production", s3.removeprefix("s3://"), tmp_path.name)
    made = gate.replay(Seer(), Seer(misses={7000: [0]}))
    assert (made.result.documents, made.result.lost[0]) == (6, 1)
    [difference] = made.report.differences
    assert difference.crop is not None
    assert difference.crop.startswith(f"{gate.place}/ml/invoice-detector/days/2026-11-26/crops/")
    assert Storage().read(difference.crop)[:2] == b"\xff\xd8"


def test_what_vanished_from_a_bucket_is_no_error(s3: str, policy: Policy, tmp_path: Path) -> None:
    gate = Gate(policy, Production(tmp_path / "production"))
    gate.capture(*range(7000, 7003))
    gate.place = uploaded(tmp_path / "production", s3.removeprefix("s3://"), tmp_path.name)
    plan = gate.plan()
    record = gate.production.records[f"{7001:032x}"]
    client, day = boto3.client("s3"), f"{tmp_path.name}/ml/invoice-detector/days/2026-11-26"
    client.delete_object(Bucket=s3.removeprefix("s3://"), Key=f"{day}/files/{record['page']['sha256']}")
    client.delete_object(Bucket=s3.removeprefix("s3://"), Key=f"{day}/pages/random/{7002:032x}.json")
    result = gate.replay(Seer(), Seer(), plan).result
    assert (result.drawn, result.vanished, result.documents) == (3, 2, 1)


def test_a_folder_with_odd_names_is_a_place_too(policy: Policy, tmp_path: Path) -> None:
    gate = Gate(policy, Production(tmp_path / "pages of ours, 100%"))
    gate.capture(7000, 7001)
    made = gate.replay(Seer(), Seer(misses={7000: [0]}))
    assert (made.result.documents, made.result.lost[0]) == (2, 1)


def test_pages_of_a_pdf_are_read_as_the_server_drew_them(policy: Policy, tmp_path: Path) -> None:
    gate = Gate(policy, Production(tmp_path / "production"))
    for number in (1, 2):
        gate.production.pdf(number)
    plan = gate.plan()
    assert plan.production is not None
    [pages] = plan.production
    assert len(pages) == 2, "two pages of one file are one document"

    class Blind(Seer):
        def detect_timed(self, image: Any, thresholds: Any) -> tuple[list[Detections], float]:
            self.asked += 1
            nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
            return [nothing for _ in thresholds], 0.001

    old, new = Blind(), Blind()
    result = gate.replay(old, new, plan).result
    assert (result.documents, result.vanished, result.old) == (1, 0, (0, 0, 0))
    assert (old.asked, new.asked) == (2, 2)


Fields = list[list[int]]
"""For each page of a document, the fields that a model finds."""


def page_of(seen_fields: list[int]) -> PageResult:
    """A page without labels, and where on it a model finds fields."""
    boxes = np.array([[8 * field, 0, 8 * field + 6, 6] for field in seen_fields], np.float32).reshape(-1, 4)
    seen = Detections(boxes, np.linspace(0.9, 0.5, len(seen_fields), dtype=np.float32), np.array(seen_fields, np.int64))
    nothing = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    sample = Sample(FileReference("file:///page", "0" * 64), None, 1, 0)
    return PageResult(Page(sample, (), lambda _: b""), seen, nothing, seen)


def document(old: Fields, new: Fields) -> Compared:
    pages = min(len(old), len(new))
    return Compared(labelled=False, old=[*map(page_of, old[:pages])], new=[*map(page_of, new[:pages])])


FIELDS = st.lists(st.lists(st.integers(0, 2), max_size=3), min_size=1, max_size=2)


@pytest.mark.parametrize("rule", ["Paired", "Literal"])
@given(documents=st.lists(st.builds(document, FIELDS, FIELDS), max_size=12))
def test_what_is_counted_adds_up_to_what_both_models_found(rule: Rule, documents: list[Compared]) -> None:
    counts = count_replayed(documents, len(CLASSES))
    for field in range(len(CLASSES)):
        before, after = (
            sum(any((page.served.fields == field).any() for page in pages) for pages in side)
            for side in ([d.old for d in documents], [d.new for d in documents])
        )
        assert counts.old[field] == before
        assert counts.old[field] - counts.lost[field] + counts.gained[field] == after
        outcomes = [outcome_of(document, field) for document in documents]
        assert (outcomes.count("Lost"), outcomes.count("Gained")) == (counts.lost[field], counts.gained[field])
    order = worst_replayed(counts, rule)
    assert sorted(order) == [0, 1, 2]
    worse = [counts.net(field) >= LEAST_LOST[rule] for field in order]
    assert worse == sorted(worse, reverse=True)
    assert [counts.net(field) for field in order] == sorted(map(counts.net, order), reverse=True)
