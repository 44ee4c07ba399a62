"""The store of production pages: the library that the model is fetched with, with patience of its own."""

from __future__ import annotations

from contextlib import suppress
from secrets import token_hex
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from ..pages.formats import Kind

_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 10


class Store(Protocol):
    """Files by path below one place. Each call may take seconds, and raise any error of the store."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all; one that is there already is replaced."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return a file, or None where there is none."""
        ...

    def exists(self, path: str) -> bool:
        """Tell whether a file is there."""
        ...


class DigestingStore(Store, Protocol):
    """A store whose process decodes images as well."""

    def pixels_digest(self, content: bytes, kind: Kind) -> str:
        """Return the digest of the pixels that `decode_image` finds. Raises where it finds none."""
        ...


class RemoteStore:
    """The store below a URI (file, s3, gs)."""

    def __init__(self, uri: str) -> None:
        # Imported here, in a process of its own: the server, which names these types, does not need it.
        import fsspec  # noqa: PLC0415 - see above

        self._scheme = urlsplit(uri).scheme
        self._files: Any = fsspec.filesystem(self._scheme, **_options(self._scheme))
        if self._scheme == "s3":
            self._files.retries = 1  # who waits here decides when to try again
        self._root = uri.rstrip("/")

    def write(self, path: str, content: bytes) -> None:
        """See `Store`."""
        target = f"{self._root}/{path}"
        if self._scheme != "file":
            self._files.pipe_file(target, content)
            return
        part = f"{target}.{token_hex(4)}.part"  # processes have the same number in every pod
        self._files.makedirs(part.rpartition("/")[0], exist_ok=True)
        try:
            self._files.pipe_file(part, content)
            self._files.mv(part, target)
        except OSError:
            # A disk that is full: what could not be written whole is not left there.
            with suppress(OSError):
                self._files.rm_file(part)
            raise

    def read(self, path: str) -> bytes | None:
        """See `Store`."""
        try:
            content: bytes = self._files.cat_file(f"{self._root}/{path}")
        except FileNotFoundError:
            return None
        return content

    def exists(self, path: str) -> bool:
        """See `Store`."""
        try:
            self._files.info(f"{self._root}/{path}")
        except FileNotFoundError:
            return False
        return True


def _options(scheme: str) -> dict[str, Any]:
    if scheme == "file":
        return {}
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "s3":
        patience = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS, "retries": {"max_attempts": 0}}
        options["config_kwargs"] = {**patience, "max_pool_connections": 2}
    else:
        options["requests_timeout"] = _READ_SECONDS
    return options
