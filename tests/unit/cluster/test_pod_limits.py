"""A pod at its limits: each word of its status counts by itself, and what is missing is no error."""

from typing import Any

import pytest

from finetune_operator.cluster.pod import Pod, last_words, moment_of, state
from finetune_operator.cluster.pod_end import failure
from finetune_operator.decide.views import Span

from .test_pods import AT, DISRUPTED, a_pod, container, ran, second, true, view

KILLED = container("trainer", **ran(137))
UP = container("trainer", running={"startedAt": AT.format(5)})


def why(made: dict[str, Any]) -> tuple[str, bool, str]:
    """Return reason, whether it counts, and the words."""
    said = failure(Pod(made))
    assert said is not None
    return said.problem.reason, said.counted, said.problem.message


@pytest.mark.row("R44")
def test_a_trainer_that_came_to_its_end_was_not_evicted_whatever_its_pod_says() -> None:
    assert failure(Pod(a_pod("Failed", container("trainer", **ran(0)), reason="Evicted"))) is None


@pytest.mark.row("R44")
def test_exit_code_1_of_an_evicted_pod_is_the_eviction() -> None:
    assert why(a_pod("Failed", container("trainer", **ran(1)), reason="Evicted"))[0] == "Evicted"


@pytest.mark.row("R40")
def test_why_a_trainer_ended_is_said_while_its_pod_runs_on() -> None:
    proxy = container("istio-proxy", running={})
    assert why(a_pod("Running", proxy, container("trainer", **ran(137, "OOMKilled"))))[0] == "OutOfMemory"
    assert view(a_pod("Running", proxy, KILLED)).spoke
    assert failure(Pod(a_pod("Running", proxy, UP))) is None


@pytest.mark.row("R44")
def test_the_memory_of_a_neighbour_is_not_the_trainers() -> None:
    beside = {"name": "proxy", "resources": {"limits": {"memory": "1Gi"}}}
    for trainer, limit in ({}, "that of its node"), ({"limits": {"memory": "8Gi"}}, "8Gi"):
        spec = {"containers": [beside, {"name": "trainer", "resources": trainer}]}
        made = a_pod("Failed", container("trainer", **ran(137, "OOMKilled")), spec=spec)
        assert f"limit is {limit})" in why(made)[2]


@pytest.mark.row("R44")
@pytest.mark.parametrize("spec", [{"containers": None}, {"containers": [{"name": "trainer"}]}])
def test_a_trainer_without_a_limit_is_killed_by_its_node(spec: dict[str, Any]) -> None:
    assert "that of its node" in why(a_pod("Failed", container("trainer", **ran(137, "OOMKilled")), spec=spec))[2]


@pytest.mark.row("R44")
def test_a_node_that_refuses_a_pod_has_not_run_it() -> None:
    rejected = a_pod("Failed", reason="NodeAffinity")
    assert why(rejected) == ("RejectedByNode", False, "node gpu-1 did not take pod p (NodeAffinity)")
    assert why(a_pod("Failed", spec={"nodeName": ""}, reason="OutOfcpu"))[2].startswith("its node did not take")
    assert why(a_pod("Failed", KILLED, reason="NodeAffinity"))[:2] == ("PodFailed", True), "it ran, so it counts"


@pytest.mark.row("R44")
def test_a_node_short_of_something_disrupts_though_no_condition_says_so() -> None:
    words = "The node was low on resource: memory."
    assert why(a_pod("Failed", KILLED, reason="Evicted", message=words))[:2] == ("Disrupted", False)


@pytest.mark.row("R44")
@pytest.mark.parametrize(
    ("target", "reason", "says"),
    [
        ({"message": "draining", "reason": "Drain"}, "Shutdown", "draining"),
        ({"reason": "Drain"}, "Shutdown", "Shutdown"),
        ({"reason": "Drain"}, "", "Drain"),
        ({}, "", "its node ended it"),
    ],
)
def test_who_disrupted_a_pod_is_said_by_the_best_word_there_is(target: Any, reason: str, says: str) -> None:
    made = a_pod("Failed", KILLED, reason=reason, conditions=[true("DisruptionTarget", 8, **target)])
    assert why(made) == ("Disrupted", False, f"pod p was disrupted: {says}")


