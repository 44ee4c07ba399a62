"""Answering `POST /feedback`: counted once a document, kept where pages are captured, bounded by client."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

from starlette.requests import Request

from ..capture.backlog import Kept, ReportTask
from ..capture.capture import Context, digest_of
from ..capture.records import AnsweredPage, Json, Source, new_prediction
from ..capture.writer import REPORT_SECONDS
from ..errors import RequestError
from ..pages.formats import Kind
from ..pages.selection import PageRequest, Selection, kind_of
from .connected import while_connected
from .envelope import is_wrapped, text_and_file
from .feedback import MAX_FEEDBACK_BYTES, Feedback, ReportedPage, parse_feedback
from .predict import Answering
from .state import Answered, Loaded, ServingState

log = logging.getLogger(__name__)

HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class _File:
    """The page that came with a report."""

    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class _Report:
    """A report with what is known of its answer, and the page that came with it."""

    feedback: Feedback
    file: _File | None
    model: Json | None


async def take_report(state: ServingState, request: Request) -> Json:
    """Take a report, and return what became of it. Raises `RequestError`."""
    loaded = state.require_loaded()
    _admit(state, request)
    task, with_page = await _taken(state, request, loaded)
    kept = task if isinstance(task, Kept) else await _kept(task, with_page=with_page)
    answer: Json = {"accepted": True, "kept": {"report": kept.report, "page": kept.page}}
    return answer if not kept.reason else {**answer, "reason": kept.reason}


async def _taken(state: ServingState, request: Request, loaded: Loaded) -> tuple[ReportTask | Kept, bool]:
    """Have a report written, and tell whether a page came with it.

    The page is let go of with this, but for what waits in the queue, which is bounded: its client waits for seconds.
    """
    report = await _received(state, request, loaded)
    feedback = report.feedback
    source = page = None
    if report.file is not None:
        source, page = await _read(state, request, loaded, report.feedback.page, report.file, feedback.prediction)
    # By document, and beside it by page: a report that names both counts once, whichever a later one names.
    if state.reported.get(feedback.subject) is None:
        loaded.metrics.feedback()
    state.reported.put(feedback.subject, True)
    log.info("feedback on %s, fields %s", json.dumps(feedback.subject), json.dumps(feedback.fields))
    return _handed_over(state, loaded, report, source, page), page is not None


def _admit(state: ServingState, request: Request) -> None:
    """Count a report for its client. Raises `RequestError` 429."""
    client = _client(request)
    now = monotonic()
    begin, count = state.reporters.get(client) or (now, 0)
    if now - begin >= HOUR:
        begin, count = now, 0
    if count >= state.feedback.per_hour:
        message = f"at most {state.feedback.per_hour} reports an hour from one address (FINETUNE_FEEDBACK_PER_HOUR)"
        raise RequestError(429, "TooManyReports", message)
    state.reporters.put(client, (begin, count + 1))


def _client(request: Request) -> str:
    """Return the client's address; of IPv6 its network of 64 bits, which one client has all of."""
    host = request.client.host if request.client is not None else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped or ipaddress.ip_network((address, 64), strict=False))


async def _received(state: ServingState, request: Request, loaded: Loaded) -> _Report:
    wrapping = request.headers.get("content-encoding", ""), request.headers.get("content-type", "")
    limit = state.limits.max_body_bytes if is_wrapped(*wrapping) else MAX_FEEDBACK_BYTES
    async with state.receiving.body(request, limit) as body:
        text, file = body, None
        if is_wrapped(*wrapping):
            text, file = await state.opening.thread(_opened, body, *wrapping, limit)
    if len(text) > MAX_FEEDBACK_BYTES:
        raise RequestError(413, "BodyTooLarge", f"a report has at most {MAX_FEEDBACK_BYTES} bytes, beside its page")
    feedback = parse_feedback(text, loaded.detector.settings.classes)
    named = feedback.prediction or (feedback.page.sha256 if feedback.page is not None else "")
    known = state.answers.get(named)
    if known is None:
        return _Report(feedback, file, None)
    return _Report(_completed(feedback, known), file, known.model)


