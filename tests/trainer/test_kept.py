"""What a training keeps for the next attempt: found, believed only under its seal, and gone at the end."""

from __future__ import annotations

import errno
import json
import pickle
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EarlierAttempt, PrepareInputs, TrainInputs
from finetune_trainer.documents.result import ResumedFrom, TrainResult
from finetune_trainer.errors import ErrorClass, Reason, StepError
from finetune_trainer.progress import Progress
from finetune_trainer.steps.kept import KeptStates, binding_of
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.scratch import clear
from finetune_trainer.steps.train import train
from finetune_trainer.storage import Storage, join
from finetune_trainer.storage_errors import translated
from finetune_trainer.training.state import Figures, TrainingState
from trainer.killing import killed_in
from trainer.pods import Pod
from trainer.tiny_training import Lines
from trainer.training_call import arguments
from trainer.world import NONCE, World, context, training_parameters

PLAN = FileReference("file:///plan.json", "a" * 64)
BASE = {
    "version": "base_v1",
    "artifact": {"uri": "file:///base.onnx", "sha256": "b" * 64},
    "checkpoint": {"uri": "file:///base.pt", "sha256": "c" * 64},
    "inputs": None,
}


def state(epochs: int, weight: float = 0.5) -> TrainingState:
    figures = Figures(
        epochs=epochs,
        batch=4,
        last_step=9,
        updates=3,
        losses={"box": "1.0"},
        results="epoch,time\n1,2\n",
        stopper={"best_fitness": 0.0},
        groups=({"lr": 0.1},),
        recent=(),
        best=None,
    )
    return TrainingState(figures, {"model/a": np.full((2, 3), weight, np.float32), "model/n": np.array(7)})


class Attempts:
    """The attempts of one training, whose artifacts go to `place`."""

    def __init__(self, place: str, scratch: Path) -> None:
        self.document = World(scratch).parsed(BASE, artifacts__uri=place)
        self.scratch = scratch
        self.lines = Lines()

    def attempt(self, number: int, *, nonces: dict[int, str] | None = None, binding: str = "b" * 64) -> KeptStates:
        """The states as the attempt of that number sees them; its nonce, and of those before it, is `n<number>`."""
        before = {n: f"n{n}" for n in range(1, number)} if nonces is None else nonces
        earlier = tuple(EarlierAttempt(n, nonce) for n, nonce in before.items())
        given = replace(context("train", self.document, self.scratch / str(number)), progress=self.progress)
        inputs = TrainInputs(number, f"n{number}", PLAN, earlier)
        return KeptStates(given, self.document, inputs, binding, "cpu", 0.0)

    @property
    def progress(self) -> Progress:
        return Progress("train", self.lines)  # type: ignore[arg-type]

    def files(self) -> list[str]:
        return list(Storage().walk(join(self.document.artifacts.uri, "scratch")).files)


@pytest.fixture
def attempts(place: str, tmp_path: Path) -> Attempts:
    return Attempts(f"{place}/ml/uid-1", tmp_path / "scratch")


@pytest.fixture
def local(tmp_path: Path) -> Attempts:
    return Attempts((tmp_path / "ml" / "uid-1").as_uri(), tmp_path / "scratch")


def test_the_newest_state_of_all_attempts_is_gone_on_from_and_says_which_attempts_it_took(attempts: Attempts) -> None:
    first = attempts.attempt(1)
    assert first.newest() is None
    for epochs in (1, 2, 3):
        first.keep(state(epochs))
    second = attempts.attempt(2)
    resumed = second.newest()
    assert resumed is not None
    assert resumed.state.figures == state(3).figures
    assert all(np.array_equal(resumed.state.arrays[name], array) for name, array in state(3).arrays.items())
    second.keep(state(4))
    third = attempts.attempt(3)  # it dies before its first epoch has ended
    assert third.newest() is not None
    fourth = attempts.attempt(4).newest()
    assert fourth is not None
    assert [(r.attempt, r.epoch, r.device) for r in fourth.attempts] == [(2, 4, "cpu"), (1, 3, "cpu")]


