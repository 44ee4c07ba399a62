"""The client against a real API server: every refusal arrives as the error that says what to do about it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from finetune_operator.cluster import errors
from finetune_operator.cluster.cache import CachedCluster, resync
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.kube import KubeCluster, connect
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.store import Store
from finetune_operator.decide.decision import ApplyKeys
from finetune_operator.manifests.served_keys import build_keys
from local_cluster import ControlPlane
from simulation.stories import run

from .world import Space, eventually

pytestmark = pytest.mark.control_plane
T = TypeVar("T")


class Caller:
    """Runs something against the API server, each time with a client of its own."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def __call__(self, body: Callable[[KubeCluster], Awaitable[T]]) -> T:
        return asyncio.run(self._once(body))

    async def _once(self, body: Callable[[KubeCluster], Awaitable[T]]) -> T:
        kube, _ = await connect(self._plane.kubeconfig, None, seconds=20, connections=4, observer=None)
        try:
            return await body(kube)
        finally:
            await kube.close()


@pytest.fixture
def call(plane: ControlPlane) -> Caller:
    return Caller(plane)


def created(space: Space) -> tuple[str, str]:
    """Return uid and resourceVersion of a run that nobody works on (its policy is another namespace's)."""
    made = space.apply({**run(), "spec": {"policy": "nobodys"}})["metadata"]
    eventually(lambda: space.there("finetuneruns", "first")["status"].get("conditions") or True)
    return made["uid"], made["resourceVersion"]


def test_a_missing_object_is_none_and_deleting_it_is_no_error(space: Space, call: Caller) -> None:
    assert call(lambda kube: kube.get(Kind.RUN, space.namespace, "nothing")) is None
    call(lambda kube: kube.delete(Kind.JOB, space.namespace, "nothing", "u"))
    assert call(lambda kube: kube.log_tail(space.namespace, "nothing", "trainer", 5, 100)) == ""


def test_a_taken_name_is_told_from_other_conflicts(space: Space, call: Caller) -> None:
    created(space)
    with pytest.raises(errors.AlreadyExists):
        call(lambda kube: kube.create(Kind.RUN, space.namespace, run()))


def test_an_invalid_object_is_refused_with_the_servers_words(space: Space, call: Caller) -> None:
    bad = {**run("bad"), "spec": {"policy": "x", "backoffLimit": -1}}
    with pytest.raises(errors.Invalid, match="backoffLimit"):
        call(lambda kube: kube.create(Kind.RUN, space.namespace, bad))


@pytest.mark.parametrize("since", ["it was written", "it was created again"])
def test_a_status_is_written_only_to_what_was_looked_at(space: Space, call: Caller, since: str) -> None:
    uid, version = created(space)
    if since == "it was written":
        assert space.patch("finetuneruns", "first/status", {"status": {"message": "hello"}}).accepted
    else:
        space.delete("finetuneruns", "first")
        assert created(space)[0] != uid
    patch = {"status": {"phase": "Training"}}
    with pytest.raises(errors.Conflict):
        call(lambda kube: kube.patch_status(Kind.RUN, space.namespace, "first", uid, version, patch))
    assert space.phase("first") != "Training"


def test_a_status_of_a_deleted_object_is_not_found(space: Space, call: Caller) -> None:
    uid, version = created(space)
    space.delete("finetuneruns", "first")
    with pytest.raises((errors.NotFound, errors.Conflict)):
        call(lambda kube: kube.patch_status(Kind.RUN, space.namespace, "first", uid, version, {"status": {}}))


def keys(space: Space, **more: str) -> Object:
    seen = space.there("deployments", "invoice-detector")["metadata"]
    action = ApplyKeys(
        "invoice-detector",
        more.get("uid", seen["uid"]),
        more.get("version", seen["resourceVersion"]),
        "base_v1",
        "file:///m",
        "ab",
        1,
    )
    return build_keys(action, space.namespace)


def apply(space: Space, manifest: Object) -> Callable[[KubeCluster], Awaitable[Object]]:
    return lambda kube: kube.apply(Kind.DEPLOYMENT, space.namespace, "invoice-detector", manifest)


