"""Device and numeric precision: what the hardware can do, decided before ultralytics guesses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from ..errors import Reason, bad_input

Amp = Literal["Auto", "BF16", "Off"]


@dataclass(frozen=True, slots=True)
class Hardware:
    """What torch found. `bf16` only for native support: emulated bf16 is slower than fp32."""

    device: Literal["cpu", "0"]
    name: str
    bf16: bool


def detect_hardware() -> Hardware:
    """Return the first GPU, or the CPU. More devices would start processes that first delete the output folder."""
    import torch

    if not torch.cuda.is_available():
        return Hardware("cpu", "cpu", False)
    return Hardware("0", str(torch.cuda.get_device_name(0)), torch.cuda.get_device_capability(0) >= (8, 0))


def amp_argument(wanted: Amp, hardware: Hardware) -> Literal["bf16", False]:
    """Return ultralytics' `amp`. Never True: that downloads a model to check fp16 with, into a read-only root."""
    match wanted:
        case "Auto":
            return "bf16" if hardware.bf16 else False
        case "Off":
            return False
        case "BF16":
            if not hardware.bf16:
                raise bad_input(
                    Reason.PRECISION_UNSUPPORTED,
                    f"amp is BF16, which {hardware.name} does not compute natively.",
                    "Set training.amp to Auto or Off, or use a GPU of compute capability 8.0 or newer.",
                )
            return "bf16"
        case _:
            assert_never(wanted)
