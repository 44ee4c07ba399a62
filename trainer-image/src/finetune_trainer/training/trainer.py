"""Ultralytics' trainer, made so that one that was killed goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer

from .chance import EpochOrder, SeededPages
from .unlabelled import FieldMask, mask_losses, page_fields


class FineTuneTrainer(DetectionTrainer):  # type: ignore[misc]
    """Ultralytics' trainer with chance by epoch, steps that are counted, and without its final evaluation.

    `last_step` is the number of the batch, counted over all epochs, after which the weights were changed last.
    Ultralytics keeps that number to itself and begins at -1: `go_on_after` makes up for it. `fields` says by the stem
    of a page's file for how many classes it was labelled, where not for all.
    """

    last_step = -1
    _accumulate = 1
    _late = 0
    _batch = -1
    _masks: tuple[FieldMask, ...] = ()

    def __init__(self, *args: Any, fields: Mapping[str, int] | None = None, **kwargs: Any) -> None:
        self._fields = fields or {}
        super().__init__(*args, **kwargs)

    @property
    def accumulate(self) -> int:
        """Batches from one change of the weights to the next; until the first one, counted from where it went on."""
        return self._accumulate + self._late

    @accumulate.setter
    def accumulate(self, batches: int) -> None:
        self._accumulate = batches

    def go_on_after(self, last_step: int) -> None:
        """Let the weights change next as if the last change had come after batch `last_step`."""
        self.last_step, self._late = last_step, last_step + 1

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Build ultralytics' data set; what trains is seeded by epoch and page."""
        pages = super().build_dataset(img_path, mode, batch)
        if mode == "train":
            pages.__class__ = SeededPages  # it is built in a function that takes no class
            pages.seed = self.args.seed
            files = [entry["im_file"] for entry in pages.labels]
            pages.fields = page_fields(files, self._fields, self.data["nc"])
        return pages

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """Build ultralytics' loader; what trains comes in an order by epoch."""
        loader = super().get_dataloader(dataset_path, batch_size, rank, mode)
        if mode == "train":
            self._order = EpochOrder(len(loader.dataset), seed=self.args.seed)
            loader.batch_sampler.sampler.sampler = self._order
            self._late = 0  # a smaller batch after a lack of memory: all is counted anew
        return loader

    def begin_epoch(self) -> None:
        """Let a loader that has fetched nothing begin with this epoch's pages; one that goes on comes to them itself.

        No loader does an epoch twice: after a lack of memory there is another one, and a loss that is no number ends
        the training.
        """
        if self.train_loader.iterator is None:
            self._order.following = self.epoch
        self._batch = self.epoch * len(self.train_loader) - 1

    def mask_losses(self) -> None:
        """Let pages teach nothing of classes that they were not labelled for; nothing changes where all are for all."""
        if self.train_loader.dataset.fields is None:
            return
        if getattr(self.model, "criterion", None) is None:
            self.model.criterion = self.model.init_criterion()
        self._masks = mask_losses(self.model.criterion)

    def preprocess_batch(self, batch: dict[str, Any]) -> Any:
        """Count the batch, and prepare it as ultralytics does."""
        self._batch += 1
        for mask in self._masks:
            mask.of(batch["fields"], self.data["nc"], self.device)
        return super().preprocess_batch(batch)

    def optimizer_step(self) -> None:
        """Change the weights, and remember after which batch."""
        super().optimizer_step()
        self.last_step, self._late = self._batch, 0

    def final_eval(self) -> None:
        """Leave out what ultralytics does at the end.

        It strips last.pt, validates best.pt once more and fires on_fit_epoch_end a second time: time spent on a
        checkpoint that is not the candidate, and an epoch too many in the progress.
        """

    def _close_dataloader_mosaic(self) -> None:
        super()._close_dataloader_mosaic()
        self._order.following = self.epoch  # the loader begins anew after it
