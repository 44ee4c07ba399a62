"""What the simulation believes of the API server is what the API server does: one table, played on both."""

import asyncio
import itertools
from collections.abc import Awaitable
from typing import Any

import pytest

from finetune_operator.cluster.errors import ClusterError, FieldConflict
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from local_cluster import ControlPlane
from simulation.stories import run, stage

from .sides import Play, Side, play_real, play_simulated

pytestmark = pytest.mark.control_plane
KEY = "finetune-operator.io/epoch"
VERSION = "finetune-operator.io/model-version"
DEPLOYMENT = "invoice-detector"
POLICY, RUN, CONFIG_MAP = Kind.POLICY, Kind.RUN, Kind.CONFIG_MAP
_numbers = itertools.count(1)


# What the plays are made of.


async def remove(side: Side, kind: Kind, made: Object) -> None:
    """Delete an object and wait until it is gone: what it owns goes first, and that takes its time."""
    name = made["metadata"]["name"]
    await side.cluster.delete(kind, side.namespace, name, made["metadata"]["uid"])
    for _ in range(1200):
        if await side.cluster.get(kind, side.namespace, name, fresh=True) is None:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} is still there")


async def refusal(work: Awaitable[object]) -> str:
    """Return the name of the error that a request meets, with the manager of a field conflict; `ok` without one."""
    try:
        await work
    except FieldConflict as error:
        return f"FieldConflict with {error.manager}"
    except ClusterError as error:
        return type(error).__name__
    return "ok"


async def make(side: Side, kind: Kind, manifest: Object) -> Object:
    """Create in the side's namespace."""
    return await side.cluster.create(
        kind, side.namespace, {**manifest, "metadata": {**manifest["metadata"], "namespace": side.namespace}}
    )


async def make_run(side: Side, name: str = "first") -> Object:
    """Create the simplest run."""
    return await make(side, RUN, run(name))


async def make_deployment(side: Side, **annotations: str) -> Object:
    """Create a Deployment that its controller leaves alone: paused, without replicas."""
    manifest = next(manifest for kind, manifest in stage() if kind is Kind.DEPLOYMENT)
    manifest["spec"] |= {"paused": True, "replicas": 0}
    manifest["metadata"]["annotations"] = {"team": "documents"}
    await make(side, Kind.DEPLOYMENT, manifest)
    if annotations:
        await side.foreign_edit(Kind.DEPLOYMENT, DEPLOYMENT, {"metadata": {"annotations": annotations}})
    return await side.settled(Kind.DEPLOYMENT, DEPLOYMENT)


def claim(item: Object, epoch: str | None = "1", version: str | None = None, **more: str) -> Object:
    """Return what is applied to a Deployment at the uid and resourceVersion of `item`."""
    meta = {name: item["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    annotations = ({KEY: epoch} if epoch else {}) | more
    manifest: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**meta, "annotations": annotations}}
    if version:
        manifest["spec"] = {"template": {"metadata": {"annotations": {VERSION: version}}}}
    return manifest


async def apply(side: Side, manifest: Object) -> Object:
    """Apply as the operator does."""
    return await side.cluster.apply(Kind.DEPLOYMENT, side.namespace, DEPLOYMENT, manifest)


async def patch(side: Side, item: Object, status: Object) -> Object:
    """Patch the status of a run at the uid and resourceVersion of `item`."""
    meta = item["metadata"]
    return await side.cluster.patch_status(
        RUN, side.namespace, meta["name"], meta["uid"], meta["resourceVersion"], {"status": status}
    )


async def annotate(side: Side, item: Object, text: str) -> Object:
    """Annotate a run at the uid and resourceVersion of `item`."""
    meta = item["metadata"]
    return await side.cluster.annotate(
        RUN, side.namespace, meta["name"], meta["uid"], meta["resourceVersion"], {KEY: text}
    )


def annotated(item: Object) -> dict[str, Any]:
    """Return a Deployment's annotations, its own and the pod template's, and who manages the operator's two."""
    template = item["spec"]["template"]["metadata"].get("annotations") or {}
    own = item["metadata"].get("annotations") or {}
    return {"own": own, "template": template, "managers": {"epoch": _managers(item, "metadata", "annotations", KEY)}}


def _managers(item: Object, *path: str) -> list[str]:
    managers = []
    for entry in item["metadata"].get("managedFields") or ():
        node = entry["fieldsV1"]
        for part in path:
            node = node.get(f"f:{part}") if node is not None else None
        if node is not None:
            managers.append(entry["manager"])
    return sorted(managers)


