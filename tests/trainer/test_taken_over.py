"""What training takes over of the checkpoint that it begins with: evaluations expect that, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from finetune_trainer.artifact.metadata import ArtifactMetadata, serving_metadata
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EvaluateInputs
from finetune_trainer.documents.result import EvaluateResult
from finetune_trainer.documents.serving import Lineage, Serving
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.storage import local_path
from trainer.test_candidate_network import checked, named
from trainer.test_rebuild import SCRATCH, prepared, trained
from trainer.world import CLASSES, NONCE, SIDE, World, context

MANY: Final = tuple(f"kind {n}" for n in range(80))
"""As many classes as the published checkpoints have."""

LINEAGE: Final = Lineage(type="Base", model="marks", owner="uid-rebuild")
LARGE: Final = 1e6
Change = Callable[[dict[str, Any]], None]


@pytest.mark.row("R259")
def test_a_rebuild_keeps_the_wide_head_of_a_start_of_many_classes(
    base: dict[str, Any], best_pt: Path, shared_world: World, tmp_path: Path
) -> None:
    from finetune_trainer.training.checkpoint import load_checkpoint, weights_of
    from finetune_trainer.training.start import random_start

    start = random_start(load_checkpoint(best_pt, "it"), MANY, seed=1, target=tmp_path / "general.pt")
    parameters = {**SCRATCH, "epochs": 1, "patience": 0, "warmupEpochs": "0"}
    places = {"artifacts__uri": (tmp_path / "out").as_uri()}
    document = shared_world.rebuild(base, named(start), training=parameters, **places)
    result = trained(document, prepared(document, tmp_path / "p").plan, tmp_path / "t")
    artifact, checkpoint = (local_path(each.uri) for each in (result.artifact, result.checkpoint))
    assert artifact is not None
    assert checkpoint is not None
    assert weights_of(load_checkpoint(checkpoint, "it")).model[-1].cv3[0][-1].in_channels == len(MANY)
    checked(document, tmp_path, artifact.read_bytes(), named(checkpoint))


def published(best_pt: Path, folder: Path, change: Change | None = None) -> Path:
    """Write a checkpoint as a rebuild publishes it, with float32, and return its path."""
    from finetune_trainer.training.checkpoint import load_checkpoint, publishable
    from finetune_trainer.training.export import save_checkpoint

    folder.mkdir()
    saved = publishable(load_checkpoint(best_pt, "it"), LINEAGE)
    saved["model"].float()
    if change is not None:
        change(saved)
    return save_checkpoint(saved, folder / "checkpoint.pt")


def artifact_of(checkpoint: Path) -> Path:
    from finetune_trainer.training.export import export_onnx

    return export_onnx(
        checkpoint, ArtifactMetadata(serving_metadata(CLASSES, Serving(SIDE, "0.25", "0.7", 300)), LINEAGE)
    )


def evaluated(base: dict[str, Any], world: World, folder: Path, artifact: Path, checkpoint: Path) -> EvaluateResult:
    document = world.rebuild(base, artifacts__uri=(folder / "artifacts").as_uri())
    candidate, saved = (FileReference(**named(path)) for path in (artifact, checkpoint))
    inputs = EvaluateInputs(1, NONCE, 1, prepared(document, folder / "p").plan, candidate, checkpoint=saved)
    return evaluate(context("evaluate", document, folder / "e"), document, inputs)


def one_large_weight(checkpoint: dict[str, Any]) -> None:
    """A channel of the first layer that is very large, and that the next layer does not look at."""
    first, second = checkpoint["model"].model[:2]
    first.bn.weight.data[0] *= LARGE
    first.bn.bias.data[0] = LARGE
    second.conv.weight.data[:, 0] = 0


def others_beside_it(checkpoint: dict[str, Any]) -> None:
    one_large_weight(checkpoint)
    first = checkpoint["model"].model[0]
    first.conv.weight.data[1:] *= -1


@pytest.mark.row("R268")
def test_a_checkpoint_that_answers_otherwise_is_another_model_however_near_its_weights(
    base: dict[str, Any], best_pt: Path, shared_world: World, tmp_path: Path
) -> None:
    """One weight that is very large makes all others of its tensor small ones."""
    honest = published(best_pt, tmp_path / "honest", one_large_weight)
    other = published(best_pt, tmp_path / "other", others_beside_it)
    artifact = artifact_of(honest)
    assert evaluated(base, shared_world, tmp_path / "a", artifact, honest).models.candidate.sha256
    with pytest.raises(StepError, match="is another model than the candidate's artifact") as caught:
        evaluated(base, shared_world, tmp_path / "b", artifact, other)
    assert caught.value.reason is Reason.CONTRACT_VIOLATED
    assert other.as_uri() in caught.value.message


def head_as_it_is(checkpoint: dict[str, Any]) -> None:
    """Layers that say they are of another width: training takes them over whole, with another eps."""
    for branch in checkpoint["model"].model[-1].cv3:
        branch[-1].in_channels += 1
        for module in branch.modules():
            if hasattr(module, "running_var"):
                module.eps = 0.5


def another_task(checkpoint: dict[str, Any]) -> None:
    checkpoint["model"].task = "segment"


def more_to_restore(checkpoint: dict[str, Any]) -> None:
    checkpoint["modelopt"] = {"modelopt": {}, "ranges": {}}


def no_arguments(checkpoint: dict[str, Any]) -> None:
    checkpoint["train_args"] = None


@pytest.mark.row("R269")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (head_as_it_is, "is another model than the candidate's artifact"),
        (another_task, "is a segment model"),
        (more_to_restore, "Training cannot begin with The candidate's checkpoint"),
        (no_arguments, "Training cannot begin with The candidate's checkpoint"),
    ],
)
def test_a_checkpoint_is_looked_at_as_training_takes_it_over(
    base: dict[str, Any], best_pt: Path, shared_world: World, tmp_path: Path, change: Change, said: str
) -> None:
    artifact = artifact_of(published(best_pt, tmp_path / "honest"))
    other = published(best_pt, tmp_path / "other", change)
    with pytest.raises(StepError, match=said) as caught:
        checked(shared_world.rebuild(base), tmp_path, artifact.read_bytes(), named(other))
    assert other.as_uri() in caught.value.message
