"""A real server process with the fixture's model, for tests of other members."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from house.crds import ROOT
from local_cluster.ports import free_ports

MODEL = ROOT / "tests" / "contract" / "fixtures" / "model.onnx"


@contextmanager
def serving(folder: Path, version: str = "ft_v1.2", **settings: str) -> Iterator[str]:
    """Run a server of the fixture's model as the detector in `ml`, unless `settings` say otherwise; yield its URL."""
    environment = ROOT / "scripts" / "environment"
    made = subprocess.run([str(environment), "server-dev"], check=True, capture_output=True, text=True).stdout
    python, (port,) = f"{made.strip()}/bin/python", free_ports(1)
    shutil.copy(MODEL, folder / "model.onnx")
    model = {"version": version, "uri": "file:///m/model.onnx", "sha256": sha256(MODEL.read_bytes()).hexdigest()}
    (folder / "model.json").write_text(json.dumps(model))
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "serving-image" / "src"),
        "FINETUNE_MODEL_VERSION": version,
        "FINETUNE_ARTIFACT_URI": model["uri"],
        "FINETUNE_ARTIFACT_SHA256": model["sha256"],
        "FINETUNE_NAMESPACE": "ml",
        "FINETUNE_DEPLOYMENT": "detector",
        "FINETUNE_MODEL": "invoices",
        "FINETUNE_MODEL_DIR": str(folder),
        "FINETUNE_HOST": "127.0.0.1",
        "FINETUNE_PORT": str(port),
        "FINETUNE_THREADS": "1",
        **settings,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([python, "-m", "finetune_server", "serve"], env=environ, stderr=log)
    try:
        _wait_ready(f"http://127.0.0.1:{port}", folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_ready(url: str, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"the server does not get ready: {log.read_text()}")
