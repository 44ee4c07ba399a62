"""The benchmarks of the Makefile, by the environment that they run in: tests hold that each of them starts."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_COMMAND: Final = re.compile(r"PYTHONPATH=(\S+) \$\(call in,(\S+)\)/python -m (benchmarks\.\w+)")


def of_environment(name: str) -> list[tuple[str, str]]:
    """Return the modules of the benchmarks of an environment, each with the PYTHONPATH that the Makefile gives it."""
    commands = _COMMAND.findall((ROOT / "Makefile").read_text())
    return [(module, path) for path, environment, module in commands if environment == name]


def usage_of(module: str, path: str) -> str:
    """Return what a benchmark says of its options, run by this interpreter as the Makefile runs it."""
    command = [sys.executable, "-m", module, "--help"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
