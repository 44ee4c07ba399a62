"""The immutable ConfigMap that holds a run document, and the way back from it."""

from collections.abc import Mapping
from typing import Any

from ..api.names import sha256_of
from ..api.run_document import RunDocument, document_text
from ..api.value import InvalidObject, parse_json
from ..decide.decision import CreateSnapshot
from .owner import Owner, labels, reference

DOCUMENT_KEY = "run.json"


def build_document(action: CreateSnapshot, owner: Owner) -> dict[str, Any]:
    """Return the manifest of the ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": action.name,
            "namespace": owner.namespace,
            "labels": labels(owner),
            "ownerReferences": [reference(owner)],
        },
        "immutable": True,
        "data": {DOCUMENT_KEY: document_text(action.run_document)},
    }


def document_digest(config_map: Mapping[str, Any]) -> str:
    """Return the sha256 of the text in `config_map`, whatever it is; of nothing where there is none."""
    text = (config_map.get("data") or {}).get(DOCUMENT_KEY)
    return sha256_of(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b"")


def read_document(config_map: Mapping[str, Any]) -> RunDocument:
    """Return the document in `config_map`. Raises InvalidObject, naming the ConfigMap."""
    name = config_map.get("metadata", {}).get("name", "")
    text = (config_map.get("data") or {}).get(DOCUMENT_KEY)
    if not isinstance(text, str):
        raise InvalidObject(f"ConfigMap {name!r} has no {DOCUMENT_KEY}")
    try:
        return parse_json(text, RunDocument)
    except InvalidObject as error:
        raise InvalidObject(f"ConfigMap {name!r}, {DOCUMENT_KEY}: {error}") from error
