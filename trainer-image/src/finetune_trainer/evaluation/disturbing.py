"""The same network as other machines may compute it: its numbers changed by chance, by no more than these differ in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from .architecture import weights_by_name

APPROXIMATED: Final = frozenset(
    {
        "Celu",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LogSoftmax",
        "Mish",
        "Selu",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Softsign",
        "Swish",
        "Tanh",
    }
)
"""Functions that each kind of CPU reckons by a formula of its own: where one gives 0 the next gives 0.00000001."""

_LEAST: Final = 2.0**-100
"""What is added to weights beside a share of each. Numbers below 2**-126 have fewer digits the smaller they are, and
lose a share of themselves that is no small one; no training makes any that matter."""


def disturbed(content: bytes, share: float, chance: np.random.Generator) -> bytes:
    """Return the network with each weight changed by chance, by at most that share of it, and each value of a function.

    A function's value is changed by at most the share of 1.
    """
    model = onnx.load_model_from_string(content)
    _change_weights(model, share, chance)
    nodes = [each for node in model.graph.node for each in _with_noise(node, share, chance)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return _serialised(model)


def sizes(content: bytes) -> list[float]:
    """Return the sum of each weight's numbers, without their signs; of one that is no number none is below another."""
    weights = weights_by_name(onnx.load_model_from_string(content))
    return [float(np.abs(numpy_helper.to_array(each).astype(np.float64)).sum()) for each in weights.values()]


def with_sizes(content: bytes) -> bytes:
    """Return the network with one output more: the sum of each layer's numbers, without their signs.

    Each sum is written behind its layer: all layers of a page together, kept for the end, take gigabytes.
    """
    model = onnx.load_model_from_string(content)
    graph, floats = model.graph, _floats(model)
    nodes: list[onnx.NodeProto] = []
    sums: list[str] = []
    for node in graph.node:
        nodes.append(node)
        for name in (each for each in node.output if each in floats):
            size, added = f"size {len(sums)}", f"sizes {len(sums)}"
            nodes.append(helper.make_node("ReduceL1", [name], [size], keepdims=0))
            nodes.append(helper.make_node("Reshape", [size, "one of them"], [added]))
            sums.append(added)
    nodes.append(helper.make_node("Concat", sums, ["sizes"], axis=0))
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one of them"))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output.append(helper.make_tensor_value_info("sizes", TensorProto.FLOAT, [len(sums)]))
    return _serialised(model)


def _change_weights(model: onnx.ModelProto, share: float, chance: np.random.Generator) -> None:
    weights = weights_by_name(model)
    for name in sorted(weights):
        values = numpy_helper.to_array(weights[name]).astype(np.float64)
        factors, added = (chance.uniform(-1, 1, values.shape) for _ in range(2))
        changed = values * (1 + share * factors) + _LEAST * added
        weights[name].CopyFrom(numpy_helper.from_array(changed.astype(np.float32), name))


def _with_noise(node: onnx.NodeProto, share: float, chance: np.random.Generator) -> Iterator[onnx.NodeProto]:
    yield node
    if node.op_type not in APPROXIMATED:
        return
    value = node.output[0]
    node.output[0] = f"{value} exact"
    seed = float(chance.integers(2**20))
    noise = f"{value} noise"
    yield helper.make_node("RandomUniformLike", [node.output[0]], [noise], low=-share, high=share, seed=seed)
    yield helper.make_node("Add", [node.output[0], noise], [value])


def _floats(model: onnx.ModelProto) -> set[str]:
    """Return the names of what the operators make, where these are numbers of float32."""
    inferred = shape_inference.infer_shapes(model).graph
    kinds = {each.name: each.type.tensor_type.elem_type for each in (*inferred.value_info, *inferred.output)}
    return {name for node in model.graph.node for name in node.output if kinds.get(name) == TensorProto.FLOAT}


def _serialised(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString()
    return content
