"""A person's report that a document was read wrongly: what it says."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import RequestError

MAX_FEEDBACK_BYTES: Final = 16 * 1024
MAX_DOCUMENT_ID: Final = 256
MAX_COMMENT: Final = 2000
_SHAPE: Final = '{"document": "...", "fields": ["..."]}'
_KEYS: Final = frozenset({"prediction", "page", "document", "fields", "missing", "comment"})
_PREDICTION: Final = re.compile(r"[0-9a-f]{32}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_HIGHEST: Final = {"number": 100_000, "dpi": 600}


@dataclass(frozen=True, slots=True)
class ReportedPage:
    """A page as an answer names it: the digest of its bytes, its number in them, and what a PDF was drawn at.

    The number is None where a report does not say it.
    """

    sha256: str
    number: int | None = None
    dpi: int | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was reported: at least one of prediction, page and document; fields that are wrong, and that are missing."""

    prediction: str | None
    page: ReportedPage | None
    document: str | None
    fields: tuple[str, ...]
    missing: tuple[str, ...]
    comment: str | None

    @property
    def subject(self) -> str:
        """Return what counts once."""
        if self.document is not None:
            return f"document:{self.document}"
        return f"page:{self.page.sha256}" if self.page is not None else f"prediction:{self.prediction}"

    @property
    def id(self) -> str:
        """Return the id, which is the same for the same report."""
        page = (self.page.sha256, self.page.number or 1) if self.page is not None else None
        said = [self.prediction, page, self.document, self.fields, self.missing, self.comment]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def parse_feedback(body: bytes, classes: tuple[str, ...]) -> Feedback:
    """Return what a report says. Raises `RequestError` 400 or 422."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "BodyNotJson", f"send {_SHAPE}") from None
    if not isinstance(raw, dict) or not raw.keys() <= _KEYS:
        unknown = sorted(str(key)[:40] for key in raw.keys() - _KEYS)[:5] if isinstance(raw, dict) else []
        raise _invalid(f"send {_SHAPE}{': ' + ', '.join(unknown) + ' is unknown' if unknown else ''}")
    if not any(raw.get(name) is not None for name in ("prediction", "page", "document")):
        raise _invalid(f"name the prediction, the page or the document, as the answer does: {_SHAPE}")
    prediction = raw.get("prediction")
    if prediction is not None and not (isinstance(prediction, str) and _PREDICTION.fullmatch(prediction)):
        raise _invalid("prediction must be the 32 hexadecimal digits of an answer")
    comment = _text(raw, "comment", MAX_COMMENT)
    return Feedback(
        prediction=prediction,
        page=_page(raw.get("page")),
        document=_one_spelling(document) if (document := _text(raw, "document", MAX_DOCUMENT_ID)) else None,
        fields=_names(raw, "fields", classes),
        missing=_names(raw, "missing", classes),
        comment=comment,
    )


def checked_document(document: str | None) -> str | None:
    """Return the id of a document in one spelling, None where none is given. Raises `RequestError` 422."""
    if document is None:
        return None
    if 1 <= len(document) <= MAX_DOCUMENT_ID and _is_unicode(document):
        return _one_spelling(document)
    raise RequestError(422, "DocumentInvalid", f"document must be a text of 1 to {MAX_DOCUMENT_ID} characters")


def _page(raw: Any) -> ReportedPage | None:
    if raw is None:
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("sha256"), str) or not _SHA256.fullmatch(raw["sha256"]):
        raise _invalid('page must be as an answer has it: {"sha256": "...", "number": 1}')
    numbers = {name: raw.get(name) for name in ("number", "dpi")}
    for name, value in numbers.items():
        if value is not None and (type(value) is not int or not 1 <= value <= _HIGHEST[name]):
            raise _invalid(f"page.{name} must be a whole number from 1 to {_HIGHEST[name]}")
    return ReportedPage(raw["sha256"], **numbers)


def _text(raw: dict[str, Any], name: str, longest: int) -> str | None:
    text = raw.get(name)
    if text is None:
        return None
    if not isinstance(text, str) or not 1 <= len(text) <= longest or not _is_unicode(text):
        raise _invalid(f"{name} must be a text of 1 to {longest} characters")
    return text


def _one_spelling(document: str) -> str:
    """Return an id with its accents in the one way (NFC) that pools have them; where that is too long, as it came."""
    spelled = unicodedata.normalize("NFC", document)
    return spelled if len(spelled) <= MAX_DOCUMENT_ID else document


def _is_unicode(text: str) -> bool:
    """Tell whether it can be written: JSON can escape half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _names(raw: dict[str, Any], name: str, classes: Sequence[str]) -> tuple[str, ...]:
    names = raw.get(name, [])
    if not isinstance(names, list) or not all(isinstance(entry, str) and entry in classes for entry in names):
        raise _invalid(f"{name} must be a list from {', '.join(classes)}")
    return tuple(dict.fromkeys(names))


def _invalid(message: str) -> RequestError:
    return RequestError(422, "FeedbackInvalid", message)
