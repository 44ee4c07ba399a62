"""What is read from Jobs, pods, Deployments and PodTemplates."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator.cluster.deployment_views import deployment_view, is_same_target, template_view
from finetune_operator.cluster.job_views import RunningPod, SeenJobs, job_views, running_pod
from finetune_operator.cluster.progress import last_progress
from finetune_operator.decide.views import JobView, ServedKeys, Span
from finetune_operator.manifests.essence import fingerprint

KEY = "finetune-operator.io/model-version"


def job(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "first-train-2-abc", "uid": "job-1", "creationTimestamp": "2026-11-21T12:00:00Z",
            "labels": {"finetune-operator.io/step": "train", "finetune-operator.io/attempt": "2",
                       "finetune-operator.io/round": "1", "app.kubernetes.io/managed-by": "finetune-operator"},
            "ownerReferences": [{"uid": "run-1", "controller": True}],
        },
        "spec": {},
        "status": status,
    }  # fmt: skip


def pod(phase: str, state: dict[str, Any] | None = None, *, uid: str = "job-1", **more: Any) -> dict[str, Any]:
    labels = job()["metadata"]["labels"] | {"batch.kubernetes.io/job-name": "first-train-2-abc"}
    statuses = [{"name": "trainer", "image": "trainer:1", "state": state}] if state else []
    return {
        "metadata": {"name": "p", "creationTimestamp": "2026-11-21T12:00:01Z", "labels": labels,
                     "ownerReferences": [{"uid": uid, "controller": True}]},
        "status": {"phase": phase, "containerStatuses": statuses, **more},
    }  # fmt: skip


NO_NODE = {"type": "PodScheduled", "status": "False"}


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def view(jobs: list[Any], pods: list[Any]) -> JobView:
    (only,) = job_views("run-1", jobs, pods)
    return only


def test_a_running_pod_dates_the_attempt() -> None:
    seen = view([job(active=1)], [pod("Running", {"running": {"startedAt": "2026-11-21T12:00:05Z"}})])
    assert (seen.step, seen.attempt, seen.round, seen.state) == ("train", 2, 1, "Active")
    assert seen.spans == (Span(datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)),)
    assert not seen.pods_gone


def test_a_finished_pod_tells_its_exit_code_and_result() -> None:
    ended = {"terminated": {"exitCode": 10, "message": "{}", "finishedAt": "2026-11-21T12:01:05Z"}}
    seen = view([job(conditions=[{"type": "Failed", "status": "True"}])], [pod("Failed", ended)])
    assert (seen.state, seen.exit_code, seen.termination_message, seen.pods_gone) == ("Failed", 10, "{}", True)
    assert seen.finished_at == datetime(2026, 11, 21, 12, 1, 5, tzinfo=UTC)


@pytest.mark.row("R70")
def test_a_job_says_what_it_is_for_and_what_it_is_to_do() -> None:
    """What of it is compared with the attempt is read from the Job itself, however its pods fare."""
    made = job(conditions=[{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long",
                            "lastTransitionTime": "2026-11-21T12:09:00Z"}])  # fmt: skip
    made["metadata"]["namespace"] = "ml"
    made["metadata"]["labels"] |= {"finetune-operator.io/collect": "true"}
    made["spec"] = {"suspend": True, "template": {"spec": {"containers": [{"name": "trainer", "image": "a"}]}}}
    seen = view([made], [])
    assert (seen.namespace, seen.collect, seen.suspended, seen.has_pods) == ("ml", True, True, False)
    assert (seen.said, seen.finished_at) == ("DeadlineExceeded: too long", datetime(2026, 11, 21, 12, 9, tzinfo=UTC))
    assert seen.made == fingerprint(made)
    assert seen.made != fingerprint(job())


@pytest.mark.parametrize(
    ("conditions", "state"),
    [([], "Active"), (["Complete"], "Complete"), (["Failed"], "Failed"), (["Suspended"], "Active")],
)
def test_a_jobs_state_is_that_of_its_final_condition(conditions: list[str], state: str) -> None:
    assert view([job(conditions=[{"type": kind, "status": "True"} for kind in conditions])], []).state == state


@pytest.mark.row("R72")
@pytest.mark.parametrize("changes", [{"controller": False}, {"controller": None}, {"uid": "another"}])
def test_a_reference_that_is_no_controllers_makes_no_pod_the_jobs(changes: dict[str, Any]) -> None:
    ended = {"terminated": {"exitCode": 0, "message": "{}", "finishedAt": "2026-11-21T12:01:05Z"}}
    theirs = pod("Succeeded", ended)
    theirs["metadata"]["ownerReferences"][0].update(changes)
    seen = view([job(active=1)], [theirs])
    assert (seen.has_pods, seen.spoke, seen.termination_message) == (False, False, None)


@pytest.mark.parametrize(
    ("changes", "status", "read"),
    [
        ({}, {"active": 1}, True),
        ({"deletionTimestamp": "2026-11-21T12:00:09Z"}, {"active": 1}, False),
        ({}, {"conditions": [{"type": "Failed", "status": "True"}]}, False),
    ],
    ids=["active", "being deleted", "over"],
)
def test_progress_is_read_of_the_job_that_is_under_way(
    changes: dict[str, Any], status: dict[str, Any], read: bool
) -> None:
    made, runs = job(**status), pod("Running", {"running": {"startedAt": "2026-11-21T12:00:05Z"}})
    made["metadata"] |= changes
    assert (running_pod(job_views("run-1", [made], [runs]), [runs]) is not None) is read


def test_what_was_made_of_a_job_is_kept_until_the_job_or_a_pod_of_it_is_another_object() -> None:
    seen, made, runs = SeenJobs(), job(active=1), pod("Running", {"running": {}})
    (first,) = seen.views("run-1", [made], [runs], ())
    assert (first,) == job_views("run-1", [made], [runs])
    assert seen.views("run-1", [made], [runs], ())[0] is first
    ended = pod("Failed", {"terminated": {"exitCode": 3}})
    for jobs, pods in (([made], [ended]), ([made], [runs, ended]), ([job(failed=1)], [ended]), ([made], [])):
        assert seen.views("run-1", jobs, pods, ()) == job_views("run-1", jobs, pods)
    assert seen.views("run-1", [], [], ()) == ()
    (anew,) = seen.views("run-1", [made], [runs], ())
    seen.forget("run-1")
    assert anew == first
    assert seen.views("run-1", [made], [runs], ())[0] is not anew


@pytest.mark.row("R72")
def test_pods_whose_job_is_gone_are_shown_and_not_listened_to() -> None:
    """Nobody can compare them with their Job any more."""
    ended = {"terminated": {"exitCode": 0, "message": "{}", "finishedAt": "2026-11-21T12:01:05Z"}}
    left = pod("Running", ended, uid="gone")
    left["metadata"]["labels"] |= {"finetune-operator.io/round": "3", "finetune-operator.io/collect": "true"}
    seen = view([], [left])
    assert (seen.orphaned, seen.spoke, seen.exit_code, seen.termination_message) == (True, False, None, None)
    assert (seen.step, seen.attempt, seen.round, seen.collect) == ("train", 2, 3, True)


def test_pods_of_no_step_of_ours_whose_job_is_gone_are_nobodys() -> None:
    left = pod("Running", uid="gone")
    assert view([], [left]).orphaned
    left["metadata"]["labels"]["finetune-operator.io/step"] = "mine"
    assert job_views("run-1", [], [left]) == ()


def test_a_job_is_over_only_with_its_final_condition() -> None:
    on_the_way = [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "False"}]
    assert view([job(conditions=on_the_way)], []).state == "Active"


@pytest.mark.parametrize(
    ("said", "read"),
    [("repo@sha256:aa", "repo@sha256:aa"), ("", None), (None, None), (7, None), ("x" * 9000, "x" * 512)],
)
def test_the_image_that_ran_is_what_the_kubelet_says(said: object, read: str | None) -> None:
    made = pod("Succeeded", {"terminated": {"exitCode": 0}})
    made["status"]["containerStatuses"][0]["imageID"] = said
    assert view([job(active=1)], [made]).image_id == read


def test_the_newest_pod_speaks_for_the_job_after_a_disruption() -> None:
    old = pod("Failed", {"terminated": {"exitCode": 143}}, conditions=[{"type": "DisruptionTarget", "status": "True"}])
    new = pod("Running", {"running": {"startedAt": "2026-11-21T12:09:00Z"}})
    new["metadata"]["creationTimestamp"] = "2026-11-21T12:08:00Z"
    seen = view([job()], [new, old])
    assert (seen.exit_code, seen.disrupted, seen.pods_gone) == (None, False, False)


@pytest.mark.parametrize(
    ("waiting", "reason", "says"),
    [
        (pod("Pending", waiting("ImagePullBackOff", "denied")), "ImagePullFailed", "trainer:1"),
        (pod("Pending", waiting("CreateContainerConfigError", "no secret s")), "ContainerConfig", "secret"),
        (pod("Pending", conditions=[{**NO_NODE, "message": "0/3 nodes"}]), "Unschedulable", "0/3 nodes"),
    ],
)  # fmt: skip
def test_why_a_pod_waits_is_said(waiting: dict[str, Any], reason: str, says: str) -> None:
    problem = view([job()], [waiting]).waiting
    assert problem is not None
    assert problem.reason == reason
    assert says in problem.message


def test_a_job_tells_since_when_it_has_no_pod() -> None:
    began = {"startTime": "2026-11-21T12:00:00Z"}
    assert view([job(**began)], []).podless_since == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert view([job(**began)], [pod("Pending")]).podless_since is None
    assert view([job(**began, conditions=[{"type": "Failed", "status": "True"}])], []).podless_since is None
    untaken = view([job()], []).podless_since
    assert untaken == datetime(2026, 11, 21, 12, tzinfo=UTC), "its controller stands still, or has others before it"
    assert view([job(**began, active=1)], []).podless_since is None, "its pod is only not seen yet, or any more"


@pytest.mark.row("R322")
@pytest.mark.parametrize("reason", ["JobResumed", "Resumed"])
def test_a_job_that_its_queue_let_go_tells_since_when_it_has_no_pod(reason: str) -> None:
    """That it was suspended stays among its conditions for good; its controller dates its start anew."""
    resumed = {"type": "Suspended", "status": "False", "reason": reason}
    seen = view([job(startTime="2026-11-21T12:05:00Z", conditions=[resumed])], [])
    assert seen.podless_since == datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
    ending = {"type": "FailureTarget", "status": "True"}
    assert view([job(startTime="2026-11-21T12:05:00Z", conditions=[resumed, ending])], []).podless_since is None
    queued = job(conditions=[{**resumed, "status": "True", "reason": "JobSuspended"}])
    queued["spec"]["suspend"] = True
    assert view([queued], []).podless_since is None, "what waits for its queue is to have none"


@pytest.mark.row("R324")
def test_a_job_whose_disrupted_pod_is_not_replaced_has_none() -> None:
    """What a kubelet ended for its node's sake stays as an object for as long as the node does."""
    began, target = {"startTime": "2026-11-21T12:00:00Z"}, {"type": "DisruptionTarget", "status": "True"}
    ended = pod("Failed", {"terminated": {"exitCode": 143}}, conditions=[target])
    seen = view([job(**began)], [ended])
    assert (seen.podless_since, seen.has_pods) == (datetime(2026, 11, 21, 12, tzinfo=UTC), True)
    assert view([job(**began)], [ended, pod("Pending")]).podless_since is None
    still_there = pod("Running", {"terminated": {"exitCode": 143}}, conditions=[target])
    assert view([job(**began)], [still_there]).podless_since is None, "it has to end first"
    good = pod("Failed", {"terminated": {"exitCode": 0}}, conditions=[target])
    assert view([job(**began)], [good]).podless_since is None, "what its trainer said counts"


