"""Background processes that are recorded on disk, so that a later command, or one after a crash, can stop them."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import ClusterError

_RECORDS = "processes.json"


@dataclass(frozen=True, slots=True)
class Record:
    """One started process. `started` is its kernel start time in clock ticks: a re-used pid has another one."""

    name: str
    pid: int
    started: int


def start_time(pid: int) -> int | None:
    """Return the kernel's start time of `pid` in clock ticks, or None where it is gone or a zombie."""
    try:
        # The command name may itself contain spaces and brackets; the fields count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_running(record: Record) -> bool:
    """Say whether the recorded process itself still runs."""
    return start_time(record.pid) == record.started


def read_records(state: Path) -> tuple[Record, ...]:
    """Return the processes recorded under `state`, oldest first; none where nothing was recorded."""
    try:
        text = (state / _RECORDS).read_text()
    except FileNotFoundError:
        return ()
    return tuple(Record(name=r["name"], pid=r["pid"], started=r["started"]) for r in json.loads(text))


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace `path` in one step: a reader, or a crash, sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=mode)
    draft.write_text(text)
    draft.replace(path)


def start(
    state: Path,
    name: str,
    command: Sequence[str | Path],
    *,
    environ: Mapping[str, str] | None = None,
) -> Record:
    """Start `command` in a session of its own, log to `state/name.log`, record it, and return the record."""
    log_path = state / f"{name}.log"
    with log_path.open("ab") as log:
        try:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=None if environ is None else dict(environ),
            )
        except OSError as error:
            raise ClusterError(f"cannot start {name}: {error}", f"see {log_path}") from error
    record = Record(name=name, pid=child.pid, started=start_time(child.pid) or 0)
    # The process outlives this object on purpose; without this, Python warns that it still runs.
    child.returncode = 0
    write_atomically(state / _RECORDS, json.dumps([asdict(r) for r in (*read_records(state), record)]))
    return record


def _reap(pid: int) -> None:
    """Collect the exit status where the process is a child of ours; somebody else's child is not ours to reap."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def stop(record: Record, *, grace_seconds: float = 0.0) -> None:
    """End the recorded process: SIGTERM with `grace_seconds`, then SIGKILL; return when it is gone.

    Raises ClusterError where it survives ten seconds of SIGKILL (a process stuck in the kernel).
    """
    if grace_seconds > 0 and is_running(record):
        os.kill(record.pid, signal.SIGTERM)
        _wait_until_gone(record, grace_seconds)
    if is_running(record):
        os.kill(record.pid, signal.SIGKILL)
    if not _wait_until_gone(record, 10.0):
        raise ClusterError(
            f"{record.name} (pid {record.pid}) survived SIGKILL",
            f"look at /proc/{record.pid}/wchan; it hangs in the kernel",
        )
    _reap(record.pid)


def _wait_until_gone(record: Record, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def log_tail(state: Path, name: str, lines: int = 12) -> str:
    """Return the last lines of the log of `name`, for an error message."""
    try:
        text = (state / f"{name}.log").read_text(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])
