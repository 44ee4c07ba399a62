"""What the user sees: titled steps with a clock, echoed commands, and errors that end the demo."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


class Failed(Exception):
    """The demo cannot go on; the message says why and what to look at."""


@dataclass(slots=True)
class Console:
    """Prints steps as they happen and remembers how long each took (seconds)."""

    started: float = field(default_factory=time.monotonic)
    durations: dict[str, float] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print one line with the time since the start."""
        elapsed = int(time.monotonic() - self.started)
        print(f"[{elapsed // 60:02d}:{elapsed % 60:02d}] {text}", flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step and time it; while it is silent, a dot line every 15 s shows that it lives."""
        self.say(f"== {title}")
        begun = time.monotonic()
        over = threading.Event()

        def breathe() -> None:
            while not over.wait(15):
                self.say(f"   ... {title} ({int(time.monotonic() - begun)} s)")

        thread = threading.Thread(target=breathe, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            self.durations[title] = time.monotonic() - begun

    def run(
        self,
        command: Sequence[str | Path],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        show: bool = True,
        timeout: float = 1800,
    ) -> str:
        """Run a command to its end and return its standard output. Raises Failed with its output."""
        words = [str(word) for word in command]
        if show:
            self.say("   $ " + " ".join(words))
        done = subprocess.run(words, input=stdin, env=env, text=True, capture_output=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise Failed(
                f"{' '.join(words)}\nexited with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            )
        return done.stdout

    def stream(
        self, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, prefix: str = "   "
    ) -> None:
        """Run a command and show its output line by line. Raises Failed when it fails."""
        words = [str(word) for word in command]
        self.say("   $ " + " ".join(words))
        with subprocess.Popen(words, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            lines: list[str] = []
            for line in process.stdout or ():
                lines = [*lines[-40:], line]
                self.say(prefix + line.rstrip())
        if process.returncode != 0:
            raise Failed(f"{' '.join(words)}\nexited with {process.returncode}:\n{''.join(lines)}")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as left-aligned columns, the first row underlined."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def fail(message: str) -> int:
    """Print the reason on standard error and return the exit status of a failed demo."""
    print(f"\nThe demo failed: {message}", file=sys.stderr, flush=True)
    return 1
