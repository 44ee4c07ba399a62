"""The people of `make demo-loop` at a real server: what they send is captured, and what they report is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from server.support import CLASSES, StartServer, encode, install_model, page_with, tiny_model

PODS = Path(__file__).resolve().parents[2] / "demo" / "pods"


def test_people_report_what_is_not_read_and_their_pages_are_kept(tmp_path: Path, start_server: StartServer) -> None:
    kept, pages = tmp_path / "kept", tmp_path / "pages"
    settings = {"FINETUNE_CAPTURE_URI": kept.as_uri(), "FINETUNE_CAPTURE_RANDOM": "0"}
    server = start_server(install_model(tmp_path / "model", tiny_model()), **settings)
    server.wait_ready()
    for folder in ("images", "labels"):
        (pages / folder).mkdir(parents=True)
    # A box of the tiny model is 24 of 128 pixels wide, around a cell of 16: it is found at (40, 56).
    for name, colour, label in (
        ("read", "red", "0 0.3125 0.4375 0.1875 0.1875\n"),
        ("elsewhere", "red", "0 0.8 0.8 0.1 0.1\n"),
        ("overlooked", "red", "0 0.3125 0.4375 0.1875 0.1875\n2 0.8 0.8 0.1 0.1\n"),
    ):
        (pages / "images" / f"{name}.jpg").write_bytes(encode(page_with(colour, at=(32, 48))))
        (pages / "labels" / f"{name}.txt").write_text(label)
    words = ["--host", "127.0.0.1", "--port", str(server.port), "--pages", str(pages), "--pause", "0"]
    done = subprocess.run(
        [sys.executable, str(PODS / "users.py"), *words], env=os.environ | {"PYTHONPATH": str(PODS)},
        text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = {line["document"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert "kept" not in said["read"]
    assert (said["elsewhere"]["wrong"], said["overlooked"]["missing"]) == (["red"], [CLASSES[2]])
    assert [said[name]["kept"] for name in ("elsewhere", "overlooked")] == [{"report": True, "page": True}] * 2
    reports = [json.loads(path.read_text()) for path in kept.rglob("reports/*.json")]
    assert {report["document"] for report in reports} == {"elsewhere", "overlooked"}
    records = [json.loads(path.read_text()) for path in kept.rglob("pages/*/*.json")]
    assert {"elsewhere", "overlooked"} <= {record["document"] for record in records}