def test_two_states_of_an_attempt_lie_there_at_most_and_none_of_those_before_it(attempts: Attempts) -> None:
    first = attempts.attempt(1)
    for epochs in (1, 2, 3):
        first.keep(state(epochs))
    assert attempts.files() == ["attempt-1/0.state", "attempt-1/1.state"]
    second = attempts.attempt(2)
    assert second.newest() is not None
    second.keep(state(4))
    assert attempts.files() == ["attempt-2/0.state"]
    clear(Storage(), attempts.document.artifacts.uri)
    assert not Storage().names(join(attempts.document.artifacts.uri, "scratch"))
    clear(Storage(), attempts.document.artifacts.uri)


@pytest.mark.parametrize("link", ["scratch", "scratch/pool", "scratch/attempt-1"])
def test_what_a_link_leads_to_is_not_deleted_with_scratch(local: Attempts, tmp_path: Path, link: str) -> None:
    """Whoever writes where artifacts lie would have training delete what only training may, the pool as well."""
    batch = tmp_path / "pool" / "0.state"
    batch.parent.mkdir()
    batch.write_bytes(b"a page")
    place = tmp_path / "ml" / "uid-1" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(batch.parent, target_is_directory=True)
    second = local.attempt(2)
    assert second.newest() is None
    second.keep(state(1))
    clear(Storage(), local.document.artifacts.uri)
    assert batch.read_bytes() == b"a page"
    assert not (tmp_path / "ml" / "uid-1" / "scratch").exists()


def test_a_store_that_lets_nothing_be_deleted_has_two_states_of_each_attempt(
    local: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StepError(ErrorClass.BAD_INPUT, Reason.DATA_UNREADABLE, "You may not.", "Ask.")

    monkeypatch.setattr(Storage, "remove", refuse)
    for number in (1, 2):
        kept = local.attempt(number)
        resumed = kept.newest()
        before = resumed.state.figures.epochs if resumed else 0
        for epochs in range(before + 1, before + 4):
            kept.keep(state(epochs))
    clear(Storage(), local.document.artifacts.uri)
    assert not [line for line in local.lines.lines if "not kept" in line["activity"]]
    assert local.files() == [f"attempt-{number}/{name}.state" for number in (1, 2) for name in (0, 1)]
    last = local.attempt(3).newest()
    assert last is not None
    assert last.state.figures.epochs == 6


def test_a_state_of_another_plan_base_or_parameters_is_not_gone_on_from(local: Attempts) -> None:
    arguments: dict[str, object] = {"lr0": 0.1, "epochs": 9, "data": "/one", "device": "cpu", "workers": 0}
    mine = binding_of("a" * 64, "b" * 64, arguments)
    assert binding_of("a" * 64, "b" * 64, arguments | {"data": "/other", "device": "0", "workers": 8}) == mine
    others = [
        binding_of("c" * 64, "b" * 64, arguments),
        binding_of("a" * 64, "c" * 64, arguments),
        binding_of("a" * 64, "b" * 64, arguments | {"lr0": 0.2}),
    ]
    local.attempt(1, binding=mine).keep(state(1))
    assert local.attempt(2, binding=mine).newest() is not None
    assert [local.attempt(2, binding=other).newest() for other in others] == [None, None, None]


def test_a_state_hangs_on_every_argument_but_places_device_and_processes() -> None:
    """Seed, schedule and augmentation make another training, wherever it runs."""
    usual = arguments()
    bindings = {name: binding_of("a" * 64, "b" * 64, usual | {name: "another"}) for name in usual}
    mine = binding_of("a" * 64, "b" * 64, usual)
    free = {name for name, binding in bindings.items() if binding == mine}
    assert free == {"data", "project", "name", "device", "workers"}


@pytest.mark.parametrize("nonces", [{}, {1: "guessed"}, {2: "n1"}])
def test_only_what_an_earlier_attempt_sealed_is_gone_on_from(local: Attempts, nonces: dict[int, str]) -> None:
    local.attempt(1).keep(state(1))
    assert local.attempt(2).newest() is not None
    assert local.attempt(3, nonces=nonces).newest() is None


def test_what_somebody_else_put_there_is_neither_read_nor_gone_on_from(local: Attempts, tmp_path: Path) -> None:
    first = local.attempt(1)
    first.keep(state(1))
    folder = tmp_path / "ml" / "uid-1" / "scratch" / "attempt-1"
    honest = folder / "1.state"
    data = honest.read_bytes()
    sentinel = tmp_path / "ran"

    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (sentinel,))

    (folder / "0.state").write_bytes(data[:-1])
    planted = {
        2: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        3: bytes(32) + data[32:],
        4: pickle.dumps(Runs()),
        9: data,
    }
    for number, content in planted.items():
        (folder.parent / f"attempt-{number}").mkdir()
        (folder.parent / f"attempt-{number}" / "1.state").write_bytes(content)
    resumed = local.attempt(5).newest()
    assert resumed is not None
    assert [(r.attempt, r.epoch) for r in resumed.attempts] == [(1, 1)]
    honest.unlink()
    assert local.attempt(5).newest() is None
    assert not sentinel.exists()