def test_a_suspended_job_waits_for_its_queue() -> None:
    queued = job()
    queued["spec"]["suspend"] = True
    queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "night"
    problem = view([queued], []).waiting
    assert problem is not None
    assert "'night'" in problem.message


def test_a_forged_label_makes_no_child() -> None:
    forged = job()
    forged["metadata"]["ownerReferences"] = [{"uid": "somebody", "controller": True}]
    assert job_views("run-1", [forged], []) == ()
    (own,) = [v for v in job_views("run-1", [job()], [pod("Running", {"running": {}}, uid="else")]) if not v.deleting]
    assert own.spans == ()


def test_pods_of_a_deleted_job_are_waited_for() -> None:
    seen = view([], [pod("Running", {"running": {}})])
    assert (seen.deleting, seen.pods_gone, seen.name) == (True, False, "first-train-2-abc")
    assert job_views("run-1", [], [pod("Failed")]) == ()


def test_only_the_running_pod_of_an_active_job_is_asked_how_far_it_is() -> None:
    running = pod("Running", {"running": {"startedAt": "2026-11-21T12:00:00Z"}})
    asked = running_pod(job_views("run-1", [job()], [running]), [running])
    assert asked == RunningPod("p", "train", datetime(2026, 11, 21, 12, tzinfo=UTC))
    pending = pod("Pending")
    assert running_pod(job_views("run-1", [job()], [pending]), [pending]) is None


