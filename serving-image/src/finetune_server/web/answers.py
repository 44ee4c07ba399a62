"""The forms of answers: what was read, and what went wrong."""

from __future__ import annotations

import logging
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..errors import RequestError

log = logging.getLogger(__name__)

REASON: Final = "finetune.reason"
"""Where a request's scope says why it was refused."""

SHOWN_OF_A_PATH: Final = 200
"""Characters in the log and in answers; it may have 64 KiB."""


def error_answer(status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error in the form that all of them have. Of what a client sent, half a character is written out."""
    message = message.encode(errors="backslashreplace").decode()
    return JSONResponse({"error": {"reason": reason, "message": message}}, status_code=status, headers=headers)


async def request_error(request: Request, error: Exception) -> Response:
    """Answer what a handler refused."""
    assert isinstance(error, RequestError)  # registered for this type alone
    if error.status >= 500 and error.status != 503:
        log.error("%s", error)
    request.scope[REASON] = error.reason
    after = {503: "1", 429: "600"}.get(error.status)
    headers = {"retry-after": after} if after else None
    return error_answer(error.status, error.reason, error.message, headers)


async def http_error(request: Request, error: Exception) -> Response:
    """Answer what the router refused."""
    assert isinstance(error, HTTPException)  # registered for this type alone
    reason = {404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code, "BadRequest")
    request.scope[REASON] = reason
    message = f"{request.method} {request.url.path[:SHOWN_OF_A_PATH]}: {error.detail}"
    return error_answer(error.status_code, reason, message, dict(error.headers or {}))
