"""Files of a mounted volume, written so that no name ever shows half a file."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from pathlib import Path


def replace(path: Path, data: bytes) -> None:
    """Write `path`, over what is there."""
    _make_folder(path.parent)
    _temporary(path, data).replace(path)


def place(path: Path, source: Path) -> None:
    """Copy the file `source` to `path`, over what is there."""
    _make_folder(path.parent)
    temporary = path.with_name(f".partial-{secrets.token_hex(4)}")
    try:
        shutil.copyfile(source, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def create(path: Path, data: bytes) -> None:
    """Create `path`; FileExistsError where there is one."""
    _make_folder(path.parent)
    temporary = _temporary(path, data)
    try:
        # A hard link fails when the name is taken, and the name never shows half a file.
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        with path.open("xb") as stream:  # a file system without hard links
            stream.write(data)
    finally:
        temporary.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make a folder; NotADirectoryError where a file has its name: FileExistsError would say that of what goes in."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def _temporary(path: Path, data: bytes) -> Path:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-", delete=False) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
        # NamedTemporaryFile makes 0600; pods of other users read these files.
        os.fchmod(stream.fileno(), 0o644)
    return Path(stream.name)