def applied(space: Space, call: Caller, make: Callable[[], Object]) -> Object:
    """Apply at the version that is there now; the Deployment's own controller may write in between: then look again."""
    for _ in range(20):
        try:
            return call(apply(space, make()))
        except errors.FieldConflict:
            raise
        except errors.Conflict:
            continue
    raise AssertionError("the Deployment never stands still")


def test_an_apply_at_the_right_version_claims_our_keys_and_an_empty_one_lets_go(space: Space, call: Caller) -> None:
    def release() -> Object:
        seen = space.there("deployments", "invoice-detector")["metadata"]
        action = ApplyKeys("invoice-detector", seen["uid"], seen["resourceVersion"], None, None, None, 2)
        return build_keys(action, space.namespace)

    applied(space, call, lambda: keys(space))
    assert space.served() == "base_v1"
    applied(space, call, release)
    assert space.keys() == {}
    annotations = space.there("deployments", "invoice-detector")["metadata"]["annotations"]
    assert annotations["finetune-operator.io/epoch"] == "2"


@pytest.mark.parametrize("wrong", [{"uid": "00000000-0000-0000-0000-000000000000"}, {"version": "1"}])
def test_an_apply_from_a_stale_view_changes_nothing(space: Space, call: Caller, wrong: dict[str, str]) -> None:
    with pytest.raises(errors.Conflict):
        call(apply(space, keys(space, **wrong)))
    assert space.keys() == {}


def test_an_apply_creates_nothing(space: Space, call: Caller) -> None:
    manifest = keys(space)
    space.delete("deployments", "invoice-detector")
    eventually(lambda: space.get("deployments", "invoice-detector") is None)
    with pytest.raises((errors.Conflict, errors.NotFound)):
        call(apply(space, manifest))
    assert space.get("deployments", "invoice-detector") is None


def test_a_field_conflict_names_the_other_manager(space: Space, call: Caller) -> None:
    body: Object = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "invoice-detector"},
        "spec": {"template": {"metadata": {"annotations": {"finetune-operator.io/artifact-uri": "file:///git"}}}},
    }  # fmt: skip
    path = f"{space.path('deployments')}/invoice-detector?fieldManager=argocd-controller"
    assert space.server.request("PATCH", path, body, "application/apply-patch+yaml").accepted
    with pytest.raises(errors.FieldConflict) as refused:
        applied(space, call, lambda: keys(space))
    assert refused.value.manager == "argocd-controller"


def test_a_deletion_meant_for_another_uid_deletes_nothing(space: Space, call: Caller) -> None:
    created(space)
    call(lambda kube: kube.delete(Kind.RUN, space.namespace, "first", "00000000-0000-0000-0000-000000000000"))
    assert space.get("finetuneruns", "first") is not None


def test_a_resync_reads_every_page_and_sweeps_what_is_gone(
    space: Space, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune_operator.cluster.kube.PAGE", 2)
    for number in range(5):
        space.apply({**run(f"r-{number}"), "spec": {"policy": "nobodys"}})
    store = Store()
    call(lambda kube: resync(kube, store, space.namespace))
    assert {name for _, name, _ in store.projections(Kind.RUN)} == {f"r-{n}" for n in range(5)}
    assert {name for _, name, _ in store.projections(Kind.DEPLOYMENT)} == {"invoice-detector"}
    space.delete("finetuneruns", "r-3")
    assert call(lambda kube: resync(kube, store, space.namespace)).ghosts == 1
    assert store.get(Kind.RUN, space.namespace, "r-3") is None


def test_what_was_written_is_read_back_without_a_request(space: Space, call: Caller) -> None:
    async def body(kube: KubeCluster) -> Object | None:
        cluster = CachedCluster(kube, Store())
        await cluster.create(Kind.RUN, space.namespace, {**run("own"), "spec": {"policy": "nobodys"}})
        await kube.close()
        return await cluster.get(Kind.RUN, space.namespace, "own")

    made = call(body)
    assert made is not None
    assert made["spec"]["policy"] == "nobodys"


def test_an_api_server_that_is_away_is_unavailable(call: Caller, plane: ControlPlane) -> None:
    async def body(kube: KubeCluster) -> None:
        kube._client.configuration.host = "https://127.0.0.1:1"
        await kube.get(Kind.RUN, "default", "first")

    with pytest.raises(errors.Unavailable):
        call(body)
