"""Running the fine-tune through ultralytics' public API, watching that it trains what the plan says."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..data.materialise import placed_name
from ..documents.plan import Sample
from ..errors import ErrorClass, Reason, StepError
from ..progress import BETWEEN_LINES, Progress
from .state import TrainingState


@dataclass(frozen=True, slots=True)
class Trained:
    """What training made: the candidate's checkpoint (with optimizer state), results.csv, and what really ran."""

    checkpoint: Path
    results: Path
    log: Path
    epochs: int
    batch: int
    losses: Mapping[str, str]


def train(
    base: Path,
    arguments: Mapping[str, object],
    samples: Sequence[Sample],
    progress: Progress,
    *,
    log: Path,
    threads: int,
    whole: bool = True,
    state: TrainingState | None = None,
    keep: Callable[[TrainingState], None] | None = None,
) -> Trained:
    """Train the checkpoint `base` further with `threads` CPU threads; ultralytics' log goes to `log`.

    The candidate is the last epoch; the best one on `val` only when the arguments set patience. `state` is where a
    training with these very arguments was interrupted; `keep` is given where this one stands after each epoch but the
    last. With `whole` every weight is taken over; without, those that fit. A page teaches nothing of classes that it
    was not labelled for. StepError for NaN losses, lack of memory, and data that arrived differently.
    """
    from ultralytics import YOLO

    from .going_on import GoingOn
    from .trainer import FineTuneTrainer

    watch = _Watch(samples, progress, threads)
    fields = {placed_name(number, s): s.fields for number, s in enumerate(samples) if s.fields is not None}
    going_on = GoingOn(state, keep)
    with _logging_to(log):
        model = YOLO(str(base), task="detect")
        if whole:
            weights = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
            model.add_callback("on_pretrain_routine_end", lambda trainer: _check_transferred(trainer, weights))
        # Public extension points only: callbacks, and a trainer class that leaves out the final evaluation.
        model.add_callback("on_pretrain_routine_end", watch.check_data)
        model.add_callback("on_train_start", watch.started)
        model.add_callback("on_train_start", going_on.train_started)
        model.add_callback("on_train_start", FineTuneTrainer.mask_losses)
        model.add_callback("on_train_start", watch.announce)
        model.add_callback("on_train_epoch_start", going_on.epoch_started)
        model.add_callback("on_train_batch_end", watch.batch_ended)
        model.add_callback("on_train_epoch_end", watch.epoch_trained)
        model.add_callback("on_model_save", lambda trainer: going_on.epoch_saved(trainer, watch.losses))
        model.add_callback("on_fit_epoch_end", watch.epoch_ended)
        try:
            model.train(trainer=partial(FineTuneTrainer, fields=fields), **arguments)
        except (RuntimeError, MemoryError) as error:
            raise _translated(error, watch) from error
    trainer = model.trainer
    best = bool(arguments["patience"])
    return Trained(
        checkpoint=Path(trainer.best if best else trainer.last),
        results=Path(trainer.csv),
        log=log,
        epochs=watch.epochs_done,
        batch=int(trainer.batch_size),
        losses=watch.losses,
    )


def _check_transferred(trainer: Any, weights: Mapping[str, Any]) -> None:
    """Raise StepError where training would not begin with the base's weights, every one of them.

    Ultralytics builds a model by the data set's classes and takes over what fits; the rest begins at random, and the
    log alone says so ("Transferred 708/750 items").
    """
    begun = trainer.model.state_dict()
    lost = [name for name, tensor in weights.items() if name not in begun or begun[name].shape != tensor.shape]
    lost += [name for name in begun if name not in weights]
    if lost:
        raise StepError(
            ErrorClass.BAD_INPUT,
            Reason.BASE_UNUSABLE,
            f"{len(lost)} of {len(begun)} weights would begin at random, not with the base's; the first is {lost[0]}.",
            "Use a base of the same classes and the same architecture as the run's.",
        )