def generations(*items: Object) -> list[int]:
    """Return by how much each object's generation is above the first one's."""
    return [int(item["metadata"]["generation"]) - int(items[0]["metadata"]["generation"]) for item in items]


def moved(before: Object, after: Object) -> bool:
    """Tell whether the resourceVersion differs."""
    return bool(before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"])


# The plays.


async def create_twice(side: Side) -> object:
    await make_run(side)
    return await refusal(make_run(side))


async def status_is_dropped_on_create(side: Side) -> object:
    made = await make(side, RUN, {**run(), "status": {"phase": "Promoted"}})
    return made.get("status"), made["metadata"]["generation"]


async def missing_is_none(side: Side) -> object:
    return await side.cluster.get(RUN, side.namespace, "nothing")


async def status_at_a_stale_version(side: Side) -> object:
    made = await make_run(side)
    await patch(side, made, {"message": "a"})
    return await refusal(patch(side, made, {"message": "b"}))


async def status_at_another_uid(side: Side) -> object:
    """The resourceVersion alone counts: no two objects share one, so an object made anew is refused by it."""
    made = await make_run(side)
    forged = {"metadata": {**made["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    at_current = await refusal(patch(side, forged, {"message": "a"}))
    await remove(side, RUN, made)
    await make_run(side)
    return at_current, await refusal(patch(side, made, {"message": "b"}))


async def annotation_at_a_stale_version(side: Side) -> object:
    made = await make_run(side)
    await patch(side, made, {"message": "a"})
    return await refusal(annotate(side, made, "1"))


async def annotation_at_another_uid(side: Side) -> object:
    made = await make_run(side)
    forged = {"metadata": {**made["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    return await refusal(annotate(side, forged, "1"))


async def annotation_of_a_missing_object(side: Side) -> object:
    made = await make_run(side)
    await remove(side, RUN, made)
    return await refusal(annotate(side, made, "1"))


async def annotations_are_merged(side: Side) -> object:
    """Beside those of others, without a new generation, and without a write where nothing changes."""
    made = await make(side, RUN, {**run(), "metadata": {"name": "first", "annotations": TEAM}})
    first = await annotate(side, made, "1")
    again = await annotate(side, first, "1")
    return first["metadata"]["annotations"], generations(made, first), moved(first, again)


async def status_of_a_missing_object(side: Side) -> object:
    made = await make_run(side)
    await remove(side, RUN, made)
    return await refusal(patch(side, made, {"message": "a"}))


async def status_without_a_change(side: Side) -> object:
    first = await patch(side, await make_run(side), {"message": "a"})
    second = await patch(side, first, {"message": "a"})
    return moved(first, second)


async def status_is_merged(side: Side) -> object:
    first = await patch(side, await make_run(side), {"message": "a", "phase": "Pending", "version": "ft_v1.1"})
    second = await patch(side, first, {"phase": "Preparing", "version": None})
    return second["status"]


async def status_patch_leaves_the_spec(side: Side) -> object:
    made = await make_run(side)
    meta = made["metadata"]
    changed = await side.cluster.patch_status(
        RUN, side.namespace, "first", meta["uid"], meta["resourceVersion"],
        {"status": {"message": "a"}, "spec": {"policy": "other"}, "metadata": {"labels": {"a": "b"}}},
    )  # fmt: skip
    return changed["spec"]["policy"], changed["metadata"].get("labels")


async def generation_of_a_run(side: Side) -> object:
    made = await make_run(side)
    noted = await side.foreign_edit(RUN, "first", {"metadata": {"annotations": {"a": "b"}}})
    said = await patch(side, noted, {"message": "a"})
    suspended = await side.foreign_edit(RUN, "first", {"spec": {"suspend": True}})
    return generations(made, noted, said, suspended)


async def generation_of_a_deployment(side: Side) -> object:
    made = await make_deployment(side)
    epoch = await apply(side, claim(made, "1"))
    same = await apply(side, claim(await side.settled(Kind.DEPLOYMENT, DEPLOYMENT), "1"))
    flipped = await apply(side, claim(await side.settled(Kind.DEPLOYMENT, DEPLOYMENT), "2", "ft_v1.1"))
    labelled = await side.foreign_edit(Kind.DEPLOYMENT, DEPLOYMENT, {"metadata": {"labels": {"a": "b"}}})
    return generations(made, epoch, same, flipped, labelled)


async def apply_claims_and_keeps(side: Side) -> object:
    return annotated(await apply(side, claim(await make_deployment(side), "1", "ft_v1.1")))


async def apply_at_a_stale_version(side: Side) -> object:
    made = await make_deployment(side)
    await side.foreign_edit(Kind.DEPLOYMENT, DEPLOYMENT, {"metadata": {"labels": {"a": "b"}}})
    return await refusal(apply(side, claim(made)))


async def apply_at_another_uid(side: Side) -> object:
    made = await make_deployment(side)
    forged = {"metadata": {**made["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    return await refusal(apply(side, claim(forged)))


async def apply_to_a_missing_object(side: Side) -> object:
    made = await make_deployment(side)
    await remove(side, Kind.DEPLOYMENT, made)
    refused = await refusal(apply(side, claim(made)))
    return refused, await side.cluster.get(Kind.DEPLOYMENT, side.namespace, DEPLOYMENT)


async def apply_of_what_is_there(side: Side) -> object:
    await apply(side, claim(await make_deployment(side), "1"))
    first = await side.settled(Kind.DEPLOYMENT, DEPLOYMENT)
    return moved(first, await apply(side, claim(first, "1")))


async def apply_over_a_foreign_value(side: Side) -> object:
    made = await make_deployment(side, **{KEY: "7"})
    refused = await refusal(apply(side, claim(made, "8")))
    return refused, annotated(await side.settled(Kind.DEPLOYMENT, DEPLOYMENT))["own"]


async def apply_over_a_value_of_the_creator(side: Side) -> object:
    """Who creates an object manages its fields; what was not applied belongs to another, even under one name."""
    return await refusal(apply(side, claim(await make_deployment(side), "1", team="finetune")))


async def a_value_owned_by_two(side: Side) -> object:
    made = await make_deployment(side, **{KEY: "7"})
    shared = await apply(side, claim(made, "7"))
    shared = await side.settled(Kind.DEPLOYMENT, DEPLOYMENT)
    refused = await refusal(apply(side, claim(shared, "8")))
    released = await apply(side, claim(shared, None))
    return moved(made, shared), annotated(shared)["managers"], refused, annotated(released)


async def a_foreign_apply_beside_ours(side: Side) -> object:
    await apply(side, claim(await make_deployment(side), "7"))
    mine = await side.settled(Kind.DEPLOYMENT, DEPLOYMENT)
    shared = await side.foreign_apply(DEPLOYMENT, claim(mine, "7"))
    left = await side.foreign_apply(DEPLOYMENT, claim(await side.settled(Kind.DEPLOYMENT, DEPLOYMENT), None))
    return annotated(shared)["managers"], annotated(left)


async def releasing_what_is_ours(side: Side) -> object:
    await apply(side, claim(await make_deployment(side), "1", "ft_v1.1"))
    return annotated(await apply(side, claim(await side.settled(Kind.DEPLOYMENT, DEPLOYMENT), "2")))


async def a_foreign_edit_takes_the_key(side: Side) -> object:
    await apply(side, claim(await make_deployment(side), "1"))
    edited = await side.foreign_edit(Kind.DEPLOYMENT, DEPLOYMENT, {"metadata": {"annotations": {KEY: "9"}}})
    refused = await refusal(apply(side, claim(await side.settled(Kind.DEPLOYMENT, DEPLOYMENT), "2")))
    removed = await side.foreign_edit(Kind.DEPLOYMENT, DEPLOYMENT, {"metadata": {"annotations": {KEY: None}}})
    free = await refusal(apply(side, claim(await side.settled(Kind.DEPLOYMENT, DEPLOYMENT), "2")))
    return annotated(edited)["managers"], refused, annotated(removed)["managers"], free


async def delete_at_another_uid(side: Side) -> object:
    await make_run(side)
    refused = await refusal(side.cluster.delete(RUN, side.namespace, "first", "00000000-0000-0000-0000-000000000000"))
    return refused, await side.cluster.get(RUN, side.namespace, "first") is not None


async def delete_of_nothing(side: Side) -> object:
    return await refusal(side.cluster.delete(RUN, side.namespace, "nothing", "00000000-0000-0000-0000-000000000000"))


async def delete_takes_the_owned_along(side: Side) -> object:
    made = await make_run(side)
    owner = made["metadata"]
    reference = {"apiVersion": "finetune-operator.io/v1alpha1", "kind": "FineTuneRun", "name": "first"}
    for name, uid in (("owned", owner["uid"]), ("free", None)):
        references = [{**reference, "uid": uid, "controller": True}] if uid else []
        meta = {"name": name, "ownerReferences": references, "labels": {"set": "x"}}
        await make(side, CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    await remove(side, RUN, made)
    await side.garbage_collected()
    left = await side.cluster.list(CONFIG_MAP, side.namespace, {"set": "x"})
    return [item["metadata"]["name"] for item in left]


async def made_for_an_owner_that_is_gone(side: Side) -> object:
    made = await make_run(side)
    owner = made["metadata"]
    await remove(side, RUN, made)
    reference = {"apiVersion": "finetune-operator.io/v1alpha1", "kind": "FineTuneRun", "name": "first"}
    meta = {"name": "late", "ownerReferences": [{**reference, "uid": owner["uid"], "controller": True}]}
    await make(side, CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    await side.garbage_collected()
    return await side.cluster.get(CONFIG_MAP, side.namespace, "late")


async def selection_by_labels(side: Side) -> object:
    labels = {"c": {"a": "1", "b": "2"}, "a": {"a": "1", "b": "2"}, "b": {"a": "1"}, "d": {"a": "2", "b": "2"}}
    for name, marks in labels.items():
        await make(
            side, CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": marks}}
        )
    both = await side.cluster.list(CONFIG_MAP, side.namespace, {"a": "1", "b": "2"})
    one = await side.cluster.list(CONFIG_MAP, side.namespace, {"a": "1"})
    return [[item["metadata"]["name"] for item in items] for items in (both, one)]


TEAM = {"team": "documents"}
OPERATOR = "finetune-operator"

TABLE: list[tuple[Play, object]] = [
    (create_twice, "AlreadyExists"),
    (status_is_dropped_on_create, (None, 1)),
    (missing_is_none, None),
    (status_at_a_stale_version, "Conflict"),
    (status_at_another_uid, ("ok", "Conflict")),
    (status_of_a_missing_object, "NotFound"),
    (annotation_at_a_stale_version, "Conflict"),
    (annotation_at_another_uid, "Conflict"),
    (annotation_of_a_missing_object, "NotFound"),
    (annotations_are_merged, ({"team": "documents", "finetune-operator.io/epoch": "1"}, [0, 0], False)),
    (status_without_a_change, False),
    (status_is_merged, {"message": "a", "phase": "Preparing"}),
    (status_patch_leaves_the_spec, ("invoice-fields", None)),
    (generation_of_a_run, [0, 0, 0, 1]),
    (generation_of_a_deployment, [0, 1, 1, 2, 2]),
    (apply_claims_and_keeps,
        {"own": TEAM | {KEY: "1"}, "template": {VERSION: "ft_v1.1"}, "managers": {"epoch": [OPERATOR]}}),
    (apply_at_a_stale_version, "Conflict"),
    (apply_at_another_uid, "Conflict"),
    (apply_to_a_missing_object, ("Conflict", None)),
    (apply_of_what_is_there, False),
    (apply_over_a_foreign_value, ("FieldConflict with helm", TEAM | {KEY: "7"})),
    (apply_over_a_value_of_the_creator, "FieldConflict with finetune-operator"),
    (a_value_owned_by_two, (True, {"epoch": [OPERATOR, "helm"]}, "FieldConflict with helm",
        {"own": TEAM | {KEY: "7"}, "template": {}, "managers": {"epoch": ["helm"]}})),
    (a_foreign_apply_beside_ours, ({"epoch": [OPERATOR, "helm"]},
        {"own": TEAM | {KEY: "7"}, "template": {}, "managers": {"epoch": [OPERATOR]}})),
    (releasing_what_is_ours, {"own": TEAM | {KEY: "2"}, "template": {}, "managers": {"epoch": [OPERATOR]}}),
    (a_foreign_edit_takes_the_key, ({"epoch": ["helm"]}, "FieldConflict with helm", {"epoch": []}, "ok")),
    (delete_at_another_uid, ("ok", True)),
    (delete_of_nothing, "ok"),
    (delete_takes_the_owned_along, ["free"]),
    (made_for_an_owner_that_is_gone, None),
    (selection_by_labels, [["a", "c"], ["a", "b", "c"]]),
]  # fmt: skip


def _named(play: object) -> str | None:
    return getattr(play, "__name__", None)


@pytest.mark.parametrize(("play", "outcome"), TABLE, ids=_named)
def test_the_simulation_answers_so(play: Play, outcome: object) -> None:
    assert play_simulated(play) == outcome


@pytest.mark.parametrize(("play", "outcome"), TABLE, ids=_named)
def test_the_api_server_answers_so(play: Play, outcome: object, plane: ControlPlane) -> None:
    assert play_real(play, plane, f"semantics-{next(_numbers)}") == outcome
