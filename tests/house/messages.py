"""The example messages of tests/contract/messages, each with the contract that it is of, and a validator for them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from house.crds import ROOT
from house.schemas import contract_files

Message = dict[str, Any]

MESSAGES = ROOT / "tests" / "contract" / "messages"
_CONTRACT_OF = {"run": "run-document", "inputs": "step-inputs", "result": "result", "artifact": "serving"}
_BASE = "https://finetune-operator.io/contracts/"


def messages() -> dict[str, Path]:
    """Return the file of every message by name, for example result-train."""
    return {path.stem: path for path in sorted(MESSAGES.glob("*.json"))}


def message(name: str) -> Message:
    """Return a message."""
    content: Message = json.loads(messages()[name].read_text())
    return content


def contract_of(name: str) -> str:
    """Return the name of the contract that a message is of: that of its first word, or its own."""
    return (
        name if name in contract_files() else _CONTRACT_OF.get(name.split("-", maxsplit=1)[0], name.rpartition("-")[0])
    )


@cache
def _registry() -> Registry[Any]:
    contents = (json.loads(path.read_text()) for path in contract_files().values())
    return Registry().with_resources((content["$id"], Resource.from_contents(content)) for content in contents)


def validator(place: str) -> Draft202012Validator:
    """Return the validator of a contract or of a part of it: plan, result#/$defs/train."""
    name, _, pointer = place.partition("#")
    reference = f"{_BASE}{name}.schema.json" + (f"#{pointer}" if pointer else "")
    return Draft202012Validator(
        {"$ref": reference}, registry=_registry(), format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def problems(place: str, content: object) -> list[str]:
    """Return what does not fit the contract, one line each; none for a message that fits."""
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in validator(place).iter_errors(content)
    ]