class _Watch:
    """The callbacks' state: checks on the way, progress, and the figures of the result."""

    def __init__(self, samples: Sequence[Sample], progress: Progress, threads: int) -> None:
        self._samples = samples
        self._progress = progress
        self._threads = threads
        self._started = time.monotonic()
        self._last_line = self._started
        self._steps = 0
        self._first = 0
        self.losses: dict[str, str] = {}
        self.epochs_done = 0

    def check_data(self, trainer: Any) -> None:
        """Compare what the loader kept with the plan: ultralytics drops pages that it dislikes with a log line."""
        loaded = {Path(entry["im_file"]).stem: len(entry["cls"]) for entry in trainer.train_loader.dataset.labels}
        wrong = [
            (sample, loaded.get(name))
            for number, sample in enumerate(self._samples)
            if loaded.get(name := placed_name(number, sample)) != sample.boxes
        ]
        if wrong:
            sample, boxes = wrong[0]
            took = "dropped it" if boxes is None else f"took {boxes} of its {sample.boxes} boxes"
            raise StepError(
                ErrorClass.BAD_INPUT,
                Reason.DATA_UNREADABLE,
                f"Training would not see {len(wrong)} of {len(self._samples)} pages as planned; of the first, "
                f"{sample.image.uri}, ultralytics {took}.",
                "Mend the page or take it out; ultralytics says in train.log what it dislikes.",
            )

    def started(self, trainer: Any) -> None:
        """Compute with the threads that the container may use.

        Choosing the CPU sets them to the node's CPUs less one, at most 8: one thread on two CPUs, and eight in a
        container that may use two. On a CPU channels-last convolutions train about 1.3 times as fast (measured on
        the invoice example); ultralytics orders them so on GPUs only, and saves the usual order in any case.
        """
        import torch

        torch.set_num_threads(self._threads)
        if trainer.device.type == "cpu":
            trainer.model.to(memory_format=torch.channels_last)

    def announce(self, trainer: Any) -> None:
        """Start the clock, and say where training begins."""
        self._first = self.epochs_done = trainer.start_epoch
        self._steps = self.epochs_done * len(trainer.train_loader)
        self._started = self._last_line = time.monotonic()
        activity = self._in_words(trainer, f"{len(trainer.train_loader)} batches each")
        self._progress.report(
            percent=min(100 * self.epochs_done // trainer.epochs, 99),
            epoch=self.epochs_done,
            epochs=trainer.epochs,
            activity=activity,
        )

    def batch_ended(self, trainer: Any) -> None:
        """Write a line every few seconds, so that a long epoch shows movement."""
        self._steps += 1
        now = time.monotonic()
        if now - self._last_line < BETWEEN_LINES:
            return
        self._last_line = now
        batches = max(len(trainer.train_loader), 1)
        total = max(batches * trainer.epochs, 1)
        begun = self._first * batches
        remaining = (now - self._started) / (self._steps - begun) * (total - self._steps)
        self._progress.report(
            percent=min(100 * self._steps // total, 99),
            epoch=self.epochs_done,
            epochs=trainer.epochs,
            remaining_seconds=max(round(remaining), 0),
            activity=self._in_words(trainer, f"batch {(self._steps - 1) % batches + 1} of {batches}"),
        )

    def _in_words(self, trainer: Any, what: str) -> str:
        resumed = f" (resumed after epoch {self._first})" if self._first else ""
        return f"epoch {min(self.epochs_done + 1, trainer.epochs)} of {trainer.epochs}{resumed}, {what}"

    def epoch_trained(self, trainer: Any) -> None:
        """Stop at the first loss that is no number: ultralytics would reload, clamp to zero, and go on.

        Of a model with two heads the means are of one of them, so what the last batch came to counts as well: by that
        ultralytics decides.
        """
        losses = {name.removesuffix("_loss"): float(value) for name, value in trainer.tloss.items()}
        last = float(trainer.loss.detach())
        if not all(math.isfinite(value) for value in (*losses.values(), last)):
            raise StepError(
                ErrorClass.BAD_TRAINING,
                Reason.NOT_A_NUMBER,
                f"The losses of epoch {trainer.epoch + 1} are {losses}, and its last batch came to {last}.",
                "Lower lr0, or look for damaged labels; the base and what is live are untouched.",
            )
        self.losses = {name: f"{value:.4f}" for name, value in losses.items()}
        now = time.monotonic()
        if now - self._last_line < BETWEEN_LINES:
            return
        self._last_line = now
        done = min(100 * (trainer.epoch + 1) // trainer.epochs, 99)
        activity = self._in_words(trainer, "validating")
        self._progress.report(percent=done, epoch=self.epochs_done, epochs=trainer.epochs, activity=activity)

    def epoch_ended(self, trainer: Any) -> None:
        """Write the epoch's line."""
        self.epochs_done = trainer.epoch + 1
        # An epoch that was restarted with a smaller batch leaves the count of steps behind.
        self._steps = self.epochs_done * len(trainer.train_loader)
        now = time.monotonic()
        self._last_line = now
        remaining = (now - self._started) / (self.epochs_done - self._first) * (trainer.epochs - self.epochs_done)
        self._progress.report(
            percent=min(100 * self.epochs_done // trainer.epochs, 99),
            epoch=self.epochs_done,
            epochs=trainer.epochs,
            remaining_seconds=round(remaining),
            losses=self.losses,
        )


_MEMORY_SIGNS: Final = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Wordings of a lack of memory."""


def _translated(error: Exception, watch: _Watch) -> Exception:
    if isinstance(error, MemoryError) or any(sign.lower() in str(error).lower() for sign in _MEMORY_SIGNS):
        return StepError(
            ErrorClass.OUT_OF_MEMORY,
            Reason.OUT_OF_MEMORY,
            f"Training ran out of memory in epoch {watch.epochs_done + 1}: {str(error).splitlines()[0]}.",
            "Set a smaller training.batch, or give the PodTemplate more memory or a larger GPU.",
        )
    return error


@contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    """Keep ultralytics' log in a file: it is evidence, but on standard output it would bury the progress lines."""
    from ultralytics.utils import LOGGER

    handler = logging.FileHandler(file, encoding="utf-8")
    previous, level = LOGGER.handlers[:], LOGGER.level
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.handlers[:] = previous
        LOGGER.setLevel(level)
        handler.close()
