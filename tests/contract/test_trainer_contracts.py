"""The trainer's types say what contracts/ say: it refuses what they do not allow, and writes what they promise."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest

from finetune_trainer.documents import codec, model_version
from finetune_trainer.documents.anchor import AnchorIndex
from finetune_trainer.documents.inputs import EvaluateInputs, PrepareInputs, ScanInputs, TrainInputs, VerifyInputs
from finetune_trainer.documents.plan import Plan
from finetune_trainer.documents.pool import PoolBatch, PoolCorrection, PoolWithdrawal
from finetune_trainer.documents.production import (
    CapturedPage,
    ProductionOwner,
    ProductionReport,
    ProductionWeek,
    ProductionWindow,
)
from finetune_trainer.documents.report import ModelDetails, Report
from finetune_trainer.documents.result import (
    RESULT_LIMIT,
    Emitted,
    ErrorReport,
    EvaluateResult,
    Manifest,
    Measured,
    PrepareResult,
    ProgressLine,
    Rates,
    ScanResult,
    TrainResult,
    VerifyResult,
)
from finetune_trainer.documents.run import (
    FineTuneDocument,
    Mixing,
    RebuildDocument,
    ScanDocument,
    Training,
    VerifyDocument,
)
from finetune_trainer.documents.serving import Lineage, ServingMetadata
from finetune_trainer.errors import ErrorClass, Reason, exit_code
from house.agreement import Direction, contract_differences
from house.crds import Schema, crds
from house.schemas import COMMON, allowed, contracts, limit, part, without_null

TYPES: tuple[tuple[str, type, Direction], ...] = (
    ("run-document#/$defs/fineTune", FineTuneDocument, "reads"),
    ("run-document#/$defs/rebuild", RebuildDocument, "reads"),
    ("run-document#/$defs/verify", VerifyDocument, "reads"),
    ("run-document#/$defs/scan", ScanDocument, "reads"),
    ("step-inputs#/$defs/prepare", PrepareInputs, "reads"),
    ("step-inputs#/$defs/train", TrainInputs, "reads"),
    ("step-inputs#/$defs/evaluate", EvaluateInputs, "reads"),
    ("step-inputs#/$defs/verify", VerifyInputs, "reads"),
    ("step-inputs#/$defs/scan", ScanInputs, "reads"),
    ("result#/$defs/emitted", Emitted, "same"),
    ("result#/$defs/error", ErrorReport, "writes"),
    ("result#/$defs/prepare", PrepareResult, "writes"),
    ("result#/$defs/train", TrainResult, "writes"),
    ("result#/$defs/evaluate", EvaluateResult, "writes"),
    ("result#/$defs/verify", VerifyResult, "writes"),
    ("result#/$defs/scan", ScanResult, "writes"),
    ("progress", ProgressLine, "writes"),
    ("plan", Plan, "same"),
    ("manifest", Manifest, "same"),
    ("pool-batch", PoolBatch, "same"),
    ("pool-correction", PoolCorrection, "same"),
    ("pool-withdrawal", PoolWithdrawal, "same"),
    ("anchor-index", AnchorIndex, "same"),
    ("serving#/$defs/serving", ServingMetadata, "same"),
    ("serving#/$defs/lineage", Lineage, "same"),
    ("production", ProductionOwner, "reads"),
    ("production-page", CapturedPage, "reads"),
    ("production-report", ProductionReport, "reads"),
    ("production-window", ProductionWindow, "reads"),
    ("production-week", ProductionWeek, "same"),
    ("report", Report, "writes"),
    ("report#/$defs/details", ModelDetails, "writes"),
)


def differences(schema: Schema, kind: type, direction: Direction) -> list[str]:
    return contract_differences(without_null(schema)[0], kind, direction)


@pytest.mark.parametrize(("place", "kind", "direction"), TYPES, ids=str)
def test_the_trainers_types_say_what_the_contract_says(place: str, kind: type, direction: Direction) -> None:
    assert differences(part(place), kind, direction) == []


def test_every_contract_has_a_type_of_the_trainer() -> None:
    assert {place.partition("#")[0] for place, _, _ in TYPES} == contracts().keys() - {COMMON}


PLANTED: dict[str, tuple[str, type, Direction, Callable[[Schema], object], str]] = {
    "a field that the trainer would refuse": (
        "run-document#/$defs/training",
        Training,
        "reads",
        lambda schema: schema["properties"].update(knob={"type": "string"}),
        ".knob: only in the schema",
    ),
    "a field that the trainer would miss": (
        "run-document#/$defs/training",
        Training,
        "reads",
        lambda schema: schema["required"].remove("lrf"),
        ": required",
    ),
    "an optimizer that the trainer would refuse": (
        "run-document#/$defs/training",
        Training,
        "reads",
        lambda schema: schema["properties"]["optimizer"]["enum"].append("RMSProp"),
        ".optimizer: enum",
    ),
    "a larger limit": (
        "run-document#/$defs/training",
        Training,
        "reads",
        lambda schema: schema["properties"]["nominalBatch"].update(maximum=100_000),
        ".nominalBatch: maximum",
    ),
    "a limit that goes": (
        "run-document#/$defs/training",
        Training,
        "reads",
        lambda schema: schema["properties"]["epochs"].pop("minimum"),
        ".epochs: minimum",
    ),
    "another pattern": (
        "run-document#/$defs/mixing",
        Mixing,
        "reads",
        lambda schema: schema["properties"]["ratio"].update(pattern="^Auto$"),
        ".ratio: pattern",
    ),
    "a figure that the trainer does not write": (
        "result#/$defs/rates",
        Rates,
        "writes",
        lambda schema: schema["required"].append("detections"),
        ": required",
    ),
    "a figure that is not in the contract": (
        "result#/$defs/train",
        TrainResult,
        "writes",
        lambda schema: schema["properties"].pop("device"),
        ".device: only in the types",
    ),
    "null where the contract has none": (
        "result#/$defs/measured",
        Measured,
        "writes",
        lambda schema: schema["properties"].update(pool={"$ref": "result.schema.json#/$defs/rates"}),
        ".pool: null only in the types",
    ),
    "more classes": (
        "plan",
        Plan,
        "same",
        lambda schema: schema["properties"].update(classes={**part("common#/$defs/classNames"), "maxItems": 81}),
        ".classes: maxItems",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_drift_is_found(name: str) -> None:
    place, kind, direction, plant, expected = PLANTED[name]
    schema = copy.deepcopy(part(place))
    assert differences(schema, kind, direction) == []
    plant(schema)
    assert [line for line in differences(schema, kind, direction) if line.startswith(expected)]


def test_the_classes_of_errors_are_those_of_the_contract() -> None:
    schema = part("result#/$defs/error")["properties"]
    assert {item.value for item in ErrorClass} == set(allowed(schema["class"]))
    assert {item.value: exit_code(item) for item in ErrorClass} == part("result")["x-exit-codes"]
    assert all(re.search(schema["reason"]["pattern"], item.value) for item in Reason)


def test_limits_in_the_code_are_those_of_the_contracts() -> None:
    names = part("common#/$defs/classNames")
    assert part("common#/$defs/uri")["maxLength"] == codec.LONGEST_URI
    assert names["maxItems"] == codec.MAX_CLASSES
    assert part("result")["x-max-bytes"] == RESULT_LIMIT


# What `import` prints is taken by the API server: its type and its checks are those of the CRDs.

VERSION = crds()["ModelVersion"].spec["properties"]
POLICY = crds()["FineTunePolicy"].spec["properties"]
PREFIX = POLICY["artifacts"]["properties"]["uri"]


def test_the_model_version_of_an_import_is_within_the_crd() -> None:
    assert contract_differences(crds()["ModelVersion"].spec, model_version.BaseVersion, "writes") == []


def test_the_checks_of_an_import_are_those_of_the_crds() -> None:
    assert limit(VERSION["model"], "pattern") == f"^{model_version.MODEL_NAME}$"
    assert VERSION["model"]["maxLength"] == POLICY["model"]["maxLength"] == model_version.LONGEST_MODEL_NAME
    assert limit(VERSION["base"], "pattern") == f"^{model_version.BASE_NAME}$"
    assert PREFIX["maxLength"] == model_version.LONGEST_PREFIX
    rules = " ".join(rule["rule"] for rule in PREFIX["x-kubernetes-validations"])
    for pattern in (model_version.PLACE, model_version.DOTS):
        assert f"self.matches('{pattern}')" in rules
    assert "self.matches(r'" + model_version.FOREIGN + "')" in rules
    objects = crds()["ModelVersion"].schema["x-kubernetes-validations"]
    assert any(f"size() <= {model_version.LONGEST_OBJECT_NAME} ||" in rule["rule"] for rule in objects)
