"""One file of a training's state: plain arrays and JSON under a seal, no pickle."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import numpy as np

from ..documents.result import ResumedFrom
from .state import Figures, TrainingState

_SEAL: Final = hashlib.sha256().digest_size
_CHUNK: Final = 4 * 1024 * 1024
_HEADER: Final = "header"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Whose state it is: `binding` is a digest of all that the training hangs on; `resumed` as in the result."""

    owner: str
    attempt: int
    binding: str
    seconds: int
    device: str
    resumed: tuple[ResumedFrom, ...]
    figures: Figures


class NotOurs(Exception):
    """The file is not what an attempt with that key wrote: cut, changed, or planted."""


def write_state(path: Path, header: Header, state: TrainingState, key: str) -> None:
    """Write the state, sealed by `key`."""
    arrays = {_HEADER: np.frombuffer(msgspec.json.encode(header), np.uint8), **state.arrays}
    with path.open("w+b") as stream:
        stream.write(bytes(_SEAL))
        np.savez(stream, allow_pickle=False, **arrays)
        seal = _seal(stream, key)
        stream.seek(0)
        stream.write(seal)


def read_state(path: Path, key: str) -> tuple[Header, TrainingState]:
    """Return what was written with this key; NotOurs for anything else, of which nothing is parsed."""
    with path.open("rb") as stream:
        written = stream.read(_SEAL)
        if not hmac.compare_digest(written, _seal(stream, key)):
            raise NotOurs
        stream.seek(_SEAL)
        with np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    header = msgspec.json.decode(arrays.pop(_HEADER).tobytes(), type=Header)
    return header, TrainingState(header.figures, arrays)


def _seal(stream: BinaryIO, key: str) -> bytes:
    stream.seek(_SEAL)
    seal = hmac.new(key.encode(), digestmod=hashlib.sha256)
    while chunk := stream.read(_CHUNK):
        seal.update(chunk)
    return seal.digest()
