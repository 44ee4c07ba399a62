"""Where a training goes on after an interruption, and what it keeps for the next one: callbacks of ultralytics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .state import BestWeights, TrainingState, add_gradients, go_on, state_of
from .trainer import FineTuneTrainer

Keep = Callable[[TrainingState], None]


class GoingOn:
    """The state that a training goes on from, until it is put back, and the best epoch since then."""

    __slots__ = ("_best", "_keep", "_state")

    def __init__(self, state: TrainingState | None, keep: Keep | None) -> None:
        self._state = state
        self._keep = keep
        self._best = BestWeights(state)

    def train_started(self, trainer: FineTuneTrainer) -> None:
        """Put the state back, once the weights are laid out as they are trained."""
        if self._state is not None:
            go_on(trainer, self._state)

    def epoch_started(self, trainer: FineTuneTrainer) -> None:
        """Let the epoch have its own pages, and go on with the step that was begun."""
        trainer.begin_epoch()
        if self._state is not None:
            add_gradients(trainer, self._state)
            self._state = None

    def epoch_saved(self, trainer: FineTuneTrainer, losses: Mapping[str, str]) -> None:
        """Give away where the training stands, unless it is over."""
        self._best.saved(trainer)
        if self._keep is not None and not trainer.stop:
            self._keep(state_of(trainer, losses, self._best))
