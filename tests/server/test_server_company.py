"""Pages at once: each is computed by a thread of its own, one that is alone by all; the numbers are the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Event, Thread

import numpy as np
import numpy.typing as npt
import pytest

from finetune_server.model import ByCompany
from finetune_server.preprocess import Tensor
from server.support import DEADLINE, StartServer, encode, page_with

CLIENTS = 8


class Recorded:
    """A network that says its name, after it was let go on."""

    def __init__(self, name: float, go_on: Event, entered: list[float]) -> None:
        self._name = name
        self._go_on = go_on
        self._entered = entered

    def run(self, output_names: None, input_feed: dict[str, Tensor]) -> list[npt.NDArray[np.float32]]:
        self._entered.append(self._name)
        assert self._go_on.wait(DEADLINE)
        return [np.full(1, self._name, np.float32)]


@pytest.mark.parametrize(("threads", "used"), [(1, [2]), (2, [1, 2, 2]), (3, [1, 1, 2, 2]), (4, [1, 1, 1, 2])])
def test_with_as_many_pages_as_threads_each_has_one(threads: int, used: list[float]) -> None:
    go_on, entered = Event(), list[float]()
    network = ByCompany(Recorded(1, go_on, entered), Recorded(2, go_on, entered), threads)
    with ExitStack() as ended:
        for number in range(1, len(used) + 1):
            page = Thread(target=network.run, args=(None, {}))
            page.start()
            ended.callback(page.join)
            while len(entered) < number:
                pass
        go_on.set()
    assert entered == used


def test_a_run_that_fails_leaves_no_company_behind() -> None:
    class Failing:
        def run(self, output_names: None, input_feed: dict[str, Tensor]) -> list[npt.NDArray[np.float32]]:
            raise RuntimeError

    go_on, entered = Event(), list[float]()
    go_on.set()
    network = ByCompany(Failing(), Recorded(2, go_on, entered), 2)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            network.run(None, {})
    assert not entered


def test_a_page_is_answered_alike_alone_and_in_a_crowd(start_server: StartServer, model_dir: Path) -> None:
    crowded = start_server(model_dir, FINETUNE_THREADS="2")
    crowded.wait_ready()
    pages = [encode(page_with("red", at=(4 * n, 48))) for n in range(CLIENTS)]
    alone = [crowded.predict(page).json["fields"] for page in pages]
    together = Barrier(CLIENTS)

    def answered(page: bytes) -> list[object]:
        together.wait(DEADLINE)
        return [crowded.predict(page).json["fields"] for _ in range(10)]

    with ThreadPoolExecutor(CLIENTS) as clients:
        crowd = list(clients.map(answered, pages))
    assert crowd == [[fields] * 10 for fields in alone]
