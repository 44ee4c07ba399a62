"""What the operator checks before it writes is what the CRDs say, to the last rule."""

import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.api.rules import rule_of
from finetune_operator.api.schema import all_rules, misfit
from house.crds import ROOT, crds

ARTIFACT = {"uri": "file:///a/m.onnx", "sha256": "a" * 64, "format": "onnx", "bytes": 5}
STRANGE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70) | st.sampled_from(["onnx", "a" * 64, 2**53]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["uri", "sha256", "bytes"]), inner),
    max_leaves=5,
)


def test_the_schemas_are_made_of_the_crds() -> None:
    assert subprocess.run([sys.executable, ROOT / "scripts" / "schemas", "--check"], check=False).returncode == 0


def test_every_rule_of_what_we_write_is_known() -> None:
    """One that is not goes by hand into api/rules.py."""
    rules = set(all_rules())
    assert len(rules) > 10
    assert [rule for rule in rules if rule_of(rule) is None] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"bytes": 10**17}, "spec.artifact.bytes"),
        ({"bytes": -1}, "spec.artifact.bytes"),
        ({"bytes": True}, "no integer"),
        ({"bytes": 2**63}, "spec.artifact.bytes"),
        ({"uri": "file:///a b"}, "breaks the rule"),
        ({"uri": "file:///a/./b"}, "breaks the rule"),
        ({"uri": "file:///a@b"}, "breaks the rule"),
        ({"uri": "file:///a\n"}, "breaks the rule"),
        ({"uri": "http://a/b"}, "breaks the rule"),
        ({"uri": "file:///" + "x" * 2100}, "characters"),
        ({"sha256": "A" * 64}, "breaks the rule"),
        ({"format": "pt"}, "is not one of"),
        ({"uri": "file:///\ud800"}, "cannot be written as JSON"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, object], says: str | None) -> None:
    said = misfit("ModelVersion", "spec.artifact", ARTIFACT | change)
    assert said is None if says is None else says in (said or "")


@given(value=STRANGE, name=st.sampled_from(["uri", "sha256", "bytes", "format"]))
def test_it_never_takes_what_json_schema_refuses(value: Any, name: str) -> None:
    wrong = ARTIFACT | {name: value}
    schema = crds()["ModelVersion"].spec["properties"]["artifact"]
    fits = not list(jsonschema.Draft202012Validator(schema).iter_errors(json.loads(json.dumps(wrong))))
    taken = misfit("ModelVersion", "spec.artifact", wrong) is None
    assert fits or not taken
