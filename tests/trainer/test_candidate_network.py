"""Whoever trains chooses weights: a candidate is the network that its training begins with, and sound."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from finetune_trainer.artifact.metadata import ArtifactMetadata, serving_metadata
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EvaluateInputs, PrepareInputs
from finetune_trainer.documents.result import EvaluateResult
from finetune_trainer.documents.run import TrainingDocument
from finetune_trainer.documents.serving import LINEAGE_KEY, Lineage, Serving
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.architecture import difference, farthest, take_apart, weights_by_name
from finetune_trainer.evaluation.detector import open_detector
from finetune_trainer.evaluation.rounding import SHARES, check_rounding
from finetune_trainer.steps.candidate_network import check_candidate_network
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.storage import local_path
from trainer.networks import BOX, SERVED, SIZE, constant, network, nothing_of_the_page
from trainer.world import CLASSES, NONCE, SIDE, World, context

CHANCE: Final = 7
Content = Callable[[onnx.ModelProto], None]


def bytes_of(reference: dict[str, str]) -> bytes:
    path = local_path(reference["uri"])
    assert path is not None
    return path.read_bytes()


def named(path: Path) -> dict[str, str]:
    return {"uri": path.as_uri(), "sha256": sha256_of(path.read_bytes())}


def trained(base: dict[str, Any], share: float = 0.1) -> bytes:
    """The base's artifact with other weights, as a training would leave it."""
    chance = np.random.default_rng(CHANCE)

    def change(model: onnx.ModelProto) -> None:
        for name, tensor in sorted(weights_by_name(model).items()):
            values = numpy_helper.to_array(tensor)
            factors = 1 + share * chance.uniform(-1, 1, values.shape)
            tensor.CopyFrom(numpy_helper.from_array((values * factors).astype(np.float32), name))

    return changed(bytes_of(base["artifact"]), change)


def changed(content: bytes, change: Content) -> bytes:
    model = onnx.load_model_from_string(content)
    change(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def checked(
    document: TrainingDocument, folder: Path, candidate: bytes, checkpoint: dict[str, str] | None = None
) -> None:
    """Have an evaluation look at a candidate's network."""
    path, of_base = folder / "candidate.onnx", local_path(document.base.artifact.uri)
    assert of_base is not None
    path.write_bytes(candidate)
    opened = [open_detector(each, each.as_uri(), threads=1) for each in (path, of_base)]
    saved = None if checkpoint is None else FileReference(**checkpoint)
    plan = FileReference("file:///plan", "0" * 64)
    inputs = EvaluateInputs(1, NONCE, 1, plan, FileReference(**named(path)), checkpoint=saved)
    check_candidate_network(context("evaluate", document, folder / "scratch"), document, inputs, *opened)


def of(kind: str, model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == kind)


def other_operator(model: onnx.ModelProto) -> None:
    of("Sigmoid", model).op_type = "Softsign"


def other_settings(model: onnx.ModelProto) -> None:
    [axis] = (each for each in of("Concat", model).attribute if each.name == "axis")
    axis.i += 1


def one_operator_more(model: onnx.ModelProto) -> None:
    last = model.graph.node[-1]
    made, last.output[0] = last.output[0], "before"
    model.graph.node.append(helper.make_node("Identity", ["before"], [made]))


def otherwise_wired(model: onnx.ModelProto) -> None:
    """The sum of the same two, the other way round."""
    given = of("Add", model).input
    given[0], given[1] = given[1], given[0]


def other_constant(model: onnx.ModelProto) -> None:
    """The centres of cells, which no training learns."""
    name = of("Sub", model).input[0]
    tensor = next(each for each in model.graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.5), name))


def other_release(model: onnx.ModelProto) -> None:
    model.opset_import[0].version += 1


def weights_made_on_the_way(model: onnx.ModelProto) -> None:
    """Weights that the page decides, under the name by which weights are left out of the comparison."""
    convolution = of("Conv", model)
    [tensor] = (each for each in model.graph.initializer if each.name == convolution.input[1])
    name = f"weights {list(tensor.dims)}"
    nodes = [
        helper.make_node("ReduceMin", ["images"], ["least"], keepdims=0),
        helper.make_node("Mul", [convolution.input[1], "least"], [name]),
    ]
    convolution.input[1] = name
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])


