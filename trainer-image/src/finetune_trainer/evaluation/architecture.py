"""Whether two networks differ in their weights alone: whoever trains chooses numbers, not what is done with them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from .network import every_node

_LINEAR: Final = frozenset(
    {"BatchNormalization", "Conv", "ConvTranspose", "Gemm", "LayerNormalization", "MatMul", "PRelu"}
)
"""Operators whose numbers are weights, all of them."""

_SCALING: Final = frozenset({"Add", "Mul"})
"""Operators whose numbers are weights where there is one for each channel: a bias, or a learnt scale."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network taken apart: what it does, without its weights, and these by where they are used.

    Weights are told by node and place, as an exporter writes equal ones down once.
    """

    rest: onnx.ModelProto
    weights: dict[tuple[int, int], onnx.TensorProto]


def take_apart(content: bytes) -> Network:
    """Return the parts of a network that `check_network` took."""
    model = onnx.load_model_from_string(content)
    del model.metadata_props[:]
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    weights: dict[tuple[int, int], onnx.TensorProto] = {}
    for number, node in enumerate(model.graph.node):
        for place, name in enumerate(node.input):
            tensor = stored.get(name)
            if tensor is not None and _is_weight(node, tensor):
                weights[number, place] = tensor
                node.input[place] = f"weights {list(tensor.dims)}"
    _keep_used(model.graph)
    return Network(model, weights)


def difference(network: Network, expected: Network) -> str | None:
    """Return in what a network is another one than expected, whatever its weights are; None where in nothing.

    Names count too, as an exporter gives the same to the same: what is compared is all that onnxruntime reads.
    """
    if _bytes(network.rest) == _bytes(expected.rest):
        return None
    nodes = list(network.rest.graph.node), list(expected.rest.graph.node)
    for number, (mine, other) in enumerate(zip_longest(*nodes), start=1):
        if mine is None or other is None:
            return f"it has {len(nodes[0])} operators, not {len(nodes[1])}"
        if _bytes(mine) != _bytes(other):
            kinds = (mine.op_type, other.op_type)
            what = f"is {kinds[0]}, not {kinds[1]}" if kinds[0] != kinds[1] else f"({kinds[0]}) has other settings"
            return f"its operator {number} of {len(nodes[0])} {what}"
    return "its constants, inputs or outputs are others, or what says by which release it is read"


def farthest(network: Network, expected: Network) -> float:
    """Return how far a weight is from the expected one, as a share of its tensor's greatest; of two that do not differ.

    Infinite for a weight that is no number.
    """
    return max((_distance(network.weights[use], expected.weights[use]) for use in network.weights), default=0.0)


def weights_by_name(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the weights of a model, in place, each once."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    used = ((node, stored.get(name)) for node in model.graph.node for name in node.input)
    return {tensor.name: tensor for node, tensor in used if tensor is not None and _is_weight(node, tensor)}


def _distance(mine: onnx.TensorProto, other: onnx.TensorProto) -> float:
    ours, theirs = numpy_helper.to_array(mine), numpy_helper.to_array(other)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    greatest = float(np.abs(theirs).max(initial=0.0))
    apart = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0))
    return apart / greatest if greatest else apart


def _is_weight(node: onnx.NodeProto, tensor: onnx.TensorProto) -> bool:
    if tensor.data_type != onnx.TensorProto.FLOAT or node.domain:
        return False
    return node.op_type in _LINEAR or (node.op_type in _SCALING and _is_for_each_channel(list(tensor.dims)))


def _is_for_each_channel(shape: list[int]) -> bool:
    """Tell whether a tensor is one number for each channel, as (C,) or (1, C, 1, 1)."""
    return len(shape) == 1 or (len(shape) == 4 and [shape[0], *shape[2:]] == [1, 1, 1])


def _keep_used(graph: onnx.GraphProto) -> None:
    """Leave the constants that are no weights, by name: their order says nothing."""
    used = {name for node in every_node(graph.node) for name in node.input} | {each.name for each in graph.output}
    kept = sorted((tensor for tensor in graph.initializer if tensor.name in used), key=lambda tensor: tensor.name)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _bytes(part: onnx.ModelProto | onnx.NodeProto) -> bytes:
    serialised: bytes = part.SerializeToString(deterministic=True)
    return serialised
