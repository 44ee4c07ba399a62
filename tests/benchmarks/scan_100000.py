"""How long a policy's first scan takes on a large pool in a bucket, and how much memory at most.

The bucket is a real S3 server on this machine (versitygw, which the local cluster uses). The pool has many batches, the
base and all judged runs list as much as a plan can, and captured pages lie there for as many days as they are kept.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

CLASSES = ["invoice_number", "amount_total"]
JUDGED = 8
"""Plans that a scan is told, at most."""
SECONDS_BUDGET = 60.0
"""On the clock, on an idle machine: shown, not checked."""
MEMORY_BUDGET = 500.0
"""MiB at most, whatever else the machine does: checked."""


@dataclass(frozen=True)
class Size:
    """What lies in the bucket."""

    samples: int
    batches: int
    pages: int
    reports: int
    days: int


def main(arguments: Sequence[str]) -> int:
    """Fill a bucket, scan it twice, print what it took; the exit status is 1 when the memory is over its budget."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan_100000", description=__doc__)
    parser.add_argument("server", type=Path, help="the versitygw binary")
    parser.add_argument("--samples", type=int, default=100_000, help="of the pool (default 100,000, in 2,000 batches)")
    parser.add_argument("--pages", type=int, default=100_000, help="captured pages of 90 days (default 100,000)")
    parser.add_argument("--scratch", type=Path, help="where the bucket is made and removed (1 GB)")
    options = parser.parse_args(arguments)
    size = Size(options.samples, max(options.samples // 50, 1), options.pages, options.pages // 50, 90)
    with tempfile.TemporaryDirectory(prefix="bench-scan-", dir=options.scratch) as folder:
        root = Path(folder)
        inputs = _fill(root / "buckets" / "bucket", size)
        with _served(options.server, root / "buckets") as environ:
            peaks = [_scan(root, environ, inputs, size, name) for name in ("first scan", "second scan")]
    if max(peaks) > MEMORY_BUDGET:
        print(f"over budget: {max(peaks):.0f} MiB of {MEMORY_BUDGET:.0f}")
        return 1
    return 0


def _fill(bucket: Path, size: Size) -> dict[str, object]:
    """Write the bucket's objects as the server stores them, which are plain files; return the step's inputs."""
    (bucket / "pool" / "batches").mkdir(parents=True)
    each = size.samples // size.batches
    for batch in range(size.batches):
        samples = [_sample(batch * each + n) for n in range(each)]
        name = f"20261101T{batch // 3600:02}{batch // 60 % 60:02}{batch % 60:02}Z-00000000"
        content = {
            "schema": "finetune-operator.io/pool-batch/v1",
            "id": name,
            "createdAt": "2026-11-01T00:00:00Z",
            "classes": CLASSES,
            "samples": samples,
        }
        (bucket / "pool" / "batches" / f"{name}.json").write_text(json.dumps(content))
    _fill_production(bucket / "production" / "ml" / "invoice-detector", size)
    plans = [_plan(bucket, number, size.samples * (number + 1) // (JUDGED + 1)) for number in range(JUDGED + 1)]
    return {"attempt": 1, "nonce": "0a1b", "basePlan": plans[0], "judged": plans[1:]}


def _digest(what: str, number: int) -> str:
    return hashlib.sha256(f"{what}-{number}".encode()).hexdigest()


def _sample(number: int) -> dict[str, object]:
    image, label = _digest("image", number), _digest("label", number)
    pixels = _digest("pixels", number)
    return {
        "image": {"path": f"images/{image}.jpg", "sha256": image, "bytes": 65_000, "pixels": pixels, "look": pixels},
        "label": {"path": f"labels/{label}.txt", "sha256": label},
        "document": f"invoice-{number}",
        "source": "report",
        "verifiedBy": "ann@example.com",
        "verifiedAt": "2026-11-01",
    }


def _plan(bucket: Path, number: int, listed: int) -> dict[str, str]:
    """Write a plan that lists the first samples of the pool; what else a plan has is as long as its mix."""
    reference = {"uri": "s3://bucket/pool/images/" + "a" * 64, "sha256": "a" * 64}
    sample = {"image": reference, "label": reference, "bytes": 65_000, "boxes": 6}
    content = json.loads((Path(__file__).resolve().parents[1] / "contract" / "messages" / "plan.json").read_text())
    content["listing"] = [
        {"image": _digest("image", n), "pixels": _digest("pixels", n), "label": _digest("label", n), "use": "train"}
        for n in range(listed)
    ]
    content["train"] = [{**sample, "origin": "pool"}] * (listed + 3000)
    data = json.dumps(content, separators=(",", ":")).encode()
    (bucket / "plans").mkdir(exist_ok=True)
    (bucket / "plans" / f"{number}.json").write_bytes(data)
    return {"uri": f"s3://bucket/plans/{number}.json", "sha256": hashlib.sha256(data).hexdigest()}


def _fill_production(folder: Path, size: Size) -> None:
    messages = Path(__file__).resolve().parents[1] / "contract" / "messages"
    page, report, window = ((messages / f"production-{name}.json").read_text() for name in ("page", "report", "window"))
    today = datetime.now(UTC).date()
    for back in range(size.days):
        day = folder / "days" / (today - timedelta(days=back)).isoformat()
        for stratum in ("random", "uncertain"):
            (day / "pages" / stratum).mkdir(parents=True)
            for number in range(size.pages // size.days // 2):
                (day / "pages" / stratum / f"{back:016x}{number:016x}.json").write_text(page)
        (day / "reports").mkdir()
        for number in range(size.reports // size.days):
            said = report.replace("invoice-2026-0417", f"invoice-{back}-{number}")
            (day / "reports" / f"{number:032x}.json").write_text(said)
        (day / "windows").mkdir()
        for number in range(3 * 144):
            (day / "windows" / f"pod-{number % 3}-{number // 3:04}.json").write_text(window)
    (folder / "capture.json").write_text((messages / "production.json").read_text())


@contextmanager
def _served(server: Path, folder: Path) -> Iterator[dict[str, str]]:
    """Serve the folder's buckets on loopback; yield the variables by which a pod reaches them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    key = {"ROOT_ACCESS_KEY_ID": "bench", "ROOT_SECRET_ACCESS_KEY": "of-this-machine"}
    command = [str(server), "--quiet", "--health", "/healthz", "--port", address, "posix", str(folder)]
    with subprocess.Popen(command, env={**os.environ, **key}) as process:
        try:
            _wait(f"http://{address}/healthz")
            yield {
                "AWS_ENDPOINT_URL": f"http://{address}",
                "AWS_ACCESS_KEY_ID": "bench",
                "AWS_SECRET_ACCESS_KEY": "of-this-machine",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        finally:
            process.terminate()


def _wait(url: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the S3 server does not start")


def _scan(root: Path, environ: Mapping[str, str], inputs: Mapping[str, object], size: Size, name: str) -> float:
    """Run the step as a process of its own, print what it took, and return its peak in MiB."""
    messages = Path(__file__).resolve().parents[1] / "contract" / "messages"
    document = json.loads((messages / "run-scan.json").read_text())
    document["classes"] = CLASSES
    document["data"] = {
        "anchor": {"uri": "s3://bucket/anchor"},
        "pool": {"uri": "s3://bucket/pool"},
        "production": {"uri": "s3://bucket/production", "keepDays": 90},
    }
    (root / "run.json").write_text(json.dumps(document))
    log = root / "termination-log"
    paths = {"FINETUNE_DOCUMENT": str(root / "run.json"), "FINETUNE_SCRATCH": str(root / "scratch")}
    command = [sys.executable, "-m", "finetune_trainer", "job", "scan", "--inputs", json.dumps(inputs)]
    started = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, **environ, **paths, "FINETUNE_TERMINATION_LOG": str(log)}, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    clock = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    said = json.loads(log.read_text())
    if process.returncode:
        raise RuntimeError(f"{name} ended with {process.returncode}: {said}")
    counted = said["result"]
    if (counted["pool"], counted["new"], counted["pages"]["random"]) != (
        size.samples, 0, size.days * (size.pages // size.days // 2)):  # fmt: skip
        raise RuntimeError(f"{name} counted {counted}")
    peak = used.ru_maxrss / 1024
    print(
        f"{name}: {size.samples} samples in {size.batches} batches, {size.pages} captured pages: {clock:.1f} s "
        f"(budget {SECONDS_BUDGET:.0f}), {used.ru_utime + used.ru_stime:.1f} s of processor time, {peak:.0f} MiB "
        f"(budget {MEMORY_BUDGET:.0f})"
    )
    return peak


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
