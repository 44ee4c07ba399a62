"""A step as a Job's pod runs it: a process of its own, without network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Any look-up of a name or connection to elsewhere, by whatever library, is written down and refused.
NO_NETWORK = """
import os, socket
def refuse(name):
    def call(*arguments, **_):
        where = next((a for a in arguments if isinstance(a, (str, tuple))), "")
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{name} {where}\\n")
        raise OSError("no network in this test")
    return call
socket.getaddrinfo = refuse("getaddrinfo")
socket.gethostbyname = refuse("gethostbyname")
socket.create_connection = refuse("create_connection")
whole = socket.socket.connect
socket.socket.connect = lambda self, address: (
    whole(self, address) if self.family == socket.AF_UNIX else refuse("connect")(address)
)
"""


@dataclass
class Pod:
    """A process that runs one step, with its own scratch, document and termination log."""

    folder: Path
    main: Sequence[str] = ("-m", "finetune_trainer")

    def __post_init__(self) -> None:
        (self.folder / "site").mkdir(parents=True)
        (self.folder / "site" / "sitecustomize.py").write_text(NO_NETWORK)

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def network(self) -> Path:
        return self.folder / "network.log"

    def start(
        self, step: str, document: dict[str, Any] | str, inputs: dict[str, Any] | str, **more: str
    ) -> subprocess.Popen[str]:
        file = self.folder / "run.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        package = str(Path(__file__).parents[2] / "trainer-image" / "src")
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": "/nowhere",
            "PYTHONPATH": os.pathsep.join([str(self.folder / "site"), package]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FINETUNE_DOCUMENT": str(file),
            "FINETUNE_SCRATCH": str(self.scratch),
            "FINETUNE_TERMINATION_LOG": str(self.folder / "termination-log"),
            "NETWORK_LOG": str(self.network),
            **more,
        }
        text = inputs if isinstance(inputs, str) else json.dumps(inputs)
        (self.folder / "work").mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, *self.main, "job", step, "--inputs", text],
            env=environ,
            cwd=self.folder / "work",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, step: str, document: dict[str, Any] | str, inputs: dict[str, Any] | str, **more: str
    ) -> tuple[int, list[Any]]:
        process = self.start(step, document, inputs, **more)
        out, err = process.communicate(timeout=240)
        print(err[-2000:])
        return process.returncode, [json.loads(line) for line in out.splitlines()]

    def message(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "termination-log").read_text())
        return content
