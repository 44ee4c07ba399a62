"""What stands on objects outside their status is read only where it is whole, and about this object."""

from datetime import UTC, datetime

import pytest

from finetune_operator.api.names import OUTCOME_KEY, SERVICE_RECORD_KEY
from finetune_operator.api.record import (
    LONGEST,
    Mark,
    Outcome,
    Service,
    outcome_in,
    outcome_text,
    record_text,
    services,
)

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHA = "a" * 64
SERVICE = Service(good=AT, taken_back=Mark(at=AT, by="back", reason="wrong amounts"))
OUTCOME = Outcome(name="first", spec_hash="0" * 16, outcome="Failed", reason="NotEligible", at=AT, message="why")


def test_a_record_is_read_as_it_was_written() -> None:
    text = record_text(SHA, {"detector": SERVICE})
    assert services({SERVICE_RECORD_KEY: text}, SHA) == {"detector": SERVICE}
    assert outcome_in({OUTCOME_KEY: outcome_text(OUTCOME)}, "first", "0" * 16) == OUTCOME


def test_without_an_annotation_there_is_none() -> None:
    assert services({}, SHA) == {}
    assert outcome_in({}, "first", "0" * 16) is None


@pytest.mark.row("V11")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"deployments":{}}',
        record_text(SHA, {"detector": Service(good=AT)}).replace("2026-11-21T12:00:00Z", "yesterday"),
        record_text(SHA, {"detector": Service(good=AT)}).replace("12:00:00Z", "12:00:00"),
        "[" * 100_000,
        record_text("b" * 64, {"detector": SERVICE}),
        record_text(SHA, {"d" * LONGEST: SERVICE}),
    ],
    ids=["empty", "cut", "list", "null", "of nothing", "no time", "no zone", "nested", "of other bytes", "endless"],
)
def test_a_record_that_cannot_be_read_or_is_of_other_bytes_counts_as_none(text: str) -> None:
    assert services({SERVICE_RECORD_KEY: text}, SHA) == {}


@pytest.mark.row("P10")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        outcome_text(OUTCOME)[:-1],
        outcome_text(OUTCOME).replace("Failed", "Won"),
        outcome_text(OUTCOME).replace("NotEligible", "no reason"),
        outcome_text(OUTCOME).replace("NotEligible", "NotEligible\\n"),
        outcome_text(OUTCOME).replace('"first"', '"second"'),
        outcome_text(OUTCOME).replace("0" * 16, "1" * 16),
    ],
    ids=[
        "empty",
        "of nothing",
        "cut",
        "unknown outcome",
        "reason in words",
        "reason with a line break",
        "of another name",
        "of another spec",
    ],
)
def test_an_outcome_that_cannot_be_read_or_is_another_promotions_counts_as_none(text: str) -> None:
    assert outcome_in({OUTCOME_KEY: text}, "first", "0" * 16) is None


def test_a_quarantine_stands_until_it_is_lifted() -> None:
    quarantined = Service(quarantined=Mark(at=AT, reason="Unhealthy"))
    assert quarantined.quarantine is not None
    assert Service(quarantined=quarantined.quarantined, lifted=Mark(at=AT, by="again")).quarantine is None
