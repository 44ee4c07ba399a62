"""Answering `POST /predict`: from a request to the fields of its pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, aclosing, nullcontext
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

from starlette.requests import Request

from ..capture.capture import Context, digest_of
from ..capture.records import AnsweredPage, Source, new_prediction
from ..errors import RequestError
from ..metrics import Stage
from ..pages.formats import Kind, is_large, needs_process
from ..pages.images import is_lack_of_memory
from ..pages.selection import Drawn, PageRequest, kind_of, selection, whole_number
from ..preprocess import Page
from ..reading import Count, InferenceError, InSource, Reading, read_image, read_page
from .connected import while_connected
from .envelope import is_wrapped, unwrapped
from .feedback import ReportedPage, checked_document
from .state import Answered, Loaded, ServingState

Json = dict[str, object]
R = TypeVar("R", bound="Reading | None")


_LARGE_BODY: Final = 256 * 1024
"""Bytes above which a body is digested in a thread: it takes a millisecond."""


async def predict(state: ServingState, request: Request) -> Json:
    """Return the answer to a request. Raises `RequestError`."""
    loaded = state.require_loaded()
    with loaded.metrics.timed(Stage.TOTAL):
        pages, source, document = await _received(state, request)
        with state.answering():
            answering = Answering(state, loaded, document)
            answer = await _answered(state, request, answering, pages, source)
            answering.note(source)
        return {"model": loaded.identity, **answer}


async def _answered(
    state: ServingState, request: Request, answering: Answering, pages: PageRequest, source: Source
) -> Json:
    reading = await answering.image(request, pages)
    if reading is None:
        with state.documents.place(len(pages.content)):
            return await while_connected(request, answering.document(pages, source))
    page = answering.answer(source, 1, reading)
    return {"pages": [{"number": 1, **page}]} if pages.selection.many else page


async def _received(state: ServingState, request: Request) -> tuple[PageRequest, Source, str | None]:
    limit, headers = state.limits.max_body_bytes, request.headers
    wanted = selection(request.query_params)
    dpi = whole_number(request.query_params, "dpi", default=state.limits.default_dpi, low=36, high=600)
    document = checked_document(request.query_params.get("document"))
    wrapping = headers.get("content-encoding", ""), headers.get("content-type", "")
    async with state.receiving.body(request, limit) as body:
        if is_wrapped(*wrapping) or len(body) > _LARGE_BODY:
            content, digest, named = await state.opening.thread(_opened, body, *wrapping, limit)
        else:
            content, digest, named = body, digest_of(body), None
    document = document or checked_document(named)
    kind = kind_of(content, wrapping[1])
    source = Source(content, digest, kind, dpi if kind is Kind.PDF else None)
    return PageRequest(content, kind, wanted, dpi), source, document


def _opened(body: bytes, encoding: str, content_type: str, limit: int) -> tuple[bytes, str, str | None]:
    """Return the page's own bytes, their digest, and the document that a form names. Raises as `unwrapped` does."""
    content, named = unwrapped(body, encoding, content_type, limit)
    return content, digest_of(content), named