OTHER: Final[dict[str, tuple[Content, str]]] = {
    "another operator": (other_operator, "is Softsign, not Sigmoid"),
    "other settings": (other_settings, r"\(Concat\) has other settings"),
    "an operator more": (one_operator_more, r"\(\w+\) has other settings|it has \d+ operators, not \d+"),
    "inputs exchanged": (otherwise_wired, r"\(Add\) has other settings"),
    "another constant": (other_constant, "its constants, inputs or outputs are others"),
    "another opset": (other_release, "or what says by which release it is read"),
    "weights of the page": (weights_made_on_the_way, "is ReduceMin, not Conv"),
}


@pytest.mark.row("R253")
@pytest.mark.parametrize("case", OTHER)
def test_nothing_but_weights_may_be_another(base: dict[str, Any], case: str) -> None:
    change, said = OTHER[case]
    content = bytes_of(base["artifact"])
    differs = difference(take_apart(changed(trained(base), change)), take_apart(content))
    assert differs is not None
    assert re.search(said, differs)


@pytest.mark.row("R253")
def test_weights_are_for_training_to_choose_and_nothing_is_exported_for_them(
    base: dict[str, Any], shared_world: World, tmp_path: Path
) -> None:
    checked(shared_world.parsed(base), tmp_path, trained(base))
    assert not (tmp_path / "scratch" / "networks").exists()


@pytest.mark.row("R253")
def test_equal_weights_that_an_exporter_writes_down_once_are_the_same_network(base: dict[str, Any]) -> None:
    content = bytes_of(base["artifact"])

    def share(model: onnx.ModelProto) -> None:
        stored = {tensor.name: tensor for tensor in model.graph.initializer}
        convolutions = [node for node in model.graph.node if node.op_type == "Conv" and len(node.input) == 3]
        pairs = (
            (one, other)
            for one in convolutions
            for other in convolutions
            if one.input[2] < other.input[2] and stored[one.input[2]].dims == stored[other.input[2]].dims
        )
        one, other = next(pairs)
        model.graph.initializer.remove(stored[other.input[2]])
        other.input[2] = one.input[2]

    assert difference(take_apart(changed(content, share)), take_apart(content)) is None


@pytest.mark.row("R253")
def test_where_another_release_exported_the_base_its_checkpoint_is_exported_anew(
    base: dict[str, Any], shared_world: World, tmp_path: Path
) -> None:
    (tmp_path / "base").mkdir()
    earlier = constant(tmp_path / "base", numpy_helper.from_array(BOX, "weights"))
    checked(shared_world.parsed(base | {"artifact": named(earlier)}), tmp_path, trained(base))


@pytest.mark.row("R253")
def test_an_evaluation_measures_no_other_network(base: dict[str, Any], world: World, tmp_path: Path) -> None:
    def foreign(model: onnx.ModelProto) -> None:
        other_operator(model)
        without_lineage(model)

    with pytest.raises(StepError, match=r"its operator \d+ of \d+ is Softsign, not Sigmoid") as caught:
        evaluated(base, world, tmp_path, changed(bytes_of(base["artifact"]), foreign))
    assert caught.value.reason is Reason.CONTRACT_VIOLATED
    assert "is another network than the one that its training begins with" in caught.value.message


def without_lineage(model: onnx.ModelProto) -> None:
    helper.set_model_props(model, {p.key: p.value for p in model.metadata_props if p.key != LINEAGE_KEY})


def evaluated(base: dict[str, Any], world: World, folder: Path, candidate: bytes) -> EvaluateResult:
    document = world.parsed(base, artifacts__uri=(folder / "artifacts").as_uri())
    prepared = prepare(context("prepare", document, folder / "p"), document, PrepareInputs(1, NONCE))
    path = folder / "model.onnx"
    path.write_bytes(candidate)
    inputs = EvaluateInputs(1, NONCE, 1, prepared.plan, FileReference(**named(path)))
    return evaluate(context("evaluate", document, folder / "e"), document, inputs)


