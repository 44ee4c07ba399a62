"""Statuses that differ in their words alone: the first few are written, then one a minute."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finetune_operator.controller.words import BURST, EVERY, Words, only_words

START = datetime(2026, 11, 21, 12, tzinfo=UTC)


def status(message: str = "no node", reason: str = "Unschedulable", **more: Any) -> dict[str, Any]:
    return {"phase": "Training", "message": message, "conditions": [{"reason": reason, "message": message}], **more}


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (status(), False),
        (status("0/8 nodes"), True),
        (status("0/8 nodes", "ImagePullFailed"), False),
        (status("0/8 nodes", progress={"percent": 3}), False),
        ({"phase": "Training", "message": "no node"}, False),
    ],
)
def test_other_words_are_no_other_reason_and_no_progress(after: dict[str, Any], words: bool) -> None:
    assert only_words(status(), after) is words


@pytest.mark.row("R55")
@pytest.mark.parametrize(
    ("hold", "words"),
    [
        ({"reason": "External", "by": "helm", "message": "set by helm", "since": "2026-11-21T12:00:01Z"}, True),
        ({"reason": "FieldOwned", "by": "argocd", "message": "", "since": "2026-11-21T12:00:00Z"}, False),
        (None, False),
    ],
)
def test_a_hold_for_the_same_reason_is_another_word(hold: dict[str, Any] | None, words: bool) -> None:
    before = {"reason": "External", "by": "argocd", "message": "set by argocd", "since": "2026-11-21T12:00:00Z"}
    assert only_words(status(hold=before), status(hold=hold)) is words


def test_the_first_words_are_written_at_once_and_then_one_a_minute() -> None:
    words, now = Words(), START
    assert [words.wait("a", now) for _ in range(BURST)] == [None] * BURST
    assert words.wait("a", now) == EVERY
    assert words.wait("b", now) is None, "each object has its own"
    assert words.wait("a", now + timedelta(seconds=20)) == EVERY - timedelta(seconds=20)
    assert words.wait("a", now + EVERY) is None
    assert words.wait("a", now + EVERY) == EVERY


@pytest.mark.row("R323")
def test_a_clock_that_goes_back_silences_nobody_for_longer() -> None:
    words = Words()
    for _ in range(BURST):
        words.wait("a", START)
    back = START - timedelta(hours=1)
    assert words.wait("a", back) == EVERY
    assert words.wait("a", back + EVERY) is None, "and not only when the clock is where it was"


def test_what_is_gone_is_forgotten() -> None:
    words = Words()
    for _ in range(BURST):
        words.wait("a", START)
    words.forget("a")
    assert words.wait("a", START) is None
