"""One page does not take the pod: what a document may cost, and who else notices."""

from __future__ import annotations

import asyncio
import os
import socket
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from finetune_server.config import DocumentLimits
from finetune_server.errors import RequestError
from finetune_server.memory import available_memory
from finetune_server.pages.child import Task, work
from finetune_server.pages.formats import Kind, is_large
from finetune_server.pages.rasteriser import Rasteriser
from finetune_server.pages.room import Room
from finetune_server.pages.selection import PageRequest, Selection
from finetune_server.pages.turns import PROMPT_SECONDS, Turns
from finetune_server.web.lanes import Lane
from finetune_server.web.readers import Readers
from house.virtual_time import run_virtually
from server import hostile
from server.support import (
    DEADLINE,
    MOST_PIXELS,
    Answer,
    ServerProcess,
    StartServer,
    children,
    connect,
    encode,
    page_with,
    pdf,
    peak_bytes,
    predict_head,
    running,
    wait_until,
)

PAGE = encode(page_with("red", at=(32, 48)))


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that gives documents little."""
    folder = tmp_path_factory.mktemp("strict")
    limits = {"FINETUNE_DOCUMENT_SECONDS": "1", "FINETUNE_DOCUMENT_BYTES": str(200 * 2**20)}
    with running(folder, limits) as server:
        yield server


def runs(process: int) -> bool:
    """Whether it is there and has not ended; who takes in orphans may be slow to bury them."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


HOSTILE = [
    ("a pattern of endless tiles", hostile.slow_pdf, "TooMuchTime", "FINETUNE_DOCUMENT_SECONDS"),
    ("a JPEG of 20,000 scans", hostile.scans_jpeg, "TooMuchTime", "FINETUNE_DOCUMENT_SECONDS"),
    ("five million rectangles", hostile.hungry_pdf, "TooMuch", "FINETUNE_DOCUMENT_"),
    ("forms that double", hostile.nested_pdf, "TooMuch", "FINETUNE_DOCUMENT_"),
    ("a TIFF whose tags lie", hostile.lying_tiff, "TooManyPixels", "FINETUNE_MAX_PIXELS"),
    ("a page of 5 metres", lambda: pdf((14_400, 14_400)), "TooManyPixels", "FINETUNE_MAX_PIXELS"),
    ("a page of no height", lambda: hostile.pdf_of(b"", box="0 0 100000 0.001"), "", ""),
    (
        "a crop box outside",
        lambda: hostile.pdf_of(b"", extra=b"/CropBox[500 500 600 600]"),
        "PdfUnreadable",
        "crop box",
    ),
]


def in_time(server: ServerProcess, content: bytes, content_type: str = "application/pdf") -> Answer:
    """What is said of a page that costs little; on a loaded machine its time may be over before it has begun."""
    for _ in range(20):
        answer = server.predict(content, content_type)
        if b"TooMuchTime" not in answer.content:
            break
    return answer