@pytest.fixture(scope="module")
def new_base(best_pt: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Artifact and checkpoint of a rebuild: of the tiny architecture, with weights of no training."""
    from finetune_trainer.training.checkpoint import load_checkpoint, publishable
    from finetune_trainer.training.export import export_onnx, save_checkpoint
    from finetune_trainer.training.start import random_start

    folder, lineage = tmp_path_factory.mktemp("new-base"), Lineage(type="Base", model="marks", owner="uid-rebuild")
    start = random_start(load_checkpoint(best_pt, "it"), CLASSES, seed=5, target=folder / "random.pt")
    saved = publishable(load_checkpoint(start, "it"), lineage)
    checkpoint = save_checkpoint(saved, folder / "checkpoint.pt")
    serving = Serving(SIDE, "0.25", "0.7", 300)
    return export_onnx(checkpoint, ArtifactMetadata(serving_metadata(CLASSES, serving), lineage)), checkpoint


@pytest.mark.row("R256")
def test_a_new_base_has_the_checkpoint_of_its_artifact(
    base: dict[str, Any], new_base: tuple[Path, Path], shared_world: World, tmp_path: Path
) -> None:
    artifact, checkpoint = new_base
    checked(shared_world.rebuild(base), tmp_path, artifact.read_bytes(), named(checkpoint))


def other_weights(model: Any) -> None:
    next(model.parameters()).data.mul_(1.01)


def another_architecture(model: Any) -> None:
    """That which it says it is, of which the next training builds it."""
    model.yaml["backbone"][0][3][0] *= 2


def more_for_python(model: Any) -> None:
    model.yaml["activation"] = "__import__('os').abort()"


@pytest.mark.row("R256")
@pytest.mark.parametrize(
    ("change", "said", "reason"),
    [
        (other_weights, "is another model than the candidate's artifact", Reason.CONTRACT_VIOLATED),
        (another_architecture, "has another architecture than its training began with", Reason.BASE_UNUSABLE),
        (more_for_python, "has an activation that is no class of torch.nn", Reason.BASE_UNUSABLE),
    ],
)
def test_a_new_base_whose_checkpoint_is_another_model_is_refused(
    base: dict[str, Any],
    new_base: tuple[Path, Path],
    shared_world: World,
    tmp_path: Path,
    change: Callable[[Any], None],
    said: str,
    reason: Reason,
) -> None:
    from finetune_trainer.training.checkpoint import load_checkpoint
    from finetune_trainer.training.export import save_checkpoint

    artifact, checkpoint = new_base
    loaded = load_checkpoint(checkpoint, "it")
    change(loaded["model"])
    other = save_checkpoint(loaded, tmp_path / "other.pt")
    with pytest.raises(StepError, match=said) as caught:
        checked(shared_world.rebuild(base), tmp_path, artifact.read_bytes(), named(other))
    assert caught.value.reason is reason
    assert other.as_uri() in caught.value.message


@pytest.mark.row("R256")
def test_of_a_new_base_s_checkpoint_counts_what_training_takes_over(
    base: dict[str, Any], new_base: tuple[Path, Path], shared_world: World, tmp_path: Path
) -> None:
    """Its artifact is exported from it, and training builds the batch norms anew, with the eps that they had."""
    from finetune_trainer.training.checkpoint import load_checkpoint
    from finetune_trainer.training.export import export_onnx, save_checkpoint

    loaded = load_checkpoint(new_base[1], "it")
    for module in loaded["model"].modules():
        if hasattr(module, "running_var"):
            module.eps = 0.5
    other = save_checkpoint(loaded, tmp_path / "other.pt")
    metadata = ArtifactMetadata(serving_metadata(CLASSES, Serving(SIDE, "0.25", "0.7", 300)), None)
    artifact = export_onnx(other, metadata)
    with pytest.raises(StepError, match="is another model than the candidate's artifact"):
        checked(shared_world.rebuild(base), tmp_path, artifact.read_bytes(), named(other))


@pytest.mark.row("R256")
def test_a_new_base_without_a_checkpoint_is_refused(
    base: dict[str, Any], new_base: tuple[Path, Path], shared_world: World, tmp_path: Path
) -> None:
    artifact, _ = new_base
    with pytest.raises(StepError, match="is ONNX, an export that cannot be trained") as caught:
        checked(shared_world.rebuild(base), tmp_path, artifact.read_bytes(), named(artifact))
    assert caught.value.reason is Reason.BASE_UNUSABLE


@pytest.mark.row("R256")
def test_how_far_weights_are_apart_is_a_share_of_the_greatest(base: dict[str, Any]) -> None:
    content = take_apart(bytes_of(base["artifact"]))
    assert farthest(content, content) == 0
    apart = farthest(take_apart(trained(base, share=2.0**-10)), content)
    assert 2.0**-12 < apart <= 2.0**-10


def of_two_sums(folder: Path, scale: float) -> Path:
    """A network whose score hangs on two sums that are the same, and are told apart at this scale."""
    sums = [np.full((1, 3, 1, 1), scale, np.float32) for _ in range(2)]
    nodes = [
        *nothing_of_the_page(),
        *(helper.make_node("Conv", ["images", f"sum_{n}"], [f"summed_{n}"]) for n in (0, 1)),
        helper.make_node("Sub", ["summed_0", "summed_1"], ["apart"]),
        helper.make_node("Abs", ["apart"], ["far"]),
        helper.make_node("ReduceMax", ["far"], ["farthest"], keepdims=0),
        helper.make_node("Mul", ["farthest", "score"], ["of_the_score"]),
        helper.make_node("Sub", ["boxes", "of_the_score"], ["output0"]),
    ]
    initial = [numpy_helper.from_array(each, f"sum_{n}") for n, each in enumerate(sums)]
    score = (BOX[0, 4, 0] == BOX).astype(np.float32)
    return network(
        folder, nodes, *initial, numpy_helper.from_array(BOX, "boxes"), numpy_helper.from_array(score, "score")
    )


PAGE: Final = np.random.default_rng(CHANCE).uniform(size=(1, 3, SIZE, SIZE)).astype(np.float32)


@pytest.mark.row("R254")
@pytest.mark.parametrize("share", SHARES)
def test_a_network_that_hangs_on_how_sums_are_rounded_is_refused(tmp_path: Path, share: float) -> None:
    content = of_two_sums(tmp_path, 1 / share).read_bytes()
    with pytest.raises(StepError, match="answers a page otherwise where its weights differ by a share of") as caught:
        check_rounding(content, "The candidate", [PAGE], SERVED, threads=1, seed=CHANCE)
    assert caught.value.reason is Reason.BASE_UNUSABLE


@pytest.mark.row("R254")
def test_rounding_that_decides_nothing_is_nobodys_fault(base: dict[str, Any], tmp_path: Path) -> None:
    check_rounding(of_two_sums(tmp_path, 1.0).read_bytes(), "The candidate", [PAGE], SERVED, threads=1, seed=CHANCE)
    size = (
        onnx.load_model_from_string(bytes_of(base["artifact"])).graph.input[0].type.tensor_type.shape.dim[2].dim_value
    )
    pages = [np.random.default_rng(n).uniform(size=(1, 3, size, size)).astype(np.float32) for n in range(4)]
    check_rounding(bytes_of(base["artifact"]), "The base", pages, SERVED, threads=2, seed=CHANCE)


@pytest.mark.row("R254")
def test_an_evaluation_takes_no_candidate_that_hangs_on_rounding(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    """Its network is the one that training begins with: weights alone make it so."""

    def large(model: onnx.ModelProto) -> None:
        stored = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Conv" and "dfl" not in node.name:
                tensor = stored[node.input[1]]
                values = numpy_helper.to_array(tensor) * np.float32(40)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        without_lineage(model)

    with pytest.raises(StepError, match="and so on the machine") as caught:
        evaluated(base, world, tmp_path, changed(bytes_of(base["artifact"]), large))
    assert caught.value.reason is Reason.BASE_UNUSABLE


def test_no_tensor_type_but_float_is_a_weight(base: dict[str, Any]) -> None:
    network_ = take_apart(bytes_of(base["artifact"]))
    assert {tensor.data_type for tensor in network_.weights.values()} == {TensorProto.FLOAT}
    kept = {tensor.name for tensor in network_.rest.graph.initializer}
    assert not kept & {tensor.name for tensor in network_.weights.values()}
