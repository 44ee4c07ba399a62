"""The table of kinds: what a new entry brings about by itself."""

from dataclasses import replace
from typing import Any

import pytest

from finetune_operator.cluster.kinds import KINDS, RECONCILED, Kind, KindEntry, Reconciled, Wake
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.projection import project
from finetune_operator.cluster.rbac import rights
from finetune_operator.cluster.store import Change, Store
from finetune_operator.cluster.wakes import dependents
from finetune_operator.cluster.watched import watched
from finetune_operator.decide.decision import Decision
from house.crds import crds


def settled(view: Any) -> Decision[Any]:
    return Decision(view)


# Events are a kind that is neither watched nor reconciled: an entry of a new kind under that name.
PLANTED = {
    **KINDS,
    Kind.EVENT: KindEntry(
        verbs=frozenset(("get", "list", "watch")),
        subresources={"status": frozenset(("patch",))},
        watch_labels={"ours": "true"},
        references={"policy": lambda obj: (obj["spec"]["policy"],)},
        wakes=(Wake(kind=Kind.POLICY, find_by="name", value="policy"),),
        reconciled=Reconciled(name="Planted", decide=settled, condition="Accepted"),
    ),
}


def test_every_kind_has_an_entry() -> None:
    assert set(KINDS) == set(Kind)


def test_a_new_entry_is_watched_and_has_its_rights() -> None:
    assert watched(PLANTED)[Kind.EVENT] == {"ours": "true"}
    assert rights(PLANTED)["events.k8s.io", "events"] == {"get", "list", "watch"}
    assert rights(PLANTED)["events.k8s.io", "events/status"] == {"patch"}


def test_a_new_entry_wakes_itself_and_whom_it_names() -> None:
    planted = project(Kind.EVENT, {"metadata": {"uid": "u"}, "spec": {"policy": "invoice-fields"}}, PLANTED)
    woken = set(dependents(Change(Kind.EVENT, "ml", "one", None, planted), Store(), PLANTED))
    assert woken == {ObjectRef(Kind.EVENT, "ml", "one"), ObjectRef(Kind.POLICY, "ml", "invoice-fields")}


def test_what_is_not_reconciled_wakes_only_others() -> None:
    bare = {**PLANTED, Kind.EVENT: replace(PLANTED[Kind.EVENT], reconciled=None, wakes=())}
    assert not set(dependents(Change(Kind.EVENT, "ml", "one", None, project(Kind.EVENT, {}, KINDS)), Store(), bare))


@pytest.mark.parametrize("kind", RECONCILED, ids=lambda kind: str(kind.value[2]))
def test_the_final_phases_of_a_kind_are_those_of_its_crd(kind: Kind) -> None:
    entry = KINDS[kind].reconciled
    assert entry is not None
    (crd,) = (crd for crd in crds().values() if crd.plural == kind.value[2])
    assert entry.final_phases <= set(crd.status["properties"].get("phase", {}).get("enum", ()))
    assert entry.name == crd.kind
