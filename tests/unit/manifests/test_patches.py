"""What is sent is the least that says it: merge patches, the four keys, records, Events, documents."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.api.promotion import PromotionSpec
from finetune_operator.api.value import InvalidObject
from finetune_operator.decide.decision import ApplyKeys, CreatePromotion, Emit
from finetune_operator.manifests.documents import read_document
from finetune_operator.manifests.events import Regarding, build_event
from finetune_operator.manifests.merge_patch import merge_patch
from finetune_operator.manifests.owner import Owner, is_owned
from finetune_operator.manifests.records import build_promotion
from finetune_operator.manifests.served_keys import build_keys
from simulation.api_server import merge

NOW = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
leaves = st.one_of(st.integers(), st.text(max_size=3), st.booleans(), st.lists(st.integers(), max_size=2))
statuses = st.dictionaries(
    st.sampled_from("abcd"), st.recursive(leaves, lambda s: st.dictionaries(st.sampled_from("abcd"), s), max_leaves=6)
)


@given(statuses, statuses)
def test_a_merge_patch_turns_the_old_status_into_the_new_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge(old, merge_patch(old, new)) == new


@given(statuses)
def test_an_unchanged_status_needs_no_patch(status: dict[str, Any]) -> None:
    assert merge_patch(status, status) == {}


def test_a_patch_names_only_what_changed() -> None:
    old = {"phase": "Pending", "message": "waits", "progress": {"epoch": 1, "percent": 10}, "attempts": [1]}
    new = {"phase": "Training", "progress": {"epoch": 2, "percent": 10}, "attempts": [1]}
    assert merge_patch(old, new) == {"phase": "Training", "message": None, "progress": {"epoch": 2}}


def keys(version: str | None) -> dict[str, Any]:
    sha256 = None if version is None else "ab"
    uri = None if version is None else "file:///m"
    return build_keys(ApplyKeys("detector", "uid-7", "41", version, uri, sha256, 3), "ml")


def test_a_flip_claims_four_annotations_at_one_uid_and_resource_version() -> None:
    assert keys("ft_v1.1") == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "detector", "namespace": "ml", "uid": "uid-7", "resourceVersion": "41",
            "annotations": {"finetune-operator.io/epoch": "3"},
        },
        "spec": {"template": {"metadata": {"annotations": {
            "finetune-operator.io/model-version": "ft_v1.1",
            "finetune-operator.io/artifact-uri": "file:///m",
            "finetune-operator.io/artifact-sha256": "ab",
        }}}},
    }  # fmt: skip


def test_a_release_claims_nothing_but_the_epoch() -> None:
    assert "spec" not in keys(None)
    assert keys(None)["metadata"]["annotations"] == {"finetune-operator.io/epoch": "3"}


def test_a_record_outlives_its_run() -> None:
    spec = PromotionSpec(policy="p", version="ft_v1.1", from_version="base_v1")
    manifest = build_promotion(CreatePromotion("first-promotion", spec), Owner("FineTuneRun", "ml", "first", "u"))
    assert "ownerReferences" not in manifest["metadata"]
    assert manifest["spec"] == {"policy": "p", "version": "ft_v1.1", "from": "base_v1"}


def test_an_event_fits_the_apis_limits_and_has_one_name_for_one_saying() -> None:
    about = Regarding("FineTuneRun", "ml", "first", "u")
    event = build_event(Emit("Warning", "R" * 300, "m" * 3000), about, NOW, "pod-1")
    assert len(event["reason"]) <= 128
    for letter in ("m", "\u00fc", "\u7248", "\U0001f600"):
        text = build_event(Emit("Warning", "R", letter * 3000), about, NOW, "pod-1")["note"]
        assert 990 <= len(text.encode()) <= 1024, "the API counts bytes"
        assert set(text) == {letter}
    assert event["eventTime"] == "2026-11-21T12:00:00.250000Z"
    again = build_event(Emit("Warning", "R" * 300, "m" * 3000), about, NOW, "pod-1")
    other = build_event(Emit("Warning", "R", "m"), about, NOW, "pod-1")
    assert event["metadata"]["name"] == again["metadata"]["name"] != other["metadata"]["name"]


@pytest.mark.parametrize(
    ("references", "owned"),
    [
        ([{"uid": "u", "controller": True}], True),
        ([{"uid": "u", "controller": False}], False),
        ([{"uid": "other", "controller": True}], False),
        (None, False),
    ],
)
def test_only_the_controller_reference_makes_a_child(references: Any, owned: bool) -> None:
    assert is_owned({"metadata": {"labels": {"owner-uid": "u"}, "ownerReferences": references}}, "u") is owned


@pytest.mark.parametrize("data", [None, {}, {"run.json": "{"}, {"run.json": "[]"}, {"run.json": 7}])
def test_an_unreadable_document_is_named(data: Any) -> None:
    with pytest.raises(InvalidObject, match="'document-1'"):
        read_document({"metadata": {"name": "document-1"}, "data": data})
