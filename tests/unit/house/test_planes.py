"""What is started again for a control plane comes up although it ends at first; what does not is told with its log."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from house.planes import RESTARTS, bring_back, is_stopped
from local_cluster import processes

COUNTS = "echo once more >> starts; echo words of $0 >&2; "


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def starts(folder: Path) -> int:
    file = folder / "starts"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_what_ends_before_it_is_ready_is_started_again(folder: Path) -> None:
    command = ["sh", "-c", COUNTS + "test $(wc -l < starts) -ge 3 && exec sleep 60", "etcd"]
    try:
        bring_back(folder, {"etcd": command}, lambda: starts(folder) == 3)
        *gone, last = processes.read_records(folder)
        assert (len(gone), processes.is_running(last)) == (2, True)
    finally:
        for record in processes.read_records(folder):
            processes.stop(record)


def test_what_ends_again_and_again_is_told_with_its_log(folder: Path) -> None:
    with pytest.raises(AssertionError, match=r"etcd does not stay up.*\n--- etcd\n(words of etcd\n?)+"):
        bring_back(folder, {"etcd": ["sh", "-c", COUNTS, "etcd"]}, lambda: False)
    assert starts(folder) == 1 + RESTARTS


def test_what_never_gets_ready_is_told_with_its_log(folder: Path) -> None:
    try:
        with pytest.raises(AssertionError, match=r"not ready within 1 s; started again: \{\}\n--- etcd\nwords of etcd"):
            bring_back(folder, {"etcd": ["sh", "-c", COUNTS + "exec sleep 60", "etcd"]}, lambda: False, seconds=1)
    finally:
        for record in processes.read_records(folder):
            processes.stop(record)


def test_a_process_has_stopped_when_all_its_threads_have() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not is_stopped(process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        while not is_stopped(process.pid):
            os.sched_yield()
        process.kill()
