"""Names are deterministic, tell objects of one name apart, and fit where Kubernetes puts them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.api import names
from house.crds import crds


def _labels(longest: int) -> st.SearchStrategy[str]:
    """Names as Kubernetes has them, with hyphens inside."""
    return st.text("a0-", min_size=1, max_size=longest).map(lambda text: f"a{text[1:-1]}z"[:longest])


OWNERS = _labels(40)
UIDS = st.uuids().map(str)
VERSION = crds()["ModelVersion"].spec["properties"]["version"]
SERIES = st.integers(1, 99_999)
NUMBERS = st.integers(1, 9_999_999)


@given(OWNERS, st.sampled_from(["prepare", "train", "evaluate", "verify"]), st.integers(1, 999), UIDS, st.booleans())
def test_a_job_s_name_fits_a_label_and_a_host(owner: str, step: str, attempt: int, uid: str, collect: bool) -> None:
    name = names.job_name(owner, step, attempt, uid, collect=collect)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 63


@given(OWNERS, UIDS, UIDS)
def test_two_objects_of_one_name_have_children_of_two_names(owner: str, one: str, other: str) -> None:
    same = names.uid_tag(one) == names.uid_tag(other)
    for make in (names.snapshot_name, names.promotion_name):
        assert (make(owner, one) == make(owner, other)) == same
    assert (names.job_name(owner, "train", 1, one) == names.job_name(owner, "train", 1, other)) == same


def test_a_version_may_be_called_what_the_crds_say() -> None:
    (rule,) = (entry["rule"] for entry in VERSION["x-kubernetes-validations"])
    pattern = rule.removeprefix("self.matches('").removesuffix("')")
    named = [
        "base_v1",
        "base_v0",
        "base_v99999",
        "base_v100000",
        "base_v\u00b2",
        "base_v1\n",
        "ft_v1.1",
        "ft_v1",
        "v7",
        "",
    ]
    assert [names.is_version(name) for name in named] == [bool(re.fullmatch(pattern, name)) for name in named]


def test_attempts_steps_and_collect_jobs_have_names_of_their_own() -> None:
    made = {
        names.job_name("run", step, attempt, "uid", collect=collect)
        for step in ("prepare", "train", "evaluate")
        for attempt in (1, 2, 12)
        for collect in (False, True)
    }
    assert len(made) == 18


@given(SERIES, NUMBERS)
def test_versions_are_called_as_the_crd_demands(series: int, number: int) -> None:
    pattern = VERSION["x-kubernetes-validations"][0]["rule"].removeprefix("self.matches('").removesuffix("')")
    for version in (names.base_version(series), names.tuned_version(series, number)):
        assert re.fullmatch(pattern, version)
        assert len(version) <= VERSION["maxLength"]
        assert names.series_of(version) == series


@pytest.mark.parametrize("name", ["", "base_v", "v1", "ft_vx.1", "base-v1", "latest"])
def test_other_names_are_of_no_series(name: str) -> None:
    assert names.series_of(name) is None


def test_an_object_is_called_after_model_and_version() -> None:
    assert names.model_version_name("invoice-fields", "ft_v1.2") == "invoice-fields-ft-v1.2"


@given(_labels(30), SERIES, NUMBERS)
def test_an_object_s_name_is_a_dns_name(model: str, series: int, number: int) -> None:
    name = names.model_version_name(model, names.tuned_version(series, number))
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", label) for label in name.split("."))