LINE = (
    '{"schema":"finetune-operator.io/progress/v1","step":"train","epoch":%d,"epochs":10,"percent":%d,'
    '"at":"2026-11-21T12:00:00Z"}'
)


@pytest.mark.parametrize(
    ("tail", "epoch"),
    [
        ("", None),
        ("Traceback ...\n", None),
        (LINE % (1, 10) + "\nsome chatter\n" + LINE % (2, 20) + "\n", 2),
        (LINE % (3, 30) + "\n" + LINE[:40], 3),
        (LINE % (3, 130), None),
        (LINE.replace("/v1", "/v9") % (3, 30), None),
    ],
)
def test_the_newest_whole_progress_line_counts(tail: str, epoch: int | None) -> None:
    progress = last_progress(tail)
    assert (progress and progress.epoch) == epoch


def deployment(annotations: Any = None, **more: Any) -> dict[str, Any]:
    template: dict[str, Any] = {
        "metadata": {"labels": {"app": "d"}},
        "spec": {"containers": [{"name": "server", "image": "s:1"}]},
    }
    if annotations is not None:
        template["metadata"]["annotations"] = annotations
    metadata = {
        "name": "d",
        "uid": "d1",
        "resourceVersion": "5",
        "generation": 3,
        "labels": {"finetune-operator.io/managed": "true"},
    }
    return {
        "metadata": metadata | more.pop("metadata", {}),
        "spec": {"replicas": 2, "template": template} | more.pop("spec", {}),
        "status": more.pop("status", {}),
    }