def _opened(body: bytes, encoding: str, content_type: str, limit: int) -> tuple[bytes, _File | None]:
    """Return a report's text, and its page where one came. Raises as `text_and_file` does."""
    text, content = text_and_file(body, encoding, content_type, limit)
    return text, None if content is None else _File(content, digest_of(content))


def _completed(feedback: Feedback, known: Answered) -> Feedback:
    """Return a report with what it leaves out of its answer. Raises `RequestError` 422 where it is of another page."""
    said = feedback.page or ReportedPage(known.page.sha256)
    # Without a prediction it is the first page, as everywhere.
    number = said.number or (1 if feedback.prediction is None else known.page.number)
    page = ReportedPage(said.sha256, number, known.page.dpi and (said.dpi or known.page.dpi))
    if feedback.prediction is not None and page != known.page:
        raise RequestError(422, "FeedbackInvalid", "page is not the one that prediction is an answer for")
    # Whoever names the page means its latest answer, which may have been captured.
    prediction = feedback.prediction or (known.prediction if page == known.page else None)
    return replace(feedback, prediction=prediction, page=page, document=feedback.document or known.document)


async def _read(
    state: ServingState,
    request: Request,
    loaded: Loaded,
    named: ReportedPage | None,
    file: _File,
    prediction: str | None,
) -> tuple[Source, AnsweredPage] | tuple[None, None]:
    """Read the page that came with a report, for its boxes; it is not counted as answered again."""
    if named is not None and file.sha256 != named.sha256:
        raise RequestError(422, "FeedbackInvalid", "the file is not the page that the report names by its sha256")
    if state.capture is None:
        return None, None
    kind, number = kind_of(file.content, ""), (named.number if named is not None else None) or 1
    dpi = (named.dpi if named is not None else None) or state.limits.default_dpi
    pages = PageRequest(file.content, kind, Selection(((number, number),), many=False), dpi)
    answering = Answering(state, loaded, None, counted=False)
    reading = await answering.image(request, pages)
    if reading is None:
        with state.documents.place(len(file.content)):
            reading = await while_connected(request, answering.drawn(pages))
    source = Source(file.content, file.sha256, kind, dpi if kind is Kind.PDF else None)
    pixels = state.capture.worth_holding(reading.pixels)
    return source, AnsweredPage(prediction or new_prediction(), number, replace(reading, pixels=None), pixels)


def _handed_over(
    state: ServingState, loaded: Loaded, report: _Report, source: Source | None, page: AnsweredPage | None
) -> ReportTask | Kept:
    """Have it written where pages are captured; return what waits for that, or what was decided at once."""
    if state.capture is None:
        return Kept(report=False, page=False, reason="CaptureOff")
    feedback = report.feedback
    if feedback.page is None and page is not None and source is not None:
        feedback = replace(feedback, page=ReportedPage(source.sha256, page.number))
    named = feedback.page
    said: Json = {
        "schema": "finetune-operator.io/production-report/v1",
        "id": feedback.id,
        "subject": report.feedback.subject,
        "prediction": feedback.prediction,
        "page": None if named is None else {"sha256": named.sha256, "number": named.number or 1},
        "document": feedback.document,
        "fields": list(feedback.fields),
        "missing": list(feedback.missing),
        "comment": feedback.comment,
        "model": report.model,
        "record": None,
        **state.capture.stamp(),
    }
    context = Context.of(loaded.identity, loaded.detector.settings, loaded.metrics.expected, feedback.document)
    return state.capture.report(said, seen=feedback.prediction, source=source, page=page, context=context)


async def _kept(task: ReportTask, *, with_page: bool) -> Kept:
    """Return what was kept of a report, once that is known, or after some seconds."""
    try:
        kept = await asyncio.wait_for(asyncio.wrap_future(task.done), REPORT_SECONDS)
    except TimeoutError:
        return Kept(report=False, page=False, reason="StorageSlow")
    if kept.reason or kept.page:
        return kept
    return replace(kept, reason="PageNotKept" if with_page else "PageNotSent")
