"""What is said of an object that the operator fails on, by the words alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator.cluster.errors import Invalid
from finetune_operator.cluster.kinds import Kind
from finetune_operator.controller.failures import TRIES, Failures, in_words, patch, refused_in_words

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
STAMP = "2026-11-21T12:00:00Z"
READY = {"type": "Prepared", "status": "True", "reason": "Done", "message": ""}


def raw(*conditions: Any, **status: Any) -> dict[str, Any]:
    return {"metadata": {"generation": 3}, "status": {"phase": "Training", **status, "conditions": [*conditions]}}


@pytest.mark.row("R88")
def test_only_failures_in_a_row_count_and_each_object_has_its_own() -> None:
    failures = Failures()
    assert [failures.count("u") for _ in range(3)] == [1, 2, 3]
    assert failures.count("other") == 1
    failures.forget("u")
    assert failures.count("u") == 1


@pytest.mark.row("R88")
def test_a_bug_is_named_by_the_operators_own_line() -> None:
    try:
        patch(Kind.RUN, {"status": {}}, "w", NOW, ends=False)
    except KeyError as error:
        words = in_words(error)
    assert words.startswith("KeyError in controller/failures.py:")
    assert words.endswith(": 'metadata'")
    assert in_words(ValueError("a; b")) == "ValueError in an unknown place: a, b"
    assert refused_in_words(Invalid("a; b")) == "the API server refuses its status: a, b"
    assert len(in_words(ValueError("x" * 999))) < 400
    assert len(refused_in_words(Invalid("x" * 999))) < 400


@pytest.mark.row("R88")
def test_it_stands_beside_the_other_conditions_since_the_first_time() -> None:
    said = patch(Kind.RUN, raw(READY), "KeyError in a.py:1: 1", NOW, ends=False)
    failed, kept = said["conditions"][-1], said["conditions"][:-1]
    assert kept == [READY]
    assert (failed["type"], failed["status"], failed["reason"]) == ("Reconciled", "False", "ReconcileFailed")
    assert (failed["lastTransitionTime"], failed["observedGeneration"]) == (STAMP, 3)
    assert said["message"] == failed["message"]
    assert set(said) == {"conditions", "message"}
    assert f"after {TRIES} tries the run ends" in said["message"]
    earlier = {**failed, "lastTransitionTime": "2026-11-20T12:00:00Z"}
    assert patch(Kind.RUN, raw(READY, earlier), "KeyError in a.py:1: 2", NOW, ends=False) == {}, "said already"
    again = patch(Kind.RUN, raw(READY, earlier, "junk"), "ValueError in a.py:1: 1", NOW, ends=False)
    assert [c["type"] for c in again["conditions"]] == ["Prepared", "Reconciled"]
    assert again["conditions"][-1]["lastTransitionTime"] == "2026-11-20T12:00:00Z"


@pytest.mark.row("R88")
def test_what_ends_has_its_end_and_no_condition_that_it_fails() -> None:
    failed = patch(Kind.RUN, raw(READY), "a bug", NOW, ends=False)["conditions"][-1]
    pending = {"type": "Finished", "status": "Unknown", "reason": "NotYet", "message": ""}
    ended = patch(Kind.RUN, raw(READY, failed, pending), "a bug", NOW, ends=True)
    assert [c["type"] for c in ended["conditions"]] == ["Prepared", "Finished"]
    finished = ended["conditions"][-1]
    assert (finished["status"], finished["lastTransitionTime"]) == ("True", STAMP)
    assert (ended["phase"], ended["finishedAt"]) == ("Failed", STAMP)
    assert f"failed {TRIES} times: a bug" in ended["message"]


@pytest.mark.row("R88")
@pytest.mark.parametrize("ends", [True, False])
def test_what_is_final_is_left_alone(ends: bool) -> None:
    assert patch(Kind.RUN, raw(phase="Promoted"), "a bug", NOW, ends=ends) == {}


@pytest.mark.row("R88")
def test_an_object_that_has_nothing_yet_can_be_spoken_of() -> None:
    said = patch(Kind.POLICY, {"metadata": {}}, "a bug", NOW, ends=False)
    assert said["conditions"][0]["observedGeneration"] == 0
    assert "it is tried again by itself, each minute" in said["message"]
