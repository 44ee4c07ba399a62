"""The memory of watched objects is never older than what was seen, whatever comes in whatever order."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.cluster.cache import resync
from finetune_operator.cluster.fields import is_rejected_anew
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.store import Change, Store

OURS = {"app.kubernetes.io/managed-by": "finetune-operator", "finetune-operator.io/owner-uid": "run-1"}


def run(name: str = "first", uid: str = "u1", version: int = 1, phase: str = "") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ml", "name": name, "uid": uid, "resourceVersion": str(version)},
        "spec": {"policy": "invoices"},
        "status": {"phase": phase},
    }


def job(name: str = "j", uid: str = "j1", version: int = 1, labels: dict[str, str] = OURS) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ml", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}
    }


def phase(store: Store) -> str | None:
    obj = store.get(Kind.RUN, "ml", "first")
    return None if obj is None else str(obj["status"]["phase"])


def test_an_older_event_never_replaces_what_was_written() -> None:
    store = Store()
    assert store.put(Kind.RUN, run(version=10, phase="Training"))
    assert not store.put(Kind.RUN, run(version=9, phase="Preparing"))
    assert not store.put(Kind.RUN, run(version=10, phase="Training"))
    assert phase(store) == "Training"


def test_a_deleted_object_does_not_come_back_with_a_late_event() -> None:
    store = Store()
    store.put(Kind.RUN, run(version=10))
    store.remove(Kind.RUN, "ml", "first", "u1", 12)
    assert not store.put(Kind.RUN, run(version=11))
    assert phase(store) is None


def test_a_new_object_of_the_same_name_takes_over_and_a_late_deletion_of_the_old_one_is_no_matter() -> None:
    store = Store()
    store.put(Kind.RUN, run(version=10, phase="old"))
    store.put(Kind.RUN, run(uid="u2", version=20, phase="new"))
    assert not store.remove(Kind.RUN, "ml", "first", "u1", 15)
    assert phase(store) == "new"


def test_an_object_that_lost_its_label_leaves_and_may_come_back() -> None:
    store = Store()
    store.put(Kind.JOB, job(version=1))
    store.put(Kind.JOB, job(version=2, labels={}))
    assert store.get(Kind.JOB, "ml", "j") is None
    assert store.put(Kind.JOB, job(version=3))
    assert store.find(Kind.JOB, "ml", "owner", "run-1") == ("j",)


def test_a_list_sweeps_ghosts_but_nothing_that_is_newer_than_the_list() -> None:
    store = Store()
    for name, version in (("gone", 5), ("kept", 6), ("newer", 30)):
        store.put(Kind.RUN, run(name, uid=name, version=version))
    assert store.sweep(Kind.RUN, None, {("ml", "kept"): "kept"}, 20) == 1
    assert {name for _, name, _ in store.projections(Kind.RUN)} == {"kept", "newer"}


def test_references_follow_the_objects() -> None:
    store = Store()
    store.put(Kind.RUN, run(version=1))
    moved = run(version=2)
    moved["spec"]["policy"] = "receipts"
    store.put(Kind.RUN, moved)
    assert store.find(Kind.RUN, "ml", "policy", "invoices") == ()
    assert store.find(Kind.RUN, "ml", "policy", "receipts") == ("first",)
    store.remove(Kind.RUN, "ml", "first", "u1")
    assert store.find(Kind.RUN, "ml", "policy", "receipts") == ()


def test_listeners_hear_each_change_once_with_before_and_after() -> None:
    heard: list[Change] = []
    store = Store(heard.append)
    store.put(Kind.RUN, run(version=1))
    store.put(Kind.RUN, run(version=1))
    store.put(Kind.RUN, run(version=2, phase="Training"))
    store.remove(Kind.RUN, "ml", "first", "u1")
    phases = [(c.before and c.before.phase, c.after and c.after.phase) for c in heard]
    assert phases == [(None, ""), ("", "Training"), ("Training", None)]


def test_an_unchanged_list_is_the_same_object() -> None:
    store = Store()
    template = {"metadata": {"namespace": "ml", "name": "t", "uid": "t1", "resourceVersion": "1"}}
    store.put(Kind.POD_TEMPLATE, template)
    assert store.all(Kind.POD_TEMPLATE, "ml") is store.all(Kind.POD_TEMPLATE, "ml")
    before = store.all(Kind.POD_TEMPLATE, "ml")
    store.put(Kind.POD_TEMPLATE, {**template, "metadata": {**template["metadata"], "resourceVersion": "2"}})
    assert store.all(Kind.POD_TEMPLATE, "ml") is not before


@pytest.mark.parametrize(("kind", "kept"), [(Kind.DEPLOYMENT, True), (Kind.POLICY, False)])
def test_managed_fields_are_kept_only_where_they_are_read(kind: Kind, kept: bool) -> None:
    store = Store()
    labels = {"finetune-operator.io/managed": "true"}
    metadata = {"namespace": "ml", "name": "x", "uid": "x", "resourceVersion": "1", "labels": labels}
    store.put(kind, {"metadata": {**metadata, "managedFields": [{"manager": "helm"}]}})
    obj = store.get(kind, "ml", "x")
    assert obj is not None
    assert ("managedFields" in obj["metadata"]) is kept


@given(st.permutations([("put", v) for v in range(1, 6)] + [("gone", 6)]))
def test_every_order_of_one_objects_history_ends_the_same(history: list[tuple[str, int]]) -> None:
    store = Store()
    for what, version in history:
        if what == "put":
            store.put(Kind.RUN, run(version=version))
        else:
            store.remove(Kind.RUN, "ml", "first", "u1", version)
    assert store.get(Kind.RUN, "ml", "first") is None


@given(st.permutations(range(1, 8)))
def test_the_newest_version_wins_in_every_order(order: list[int]) -> None:
    store = Store()
    for version in order:
        store.put(Kind.RUN, run(version=version, phase=str(version)))
    assert phase(store) == "7"


def test_digests_by_reference_are_the_same_tuple_until_one_of_them_changes() -> None:
    store = Store()
    store.put(Kind.RUN, run(version=1))
    store.put(Kind.RUN, run("second", "u2", version=2))
    first = store.digests(Kind.RUN, "ml", "policy", "invoices")
    assert {name for name, _ in first} == {"first", "second"}
    store.put(Kind.RUN, run(version=3))
    assert store.digests(Kind.RUN, "ml", "policy", "invoices") is first
    store.put(Kind.RUN, run(version=4, phase="Failed"))
    assert store.digests(Kind.RUN, "ml", "policy", "invoices") is not first
    store.remove(Kind.RUN, "ml", "first", "u1")
    assert [name for name, _ in store.digests(Kind.RUN, "ml", "policy", "invoices")] == ["second"]
    assert store.digests(Kind.RUN, "ml", "policy", "nobody") == ()


def test_a_list_that_is_newer_than_what_is_known_and_shows_less_is_of_another_past() -> None:
    store = Store()
    store.put(Kind.RUN, run(version=10))
    assert store.is_older(Kind.RUN, run(version=9), 12, store.burials())
    assert not store.is_older(Kind.RUN, run(version=9), 9, store.burials())  # the event came while it was listed
    assert not store.is_older(Kind.RUN, run(version=10), 12, store.burials())
    assert store.is_older(Kind.RUN, run(uid="earlier", version=9), 12, store.burials())


def test_a_list_that_shows_what_had_left_before_it_began_is_of_another_past() -> None:
    store = Store()
    store.put(Kind.RUN, run(version=10))
    began = store.burials()
    store.remove(Kind.RUN, "ml", "first", "u1")
    assert not store.is_older(Kind.RUN, run(version=10), 12, began)
    assert store.is_older(Kind.RUN, run(version=10), 12, store.burials())
    store.put(Kind.JOB, job(version=1))
    store.remove(Kind.JOB, "ml", "j", "j1", 5)
    assert store.is_older(Kind.JOB, job(version=1), 6, 0)
    assert not store.is_older(Kind.JOB, job(version=6), 6, 0)  # it has its label again


def test_a_namespace_that_is_forgotten_is_forgotten_whole_and_no_other() -> None:
    store = Store()
    changes: list[Change] = []
    other = run(name="other", uid="u9", version=20)
    other["metadata"]["namespace"] = "elsewhere"
    for obj in (run(version=10), other):
        store.put(Kind.RUN, obj)
    store.put(Kind.JOB, job(version=30))
    store.remove(Kind.JOB, "ml", "j", "j1")
    store.listen(changes.append)
    assert store.forget("ml") == ["u1"]
    assert (changes, store.newest(Kind.RUN, "ml"), store.newest(Kind.RUN, None)) == ([], 0, 20)
    assert store.all(Kind.RUN, "ml") == ()
    assert store.find(Kind.RUN, "ml", "policy", "invoices") == ()
    assert store.get(Kind.RUN, "elsewhere", "other") is not None
    assert store.put(Kind.RUN, run(version=3))  # whatever its age, and whether it had left
    assert store.put(Kind.JOB, job(version=2))


def rejected(name: str = "first", uid: str = "u1", version: int = 1) -> dict[str, Any]:
    made = run(name, uid, version, "Promoted")
    made["status"] |= {"model": "m", "candidate": {"sha256": "a" * 64}, "evidence": {"digest": "e1"}}
    made["spec"]["review"] = {"decision": "Reject", "evidence": "e1", "by": "ann"}
    return made


def heard(store: Store) -> list[str]:
    return sorted(name for name, _ in store.digests(Kind.RUN, "ml", "rejected", "m"))


@pytest.mark.row("R207")
def test_what_a_run_rejected_is_heard_by_who_looks_when_it_is_gone() -> None:
    """Events come one by one, and a policy looks when it gets to it: the run may be deleted by then."""
    store = Store()
    store.put(Kind.RUN, rejected())
    store.put(Kind.RUN, run("second", "u2", version=2))
    there = dict(store.digests(Kind.RUN, "ml", "rejected", "m"))
    store.remove(Kind.RUN, "ml", "first", "u1", version=3)
    store.remove(Kind.RUN, "ml", "second", "u2", version=4)
    assert dict(store.digests(Kind.RUN, "ml", "rejected", "m")) == there
    assert store.digests(Kind.RUN, "ml", "policy", "invoices") == (), "it speaks for nothing else"
    assert (store.find(Kind.RUN, "ml", "rejected", "m"), store.all(Kind.RUN, "ml")) == ((), ())


class Nothing:
    """An API server that has nothing any more."""

    async def pages(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str], limit: int | None = None
    ) -> AsyncIterator[tuple[Sequence[Object], int]]:
        yield (), 9


@pytest.mark.row("R207")
def test_what_is_gone_is_heard_however_many_lists_come() -> None:
    """A policy may not get to write it down for long: its status is refused, or the operator fails on it."""
    store = Store()
    store.put(Kind.RUN, rejected())
    for _ in range(3):
        asyncio.run(resync(Nothing(), store, "ml"))
        assert heard(store) == ["first"]


@pytest.mark.row("R207")
def test_who_takes_the_place_of_what_is_gone_speaks_beside_it_and_who_comes_back_for_itself() -> None:
    store = Store()
    store.put(Kind.RUN, rejected())
    store.put(Kind.RUN, run("first", "u2", version=2))
    assert heard(store) == ["first"], "replaced by another of its name"
    store.remove(Kind.RUN, "ml", "first", "u2")
    store.put(Kind.RUN, rejected(version=3))
    assert heard(store) == ["first"]
    store.put(Kind.RUN, run(version=4))
    assert heard(store) == []
    store.put(Kind.RUN, rejected(version=5))
    store.remove(Kind.RUN, "ml", "first", "u1", version=6)
    store.forget("ml")
    assert heard(store) == []


@pytest.mark.row("R207")
def test_only_the_newest_of_what_is_gone_are_heard() -> None:
    store = Store()
    for number in range(1, 301):
        store.put(Kind.RUN, rejected(f"r{number:03}", f"u{number}", number))
        store.remove(Kind.RUN, "ml", f"r{number:03}", f"u{number}", number)
    assert heard(store) == [f"r{number:03}" for number in range(45, 301)]


@pytest.mark.row("R240")
@pytest.mark.parametrize("known", [run(version=1), rejected(version=1)], ids=["said nothing yet", "said it before"])
@pytest.mark.parametrize("left", [None, 9, "replaced"], ids=["read past the cache", "by a list", "by another"])
def test_a_no_that_comes_late_is_heard_when_its_run_is_known_to_be_gone(known: Object, left: int | str | None) -> None:
    """A watch begins anew every few minutes, and a read or a list may tell meanwhile that the run is gone."""
    store = Store()
    store.put(Kind.RUN, known)
    if left == "replaced":
        store.put(Kind.RUN, run("first", "u2", version=9))
    else:
        store.remove(Kind.RUN, "ml", "first", "u1", left if isinstance(left, int) else None)
    changes: list[Change] = []
    store.listen(changes.append)
    there = store.get(Kind.RUN, "ml", "first")
    assert not store.put(Kind.RUN, rejected(version=5))
    store.remove(Kind.RUN, "ml", "first", "u1", version=6)
    assert heard(store) == ["first"]
    assert store.get(Kind.RUN, "ml", "first") == there, "it does not come back"
    anew = [c for c in changes if is_rejected_anew(c.before and c.before.digest, c.after and c.after.digest)]
    assert len(anew) == (0 if known["spec"].get("review") else 1), "and wakes who has to know"


@pytest.mark.row("R240")
def test_what_comes_late_unsays_nothing_and_speaks_for_nothing_else() -> None:
    store = Store()
    store.put(Kind.RUN, rejected(version=5))
    store.remove(Kind.RUN, "ml", "first", "u1")
    for late in (run(version=4), run(version=6), rejected(version=7)):
        assert not store.put(Kind.RUN, late)
        assert heard(store) == ["first"]
    assert store.digests(Kind.RUN, "ml", "policy", "invoices") == ()
    assert (store.find(Kind.RUN, "ml", "rejected", "m"), store.all(Kind.RUN, "ml")) == ((), ())