class Answering:
    """Work with the model that was loaded when the request came; `counted` pages are answers, and in the metrics."""

    def __init__(self, state: ServingState, loaded: Loaded, document: str | None, *, counted: bool = True) -> None:
        self._state = state
        self._loaded = loaded
        self._document = document
        self._count: Count = partial(loaded.metrics.document, document=document) if counted else _uncounted
        self._answered: list[AnsweredPage] = []
        self._held_bytes = 0

    async def image(self, request: Request, pages: PageRequest) -> Reading | None:
        """Read an image while its client is there; None where it is to be looked at as a document."""
        if needs_process(pages.content, pages.kind):
            return None
        pages.selection.of(1, most=1)
        with self._state.images.place(len(pages.content), large=is_large(pages.content, pages.kind)):
            return await while_connected(request, self._image(pages))

    async def _image(self, pages: PageRequest) -> Reading | None:
        """Decode and read an image; a large one after the other, so that a small one never waits for many of them."""
        turn = self._state.large_images if is_large(pages.content, pages.kind) else nullcontext()
        async with turn:
            return await self._in_thread(read_image, pages, self._state.limits.max_pixels)

    async def document(self, pages: PageRequest, source: Source) -> Json:
        """Draw and read what is asked for of a document."""
        if pages.selection.many:
            return {"pages": await self._each(pages, source)}
        with ExitStack() as until:
            with self._loaded.metrics.timed(Stage.DECODE):
                drawn = await self._state.rasteriser.page(pages, until)
            return await self._page(source, pages.selection.ranges[0][0], drawn)

    async def drawn(self, pages: PageRequest) -> Reading:
        """Draw and read one page of a document."""
        with ExitStack() as until:
            drawn = await self._state.rasteriser.page(pages, until)
            return await self._in_thread(read_page, drawn.page)

    def answer(self, source: Source, number: int, reading: Reading) -> Json:
        """Return what is answered for a page that was read, and remember it for `note`."""
        page = AnsweredPage(new_prediction(), number, replace(reading, pixels=None), self._held(reading))
        self._answered.append(page)
        return {
            "prediction": page.prediction,
            "page": page.named(source),
            "fields": [
                {
                    "field": field.name,
                    "confidence": round(field.confidence, 6),
                    "box": [round(corner, 3) for corner in field.box],
                }
                for field in reading.fields
            ],
        }

    def _held(self, reading: Reading) -> Page | InSource | None:
        """Return the pixels to keep until all pages are answered: none without capture, nor more than may wait."""
        if self._state.capture is None or reading.pixels is None:
            return None
        held = self._state.capture.worth_holding(reading.pixels, self._held_bytes)
        self._held_bytes += reading.pixels.nbytes
        return held

    def note(self, source: Source) -> None:
        """Have what was answered known to reports and to capture."""
        identity = self._loaded.identity
        for page in self._answered:
            named = ReportedPage(source.sha256, page.number, source.dpi)
            known = Answered(page.prediction, self._document, named, identity)
            self._state.answers.put(page.prediction, known)
            self._state.answers.put(source.sha256, known)
        if self._state.capture is not None:
            settings, expected = self._loaded.detector.settings, self._loaded.metrics.expected
            context = Context.of(identity, settings, expected, self._document)
            self._state.capture.answered(source, self._answered, context)

    async def _each(self, pages: PageRequest, source: Source) -> list[Json]:
        answers: list[Json] = []
        started = perf_counter()
        async with aclosing(self._state.rasteriser.pages(pages)) as drawn:
            async for number, page in drawn:
                self._loaded.metrics.observe(Stage.DECODE, perf_counter() - started)
                if isinstance(page, RequestError):
                    answers.append({"number": number, "error": {"reason": page.reason, "message": page.message}})
                else:
                    answers.append({"number": number, **await self._page(source, number, page)})
                del page  # before the next one is drawn
                started = perf_counter()
        return answers

    async def _page(self, source: Source, number: int, drawn: Drawn) -> Json:
        answer = self.answer(source, number, await self._in_thread(read_page, drawn.page))
        warnings = [{"reason": reason, "message": message} for reason, message in drawn.warnings]
        return {**answer, "warnings": warnings} if warnings else answer

    async def _in_thread(self, read: Callable[..., R], *given: object) -> R:
        """Have a worker thread read a page; cancelled before its turn, it is not read."""
        loaded, queued_at = self._loaded, perf_counter()

        def work() -> R:
            loaded.metrics.observe(Stage.QUEUE, perf_counter() - queued_at)
            try:
                answer = read(*given, loaded.detector, loaded.metrics, self._count)
            except InferenceError as error:
                loaded.failed = error.message
                raise
            except RequestError:
                raise
            except Exception as error:
                loaded.failed = f"{type(error).__name__}: {error}"
                if not is_lack_of_memory(error):
                    raise
                raise RequestError(503, "Overloaded", "there is no memory for the page now; try again") from None
            if answer is not None:
                loaded.failed = None
            return answer

        return await self._state.readers.thread(work)


def _uncounted(_best: Mapping[str, float]) -> None:
    """Count nothing: the page was answered before."""