def test_keys_and_epoch_are_read() -> None:
    seen = deployment_view(deployment({KEY: "ft_v1.1"}, metadata={"annotations": {"finetune-operator.io/epoch": "4"}}))
    assert seen.keys == ServedKeys("ft_v1.1", None, None)
    assert (seen.epoch, seen.managed, seen.replicas) == (4, True, 2)


def test_the_hash_changes_with_everything_but_our_keys() -> None:
    plain = deployment_view(deployment()).template_hash
    assert deployment_view(deployment({KEY: "ft_v1.1"})).template_hash == plain
    assert deployment_view(deployment({})).template_hash == plain
    assert deployment_view(deployment({"restartedAt": "now"})).template_hash != plain
    other = deployment()
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "s:2"
    assert deployment_view(other).template_hash != plain


@pytest.mark.parametrize(
    ("strategy", "replicas", "surges"),
    [
        ({}, 1, True),
        ({"type": "Recreate"}, 3, False),
        ({"rollingUpdate": {"maxSurge": 0}}, 3, False),
        ({"rollingUpdate": {"maxSurge": "0%"}}, 3, False),
        ({"rollingUpdate": {"maxSurge": "1%"}}, 1, True),
        ({"rollingUpdate": {"maxSurge": 2}}, 1, True),
        ({"rollingUpdate": {"maxSurge": "9" * 5000 + "%"}}, 1, True),
        ({"rollingUpdate": {"maxSurge": "25%"}}, 0, False),
        ({"rollingUpdate": {"maxSurge": "0"}}, 3, False),
        ({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}, 1, True),
    ],
)
def test_whether_a_new_pod_may_run_beside_the_old_ones(strategy: Any, replicas: int, surges: bool) -> None:
    assert deployment_view(deployment(spec={"strategy": strategy, "replicas": replicas})).can_surge is surges


@pytest.mark.row("D272")
@pytest.mark.parametrize(
    ("unavailable", "replicas", "stays"),
    [
        (0, 1, True),
        (1, 1, False),
        (1, 2, True),
        (5, 3, False),
        ("99%", 1, True),
        ("99%", 100, True),
        ("100%", 1, False),
        ("100%", 3, False),
        ("9" * 5000 + "%", 3, False),
        ("a few", 3, True),
    ],
)
def test_whether_an_old_pod_stays_until_a_new_one_serves(unavailable: Any, replicas: int, stays: bool) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": unavailable}}
    assert deployment_view(deployment(spec={"strategy": strategy, "replicas": replicas})).can_surge is stays


