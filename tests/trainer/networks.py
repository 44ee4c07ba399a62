"""Networks for the evaluator's tests, made by hand: they answer as they are told to, whatever the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from finetune_trainer.artifact.metadata import ArtifactMetadata, serving_metadata, written
from finetune_trainer.documents.serving import Lineage, Serving
from finetune_trainer.evaluation.postprocess import Thresholds
from trainer.world import CLASSES

SIZE = 32
BOX = np.array([[16, 16, 8, 8, 0.9, 0.0, 0.0], [4, 4, 4, 4, 0.0, 0.0, 0.0]], np.float32).T[None]
"""One box of the first class, and a candidate below every threshold."""

SERVING = Serving(SIZE, "0.25", "0.7", 300)
SERVED = Thresholds.of(SERVING)

WHITE = np.full((SIZE, SIZE, 3), 255, np.uint8)
BLACK = np.zeros((SIZE, SIZE, 3), np.uint8)


def network(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    *initial: TensorProto,
    lineage: Lineage | None = None,
    output_type: int = TensorProto.FLOAT,
    functions: Sequence[onnx.FunctionProto] = (),
    properties: Mapping[str, str] | None = None,
) -> Path:
    """Write a model of these nodes, which make `output0` of `images`; it may use the domains `own` and Microsoft's."""
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output0", output_type, list(BOX.shape))],
        initial,
    )
    domains = {"": 17, "own": 1, "com.microsoft": 1}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, number) for domain, number in domains.items()],
        functions=functions,
        ir_version=9,
    )
    said = written(ArtifactMetadata(serving_metadata(CLASSES, SERVING), lineage))
    helper.set_model_props(model, said | dict(properties or {}))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def nothing_of_the_page() -> list[onnx.NodeProto]:
    """Nodes that make `nothing` of the page, which is 0."""
    return [
        helper.make_node("ReduceMin", ["images"], ["least"], keepdims=0),
        helper.make_node("Sub", ["least", "least"], ["nothing"]),
    ]


def constant(
    folder: Path, output: TensorProto, lineage: Lineage | None = None, *, output_type: int = TensorProto.FLOAT
) -> Path:
    """Write a model that gives the same output, which is called `weights`, for each page."""
    same = helper.make_node("Cast", ["nothing"], ["typed"], to=output_type)
    add = helper.make_node("Add", ["weights", "typed"], ["output0"])
    return network(folder, [*nothing_of_the_page(), same, add], output, lineage=lineage, output_type=output_type)


def by_page(folder: Path, white: npt.NDArray[np.float32], lineage: Lineage | None = None) -> Path:
    """Write a model that answers a page with white on it otherwise: with as many numbers, of any kind and shape."""
    initial = {
        "bright": np.array(0.9, np.float32),
        "numbers": BOX.ravel(),
        "others": white.ravel(),
        "shape": np.array(BOX.shape, np.int64),
        "another": np.array(white.shape, np.int64),
    }
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "bright"], ["white"]),
        helper.make_node("Where", ["white", "others", "numbers"], ["row"]),
        helper.make_node("Where", ["white", "another", "shape"], ["wanted"]),
        helper.make_node("Reshape", ["row", "wanted"], ["output0"]),
    ]
    return network(
        folder, nodes, *(numpy_helper.from_array(value, name) for name, value in initial.items()), lineage=lineage
    )
