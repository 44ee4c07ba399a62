"""Scans on a real API server: a Job of the policy, counts in its status, again when it is edited, gone with it."""

import pytest

from house.api_server import Object

from .node import ScriptedNode
from .world import Operator, Space, eventually

POLICY = "invoice-fields"


def scans(space: Space) -> list[Object]:
    """Return the Jobs of scans, the oldest first."""
    jobs = [job for job in space.all("jobs") if job["metadata"]["labels"]["finetune-operator.io/step"] == "scan"]
    return sorted(jobs, key=lambda job: int(job["metadata"]["labels"]["finetune-operator.io/attempt"]))


def scanned(space: Space) -> tuple[str, str]:
    conditions = space.policy_status().get("conditions", ())
    shown: Object = next((c for c in conditions if c["type"] == "Scanned"), {})
    return shown.get("status", ""), shown.get("reason", "")


def attempt(space: Space) -> Object:
    attempts: list[Object] = (space.policy_status().get("scan") or {}).get("attempts") or [{}]
    return attempts[-1]


def capture(space: Space, uri: str = "file:///production") -> None:
    body = {"spec": {"data": {"production": {"uri": uri}}, "scan": {"intervalSeconds": 86_400}}}
    assert space.patch("finetunepolicies", POLICY, body).accepted


def test_a_policy_scans_and_goes_on_when_it_is_edited_or_suspended(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    eventually(lambda: space.policy_status().get("observedGeneration"), what="a first look")
    assert scanned(space) == ("", ""), "nobody asked for a scan"
    capture(space)
    eventually(lambda: scanned(space) == ("True", "Scanned"), what="the first scan")
    counted = space.policy_status()["scan"]["counted"]
    assert (counted["pool"], counted["pages"]["random"]) == (60, 1)
    (job,) = scans(space)
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("FineTunePolicy", POLICY, True)

    assert space.patch("finetunepolicies", POLICY, {"spec": {"suspend": True}}).accepted
    capture(space, "s3://bucket/production")
    eventually(lambda: attempt(space)["attempt"] == 2 and scanned(space)[0] == "True", what="a scan of what was edited")
    eventually(lambda: [j["metadata"]["labels"]["finetune-operator.io/attempt"] for j in scans(space)] == ["2"],
               what="the end of the older Job")  # fmt: skip
    assert operator.metric("finetune_scanned_samples", f'namespace="{space.namespace}"') >= 60
    documents = [m for m in space.all("configmaps") if "-scan-" in m["metadata"]["name"]]
    assert len(documents) == 2
    assert all(document["immutable"] for document in documents)


@pytest.mark.deep
def test_a_killed_operator_goes_on_with_the_scan_that_was_under_way(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    node.holds.add("scan")
    capture(space)
    eventually(lambda: attempt(space).get("jobUid"), what="a scan under way")
    operator.kill()
    node.holds.clear()
    eventually(lambda: scans(space)[0]["status"].get("succeeded"), what="its end, unseen")
    operator.start()
    eventually(lambda: scanned(space) == ("True", "Scanned"), what="its counts")
    assert [job["metadata"]["labels"]["finetune-operator.io/attempt"] for job in scans(space)] == ["1"]


def test_a_policy_takes_its_scans_and_their_documents_along(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    node.holds.add("scan")
    capture(space)
    eventually(lambda: attempt(space).get("jobUid"), what="a scan under way")
    space.delete("finetunepolicies", POLICY)
    eventually(lambda: not scans(space), what="the end of its Job")
    eventually(lambda: not [m for m in space.all("configmaps") if "-scan-" in m["metadata"]["name"]],
               what="the end of its document")  # fmt: skip


@pytest.mark.row("D133")
def test_a_quota_on_jobs_is_said_in_scanned_and_leaves_the_policy_ready(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    eventually(lambda: space.policy_status().get("observedGeneration"), what="a first look")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "jobs"},
             "spec": {"hard": {"count/jobs.batch": "0"}}}  # fmt: skip
    quotas = f"/api/v1/namespaces/{space.namespace}/resourcequotas"
    assert space.server.request("POST", quotas, quota).accepted
    eventually(lambda: space.server.request("GET", f"{quotas}/jobs").body.get("status", {}).get("hard"), what="it")
    capture(space)
    eventually(lambda: scanned(space) == ("False", "QuotaExceeded"), what="the refusal")
    ready = next(c for c in space.policy_status()["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True"
    assert space.server.request("DELETE", f"{quotas}/jobs").accepted
    eventually(lambda: scanned(space) == ("True", "Scanned"), seconds=90, what="the scan")
