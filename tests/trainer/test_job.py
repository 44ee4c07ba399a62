"""A step as a Job: exit codes, termination messages, re-emission, SIGTERM, no network, nothing written elsewhere."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import PrepareInputs, TrainInputs
from finetune_trainer.documents.plan import Counts, Digests, NewSetCounts
from finetune_trainer.documents.result import (
    Artifact,
    Measured,
    PrepareResult,
    StepName,
    TestSet,
    VerifiedModels,
    VerifyResult,
)
from finetune_trainer.errors import ErrorClass, exit_code
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.publish import Publisher
from finetune_trainer.storage import Storage
from trainer.pods import Pod
from trainer.world import NONCE, World, context, training_parameters


@pytest.fixture
def job(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "job")


@pytest.fixture
def plan(world: World, base: dict[str, Any], tmp_path: Path) -> FileReference:
    document = world.parsed(base, mixing__ratio="1")
    return prepare(context("prepare", document, tmp_path / "prepare"), document, PrepareInputs(1, NONCE)).plan


def test_training_needs_no_network_and_writes_only_to_scratch_and_artifacts(
    job: Pod, world: World, base: dict[str, Any], plan: FileReference
) -> None:
    document = world.document(base, mixing__ratio="1", training=training_parameters(epochs=1))
    before = {p for p in world.root.rglob("*") if not p.is_relative_to(job.folder)}
    code, lines = job.run(
        "train", document, {"attempt": 1, "nonce": NONCE, "plan": {"uri": plan.uri, "sha256": plan.sha256}}
    )
    assert code == 0
    assert not job.network.exists(), job.network.read_text()
    assert list((job.folder / "work").iterdir()) == []
    new = {p for p in world.root.rglob("*") if not p.is_relative_to(job.folder)} - before
    assert all(p.is_relative_to(world.artifacts) for p in new)
    assert lines[-1] == job.message()
    assert {line["schema"] for line in lines[:-1]} == {"finetune-operator.io/progress/v1"}
    assert [line["activity"] for line in lines[:2]] == ["starting", "fetching data"]
    result = job.message()["result"]
    assert result["images"] == 24
    model = Storage().read(result["artifact"]["uri"])
    assert len(model) == result["artifact"]["bytes"]

    # The same attempt again, as a second pod of the Job: the manifest is re-emitted, nothing is redone.
    first = job.message()
    (job.folder / "termination-log").unlink()
    again = {"attempt": 1, "nonce": NONCE, "plan": {"uri": plan.uri, "sha256": plan.sha256}}
    code, lines = job.run("train", document, again, FINETUNE_COLLECT="true")
    assert (code, job.message()) == (0, first)
    assert len(lines) == 1


@pytest.mark.parametrize("step", ["prepare", "train"])
def test_a_job_that_collects_makes_nothing(job: Pod, world: World, base: dict[str, Any], step: str) -> None:
    document = world.document(base, mixing__ratio="1")
    inputs: dict[str, Any] = {"attempt": 2, "nonce": NONCE, "live": None}
    if step == "train":
        inputs = {"attempt": 2, "nonce": NONCE, "plan": {"uri": "file:///nowhere/plan.json", "sha256": "0" * 64}}
    code, lines = job.run(step, document, inputs, FINETUNE_COLLECT="true")
    assert (code, lines[-1]["error"]["reason"]) == (1, "ResultMissing")
    assert len(lines) == 1
    assert not list(world.artifacts.rglob("attempt-2"))


def test_sigterm_ends_training_at_once_as_preempted(
    job: Pod, world: World, base: dict[str, Any], plan: FileReference
) -> None:
    document = world.document(base, mixing__ratio="1", training=training_parameters(epochs=500))
    process = job.start(
        "train", document, {"attempt": 1, "nonce": NONCE, "plan": {"uri": plan.uri, "sha256": plan.sha256}}
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("epoch", 0) >= 1:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)  # in which no 500 epochs are trained
    assert process.returncode == 143
    assert job.message()["error"]["class"] == "Preempted"
    assert job.message()["attempt"] == 1
    assert not list(world.artifacts.rglob(f"train-{NONCE}/manifest.json")), "what is not complete does not exist"


@pytest.mark.parametrize(
    ("document", "inputs", "said"),
    [
        ("not json", {"attempt": 1, "nonce": NONCE}, "run document"),
        ('{"schema": "finetune-operator.io/run-document/v9"}', {"attempt": 1, "nonce": NONCE}, "run-document/v9"),
        ("{}", "not json", "--inputs of prepare"),
        ("{}", {"attempt": 0, "nonce": NONCE}, "$.attempt"),
    ],
)
def test_documents_that_cannot_be_read_are_bad_input(
    job: Pod, document: str, inputs: dict[str, Any] | str, said: str
) -> None:
    code, _ = job.run("prepare", document, inputs)
    assert code == 10
    error = job.message()["error"]
    assert (error["class"], error["reason"]) == ("BadInput", "ContractViolated")
    assert said in error["message"]
    assert error["remedy"]


def test_a_document_other_than_the_one_that_is_meant_is_refused(job: Pod, world: World, base: dict[str, Any]) -> None:
    code, _ = job.run(
        "prepare", world.document(base), {"attempt": 1, "nonce": NONCE}, FINETUNE_DOCUMENT_SHA256="0" * 64
    )
    assert code == 10
    error = job.message()["error"]
    assert (error["class"], error["reason"]) == ("BadInput", "ContractViolated")
    assert "not the one that the Job was made for" in error["message"]


def test_a_step_of_another_mode_is_refused(job: Pod, world: World, base: dict[str, Any]) -> None:
    code, _ = job.run("verify", world.document(base), {"attempt": 1, "nonce": NONCE})
    assert code == 10
    assert "mode FineTune" in job.message()["error"]["message"]


def test_bad_data_ends_prepare_with_code_10_and_the_owner_in_the_message(
    job: Pod, world: World, base: dict[str, Any]
) -> None:
    code, _ = job.run(
        "prepare", world.document(base, mixing__minPoolSamples=50), {"attempt": 3, "nonce": NONCE, "live": None}
    )
    message = job.message()
    assert code == 10
    assert (message["outcome"], message["owner"], message["attempt"]) == ("Failed", "uid-1", 3)
    assert message["error"]["reason"] == "PoolTooSmall"


@pytest.mark.parametrize(
    ("error_class", "code"),
    [
        (ErrorClass.BAD_INPUT, 10),
        (ErrorClass.BAD_TRAINING, 11),
        (ErrorClass.OUT_OF_MEMORY, 12),
        (ErrorClass.UNAVAILABLE, 13),
        (ErrorClass.PREEMPTED, 143),
        (ErrorClass.INTERNAL, 1),
    ],
)
def test_exit_codes_are_those_of_the_contract(error_class: ErrorClass, code: int) -> None:
    assert exit_code(error_class) == code


def publisher_of(artifacts: str, owner: str, attempt: int) -> Publisher:
    return Publisher(
        Storage(), artifacts=artifacts, owner=owner, step="prepare", attempt=attempt, round_=None, nonce=NONCE
    )


def result(pool: int) -> PrepareResult:
    counts = Counts(pool, 0, 0, outside=1, new=1, corrected=0, fresh=pool, train=1, old=0, anchor=1, val=1, test=1)
    digests = Digests("p", "a", "t", "n")
    return PrepareResult(
        **asdict(counts),
        plan=FileReference("file:///plan", "0" * 64),
        ratio="5",
        new_set=NewSetCounts(1, 3, 1),
        digests=digests,
    )


def test_of_two_pods_of_one_attempt_the_first_to_finish_counts(tmp_path: Path) -> None:
    artifacts = (tmp_path / "artifacts").as_uri()
    one, other = (publisher_of(artifacts, "uid-1", 1) for _ in range(2))
    mine, theirs = one.file("plan.json", b"{1}"), other.file("plan.json", b"{2}")
    assert mine.uri != theirs.uri
    first = one.finish(result(60))
    assert other.finish(result(61)) == first
    assert first.result is not None
    assert first.result["pool"] == 60


def measuring(artifacts: str, step: StepName = "evaluate", nonce: str = NONCE) -> Publisher:
    round_ = 1 if step == "evaluate" else None
    return Publisher(Storage(), artifacts=artifacts, owner="uid-1", step=step, attempt=1, round_=round_, nonce=nonce)


def figures(map50: str) -> VerifyResult:
    measured = Measured("b" * 64, map50, None, None, "0.9", "0.05")
    artifact = Artifact("file:///model.onnx", "b" * 64, 9)
    return VerifyResult("s" * 64, "evaluator", TestSet("t" * 64, 24, 72), VerifiedModels(measured), artifact)


@pytest.mark.parametrize("step", ["evaluate", "verify"])
def test_what_measures_takes_no_manifest_that_it_finds(tmp_path: Path, step: StepName) -> None:
    """Another pod of the attempt, or whoever knows the nonce, left complete and better figures in every place."""
    artifacts = (tmp_path / "artifacts").as_uri()
    planted = measuring(artifacts, step)
    planted.file("report.json", b"planted")
    planted.finish(figures("0.999999"))
    honest = measuring(artifacts, step)
    assert honest.existing() is None
    report = honest.file("report.json", b"measured")
    emitted = honest.finish(figures("0.500000"))
    assert emitted.result is not None
    assert emitted.result["models"]["base"]["map50"] == "0.500000"  # type: ignore[index]
    assert emitted.manifest is not None
    written = Storage().read(emitted.manifest.uri)
    assert hashlib.sha256(written).hexdigest() == emitted.manifest.sha256
    assert b"0.999999" not in written
    assert report.uri.rpartition("/")[0] == emitted.manifest.uri.rpartition("/")[0], "the report lies beside it"


def test_what_measures_writes_below_a_folder_that_training_can_be_kept_out_of(tmp_path: Path) -> None:
    artifacts = tmp_path.as_uri()
    for step in ("evaluate", "verify"):
        measuring(artifacts, step).finish(figures("0.5"))
    publisher_of(artifacts, "uid-1", 1).finish(result(60))
    measured = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("manifest.json") if NONCE in str(p.parents[1])}
    made = [p.relative_to(tmp_path).parts[:2] for p in tmp_path.rglob("manifest.json") if p.parents[2] == tmp_path]
    assert measured == {"evaluations"}
    assert made == [("attempt-1", f"prepare-{NONCE}")]


def test_an_attempt_finds_nothing_that_was_planted_before_its_nonce_was_known(tmp_path: Path) -> None:
    artifacts = tmp_path.as_uri()
    for name in ("prepare", "prepare-", "prepare-0000"):
        folder = tmp_path / "attempt-1" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    assert publisher_of(artifacts, "uid-1", 1).existing() is None


def test_a_planted_evaluation_is_not_collected_either(job: Pod, world: World, base: dict[str, Any]) -> None:
    """A Job that is to bring a manifest brings none of a measurement, not even from the right place."""
    document = world.document(base)
    place = world.artifacts / "ml" / "uid-1" / "evaluations" / f"evaluate-attempt-1-round-1-{NONCE}"
    place.mkdir(parents=True)
    (place / "manifest.json").write_text("{}")
    anywhere = {"uri": "file:///nowhere", "sha256": "0" * 64}
    inputs = {"attempt": 1, "nonce": NONCE, "round": 1, "plan": anywhere, "candidate": anywhere, "live": None}
    code, lines = job.run("evaluate", document, inputs, FINETUNE_COLLECT="true")
    assert (code, lines[-1]["error"]["reason"]) == (1, "ResultMissing")


def test_a_manifest_of_another_owner_is_an_error_not_a_result(tmp_path: Path) -> None:
    artifacts = (tmp_path / "artifacts").as_uri()
    publisher_of(artifacts, "uid-1", 1).finish(result(60))
    from finetune_trainer.errors import StepError

    with pytest.raises(StepError, match="belongs to uid-1"):
        publisher_of(artifacts, "uid-2", 1).existing()


def test_a_manifest_lists_every_file_with_its_digest(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path.as_uri(), "uid-1", 2)
    located = publisher.file("plan.json", b"{}")
    publisher.finish(result(60))
    manifest = json.loads((tmp_path / "attempt-2" / f"prepare-{NONCE}" / "manifest.json").read_text())
    [file] = manifest["files"]
    assert (file["sha256"], file["bytes"]) == (located.sha256, 2)
    assert (tmp_path / "attempt-2" / f"prepare-{NONCE}" / file["path"]).read_bytes() == b"{}"


def test_a_checkpoint_of_other_classes_never_trains(
    world: World, base: dict[str, Any], plan: FileReference, tmp_path: Path
) -> None:
    """The operator's snapshot and the plan agree, but the checkpoint's weights mean other fields."""
    import torch

    from finetune_trainer.errors import Reason, StepError
    from finetune_trainer.steps.train import train
    from finetune_trainer.storage import local_path

    source = local_path(base["checkpoint"]["uri"])
    assert source is not None
    checkpoint = torch.load(source, weights_only=False)
    checkpoint["model"].names = {0: "date", 1: "number", 2: "total"}
    torch.save(checkpoint, tmp_path / "swapped.pt")
    digest = hashlib.sha256((tmp_path / "swapped.pt").read_bytes()).hexdigest()
    own = base | {"checkpoint": {"uri": (tmp_path / "swapped.pt").as_uri(), "sha256": digest}}
    document = world.parsed(own, mixing__ratio="1")
    with pytest.raises(StepError, match="'date' instead of 'number'") as caught:
        train(context("train", document, tmp_path / "s"), document, TrainInputs(1, NONCE, plan))
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS
