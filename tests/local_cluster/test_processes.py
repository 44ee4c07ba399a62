"""Recorded processes are ended by whoever comes later, and nobody else's are."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from local_cluster import processes
from local_cluster.errors import ClusterError


def test_a_recorded_process_is_found_and_ended_by_a_later_command(tmp_path: Path) -> None:
    processes.start(tmp_path, "sleeper", ["sleep", "60"])
    (record,) = processes.read_records(tmp_path)
    assert processes.is_running(record)
    processes.stop(record)
    assert not processes.is_running(record)
    processes.stop(record)  # Stopping what is gone is no error.


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while true; do sleep 0.1; done"
    record = processes.start(tmp_path, "stubborn", ["sh", "-c", script])
    while "ready" not in processes.log_tail(tmp_path, "stubborn"):
        assert processes.is_running(record)
    processes.stop(record, grace_seconds=0.3)
    assert not processes.is_running(record)


def test_a_process_that_got_a_recorded_pid_later_is_left_alone(tmp_path: Path) -> None:
    record = processes.start(tmp_path, "other", ["sleep", "60"])
    try:
        processes.stop(replace(record, started=record.started - 1))
        assert processes.is_running(record)
    finally:
        os.kill(record.pid, signal.SIGKILL)


def test_records_keep_the_order_of_starting(tmp_path: Path) -> None:
    records = [processes.start(tmp_path, name, ["true"]) for name in ("first", "second")]
    assert list(processes.read_records(tmp_path)) == records


def test_a_program_that_is_not_there_is_told_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="cannot start ghost") as caught:
        processes.start(tmp_path, "ghost", [tmp_path / "nothing"])
    assert "ghost.log" in caught.value.remedy
    assert processes.read_records(tmp_path) == ()


def test_the_end_of_a_log_is_what_an_error_shows(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("\n".join(map(str, range(100))))
    assert processes.log_tail(tmp_path, "x", lines=2) == "98\n99"
    assert processes.log_tail(tmp_path, "y") == "(no log)"
