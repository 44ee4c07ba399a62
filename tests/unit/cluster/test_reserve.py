"""Version numbers only grow, outlive the objects, and are given to one run each."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from finetune_operator.api.policy_status import Live, NextVersion, PolicyStatus, Rejected, TakenBack
from finetune_operator.api.value import parse
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.reserve import reserve, with_reservation
from finetune_operator.decide import limits
from finetune_operator.decide.decision import ReserveVersion
from simulation.api_server import ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import stage

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def names(status: PolicyStatus) -> list[str]:
    return [r.version for r in status.reservations]


def test_numbers_count_from_one_and_from_one_again_after_a_new_base() -> None:
    status = with_reservation(PolicyStatus(), "a", 1, ())
    status = with_reservation(status, "b", 1, ())
    status = with_reservation(status, "c", 2, ())
    status = with_reservation(status, "d", 2, ())
    assert names(status) == ["ft_v1.1", "ft_v1.2", "ft_v2.1", "ft_v2.2"]
    assert status.next_version == NextVersion(series=2, tuned=3)


def test_a_deleted_version_never_gives_its_number_back() -> None:
    status = PolicyStatus(next_version=NextVersion(series=1, tuned=8))
    assert names(with_reservation(status, "a", 1, ())) == ["ft_v1.8"]


def test_a_policy_without_memory_counts_on_from_the_versions_that_exist() -> None:
    assert names(with_reservation(PolicyStatus(), "a", 1, ("base_v1", "ft_v1.4", "ft_v2.9"))) == ["ft_v1.5"]


@pytest.mark.row("R131")
def test_what_was_taken_back_or_rejected_never_gives_its_number_back() -> None:
    """A policy that lost its status knows these from records; a number names one version for good."""
    taken = TakenBack(version="ft_v1.4", sha256="a" * 64, by="ann", since=NOW)
    no = Rejected(version="ft_v1.6", sha256="b" * 64, by="ann", at=NOW)
    assert names(with_reservation(PolicyStatus(taken_back=(taken,)), "a", 1, ())) == ["ft_v1.5"]
    assert names(with_reservation(PolicyStatus(taken_back=(taken,), rejected=(no,)), "a", 1, ())) == ["ft_v1.7"]


@pytest.mark.row("R131")
@pytest.mark.parametrize("name", ["ft_v1.9999999", "ft_v1.5000001", "ft_v1." + "9" * 40, "ft_v1.\u0663"])
def test_a_number_that_somebody_wrote_does_not_use_up_all_numbers(name: str) -> None:
    """It may stand on a Deployment that is adopted: no ModelVersion could be made under the next one."""
    no = Rejected(version=name, sha256="b" * 64, by="ann", at=NOW)
    status = PolicyStatus(rejected=(no,), next_version=NextVersion(series=1, tuned=10_000_000))
    assert names(with_reservation(status, "a", 1, (name, "ft_v1.2"))) == ["ft_v1.3"]


def test_an_older_series_counts_on_and_leaves_the_mark_of_the_newest() -> None:
    live = parse({"version": "ft_v1.6", "modelVersion": "m", "uri": "u", "sha256": "s", "epoch": 1,
                  "since": "2026-11-21T12:00:00Z"}, Live)  # fmt: skip
    status = PolicyStatus(next_version=NextVersion(series=2, tuned=3), live=live)
    status = with_reservation(status, "a", 1, ("ft_v1.2",))
    assert names(status) == ["ft_v1.7"]
    assert status.next_version == NextVersion(series=2, tuned=3)


@pytest.mark.row("R66")
def test_a_number_that_another_object_has_is_given_up_for_the_next() -> None:
    status = with_reservation(PolicyStatus(), "a", 1, ())
    status = with_reservation(status, "b", 1, ())
    again = with_reservation(status, "a", 1, (), "ft_v1.1")
    assert [(r.run_uid, r.version) for r in again.reservations] == [("b", "ft_v1.2"), ("a", "ft_v1.3")]
    assert with_reservation(again, "a", 1, (), "ft_v1.1") is again, "asked twice from a stale view, it is given once"


@pytest.mark.row("R66")
def test_the_next_number_is_beyond_what_exists_even_when_the_policy_forgot_all() -> None:
    taken = ("ft_v1.1", "ft_v1.7")
    assert names(with_reservation(PolicyStatus(), "a", 1, taken, "ft_v1.9")) == ["ft_v1.10"]


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=2), st.integers(1, 3)), max_size=12))
def test_no_two_runs_share_a_name_and_no_run_has_two(asked: list[tuple[str, int]]) -> None:
    status = PolicyStatus()
    for uid, series in asked:
        status = with_reservation(status, uid, series, ())
    assert len(set(names(status))) == len(status.reservations) == len({uid for uid, _ in asked})


@pytest.mark.row("R140")
@pytest.mark.parametrize(
    ("taken", "next_one"),
    [
        (("ft_v1.5000000",), "ft_v1.5000001"),
        (("ft_v1.5000001",), "ft_v1.1"),
        (("ft_v1.9999999", "ft_v1.4"), "ft_v1.5"),
        (("ft_v1.x", "ft_v1.", "ft_v2.7", "base_v7", "7", "ft_v1.007"), "ft_v1.1"),
    ],
)
def test_a_number_that_leaves_none_behind_it_is_not_counted_on_from(taken: tuple[str, ...], next_one: str) -> None:
    assert names(with_reservation(PolicyStatus(), "a", 1, taken)) == [next_one]


@pytest.mark.row("R140")
def test_what_other_models_are_called_takes_no_number() -> None:
    """Their objects have other names."""
    server = ApiServer(believed=frozenset(("user",)))
    policy = next(manifest for kind, manifest in stage() if kind is Kind.POLICY)
    server.create("user", Kind.POLICY, NAMESPACE, policy)
    for name, model, version in (("a", "receipts", "ft_v1.4000"), ("b", policy["spec"]["model"], "ft_v1.2")):
        spec = {"model": model, "version": version}
        server.create("user", Kind.MODEL_VERSION, NAMESPACE, {"metadata": {"name": name}, "spec": spec})
    action = ReserveVersion(policy["metadata"]["name"], "run-uid", 1)
    asyncio.run(reserve(Client(server), NAMESPACE, action))
    reserved = server.get(Kind.POLICY, NAMESPACE, policy["metadata"]["name"])
    assert reserved is not None
    assert [r["version"] for r in reserved["status"]["reservations"]] == ["ft_v1.3"]


@pytest.mark.row("R175")
def test_the_last_number_that_is_counted_on_from_is_no_dead_end() -> None:
    """Somebody wrote it; behind it each run needs a number of its own all the same, also where its name is taken."""
    for mark in (NextVersion(), NextVersion(series=2, tuned=3)):
        status = PolicyStatus(next_version=mark)
        for uid in ("a", "b", "c"):
            status = with_reservation(status, uid, 1, ("ft_v1.5000000",))
        assert names(status) == ["ft_v1.5000001", "ft_v1.5000002", "ft_v1.5000003"]
        again = with_reservation(status, "a", 1, ("ft_v1.5000000", "ft_v1.5000001"), "ft_v1.5000001")
        assert names(again)[-1] == "ft_v1.5000004"


@pytest.mark.row("R175")
def test_behind_the_last_number_a_version_that_was_deleted_gives_none_back() -> None:
    status = with_reservation(PolicyStatus(), "a", 1, ("ft_v1.5000000",))
    assert names(with_reservation(replace(status, reservations=()), "b", 1, ("ft_v1.5000000",))) == ["ft_v1.5000002"]


@pytest.mark.row("R176")
@pytest.mark.parametrize("known", [{"live": True}, {"mark": True}])
def test_what_another_policy_of_the_model_has_live_takes_its_number_though_its_object_is_gone(
    known: dict[str, bool],
) -> None:
    """Else one name would be of two versions: a promotion from it, or back to it, would not say which."""
    server = ApiServer(believed=frozenset(("user", "operator")))
    policy = next(manifest for kind, manifest in stage() if kind is Kind.POLICY)
    server.create("user", Kind.POLICY, NAMESPACE, policy)
    live = {"version": "ft_v1.6", "modelVersion": "m", "uri": "s3://b/m", "sha256": "a" * 64, "epoch": 1,
            "since": "2026-11-21T12:00:00Z"}  # fmt: skip
    status = {"live": live} if "live" in known else {"nextVersion": {"series": 1, "tuned": 7}}
    for name, model in (("beside", policy["spec"]["model"]), ("of-another", "receipts")):
        other = {**policy, "metadata": {"name": name}, "spec": {**policy["spec"], "model": model, "deployment": name}}
        made = server.create("user", Kind.POLICY, NAMESPACE, other)["metadata"]
        its = status if name == "beside" else {"nextVersion": {"series": 1, "tuned": 4000}}
        asyncio.run(
            Client(server).patch_status(Kind.POLICY, NAMESPACE, name, made["uid"], made["resourceVersion"],
                                        {"status": its})
        )  # fmt: skip
    asyncio.run(reserve(Client(server), NAMESPACE, ReserveVersion(policy["metadata"]["name"], "run-uid", 1)))
    reserved = server.get(Kind.POLICY, NAMESPACE, policy["metadata"]["name"])
    assert reserved is not None
    assert [r["version"] for r in reserved["status"]["reservations"]] == ["ft_v1.7"]


@pytest.mark.row("R177")
def test_what_a_deployment_serves_takes_its_number_before_it_is_adopted() -> None:
    """A policy that lost its status knows it only when it is rolled out, and its object may be deleted."""
    server = ApiServer(believed=frozenset(("user",)))
    manifests = {kind: manifest for kind, manifest in stage() if kind in (Kind.POLICY, Kind.DEPLOYMENT)}
    policy, target = manifests[Kind.POLICY], manifests[Kind.DEPLOYMENT]
    for name, version in ((target["metadata"]["name"], "ft_v1.6"), ("of-nobody", "ft_v1.40")):
        made = {**target, "metadata": {**target["metadata"], "name": name}}
        keys = {"finetune-operator.io/model-version": version}
        template = {**target["spec"]["template"], "metadata": {**target["spec"]["template"].get("metadata", {}),
                                                               "annotations": keys}}  # fmt: skip
        server.create("user", Kind.DEPLOYMENT, NAMESPACE, {**made, "spec": {**target["spec"], "template": template}})
    server.create("user", Kind.POLICY, NAMESPACE, policy)
    asyncio.run(reserve(Client(server), NAMESPACE, ReserveVersion(policy["metadata"]["name"], "run-uid", 1)))
    reserved = server.get(Kind.POLICY, NAMESPACE, policy["metadata"]["name"])
    assert reserved is not None
    assert [r["version"] for r in reserved["status"]["reservations"]] == ["ft_v1.7"]


@pytest.mark.row("D95")
def test_a_newer_series_leaves_the_mark_of_the_older_one() -> None:
    """A run may name an older base again, and what the policy gave there may be deleted."""
    status = with_reservation(PolicyStatus(next_version=NextVersion(series=1, tuned=8)), "a", 2, ())
    status = with_reservation(replace(status, reservations=()), "b", 1, ())
    assert names(status) == ["ft_v1.8"]
    status = with_reservation(replace(status, reservations=()), "c", 2, ())
    assert names(status) == ["ft_v2.2"]
    assert status.next_version == NextVersion(series=2, tuned=3)
    assert status.older_series == (NextVersion(series=1, tuned=9),)


@pytest.mark.row("D95")
def test_the_marks_of_older_series_are_bounded_and_the_newest_is_never_lost() -> None:
    status = PolicyStatus()
    for series in range(1, limits.OLDER_SERIES + 4):
        status = with_reservation(replace(status, reservations=()), f"run-{series}", series, ())
    assert [mark.series for mark in status.older_series] == list(range(3, limits.OLDER_SERIES + 3))
    again = with_reservation(replace(status, reservations=()), "old", 1, ())
    assert again.next_version == status.next_version


def base_name(status: PolicyStatus, *taken: str, uid: str = "a", others: tuple[PolicyStatus, ...] = ()) -> str:
    return with_reservation(status, uid, None, taken, others=others).reservations[-1].version


@pytest.mark.row("R234")
def test_a_new_base_has_the_number_after_every_series_that_is_known() -> None:
    assert base_name(PolicyStatus()) == "base_v2", "the first series is there, whoever knows its base"
    assert base_name(PolicyStatus(), "base_v1", "base_v4", "ft_v1.9") == "base_v5"
    assert base_name(PolicyStatus(), "base_v1", "ft_v3.1") == "base_v4", "fine-tunes of a base that is gone"
    assert base_name(PolicyStatus(next_version=NextVersion(series=6, tuned=2))) == "base_v7"
    other = PolicyStatus(next_base=9)
    assert base_name(PolicyStatus(), others=(other,)) == "base_v9"


@pytest.mark.row("R234")
def test_a_number_that_is_reserved_for_another_run_is_taken_though_its_mark_is_lost() -> None:
    reserved = with_reservation(PolicyStatus(), "a", None, ("base_v1",))
    lost = replace(reserved, next_base=PolicyStatus().next_base)
    assert base_name(lost, "base_v1", uid="b") == "base_v3"
    assert base_name(PolicyStatus(), "base_v1", uid="b", others=(lost,)) == "base_v3"


@pytest.mark.row("R234")
def test_the_number_of_a_base_is_given_once_and_outlives_its_object() -> None:
    status = with_reservation(PolicyStatus(), "a", None, ("base_v1",))
    assert with_reservation(status, "a", None, ("base_v1",)) is status
    status = with_reservation(status, "b", None, ("base_v1",))
    assert names(status) == ["base_v2", "base_v3"]
    spent = replace(status, reservations=())
    assert base_name(spent, "base_v1") == "base_v4", "all that had one are deleted"
    assert names(with_reservation(spent, "c", 2, ())) == ["ft_v2.1"]


@pytest.mark.row("R234")
def test_another_objects_name_is_given_up_for_the_next_number_of_a_base() -> None:
    status = with_reservation(PolicyStatus(), "a", None, ("base_v1",))
    again = with_reservation(status, "a", None, ("base_v1", "base_v2"), "base_v2")
    assert names(again) == ["base_v3"]


@pytest.mark.row("R234")
def test_who_writes_a_number_that_is_too_large_leaves_one_for_every_base() -> None:
    assert base_name(PolicyStatus(), "base_v99999", "base_v1") == "base_v2"
    assert base_name(PolicyStatus(), "base_v50000", "base_v50001") == "base_v50002"
    forged = PolicyStatus(next_base=99_999, next_version=NextVersion(series=80_000, tuned=3))
    assert base_name(forged, "base_v3") == "base_v4"
