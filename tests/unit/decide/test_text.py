"""Words in statuses and in the log: no command is cut in two."""

import pytest

from finetune_operator.decide.text import within


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("a; b", "a; b"),
        ("it failed; to try again: kubectl", "it failed; ..."),
        ("why; what; to try again: kubectl", "why; what; ..."),
        ("x" * 40, "x" * 17 + "..."),
        ("123456789012345; 9999", "123456789012345; ..."),
        ("1234567890123456; 999", "12345678901234567"[:16] + ";..."),
    ],
)
def test_whole_clauses_stay(words: str, shown: str) -> None:
    assert within(words, 20) == shown
