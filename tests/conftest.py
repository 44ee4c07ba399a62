"""Settings of all suites: the same examples each time in `make test`; HYPOTHESIS_PROFILE=explore looks for new ones."""

import os
import signal
import sys
from pathlib import Path

from hypothesis import settings

ROOT = str(Path(__file__).resolve().parents[1])

# No deadline: how long an example takes says more about the machine's other work than about the code.
settings.register_profile("house", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))


def pytest_configure() -> None:
    """Let the processes that tests start find the sources where the tests do; let a SIGTERM stop them in order."""
    # As Ctrl-C does: fixtures take down the control planes and processes that they started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ours = [path for path in sys.path if path.startswith(ROOT)]
    os.environ["PYTHONPATH"] = os.pathsep.join([*ours, *filter(None, [os.environ.get("PYTHONPATH")])])
