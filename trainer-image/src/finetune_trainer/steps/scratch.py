"""Scratch of an owner: what lies in the store while its steps run, and is nobody's result."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from ..errors import StepError
from ..storage import Storage, join, normalise

SCRATCH: Final = "scratch"
"""The folder of an owner's prefix with what is kept on the way; no manifest lists it."""


def scratch_folder(artifacts: str) -> str:
    """Return where scratch of the owner of the prefix `artifacts` lies."""
    return join(normalise(artifacts), SCRATCH)


def clear(storage: Storage, artifacts: str) -> None:
    """Delete all scratch of an owner; what cannot be deleted is left to the store's own rules."""
    folder = scratch_folder(artifacts)
    with suppress(StepError):
        storage.remove_many(join(folder, name) for name in storage.own(folder))
        storage.remove_folder(folder)
