"""Which promotion lifts a hold: one that asks for it, made when the hold was there."""

from datetime import datetime

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy_status import Hold
from finetune_operator.decide.promotion.release import lifts
from unit.decide.policy.world import NOW, promotion, seconds


@pytest.mark.row("D54")
@pytest.mark.parametrize(
    ("asks", "made", "hold_since", "does"),
    [
        (True, NOW, NOW, True),
        (True, NOW - seconds(1), NOW, False),
        (True, None, NOW, False),
        (True, None, None, True),
        (False, NOW, NOW, False),
        (False, NOW, None, False),
    ],
    ids=["as it began", "before it", "nobody knows when", "there is none", "does not ask", "does not ask for none"],
)
def test_a_hold_is_lifted_by_who_could_know_it_and_asks(
    asks: bool, made: datetime | None, hold_since: datetime | None, does: bool
) -> None:
    asked = promotion("base_v1", "base_v1", release_hold=asks)
    asked = replace(asked, metadata=replace(asked.metadata, creation_timestamp=made))
    hold = None if hold_since is None else Hold(by="ann", reason="External", message="", since=hold_since)
    assert lifts(asked, hold) is does
