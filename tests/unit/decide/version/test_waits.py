"""A verification that waits says for what, also when that changes, and a refused Job is tried again."""

from dataclasses import replace

import pytest

from finetune_operator.api.meta import find
from finetune_operator.decide.decision import CreateJob, Emit
from finetune_operator.decide.refusal import Refusal
from finetune_operator.decide.version.machine import decide
from finetune_operator.decide.version.refusal import say_refused
from finetune_operator.decide.views import Problem
from unit.decide.run.results import START
from unit.decide.version.test_version import Shelf


def events(shelf: Shelf) -> list[tuple[str, str]]:
    return [(action.type, action.reason) for action in shelf.history if isinstance(action, Emit)]


@pytest.mark.row("R55")
def test_a_verification_that_waits_says_each_new_reason_once() -> None:
    shelf = Shelf()
    shelf.settle()
    for reason in ("Queued", "Unschedulable", "ImagePullFailed"):
        waiting = Problem(reason, f"because of {reason}")
        shelf.jobs = (replace(shelf.jobs[0], waiting=waiting, running_since=None, suspended=reason == "Queued"),)
        shelf.settle()
        assert shelf.verified() == ("Unknown", reason)
        assert f"because of {reason}" in shelf.version.status.message
    assert events(shelf) == [("Normal", "Queued"), ("Warning", "Unschedulable"), ("Warning", "ImagePullFailed")]


@pytest.mark.row("R50")
def test_a_refused_job_of_a_verification_does_not_end_it() -> None:
    shelf = Shelf()
    view = shelf.view()
    decision = decide(view)
    action = next(a for a in decision.actions if isinstance(a, CreateJob))
    said = say_refused(view, decision, Refusal("JobRefused", "Jobs need the label cost-centre", action, START))
    verified = find(said.status.conditions, "Verified")
    assert verified is not None
    assert (verified.status, verified.reason) == ("Unknown", "JobRefused")
    assert "cost-centre" in said.status.message
    assert isinstance(said.actions[0], Emit)
    assert say_refused(view, decision, Refusal("JobRefused", "no", None, START)) is decision
