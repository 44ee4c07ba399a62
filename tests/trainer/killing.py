"""A training that dies, within the process of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from finetune_trainer.errors import Preempted


@contextmanager
def killed_in(batch: int) -> Iterator[None]:
    """Let a training die in the batch of that number, counted from 1 over all epochs."""
    from finetune_trainer.training.trainer import FineTuneTrainer

    seen, prepare = 0, FineTuneTrainer.preprocess_batch

    def count(trainer: Any, images: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == batch:
            raise Preempted
        return prepare(trainer, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FineTuneTrainer, "preprocess_batch", count)
        with pytest.raises(Preempted):
            yield
