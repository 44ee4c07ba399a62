"""The description of the HTTP surface for machines, as `/openapi.json`."""

from __future__ import annotations

from typing import Any, Final

from .. import __version__

Json = dict[str, Any]

_KINDS: Final = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp", "application/pdf")
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


def _parameter(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _answer(description: str, schema: str) -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _errors(**descriptions: str) -> Json:
    return {status.removeprefix("s"): _answer(text, "Error") for status, text in descriptions.items()}


def _object(required: list[str], **properties: Json) -> Json:
    return {"type": "object", "required": required, "properties": properties}


def _text(description: str) -> Json:
    return {"type": "string", "description": description}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Json, **more: Any) -> Json:
    return {"type": "array", "items": items, **more}


_PREDICT: Final = {
    "post": {
        "summary": "Read the fields of a page, or of the pages of a document",
        "parameters": [
            _parameter("page", {"type": "integer", "minimum": 1, "default": 1}, "The page of a PDF or TIFF."),
            _parameter("pages", {"type": "string"}, "all, or numbers and ranges as 1-3,7,9-: an answer for each page."),
            _parameter(
                "dpi", {"type": "integer", "minimum": 36, "maximum": 600}, "Of a PDF; boxes are in pixels at it."
            ),
            _parameter("document", {"type": "string", "minLength": 1, "maxLength": 256}, "What the page is a page of."),
        ],
        "requestBody": {
            "required": True,
            "description": "The bytes of one image or PDF, which decide whatever the type says, or a form with one "
            "file; gzip is taken as Content-Encoding.",
            "content": {
                **dict.fromkeys((*_KINDS, "application/octet-stream"), _BINARY),
                "multipart/form-data": {"schema": _object(["file"], file={"type": "string", "format": "binary"})},
            },
        },
        "responses": {
            "200": {
                "description": "The fields of the page, or of each page where `pages` is given.",
                "content": {"application/json": {"schema": {"oneOf": [_ref("Prediction"), _ref("Predictions")]}}},
            },
            **_errors(
                s400="The request is not as described here.",
                s408="The body came too slowly.",
                s413="The body is too large.",
                s415="The body is nothing that is read.",
                s422="The page cannot be read, or takes more than one may; the message names the limit.",
                s503="Not ready, or too much at once; try again.",
            ),
        },
    }
}

_FEEDBACK: Final = {
    "post": {
        "summary": "Report a document that was read wrongly",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref("Feedback")},
                "multipart/form-data": {
                    "schema": _object(["report"], report=_ref("Feedback"), file={"type": "string", "format": "binary"})
                },
            },
        },
        "responses": {
            "202": {
                "description": "Counted, and what was kept of it.",
                "content": {
                    "application/json": {
                        "schema": _object(
                            ["accepted", "kept"],
                            accepted={"type": "boolean"},
                            kept=_ref("Kept"),
                            reason=_text("Why not."),
                        )
                    }
                },
            },
            **_errors(
                s400="No JSON.",
                s408="Too slow.",
                s413="Too large.",
                s422="Not as described.",
                s429="Too many from this address.",
                s503="Not ready.",
            ),
        },
    }
}

_WARNINGS: Final = _list(_ref("Problem"), description="What may be missing from the page as it was read.")

_SCHEMAS: Final = {
    "Problem": _object(["reason", "message"], reason=_text("CamelCase, stable."), message=_text("For a person.")),
    "Error": _object(["error"], error=_ref("Problem")),
    "Model": _object(
        ["name", "version", "sha256"],
        name=_text("The model."),
        version=_text("Its version."),
        sha256=_text("Its digest."),
    ),
    "Page": _object(
        ["width", "height", "sha256", "number", "dpi"],
        width={"type": "integer"},
        height={"type": "integer"},
        sha256=_text("Digest of the bytes as they came."),
        number={"type": "integer", "minimum": 1},
        dpi={"type": ["integer", "null"], "description": "Of a PDF."},
    ),
    "Kept": _object(["report", "page"], report={"type": "boolean"}, page={"type": "boolean"}),
    "Feedback": _object(
        [],
        prediction=_text("Of an answer; at least one of prediction, page and document is needed."),
        page=_ref("Page"),
        document={"type": "string", "minLength": 1, "maxLength": 256},
        fields=_list({"type": "string"}, description="Read wrongly."),
        missing=_list({"type": "string"}, description="On the page, and not found."),
        comment={"type": "string", "minLength": 1, "maxLength": 2000},
    ),
    "Field": _object(
        ["field", "confidence", "box"],
        field=_text("A class of the model."),
        confidence={"type": "number", "minimum": 0, "maximum": 1},
        box=_list({"type": "number"}, minItems=4, maxItems=4, description="x1 y1 x2 y2 in the page's pixels."),
    ),
    "Prediction": _object(
        ["model", "prediction", "page", "fields"],
        model=_ref("Model"),
        prediction=_text("Id of this answer, for reports."),
        page=_ref("Page"),
        fields=_list(_ref("Field")),
        warnings=_WARNINGS,
    ),
    "Predictions": _object(
        ["model", "pages"],
        model=_ref("Model"),
        pages=_list(
            _object(
                ["number"],
                number={"type": "integer", "minimum": 1},
                prediction=_text("Id of the answer for this page."),
                page=_ref("Page"),
                fields=_list(_ref("Field")),
                warnings=_WARNINGS,
                error=_ref("Problem"),
            )
        ),
    ),
}


def _probe(summary: str, *, fails: str = "") -> Json:
    responses = {"200": {"description": "Yes."}, **(_errors(s503=fails) if fails else {})}
    return {"get": {"summary": summary, "responses": responses}}


OPENAPI: Final[Json] = {
    "openapi": "3.1.0",
    "info": {"title": "finetune-server", "version": __version__, "license": {"name": "Apache-2.0"}},
    "paths": {
        "/predict": _PREDICT,
        "/feedback": _FEEDBACK,
        "/version": _probe("What is loaded", fails="Nothing yet."),
        "/readyz": _probe("May requests be sent here?", fails="No; the reason says why."),
        "/livez": _probe("Is the process alive?"),
        "/metrics": _probe("Metrics as Prometheus' text"),
        "/openapi.json": _probe("This description"),
    },
    "components": {"schemas": _SCHEMAS},
}