@pytest.mark.row("R44")
def test_of_the_init_containers_the_one_that_failed_is_named_and_no_sidecar() -> None:
    spec = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}, {"name": "set-up"}, {"name": "token"}]}
    ends = [container("proxy", **ran(143)), container("set-up", **ran(0)), container("token", **ran(3))]
    nothing: dict[str, Any] = {"name": "later"}
    made = a_pod("Failed", spec=spec, initContainerStatuses=[nothing, *ends])
    assert why(made)[0] == "InitContainerFailed"
    assert "'token' of pod p failed with exit code 3" in why(made)[2]


@pytest.mark.row("R44")
@pytest.mark.parametrize("reason", ["StartError", "ContainerCannotRun", "RunContainerError", "CreateContainerError"])
def test_a_trainer_that_could_not_be_started_is_the_templates_fault(reason: str) -> None:
    assert why(a_pod("Failed", container("trainer", **ran(128, reason))))[:2] == ("ContainerConfig", True)


@pytest.mark.row("R44")
@pytest.mark.parametrize(
    "reason",
    ["UnexpectedAdmissionError", "NodeAffinity", "NodeName", "NodePorts", "TopologyAffinityError", "InvalidNodeInfo"],
)
def test_every_refusal_of_a_kubelet_is_known(reason: str) -> None:
    assert why(a_pod("Failed", reason=reason))[:2] == ("RejectedByNode", False)


@pytest.mark.row("R320")
@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("TaintToleration", "Pod was rejected: Predicate TaintToleration failed: node(s) had taints"),
        ("VolumeAttachmentLimitExceeded", "Node has reached its volume attachment limit"),
        ("Evicted", "Pod was rejected: The node had condition: [DiskPressure]. "),
    ],
)
def test_a_node_that_turned_while_a_pod_was_on_its_way_to_it_counts_against_nobody(reason: str, message: str) -> None:
    said = why(a_pod("Failed", reason=reason, message=message))
    assert said[:2] == ("RejectedByNode", False)
    assert message.strip() in said[2]


@pytest.mark.row("R320")
@pytest.mark.parametrize("words", ["Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.", ""])
def test_what_an_init_container_wrote_too_much_is_no_refusal(words: str) -> None:
    assert why(a_pod("Failed", reason="Evicted", message=words))[:2] == ("Evicted", True)


@pytest.mark.row("R321")
def test_a_trainer_that_was_gone_after_its_node_was_booted_did_not_fail() -> None:
    """What containerd says of a container that ran when the machine went down: 255, for want of an exit code."""
    rebooted = a_pod("Failed", container("trainer", **ran(255, "Unknown")))
    assert why(rebooted)[:2] == ("Disrupted", False)
    assert "exit code 255" in why(rebooted)[2]
    assert failure(Pod(a_pod("Failed", container("trainer", **ran(255, "Error"))))) is None, "its own exit code"
    before = container("trainer", waiting={"reason": "PodInitializing"})
    fetching = a_pod("Failed", before, initContainerStatuses=[container("token", **ran(255, "Unknown"))])
    assert why(fetching)[:2] == ("Disrupted", False), "nor did what runs before it"


@pytest.mark.row("R44")
@pytest.mark.parametrize("reason", ["Preempting", "NodeShutdown", "Shutdown", "Terminated", "NodeLost"])
def test_every_end_for_the_nodes_own_sake_is_known(reason: str) -> None:
    assert why(a_pod("Failed", KILLED, reason=reason))[:2] == ("Disrupted", False)


