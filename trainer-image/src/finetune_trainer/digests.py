"""Digests: sha256 of bytes, files and sets of files, and the check that bytes are those that were recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from .errors import Reason, bad_input


def sha256_of(data: bytes) -> str:
    """Return the hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the hex sha256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def set_digest(pairs: Iterable[tuple[str, str | None]]) -> str:
    """Return the sha256 over the sorted (image digest, label digest) pairs of a set, whatever its order and place."""
    lines = sorted(f"{image} {label or '-'}\n" for image, label in pairs)
    return sha256_of("".join(lines).encode())


def check_digest(uri: str, *, actual: str, expected: str) -> None:
    """Raise StepError DigestMismatch unless both hex digests are equal."""
    if actual != expected:
        raise bad_input(
            Reason.DIGEST_MISMATCH,
            f"{uri} has sha256 {actual}, expected {expected}.",
            "Restore the file as it was recorded, or index or import the data again.",
        )
