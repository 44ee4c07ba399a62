"""What must be set in the process before torch or ultralytics is imported; standard library only."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from .cpu import Cpus, cpus_of


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a step may write; everything else may be read-only. And whether it may make anything."""

    scratch: Path
    document: Path
    termination_log: Path | None
    collect: bool = False
    """Nothing is made: only what an earlier pod of the attempt made is reported again."""
    document_sha256: str | None = None
    """Digest of the document that is meant; None outside of the operator's Jobs."""


def paths_from(environ: Mapping[str, str]) -> Paths:
    """Return the step's paths as the operator sets them.

    The kubelet puts the termination log's file into the container; where there is none, as in a shell, none is made.
    """
    log = Path(environ.get("FINETUNE_TERMINATION_LOG", "/dev/termination-log"))
    return Paths(
        scratch=Path(environ.get("FINETUNE_SCRATCH", "/finetune/scratch")),
        document=Path(environ.get("FINETUNE_DOCUMENT", "/finetune/document/run.json")),
        termination_log=log if log.exists() or "FINETUNE_TERMINATION_LOG" in environ else None,
        collect=environ.get("FINETUNE_COLLECT") == "true",
        document_sha256=environ.get("FINETUNE_DOCUMENT_SHA256"),
    )


def variables(scratch: Path, threads: int) -> dict[str, str]:
    """Return the environment variables for a step that writes below `scratch` alone, and uses `threads` threads."""
    home = scratch / "home"
    return {
        "HOME": str(home),
        "TMPDIR": str(scratch / "tmp"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "MPLBACKEND": "Agg",
        "YOLO_CONFIG_DIR": str(home / "yolo"),
        # No telemetry, no update check, no download, and none of the DNS look-ups that the online check makes.
        "YOLO_OFFLINE": "1",
        # onnxruntime reports to its maker unless this is set before it is loaded.
        "ORT_DISABLE_TELEMETRY": "1",
        # A missing package must be an error of the image, never a `pip install` at run time.
        "YOLO_AUTOINSTALL": "0",
        # A pod's log is read by machines: progress bars and banners would push our lines out of its tail.
        "YOLO_VERBOSE": "0",
        # A checkpoint is a pickle; this allows only the known model classes in it.
        "ULTRALYTICS_SAFE_LOAD": "1",
        # `import ultralytics` sets OMP_NUM_THREADS to 1 where it is unset: training on CPU would use one core.
        "OMP_NUM_THREADS": str(threads),
        # Threads that wait by spinning take the CPU from those they wait for, wherever pods share CPUs: on two, beside
        # one busy process, an epoch took 23 s instead of 14. What passive waiting costs is in the README.
        "OMP_WAIT_POLICY": "PASSIVE",
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        # Bit-equal reruns on CUDA need it, and it must be set before the first cuBLAS call.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def prepare_process(scratch: Path, environ: MutableMapping[str, str]) -> Cpus:
    """Point caches, homes and threads to where they belong, and return the CPUs to use.

    Must run before anything heavy is imported: these packages read the environment at import time.
    """
    cpus = cpus_of(environ.get("OMP_NUM_THREADS"))
    for key, value in variables(scratch, cpus.threads).items():
        environ[key] = value
    for key in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "YOLO_CONFIG_DIR"):
        Path(environ[key]).mkdir(parents=True, exist_ok=True)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    return cpus
