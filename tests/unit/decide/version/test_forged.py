"""A verification under whose names somebody makes objects: what is measured is what was asked for, or nothing."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.run_document import document_sha256
from finetune_operator.decide.decision import Action, CreateJob, CreateSnapshot
from finetune_operator.decide.version.view import VersionView
from finetune_operator.decide.views import Problem
from unit.decide.version.test_version import Shelf, result

FOREIGN = Problem("SnapshotInvalid", "ConfigMap 'document' is not the one that was made")


def made(job: CreateJob) -> str:
    return f"v1:{job.name}:{job.nonce}:{job.snapshot_sha256}"


@dataclass
class Watched(Shelf):
    """A shelf on which Jobs are known by what they do."""

    def view(self) -> VersionView:
        return replace(
            super().view(),
            nonce=f"n{len(self.version.status.attempts)}",
            fingerprint=made,
        )

    def _carry_out(self, action: Action) -> None:
        super()._carry_out(action)
        if isinstance(action, CreateJob):
            self.forge(made=made(action))

    def forge(self, **changes: Any) -> None:
        self.jobs = (*self.jobs[:-1], replace(self.jobs[-1], **changes))

    def reasons(self) -> list[str]:
        return [attempt.reason for attempt in self.version.status.attempts]


class Changed(Watched):
    """A shelf where admission changes what every Job does."""

    def _carry_out(self, action: Action) -> None:
        super()._carry_out(action)
        if isinstance(action, CreateJob):
            self.forge(made="v1:changed")


@pytest.mark.row("V17")
def test_the_status_says_which_document_is_to_be_made_before_it_is() -> None:
    shelf = Watched()
    shelf.settle()
    (first,) = [action for action in shelf.history if isinstance(action, CreateSnapshot)]
    assert shelf.version.status.snapshot_sha256 == document_sha256(first.run_document)
    assert isinstance(shelf.history[0], CreateSnapshot)
    job = next(action for action in shelf.history if isinstance(action, CreateJob))
    assert job.snapshot_sha256 == shelf.version.status.snapshot_sha256


@pytest.mark.row("V17")
def test_a_document_made_before_ours_is_not_measured_by() -> None:
    mine = Watched()
    mine.settle()
    assert mine.snapshot is not None
    other = updated(mine.snapshot, owner=updated(mine.snapshot.owner, name="somebody"))
    shelf = Watched(snapshot=other)
    shelf.settle()
    assert shelf.version.status.snapshot_sha256 == mine.version.status.snapshot_sha256 != document_sha256(other)


@pytest.mark.row("V17")
def test_another_document_under_the_name_stops_the_verification_until_it_is_deleted() -> None:
    shelf = Watched()
    shelf.settle()
    shelf.snapshot, shelf.snapshot_problem = None, FOREIGN
    shelf.say(result())
    assert (shelf.verified(), shelf.phase()) == (("False", "SnapshotInvalid"), "Imported")
    shelf.snapshot_problem = None
    shelf.settle()
    assert shelf.verified() == ("True", "Verified")


@pytest.mark.row("V18")
def test_a_job_that_was_made_beforehand_measures_nothing_and_the_next_number_does() -> None:
    shelf = Watched()
    status, _ = shelf.version.status, shelf.settle()
    forged = replace(shelf.jobs[-1], made="v1:evil", state="Complete", exit_code=0)
    shelf.version = updated(shelf.version, status=status)
    shelf.jobs, shelf.snapshot = (forged,), None
    shelf.settle()
    assert shelf.reasons() == ["JobNotOurs"]
    shelf.now = shelf.now.replace(hour=shelf.now.hour + 1)
    shelf.settle()
    shelf.say(result())
    assert (shelf.reasons(), shelf.verified()) == (["JobNotOurs", ""], ("True", "Verified"))


@pytest.mark.row("R130")
def test_jobs_that_are_changed_again_and_again_are_made_ever_more_slowly() -> None:
    """Admission that changes every Job would have one made each ten seconds for ever."""
    shelf, pauses = Changed(), []
    for _ in range(12):
        pauses.append(shelf.settle().requeue_after or timedelta())
        shelf.jobs = ()
        shelf.now += pauses[-1]
    assert set(shelf.reasons()) == {"JobNotOurs"}
    assert pauses[0] == timedelta(seconds=10)
    assert pauses[-1] == timedelta(minutes=30)


@pytest.mark.row("V18")
@pytest.mark.parametrize("reason", ["AmbiguousPods", "PodNotOurs"])
def test_what_pods_say_that_are_not_believed_verifies_nothing(reason: str) -> None:
    shelf = Watched()
    shelf.settle()
    shelf.forge(doubt=Problem(reason, "two could be it"))
    shelf.say(result())
    assert shelf.reasons()[:1] == [reason]
    assert shelf.verified() == ("Unknown", reason)


@pytest.mark.row("V19")
def test_a_document_that_was_deleted_is_made_again_with_the_next_job() -> None:
    shelf = Watched()
    shelf.settle()
    first = shelf.version.status.snapshot_sha256
    shelf.snapshot = None
    shelf.end("Failed", None, 1)
    shelf.now = shelf.now.replace(hour=shelf.now.hour + 1)
    shelf.settle()
    assert shelf.snapshot is not None
    assert document_sha256(shelf.snapshot) == first == shelf.version.status.snapshot_sha256
