"""The loop in real pods: a policy that starts runs, and pages that are captured, counted and removed in time."""

import copy
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from e2e.bucket import TEMPLATE, Bucket
from e2e.capturing import DETECTOR, capturing, people_send
from e2e.deciding import POLICY, counted, deciding, due, entry, fired, new_pool, run_names, trigger, wait_due
from e2e.stories import LENIENT, Stories
from e2e.test_stories import RUIN

OF_DETECTOR = f"invoices/{DETECTOR}"
BY_VOLUME = {"volume": {"newSamples": 50}}
EACH_MINUTE = {"schedule": {"cron": "* * * * *"}, "start": "Suspended"}
PAGES = 8
PAST_A_WINDOW = 65.0


def test_a_policy_fires_by_volume_and_not_below_the_minimum(stories: Stories) -> None:
    """34 of 50 are not enough; with 20 more a run is made, goes live by its gates, and no second one follows."""
    pool = new_pool(stories)
    pool.add(0, 34)
    known = run_names(stories)
    with deciding(stories, pool, BY_VOLUME, **LENIENT):
        wait_due(stories, "NotEnoughNewSamples", "34 of 50 new samples")
        assert run_names(stories) == known
        pool.add(34, 54)
        run = fired(stories, known)
        why = trigger(stories, run)
        assert (why["kind"], why["requester"]) == ("Volume", f"FineTunePolicy {POLICY}"), why
        assert {figure["name"]: figure["value"] for figure in why["figures"]}["new"] == "54"
        status = stories.until(run)
        assert status["phase"] == "Promoted", status.get("message")
        wait_due(stories, "NotEnoughNewSamples", "0 of 50 new samples")
        assert run_names(stories) == {*known, run}
        assert (entry(stories, run)["outcome"], status["inputs"]["new"]) == ("Judged", 54)
    stories.tale.wait_live(status["version"])


def test_a_rejected_mix_is_not_trained_again(stories: Stories) -> None:
    """The gates reject what a ruined training makes; its samples are new no more, and nothing live changed."""
    pool = new_pool(stories)
    pool.add(0, 55)
    known, before = run_names(stories), stories.replica_sets()
    with deciding(stories, pool, BY_VOLUME, training=RUIN):
        run = fired(stories, known)
        status = stories.until(run, "InReview", "Rejected", "Promoted", "Failed")
        assert status["phase"] == "Rejected", json.dumps(status.get("gates"))
        wait_due(stories, "NotEnoughNewSamples", "0 of 50 new samples")
        assert run_names(stories) == {*known, run}
        assert (stories.live(), stories.replica_sets()) == ("base_v1", before)


def test_a_schedule_fires_one_draft_and_a_deleted_one_does_not_come_back(stories: Stories) -> None:
    """Each minute is a window: a suspended run is made once, and after it was deleted no window makes it again."""
    pool = new_pool(stories)
    pool.add(0, 52)
    known = run_names(stories)
    with deciding(stories, pool, EACH_MINUTE):
        run = fired(stories, known)
        assert trigger(stories, run)["kind"] == "Schedule", trigger(stories, run)
        assert stories.until(run, "Suspended", seconds=60)["phase"] == "Suspended"
        stories.kube.wait("the draft is named", lambda: run in due(stories)[1], 60)
        time.sleep(PAST_A_WINDOW)
        assert run_names(stories) == {*known, run}
        assert stories.jobs(run) == {}
        stories.kube.kubectl("delete", "finetunerun", run)
        stories.kube.wait("the deletion is seen", lambda: entry(stories, run)["outcome"] == "Deleted", 60)
        time.sleep(PAST_A_WINDOW)
        assert run_names(stories) == known, due(stories)


def test_two_policies_on_one_pool_make_a_run_each(stories: Stories) -> None:
    """What is new for one is new for the other: two drafts of two names, and none of them twice."""
    pool, other, kube = new_pool(stories), "second-fields", stories.kube
    pool.add(0, 51)
    known = run_names(stories)
    triggers = BY_VOLUME | {"start": "Suspended"}
    with deciding(stories, pool, triggers), second_policy(stories, other):
        runs = {POLICY: fired(stories, known), other: fired(stories, set(), policy=other)}
        assert len(set(runs.values())) == 2
        for policy, run in runs.items():
            assert trigger(stories, run)["requester"] == f"FineTunePolicy {policy}"
        scanned = {policy: counted(stories, policy)["at"] for policy in runs}
        for policy, run in runs.items():
            kube.wait(f"another scan of {policy}", lambda p=policy: counted(stories, p)["at"] > scanned[p], 180)  # type: ignore[misc]
            assert (counted(stories, policy)["new"], due(stories, policy)[0]) == (51, "Fired"), due(stories, policy)
            assert run_names(stories, policy) - known == {run}


