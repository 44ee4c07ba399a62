"""What a step's process is told before anything heavy is imported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from finetune_trainer.environment import cpu_count, paths_from, prepare_process

AFFINITY = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, AFFINITY),
        ({"cpu.max": "max 100000\n"}, AFFINITY),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, AFFINITY),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, AFFINITY),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu.max": "nonsense"}, AFFINITY),
    ],
)
def test_threads_follow_the_containers_quota_not_the_node(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_count(tmp_path) == expected


def test_every_place_that_is_written_lies_below_scratch(tmp_path: Path) -> None:
    environ = {"PATH": "/bin"}
    cpus = prepare_process(tmp_path, environ)
    for key in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "YOLO_CONFIG_DIR"):
        assert Path(environ[key]).is_relative_to(tmp_path)
        assert Path(environ[key]).is_dir()
    assert environ["OMP_NUM_THREADS"] == str(cpus)
    assert environ["YOLO_OFFLINE"] == environ["ULTRALYTICS_SAFE_LOAD"] == environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert environ["YOLO_AUTOINSTALL"] == "0"


def test_no_termination_log_is_made_where_there_is_none(tmp_path: Path) -> None:
    assert paths_from({}).termination_log is None or Path("/dev/termination-log").exists()
    assert paths_from({"FINETUNE_TERMINATION_LOG": str(tmp_path / "log")}).termination_log == tmp_path / "log"
