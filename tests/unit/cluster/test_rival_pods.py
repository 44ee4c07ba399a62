"""Two pods of one Job: either may be anybody's, unless one of them was to be replaced."""

from typing import Any

import pytest

from finetune_operator.cluster.job_views import job_views, running_pod
from unit.cluster.test_pods import AT, DISRUPTED, a_pod, container, ran, view
from unit.cluster.test_views import job

SAID = ran(0, "Completed", "{}")
DELETED = {"deletionTimestamp": AT.format(7), "finalizers": ["batch.kubernetes.io/job-tracking"]}


def named(name: str, made: dict[str, Any]) -> dict[str, Any]:
    made["metadata"]["name"] = name
    return made


def doubt(first: dict[str, Any], second: dict[str, Any]) -> str | None:
    seen = view(named("a", first), named("b", second))
    return seen.doubt.reason if seen.doubt else None


@pytest.mark.row("R73")
@pytest.mark.parametrize("code", [0, 1, 143])
def test_two_pods_are_one_too_many_whatever_they_say(code: int) -> None:
    other = a_pod("Succeeded", container("trainer", **ran(code)))
    assert doubt(a_pod("Succeeded", container("trainer", **SAID)), other) == "AmbiguousPods"
    assert doubt(a_pod("Running", container("trainer", running={})), other) == "AmbiguousPods"


@pytest.mark.row("R73")
def test_a_disrupted_pod_and_its_replacement_are_no_rivals() -> None:
    gone = a_pod("Failed", container("trainer", **ran(143)), conditions=[DISRUPTED])
    assert view(named("a", gone)).disrupted
    assert doubt(gone, a_pod("Succeeded", container("trainer", **SAID))) is None


@pytest.mark.row("R73")
@pytest.mark.parametrize("phase", ["Pending", "Running", "Failed"])
def test_a_pod_that_a_queue_took_away_before_it_said_anything_and_its_replacement_are_no_rivals(phase: str) -> None:
    states = {
        "Pending": [],
        "Running": [container("trainer", running={})],
        "Failed": [container("trainer", **ran(143))],
    }
    gone = a_pod(phase, *states[phase], meta=DELETED)
    seen = view(named("a", gone), named("b", a_pod("Succeeded", container("trainer", **SAID))))
    assert (seen.doubt, seen.exit_code, seen.termination_message) == (None, 0, "{}")


@pytest.mark.row("R73")
def test_a_deleted_pod_that_said_all_the_same_how_it_ended_is_a_rival() -> None:
    traps = a_pod("Succeeded", container("trainer", **SAID), meta=DELETED)
    assert doubt(traps, a_pod("Running", container("trainer", running={}))) == "AmbiguousPods"


@pytest.mark.row("R72")
def test_a_pod_with_an_image_of_its_own_is_not_listened_to_beside_the_jobs_and_alone_is_named() -> None:
    ours = a_pod("Running", container("trainer", running={}), spec={"containers": [{"name": "trainer", "image": "a"}]})
    evil = a_pod("Succeeded", container("trainer", **SAID), spec={"containers": [{"name": "trainer", "image": "b"}]})
    seen = view(named("ours", ours), named("evil", evil))
    assert (seen.doubt, seen.spoke, seen.termination_message, seen.pods_gone) == (None, False, None, False)


@pytest.mark.row("R72")
def test_a_job_is_not_over_while_a_pod_runs_that_is_not_listened_to() -> None:
    """It has the run's volumes all the same."""
    ours = a_pod("Succeeded", container("trainer", **SAID), spec={"containers": [{"name": "trainer", "image": "a"}]})
    evil = a_pod("Running", container("trainer", running={}), spec={"containers": [{"name": "trainer", "image": "b"}]})
    seen = view(named("ours", ours), named("evil", evil))
    assert (seen.doubt, seen.termination_message, seen.pods_gone) == (None, "{}", False)


@pytest.mark.row("R72")
def test_what_admission_added_to_the_pod_that_speaks_is_told() -> None:
    asked = {"containers": [{"name": "trainer", "image": "a"}]}
    of_job = job()
    of_job["spec"] = {"template": {"spec": asked}}
    spec = {"containers": [*asked["containers"], {"name": "proxy"}]}
    (seen,) = job_views("run-1", [of_job], [a_pod("Succeeded", container("trainer", **SAID), spec=spec)])
    assert (seen.doubt, seen.termination_message, seen.additions) == (None, "{}", "admission added container proxy")


def edited(image: str, *, ran_image: str, generation: int = 3, **status: Any) -> dict[str, Any]:
    """Return a pod that says it is as its Job asks for now, with what its kubelet says that ran."""
    said = {**container("trainer", **SAID), "image": ran_image, **status}
    spec = {"containers": [{"name": "trainer", "image": image}]}
    return a_pod("Succeeded", said, spec=spec, meta={"generation": generation})


@pytest.mark.row("R72")
def test_an_image_that_was_changed_and_changed_back_is_told_by_the_kubelet() -> None:
    doubted = view(edited("trainer:1", ran_image="docker.io/library/evil:1"))
    assert doubted.doubt is not None
    assert doubted.doubt.reason == "PodNotOurs"
    assert "ran image docker.io/library/evil:1" in doubted.doubt.message
    assert "by another name, ask for it by its digest" in doubted.doubt.message, "a node may have it by two tags"
    assert (doubted.spoke, doubted.termination_message) == (False, None)