@pytest.mark.row("R72")
@pytest.mark.parametrize(
    ("generation", "deleted", "edited"),
    [(None, False, False), (1, False, False), (2, False, True), (2, True, False), (3, True, True)],
)
def test_a_deletion_counts_once_and_an_edit_beside_it_shows(generation: Any, deleted: bool, edited: bool) -> None:
    meta = {"generation": generation, **({"deletionTimestamp": AT.format(9)} if deleted else {})}
    assert Pod(a_pod("Running", UP, meta=meta)).was_edited is edited


@pytest.mark.row("R40")
def test_only_what_runs_beside_the_trainer_is_a_neighbour() -> None:
    proxy = container("istio-proxy", running={})
    assert Pod(a_pod("Running", UP, proxy)).has_neighbours
    assert not Pod(a_pod("Running", UP)).has_neighbours
    assert not Pod(a_pod("Failed", KILLED, proxy)).has_neighbours, "the kubelet's last word of a container may be old"


@pytest.mark.row("R40")
def test_a_sidecar_stays_by_its_restart_policy_alone() -> None:
    spec = {"initContainers": [{"name": "logs", "restartPolicy": "Always"}, {"name": "set-up"}]}
    made = a_pod("Running", spec=spec, initContainerStatuses=[container("logs"), container("set-up")])
    assert [(name, stays) for name, _, stays in Pod(made).init_containers()] == [("logs", True), ("set-up", False)]


@pytest.mark.row("R42")
@pytest.mark.parametrize(
    ("status", "node", "scheduled"),
    [
        ({}, "", False),
        ({}, "gpu-1", True),
        ({"containerStatuses": [UP]}, "", True),
        ({"containerStatuses": [], "initContainerStatuses": [container("set-up")]}, "", True),
        ({"conditions": [true("PodScheduled", 2)]}, "", True),
        ({"conditions": [{"type": "PodScheduled", "status": "False"}]}, "", False),
    ],
)
def test_a_pod_has_its_node_by_any_sign_of_it(status: dict[str, Any], node: str, scheduled: bool) -> None:
    made = a_pod("Pending", spec={"nodeName": node})
    made["status"] = {"phase": "Pending", **status}
    assert Pod(made).is_scheduled is scheduled


@pytest.mark.row("R46")
def test_a_trainer_that_its_pods_end_left_running_ended_when_the_pod_was_told_to() -> None:
    gone = {"deletionTimestamp": AT.format(40)}
    late = container("trainer", running={"startedAt": AT.format(20)})
    cases: list[tuple[dict[str, Any], Span]] = [
        (a_pod("Failed", UP, meta=gone, conditions=[DISRUPTED]), Span(second(5), second(40))),
        (a_pod("Failed", UP, conditions=[DISRUPTED]), Span(second(5), second(8))),
        (a_pod("Failed", UP, conditions=[{**DISRUPTED, "status": "False"}]), Span(second(5), second(5))),
        (a_pod("Failed", late, conditions=[DISRUPTED]), Span(second(20), second(20))),
    ]
    for made, span in cases:
        assert Pod(made).spans == (span,)
    assert Pod(a_pod("Running", UP, conditions=[DISRUPTED])).spans == (Span(second(5)),), "it still runs"


@pytest.mark.row("R46")
def test_a_pod_without_the_times_that_it_should_have_is_counted_by_those_it_has() -> None:
    timeless = a_pod("Failed", container("trainer", terminated={"exitCode": 1, "startedAt": AT.format(5)}))
    assert Pod(timeless).spans == (Span(second(5), second(5)),)
    unmade = a_pod("Failed", container("trainer", **ran(1)))
    del unmade["metadata"]["creationTimestamp"]
    assert Pod(unmade).spans == (Span(second(5), second(9)),)
    assert Pod(unmade).finished_at == second(9)


def test_what_is_no_state_and_no_time_is_none() -> None:
    assert state({"state": {"running": "yes"}}, "running") is None
    assert [moment_of(text) for text in (None, 5, "soon", "9999-01-01T00:00:00Z", AT.format(1))] == [
        None, None, None, None, second(1)
    ]  # fmt: skip
    assert last_words({}) == "exit code None: no message"
