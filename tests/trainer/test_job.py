"""A step as a Job: exit codes, termination messages, re-emission, SIGTERM, no network, nothing written elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import PrepareInputs, TrainInputs
from finetune_trainer.documents.plan import Counts, Digests
from finetune_trainer.documents.result import PrepareResult
from finetune_trainer.errors import ErrorClass, exit_code
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.publish import Publisher
from finetune_trainer.storage import Storage
from trainer.world import World, context, training_parameters

# Any look-up of a name or connection to elsewhere, by whatever library, is written down and refused.
NO_NETWORK = """
import os, socket
def refuse(name):
    def call(*arguments, **_):
        where = next((a for a in arguments if isinstance(a, (str, tuple))), "")
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{name} {where}\\n")
        raise OSError("no network in this test")
    return call
socket.getaddrinfo = refuse("getaddrinfo")
socket.gethostbyname = refuse("gethostbyname")
socket.create_connection = refuse("create_connection")
whole = socket.socket.connect
socket.socket.connect = lambda self, address: (
    whole(self, address) if self.family == socket.AF_UNIX else refuse("connect")(address)
)
"""


@dataclass
class Pod:
    """A process that runs one step, with its own scratch, document and termination log."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "site").mkdir(parents=True)
        (self.folder / "site" / "sitecustomize.py").write_text(NO_NETWORK)

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def network(self) -> Path:
        return self.folder / "network.log"

    def start(
        self, step: str, document: dict[str, Any] | str, inputs: dict[str, Any] | str, **more: str
    ) -> subprocess.Popen[str]:
        file = self.folder / "run.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        package = str(Path(__file__).parents[2] / "trainer-image" / "src")
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": "/nowhere",
            "PYTHONPATH": os.pathsep.join([str(self.folder / "site"), package]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FINETUNE_DOCUMENT": str(file),
            "FINETUNE_SCRATCH": str(self.scratch),
            "FINETUNE_TERMINATION_LOG": str(self.folder / "termination-log"),
            "NETWORK_LOG": str(self.network),
            **more,
        }
        text = inputs if isinstance(inputs, str) else json.dumps(inputs)
        (self.folder / "work").mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "finetune_trainer", "job", step, "--inputs", text],
            env=environ,
            cwd=self.folder / "work",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, step: str, document: dict[str, Any] | str, inputs: dict[str, Any] | str, **more: str
    ) -> tuple[int, list[Any]]:
        process = self.start(step, document, inputs, **more)
        out, err = process.communicate(timeout=240)
        print(err[-2000:])
        return process.returncode, [json.loads(line) for line in out.splitlines()]

    def message(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "termination-log").read_text())
        return content


@pytest.fixture
def job(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "job")


@pytest.fixture
def plan(world: World, base: dict[str, Any], tmp_path: Path) -> FileReference:
    document = world.parsed(base, mixing__ratio="1")
    return prepare(context("prepare", document, tmp_path / "prepare"), document, PrepareInputs(1)).plan


def test_training_needs_no_network_and_writes_only_to_scratch_and_artifacts(
    job: Pod, world: World, base: dict[str, Any], plan: FileReference
) -> None:
    document = world.document(base, mixing__ratio="1", training=training_parameters(epochs=1))
    before = {p for p in world.root.rglob("*") if not p.is_relative_to(job.folder)}
    code, lines = job.run("train", document, {"attempt": 1, "plan": {"uri": plan.uri, "sha256": plan.sha256}})
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
    started = time.monotonic()
    again = {"attempt": 1, "plan": {"uri": plan.uri, "sha256": plan.sha256}}
    code, lines = job.run("train", document, again, FINETUNE_COLLECT="true")
    assert (code, job.message()) == (0, first)
    assert len(lines) == 1
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("step", ["prepare", "train"])
def test_a_job_that_collects_makes_nothing(job: Pod, world: World, base: dict[str, Any], step: str) -> None:
    document = world.document(base, mixing__ratio="1")
    inputs: dict[str, Any] = {"attempt": 2, "live": None}
    if step == "train":
        inputs = {"attempt": 2, "plan": {"uri": "file:///nowhere/plan.json", "sha256": "0" * 64}}
    code, lines = job.run(step, document, inputs, FINETUNE_COLLECT="true")
    assert (code, lines[-1]["error"]["reason"]) == (1, "ResultMissing")
    assert len(lines) == 1
    assert not list(world.artifacts.rglob("attempt-2"))


