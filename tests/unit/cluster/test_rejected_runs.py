"""What a policy sees of what people rejected in its runs: for good, and without reading one."""

import asyncio
from typing import Any

import pytest

from finetune_operator.api.policy import Rejected
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


def seen(model: str = "invoice-fields", **status: Any) -> tuple[Rejected, ...]:
    server = ApiServer()
    meta = server.create("user", Kind.RUN, NAMESPACE, run())["metadata"]
    body = {"status": REJECTED | status}
    server.patch_status("x", Kind.RUN, NAMESPACE, "first", meta["uid"], meta["resourceVersion"], body)
    client = Counting(server)
    noes = asyncio.run(rejected_in_runs(client, NAMESPACE, model))
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
        {"phase": "InReview"},
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
