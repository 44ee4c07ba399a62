"""What the last release stored on a real API server is read, kept and updated under today's CRDs."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy import Policy
from finetune_operator.api.run import Run
from finetune_operator.api.value import parse, plain
from finetune_operator.decide.run.grounds import grounds_of
from house.api_server import Answer, ApiServer, collection
from house.crds import crds
from house.planes import GROUP, SERVED_SECONDS
from house.samples import Object, changed, sample
from house.stored import crd_of_the_last_release, odd_policy, old_policy, old_run, old_version
from local_cluster import control_plane

pytestmark = pytest.mark.control_plane


def named(manifest: Object, name: str) -> Object:
    return changed(manifest, ("metadata", "name"), name)


SILENT, SAYS = named(old_policy(), "silent"), named(old_policy("0.2"), "says")
ODD = named(odd_policy(), "odd")


@pytest.fixture(scope="module")
def upgraded() -> Iterator[ApiServer]:
    """A control plane on which the last release's objects were stored before its CRDs were replaced by today's."""
    with control_plane(f"test-stored-{os.getpid()}") as plane, closing(ApiServer(plane)) as server:
        for crd in crds().values():
            answer = server.create(crd_of_the_last_release(crd))
            assert answer.accepted, answer.message
        for crd in crds().values():
            until(lambda plural=crd.plural: server.request("GET", f"{GROUP}/namespaces/default/{plural}"))
        for manifest in (old_version(), old_run(), SILENT, SAYS, ODD):
            answer = server.create(changed(manifest, ("status",), None))
            assert answer.accepted, answer.message
        assert server.merge_status(old_run(), old_run()["status"]).accepted
        for crd in crds().values():
            replace_crd(server, crd.manifest)
        until(lambda: server.create(named(sample("FineTunePolicy"), "probe"), dry_run=True))
        until(lambda: server.create(sample("ModelVersion of a fine-tune"), dry_run=True), status=409)
        yield server


def until(request: Any, *, status: int = 0) -> None:
    end = time.monotonic() + SERVED_SECONDS
    while not (answer := request()).accepted and answer.status != status:
        assert time.monotonic() < end, answer.message
        time.sleep(0.1)


def replace_crd(server: ApiServer, manifest: Object) -> None:
    """Put today's CRD in the place of the stored one, as `helm upgrade` and `kubectl apply` do."""
    stored = get(server, manifest)
    version = stored["metadata"]["resourceVersion"]
    answer = server.replace(changed(manifest, ("metadata", "resourceVersion"), version))
    assert answer.accepted, answer.message


def get(server: ApiServer, manifest: Object) -> Object:
    answer = server.request("GET", f"{collection(manifest)}/{manifest['metadata']['name']}")
    assert answer.accepted, answer.message
    return answer.body


def edit(server: ApiServer, manifest: Object, patch: Object) -> Answer:
    path = f"{collection(manifest)}/{manifest['metadata']['name']}?fieldValidation=Strict&dryRun=All"
    return server.request("PATCH", path, patch, "application/merge-patch+json")


class TestVersion:
    def test_its_measurements_are_read_as_figures(self, upgraded: ApiServer) -> None:
        stored = parse(get(upgraded, old_version()), ModelVersion)
        assert stored.spec == parse(old_version(), ModelVersion).spec
        assert stored.spec.evidence is not None
        assert stored.spec.evidence.figure("candidateMap50") == "0.981000"

    def test_it_stays_as_it_is_when_its_status_is_written(self, upgraded: ApiServer) -> None:
        before = get(upgraded, old_version())
        answer = upgraded.merge_status(old_version(), {"phase": "Candidate", "map50": "0.981000"})
        assert answer.accepted, answer.message
        after = get(upgraded, old_version())
        assert after["spec"] == before["spec"]
        assert after["spec"]["evidence"]["measurements"] == old_version()["spec"]["evidence"]["measurements"]
        assert after["status"]["map50"] == "0.981000"
        assert after["metadata"]["generation"] == 1

    def test_people_can_still_label_it(self, upgraded: ApiServer) -> None:
        answer = edit(upgraded, old_version(), {"metadata": {"labels": {"kept": "yes"}}})
        assert answer.accepted, answer.message

    def test_it_can_be_restored_from_a_backup(self, upgraded: ApiServer) -> None:
        restored = changed(old_version(), ("spec", "version"), "ft_v1.2")
        answer = upgraded.create(named(restored, "invoices-ft-v1.2"), dry_run=True)
        assert answer.accepted, answer.message


