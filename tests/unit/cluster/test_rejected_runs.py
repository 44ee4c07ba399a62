"""What a policy sees of what people rejected in its runs: for good, and without reading one."""

import asyncio
from typing import Any

import pytest

from finetune_operator.api.policy_status import Rejected
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.rejected_runs import rejected_in_runs
from simulation.api_server import START, ApiServer
from simulation.controllers import NAMESPACE
from simulation.stories import run
from unit.cluster.test_finished_jobs import Counting

SHA = "a" * 64
NO = {"verdict": "Reject", "by": "ann", "at": "2026-11-21T12:00:00Z", "reason": "bad"}
REJECTED = {
    "phase": "Rejected",
    "verdict": "Review",
    "version": "ft_v1.1",
    "modelVersion": "invoice-fields-ft-v1.1",
    "decision": NO,
    "candidate": {"uri": "s3://bucket/model.onnx", "sha256": SHA},
}


def seen(
    of: str = "invoice-fields",
    says: dict[str, str] | None = None,
    policies: tuple[str, ...] = (),
    **status: Any,
) -> tuple[Rejected, ...]:
    server, made = ApiServer(), run()
    made["spec"] |= {} if says is None else {"review": says}
    meta = server.create("user", Kind.RUN, NAMESPACE, made)["metadata"]
    body = {"status": REJECTED | status}
    server.patch_status("x", Kind.RUN, NAMESPACE, "first", meta["uid"], meta["resourceVersion"], body)
    client = Counting(server)
    noes = asyncio.run(rejected_in_runs(client, NAMESPACE, of, policies))
    assert client.reads == 0
    return noes


@pytest.mark.row("D63")
def test_a_run_tells_what_a_person_rejected() -> None:
    assert seen() == (Rejected(version="ft_v1.1", sha256=SHA, by="ann", at=START, run="first"),)
    assert seen(verdict="Pass") == seen(), "what was rejected in an earlier round may pass in the next"


@pytest.mark.row("D63")
@pytest.mark.parametrize(
    "status",
    [
        {"verdict": "Reject", "decision": NO | {"by": "gates"}},
        {"decision": NO | {"verdict": "Approve"}},
        {"decision": None},
        {"candidate": None},
    ],
)
def test_what_is_not_a_persons_last_word_says_nothing(status: Any) -> None:
    """The gates' no is about what was live; and before the run is over its version has a person's."""
    assert seen(**status) == ()


@pytest.mark.row("D63")
def test_a_run_of_another_model_says_nothing_here() -> None:
    assert seen("invoice") == seen("invoice-fields-ft-v1.1") == ()


EVIDENCE = f"sha256:{SHA}"
LATE = {"decision": "Reject", "evidence": EVIDENCE, "by": "ann"}
OVER: dict[str, Any] = {
    "decision": NO | {"verdict": "Approve"},
    "finishedAt": "2026-11-21T12:00:00Z",
    "evidence": {"digest": EVIDENCE, "uri": "s3://bucket/evaluation.json", "round": 1},
}


ENDS = ["Passed", "Expired", "Superseded", "Failed", "Promoted", "RolledBack", "Adopted"]


@pytest.mark.row("R180")
@pytest.mark.parametrize("phase", ENDS)
def test_a_no_counts_however_the_run_ended(phase: str) -> None:
    """Another run of the same would take its record over and put it live, or a flight would go back to it."""
    known = (Rejected(version="ft_v1.1", sha256=SHA, by="ann", at=START, run="first"),)
    assert seen(says=LATE, **OVER | {"phase": phase}) == known
    earlier = OVER | {"phase": phase, "evidence": None, "earlierEvidence": [EVIDENCE]}
    assert seen(says=LATE, **earlier) == known
    assert seen(says=LATE | {"decision": "Approve"}, **OVER | {"phase": phase}) == ()
    assert seen(says=LATE | {"evidence": f"sha256:{'b' * 64}"}, **OVER | {"phase": phase}) == ()


@pytest.mark.row("R180")
@pytest.mark.parametrize("phase", ENDS)
def test_a_no_of_a_run_that_recorded_nothing_is_known_by_its_policy(phase: str) -> None:
    """Another run recorded the bytes first (R110), or the operator failed on this one (R88)."""
    ended = OVER | {"phase": phase, "version": None, "modelVersion": None}
    known = (Rejected(version="", sha256=SHA, by="ann", at=START, run="first"),)
    assert seen(says=LATE, policies=("invoice-fields", "other"), **ended) == known
    assert seen(says=LATE, policies=("other",), **ended) == ()
    on_record = ended | {"decision": NO}
    assert seen(policies=("invoice-fields",), **on_record) == known


@pytest.mark.row("R205")
@pytest.mark.parametrize("phase", ["Evaluating", "InReview", "Suspended", "Pending", "Promoting"])
def test_a_no_counts_as_soon_as_it_stands_wherever_the_run_is(phase: str) -> None:
    """Its policy may be gone, or the operator fail on it, while a record of an earlier round could go live."""
    for says in ({"says": LATE}, {"decision": NO}):
        (known,) = seen(**OVER | {"phase": phase, "finishedAt": None, "since": "2026-11-21T12:00:00Z"} | says)
        assert (known.by, known.sha256, known.at) == ("ann", SHA, START)
    (known,) = seen(says=LATE, **OVER | {"phase": phase, "finishedAt": None})
    assert (known.by, known.at) == ("ann", START), "it has no end and no `since`: it was made before"


@pytest.mark.row("R205")
def test_a_no_in_a_run_that_cannot_be_read_counts() -> None:
    invalid = {"type": "Accepted", "status": "False", "reason": "Invalid"}
    (known,) = seen(says=LATE, **OVER | {"phase": "InReview", "conditions": [invalid]})
    assert known.by == "ann"


@pytest.mark.row("R205")
def test_a_no_of_a_run_that_recorded_nothing_is_known_by_its_model_when_its_policy_is_gone() -> None:
    ended = OVER | {"phase": "Failed", "version": None, "modelVersion": None, "model": "invoice-fields"}
    (known,) = seen(says=LATE, policies=("other",), **ended)
    assert known.by == "ann"
    assert seen("invoice", says=LATE, policies=("invoice-fields",), **ended) == (), "a policy of another model"
