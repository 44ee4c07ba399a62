"""Files of a mounted volume: written so that no name ever shows half a file, and listed."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system without hard links says; FUSE the last one, up to Linux 6.13."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException | None) -> bool:
    """Tell whether a disk, or what one may use of it, has no room: waiting for a store would mend nothing."""
    return isinstance(error, OSError) and error.errno in _FULL


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
        if error.errno not in _NO_LINKS:
            raise
        with path.open("xb") as stream:
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


def is_file(path: Path) -> bool:
    """Tell whether a file lies there; a path that no system takes has none, and whoever reads it says why."""
    with suppress(OSError):
        return path.is_file()
    return False


def is_folder(path: Path) -> bool:
    """Tell whether a folder lies there, as is_file."""
    with suppress(OSError):
        return path.is_dir()
    return False


def times(folder: Path) -> dict[str, datetime | None]:
    """Return since when each file directly below `folder` is there as it is; of no folder none.

    By the later of its two times, for a copy that keeps its time of writing is new by the other one. None where that
    is none of the calendar.
    """
    since: dict[str, datetime | None] = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # what expires goes at any moment; so may what a link leads to
                both = entry.stat(), entry.stat(follow_symlinks=False)
                since[entry.name] = _moment(max(max(s.st_mtime, s.st_ctime) for s in both))
    return since


def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # before year 1 or after 9999, as odd mounts say
        return None


def walk(root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the files below `root`, and by path why something cannot be read.

    Nothing vanishes: `rglob` would pass over linked folders and dangling links.
    """
    files: list[str] = []
    unusable: dict[str, str] = {}
    for folder, folders, leaves in os.walk(root, followlinks=True, onerror=_fail):
        above = {os.path.realpath(parent) for parent in (Path(folder), *Path(folder).parents)}
        for name in [name for name in folders if os.path.realpath(Path(folder, name)) in above]:
            folders.remove(name)
            unusable[_shown(root, folder, name)] = "it is a link to a folder that it lies in"
        for name in leaves:
            path = Path(folder, name)
            if not is_utf8(str(path.relative_to(root))):
                unusable[_shown(root, folder, name)] = "its name is not UTF-8; rename it"
            elif path.is_file():
                files.append(str(path.relative_to(root)))
            else:
                what = "a link to something that is not there" if path.is_symlink() else "no regular file"
                unusable[_shown(root, folder, name)] = f"it is {what}"
    return files, unusable


def own(root: Path) -> list[str]:
    """Return what lies below `root` itself, to be deleted: of a link itself, and of nothing that it leads to.

    Whoever may make a link there need not be allowed to delete what lies behind it.
    """
    if root.is_symlink():
        return []
    return [
        path
        for folder, folders, leaves in os.walk(root, onerror=_fail)
        for name in (*leaves, *(name for name in folders if Path(folder, name).is_symlink()))
        if is_utf8(path := os.path.relpath(Path(folder, name), root))
    ]


def _fail(error: OSError) -> None:
    raise error


def is_utf8(name: str) -> bool:
    """Tell whether a name, as Python has it of the system, can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(root: Path, folder: str, name: str) -> str:
    """Return a path that can be printed: bytes that are no UTF-8 as escapes."""
    path = os.path.relpath(Path(folder, name), root)
    return os.fsencode(path).decode(errors="backslashreplace")
