"""The ModelVersion of an imported base, as `import` prints it: nothing that crds/modelversions.yaml refuses."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

from ..errors import Reason, StepError, bad_input
from .codec import ClassNames, Document, FileReference, ModelName, VersionName
from .result import Artifact
from .serving import Serving

# Copies of what the CRDs say; tests/contract/test_trainer_contracts.py holds them to their sources.
MODEL_NAME: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
LONGEST_MODEL_NAME: Final = 30
BASE_NAME: Final = r"base_v[1-9][0-9]{0,4}"
LONGEST_OBJECT_NAME: Final = 40
NAMESPACE: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
"""A DNS label, as Kubernetes has it."""

LONGEST_NAMESPACE: Final = 63
LONGEST_PREFIX: Final = 800
PLACE: Final = r"^(file:///|(s3|gs)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/|$))"
DOTS: Final = r"(^|/)[.][.]?(/|$)"
FOREIGN: Final = r"[^!-~]|[%@\\]"

PlainDecimal = Annotated[str, msgspec.Meta(max_length=16, pattern=r"^[0-9]{1,3}([.][0-9]{1,10})?$")]


class PlainServing(Serving, frozen=True):
    """Serving settings as people and the API server write decimals: without an exponent."""

    confidence: PlainDecimal
    nms_iou: PlainDecimal


class BaseVersion(Document, frozen=True, kw_only=True):
    """The spec of a ModelVersion of type Base."""

    model: ModelName
    version: VersionName
    type: Literal["Base"] = "Base"
    artifact: Artifact
    checkpoint: FileReference
    classes: ClassNames
    serving: PlainServing


def object_name(model: str, version: str) -> str:
    """Return the name of the ModelVersion object: invoice-fields, base_v1 -> invoice-fields-base-v1."""
    return f"{model}-{version.replace('_', '-')}"


def check_names(model: str, version: str, namespace: str) -> None:
    """Raise StepError ContractViolated for names that the API server would refuse after the upload."""
    if len(model) > LONGEST_MODEL_NAME or re.fullmatch(MODEL_NAME, model) is None:
        raise _option(
            "model", model, f"Use at most {LONGEST_MODEL_NAME} lower-case letters, digits and '-', as in the policy."
        )
    if re.fullmatch(BASE_NAME, version) is None:
        raise _option("version", version, "Name it base_v1, base_v2, up to base_v99999.")
    if len(name := object_name(model, version)) > LONGEST_OBJECT_NAME:
        raise _option(
            "model", model, f"The object would be called {name}; at most {LONGEST_OBJECT_NAME} characters are possible."
        )
    if len(namespace) > LONGEST_NAMESPACE or re.fullmatch(NAMESPACE, namespace) is None:
        raise _option("namespace", namespace, f"Use a DNS label of at most {LONGEST_NAMESPACE} characters.")


def checked_serving(settings: dict[str, object]) -> PlainServing:
    """Return the settings as the API server takes them; StepError ContractViolated for others, such as 1e-1."""
    try:
        msgspec.convert(settings, Serving)
        return msgspec.convert(settings, PlainServing)
    except msgspec.ValidationError as error:
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            f"The serving settings are not valid: {error}.",
            "--image-size is a multiple of 32; --confidence and --nms-iou are shares (0..1) with at most 10 decimals.",
        ) from error


def check_artifacts(uri: str) -> None:
    """Raise StepError ContractViolated for a prefix below which the API server takes no URI."""
    if len(uri) > LONGEST_PREFIX:
        remedy = f"It has {len(uri)} characters; use the policy's artifacts.uri, at most {LONGEST_PREFIX}."
        raise _option("artifacts", uri[:200], remedy)
    if re.search(PLACE, uri) is None or re.search(DOTS, uri) or re.search(FOREIGN, uri) or {"?", "#"} & set(uri):
        raise _option(
            "artifacts",
            uri,
            "Use file:///path, s3://bucket/prefix or gs://bucket/prefix, without '.', '..', spaces, '%', '@', '?', "
            "'#', backslashes and characters outside ASCII.",
        )


def _option(name: str, value: str, remedy: str) -> StepError:
    return bad_input(Reason.CONTRACT_VIOLATED, f"--{name} is {value!r}.", remedy)
