"""What a network is made of: operators of the ONNX standard, by which the page alone decides what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import onnx

from ..errors import Reason, StepError, bad_input

CHANCE: Final = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
"""Operators that draw numbers. With a seed each session draws the same row of them, so that a network can count pages:
be right for as many as an evaluation has, and wrong for those that come after."""

_STANDARD: Final = ("", "ai.onnx")
"""Both names of the standard's domain. What onnxruntime has beside it, nobody says what it goes by."""


def check_network(content: bytes, where: str) -> None:
    """Raise StepError BaseUnusable for a network whose output may depend on more than the page."""
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own classes, which are others from release to release
        raise _unusable(where, f"is no ONNX ({type(error).__name__})") from error
    own = {(function.domain, function.name) for function in model.functions}
    bodies = (function.node for function in model.functions)
    for node in every_node((*model.graph.node, *(node for body in bodies for node in body))):
        if node.domain in _STANDARD:
            if node.op_type in CHANCE:
                raise _unusable(where, f"draws numbers by chance ({node.op_type}), and so may answer a page otherwise")
        elif (node.domain, node.op_type) not in own:
            raise _unusable(where, f"has the operator {node.op_type} of {node.domain}, which is not in the standard")


def every_node(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes, and those of the graphs within them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from every_node(graph.node)


def _unusable(where: str, what: str) -> StepError:
    return bad_input(
        Reason.BASE_UNUSABLE, f"{where} {what}.", "Export with `finetune-trainer import`, from a model of ultralytics."
    )