@pytest.mark.parametrize(("make", "reason", "word"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_a_page_that_costs_too_much_is_refused_by_the_limits_name(
    strict: ServerProcess, make: Callable[[], bytes], reason: str, word: str
) -> None:
    answer = (strict.predict if "TooMuch" in reason else partial(in_time, strict))(make(), "application/octet-stream")
    assert answer.status in ((422,) if reason else (200, 422))
    assert reason in answer.content.decode()
    assert word in answer.content.decode()
    assert peak_bytes(strict) < 300 * 2**20, "the server itself has not decoded it"
    wait_until(lambda: not children(strict))
    assert in_time(strict, pdf((144, 144))).status == 200


def test_a_picture_larger_than_memory_is_scaled_or_refused(strict: ServerProcess) -> None:
    assert strict.predict(hostile.big_picture_pdf(), "application/pdf").status in (200, 422)
    assert strict.get("/readyz").status == 200


def in_background(server: ServerProcess, body: bytes, times: int, pool: ThreadPoolExecutor) -> list[Answer]:
    answers: list[Answer] = []
    for _ in range(times):
        pool.submit(lambda: answers.append(server.predict(body, "application/pdf")))
    wait_until(lambda: len(children(server)) >= min(2, times) or bool(answers))
    return answers


def test_images_and_honest_documents_do_not_wait_for_slow_ones(strict: ServerProcess) -> None:
    with ThreadPoolExecutor(12) as pool:
        slow = in_background(strict, hostile.slow_pdf(), 12, pool)
        assert strict.predict(PAGE).status == 200
        assert len(slow) < 12, "an image waits for no document"
        for _ in range(4):
            assert strict.get("/readyz").status == 200
            assert strict.predict(PAGE).status == 200
        assert in_time(strict, pdf((144, 144))).status == 200, "behind slow ones, but answered"
    assert {answer.reason for answer in slow} <= {"TooMuchTime", "Overloaded"}


def test_documents_that_wait_are_bounded_and_dropped_when_their_clients_go(
    model_dir: Path, start_server: StartServer
) -> None:
    server = start_server(model_dir, FINETUNE_MAX_DOCUMENTS="2", FINETUNE_DOCUMENT_SECONDS="600")
    server.wait_ready()
    body = hostile.slow_pdf()
    with connect(server) as one, connect(server) as other:
        for client in (one, other):
            client.sendall(predict_head(body, "application/pdf") + body)
        wait_until(lambda: len(children(server)) == 2)
        answer = server.predict(pdf((144, 144)), "application/pdf")
        assert (answer.status, answer.reason, answer.headers["retry-after"]) == (503, "Overloaded", "1")
        assert server.predict(PAGE).status == 200
    wait_until(lambda: not children(server))
    assert server.predict(pdf((144, 144)), "application/pdf").status == 200


def test_a_slow_document_does_not_hold_the_pod_beyond_the_drain(model_dir: Path, start_server: StartServer) -> None:
    server = start_server(model_dir, FINETUNE_DRAIN_SECONDS="0.3", FINETUNE_DOCUMENT_SECONDS="1")
    server.wait_ready()
    with ThreadPoolExecutor(1) as pool:
        answers = in_background(server, hostile.slow_pdf(), 1, pool)
        server.terminate()
        assert server.wait_end() == 0
    assert [answer.reason for answer in answers] == ["TooMuchTime"], "its client is told"


def test_a_kill_of_the_server_leaves_no_process_behind(model_dir: Path, start_server: StartServer) -> None:
    server = start_server(model_dir, FINETUNE_DOCUMENT_SECONDS="5")
    server.wait_ready()
    body = hostile.slow_pdf()
    with connect(server) as client:
        client.sendall(predict_head(body, "application/pdf") + body)
        wait_until(lambda: bool(children(server)))
        left = children(server)
        server.kill()
        wait_until(lambda: not any(runs(pid) for pid in left))


def test_documents_leave_nothing_behind(server: ServerProcess) -> None:
    def held() -> int:
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))

    server.predict(pdf((144, 144)), "application/pdf")
    before = held()
    for _ in range(20):
        assert server.predict(pdf((144, 144)), "application/pdf").status == 200
        assert server.predict(b"%PDF-1.4 damaged", "application/pdf").status == 422
    wait_until(lambda: not children(server) and held() <= before + 1)


def test_the_process_of_a_document_ends_in_silence_when_nobody_takes_its_reply(
    capfd: pytest.CaptureFixture[str],
) -> None:
    # As at each start, where a process is tried and ended: on a busy machine it may see the reset before it is killed.
    ours, theirs = socket.socketpair()
    memory = os.memfd_create("document")
    os.write(memory, pdf((144, 144)))
    process = get_context("spawn").Process(target=work, args=(theirs, Task(Kind.PDF, 10**6, 200 * 2**20, 5)))
    process.start()
    theirs.close()
    socket.send_fds(ours, [b"m"], [memory])
    os.close(memory)
    assert ours.recv(1, socket.MSG_PEEK) == b"{"
    ours.close()
    process.join(DEADLINE)
    assert process.exitcode == 0
    assert capfd.readouterr().err == ""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_lane_is_stalled_when_it_has_work_that_does_not_end() -> None:
    clock = Clock()
    lane = Lane("pages", 2, clock)
    clock.now = 100
    assert not lane.stalled(30), "idle is not stalled"
    with lane.place():
        clock.now = 129
        assert not lane.stalled(30)
        with lane.place(), pytest.raises(RequestError) as caught:
            lane.place().__enter__()
        assert (caught.value.status, caught.value.reason) == (503, "Overloaded")
        clock.now = 158
        assert not lane.stalled(30), "one has come to an end at 129"
        clock.now = 160
        assert lane.stalled(30)
    assert not lane.stalled(30)