@pytest.mark.parametrize(
    ("metadata", "is_null"),
    [({}, False), ({"annotations": {}}, False), ({"annotations": {"a": "b"}}, False), ({"annotations": None}, True)],
)
def test_an_annotations_map_written_as_nothing_is_seen(metadata: Any, is_null: bool) -> None:
    applied = json.dumps({"spec": {"template": {"metadata": metadata}}})
    manifest = deployment(metadata={"annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}})
    assert deployment_view(manifest).null_annotations is is_null


@pytest.mark.parametrize(
    "annotations",
    [
        {"finetune-operator.io/epoch": "9" * 5000},
        {"finetune-operator.io/epoch": "\u00b2"},
        {"kubectl.kubernetes.io/last-applied-configuration": "[" * 100_000},
    ],
    ids=["a number without end", "no digit", "a list without end"],
)
def test_no_text_on_a_deployment_keeps_it_from_being_looked_at(annotations: dict[str, str]) -> None:
    """Whoever may edit the Deployment could keep a bad version from being taken back."""
    seen = deployment_view(deployment({KEY: "ft_v1.1"}, metadata={"annotations": annotations}))
    assert (seen.keys.version, seen.epoch, seen.null_annotations) == ("ft_v1.1", None, False)


def claim(manager: str, *path: str, time: str = "2026-11-21T12:00:00Z") -> dict[str, Any]:
    fields: dict[str, Any] = {}
    inner = fields
    for part in path:
        inner = inner.setdefault(part, {})
    return {"manager": manager, "operation": "Apply", "time": time, "fieldsV1": fields}


OUR_KEY = ("f:spec", "f:template", "f:metadata", "f:annotations", f"f:{KEY}")


@pytest.mark.parametrize(
    ("managed", "manager"),
    [
        ([], None),
        ([claim("helm", "f:spec", "f:replicas")], None),
        ([claim("finetune-operator", *OUR_KEY)], "finetune-operator"),
        ([claim("finetune-operator", *OUR_KEY), claim("kubectl", *OUR_KEY)], "kubectl"),
        ([claim("argocd", "f:metadata", "f:annotations", "f:finetune-operator.io/epoch")], "argocd"),
        ([claim("a", *OUR_KEY), claim("b", *OUR_KEY, time="2026-11-21T12:00:01Z")], "b"),
    ],
)
def test_who_owns_our_keys_is_named(managed: list[Any], manager: str | None) -> None:
    assert deployment_view(deployment(metadata={"managedFields": managed})).keys_manager == manager


def test_pods_that_come_and_go_are_the_same_target_and_other_keys_are_not() -> None:
    seen = deployment_view(deployment({KEY: "base_v1"}))
    moved = deployment_view(deployment({KEY: "base_v1"}, metadata={"resourceVersion": "9"}, status={"replicas": 1}))
    assert is_same_target(seen, moved)
    assert not is_same_target(seen, deployment_view(deployment({KEY: "ft_v1.1"})))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "PodTemplateNotFound"),
        ({"metadata": {"labels": {}}}, "PodTemplateNotLabelled"),
        ({"metadata": {"labels": {"finetune-operator.io/pod-template": "true"}},
          "template": {"spec": {"containers": [{"name": "main"}]}}}, "NoTrainerContainer"),
        ({"metadata": {"labels": {"finetune-operator.io/pod-template": "true"}},
          "template": {"spec": {"containers": [{"name": "trainer"}]}}}, None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pod_template_is_said_with_its_name(template: Any, reason: str | None) -> None:
    problem = template_view("gpu-trainer", template).problem
    assert (problem and problem.reason) == reason
    assert problem is None or "gpu-trainer" in problem.message


LABELLED = {"finetune-operator.io/pod-template": "true"}


def pod_template(labels: dict[str, str] | None = None, image: str = "trainer:1", **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "gpu-trainer", "labels": {**LABELLED, **(labels or {})}, "annotations": annotations},
        "template": {
            "spec": {"containers": [{"name": "trainer", "image": image, "resources": {"limits": {"cpu": 1}}}]}
        },
    }


def test_a_pod_templates_hash_covers_what_its_jobs_carry_and_nothing_else_of_its_metadata() -> None:
    plain = template_view("gpu-trainer", pod_template())
    ruled = template_view("gpu-trainer", pod_template({"cost-centre": "42"}))
    assert "." not in plain.hash
    assert ruled.hash.startswith(f"{plain.hash}.")
    assert template_view("gpu-trainer", pod_template({"cost-centre": "43"})).hash != ruled.hash
    by_tools = pod_template({"app.kubernetes.io/instance": "x"}, **{"argocd.argoproj.io/tracking-id": "x"})
    assert template_view("gpu-trainer", by_tools) == plain
    assert template_view("gpu-trainer", pod_template(), "night").hash.startswith(f"{plain.hash}.")
    assert plain.resources == {"limits": {"cpu": 1}}


def test_another_image_is_admitted_like_the_one_before_and_another_label_is_not() -> None:
    ruled = template_view("gpu-trainer", pod_template({"cost-centre": "42"}))
    assert template_view("gpu-trainer", pod_template({"cost-centre": "42"}, "trainer:2")).admits_like(ruled.hash)
    assert not template_view("gpu-trainer", pod_template({"cost-centre": "43"})).admits_like(ruled.hash)
    assert not template_view("gpu-trainer", pod_template()).admits_like(ruled.hash)
    assert template_view("gpu-trainer", pod_template()).admits_like(None)
