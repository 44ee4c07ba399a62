"""Runs in the workbench pod: makes copies of a good pool, each with one thing wrong that `pool add` would refuse.

`python3 - GOOD_POOL ANCHOR TARGET` from standard input; standard library only.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

Batch = dict[str, Any]


def stored(pool: Path, data: bytes, suffix: str) -> tuple[str, str]:
    """Put bytes into the pool by content; return (path, sha256)."""
    sha = hashlib.sha256(data).hexdigest()
    path = pool / "files" / sha[:2] / f"{sha}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path.relative_to(pool)), sha


def relabel(pool: Path, batch: Batch, text: str) -> None:
    """Give the first sample another label."""
    path, sha = stored(pool, text.encode(), ".txt")
    batch["samples"][0]["label"] = {"path": path, "sha256": sha}


def out_of_range(pool: Path, batch: Batch, _: Path) -> None:
    """A box beyond the page."""
    relabel(pool, batch, "0 0.5 0.5 1.7 0.1\n")


def six_columns(pool: Path, batch: Batch, _: Path) -> None:
    """A pseudo-label with its confidence."""
    relabel(pool, batch, "0 0.5 0.5 0.2 0.1 0.93\n")


def missing_label(pool: Path, batch: Batch, _: Path) -> None:
    """The manifest names a label file that is not there."""
    label = batch["samples"][0]["label"]
    batch["samples"][0]["label"] = label | {"path": "files/00/" + "0" * 64 + ".txt"}


def other_classes(pool: Path, batch: Batch, _: Path) -> None:
    """The batch was labelled with another class list."""
    batch["classes"] = list(reversed(batch["classes"]))


def held_out_page(pool: Path, batch: Batch, anchor: Path) -> None:
    """A page of the held-out test set."""
    data = min((anchor / "images" / "test").iterdir()).read_bytes()
    path, sha = stored(pool, data, ".jpg")
    batch["samples"][0]["image"] = {"path": path, "sha256": sha, "bytes": len(data)}


def too_small(pool: Path, batch: Batch, _: Path) -> None:
    """Fewer than 50 samples."""
    batch["samples"] = batch["samples"][:49]


def nobody_verified(pool: Path, batch: Batch, _: Path) -> None:
    """Samples without a verifier do not exist for training."""
    for sample in batch["samples"]:
        sample["verifiedBy"] = ""


def main(good: Path, anchor: Path, target: Path) -> None:
    """Write every bad pool below `target`, named after its function."""
    makers = (out_of_range, six_columns, missing_label, other_classes, held_out_page, too_small, nobody_verified)
    for make in makers:
        pool = target / make.__name__.replace("_", "-")
        shutil.rmtree(pool, ignore_errors=True)
        shutil.copytree(good, pool)
        (manifest,) = (pool / "batches").glob("*.json")
        batch = json.loads(manifest.read_text())
        make(pool, batch, anchor)
        manifest.chmod(0o644)
        manifest.write_text(json.dumps(batch))
    print(f"{len(makers)} bad pools below {target}")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
