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

from ..capture.backlog import Kept
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
from .state import Loaded, ServingState

log = logging.getLogger(__name__)

HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class _Report:
    """A report with what is known of its answer, and the page that came with it."""

    feedback: Feedback
    file: bytes | None
    model: Json | None


async def take_report(state: ServingState, request: Request) -> Json:
    """Take a report, and return what became of it. Raises `RequestError`."""
    loaded = state.require_loaded()
    _admit(state, request)
    report = await _received(state, request, loaded)
    feedback = report.feedback
    source = page = None
    if report.file is not None:
        source, page = await _read(state, request, loaded, report)
    # By document, and beside it by page: a report that names both counts once, whichever a later one names.
    if state.reported.get(feedback.subject) is None:
        loaded.metrics.feedback()
    state.reported.put(feedback.subject, True)
    log.info("feedback on %s, fields %s", json.dumps(feedback.subject), json.dumps(feedback.fields))
    kept = await _kept(state, loaded, report, source, page)
    answer: Json = {"accepted": True, "kept": {"report": kept.report, "page": kept.page}}
    return answer if not kept.reason else {**answer, "reason": kept.reason}


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
    body, file = await state.receiving.body(request, limit), None
    if is_wrapped(*wrapping):
        body, file = await asyncio.to_thread(text_and_file, body, *wrapping, limit)
    if len(body) > MAX_FEEDBACK_BYTES:
        raise RequestError(413, "BodyTooLarge", f"a report has at most {MAX_FEEDBACK_BYTES} bytes, beside its page")
    feedback = parse_feedback(body, loaded.detector.settings.classes)
    named = feedback.prediction or (feedback.page.sha256 if feedback.page is not None else "")
    known = state.answers.get(named)
    if known is None:
        return _Report(feedback, file, None)
    if feedback.page is not None and feedback.page.sha256 != known.page.sha256:
        raise RequestError(422, "FeedbackInvalid", "page is not the one that prediction is an answer for")
    page, document = feedback.page or known.page, feedback.document or known.document
    # Whoever names the page means its latest answer, which may have been captured.
    prediction = feedback.prediction or (known.prediction if page.number == known.page.number else None)
    completed = replace(feedback, prediction=prediction, page=page, document=document)
    return _Report(completed, file, known.model)


async def _read(
    state: ServingState, request: Request, loaded: Loaded, report: _Report
) -> tuple[Source, AnsweredPage] | tuple[None, None]:
    """Read the page that came with a report, for its boxes; it is not counted as answered again."""
    assert report.file is not None  # asked before
    named = report.feedback.page
    digest = await asyncio.to_thread(digest_of, report.file)
    if named is not None and digest != named.sha256:
        raise RequestError(422, "FeedbackInvalid", "the file is not the page that the report names by its sha256")
    if state.capture is None:
        return None, None
    kind, number = kind_of(report.file, ""), named.number if named is not None else 1
    dpi = (named.dpi if named is not None else None) or state.limits.default_dpi
    pages = PageRequest(report.file, kind, Selection(((number, number),), many=False), dpi)
    answering = Answering(state, loaded, None, counted=False)
    reading = await answering.image(request, pages)
    if reading is None:
        with state.documents.place():
            reading = await while_connected(request, answering.drawn(pages))
    source = Source(report.file, digest, kind, dpi if kind is Kind.PDF else None)
    return source, AnsweredPage(report.feedback.prediction or new_prediction(), number, reading, reading.pixels)


async def _kept(
    state: ServingState, loaded: Loaded, report: _Report, source: Source | None, page: AnsweredPage | None
) -> Kept:
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
        "page": None if named is None else {"sha256": named.sha256, "number": named.number},
        "document": feedback.document,
        "fields": list(feedback.fields),
        "missing": list(feedback.missing),
        "comment": feedback.comment,
        "model": report.model,
        "record": None,
        **state.capture.stamp(),
    }
    context = Context.of(loaded.identity, loaded.detector.settings, loaded.metrics.expected, feedback.document)
    task = state.capture.report(said, seen=feedback.prediction, source=source, page=page, context=context)
    if isinstance(task, Kept):
        return task
    try:
        kept = await asyncio.wait_for(asyncio.wrap_future(task.done), REPORT_SECONDS)
    except TimeoutError:
        return Kept(report=False, page=False, reason="StorageSlow")
    if kept.reason or kept.page:
        return kept
    return replace(kept, reason="PageNotSent" if page is None else "PageNotKept")
