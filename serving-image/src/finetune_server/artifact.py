"""Which artifact is meant, and what the init step recorded about the one it fetched."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .errors import StartError

SCHEMES: Final = ("file", "s3", "gs")
MODEL_FILE: Final = "model.onnx"
RECORD_FILE: Final = "model.json"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A version's artifact: the version's name, URI and sha256 (64 lower-case hexadecimal digits)."""

    version: str
    uri: str
    sha256: str


def checked_artifact(*, version: str, uri: str, sha256: str, source: str) -> Artifact:
    """Return an `Artifact` made of text that came from `source` (named in errors).

    Raises `StartError` when the URI is not `file|s3|gs`, carries credentials, a query or a fragment,
    or when the digest is not a sha256.
    """
    if not version:
        raise StartError("VersionMissing", f"{source} names no version", "Set version, URI and sha256 together")
    if not _SHA256.fullmatch(sha256):
        raise StartError(
            "DigestMalformed",
            f"{source} has sha256 {sha256!r}",
            "Give 64 lower-case hexadecimal digits, as `sha256sum model.onnx` prints them",
        )
    checked_location(uri, source=source)
    return Artifact(version=version, uri=uri, sha256=sha256)


def checked_location(uri: str, *, source: str, bucket: bool = False) -> str:
    """Return `uri`, which came from `source`; with `bucket`, a whole one will do.

    Raises `StartError` as `checked_artifact` does.
    """
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES or not (parts.path.strip("/") or (bucket and parts.netloc)):
        raise StartError(
            "UriUnsupported", f"{source} has URI {uri!r}", f"Use {', '.join(s + '://' for s in SCHEMES)} and a path"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        # The URI itself is not repeated: what stands there may be a secret.
        raise StartError(
            "UriUnsupported",
            f"{source} has a URI with user information, a query or a fragment",
            "Give credentials by the pod's service account or envFrom, and the plain URI here",
        )
    return uri


def write_record(directory: Path, artifact: Artifact) -> None:
    """Write `model.json` atomically; readers see the old record or the new one, never half of one."""
    part = directory / f".{RECORD_FILE}.part"
    part.write_text(json.dumps(asdict(artifact)) + "\n", encoding="utf-8")
    part.replace(directory / RECORD_FILE)


def read_record(directory: Path) -> Artifact:
    """Return what `model.json` says. Raises `StartError` when it is missing or not what `write_record` writes."""
    path = directory / RECORD_FILE
    remedy = "Run `finetune-server fetch` in an init container that shares FINETUNE_MODEL_DIR"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StartError("RecordMissing", f"{path} does not exist", remedy) from None
    except (OSError, ValueError) as error:
        raise StartError("RecordUnreadable", f"{path}: {error}", remedy) from error
    match raw:
        case {"version": str(version), "uri": str(uri), "sha256": str(sha256)}:
            return checked_artifact(version=version, uri=uri, sha256=sha256, source=str(path))
        case _:
            raise StartError("RecordUnreadable", f"{path} lacks version, uri or sha256", remedy)
