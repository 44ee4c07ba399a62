"""The third gate in real pods: documents that the servers captured go through candidate and live version."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.bucket import TEMPLATE, Bucket
from e2e.capturing import capturing, people_send
from e2e.stories import LENIENT, Stories, quick
from e2e.test_stories import RUIN
from finetune_demo.story import Story

DOCUMENTS = 20
UNSEEN = "/data/unseen"
"""Pages of the new suppliers that are in no pool, so that no version learnt from them."""


@pytest.fixture(scope="module")
def captured(demo: Story, bucket: Bucket) -> Bucket:
    """A bucket with twenty documents of the random stratum, as base_v1 answered them."""
    stories = Stories(demo)
    stories.to_base()
    with capturing(stories, bucket):
        sent = people_send(stories, UNSEEN, DOCUMENTS)
    assert len(sent) == DOCUMENTS
    kept = [path for path in bucket.files() if "/pages/random/" in path]
    assert len(kept) == DOCUMENTS, kept
    return bucket


@contextmanager
def third_gate(stories: Stories, bucket: Bucket, gates: dict[str, Any]) -> Iterator[None]:
    """Let the policy ask for the third gate beside others."""
    production = {"uri": bucket.uri, "keepDays": 90}
    rules = {"production": {"documents": DOCUMENTS, "days": 7}}
    stories.patch_policy(data={"production": production}, podTemplates={"cpu": TEMPLATE}, gates=gates | rules)
    try:
        yield
    finally:
        stories.patch_policy(data={"production": None}, podTemplates={"cpu": "trainer"}, gates=None)


def gate(status: dict[str, Any]) -> dict[str, Any]:
    """Return what the third gate said."""
    said: dict[str, Any] = next(one for one in status["gates"] if one["name"] == "production")
    return said


def report(stories: Stories, status: dict[str, Any]) -> dict[str, Any]:
    """Return the third gate's part of the report that lies beside the evidence."""
    path = status["evidence"]["uri"].removeprefix("file:///data/")
    written = (stories.tale.settings.state / "data" / path).with_name("report.json")
    whole: dict[str, Any] = json.loads(written.read_text())
    part: dict[str, Any] = whole["production"]
    return part


def test_a_candidate_that_reads_productions_documents_as_well_goes_live(stories: Stories, captured: Bucket) -> None:
    """Twenty documents of the new suppliers: the candidate reads what the base does and more, nobody is asked."""
    with third_gate(stories, captured, {}):
        stories.start("replayed", mixing={"seed": 2611})
        status = stories.until("replayed", "InReview", "Rejected", "Promoted", "Failed")
    assert status["phase"] == "Promoted", json.dumps(status.get("gates"))
    said = gate(status)
    assert said["verdict"] == "Pass", said
    assert f"{DOCUMENTS} documents" in said["message"], said
    fields = report(stories, status)["fields"]
    assert sum(one["gained"] for one in fields) > sum(one["lost"] for one in fields), fields


def test_one_that_lost_fields_ends_in_review_with_the_documents_to_look_at(stories: Stories, captured: Bucket) -> None:
    """A ruined candidate finds nothing: a person is told which fields are lost, and sees old beside new."""
    before = stories.replica_sets()
    with third_gate(stories, captured, LENIENT["gates"]):
        stories.start("blind", **{**quick("blind"), "training": RUIN})
        status = stories.until("blind", "InReview", "Rejected", "Promoted", "Failed")
        assert status["phase"] == "InReview", json.dumps(status.get("gates"))
        said = gate(status)
        assert (said["verdict"], said["reason"]) == ("Review", "FieldLost"), said
        lost = [one for one in report(stories, status)["differences"] if one["outcome"] == "Lost"]
        crops = {one["crop"].removeprefix(f"{captured.uri}/") for one in lost}
        assert lost
        assert all("/crops/" in crop for crop in crops), crops
        assert crops <= captured.files()
        assert stories.replica_sets() == before
        stories.review("blind", "Reject")
        assert stories.until("blind")["phase"] == "Rejected"
    assert stories.live() == "base_v1"
