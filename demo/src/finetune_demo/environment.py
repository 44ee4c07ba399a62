"""What the demo needs before the cluster starts: tools, Python environments, rendered invoices."""

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .console import Console
from .settings import Settings

POD_UID = 65532


def cluster_command(settings: Settings, *words: str) -> list[str]:
    """Return a call of the local cluster's own command."""
    return [str(settings.root / "local-cluster" / "cluster"), *words]


def environment(console: Console, settings: Settings, name: str) -> Path:
    """Return the Python environment of a member (made by its hashed lock when it is not there yet)."""
    made = console.run([settings.root / "scripts" / "environment", name], show=False)
    return Path(made.strip().splitlines()[-1])


def install_code(console: Console, settings: Settings, member: str, target: Path) -> None:
    """Install one member without its dependencies into `target`, as an image build would."""
    shutil.rmtree(target, ignore_errors=True)
    console.run([settings.root / "scripts" / "environment", "install", settings.root / member, target], show=False)


def render_invoices(console: Console, settings: Settings, target: Path, *, seed: int) -> None:
    """Render the example's pages (the same for the same seed) unless these are there."""
    source = settings.root / "examples" / "invoices" / "src"
    marker = target / f"complete-{seed}-{_fingerprint(source)}"
    if marker.exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    python = environment(console, settings, "example") / "bin" / "python"
    console.run(
        [python, "-m", "invoice_example", "generate", "--out", target, "--seed", str(seed)],
        env=dict(os.environ) | {"PYTHONPATH": str(source)},
    )
    marker.touch()


def _fingerprint(source: Path) -> str:
    """Return 12 hex digits of the renderer's sources: other sources render other pages."""
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def fill_data_volume(settings: Settings, invoices: Path, data: Path) -> None:
    """Lay out the data volume: anchor, verified and unseen pages, scripts, and empty folders for what will come."""
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    shutil.copytree(invoices / "anchor", data / "anchor")
    for name in ("verified", "unseen", "poisoned"):
        shutil.copytree(invoices / "new-suppliers" / name, data / name)
    for name in ("pool", "artifacts", "production"):
        (data / name).mkdir()
    shutil.copytree(settings.root / "demo" / "pods", data / "pods")
    shutil.copytree(settings.root / "examples" / "invoices" / "src", data / "example")
    give_to_pods(data)


def give_to_pods(folder: Path) -> None:
    """Make a folder and all in it belong to the user that pods run as."""
    os.chown(folder, POD_UID, POD_UID)
    for path in folder.rglob("*"):
        os.chown(path, POD_UID, POD_UID, follow_symlinks=False)


def prepare(console: Console, settings: Settings, *, seed: int) -> None:
    """Fetch and build everything that is missing; the Go tools build while Python is installed."""
    if settings.existing is None:
        console.stream(cluster_command(settings, "packages", "install"))
        console.stream(cluster_command(settings, "preflight"))
    invoices = settings.state / "invoices"

    def python_side() -> None:
        for name in ("server", "trainer", "example", "operator"):
            console.say(f"     Python environment {name}: {environment(console, settings, name)}")
        render_invoices(console, settings, invoices, seed=seed)
        console.say(f"     invoices rendered in {invoices}")

    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [pool.submit(python_side)]
        if settings.existing is None:
            jobs.append(pool.submit(console.stream, cluster_command(settings, "tools", "build"), prefix="     "))
        for job in jobs:
            job.result()
    code = settings.state / "code"
    for member, name in (("operator", "operator"), ("trainer-image", "trainer"), ("serving-image", "server")):
        install_code(console, settings, member, code / name)
    fill_data_volume(settings, invoices, settings.state / "data")
