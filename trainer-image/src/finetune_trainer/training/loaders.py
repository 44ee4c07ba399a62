"""How many processes load images beside the trainer: what the policy wants, or what the pod allows."""

from __future__ import annotations

from typing import Final

from ..errors import Reason, bad_input

_PREFETCH: Final = 4
"""Batches of uint8 images that ultralytics keeps ahead per loader, all through /dev/shm."""

MOST: Final = 8
"""Chosen at most. On an H200 8 loaders fed pages of 640 pixels three times as fast as the trainer alone did."""


def loaders(wanted: int | None, *, gpu: bool, cpus: int, batch: int, image_size: int, available: int) -> int:
    """Return how many processes load batches of `batch` images of `image_size` pixels; none in the trainer's own is 0.

    `available` bytes of /dev/shm are free, 64 MiB in a pod by default: loaders hand over their batches there, and die
    of a bus error where it is full. Without a wish one CPU is left to the trainer; on the CPU loaders would only take
    it from the arithmetic. Raises StepError for a wish that does not fit.
    """
    each = _PREFETCH * batch * 3 * image_size * image_size
    if wanted is None:
        return max(0, min(MOST, cpus - 1, available // each)) if gpu else 0
    if gpu and wanted * each > available:
        raise bad_input(
            Reason.SHARED_MEMORY_TOO_SMALL,
            f"Shared memory (/dev/shm) has {available >> 20} MiB; {wanted} workers with batches of {batch} "
            f"need {wanted * each >> 20} MiB.",
            "Mount an emptyDir with medium: Memory at /dev/shm in the PodTemplate, or leave training.workers unset.",
        )
    return wanted
