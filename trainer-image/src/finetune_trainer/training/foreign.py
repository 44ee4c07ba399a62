"""Whose file it is that the safe loader refuses, told from its bytes; nothing in it is executed."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Final

from ..errors import Reason, StepError, bad_input

_ANY_BASE: Final = "Use a best.pt of ultralytics' detection training with stock model classes."
_YOLOV5: Final = ("models.yolo", "models.common", "models.experimental")
"""Modules of the yolov5 repository and of those that were made from it; their files cannot be read without them."""

_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_ZIP: Final = b"PK\x03\x04"
"""How files of torch from 1.6 on begin; what they hold is listed at their end."""

_ONNX: Final = (b"\x08", b"\x12")
"""Its first two fields, the version and who made it; between them the version's one byte."""

_PICKLES: Final = 4
"""A file of torch before 1.6 is so many pickles before its weights: magic number, protocol, machine, content."""

_SHOWN: Final = 40
"""Bytes of a file of another kind that a message quotes."""


def refused(path: Path, where: str, error: Exception) -> StepError:
    """Return the error for a file that cannot be loaded safely, with what it most likely is."""
    what, remedy = _what(path) or (
        f"is no ultralytics checkpoint that can be loaded safely: {_words(error)}",
        _ANY_BASE,
    )
    return bad_input(Reason.BASE_UNUSABLE, f"{where} {what}.", remedy)


def _what(path: Path) -> tuple[str, str] | None:
    """Return what the file is and what to do, or None where nothing is told from it."""
    with path.open("rb") as stream:
        head = stream.read(_SHOWN)
    if head.startswith(_POINTER):
        return "is a pointer of git-lfs, not the checkpoint", "Run `git lfs pull` where it comes from."
    if head.startswith(_ZIP) and not zipfile.is_zipfile(path):
        what = "is no ultralytics checkpoint, or was cut off: it begins as torch's files do, and has no end"
        return what, "Copy or download it again, whole."
    if head[:1] == _ONNX[0] and head[2:3] == _ONNX[1]:
        return "is ONNX, an export that cannot be trained", "Import the best.pt that it was exported from."
    if not zipfile.is_zipfile(path) and not head.startswith(b"\x80"):
        content = repr(head.decode(errors="replace")) if head else "nothing"
        return f"is no ultralytics checkpoint, nor a file that torch wrote; it begins with {content}", _ANY_BASE
    if _is_torchscript(path):
        return "is TorchScript, an export that cannot be trained", "Import the best.pt that it was exported from."
    strange = [name for name in _classes(path) if not name.startswith("ultralytics.")]
    if any(name.startswith(_YOLOV5) for name in strange):
        return (
            "is a file of the yolov5 repository, or of one that was made from it",
            "Train with ultralytics (its yolov5 weights end in u.pt), and import that best.pt.",
        )
    return (f"carries code that is not loaded: {', '.join(strange[:3])}", _ANY_BASE) if strange else None


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _classes(path: Path) -> list[str]:
    """Return what a checkpoint refers to and the safe loader does not know, as `module.name`."""
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        return list(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # noqa: BLE001 - it reads no files of torch before 1.6
        return _classes_of_old(path)


def _classes_of_old(path: Path) -> list[str]:
    names: list[str] = []
    try:
        with path.open("rb") as stream:
            for _ in range(_PICKLES):
                names += [
                    str(argument).replace(" ", ".")
                    for opcode, argument, _ in pickletools.genops(stream)
                    if opcode.name == "GLOBAL"
                ]
    except (ValueError, EOFError):  # no such file, or one that is cut
        return []
    return [
        name
        for name in dict.fromkeys(names)
        if not name.startswith(("torch.", "collections.", "_codecs.", "__builtin__."))
    ]


def _words(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else repr(error)
    return text.removeprefix("ERROR").lstrip(" \u274c\ufe0f").rstrip(".")
