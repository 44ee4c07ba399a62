"""The init step: brings one artifact by URI into the shared volume and lets nothing through but its digest."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol
from urllib.parse import urlsplit

import fsspec

from .artifact import MODEL_FILE, RECORD_FILE, Artifact, write_record
from .config import FetchConfig
from .errors import ExitCode, StartError

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 4 * 1024 * 1024
FIRST_DELAY_SECONDS: Final = 1.0
MAX_DELAY_SECONDS: Final = 30.0
WAITING_LOG_SECONDS: Final = 60.0


class Clock(Protocol):
    """Time as the fetch needs it; `time` is one."""

    def monotonic(self) -> float:
        """Return the seconds since some moment."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...


Opener = Callable[[str], IO[bytes]]


def open_uri(uri: str) -> IO[bytes]:
    """Open `uri` for reading in sequence, past every cache: a retry must see the store, not a memory of it."""
    scheme = urlsplit(uri).scheme
    options = {} if scheme == "file" else {"skip_instance_cache": True, "use_listings_cache": False}
    filesystem = fsspec.filesystem(scheme, **options)
    stream: IO[bytes] = (
        filesystem.open(uri, "rb")
        if scheme == "file"
        else filesystem.open(uri, "rb", block_size=2 * CHUNK_BYTES, cache_type="readahead")
    )
    return stream


def wait_for_a_model(clock: Clock) -> None:
    """Wait, until the pod is replaced by one whose template names a model. Never returns by itself."""
    while True:
        log.info(
            "nothing is live yet: the pod template carries no finetune-operator.io annotations and Git pins no model "
            "(FINETUNE_PINNED_VERSION, _URI, _SHA256); waiting to be replaced"
        )
        clock.sleep(WAITING_LOG_SECONDS)


def fetch(config: FetchConfig, artifact: Artifact, clock: Clock, opener: Opener = open_uri) -> None:
    """Leave verified `model.onnx` and its `model.json` in the directory, or raise `StartError`.

    Failures of network and store are tried again, with growing pauses, for `patience_seconds`;
    what waiting cannot mend (not there, not allowed, another digest, too large) fails at once.
    """
    with _local_disk(config.directory):
        config.directory.mkdir(parents=True, exist_ok=True)
        for part in config.directory.glob(".*.part"):
            part.unlink()
    if _digest_of(config.directory / MODEL_FILE) == artifact.sha256:
        # The init container runs again when the sandbox is rebuilt; the volume survives that.
        log.info("%s is here already and verified", artifact.version)
    else:
        (config.directory / RECORD_FILE).unlink(missing_ok=True)
        size = _with_retries(lambda: _download(config, artifact, opener), artifact, config.patience_seconds, clock)
        log.info(
            "fetched %s from %s: %d bytes, sha256 %s verified", artifact.version, artifact.uri, size, artifact.sha256
        )
    with _local_disk(config.directory):
        write_record(config.directory, artifact)


def _with_retries(attempt: Callable[[], int], artifact: Artifact, patience: float, clock: Clock) -> int:
    deadline, delay = clock.monotonic() + patience, FIRST_DELAY_SECONDS
    while True:
        try:
            return attempt()
        except StartError:
            raise
        except Exception as error:  # stores raise errors of their own, without a common base
            _raise_if_lasting(error, artifact)
            detail = f"{type(error).__name__}: {error}"
            if clock.monotonic() + delay > deadline:
                raise StartError(
                    "StorageUnavailable",
                    f"{artifact.uri} could not be read within {patience:g} s, last {detail}",
                    "Check store, endpoint (AWS_ENDPOINT_URL), its certificate (AWS_CA_BUNDLE) and network policies; "
                    "the kubelet starts this step again",
                    ExitCode.UNAVAILABLE,
                ) from error
            log.warning("%s could not be read, trying again in %g s: %s", artifact.uri, delay, detail)
        clock.sleep(delay)
        delay = min(2 * delay, MAX_DELAY_SECONDS)


def _raise_if_lasting(error: Exception, artifact: Artifact) -> None:
    """Turn what another attempt cannot mend into a `StartError`."""
    match error:
        case FileNotFoundError() | IsADirectoryError():
            raise StartError(
                "ArtifactNotFound",
                f"{artifact.uri} does not exist",
                "Check the URI, bucket and mount; artifacts of live versions must not be deleted",
            ) from error
        case PermissionError():
            raise StartError(
                "ArtifactForbidden",
                f"{artifact.uri}: {error}",
                "Give the pod credentials that may read it: service account or envFrom (AWS_ACCESS_KEY_ID, ...)",
            ) from error
        case ImportError() | ValueError():
            raise StartError("UriUnsupported", f"{artifact.uri}: {error}", "Use file://, s3:// or gs://") from error
        case _:
            return


def _download(config: FetchConfig, artifact: Artifact, opener: Opener) -> int:
    """Try once, and return the size in bytes. The model appears under its name only when its digest is right."""
    part = config.directory / f".{MODEL_FILE}.part"
    digest, size = hashlib.sha256(), 0
    try:
        with opener(artifact.uri) as source, _writable(part) as target:
            while chunk := source.read(CHUNK_BYTES):
                size += len(chunk)
                if size > config.max_bytes:
                    raise StartError(
                        "ArtifactTooLarge",
                        f"{artifact.uri} is larger than {config.max_bytes} bytes",
                        "Raise FINETUNE_MAX_MODEL_BYTES and the volume's sizeLimit if that is meant",
                    )
                digest.update(chunk)
                with _local_disk(config.directory):
                    target.write(chunk)
            with _local_disk(config.directory):
                os.fsync(target.fileno())
        if digest.hexdigest() != artifact.sha256:
            raise StartError(
                "DigestMismatch",
                f"{artifact.uri} has sha256 {digest.hexdigest()}, {artifact.version} has {artifact.sha256}",
                "Somebody wrote over the artifact, or the digest is another version's; restore the one that was judged",
            )
        with _local_disk(config.directory):
            part.replace(config.directory / MODEL_FILE)
    finally:
        part.unlink(missing_ok=True)
    return size


def _writable(part: Path) -> IO[bytes]:
    with _local_disk(part.parent):
        # Unbuffered: a full volume shows at the write that fills it, not when the file is closed.
        return part.open("wb", buffering=0)


@contextmanager
def _local_disk(directory: Path) -> Iterator[None]:
    """Tell the volume's failures (full, read-only, not ours) from the store's: no retry mends them."""
    try:
        yield
    except OSError as error:
        raise StartError(
            "VolumeUnusable",
            f"{directory}: {error.strerror}",
            "Mount an emptyDir there (FINETUNE_MODEL_DIR) with room for the model, writable for the pod's user",
        ) from error


def _digest_of(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
