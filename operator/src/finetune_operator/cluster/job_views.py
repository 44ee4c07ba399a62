"""From Jobs and their pods, as the API server has them, to what decisions look at."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, get_args

from ..api import names
from ..api.run import Attempt, Step
from ..api.value import parse
from ..decide.text import plain
from ..decide.views import JobView, Overdue, Problem
from ..manifests.essence import additions, difference, fingerprint, marks
from ..manifests.owner import is_owned
from .pod import Pod, moment_of
from .pod_end import failure
from .pod_images import ran_otherwise
from .pod_story import moments, overdue, waiting
from .port import Object

_STEPS: Final = frozenset(get_args(Step))
_COLLECTOR: Final = frozenset(("foregroundDeletion", "orphan"))
"""Finalizers of Kubernetes' garbage collector: while they stand, it is not through with the pods."""
_SHOWN: Final = 200
"""Characters of a Job's own words that a message quotes."""
_LONGEST_COUNT: Final = 9
"""Digits of a label that is read as a number."""
_LEFT_BEHIND: Final = timedelta(seconds=60)
"""A pod whose Job is gone is collected within seconds."""
_JOB_NAME_LABEL: Final = "batch.kubernetes.io/job-name"


_Seen = dict[str, tuple[Object, list[Object], JobView]]
"""By uid of a Job: the Job and its pods as they were, and what was made of them."""