def test_sigterm_ends_training_at_once_as_preempted(
    job: Pod, world: World, base: dict[str, Any], plan: FileReference
) -> None:
    document = world.document(base, mixing__ratio="1", training=training_parameters(epochs=500))
    process = job.start("train", document, {"attempt": 1, "plan": {"uri": plan.uri, "sha256": plan.sha256}})
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("epoch", 0) >= 1:
            break
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert time.monotonic() - sent < 20
    assert job.message()["error"]["class"] == "Preempted"
    assert job.message()["attempt"] == 1
    assert not list(world.artifacts.rglob("train/manifest.json")), "what is not complete does not exist"


@pytest.mark.parametrize(
    ("document", "inputs", "said"),
    [
        ("not json", {"attempt": 1}, "run document"),
        ('{"schema": "finetune-operator.io/run-document/v9"}', {"attempt": 1}, "run-document/v9"),
        ("{}", "not json", "--inputs of prepare"),
        ("{}", {"attempt": 0}, "$.attempt"),
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
    code, _ = job.run("prepare", world.document(base), {"attempt": 1}, FINETUNE_DOCUMENT_SHA256="0" * 64)
    assert code == 10
    error = job.message()["error"]
    assert (error["class"], error["reason"]) == ("BadInput", "ContractViolated")
    assert "not the one that the Job was made for" in error["message"]


def test_a_step_of_another_mode_is_refused(job: Pod, world: World, base: dict[str, Any]) -> None:
    code, _ = job.run("verify", world.document(base), {"attempt": 1})
    assert code == 10
    assert "mode FineTune" in job.message()["error"]["message"]


def test_bad_data_ends_prepare_with_code_10_and_the_owner_in_the_message(
    job: Pod, world: World, base: dict[str, Any]
) -> None:
    code, _ = job.run("prepare", world.document(base, mixing__minPoolSamples=50), {"attempt": 3, "live": None})
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
    return Publisher(Storage(), artifacts=artifacts, owner=owner, step="prepare", attempt=attempt, round_=None)


def result(pool: int) -> PrepareResult:
    counts = Counts(pool=pool, fresh=pool, held_out=0, train=1, new=1, old=0, anchor=1, val=1, test=1)
    digests = Digests("p", "a", "t", "n")
    return PrepareResult(**asdict(counts), plan=FileReference("file:///plan", "0" * 64), ratio="5", digests=digests)


def test_of_two_pods_of_one_attempt_the_first_to_finish_counts(tmp_path: Path) -> None:
    artifacts = (tmp_path / "artifacts").as_uri()
    one, other = (publisher_of(artifacts, "uid-1", 1) for _ in range(2))
    mine, theirs = one.file("plan.json", b"{1}"), other.file("plan.json", b"{2}")
    assert mine.uri != theirs.uri
    first = one.finish(result(60))
    assert other.finish(result(61)) == first
    assert first.result is not None
    assert first.result["pool"] == 60


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
    manifest = json.loads((tmp_path / "attempt-2" / "prepare" / "manifest.json").read_text())
    [file] = manifest["files"]
    assert (file["sha256"], file["bytes"]) == (located.sha256, 2)
    assert (tmp_path / "attempt-2" / "prepare" / file["path"]).read_bytes() == b"{}"


def test_a_checkpoint_of_other_classes_never_trains(
    world: World, base: dict[str, Any], plan: FileReference, tmp_path: Path
) -> None:
    """The operator's snapshot and the plan agree, but the checkpoint's weights mean other fields."""
    import hashlib

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
        train(context("train", document, tmp_path / "s"), document, TrainInputs(1, plan))
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS
