"""Pods that do not end with their trainer, and Jobs that go before anybody looks: with a crash at every write."""

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from house.deep import DEEP

from .controllers import NAMESPACE, Jobs, parse_time
from .deaths import deaths
from .invariants import violations
from .stories import STORIES, USER, Story, World

PASS = STORIES[0]
NOBODY_REVIEWS = Story("waits", STORIES[2].trainer, ends="Expired", live="base_v1")
COLLECT = "finetune-operator.io/collect"


class Sidecars(Jobs):
    """A proxy runs beside every trainer, and never ends by itself."""

    def _finish(self, job: Object, pod: Object) -> None:
        if len(pod["status"]["containerStatuses"]) > 1:
            return
        super()._finish(job, pod)
        ended = self.server.get(Kind.POD, NAMESPACE, pod["metadata"]["name"])
        assert ended is not None
        proxy = {"name": "istio-proxy", "state": {"running": {"startedAt": pod["status"]["startTime"]}}, "ready": True}
        statuses = [*ended["status"]["containerStatuses"], proxy]
        self._status(Kind.POD, ended, {"phase": "Running", "containerStatuses": statuses})
        now_there = self.server.get(Kind.JOB, NAMESPACE, job["metadata"]["name"])
        assert now_there is not None
        self._status(Kind.JOB, now_there, {"active": 1, "conditions": None, "succeeded": None, "completionTime": None})


class Swept(Jobs):
    """Jobs of prepare and train are gone with their pods at the moment they end; a Job that collects stays."""

    def _finish(self, job: Object, pod: Object) -> None:
        super()._finish(job, pod)
        labels = job["metadata"]["labels"]
        if labels["finetune-operator.io/step"] in ("prepare", "train") and COLLECT not in labels:
            self.server.delete(USER, Kind.JOB, NAMESPACE, job["metadata"]["name"])


def with_jobs(jobs: type[Jobs], story: Story) -> World:
    """Return the story with these Jobs, to be played."""
    world = World(story)
    world.jobs = jobs(world.server, story.trainer)
    return world


@pytest.mark.part
@pytest.mark.row("R40")
@pytest.mark.row("R45")
@pytest.mark.parametrize("jobs", [Sidecars, Swept])
def test_a_run_goes_live_all_the_same_and_a_crash_changes_nothing(jobs: type[Jobs]) -> None:
    expected = with_jobs(jobs, PASS)
    expected.play()
    assert (expected.summary()["phase"], expected.summary()["live"]) == ("Promoted", "ft_v1.1")
    assert violations(expected) == []
    trained = [name for name, _ in expected.jobs.created if "-train-1-" in name]
    assert len(trained) == (2 if jobs is Swept else 1), "trained once, and collected where it was swept"
    for where, world in deaths(lambda: with_jobs(jobs, PASS), every=1 if DEEP else 3):
        assert violations(world) == [], where
        assert world.summary() == expected.summary(), where


@pytest.mark.row("R40")
def test_no_sidecar_outlives_its_step_for_long_while_a_person_decides() -> None:
    world = with_jobs(Sidecars, NOBODY_REVIEWS)
    world.play(hours=1000)
    in_review = next(
        w.after for w in world.server.log
        if w.kind is Kind.RUN and ((w.after or {}).get("status") or {}).get("phase") == "InReview"
    )  # fmt: skip
    assert in_review is not None
    last = max(w.at for w in world.server.log if w.kind is Kind.JOB and w.verb == "delete")
    ended = max(a["finishedAt"] for a in in_review["status"]["attempts"])
    assert (last - parse_time(ended)).total_seconds() <= 15