@contextmanager
def second_policy(stories: Stories, name: str) -> Iterator[None]:
    """Have a policy like the first one on a Deployment of its own, which serves nothing."""
    kube, spec = stories.kube, copy.deepcopy(stories.policy()["spec"])
    pod = {"containers": [{"name": "server", "image": "localhost/none:1"}]}
    selected = {"app": name}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": kube.namespace,
            "labels": selected | {"finetune-operator.io/managed": "true"},
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": selected},
            "template": {"metadata": {"labels": selected}, "spec": pod},
        },
    }
    kube.apply(json.dumps(deployment))
    stories.apply("FineTunePolicy", name, spec | {"deployment": name})
    try:
        yield
    finally:
        kube.kubectl("delete", "finetunepolicy", name)
        for run in run_names(stories, name):
            kube.kubectl("delete", "finetunerun", run, "--ignore-not-found")
        kube.kubectl("delete", "deployment", name)


@contextmanager
def scanning(stories: Stories, bucket: Bucket, keep_days: int, **spec: Any) -> Iterator[None]:
    """Let the policy count, and in time remove, what is captured in the bucket; it has, once."""
    before = counted(stories).get("at", "")
    production = {"uri": bucket.uri, "keepDays": keep_days}
    rules = {"data": {"production": production}, "podTemplates": {"scan": TEMPLATE}, "scan": {"intervalSeconds": 60}}
    stories.patch_policy(**rules, **spec)
    try:
        # What was counted before, elsewhere perhaps, stands until then.
        stories.kube.wait("a scan", lambda: counted(stories).get("at", "") > before, 120)
        yield
    finally:
        nothing = {"data": {"production": None}, "podTemplates": {"scan": None}, "scan": None}
        stories.patch_policy(**nothing, **dict.fromkeys(spec))


def test_pages_that_pods_answered_lie_in_the_bucket_and_are_counted(stories: Stories, bucket: Bucket) -> None:
    """Every page that was answered is there with its record, reports too; the scan says how many of what."""
    with capturing(stories, bucket):
        reports = [said["kept"] for said in people_send(stories, "/data/verified", PAGES) if "kept" in said]
        assert reports, "the base reads every page of suppliers that it has never seen"
        assert all(kept == {"report": True, "page": True} for kept in reports), reports
    stories.kube.wait("a window, by a drained pod", lambda: any("/windows/" in p for p in bucket.files()), 60)
    files = [path for path in bucket.files() if path.startswith(f"{OF_DETECTOR}/days/")]
    assert f"{OF_DETECTOR}/capture.json" in bucket.files()
    kinds = {kind: sum(f"/{kind}/" in path for path in files) for kind in ("pages/random", "files", "reports")}
    assert kinds == {"pages/random": PAGES, "files": PAGES, "reports": len(reports)}, files
    with scanning(stories, bucket, keep_days=30):
        counts = counted(stories)
    today = datetime.now(UTC).date()
    pages = {name: counts["pages"].get(name) for name in ("random", "uncertain", "reported")}
    assert pages == {"random": PAGES, "uncertain": 0, "reported": 0}, counts
    assert counts["pages"]["oldest"] in {str(today), str(today - timedelta(days=1))}
    assert counts["answered"] == PAGES, counts


def test_a_scan_of_a_suspended_policy_removes_old_days_and_nothing_else(stories: Stories, bucket: Bucket) -> None:
    """Days older than keepDays go, with all that is below them; younger ones stay, and those of other Deployments."""
    today = datetime.now(UTC).date()
    old, young = (f"{OF_DETECTOR}/days/{today - timedelta(days=days)}" for days in (30, 29))
    gone = {
        f"{day}/{path}": "{}"
        for day in (old, f"{OF_DETECTOR}/days/2020-01-01")
        for path in ("pages/random/a.json", "pages/reported/b.json", "files/c", "reports/d.json", "windows/e.json")
    }
    stays = {
        f"{young}/pages/random/a.json": "{}",
        f"{young}/files/c": "a page",
        "invoices/other-detector/days/2020-01-01/files/c": "a page of another Deployment",
        "other/invoice-detector/days/2020-01-01/files/c": "a page of another namespace",
        f"{OF_DETECTOR}/days/notes.txt": "no day",
    }
    bucket.write(gone | stays)
    before = bucket.files()
    with scanning(stories, bucket, keep_days=30, suspend=True):
        stories.kube.wait("old days are gone", lambda: not bucket.files() & gone.keys(), 120)
        assert counted(stories)["pages"]["oldest"] == str(today - timedelta(days=29)), counted(stories)
    after = bucket.files()
    assert before - after == gone.keys()
    assert all("/weeks/" in path for path in after - before), "numbers alone outlive the days"
    assert f"{OF_DETECTOR}/weeks/2020-W01.json" in after
    events = stories.kube.kubectl("get", "events", "-o", "json", "--field-selector", "reason=PagesExpired")
    assert "removed 2 days of captured pages" in events
