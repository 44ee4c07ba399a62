"""How long `anchor index`, `pool add` and the step prepare take on many pages, and how much memory at most."""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MESSAGES = Path(__file__).resolve().parents[1] / "contract" / "messages"
MODEL = Path(__file__).resolve().parents[1] / "contract" / "fixtures" / "model.onnx"
ADDED = ("--verified-by", "bench@example.com", "--verified-at", "2026-11-20", "--source", "bench")
LARGE, DECODED = "pool add, large pages", "one large page decoded"

MEMORY_BUDGET = {"anchor index": 400.0, "pool add": 400.0, "prepare": 600.0}
"""MiB at most, whatever else the machine does: checked."""
BEYOND_ONE_PAGE = 150.0
"""MiB that adding large pages may take beyond what OpenCV needs to decode one of them: checked."""
SECONDS_BUDGET = {"anchor index": 0.008, "pool add": 0.012, "prepare": 0.008}
"""Of processor time a page: shown beside what was measured, not checked."""
GROWTH_BUDGET = 2.0
"""Processor time a page of all pages to that of a tenth of them: checked. What looks at all for each grows tenfold."""


@dataclass(frozen=True)
class Took:
    """What one command took: seconds on the clock and of processor time, MiB at its peak."""

    what: str
    pages: int
    clock: float
    cpu: float
    peak: float

    @property
    def a_page(self) -> float:
        """Return processor seconds a page."""
        return self.cpu / self.pages


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table or JSON; the exit status is 1 when a checked budget is exceeded."""
    options = _options(arguments)
    took: list[Took] = []
    for pages in (options.pages // 10, options.pages):
        with tempfile.TemporaryDirectory(prefix="bench-pages-", dir=options.scratch) as folder:
            large = options.large if pages == options.pages else 0
            took += _measured(Path(folder), pages, large, options.repeats)
    over = _over(took, options.pages)
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "took": [asdict(t) for t in took], "over": over}, indent=2))
    else:
        _report(took, options.pages, over)
    return 1 if over else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages_25000", description=__doc__)
    parser.add_argument("--pages", type=int, default=25_000, help="pages (default 25,000); a tenth is measured too")
    parser.add_argument("--large", type=int, default=150, help="pages of 4960 x 7016 pixels (default 150)")
    parser.add_argument("--repeats", type=int, default=1, help="of each command (default 1)")
    parser.add_argument("--scratch", type=Path, help="where pages are made and removed (8 GB)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def _measured(root: Path, pages: int, large: int, repeats: int) -> list[Took]:
    held_out = max(pages // 50, 10)
    counts = (str(pages), str(held_out), str(large))
    subprocess.run([sys.executable, "-m", "benchmarks.page_files", str(root), *counts], check=True)
    took: list[Took] = []
    for _ in range(repeats):
        index = [*_TRAINER, "anchor", "index", str(root / "anchor")]
        took.append(_run("anchor index", pages + 2 * held_out, index))
    for repeat in range(repeats):
        if repeat:
            shutil.rmtree(root / "pool")
        took.append(_run("pool add", pages, _add(root, root / "new", root / "pool")))
    for repeat in range(repeats):
        inputs = json.dumps({"attempt": repeat + 1, "nonce": f"{repeat:04x}"})
        took.append(_run("prepare", pages, [*_TRAINER, "job", "prepare", "--inputs", inputs], _pod(root, repeat)))
        said = json.loads((root / "termination-log").read_text())["result"]
        assert said["pool"] == pages, said
    if large:
        decode = "import cv2, sys; cv2.imread(sys.argv[1])"
        took.append(_run(DECODED, 1, [sys.executable, "-c", decode, str(root / "large" / "images" / "large-1.jpg")]))
        took.append(_run(LARGE, large, _add(root, root / "large", root / "large-pool")))
    return took


_TRAINER = (sys.executable, "-m", "finetune_trainer")


def _add(root: Path, folder: Path, pool: Path) -> list[str]:
    return [*_TRAINER, "pool", "add", str(pool), "--from", str(folder), "--anchor", str(root / "anchor"), *ADDED]


def _pod(root: Path, repeat: int) -> dict[str, str]:
    """Return the environment of the step prepare, as the operator gives it."""
    model, checkpoint = root / "base.onnx", root / "base.pt"
    shutil.copyfile(MODEL, model)
    checkpoint.write_bytes(b"never opened by prepare")
    document = json.loads((MESSAGES / "run-finetune.json").read_text())
    document["classes"] = ["red", "green", "blue"]
    document["data"] = {name: {"uri": (root / name).as_uri()} for name in ("anchor", "pool")}
    document["artifacts"] = {"uri": (root / "artifacts").as_uri()}
    document["serving"] |= {"imageSize": 96}
    document["mixing"] |= {"minPoolSamples": 1}
    files = {"artifact": model, "checkpoint": checkpoint}
    base = {
        name: {"uri": f.as_uri(), "sha256": hashlib.sha256(f.read_bytes()).hexdigest()} for name, f in files.items()
    }
    document["base"] |= {**base, "inputs": None}
    (root / "run.json").write_text(json.dumps(document))
    return {
        "FINETUNE_DOCUMENT": str(root / "run.json"),
        "FINETUNE_SCRATCH": str(root / f"scratch-{repeat}"),
        "FINETUNE_TERMINATION_LOG": str(root / "termination-log"),
    }


def _run(what: str, pages: int, command: Sequence[str], environ: Mapping[str, str] | None = None) -> Took:
    """Run a command to its end; its own peak is read, not the greatest of all children."""
    with tempfile.TemporaryFile("w+") as said:
        started = time.monotonic()
        process = subprocess.Popen(command, env={**os.environ, **(environ or {})}, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        clock = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
        if process.returncode != 0:
            raise RuntimeError(f"{what} ended with {process.returncode}: {text[-2000:]}")
    if len(text) > _MOST_SAID:
        raise RuntimeError(f"{what} of {pages} pages said {len(text)} characters to a person: {text[:2000]}")
    took = Took(what, pages, clock, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
    print(
        f"{what}: {pages} pages, {clock:.1f} s, {took.cpu:.1f} s of processor time, {took.peak:.0f} MiB",
        file=sys.stderr,
    )
    return took


_MOST_SAID = 50_000
"""Characters that a command may print, whatever it finds in however many pages: a person reads them."""


def _over(took: Sequence[Took], pages: int) -> list[str]:
    limits = _memory_budgets(took)
    hungry = [f"{t.what}: {t.peak:.0f} MiB of {limits[t.what]:.0f}" for t in took if t.peak > limits[t.what]]
    growth = {what: _growth(took, what, pages) for what in SECONDS_BUDGET}
    slow = [f"{what}: {times:.1f} times the time a page" for what, times in growth.items() if times > GROWTH_BUDGET]
    return [*hungry, *slow]


def _memory_budgets(took: Sequence[Took]) -> dict[str, float]:
    decoded = max((t.peak for t in took if t.what == DECODED), default=0.0)
    return MEMORY_BUDGET | {LARGE: decoded + BEYOND_ONE_PAGE, DECODED: float("inf")}


def _growth(took: Sequence[Took], what: str, pages: int) -> float:
    every, tenth = (
        min(t.a_page for t in took if t.what == what and (t.pages >= pages) is all_of_them)
        for all_of_them in (True, False)
    )
    return every / tenth


def _report(took: Sequence[Took], pages: int, over: Sequence[str]) -> None:
    print(f"{pages} pages of 620 x 877 pixels, on {os.cpu_count()} cores")
    print(f"{'':42}{'min':>9}{'median':>9}{'max':>9}{'budget':>9}")
    for what, most in _memory_budgets(took).items():
        seconds = SECONDS_BUDGET.get(what)
        mine = [t for t in took if t.what == what and (t.pages >= pages or seconds is None)]
        _row(f"{what} (s)", [t.clock for t in mine])
        _row(f"{what}, processor time (s)", [t.cpu for t in mine], seconds and seconds * pages)
        _row(f"{what}, peak (MiB)", [t.peak for t in mine], most)
        if seconds:
            _row(f"{what}, time a page to a tenth's", [_growth(took, what, pages)], GROWTH_BUDGET)
    for line in over:
        print(f"over budget: {line}")


def _row(title: str, values: Sequence[float], budget: float | None = None) -> None:
    if values:
        end = "" if budget is None else f"{budget:9.2f}"
        print(f"{title:42}{min(values):9.2f}{statistics.median(values):9.2f}{max(values):9.2f}{end}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
