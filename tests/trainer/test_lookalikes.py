"""Which pages look like copies: the nearest within a few bits, whatever number of pages there is."""

from __future__ import annotations

import time

import numpy as np
import pytest

from finetune_trainer.data.images import Picture
from finetune_trainer.data.lookalikes import NEAR, Register, Seen
from finetune_trainer.data.pages import CheckedPage
from finetune_trainer.data.pool import Pool
from finetune_trainer.data.repeated import NewPage, compare

PAGES = 20_000
LOOKS = np.random.default_rng(1).integers(0, 256, (PAGES, 32), np.uint8)


def seen(place: str, look: np.ndarray | None) -> Seen:
    return Seen(place, place, None, None, None if look is None else look.tobytes().hex())


def changed(look: np.ndarray, bits: list[int]) -> np.ndarray:
    """The look with these of its 256 bits turned."""
    every = np.unpackbits(look)
    every[bits] ^= 1
    return np.packbits(every)


@pytest.fixture(scope="module")
def register() -> Register:
    return Register.of(seen(str(n), look) for n, look in enumerate(LOOKS))


@pytest.mark.parametrize("page", [0, 1, 63, 64, 65, PAGES - 1])
@pytest.mark.parametrize("bits", [[], [0], [255], [0, 64, 128, 192, 9, 200], list(range(60, 66)), list(range(6))])
def test_a_page_a_few_bits_away_is_found_wherever_they_are(register: Register, page: int, bits: list[int]) -> None:
    assert len(bits) <= NEAR
    nearest = register.near(seen("it", changed(LOOKS[page], bits)))
    assert nearest is not None
    assert nearest.place == str(page)


@pytest.mark.parametrize("bits", [list(range(7)), [0, 40, 80, 120, 160, 200, 240]])
def test_a_page_further_away_is_not(register: Register, bits: list[int]) -> None:
    assert register.near(seen("it", changed(LOOKS[5], bits))) is None


def test_the_nearest_of_several_is_found_and_the_first_of_equals() -> None:
    look = LOOKS[0]
    far, near, as_near = (seen(name, changed(look, bits)) for name, bits in (("far", [1, 2]), ("a", [3]), ("b", [4])))
    register = Register.of([seen("no look", None), far, near, as_near])
    nearest = register.near(seen("it", look))
    assert nearest is not None
    assert nearest.place == "a"
    assert register.near(seen("it", None)) is None
    assert Register().near(seen("it", look)) is None


def test_many_pages_are_held_against_one_another_in_seconds(register: Register) -> None:
    started = time.process_time()
    for look in LOOKS[:2000]:
        register.near(seen("it", look))
    assert time.process_time() - started < 2, "a tenth of a batch: all of it would be minutes"


def test_many_lookalikes_are_counted_and_not_listed() -> None:
    def page(number: int) -> NewPage:
        picture = Picture(100, 100, str(number), LOOKS[0].tobytes().hex())
        return NewPage(f"form-{number}.png", None, str(number), "", CheckedPage(picture, 1))

    compared = compare([page(number) for number in range(1000)], held_out=(), pool=Pool("pool", (), {}))
    assert len(compared.new) == 1000
    assert compared.alike()[0] == "form-1.png looks like a copy of form-0.png"
    assert compared.alike()[5:] == ["994 more pages look like copies"]
