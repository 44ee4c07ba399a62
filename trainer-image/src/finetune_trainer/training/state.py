"""All that a training is at the end of an epoch, as plain arrays and figures: taken from a trainer, and put back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

if TYPE_CHECKING:  # it imports ultralytics, which reads its settings then
    from .trainer import FineTuneTrainer

Array = np.ndarray[Any, np.dtype[Any]]

_STOPPER: Final = ("best_fitness", "best_epoch", "possible_stop")


class Best(msgspec.Struct, frozen=True):
    """The best epoch on `val` so far (0: the first), where patience is set; its weights are among the arrays."""

    epoch: int
    fitness: float
    metrics: dict[str, float]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is no array: `epochs` done, the batch that ran, results.csv, and how optimizer and loader stand.

    `groups` are the optimizer's groups of parameters; what it keeps of each parameter are arrays alone. `recent` are
    the pages that a loader within the trainer's process keeps for mosaics; those of other processes begin anew.
    """

    epochs: int
    batch: int
    last_step: int
    updates: int
    losses: dict[str, str]
    results: str
    stopper: dict[str, Any]
    groups: tuple[dict[str, Any], ...]
    recent: tuple[int, ...]
    best: Best | None


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A training at the end of an epoch."""

    figures: Figures
    arrays: Mapping[str, Array]


class BestWeights:
    """The best epoch so far, kept beside the trainer: its best.pt is a pickle, and half of what it says is places."""

    __slots__ = ("arrays", "best")

    def __init__(self, state: TrainingState | None) -> None:
        self.best = state.figures.best if state else None
        self.arrays = dict(_below(state.arrays, "best/")) if state else {}

    def saved(self, trainer: FineTuneTrainer) -> None:
        """Take the epoch that was just saved, where it is the best one."""
        if trainer.args.patience and trainer.best_fitness == trainer.fitness:
            metrics = {name: float(value) for name, value in trainer.metrics.items()}
            self.best = Best(trainer.epoch, float(trainer.fitness), metrics)
            self.arrays = {n: _array(t.half() if t.is_floating_point() else t) for n, t in _tensors(trainer.ema.ema)}


def state_of(trainer: FineTuneTrainer, losses: Mapping[str, str], best: BestWeights) -> TrainingState:
    """Return the training's state after the epoch that was just saved.

    The gradient scaler is none of it: precision is bf16 or full, and neither has one.
    """
    optimizer = trainer.optimizer.state_dict()
    pending = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    tensors = {
        **{f"model/{name}": tensor for name, tensor in _tensors(trainer.model)},
        **{f"average/{name}": tensor for name, tensor in _tensors(trainer.ema.ema)},
        **{f"gradient/{name}": tensor for name, tensor in pending.items()},
        **{f"optimizer/{i}/{k}": v for i, kept in optimizer["state"].items() for k, v in kept.items()},
    }
    groups = [{k: v for k, v in group.items() if _is_setting(v)} for group in optimizer["param_groups"]]
    pages = trainer.train_loader.dataset
    figures = Figures(
        epochs=trainer.epoch + 1,
        batch=int(trainer.batch_size),
        last_step=trainer.last_step,
        updates=trainer.ema.updates,
        losses=dict(losses),
        results=trainer.csv.read_text(encoding="utf-8"),
        stopper={name: _plain(getattr(trainer.stopper, name)) for name in _STOPPER},
        groups=tuple(groups),
        recent=tuple(pages.buffer) if trainer.train_loader.num_workers == 0 else (),
        best=best.best,
    )
    arrays = {name: _array(tensor) for name, tensor in tensors.items()}
    return TrainingState(figures, arrays | {f"best/{name}": array for name, array in best.arrays.items()})


def go_on(trainer: FineTuneTrainer, state: TrainingState) -> None:
    """Put the state into a trainer that is about to begin; ValueError or RuntimeError where it is another model's."""
    figures, arrays = state.figures, state.arrays
    if figures.best is not None:
        _write_best(trainer, figures.best, _below(arrays, "best/"))
    _load(trainer.model, _below(arrays, "model/"))
    _load(trainer.ema.ema, _below(arrays, "average/"))
    trainer.ema.updates = figures.updates
    _load_optimizer(trainer, state)
    for name, value in figures.stopper.items():
        setattr(trainer.stopper, name, value)
    criterion = trainer.model.init_criterion()
    if hasattr(criterion, "update"):  # it weighs its two heads by the epoch
        criterion.updates = figures.epochs - 1
        criterion.update()
    trainer.model.criterion = criterion
    trainer.csv.write_text(figures.results, encoding="utf-8")
    trainer.train_time_start -= float(figures.results.splitlines()[-1].split(",")[1])
    trainer.start_epoch = figures.epochs
    trainer.scheduler.last_epoch = figures.epochs - 1
    pages = trainer.train_loader.dataset
    for page in figures.recent if trainer.train_loader.num_workers == 0 else ():
        pages.load_image(page)


def add_gradients(trainer: FineTuneTrainer, state: TrainingState) -> None:
    """Put back what was added up of the next step; when the first epoch begins, for ultralytics clears it before."""
    import torch

    parameters = dict(trainer.model.named_parameters())
    for name, array in _below(state.arrays, "gradient/").items():
        parameters[name].grad = torch.empty_like(parameters[name]).copy_(torch.from_numpy(array))
    trainer.go_on_after(state.figures.last_step)


def _load(model: Any, arrays: Mapping[str, Array]) -> None:
    import torch

    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})


def _load_optimizer(trainer: FineTuneTrainer, state: TrainingState) -> None:
    """Put the optimizer's memory back, laid out as its parameters are, so that it computes in the same order."""
    import torch

    whole = trainer.optimizer.state_dict()
    groups = [{**own, **kept} for own, kept in zip(whole["param_groups"], state.figures.groups, strict=True)]
    parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    memory: dict[int, dict[str, Any]] = {}
    for name, array in _below(state.arrays, "optimizer/").items():
        number, _, key = name.partition("/")
        tensor, parameter = torch.from_numpy(array), parameters[int(number)]
        if tensor.shape == parameter.shape:
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        memory.setdefault(int(number), {})[key] = tensor
    trainer.optimizer.load_state_dict({"state": memory, "param_groups": groups})


def _write_best(trainer: FineTuneTrainer, best: Best, weights: Mapping[str, Array]) -> None:
    """Have ultralytics write best.pt anew, as it was in the epoch that is still the best one."""
    _load(trainer.ema.ema, weights)
    trainer.epoch, trainer.metrics = best.epoch, dict(best.metrics)
    trainer.fitness = trainer.best_fitness = best.fitness
    trainer.save_model()


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:
    yield from model.state_dict().items()


def _below(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _array(tensor: Any) -> Array:
    """Return a copy: on the CPU an array would go on changing with its tensor."""
    return np.array(tensor.detach().cpu().contiguous().numpy())


def _is_setting(value: Any) -> bool:
    """Tell whether it is a learning rate or the like; flags say how a device computes, and are the device's."""
    return not isinstance(value, bool) and isinstance(value, int | float | tuple)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
