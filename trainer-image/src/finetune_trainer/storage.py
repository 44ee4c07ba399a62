"""Reading and write-once writing by URI (file, s3, gs), with digests and errors that say where and what."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

import fsspec

from . import local_files
from .digests import check_digest
from .errors import ErrorClass, Reason, StepError, bad_input
from .storage_errors import translated

_Read = TypeVar("_Read")

SCHEMES: Final = ("file", "s3", "gs")
_CHUNK: Final = 4 * 1024 * 1024
"""Bytes that are copied at once."""

_READERS: Final = 16
"""Threads that read remote objects; they wait for the network."""

_CONFLICT: Final = "ConditionalRequestConflict"
"""What S3 says where somebody else writes the same key at once, and asks to be tried again; its client does not."""

_CONFLICTS, _PAUSE = 5, 1.0  # how often that is tried, and seconds between

_UNCACHED: Final[Mapping[str, Any]] = {"use_listings_cache": False}
"""Somebody else may have written meanwhile: a pool's log is listed again behind the pages that took an hour to read."""

_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    # An unreachable endpoint should end the attempt within minutes; the operator retries with a new one.
    "s3": {
        "config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 4}},
        **_UNCACHED,
    },
    "gs": _UNCACHED,
}


def normalise(uri: str) -> str:
    """Return a URI of a known scheme without trailing slash; a bare path becomes `file://`.

    Raises StepError (DataUnreadable) for other schemes, user info or a query: credentials come from the pod.
    """
    if not uri.strip():
        raise bad_input(
            Reason.DATA_UNREADABLE,
            "A place is empty, which would be the folder that the command runs in.",
            "See whether a variable of the shell is unset; write . for this folder.",
        )
    if not local_files.is_utf8(uri):
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"The place {uri!a} is not UTF-8.",
            "Write it in UTF-8; a folder whose name has another encoding has to be renamed, or linked by another name.",
        )
    if "://" not in uri:
        return "file://" + quote(str(Path(uri).absolute()))
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"The scheme of {uri!r} is not supported.",
            f"Use one of {', '.join(s + '://' for s in SCHEMES)}.",
        )
    if "#" in uri or (parts.scheme == "file" and parts.query):
        sign, written = ("#", "%23") if "#" in uri else ("?", "%3F")
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"The URI {uri!r} has a {sign!r}, and what follows it would be no part of the path.",
            f"Write {written} for it in a file:// URI, or give a path without scheme; in a bucket use another prefix.",
        )
    if parts.query or "@" in parts.netloc:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"The URI on host {parts.hostname!r} carries credentials or a query.",
            "Give credentials to the pod (service account or envFrom), not to the URI.",
        )
    return uri.rstrip("/")


def join(uri: str, *parts: str) -> str:
    """Return `uri` with path parts appended, which are names as they lie there, not parts of a URI.

    Below file:// they are percent-encoded (and read back so); the key of an object store is what it is.
    """
    encoded = (quote(part) for part in parts) if uri.startswith("file://") else parts
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in encoded)])


def local_path(uri: str) -> Path | None:
    """Return the path behind a `file://` URI, or None for a remote one."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below a place: paths of files relative to it, sorted, and by path why something cannot be read."""

    files: tuple[str, ...]
    unusable: Mapping[str, str]


