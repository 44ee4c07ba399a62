"""What an API server refuses of an object, whoever writes it: the rules of metadata, of the CRDs and of Events."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from finetune_operator.api.schema import misfit
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

WRITTEN: Final = {
    Kind.POLICY: ("FineTunePolicy", ("status",)),
    Kind.RUN: ("FineTuneRun", ("status",)),
    Kind.MODEL_VERSION: ("ModelVersion", ("spec", "status")),
    Kind.PROMOTION: ("ModelPromotion", ("spec", "status")),
}
"""The parts of our kinds that the operator writes; what people write is theirs to get right."""
SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL: Final = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
KEY: Final = re.compile(r"([a-z0-9][-a-z0-9.]{0,252}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
ANNOTATIONS: Final = 256 * 1024
"""Bytes of keys and values of an object's annotations."""

OBJECT: Final = 3 * 512 * 1024
"""Bytes of an object that etcd takes."""

CONFIG_MAP: Final = 1024 * 1024
NOTE, SHORT = 1024, 128
"""Bytes of an Event's note, and of its reason, action and reporting instance."""


def refusals(kind: Kind, item: Object, stored: Object | None) -> Iterator[str]:
    """Yield why the API server would not take the object; nothing where it would.

    What is `stored` already, and is not changed, is not held against a write.
    """
    metadata = item["metadata"]
    yield from _named(str(metadata["name"]), 63 if kind is Kind.JOB else 253)
    yield from _labelled(metadata)
    if kind is Kind.JOB:
        yield from _labelled(((item.get("spec") or {}).get("template") or {}).get("metadata") or {})
    yield from _owned(metadata.get("ownerReferences") or ())
    if kind in WRITTEN:
        name, parts = WRITTEN[kind]
        changed = (part for part in parts if item.get(part) and item[part] != (stored or {}).get(part))
        said = (misfit(name, part, item[part]) for part in changed)
        yield from (why for why in said if why is not None)
    try:
        size = len(msgspec.json.encode(item))
    except (UnicodeEncodeError, ValueError) as error:
        yield f"it cannot be written as JSON: {error}"
        return
    most = CONFIG_MAP if kind is Kind.CONFIG_MAP else OBJECT
    if size > most:
        yield f"it has {size} bytes, more than {most}"


def refusals_of_event(manifest: Object) -> Iterator[str]:
    """Yield why the API server would not take an Event of events.k8s.io/v1."""
    yield from _named(manifest["metadata"]["name"], 253)
    if len(manifest["note"].encode(errors="surrogatepass")) > NOTE:
        yield f"note: more than {NOTE} bytes"
    for field in ("reason", "action", "reportingInstance", "reportingController"):
        if not 0 < len(manifest[field].encode(errors="surrogatepass")) <= SHORT:
            yield f"{field}: none, or more than {SHORT} bytes"
    if manifest["type"] not in ("Normal", "Warning"):
        yield f"type: {manifest['type']}"
    if manifest["regarding"]["namespace"] != manifest["metadata"]["namespace"]:
        yield "regarding.namespace is not the Event's"
    try:
        msgspec.json.encode(manifest)
    except (UnicodeEncodeError, ValueError) as error:
        yield f"it cannot be written as JSON: {error}"


def _named(name: str, most: int) -> Iterator[str]:
    if len(name) > most or SUBDOMAIN.fullmatch(name) is None:
        yield f"metadata.name: {name[:80]!r} is no name of at most {most} characters"


def _labelled(metadata: Mapping[str, Any]) -> Iterator[str]:
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    for key, value in labels.items():
        if KEY.fullmatch(key) is None or len(value) > 63 or LABEL.fullmatch(value) is None:
            yield f"metadata.labels: {key}={value[:80]!r} is no label"
    yield from (f"metadata.annotations: {key!r} is no name" for key in annotations if KEY.fullmatch(key) is None)
    size = sum(len((key + value).encode(errors="surrogatepass")) for key, value in annotations.items())
    if size > ANNOTATIONS:
        yield f"metadata.annotations: {size} bytes, more than {ANNOTATIONS}"


def _owned(references: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    for owner in references:
        if not owner.get("uid"):
            yield "metadata.ownerReferences: without uid"
    if sum(bool(owner.get("controller")) for owner in references) > 1:
        yield "metadata.ownerReferences: more than one controller"
