"""Answering `POST /predict`: from a request to the fields of its pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, nullcontext
from time import perf_counter
from typing import TypeVar

from starlette.requests import Request

from ..errors import RequestError
from ..metrics import Stage
from ..pages.formats import is_large, needs_process
from ..pages.images import is_lack_of_memory
from ..pages.selection import Drawn, PageRequest, kind_of, selection, whole_number
from ..reading import InferenceError, Reading, read_image, read_page
from .connected import while_connected
from .envelope import is_wrapped, unwrapped
from .state import Loaded, ServingState

Json = dict[str, object]
R = TypeVar("R", bound="Reading | None")


async def predict(state: ServingState, request: Request) -> Json:
    """Return the answer to a request. Raises `RequestError`."""
    loaded = state.require_loaded()
    with loaded.metrics.timed(Stage.TOTAL):
        pages = await _received(state, request)
        answering = _Answering(state, loaded)
        reading = None
        if not needs_process(pages.content, pages.kind):
            pages.selection.of(1, most=1)
            with state.images.place(large=is_large(pages.content, pages.kind)):
                reading = await while_connected(request, answering.image(pages))
        if reading is None:
            with state.documents.place():
                return await while_connected(request, answering.document(pages))
        if pages.selection.many:
            return {"model": loaded.identity, "pages": [{"number": 1, **_read(reading)}]}
        return {"model": loaded.identity, **_read(reading)}


async def _received(state: ServingState, request: Request) -> PageRequest:
    limit, headers = state.limits.max_body_bytes, request.headers
    wanted = selection(request.query_params)
    dpi = whole_number(request.query_params, "dpi", default=state.limits.default_dpi, low=36, high=600)
    content = await state.receiving.body(request, limit)
    wrapping = headers.get("content-encoding", ""), headers.get("content-type", "")
    if is_wrapped(*wrapping):
        content = await asyncio.to_thread(unwrapped, content, *wrapping, limit)
    return PageRequest(content, kind_of(content, wrapping[1]), wanted, dpi)


class _Answering:
    """Work with the model that was loaded when the request came."""

    def __init__(self, state: ServingState, loaded: Loaded) -> None:
        self._state = state
        self._loaded = loaded

    async def image(self, pages: PageRequest) -> Reading | None:
        """Decode and read an image; a large one after the other, so that a small one never waits for many of them.

        None where it is to be looked at as a document.
        """
        turn = self._state.large_images if is_large(pages.content, pages.kind) else nullcontext()
        async with turn:
            return await self._in_thread(read_image, pages, self._state.limits.max_pixels)

    async def document(self, pages: PageRequest) -> Json:
        """Draw and read what is asked for of a document."""
        if pages.selection.many:
            return {"model": self._loaded.identity, "pages": await self._each(pages)}
        with self._loaded.metrics.timed(Stage.DECODE):
            drawn = await self._state.rasteriser.page(pages)
        return {"model": self._loaded.identity, **await self._page(drawn)}

    async def _each(self, pages: PageRequest) -> list[Json]:
        answers: list[Json] = []
        started = perf_counter()
        async with aclosing(self._state.rasteriser.pages(pages)) as drawn:
            async for number, page in drawn:
                self._loaded.metrics.observe(Stage.DECODE, perf_counter() - started)
                if isinstance(page, RequestError):
                    answers.append({"number": number, "error": {"reason": page.reason, "message": page.message}})
                else:
                    answers.append({"number": number, **await self._page(page)})
                started = perf_counter()
        return answers

    async def _page(self, drawn: Drawn) -> Json:
        answer = _read(await self._in_thread(read_page, drawn.page))
        warnings = [{"reason": reason, "message": message} for reason, message in drawn.warnings]
        return {**answer, "warnings": warnings} if warnings else answer

    def _in_thread(self, read: Callable[..., R], *given: object) -> asyncio.Future[R]:
        """Have a worker thread read a page; cancelled before its turn, it is not read."""
        loaded = self._loaded

        def work(queued_at: float) -> R:
            loaded.metrics.observe(Stage.QUEUE, perf_counter() - queued_at)
            try:
                answer = read(*given, loaded.detector, loaded.metrics)
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

        return asyncio.get_running_loop().run_in_executor(self._state.pool, work, perf_counter())


def _read(reading: Reading) -> Json:
    return {
        "page": {"width": reading.width, "height": reading.height},
        "fields": [
            {
                "field": field.name,
                "confidence": round(field.confidence, 6),
                "box": [round(corner, 3) for corner in field.box],
            }
            for field in reading.fields
        ],
    }