def test_large_pages_take_half_of_the_places_at_most() -> None:
    lane = Lane("pages", 4, Clock())
    with lane.place(large=True), lane.place(large=True):
        with pytest.raises(RequestError) as caught:
            lane.place(large=True).__enter__()
        assert (caught.value.status, caught.value.reason) == (503, "Overloaded")
        with lane.place(), lane.place(), pytest.raises(RequestError, match="4 pages"):
            lane.place().__enter__()
    with lane.place(large=True):
        pass
    with Lane("pages", 1, Clock()).place(large=True):
        pass


def test_nothing_is_left_of_a_document_whose_client_goes_as_its_process_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    document = PageRequest(pdf((144, 144)), Kind.PDF, Selection(((1, 1),), many=False), 72)

    async def story() -> None:
        limits = DocumentLimits(2, 1, max_in_flight=2, max_pages=1, seconds=DEADLINE, memory_bytes=2**27)
        with closing(Rasteriser(limits, MOST_PIXELS)) as rasteriser:
            await rasteriser.check()
            meeting = asyncio.Event()

            async def meet(**_: object) -> None:
                meeting.set()
                await asyncio.Event().wait()

            with monkeypatch.context() as patched:
                patched.setattr(asyncio, "open_connection", meet)
                task = asyncio.create_task(rasteriser.page(document, ExitStack()))
                await asyncio.wait_for(meeting.wait(), DEADLINE)
                assert documents_held() == 1
                task.cancel()
                await asyncio.wait([task])
            assert documents_held() == 0

    asyncio.run(story())


def documents_held() -> int:
    """Memory of documents that this process has open."""
    held = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            held += descriptor.readlink().name.startswith("memfd:document")
    return held


def test_nothing_is_held_of_what_is_dropped_before_its_turn() -> None:
    busy, at_work = Event(), Event()

    def hold() -> bool:
        at_work.set()
        return busy.wait(DEADLINE)

    async def story() -> None:
        readers = Readers(1)
        first = asyncio.create_task(readers.thread(hold))
        await asyncio.to_thread(at_work.wait, DEADLINE)
        page = np.zeros(1, np.uint8)
        held = weakref.ref(page)
        dropped = asyncio.create_task(readers.thread(partial(np.copy, page)))
        del page
        await asyncio.sleep(0)
        first.cancel()
        dropped.cancel()
        await asyncio.wait([first, dropped])
        del dropped
        assert held() is None
        last = asyncio.create_task(readers.thread(lambda: "read"))
        await asyncio.sleep(0.05)
        assert not last.done(), "the thread of the first is at work"
        busy.set()
        assert await asyncio.wait_for(last, DEADLINE) == "read"
        readers.close()

    asyncio.run(story())


def test_a_lane_holds_so_many_bytes_or_one_page() -> None:
    lane = Lane("pages", 4, Clock(), most_bytes=100)
    with lane.place(60), lane.place(40):
        with pytest.raises(RequestError, match="pages of 100 bytes") as caught:
            lane.place(1).__enter__()
        assert (caught.value.status, caught.value.reason) == (503, "Overloaded")
    with lane.place(101):
        pass
    with lane.place(100):
        pass


def test_drawn_pages_wait_for_room_in_turn() -> None:
    given: list[str] = []

    async def page(room: Room, name: str, size: int, seconds: float) -> None:
        with ExitStack() as until:
            await room.take(size, until)
            given.append(name)
            await asyncio.sleep(seconds)
        given.append(f"{name} is read")

    async def story() -> None:
        room = Room(100)
        tasks = [
            asyncio.create_task(page(room, *one))
            for one in (("a", 300, 1), ("b", 60, 1), ("c", 60, 1), ("d", 10, 1), ("e", 20, 9))
        ]
        await asyncio.sleep(1.5)
        assert given == ["a", "a is read", "b"], "nobody passes c, which would never have room"
        tasks[2].cancel()
        await asyncio.wait(tasks)
        assert given[3:6] == ["d", "e", "b is read"]

    run_virtually(story())


