"""Metadata of the artifact: how it is served, and what it is a version of. One digest binds both to the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import asdict

from ..documents.codec import decode, encode
from ..documents.serving import LINEAGE_KEY, SERVING_KEY, SERVING_SCHEMA, Lineage, Serving, ServingMetadata
from ..errors import Reason, bad_input


@dataclass(frozen=True, slots=True)
class ArtifactMetadata:
    """What an artifact says about itself; `lineage` is None for artifacts of other origin."""

    serving: ServingMetadata
    lineage: Lineage | None


def serving_metadata(classes: tuple[str, ...], serving: Serving) -> ServingMetadata:
    """Return the serving metadata of an artifact with these classes and settings."""
    return ServingMetadata(classes=classes, **asdict(serving))


def written(metadata: ArtifactMetadata) -> dict[str, str]:
    """Return the metadata as the ONNX file carries it: compact JSON by key."""
    lineage = {} if metadata.lineage is None else {LINEAGE_KEY: encode(metadata.lineage).decode()}
    return {SERVING_KEY: encode(metadata.serving).decode(), **lineage}


def check_lineage(lineage: Lineage, where: str) -> None:
    """Raise StepError BaseUnusable for a fine-tune: chains of fine-tunes drift, so each starts from a base."""
    if lineage.type != "Base":
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"{where} is itself a fine-tune, of {lineage.base}.",
            "Start from a version of type Base; to build on all that was learned since, train a new base on all data.",
        )


def parse_metadata(properties: Mapping[str, str], where: str) -> ArtifactMetadata:
    """Parse the properties of an ONNX file; StepError BaseUnusable where they are none of ours, ContractViolated."""
    if SERVING_KEY not in properties:
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"{where} carries no {SERVING_KEY} metadata.",
            "Make the artifact with `finetune-trainer import`, which binds classes and settings to the weights.",
        )
    serving = decode(properties[SERVING_KEY].encode(), ServingMetadata, f"{SERVING_KEY} of {where}", SERVING_SCHEMA)
    text = properties.get(LINEAGE_KEY)
    lineage = None if text is None else _lineage(text, f"{LINEAGE_KEY} of {where}")
    return ArtifactMetadata(serving, lineage)


def _lineage(text: str, what: str) -> Lineage:
    """Return what stands there; StepError for what the server's reader refuses, though nothing of it is asked for."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            f"{what} is not valid: {error}.",
            "Make the artifact with `finetune-trainer import`, or train with the trainer image of this release.",
        ) from error
    return decode(text.encode(), Lineage, what)
