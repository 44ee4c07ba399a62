"""Real, tiny trainings: what ultralytics would do behind one's back does not happen."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finetune_trainer.data.materialise import materialise
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.plan import Sample
from finetune_trainer.errors import ErrorClass, Reason, StepError
from finetune_trainer.storage import Storage, local_path
from finetune_trainer.training import yolo
from finetune_trainer.training.yolo import Trained
from trainer.tiny_training import TinyTraining, samples
from trainer.world import CLASSES, World


@pytest.fixture
def training(shared_world: World, base: dict[str, Any], tmp_path: Path) -> TinyTraining:
    return TinyTraining(shared_world, base, tmp_path / "training")


@pytest.fixture(scope="module")
def run(
    shared_world: World, base: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[TinyTraining, Trained]:
    """One training that several tests look at."""
    before = tree(shared_world.anchor)
    training = TinyTraining(shared_world, base, tmp_path_factory.mktemp("run") / "training")
    trained = training.run({"epochs": 3})
    assert tree(shared_world.anchor) == before, "training never writes to the store"
    return training, trained


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, sha256_of(p.read_bytes()))
        for p in folder.rglob("*")
        if p.is_file()
    }


def results(trained: Trained) -> list[dict[str, float]]:
    with trained.results.open() as stream:
        return [{k.strip(): float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def test_the_learning_rates_are_those_that_were_asked_for(run: tuple[TinyTraining, Trained]) -> None:
    rates = [{v for k, v in row.items() if k.startswith("lr/")} for row in results(run[1])]
    assert all(max(r) <= 0.001 * 1.0001 for r in rates), "no group, biases included, starts above lr0"
    assert max(rates[-1]) < max(rates[1]), "the cosine falls"


def test_each_epoch_is_reported_once_and_the_last_one_is_the_candidate(run: tuple[TinyTraining, Trained]) -> None:
    training, trained = run
    epochs = [line["epoch"] for line in training.lines.lines if "losses" in line]
    assert epochs == [1, 2, 3]
    assert (trained.checkpoint.name, trained.epochs) == ("last.pt", 3)
    assert [line["percent"] for line in training.lines.lines] == sorted(
        line["percent"] for line in training.lines.lines
    )
    assert not any(line.get("remainingSeconds", 0) < 0 for line in training.lines.lines)


def test_training_moves_from_the_first_batch_of_the_first_epoch(
    training: TinyTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yolo, "BETWEEN_LINES", 0.0)
    training.run({"epochs": 2})
    said = [(line["epoch"], line.get("activity")) for line in training.lines.lines]
    batches = int(str(said[0][1]).split()[4])
    for epoch in (1, 2):
        seen = [(epoch - 1, f"epoch {epoch} of 2, batch {batch} of {batches}") for batch in range(1, batches + 1)]
        start = said.index(seen[0])
        assert said[start : start + batches] == seen
        assert said[start + batches :][:2] == [(epoch - 1, f"epoch {epoch} of 2, validating"), (epoch, None)]
    assert said[0] == (0, f"epoch 1 of 2, {batches} batches each")


def test_the_last_checkpoint_is_not_stripped_behind_our_back(run: tuple[TinyTraining, Trained]) -> None:
    import torch

    checkpoint = torch.load(run[1].checkpoint, weights_only=False)
    assert checkpoint["epoch"] == 2
    assert checkpoint["optimizer"] is not None


def test_frozen_layers_do_not_move_and_others_do(run: tuple[TinyTraining, Trained]) -> None:
    import torch

    before = torch.load(run[0].base, weights_only=False)["model"].float().state_dict()
    after = torch.load(run[1].checkpoint, weights_only=False)["ema"].float().state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert not {n for n in moved if n.startswith(("model.0.", "model.1."))}
    assert {n for n in moved if n.startswith("model.6.")}


def test_label_caches_lie_in_scratch(run: tuple[TinyTraining, Trained], shared_world: World) -> None:
    assert sorted(p.name for p in run[0].folder.rglob("*.cache")) == ["labels.cache", "labels.cache"]
    assert not list(shared_world.pool.rglob("*.cache"))


def test_the_log_is_evidence_in_a_file_not_on_standard_output(
    training: TinyTraining, capfd: pytest.CaptureFixture[str]
) -> None:
    trained = training.run({"epochs": 1})
    assert capfd.readouterr().out == ""
    assert "Transferred" in trained.log.read_text()


def test_with_patience_the_best_epoch_on_val_is_the_candidate(training: TinyTraining) -> None:
    trained = training.run({"epochs": 2, "patience": 1})
    assert trained.checkpoint.name == "best.pt"
    assert all(row["metrics/mAP50(B)"] > 0 for row in results(trained)), "each epoch was validated"


def test_a_loss_that_is_no_number_ends_the_training(training: TinyTraining) -> None:
    with pytest.raises(StepError) as caught:
        training.run({"epochs": 2}, {"box": 1e39})  # the loss's weight, beyond what a float32 holds
    assert (caught.value.error_class, caught.value.reason) == (ErrorClass.BAD_TRAINING, Reason.NOT_A_NUMBER)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_loss_that_is_no_number_ends_the_training_also_where_it_is_of_the_head_that_no_figure_is_of(
    training: TinyTraining, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    """In the last batch of an epoch: ultralytics has zeros for weights then, or does the epoch once more."""
    from ultralytics.utils.loss import E2ELoss

    whole, batches = E2ELoss.__call__, []

    def lost(self: Any, preds: Any, batch: dict[str, Any]) -> Any:
        loss, items = whole(self, preds, batch)
        batches.append(len(batch["img"]))
        return (loss * float("nan") if len(batches) == epoch else loss), items

    monkeypatch.setattr(E2ELoss, "__call__", lost)
    with pytest.raises(StepError, match=rf"epoch {epoch} .* its last batch came to nan") as caught:
        training.run({"epochs": 3, "batch": 16})
    assert (caught.value.error_class, caught.value.reason) == (ErrorClass.BAD_TRAINING, Reason.NOT_A_NUMBER)
    assert batches == [16] * epoch


def test_a_page_that_the_loader_drops_ends_the_training_before_it_starts(training: TinyTraining) -> None:
    first = training.train[0]
    assert first.label is not None
    folder = training.folder / "bad"
    folder.mkdir()
    label = folder / "label.txt"
    label.write_text("0 0.5 0.5 0.1 0.1 0.9\n")  # six columns: ultralytics drops the page with a log line
    bad = FileReference(label.as_uri(), sha256_of(label.read_bytes()))
    training.train[0] = Sample(first.image, bad, first.bytes, 1)
    with pytest.raises(StepError, match=r"1 of 16 pages.*ultralytics dropped it") as caught:
        training.run({"epochs": 1})
    assert caught.value.reason is Reason.DATA_UNREADABLE


def test_a_label_that_got_lost_is_not_taken_for_background(training: TinyTraining) -> None:
    training.train = [Sample(s.image, None if i == 0 else s.label, s.bytes, 3) for i, s in enumerate(training.train)]
    with pytest.raises(StepError, match="took 0 of its 3 boxes"):
        training.run({"epochs": 1})


def test_out_of_memory_halves_the_batch_and_the_result_says_so(
    training: TinyTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    whole = DetectionTrainer.preprocess_batch

    def small_only(self: Any, batch: dict[str, Any]) -> dict[str, Any]:
        if len(batch["img"]) > 8:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        result: dict[str, Any] = whole(self, batch)
        return result

    monkeypatch.setattr(DetectionTrainer, "preprocess_batch", small_only)
    assert training.run({"epochs": 1}).batch == 8


def test_memory_that_never_suffices_is_an_error_with_a_remedy(
    training: TinyTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    def never(_self: Any, _batch: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(DetectionTrainer, "preprocess_batch", never)
    with pytest.raises(StepError) as caught:
        training.run({"epochs": 1})
    assert caught.value.error_class is ErrorClass.OUT_OF_MEMORY
    assert "batch" in caught.value.remedy


def test_a_jpeg_without_end_marker_trains_from_a_mended_copy_never_from_a_rewritten_store(
    training: TinyTraining, tmp_path: Path
) -> None:
    import cv2

    store = tmp_path / "store"
    store.mkdir()
    first = training.train[0]
    page = local_path(first.image.uri)
    assert page is not None
    data = cv2.imencode(".jpg", cv2.imread(str(page)))[1].tobytes()[:-2]
    (store / "page.jpg").write_bytes(data)
    cut = FileReference((store / "page.jpg").as_uri(), sha256_of(data))
    training.train[0] = Sample(cut, first.label, len(data), first.boxes)
    training.run({"epochs": 1})
    assert (store / "page.jpg").read_bytes() == data
    [copied] = [p for p in (training.folder / "data/train/images").iterdir() if not p.is_symlink()]
    assert copied.read_bytes() == data + b"\xff\xd9", "neither re-encoded nor dropped"


def test_local_pages_are_linked_not_copied(run: tuple[TinyTraining, Trained]) -> None:
    assert all(p.is_symlink() for p in (run[0].folder / "data/train/images").iterdir())


def test_a_page_that_changed_since_the_plan_is_refused(training: TinyTraining, tmp_path: Path) -> None:
    training.train[3] = replaced(training.train[3], tmp_path)
    with pytest.raises(StepError) as caught:
        training.run({"epochs": 1})
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def replaced(sample: Sample, folder: Path) -> Sample:
    (folder / "changed.png").write_bytes(b"other bytes")
    return msgspec.structs.replace(sample, image=FileReference((folder / "changed.png").as_uri(), sample.image.sha256))


def test_images_with_one_name_in_two_folders_do_not_collide(shared_world: World, tmp_path: Path) -> None:
    twice = samples(shared_world.anchor, "train")[:2]
    for number, sample in enumerate(twice):
        source = local_path(sample.image.uri)
        assert source is not None
        (tmp_path / str(number)).mkdir()
        shutil.copy(source, tmp_path / str(number) / "1.png")
    moved = [
        msgspec.structs.replace(s, image=FileReference((tmp_path / str(i) / "1.png").as_uri(), s.image.sha256))
        for i, s in enumerate(twice)
    ]
    assert len({p.name for p in materialise(Storage(), moved, tmp_path / "out")}) == 2


def test_what_runs_before_ultralytics_has_its_settings_does_not_import_it() -> None:
    """It reads them when it is imported: where its files lie, and that it writes nothing to standard output."""
    imports = "import finetune_trainer.steps.train, finetune_trainer.steps.kept"
    words = f"import sys; {imports}; print('ultralytics' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_ultralytics_reports_to_nobody_and_finds_its_fonts(pod: Path, best_pt: Path) -> None:
    assert best_pt.exists(), "ultralytics was imported and has trained"
    from ultralytics.utils import ONLINE, SETTINGS
    from ultralytics.utils.checks import check_font

    assert ONLINE is False
    assert SETTINGS["sync"] is False
    trackers = ("clearml", "comet", "dvc", "mlflow", "neptune", "raytune", "tensorboard", "wandb")
    assert not any(SETTINGS.get(name) for name in trackers)
    for font in ("Arial.ttf", "Arial.Unicode.ttf"):
        assert Path(str(check_font(font))).is_relative_to(pod)


def test_training_uses_the_threads_that_it_is_given(training: TinyTraining) -> None:
    import torch

    training.train = training.train[:4]
    training.run({"epochs": 1}, threads=2)
    assert torch.get_num_threads() == 2, "ultralytics sets the node's CPUs less one"
    torch.set_num_threads(1)


def test_training_that_would_begin_with_other_weights_than_the_base_ends(training: TinyTraining) -> None:
    with pytest.raises(StepError, match="would begin at random") as caught:
        training.run(classes=(*CLASSES, "tax"))
    assert caught.value.reason is Reason.BASE_UNUSABLE