def test_a_page_is_drawn_when_those_before_it_are_read() -> None:
    document = PageRequest(pdf((5000, 5000)), Kind.PDF, Selection(((1, 1),), many=False), 72)

    async def story() -> None:
        limits = DocumentLimits(2, 1, max_in_flight=2, max_pages=1, seconds=DEADLINE, memory_bytes=140 * 2**20)
        with closing(Rasteriser(limits, 25_000_000)) as rasteriser, ExitStack() as later:
            with ExitStack() as until:
                await rasteriser.page(document, until)
                second = asyncio.create_task(rasteriser.page(document, later))
                done, _ = await asyncio.wait([second], timeout=1)
                assert not done, "two are 150 MB"
            drawn = await asyncio.wait_for(second, DEADLINE)
            assert drawn.page.shape == (5000, 5000, 3)

    asyncio.run(story())


def test_a_slow_document_steps_aside_and_one_too_many_is_given_up() -> None:
    ended: list[str] = []

    async def slow(turns: Turns, name: str) -> bool:
        async with turns.turn() as turn:
            turn.end = lambda: ended.append(name)
            await asyncio.sleep(8)
            return turn.lost

    async def prompt(turns: Turns) -> float:
        started = asyncio.get_running_loop().time()
        async with turns.turn():
            return asyncio.get_running_loop().time() - started

    async def play(*, others: bool) -> tuple[list[bool], list[float]]:
        turns, waited = Turns(prompt=1, slow=1), []
        slow_ones = [asyncio.create_task(slow(turns, "first"))]
        await asyncio.sleep(0.01)
        waited.append(await prompt(turns))
        slow_ones.append(asyncio.create_task(slow(turns, "second")))
        await asyncio.sleep(0.01)
        if others:
            waited.append(await prompt(turns))
        return list(await asyncio.gather(*slow_ones)), waited

    lost, waited = run_virtually(play(others=True))
    assert (lost, ended) == ([False, True], ["second"])
    assert waited[0] == pytest.approx(PROMPT_SECONDS - 0.01), "the first has stepped aside"
    assert run_virtually(play(others=False))[0] == [False, False], "nobody waits: no need to give up"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "1073741824\n"}, 2**30),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "536870912\n"}, 2**29),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_memory_follows_the_cgroups_limit(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert available_memory(tmp_path) == (limit or machine)


def test_text_whose_font_is_nowhere_is_said_to_be_missing(server: ServerProcess) -> None:
    content = (Path(__file__).parent / "pages" / "cjk.pdf").read_bytes()
    answer = server.predict(content, "application/pdf")
    assert answer.status == 200
    fonts = ("HeiseiMin-W3", "STSong-Light", "HYSMyeongJo-Medium")
    said = {font for font in fonts for warning in answer.json["warnings"] if font in warning["message"]}
    assert {warning["reason"] for warning in answer.json["warnings"]} == {"FontMissing"}
    assert said == set(fonts), "and not Helvetica, which PDFium brings"
    (page,) = server.predict(content, "application/pdf", "?pages=all").json["pages"]
    assert page["warnings"] == answer.json["warnings"]


def test_a_page_with_all_its_text_has_no_warning(server: ServerProcess) -> None:
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    content = b"BT /F 24 Tf 20 60 Td (Total 1.234,56 - a.b_c|) Tj ET"
    page = hostile.pdf_of(content, extra=b"/Resources<</Font<</F 5 0 R>>>>", objects=(font,))
    answer = server.predict(page, "application/pdf")
    assert answer.status == 200
    assert "warnings" not in answer.json


def test_a_small_page_does_not_wait_for_many_large_ones(server: ServerProcess) -> None:
    large = encode(np.zeros((6000, 6000, 3), np.uint8))
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(server.predict, large) for _ in range(8)]
        wait_until(lambda: any(answer.done() for answer in answers))
        assert server.predict(PAGE).status == 200
        assert sum(answer.done() for answer in answers) < 6
        assert {answer.result().status for answer in answers} == {200}


@pytest.mark.parametrize("kind", [Kind.PNG, Kind.JPEG, Kind.BMP, Kind.WEBP])
@pytest.mark.parametrize(("side", "large"), [(128, False), (3600, True)])
def test_a_large_image_is_known_by_its_head(kind: Kind, side: int, large: bool) -> None:
    page = np.zeros((side, side, 3), np.uint8)
    assert is_large(encode(page, f".{kind.name.lower()}"), kind) == large
