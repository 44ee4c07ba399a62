"""The recipe is what the policy's CRD takes, and says the same of base and fine-tune."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from invoice_example.__main__ import main
from invoice_example.recipe import AUGMENT

CRD = Path(__file__).resolve().parents[2] / "crds" / "finetunepolicies.yaml"
TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}


@pytest.fixture
def recipe(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["recipe"]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def policy_schema() -> dict[str, Any]:
    crd = yaml.safe_load(CRD.read_text(encoding="utf-8"))
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def unknown_or_mistyped(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """The places where a value is not what the schema says; the API server would refuse or drop them."""
    if type(value) is not TYPES[schema["type"]]:
        return [f"{path}: {value!r} is no {schema['type']}"]
    if not isinstance(value, dict):
        return []
    return [
        problem
        for key, item in value.items()
        for problem in (
            unknown_or_mistyped(item, schema["properties"][key], f"{path}.{key}")
            if key in schema["properties"]
            else [f"{path}.{key}: unknown"]
        )
    ]


@pytest.mark.parametrize("part", ["serving", "training", "classes"])
def test_a_policy_takes_the_recipe_as_it_is(recipe: dict[str, Any], part: str) -> None:
    assert unknown_or_mistyped(recipe[part], policy_schema()["properties"][part], part) == []


def test_a_parameter_the_policy_does_not_know_would_be_noticed(recipe: dict[str, Any]) -> None:
    spoiled = {**recipe["training"], "learningRate": "0.1", "epochs": "10"}
    problems = unknown_or_mistyped(spoiled, policy_schema()["properties"]["training"], "training")
    assert problems == ["training.epochs: '10' is no integer", "training.learningRate: unknown"]


def test_the_fine_tune_has_the_seeds_parameters(recipe: dict[str, Any]) -> None:
    wanted = {
        "epochs": 10,
        "lr0": "0.001",
        "freeze": 10,
        "warmupEpochs": "1",
        "warmupBiasLr": "0",
        "cosLr": True,
        "optimizer": "AdamW",
    }
    assert {key: recipe["training"][key] for key in wanted} == wanted


def test_each_batch_of_base_and_fine_tune_is_a_step_of_the_optimizer(recipe: dict[str, Any]) -> None:
    base, tuned = recipe["base"], recipe["training"]
    assert (base["nbs"], tuned["nominalBatch"]) == (base["batch"], tuned["batch"])


def test_base_and_fine_tune_see_pages_changed_in_the_same_way(recipe: dict[str, Any]) -> None:
    camel = {"hsv_h": "hsvH", "hsv_s": "hsvS", "hsv_v": "hsvV"}
    tuned = recipe["training"]["augment"]
    assert {camel.get(name, name): value for name, value in AUGMENT.items()} == {
        name: float(value) for name, value in tuned.items()
    }


def test_training_without_a_data_set_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-base", "--data", str(tmp_path), "--out", str(tmp_path / "best.pt")]) == 1
    assert f"{tmp_path / 'data.yaml'} is missing; --data names the folder anchor/" in capsys.readouterr().err
    assert not (tmp_path / "best.pt").exists()
