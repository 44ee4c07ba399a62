"""A backup restored without statuses, and a policy made anew: what failed or was taken back stays so."""

import copy
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from house.api_server import ApiServer, Object
from house.planes import make_namespace
from local_cluster import ControlPlane
from simulation.stories import promotion, run

from .node import ScriptedNode
from .test_stories import base_live, taken_back, tuned_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane
DROPPED = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink")
API = "finetune-operator.io/v1alpha1"
BACKED_UP = {
    "podtemplates": ("v1", "PodTemplate"),
    "deployments": ("apps/v1", "Deployment"),
    "finetunepolicies": (API, "FineTunePolicy"),
    "finetuneruns": (API, "FineTuneRun"),
    "modelpromotions": (API, "ModelPromotion"),
    "modelversions": (API, "ModelVersion"),
}
"""In the order in which a restore makes them: versions come last."""


class Restore:
    """Makes a backup's objects in a new namespace, without their statuses, and runs their pods."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.stack = ExitStack()

    def __call__(self, old: Space, *, broken: str = "") -> Space:
        new = Space(old.server, f"{old.namespace}-restored")
        make_namespace(old.server, new.namespace)
        for resource, (version, kind) in BACKED_UP.items():
            for item in old.all(resource):
                answer = new.server.request(
                    "POST",
                    f"{new.path(resource)}?fieldManager=velero-server",
                    _without_status(item) | {"apiVersion": version, "kind": kind},
                )
                assert answer.accepted, answer.message
        node = ScriptedNode(ApiServer(self._plane), new.namespace)
        node.broken |= {broken}
        self.stack.enter_context(node)
        return new


def _without_status(item: Object) -> Object:
    kept = {key: copy.deepcopy(value) for key, value in item.items() if key != "status"}
    kept["metadata"] = {k: v for k, v in kept["metadata"].items() if k not in (*DROPPED, "namespace")}
    return kept


@pytest.fixture
def restore(plane: ControlPlane) -> Iterator[Restore]:
    restoring = Restore(plane)
    with restoring.stack:
        yield restoring


def hold(space: Space) -> tuple[str, str]:
    held = space.policy_status().get("hold") or {}
    return str(held.get("reason", "")), str(held.get("message", ""))


def follow(space: Space, message: str, name: str) -> None:
    """Do as a hold says: make the promotion in its first command, under a name of ours."""
    manifest: Object = json.loads(message.split("echo '")[1].partition("'")[0])
    manifest["metadata"] = {"name": name}
    space.apply(manifest)


def ended(space: Space, name: str) -> str:
    return eventually(lambda: space.phase(name, "modelpromotions") in ENDED and space.phase(name, "modelpromotions"),
                      seconds=60, what=f"{name} ends") or ""  # fmt: skip


ENDED = ("Succeeded", "RolledBack", "Failed", "Superseded")


def record(space: Space, version: str) -> dict[str, Any]:
    """Return what a version carries of its service on the Deployment."""
    metadata = space.there("modelversions", f"invoice-fields-{version}")["metadata"]
    text = (metadata.get("annotations") or {}).get("finetune-operator.io/service-record", "{}")
    service: dict[str, Any] = json.loads(text).get("deployments", {}).get("invoice-detector", {})
    return service


def went_back(space: Space) -> None:
    tuned_live(space)
    space.apply(promotion("back", "base_v1", **{"from": "ft_v1.1", "reason": "amounts are read wrongly"}))
    assert ended(space, "back") == "Succeeded"
    eventually(lambda: record(space, "ft-v1.1").get("takenBack"), what="the version says so")


@pytest.mark.deep
@pytest.mark.row("D37")
@pytest.mark.row("D41")
@pytest.mark.row("P10")
def test_what_was_taken_back_stays_so_through_a_restore_and_the_way_out_of_the_hold(
    operator: Operator, space: Space, node: ScriptedNode, restore: Restore
) -> None:
    went_back(space)
    new = restore(space)
    eventually(lambda: hold(new)[0] == "Adopted", seconds=60, what="what is rolled out is adopted and held")
    assert (new.policy_status()["live"]["version"], new.served()) == ("base_v1", "base_v1")
    assert [entry["by"] for entry in new.policy_status()["takenBack"]] == ["back"]
    for name in ("first-base", "back"):
        assert ended(new, name) == "Succeeded", "what has happened is not asked for again"
    follow(new, hold(new)[1], "keep")
    assert ended(new, "keep") == "Succeeded"
    assert "hold" not in new.policy_status()
    new.apply(promotion("unsaid", "ft_v1.1", **{"from": "base_v1"}))
    assert ended(new, "unsaid") == "Failed"
    message = new.there("modelpromotions", "unsaid")["status"]["message"]
    assert "by promotion 'back'" in message
    assert new.served() == "base_v1"
    follow(new, message, "said")
    eventually(lambda: "velero-server" in waits(new, "said"), what="the keys belong to who restored them")
    let_go(new, waits(new, "said"))
    assert ended(new, "said") == "Succeeded"
    assert new.served() == "ft_v1.1"
    eventually(lambda: "takenBack" not in record(new, "ft-v1.1"), what="the record follows")


@pytest.mark.deep
@pytest.mark.row("D37")
def test_what_failed_in_production_is_quarantined_in_the_restored_cluster(
    operator: Operator, space: Space, node: ScriptedNode, restore: Restore
) -> None:
    node.broken.add("ft_v1.1")
    taken_back(space)
    eventually(lambda: record(space, "ft-v1.1").get("quarantined"), what="the version says so")
    new = restore(space, broken="ft_v1.1")
    eventually(lambda: hold(new)[0] == "Adopted", seconds=60, what="what is rolled out is adopted and held")
    assert [entry["version"] for entry in new.policy_status()["quarantined"]] == ["ft_v1.1"]
    follow(new, hold(new)[1], "keep")
    assert ended(new, "keep") == "Succeeded"
    new.apply(promotion("again", "ft_v1.1", **{"from": "base_v1"}))
    assert ended(new, "again") == "Failed"
    assert new.served() == "base_v1"


@pytest.mark.deep
@pytest.mark.row("D39")
def test_a_version_whose_pods_never_get_ready_is_not_live_after_a_restore(
    operator: Operator, space: Space, node: ScriptedNode, restore: Restore
) -> None:
    tuned_live(space)
    new = restore(space, broken="ft_v1.1")
    eventually(lambda: hold(new)[0] == "NotRolledOut", seconds=60, what="it is waited for")
    eventually(lambda: "'base_v1' served" in hold(new)[1], seconds=60, what="the way out, once the base is verified")
    conditions = {c["type"]: (c["status"], c["reason"]) for c in new.policy_status()["conditions"]}
    assert (conditions["Ready"], conditions["InSync"]) == (("False", "NotRolledOut"), ("False", "NotRolledOut"))
    assert "live" not in new.policy_status()
    assert new.phase("invoice-fields-ft-v1.1", "modelversions") != "Live"
    assert new.phase("first") != "Promoted"
    said = hold(new)[1]
    let_go(new, said)
    eventually(lambda: hold(new)[0] == "Recalled", what="nothing is served, and nothing begins by itself")
    follow(new, said, "base")
    assert ended(new, "base") == "Succeeded"
    assert (new.policy_status()["live"]["version"], new.served()) == ("base_v1", "base_v1")


def waits(space: Space, name: str) -> str:
    """Return what a promotion waits for."""
    return str(space.there("modelpromotions", name)["status"].get("message", ""))


def let_go(space: Space, message: str) -> None:
    """Run the patch that a message has as a command."""
    patch = json.loads(message.partition("--type=merge -p '")[2].partition("'")[0])
    assert space.patch("deployments", "invoice-detector?fieldManager=kubectl-patch", patch).accepted


@pytest.mark.deep
@pytest.mark.row("D23")
def test_a_policy_made_anew_knows_again_what_was_and_holds_until_somebody_says_so(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    went_back(space)
    manifest = _without_status(space.there("finetunepolicies", "invoice-fields"))
    space.delete("finetunepolicies", "invoice-fields")
    eventually(lambda: space.get("finetunepolicies", "invoice-fields") is None, what="it is gone")
    space.apply({"apiVersion": API, "kind": "FineTunePolicy", **manifest})
    eventually(lambda: hold(space)[0] == "Adopted", seconds=60, what="it adopts and holds")
    status = space.policy_status()
    assert [entry["version"] for entry in status["takenBack"]] == ["ft_v1.1"]
    assert [entry["version"] for entry in status["lastGood"]] == ["base_v1", "ft_v1.1"]
    assert space.served() == "base_v1"


@pytest.mark.row("V10")
@pytest.mark.row("P9")
def test_records_are_written_once_and_mended(operator: Operator, space: Space, node: ScriptedNode) -> None:
    base_live(space)
    eventually(lambda: record(space, "base-v1").get("good"), what="the base says that it was good")
    kind = ("modelpromotions", "first-base")
    assert ended(space, "first-base") == "Succeeded"
    outcome = space.there(*kind)["metadata"]["annotations"]["finetune-operator.io/outcome"]
    assert json.loads(outcome)["outcome"] == "Succeeded"
    gone = {"metadata": {"annotations": {"finetune-operator.io/outcome": None}}}
    assert space.patch(*kind, gone).accepted
    eventually(
        lambda: (
            (space.there(*kind)["metadata"].get("annotations") or {}).get("finetune-operator.io/outcome") == outcome
        ),
        what="the same outcome stands there again",
    )


@pytest.mark.row("D40")
def test_a_restored_repository_puts_nothing_live_by_its_first_promotion(
    operator: Operator, space: Space, node: ScriptedNode, restore: Restore
) -> None:
    """The Deployment comes from Git, without keys; the promotion comes from Git, without how it ended."""
    base_live(space)
    eventually(lambda: record(space, "base-v1").get("good"), what="the base says that it was good")
    without = {"metadata": {"annotations": {"finetune-operator.io/outcome": None}}}
    operator.kill()
    assert space.patch("modelpromotions", "first-base", without).accepted
    nothing = {"spec": {"template": {"metadata": {"annotations": None}}}, "metadata": {"annotations": None}}
    assert space.patch("deployments", "invoice-detector", nothing).accepted
    new = restore(space)
    operator.start()
    eventually(lambda: hold(new)[0] == "Recalled", seconds=60, what="it is not new, and holds")
    eventually(lambda: new.phase("first-base", "modelpromotions") == "Pending", what="it waits")
    assert "'first-base' (nothing -> base_v1)" in eventually(
        lambda: hold(new)[1] if "first-base" in hold(new)[1] else "", seconds=60, what="it is named"
    )
    assert new.served() is None


def test_the_scripts_of_these_tests_leave_no_status() -> None:
    """The restore is what Velero does by default."""
    made = _without_status(run() | {"status": {"phase": "Promoted"}})
    assert "status" not in made