@dataclass(slots=True)
class SeenJobs:
    """What was made of owners' Jobs at the last look: changes, and is good while Job and pods are the same objects.

    An object that an API server wrote is another one. Most of what a look costs is in Jobs that ended long ago.
    """

    _by_owner: dict[str, _Seen] = field(default_factory=dict)

    def views(
        self, owner_uid: str, jobs: Iterable[Object], pods: Iterable[Object], known: Collection[str]
    ) -> tuple[JobView, ...]:
        """Return what `job_views` does."""
        before, now = self._by_owner.get(owner_uid, {}), _Seen()

        def view(job: Object, its: list[Object]) -> JobView:
            uid = str(job["metadata"]["uid"])
            last = before.get(uid)
            is_same = last is not None and last[0] is job and _are_same(last[1], its)
            now[uid] = last if last is not None and is_same else (job, its, _job_view(job, its))
            return now[uid][2]

        views = job_views(owner_uid, jobs, pods, known, view)
        if now:
            self._by_owner[owner_uid] = now
        else:
            self.forget(owner_uid)
        return views

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an owner that is gone."""
        self._by_owner.pop(uid, None)


def _are_same(some: list[Object], others: list[Object]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def job_views(
    owner_uid: str,
    jobs: Iterable[Object],
    pods: Iterable[Object],
    known: Collection[str] = (),
    view: Callable[[Object, list[Object]], JobView] | None = None,
) -> tuple[JobView, ...]:
    """Return the Jobs of one owner, sorted by name; `view` makes one of a Job and its pods.

    A Job counts only when its controller is `owner_uid`, or its own uid is on record (`known`), for references can be
    taken from it; and a pod only when its controller is the Job: labels can be forged. A Job that is gone while pods of
    it still run is shown as being deleted.
    """
    by_job: dict[str, list[Object]] = {}
    for pod in pods:
        by_job.setdefault(_controller_uid(pod), []).append(pod)
    ours = [
        job
        for job in jobs
        if (is_owned(job, owner_uid) or job["metadata"]["uid"] in known) and marks(job).get(names.STEP_LABEL) in _STEPS
    ]
    of = _job_view if view is None else view
    views = [of(job, by_job.pop(str(job["metadata"]["uid"]), [])) for job in ours]
    orphans = [
        _orphan_view(uid, left) for uid, left in by_job.items() if uid and any(not Pod(pod).has_ended for pod in left)
    ]
    return tuple(sorted([*views, *(o for o in orphans if o is not None)], key=lambda one: one.name))


def to_be_harvested(attempts: tuple[Attempt, ...], jobs: tuple[JobView, ...]) -> bool:
    """Tell whether an attempt that is not over has a Job that is, or that has said all."""
    open_ = {a.job for a in attempts if a.outcome in {"Planned", "Running"}}
    return any(job.name in open_ and (job.state != "Active" or job.spoke) for job in jobs)


@dataclass(frozen=True, slots=True)
class RunningPod:
    """The pod whose log tells how far a step is, and since when its trainer runs."""

    name: str
    step: Step
    since: datetime | None


def running_pod(jobs: Iterable[JobView], pods: Iterable[Object]) -> RunningPod | None:
    """Return the pod of an active Job that runs; None while there is none."""
    active = {job.uid: job for job in jobs if job.state == "Active" and not job.deleting and not job.collect}
    for pod in pods:
        job, reader = active.get(_controller_uid(pod)), Pod(pod)
        # A container beside the trainer that waits for its image keeps the whole pod Pending.
        if (
            job is not None
            and reader.name == job.pod
            and (reader.running is not None or reader.status.get("phase") == "Running")
        ):
            return RunningPod(reader.name, job.step, moment_of((reader.running or {}).get("startedAt")))
    return None


def _job_view(job: Object, pods: list[Object]) -> JobView:
    metadata, status = job["metadata"], job.get("status") or {}
    labels = marks(job)
    ended = {c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"}
    end = ended.get("Complete") or ended.get("Failed")
    suspended = bool((job.get("spec") or {}).get("suspend"))
    has_one = any(not Pod(pod).is_to_be_replaced for pod in pods)
    view = JobView(
        name=metadata["name"],
        uid=metadata["uid"],
        step=_step(labels),
        attempt=_number(labels.get(names.ATTEMPT_LABEL), 1),
        namespace=str(metadata.get("namespace", "")),
        round=_number(labels.get(names.ROUND_LABEL), 0),
        collect=labels.get(names.COLLECT_LABEL) == "true",
        state="Complete" if "Complete" in ended else "Failed" if "Failed" in ended else "Active",
        suspended=suspended,
        podless_since=None if has_one or suspended or _has_had_pods(status) else _begun(metadata, status),
        finished_at=moment_of((end or {}).get("lastTransitionTime")),
        said=_words(ended.get("Failed") or {}),
        has_pods=bool(pods),
        waiting=_queued(_labels(job)) if suspended else _idled(job),
        deleting=metadata.get("deletionTimestamp") is not None,
        emptied=_is_emptied(job, pods),
        made=fingerprint(job),
    )
    everyone, template = tuple(Pod(pod) for pod in pods), _template(job)
    believed, doubt = _believed(view, template, everyone)
    seen = _said_by(replace(view, doubt=doubt), believed, template)
    return replace(seen, pods_gone=all(pod.has_ended for pod in everyone))


def _template(job: Object) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = ((job.get("spec") or {}).get("template") or {}).get("spec") or {}
    return spec


def _believed(
    view: JobView, template: Mapping[str, Any], pods: tuple[Pod, ...]
) -> tuple[tuple[Pod, ...], Problem | None]:
    """Return the pods that do what the Job's template says, and why what pods say is not believed, if it is not.

    Labels and controller references are anybody's to give. A pod with another end is no result of this Job (R72), and
    of two that could both be it, nobody knows which the Job's controller made (R73); a disrupted one was replaced, and
    so was one that was deleted before it said anything, as a queue that suspends the Job does.
    """
    strays = {pod.name: difference(pod.spec, template) or ran_otherwise(pod, template) for pod in pods}
    believed = tuple(pod for pod in pods if strays[pod.name] is None)
    rivals = [pod.name for pod in believed if not pod.is_disrupted and (pod.deleted_at is None or pod.speaks)]
    if len(rivals) > 1:
        text = f"pods {', '.join(sorted(rivals))} could both be that of Job {view.name}; none of them is believed"
        return believed, Problem("AmbiguousPods", text)
    if believed or not pods:
        return believed, None
    name, why = next(iter(strays.items()))
    text = (
        f"pod {name} is not as Job {view.name} says: {why}; what it says is not believed. Where admission changed it, "
        f"put that into the PodTemplate; else delete it: kubectl delete pod {name} -n {view.namespace}"
    )
    return (), Problem("PodNotOurs", text)


def _is_emptied(job: Object, pods: list[Object]) -> bool:
    """Tell whether only somebody's finalizer keeps a Job that is being deleted: no pod of it runs, or will."""
    metadata, status = job["metadata"], job.get("status") or {}
    if metadata.get("deletionTimestamp") is None or status.get("active"):
        return False
    # What names the Job as its owner can keep the collector for ever; the Job's controller counts pods all the same.
    at_work = not _COLLECTOR.isdisjoint(metadata.get("finalizers") or ()) and status.get("terminating") != 0
    return not at_work and all(Pod(pod).has_ended for pod in pods)


def _said_by(view: JobView, pods: tuple[Pod, ...], template: Mapping[str, Any] | None = None) -> JobView:
    """Return the view with what its pods say; `template` is what their Job asks for, while it is there."""
    pod = _speaker(pods)
    if pod is None:
        return view
    ended = pod.terminated or {}
    others = any(not other.has_ended for other in pods if other is not pod)
    return replace(
        view,
        pod=pod.name,
        spans=tuple(span for each in pods for span in each.spans),
        finished_at=pod.finished_at or view.finished_at,
        exit_code=_exit_code(ended),
        termination_message=ended.get("message"),
        spoke=pod.speaks,
        lingers=pod.speaks and (pod.has_neighbours or others),
        idle=all(each.has_ended or each.terminated is not None for each in pods),
        failure=failure(pod),
        disrupted=pod.is_disrupted,
        pods_gone=all(each.has_ended for each in pods),
        waiting=view.waiting or waiting(pod),
        moments=moments(pod),
        overdue=overdue(pod),
        image_id=pod.image_id,
        additions=additions(pod.spec, template) if template is not None else "",
    )


