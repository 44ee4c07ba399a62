"""Whether a checkpoint's model can be exported, trained from and served: its kind, weights, names and strides."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import Reason, StepError, bad_input
from .checkpoint import weights_of

_KIND: Final = "DetectionModel"
"""The one class of models whose boxes evaluator and server read: others answer in another form."""

_CHANNELS: Final = 3
"""Of a page, grey ones too: they are served so."""

_TORCH_NN: Final = re.compile(r"(torch\.)?nn\.\w+")


def check_usable(checkpoint: Mapping[str, Any], where: str, image_size: int) -> None:
    """Raise StepError BaseUnusable with the first reason why this model cannot be a base at `image_size` pixels."""
    model = weights_of(checkpoint)
    if isinstance(model, Mapping):
        raise _unusable(f"{where} holds weights alone (a state_dict), not the model", "Use the best.pt of a training.")
    kind = type(model).__name__
    if kind != _KIND:
        raise _unusable(f"{where} is a {kind}, not a {_KIND}", "Use a YOLO detection model of ultralytics.")
    if model.is_fused():
        raise _unusable(
            f"{where} was fused: its batch norms are folded into the convolutions, so it cannot be trained on",
            "Use the best.pt that training wrote, not one that was saved after predicting or exporting.",
        )
    _check_activation(model, where)
    if (channels := getattr(model, "yaml", {}).get("channels", _CHANNELS)) != _CHANNELS:
        raise _unusable(
            f"{where} reads pages of {str(channels)[:80]} channels, and not of {_CHANNELS}",
            "Train it anew on pages in colour, with a data.yaml that says no channels:.",
        )
    _check_finite(model, where)
    _check_names(model, where)
    stride = int(max(model.stride))
    if image_size % stride:
        raise _unusable(
            f"{where} works on sides that are multiples of {stride} pixels, and {image_size} is none",
            f"Use an image size of {image_size // stride * stride or stride} or {-(-image_size // stride) * stride}.",
        )


def _check_activation(model: Any, where: str) -> None:
    """Raise StepError BaseUnusable for an activation that is more than a class of torch.nn with plain settings.

    Ultralytics builds the model anew as training begins, and has Python evaluate what stands there.
    """
    said = getattr(model, "yaml", {}).get("activation")
    if said is None or (isinstance(said, str) and _is_plain_call(said)):
        return
    raise _unusable(
        f"{where} has an activation that is no class of torch.nn: {str(said)[:80]}",
        "Train it anew with one such as nn.SiLU() or torch.nn.LeakyReLU(0.1).",
    )


def _is_plain_call(text: str) -> bool:
    """Tell whether this is `[torch.]nn.Name(...)` of literals."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if (
        not isinstance(call, ast.Call)
        or not ast.unparse(call.func).removeprefix("torch.").removeprefix("nn.").isalnum()
    ):
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return ast.unparse(call.func).startswith(("nn.", "torch.nn.")) and all(_is_literal(each) for each in given)


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _check_finite(model: Any, where: str) -> None:
    broken = [name for name, tensor in model.state_dict().items() if not bool(tensor.isfinite().all())]
    if broken:
        raise _unusable(
            f"{where} has weights that are no numbers: {', '.join(broken[:3])}"
            + (f" and {len(broken) - 3} more" if len(broken) > 3 else ""),
            "Its training diverged; use an earlier checkpoint.",
        )


def _check_names(model: Any, where: str) -> None:
    names, count = getattr(model, "names", None), int(model.model[-1].nc)
    indices = sorted(names) if isinstance(names, dict) else list(range(len(names or ())))
    if indices != list(range(count)):
        raise _unusable(
            f"{where} answers with {count} classes, and its names have the indices {str(indices)[:80]}",
            "Train it anew with a data.yaml that names every class, 0, 1, 2, ...",
        )


def _unusable(what: str, remedy: str) -> StepError:
    return bad_input(Reason.BASE_UNUSABLE, f"{what}.", remedy)