class Storage:
    """All object access of a step. Holds one file system per scheme, so that connections are reused."""

    def __init__(self) -> None:
        self._systems: dict[str, Any] = {}

    def read(self, uri: str) -> bytes:
        """Return the bytes at `uri`; StepError DataUnreadable or StorageUnavailable."""
        with translated(uri, "read"):
            if (path := local_path(uri)) is not None:
                return path.read_bytes()
            data: bytes = self._system(uri).cat_file(_key(uri))
            return data

    def read_if_there(self, uri: str) -> bytes | None:
        """Return the bytes at `uri`; None where nothing lies there, as what expires or is erased may at any moment.

        Whoever asks first whether it is there may find nothing when they read. StepError as of `read`.
        """
        try:
            return self.read(uri)
        except StepError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return None
            raise

    def read_many(self, uris: Iterable[str]) -> dict[str, bytes]:
        """Return the bytes of many objects; remote ones are fetched side by side, each by its exact key."""
        return _side_by_side(self.read, uris)

    def read_those_there(self, uris: Iterable[str]) -> dict[str, bytes]:
        """Return the bytes of those of many objects that are there, fetched as by `read_many`."""
        read = _side_by_side(self.read_if_there, uris)
        return {uri: data for uri, data in read.items() if data is not None}

    def sizes(self, uris: Iterable[str]) -> dict[str, int | None]:
        """Return the size in bytes of each object, None where there is none; remote ones by a listing per folder."""
        result: dict[str, int | None] = {}
        listings: dict[str, dict[str, int]] = {}
        for uri in uris:
            if (path := local_path(uri)) is not None:
                with translated(uri, "stat"):
                    try:
                        result[uri] = path.stat().st_size
                    except (FileNotFoundError, NotADirectoryError):
                        result[uri] = None
                continue
            folder = uri.rpartition("/")[0]
            if folder not in listings:
                listings[folder] = self._listing(folder)
            result[uri] = listings[folder].get(uri.rpartition("/")[2])
        return result

    def exists(self, uri: str) -> bool:
        """Tell whether an object or a local file is at `uri`."""
        with translated(uri, "look up"):
            if (path := local_path(uri)) is not None:
                return path.exists()
            return bool(self._system(uri).exists(_key(uri)))

    def names(self, uri: str) -> list[str]:
        """Return the names directly below `uri`, sorted; empty when there is no such folder."""
        with translated(uri, "list"):
            if (path := local_path(uri)) is not None:
                try:
                    return sorted(entry.name for entry in path.iterdir())
                except (FileNotFoundError, NotADirectoryError):
                    return []  # not asked for first: an expiry removes folders at any moment
        return sorted(self._listing(uri))

    def times(self, uri: str) -> dict[str, datetime | None]:
        """Return since when the store has each file directly below `uri`, by its own clock, which no writer sets.

        None where it does not say. By one listing.
        """
        with translated(uri, "list"):
            if (path := local_path(uri)) is not None:
                return local_files.times(path)
        said = {name: e.get("LastModified") or e.get("ctime") for name, e in self._entries(uri).items()}  # S3, or GCS
        return {name: t if isinstance(t, datetime) and t.tzinfo is not None else None for name, t in said.items()}

    def walk(self, uri: str) -> Listing:
        """Return every file below `uri`, behind links to folders too, and what lies there and is none."""
        with translated(uri, "list"):
            if (path := local_path(uri)) is not None:
                files, unusable = local_files.walk(path)
                return Listing(tuple(sorted(files)), unusable)
            prefix = _key(uri) + "/"
            keys = (key.removeprefix(prefix) for key in self._system(uri).find(_key(uri)))
            return Listing(tuple(sorted(key for key in keys if key and not key.endswith("/"))), {})

    def own(self, uri: str) -> tuple[str, ...]:
        """Return every file below `uri` that is deleted with it: a link itself, and nothing that it leads to."""
        if (path := local_path(uri)) is None:
            return self.walk(uri).files
        with translated(uri, "list"):
            return tuple(sorted(local_files.own(path)))

    def fetch(self, uri: str, target: Path, *, sha256: str, fetched: Callable[[int], None] | None = None) -> Path:
        """Copy `uri` to `target`, and return the target; StepError DigestMismatch when the bytes are others.

        `fetched` is called with the bytes that have come so far.
        """
        digest = self.copy(uri, target, fetched)
        check_digest(uri, actual=digest, expected=sha256)
        return target

    def copy(self, uri: str, target: Path, fetched: Callable[[int], None] | None = None) -> str:
        """Copy `uri` to `target`, and return the digest of what was there; the caller knows what it is worth."""
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with translated(uri, "read"), self._system(uri).open(_key(uri), "rb") as source, target.open("wb") as sink:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                sink.write(chunk)
                if fetched is not None:
                    fetched(sink.tell())
        return digest.hexdigest()

    def write_once(self, uri: str, data: bytes) -> None:
        """Create `uri`. The same bytes already there are success; others are an error, never replaced.

        Where somebody else deletes it at once (an erasure), it is created anew.
        """
        for _ in range(_CONFLICTS):
            if self._create(uri, data):
                return
            there = self.read_if_there(uri)
            if there == data:
                return
            if there is not None:
                message = f"{uri} exists with other contents; artifacts are written once."
                remedy = "Start a new attempt; leave the existing object alone."
                raise StepError(ErrorClass.INTERNAL, Reason.INTERNAL, message, remedy)
        message = f"{uri} is written or deleted by somebody else again and again."
        raise StepError(ErrorClass.UNAVAILABLE, Reason.STORAGE_UNAVAILABLE, message, "Try again once they are done.")

    def _create(self, uri: str, data: bytes) -> bool:
        """Create an object; False where there is one, or somebody else is making it."""
        with translated(uri, "write"):
            try:
                if (path := local_path(uri)) is not None:
                    local_files.create(path, data)
                else:
                    self._system(uri).pipe_file(_key(uri), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if _CONFLICT not in str(error):
                    raise
                time.sleep(_PAUSE)
                return False
        return True

    def replace(self, uri: str, data: bytes) -> None:
        """Write `uri` atomically, over what is there. Only for files that are derived from their neighbours."""
        with translated(uri, "write"):
            if (path := local_path(uri)) is None:
                self._system(uri).pipe_file(_key(uri), data)
                return
            local_files.replace(path, data)

    def put(self, uri: str, source: Path) -> None:
        """Write a local file to `uri` atomically, over what is there. Only for scratch."""
        with translated(uri, "write"):
            if (path := local_path(uri)) is None:
                self._system(uri).put_file(str(source), _key(uri))
                return
            local_files.place(path, source)

    def remove(self, uri: str) -> None:
        """Delete an object or a local file; one that is not there is gone already."""
        with translated(uri, "delete"):
            try:
                if (path := local_path(uri)) is not None:
                    path.unlink(missing_ok=True)
                else:
                    self._system(uri).rm_file(_key(uri))
            except FileNotFoundError:
                pass

    def remove_many(self, uris: Iterable[str]) -> None:
        """Delete many objects; remote ones side by side."""
        with ThreadPoolExecutor(_READERS) as workers:
            for _ in workers.map(self.remove, uris):
                pass

    def remove_folder(self, uri: str) -> None:
        """Delete a local folder, or a link to one, with the empty folders in it; what has files stays.

        A bucket has no folders.
        """
        path = local_path(uri)
        if path is None:
            return
        with translated(uri, "delete"):
            if path.is_symlink():
                path.unlink(missing_ok=True)
            for folder, _, _ in os.walk(path, topdown=False):
                with suppress(FileNotFoundError, OSError):
                    Path(folder).rmdir()

    def _listing(self, uri: str) -> dict[str, int]:
        return {name: int(entry.get("size") or 0) for name, entry in self._entries(uri).items()}

    def _entries(self, uri: str) -> dict[str, Mapping[str, Any]]:
        """Return what a store lists directly below `uri`, by name."""
        with translated(uri, "list"):
            try:
                entries = self._system(uri).ls(_key(uri), detail=True)
            except FileNotFoundError:
                return {}
            return {e["name"].rstrip("/").rpartition("/")[2]: e for e in entries}

    def _system(self, uri: str) -> Any:
        scheme = urlsplit(uri).scheme
        if scheme not in self._systems:
            self._systems[scheme] = fsspec.filesystem(scheme, **_OPTIONS.get(scheme, {}))
        return self._systems[scheme]


def _side_by_side(read: Callable[[str], _Read], uris: Iterable[str]) -> dict[str, _Read]:
    wanted = list(dict.fromkeys(uris))
    if all(local_path(uri) is not None for uri in wanted):
        return {uri: read(uri) for uri in wanted}
    with ThreadPoolExecutor(_READERS) as readers:
        return dict(zip(wanted, readers.map(read, wanted), strict=True))


def _key(uri: str) -> str:
    path = local_path(uri)
    return str(path) if path is not None else uri.split("://", 1)[1]
