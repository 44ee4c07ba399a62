"""The CRDs of crds/, read as data."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"

Schema = dict[str, Any]


@dataclass(frozen=True)
class Crd:
    """One CRD: the object itself and what tests ask of it."""

    path: Path
    manifest: dict[str, Any]

    @property
    def kind(self) -> str:
        """The kind, for example FineTuneRun."""
        return str(self.manifest["spec"]["names"]["kind"])

    @property
    def plural(self) -> str:
        """The resource, for example finetuneruns."""
        return str(self.manifest["spec"]["names"]["plural"])

    @property
    def schema(self) -> Schema:
        """The schema of the whole object."""
        (version,) = self.manifest["spec"]["versions"]
        schema: Schema = version["schema"]["openAPIV3Schema"]
        return schema

    @property
    def spec(self) -> Schema:
        """The schema of `spec`."""
        schema: Schema = self.schema["properties"]["spec"]
        return schema

    @property
    def status(self) -> Schema:
        """The schema of `status`."""
        schema: Schema = self.schema["properties"]["status"]
        return schema


@cache
def crds() -> dict[str, Crd]:
    """Return every CRD of crds/ by kind."""
    # libyaml reads eight times as fast as Python, and every process of every suite reads them.
    parsed = [Crd(path, yaml.load(path.read_text(), yaml.CSafeLoader)) for path in sorted(CRDS.glob("*.yaml"))]
    return {crd.kind: crd for crd in parsed}


def with_defaults(schema: Schema, value: Any) -> Any:
    """Return `value` as the API server stores it: with the defaults of absent properties, at every depth."""
    if isinstance(value, dict) and "properties" in schema:
        filled = dict(value)
        for name, child in schema["properties"].items():
            if name not in filled and "default" in child:
                filled[name] = copy.deepcopy(child["default"])
            if name in filled:
                filled[name] = with_defaults(child, filled[name])
        return filled
    if isinstance(value, list) and "items" in schema:
        return [with_defaults(schema["items"], item) for item in value]
    return value


def properties(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Yield the path and schema of every property, at every depth; parents before children."""
    for name, child in schema.get("properties", {}).items():
        yield (*path, name), child
        yield from properties(child, (*path, name))


def leaves(schema: Schema) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Yield the path and schema of every property that has no properties of its own."""
    return (item for item in properties(schema) if "properties" not in item[1])


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield the path and schema of every node, items and map values included."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")
