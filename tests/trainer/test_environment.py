"""What a step's process is told before anything heavy is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_trainer.cpu import Cpus, available_cpus, cpus_of
from finetune_trainer.environment import paths_from, prepare_process
from house import cpu_quotas


@pytest.mark.parametrize(("files", "cpus"), cpu_quotas.QUOTAS)
def test_threads_follow_the_containers_quota_not_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpu_quotas.AFFINITY)))
    cpu_quotas.write(tmp_path, files)
    assert available_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("said", "threads"),
    [
        (None, cpu_quotas.AFFINITY),
        ("1", 1),
        (" 2 ", 2),
        ("2,1", 2),
        ("1000000", cpu_quotas.AFFINITY),
        ("0", cpu_quotas.AFFINITY),
        ("-1", cpu_quotas.AFFINITY),
        ("", cpu_quotas.AFFINITY),
        ("many", cpu_quotas.AFFINITY),
        ("\N{SUPERSCRIPT TWO}", cpu_quotas.AFFINITY),
        ("9" * 5000, cpu_quotas.AFFINITY),
    ],
)
def test_a_pod_template_may_ask_for_fewer_threads_than_cpus(
    said: str | None, threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpu_quotas.AFFINITY)))
    assert cpus_of(said, tmp_path) == Cpus(cpu_quotas.AFFINITY, threads)


def test_the_threads_that_a_pod_template_asks_for_are_what_libraries_are_told(tmp_path: Path) -> None:
    environ = {"OMP_NUM_THREADS": "1"}
    assert prepare_process(tmp_path, environ).threads == 1
    assert [environ[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS")] == ["1", "1", "1"]


HEAVY = ("torch", "ultralytics", "numpy", "cv2", "onnxruntime", "matplotlib", "fsspec", "PIL")


def test_help_comes_at_once_and_the_environment_is_set_before_anything_heavy_reads_it() -> None:
    program = f"import sys, finetune_trainer.cli; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_place_that_is_written_lies_below_scratch(tmp_path: Path) -> None:
    environ = {"PATH": "/bin"}
    cpus = prepare_process(tmp_path, environ)
    for key in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "YOLO_CONFIG_DIR"):
        assert Path(environ[key]).is_relative_to(tmp_path)
        assert Path(environ[key]).is_dir()
    assert environ["OMP_NUM_THREADS"] == str(cpus.available) == str(cpus.threads)
    assert environ["YOLO_OFFLINE"] == environ["ULTRALYTICS_SAFE_LOAD"] == environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert environ["YOLO_AUTOINSTALL"] == "0"


def test_no_termination_log_is_made_where_there_is_none(tmp_path: Path) -> None:
    assert paths_from({}).termination_log is None or Path("/dev/termination-log").exists()
    assert paths_from({"FINETUNE_TERMINATION_LOG": str(tmp_path / "log")}).termination_log == tmp_path / "log"