def test_a_store_that_takes_no_state_ends_no_training(local: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StepError(ErrorClass.UNAVAILABLE, Reason.STORAGE_UNAVAILABLE, "It is away.", "Wait.")

    monkeypatch.setattr(Storage, "put", refuse)
    local.attempt(1).keep(state(1))
    [line] = local.lines.lines
    assert line["activity"] == "epoch 1 is not kept for another attempt: It is away."
    monkeypatch.setattr(Storage, "own", refuse)
    with pytest.raises(StepError, match="It is away"):
        local.attempt(2).newest()


def test_a_full_disk_ends_no_training_and_is_left_as_it_was(local: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics writes its checkpoints to the same disk right after: what was half written would take their room."""

    def cut_short(stream: Any, **_: Any) -> None:
        stream.write(bytes(100_000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", cut_short)
        local.attempt(1).keep(state(1))
    [line] = local.lines.lines
    assert "epoch 1 is not kept for another attempt" in line["activity"]
    assert not list(local.scratch.rglob("*.state"))
    local.attempt(1).keep(state(2))
    assert not list((local.scratch / "1").rglob("*.state")), "nor does one that was kept take room"


def test_a_disk_with_no_room_for_what_was_kept_begins_anew(local: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    local.attempt(1).keep(state(1))

    def full(self: Storage, uri: str, target: Path, fetched: Any = None) -> str:
        with translated(uri, "read"):
            target.write_bytes(b"the first part")
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "copy", full)
        assert local.attempt(2).newest() is None
    assert not list((local.scratch / "2").rglob("*.state"))
    assert local.attempt(3).newest() is not None, "the next pod may have a larger disk"


def test_a_store_that_is_slow_to_refuse_is_left_alone_for_a_while(
    local: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    now = 100.0

    def refuse(*_: object) -> None:
        nonlocal now
        tried.append(now)
        now += 0.2
        raise StepError(ErrorClass.UNAVAILABLE, Reason.STORAGE_UNAVAILABLE, "It is away.", "Wait.")

    monkeypatch.setattr(Storage, "put", refuse)
    monkeypatch.setattr("finetune_trainer.steps.kept.time", SimpleNamespace(monotonic=lambda: now))
    kept = local.attempt(1)
    for epochs in (1, 2, 3):
        kept.keep(state(epochs))
    now = 102.1
    kept.keep(state(4))
    assert len(tried) == 1
    now = 102.3
    kept.keep(state(5))
    assert tried == [100.0, 102.3]


def killed(process: subprocess.Popen[str], sent: signal.Signals) -> int:
    """Send the signal once an epoch has ended, which is kept by then; return the exit status."""
    assert process.stdout is not None
    next(line for line in process.stdout if json.loads(line).get("losses"))
    process.send_signal(sent)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.deep
def test_the_attempt_after_killed_ones_makes_the_model_that_would_have_come(
    world: World, base: dict[str, Any], tmp_path: Path
) -> None:
    """One is stopped in order, the one that goes on from it is killed; the third ends as one that was left alone."""
    changes: dict[str, Any] = {"mixing__ratio": "1", "training": training_parameters(epochs=6)}
    document = world.document(base, **changes)
    parsed = world.parsed(base, **changes)
    plan = prepare(context("prepare", parsed, tmp_path / "p"), parsed, PrepareInputs(1, NONCE)).plan
    given = {"plan": {"uri": plan.uri, "sha256": plan.sha256}}
    earlier = [{"attempt": number, "nonce": f"n{number}"} for number in (1, 2)]
    assert killed(Pod(tmp_path / "first").start("train", document, given | earlier[0]), signal.SIGTERM) == 143
    second = Pod(tmp_path / "second").start("train", document, given | earlier[1] | {"earlier": earlier[:1]})
    assert killed(second, signal.SIGKILL) == -9
    scratch = world.artifacts / "ml" / "uid-1" / "scratch"
    assert list(scratch.rglob("*.state"))

    third = Pod(tmp_path / "third")
    code, lines = third.run("train", document, given | {"attempt": 3, "nonce": "n3", "earlier": earlier})
    assert code == 0
    result = third.message()["result"]
    resumed = result["resumed"]
    assert [(entry["attempt"], entry["device"]) for entry in resumed] == [(2, result["device"]), (1, result["device"])]
    last, before = (entry["epoch"] for entry in resumed)
    assert 1 <= before < last < 6
    epochs = [line["epoch"] for line in lines if line.get("losses")]
    assert epochs == list(range(last + 1, 7)), "no epoch is trained twice"
    assert any(f"resumed after epoch {last}" in line.get("activity", "") for line in lines)
    assert not scratch.exists(), "what was kept is gone once the result stands"
    [manifest] = (world.artifacts / "ml" / "uid-1" / "attempt-3").rglob("manifest.json")
    assert json.loads(manifest.read_text())["emitted"]["result"]["resumed"] == resumed

    whole = Pod(tmp_path / "whole")
    document["artifacts"]["uri"] = (tmp_path / "elsewhere").as_uri()
    code, _ = whole.run("train", document, given | {"attempt": 1, "nonce": NONCE})
    assert code == 0
    assert whole.message()["result"]["artifact"]["sha256"] == result["artifact"]["sha256"]
    assert whole.message()["result"]["resumed"] == []


def test_after_a_lack_of_memory_the_next_attempt_has_the_batch_that_ran_and_one_that_failed_leaves_nothing(
    world: World, base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    document = world.parsed(base, mixing__ratio="1", training=training_parameters(epochs=2, batch=8))
    plan = prepare(context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE)).plan
    whole = DetectionTrainer.preprocess_batch

    def trained(attempt: int, most: int) -> TrainResult:
        def short_of_memory(trainer: Any, batch: dict[str, Any]) -> Any:
            if len(batch["img"]) > most:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return whole(trainer, batch)

        monkeypatch.setattr(DetectionTrainer, "preprocess_batch", short_of_memory)
        inputs = TrainInputs(attempt, f"n{attempt}", plan, tuple(EarlierAttempt(n, f"n{n}") for n in range(1, attempt)))
        return train(context("train", document, tmp_path / str(attempt), attempt), document, inputs)

    with killed_in(1 + 24 // 4 + 2):  # one batch was too large, and 24 pages are an epoch
        trained(1, most=4)
    result = trained(2, most=8)
    assert (result.batch, [(before.attempt, before.epoch) for before in result.resumed]) == (4, [(1, 1)])
    scratch = join(document.artifacts.uri, "scratch")
    assert Storage().names(scratch)
    with pytest.raises(StepError, match="out of memory"):
        trained(3, most=0)
    assert not Storage().names(scratch), "the next attempt would go on to where this one ended"


def test_a_result_names_the_newest_attempts_that_it_goes_back_to(local: Attempts) -> None:
    for number in range(1, 12):
        kept = local.attempt(number, nonces={number - 1: f"n{number - 1}"} if number > 1 else {})
        kept.newest()
        kept.keep(state(number))
    assert [r.attempt for r in kept.resumed] == [10, 9, 8, 7, 6, 5, 4, 3]
    assert kept.resumed[0] == ResumedFrom(10, 10, kept.resumed[0].seconds, "cpu")
