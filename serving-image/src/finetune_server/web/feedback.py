"""A user's report that a document was read wrongly."""

from __future__ import annotations

import json
from typing import Final

from ..errors import RequestError

MAX_FEEDBACK_BYTES: Final = 16 * 1024
MAX_DOCUMENT_ID: Final = 256
_SHAPE: Final = '{"document": "...", "fields": ["..."]}'


def parse_feedback(body: bytes, classes: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return the document's id and the fields. Raises `RequestError` 400 or 422."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "BodyNotJson", f"send {_SHAPE}") from None
    if not isinstance(raw, dict) or not {"document"} <= raw.keys() <= {"document", "fields"}:
        raise RequestError(422, "FeedbackInvalid", f"send {_SHAPE}; fields may be left out")
    document, fields = raw["document"], raw.get("fields", [])
    if not isinstance(document, str) or not 1 <= len(document) <= MAX_DOCUMENT_ID:
        raise RequestError(422, "FeedbackInvalid", f"document must be a text of 1 to {MAX_DOCUMENT_ID} characters")
    if not isinstance(fields, list) or not all(name in classes for name in fields):
        raise RequestError(422, "FeedbackInvalid", f"fields must be a list from {', '.join(classes)}")
    return document, fields