@pytest.mark.row("R72")
def test_a_trainer_that_was_started_again_is_not_believed() -> None:
    """A Job's pods restart nothing: only a kubelet that finds another image does."""
    doubted = view(edited("trainer:1", ran_image="trainer:1", generation=1, restartCount=1))
    assert doubted.doubt is not None
    assert "started again" in doubted.doubt.message


SHA = "sha256:" + "a" * 64


@pytest.mark.row("R72")
@pytest.mark.parametrize(
    "pod",
    [
        edited("trainer:1", ran_image="docker.io/library/trainer:1"),
        edited("trainer", ran_image="docker.io/library/trainer:latest"),
        edited("host:5000/trainer", ran_image="host:5000/trainer:latest"),
        edited(f"host/trainer@{SHA}", ran_image="sha256:b", imageID=f"host/trainer@{SHA}"),
        edited("trainer:1", ran_image="another-name-of-the-same:1", generation=1),
        edited("trainer:1", ran_image=""),
        edited("index.docker.io/library/trainer:1", ran_image="docker.io/library/trainer:1"),
    ],
    ids=["its name in full", "no tag", "a registry with a port", "by digest", "never edited", "nothing said", "index"],
)
def test_a_pod_that_was_edited_otherwise_is_believed(pod: dict[str, Any]) -> None:
    """Queues take scheduling gates from pods, and resources are changed in place."""
    assert view(pod).doubt is None


@pytest.mark.row("R72")
@pytest.mark.parametrize(
    ("asked", "evil"),
    [
        ("host.example/trainer:1", "index.host.example/trainer:1"),
        ("host.example/trainer:1", "docker.io/host.example/trainer:1"),
        ("host.example/trainer:1", "library/host.example/trainer:1"),
        ("host.example/library/trainer:1", "host.example/trainer:1"),
        ("localhost/trainer:1", "docker.io/localhost/trainer:1"),
    ],
)
def test_an_image_of_another_registry_that_is_called_alike_is_another_one(asked: str, evil: str) -> None:
    assert view(edited(asked, ran_image=evil)).doubt is not None


def assisted(*, generation: int, shares: bool = True, where: str = "containers", **status: Any) -> dict[str, Any]:
    """Return a pod whose `tools` stands beside the trainer, with what its kubelet says of it."""
    volume = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    trainer = {"name": "trainer", "image": "trainer:1", **volume}
    tools = {"name": "tools", "image": "tools:1", **(volume if shares else {})}
    made = a_pod("Succeeded", container("trainer", **SAID), meta={"generation": generation})
    made["spec"] = {"containers": [trainer], "volumes": [{"name": "data", "emptyDir": {}}]}
    made["spec"].setdefault(where, []).append(tools)
    said = {"initContainers": "initContainerStatuses", "containers": "containerStatuses"}[where]
    made["status"].setdefault(said, []).append({**container("tools", **ran(0)), **status})
    return made


@pytest.mark.row("R72")
@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_a_helper_whose_image_was_changed_and_changed_back_is_not_believed_for_its_newest_life(where: str) -> None:
    """The kubelet names the image of that alone; what the other one left in the trainer's volume stays."""
    doubted = view(assisted(generation=3, where=where, restartCount=2))
    assert doubted.doubt is not None
    assert "container 'tools' was started again" in doubted.doubt.message
    assert view(assisted(generation=1, where=where, restartCount=2)).doubt is None
    assert view(assisted(generation=3, where=where)).doubt is None
    assert view(assisted(generation=3, where=where, shares=False, restartCount=2)).doubt is None


@pytest.mark.row("R72")
@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_another_image_of_what_shares_nothing_with_the_trainer_is_none_of_its_business(where: str) -> None:
    """A log shipper is updated in place; its image is not compared in the pod's spec either."""
    another: dict[str, Any] = {"image": "docker.io/library/tools:2"}
    assert view(assisted(generation=3, where=where, shares=False, **another)).doubt is None
    doubted = view(assisted(generation=3, where=where, **another))
    assert doubted.doubt is not None
    assert "container 'tools' ran image docker.io/library/tools:2" in doubted.doubt.message


@pytest.mark.row("R72")
def test_a_deletion_is_no_edit() -> None:
    gone = edited("trainer:1", ran_image="same:1", generation=2)
    gone["metadata"].update(DELETED)
    assert view(gone).doubt is None


@pytest.mark.row("R72")
def test_how_far_a_step_is_nobody_says_but_the_pod_that_is_believed() -> None:
    ours = named("ours", a_pod("Running", container("trainer", running={}), spec=running_image("a")))
    evil = named("evil", a_pod("Running", container("trainer", running={}), spec=running_image("b")))
    asked = running_pod([view(ours, evil)], [evil, ours])
    assert asked is not None
    assert asked.name == "ours"
    assert running_pod([view(ours, evil)], [evil]) is None


def running_image(image: str) -> dict[str, Any]:
    return {"containers": [{"name": "trainer", "image": image}]}