def _speaker(pods: Iterable[Pod]) -> Pod | None:
    """Return the pod that speaks for its Job: one whose trainer came to its end, a good one first, else the newest."""
    return max(
        pods,
        key=lambda pod: (
            pod.speaks and (pod.terminated or {}).get("exitCode") == 0,
            pod.speaks,
            str(pod.raw["metadata"].get("creationTimestamp", "")),
            not pod.has_ended,
        ),
        default=None,
    )


def _words(condition: Mapping[str, Any]) -> str:
    said = (str(condition.get(part) or "") for part in ("reason", "message"))
    return ": ".join(part for part in said if part)[:_SHOWN]


def _begun(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> datetime | None:
    """Return when the Job's controller took the Job up, else since when it could have."""
    return moment_of(status.get("startTime")) or moment_of(metadata.get("creationTimestamp"))


def _has_had_pods(status: Mapping[str, Any]) -> bool:
    """Tell whether the Job's controller counts a pod, or ends the Job: then one was made, though none is seen.

    That a queue let it go stands as a condition, too, and says nothing of pods.
    """
    ends = any(c.get("type") != "Suspended" for c in status.get("conditions") or ())
    return ends or any(status.get(field) for field in ("active", "failed", "succeeded", "terminating"))


def _orphan_view(uid: str, pods: list[Object]) -> JobView | None:
    labels = _labels(pods[0])
    if labels.get(names.STEP_LABEL) not in _STEPS:
        return None
    view = JobView(
        name=labels.get(_JOB_NAME_LABEL) or labels.get("job-name") or uid,
        uid=uid,
        step=_step(labels),
        attempt=_number(labels.get(names.ATTEMPT_LABEL), 1),
        round=_number(labels.get(names.ROUND_LABEL), 0),
        collect=labels.get(names.COLLECT_LABEL) == "true",
        deleting=True,
        orphaned=True,
    )
    # What pods say of a Job that nobody can compare them with any more is no result.
    seen = _said_by(view, tuple(Pod(pod) for pod in pods))
    late = seen.overdue or _overstays(Pod(next(pod for pod in pods if not Pod(pod).has_ended)), view.name)
    return replace(seen, spoke=False, exit_code=None, termination_message=None, overdue=late)


def _overstays(pod: Pod, job: str) -> Overdue | None:
    """Return what is to be said, and when, of a pod that its Job left behind, or that says so: nobody deletes it."""
    if pod.created is None:
        return None
    text = (
        f"pod {pod.name} says that it is of Job {plain(job)}, and there is no such Job of this object. No other pod is "
        f"started before it has ended: its trainer may still run. To go on without it: kubectl delete pod {pod.address}"
    )
    return Overdue(pod.created + _LEFT_BEHIND, Problem("PodNotEnding", text))


def _idled(job: Object) -> Problem | None:
    """Return that somebody keeps the Job from having pods, if so."""
    if (job.get("spec") or {}).get("parallelism") != 0:
        return None
    name, namespace = job["metadata"]["name"], job["metadata"].get("namespace", "")
    text = (
        f"Job {name} may have no pod: somebody set its parallelism to 0; to go on: kubectl patch job {name} "
        f'-n {namespace} --type merge -p \'{{"spec":{{"parallelism":1}}}}\''
    )
    return Problem("PodNotCreated", text)


def _queued(labels: Mapping[str, str]) -> Problem:
    queue = labels.get(names.QUEUE_NAME_LABEL)
    remedy = "somebody resumes it; where Jobs need a queue, name one: spec.jobs.queueName of the policy"
    by = f"queue {queue!r} admits it" if queue else remedy
    return Problem("Queued", f"the Job is suspended until {by}")


def _exit_code(ended: Mapping[str, Any]) -> int | None:
    code = ended.get("exitCode")
    return code if isinstance(code, int) else None


def _controller_uid(obj: Object) -> str:
    references = obj["metadata"].get("ownerReferences") or ()
    return next((str(r.get("uid", "")) for r in references if r.get("controller") is True), "")


def _labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _step(labels: Mapping[str, str]) -> Step:
    return parse(labels.get(names.STEP_LABEL), Step)  # type: ignore[arg-type]  # a Literal is a type to msgspec


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) <= _LONGEST_COUNT else default
