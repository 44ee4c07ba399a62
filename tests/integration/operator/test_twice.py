"""What is asked twice on a real API server: a rollback's file applied again, and a policy made anew in a flight."""

import pytest

from house.api_server import Object
from house.following import manifests
from simulation.stories import promotion, run

from .node import ScriptedNode
from .test_restored import API, _without_status, ended, hold, waits, went_back
from .test_stories import base_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane
BACK = promotion("back", "base_v1", **{"from": "ft_v1.1", "reason": "amounts are read wrongly"})
KNOWINGLY = {"checks": ["TakenBack"], "reason": "mended"}


def apply_again(space: Space, manifest: Object) -> str:
    """Delete a promotion, apply its file again, and return how it ends."""
    name = manifest["metadata"]["name"]
    space.delete("modelpromotions", name)
    eventually(lambda: space.get("modelpromotions", name) is None, what="it is gone")
    space.apply(manifest)
    return ended(space, name)


@pytest.mark.deep
@pytest.mark.row("D56")
@pytest.mark.row("P16")
def test_a_rollback_applied_twice_acts_once_and_a_release_lifts_no_later_hold(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    went_back(space)
    assert apply_again(space, BACK) == "Succeeded", "it is what serves"
    forward = promotion("forward", "ft_v1.1", **{"from": "base_v1", "despite": KNOWINGLY})
    space.apply(forward)
    assert ended(space, "forward") == "Succeeded"
    assert apply_again(space, BACK) == "Superseded"
    assert "none acts twice; live is 'ft_v1.1'" in waits(space, "back")
    assert space.served() == "ft_v1.1"
    (meant,) = manifests(waits(space, "back"))
    space.apply({**meant, "metadata": {"name": "meant"}})
    assert ended(space, "meant") == "Succeeded"
    assert apply_again(space, forward) == "Superseded", "a word of its day, which does not speak of the next one"
    assert space.served() == "base_v1"


@pytest.mark.deep
@pytest.mark.row("D23")
def test_a_policy_made_anew_in_a_flight_puts_nothing_live_and_says_the_way_out(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    base_live(space)
    node.broken.add("ft_v1.1")
    space.apply(run())
    eventually(lambda: space.served() == "ft_v1.1", seconds=90, what="the flip")
    manifest = _without_status(space.there("finetunepolicies", "invoice-fields"))
    space.delete("finetunepolicies", "invoice-fields")
    eventually(lambda: space.get("finetunepolicies", "invoice-fields") is None, what="it is gone")
    space.apply({"apiVersion": API, "kind": "FineTunePolicy", **manifest})
    eventually(lambda: hold(space)[0] == "NotRolledOut", seconds=60, what="it is waited for")
    assert "live" not in space.policy_status()
    eventually(lambda: "'base_v1' served" in hold(space)[1], seconds=60, what="the way out is said")
    assert "go on once the hold is lifted if what they come from is live then" in hold(space)[1]
    # Not before: the flight is to be under way when its policy is made anew.
    space.patch("deployments", "invoice-detector", {"spec": {"progressDeadlineSeconds": 5}})
    (out, *_) = manifests(hold(space)[1])
    space.apply({**out, "metadata": {"name": "out"}})
    assert ended(space, "out") == "Succeeded"
    # The run's promotion, which nothing recorded as ended, waited for the hold, as that said: it flies, and fails.
    eventually(lambda: hold(space)[0] == "RolledBack", seconds=120, what="it is taken back")
    assert (space.served(), space.policy_status()["live"]["version"]) == ("base_v1", "base_v1")
    assert [entry["version"] for entry in space.policy_status()["quarantined"]] == ["ft_v1.1"]
