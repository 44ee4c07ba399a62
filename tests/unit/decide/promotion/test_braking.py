"""Which promotion ends a flight, at the limits of what a policy remembers."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Rejected, TakenBack
from finetune_operator.api.promotion import Despite
from finetune_operator.decide.promotion.braking import goes_back_to
from unit.decide.policy.flight import BASE, OTHER, TUNED, VERSIONS, flying
from unit.decide.policy.world import NOW, live, live_version, policy, promotion, seconds

BRAKE = promotion("base_v1", "ft_v1.1", name="brake", age=-25)


def goes(of: Policy, asked: Any = BRAKE, versions: Any = VERSIONS) -> str | None:
    back = goes_back_to(asked, of, versions)
    return None if back is None else back.version


def with_status(of: Policy, **changes: Any) -> Policy:
    return policy(replace(of.status, **changes))


@pytest.mark.row("D30")
def test_only_a_flight_that_goes_forward_is_ended() -> None:
    assert goes(flying()) == "base_v1"
    assert goes(flying("Watching")) == "base_v1"
    assert goes(flying("Returning")) is None
    assert goes(policy(live(BASE))) is None


@pytest.mark.row("D30")
def test_a_promotion_that_nobody_knows_the_age_of_ends_no_flight() -> None:
    assert goes(flying(), replace(BRAKE, metadata=replace(BRAKE.metadata, creation_timestamp=None))) is None
    assert goes(flying(), promotion("base_v1", name="brake", age=-25)) is None, "it does not say from what"


@pytest.mark.row("D30")
@pytest.mark.parametrize(
    ("came_from", "age", "ends"),
    [
        ("ft_v1.1", 60, True),
        ("ft_v1.1", 61, False),
        ("base_v1", 0, True),
        ("base_v1", 1, False),
        ("ft_v9.9", -25, False),
    ],
)
def test_a_minute_is_allowed_where_it_names_what_flies_and_none_where_it_names_what_is_live(
    came_from: str, age: float, ends: bool
) -> None:
    asked = promotion("base_v1", came_from, name="brake", age=age, release_hold=True)
    assert (goes(flying(), asked) is not None) is ends


@pytest.mark.row("D32")
def test_a_first_flight_has_no_way_back_to_end_it_with() -> None:
    first = flying(first=True)
    assert goes(first) is None
    assert goes(first, promotion("base_v1", "ft_v9.9", name="brake", age=-25)) is None
    remembered = with_status(first, last_good=(live_version(BASE),))
    assert goes(remembered) == "base_v1", "but what was good is one"


@pytest.mark.row("D30")
def test_what_is_live_on_record_is_a_way_back_though_the_flight_has_another() -> None:
    """It was adopted: the flight itself returns to what passed a watch."""
    of = flying(back=live_version(OTHER))
    assert goes(with_status(of, last_good=(live_version(OTHER),))) == "base_v1"
    assert goes(with_status(of, live=None, last_good=(live_version(OTHER),))) is None


@pytest.mark.row("D64")
def test_what_a_person_rejected_since_ends_no_flight_unless_it_is_the_way_back_itself() -> None:
    no = Rejected(version="base_v1", sha256=BASE.spec.artifact.sha256, by="ann", at=NOW)
    older = flying(back=live_version(OTHER))
    assert goes(older) == "base_v1"
    assert goes(with_status(older, rejected=(no,))) is None
    assert goes(with_status(flying(), rejected=(no,))) == "base_v1"


@pytest.mark.row("D30")
@pytest.mark.parametrize(
    ("checks", "ends"), [((), False), (("NotSettled",), False), (("NotSettled", "TakenBack"), True)]
)
def test_what_people_took_back_is_gone_to_by_the_word_for_that_alone(checks: Any, ends: bool) -> None:
    taken = TakenBack(version="base_v1", sha256=BASE.spec.artifact.sha256, by="x", reason="", since=NOW - seconds(9))
    of = with_status(flying(back=live_version(OTHER)), taken_back=(taken,))
    word = Despite(checks=checks, reason="it is better") if checks else None
    asked = promotion("base_v1", "ft_v1.1", name="brake", age=-25, despite=word)
    assert (goes(of, asked) is not None) is ends


@pytest.mark.row("D30")
@pytest.mark.row("D235")
def test_an_object_of_that_name_with_other_bytes_speaks_neither_for_it_nor_against_it() -> None:
    other = replace(BASE, spec=replace(BASE.spec, artifact=TUNED.spec.artifact))
    of = flying(back=live_version(OTHER))
    assert goes(of, versions=(other, TUNED)) == "base_v1", "it was good: a base was imported anew under its name"
    assert goes(of, versions=(other, BASE, TUNED)) == "base_v1"
    elsewhere = replace(other, spec=replace(other.spec, model="receipts"))
    assert goes(of, versions=(elsewhere, TUNED)) == "base_v1", "another model's is no object of it"
    adopted = with_status(of, last_good=(live_version(OTHER),))
    assert goes(adopted, versions=(other, TUNED)) is None, "it was merely found, and that object is not of it"