class TestRun:
    def test_its_verdict_still_stands_on_what_was_measured(self, upgraded: ApiServer) -> None:
        grounds = grounds_of(parse(get(upgraded, old_run()), Run).status)
        assert grounds is not None
        assert grounds.figures[0].value == "0.981000"

    def test_its_status_is_written_and_stays_right(self, upgraded: ApiServer) -> None:
        status = plain(parse(get(upgraded, old_run()), Run).status)
        answer = upgraded.merge_status(old_run(), {**status, "message": "waits"})
        assert answer.accepted, answer.message
        assert answer.body["status"] == {**old_run()["status"], "message": "waits"}


class TestPolicy:
    @pytest.mark.parametrize(("manifest", "holdout"), [(SILENT, "0"), (SAYS, "0.2")])
    def test_its_holdout_stays_what_it_was(self, upgraded: ApiServer, manifest: Object, holdout: str) -> None:
        stored = get(upgraded, manifest)
        assert stored["spec"]["gates"]["newSamples"]["holdout"] == holdout, "the default of the last release was stored"
        assert "holdout" not in stored["spec"]["data"]["pool"]
        assert str(parse(stored, Policy).spec.holdout) == holdout

    def test_its_status_is_written(self, upgraded: ApiServer) -> None:
        answer = upgraded.merge_status(SAYS, {"observedGeneration": 1})
        assert answer.accepted, answer.message
        assert str(parse(answer.body, Policy).spec.holdout) == "0.2"

    def test_what_this_release_refuses_stays_and_is_worked_on(self, upgraded: ApiServer) -> None:
        assert upgraded.merge_status(ODD, {"observedGeneration": 1}).accepted
        assert edit(upgraded, ODD, {"spec": {"minPoolSamples": 77, "suspend": True}}).accepted
        for path, field in ((("spec", "classes"), "spec.classes[0]"), (("spec", "artifacts"), "spec.artifacts.uri")):
            anew = changed(named(sample("FineTunePolicy"), "anew"), path, ODD["spec"][path[1]])
            assert field in {cause.split(":")[0] for cause in upgraded.create(anew, dry_run=True).causes}

    @pytest.mark.parametrize("manifest", [SILENT, SAYS])
    def test_the_pools_holdout_can_be_set_by_an_apply(self, upgraded: ApiServer, manifest: Object) -> None:
        answer = edit(upgraded, manifest, {"spec": {"data": {"pool": {"holdout": "0.20"}}}})
        assert answer.accepted, answer.message
        assert str(parse(answer.body, Policy).spec.holdout) == "0.20"

    @pytest.mark.parametrize("holdout", ["0", "0.3"])
    def test_two_that_differ_are_refused_with_what_to_do(self, upgraded: ApiServer, holdout: str) -> None:
        answer = edit(upgraded, SAYS, {"spec": {"data": {"pool": {"holdout": holdout}}}})
        assert answer.status == 422
        assert "the two differ; remove the former" in answer.message

    def test_the_old_one_can_be_moved(self, upgraded: ApiServer) -> None:
        spec = {"data": {"pool": {"holdout": "0.3"}}, "gates": {"newSamples": {"holdout": None}}}
        answer = edit(upgraded, SAYS, {"spec": spec})
        assert answer.accepted, answer.message
        assert str(parse(answer.body, Policy).spec.holdout) == "0.3"
