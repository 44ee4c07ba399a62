"""A reader's machine for the guide's blocks: their data, their bucket, and their commands, on the local cluster."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from finetune_demo.story import Story
from house.crds import ROOT
from local_cluster.network import HOST_ADDRESS

BUCKET = "invoices"
SCRIPTS = ROOT / "tests" / "e2e"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "of-invoices"}

# Sixty seconds of patience for a busy machine; moto's server is up in two.
START_SECONDS = 60.0


class Unready(Exception):
    """What the reader's machine needs is not there; the message says what."""


def lay_out(invoices: Path, base: Path, data: Path) -> None:
    """Write what a reader brings: an anchor without a test split, verified pages, a best.pt.

    A sixth of the demo's pages to train on, so that the story takes minutes; pages to watch and to judge by are
    those that the base was not trained on.
    """
    for split, sources in {"train": {"train": 100}, "val": {"val": 40, "test": 40}}.items():
        for source, count in sources.items():
            for image in sorted((invoices / "anchor" / "images" / source).iterdir())[:count]:
                label = invoices / "anchor" / "labels" / source / f"{image.stem}.txt"
                for file, folder in ((image, "images"), (label, "labels")):
                    target = data / "anchor" / folder / split / file.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)
    shutil.copytree(invoices / "new-suppliers" / "verified", data / "verified")
    first, second, *_ = sorted((data / "verified" / "images").iterdir())
    _look_again(data / "verified", first, data / "corrected")
    (data / "withdrawn").mkdir()
    shutil.copy(second, data / "withdrawn")
    shutil.copyfile(base, data / "best.pt")


def _look_again(verified: Path, image: Path, corrected: Path) -> None:
    """Write a folder with one of the verified pages, whose first box somebody moved a little."""
    for folder in ("images", "labels"):
        (corrected / folder).mkdir(parents=True)
    shutil.copy(image, corrected / "images")
    shutil.copy(verified / "data.yaml", corrected)
    row, *rest = (verified / "labels" / f"{image.stem}.txt").read_text().splitlines()
    field, x, *others = row.split()
    moved = " ".join([field, f"{float(x) + 0.005:.6f}", *others])
    (corrected / "labels" / f"{image.stem}.txt").write_text("\n".join([moved, *rest]) + "\n")


@contextmanager
def bucket(folder: Path, python: Path) -> Iterator[str]:
    """Serve an empty bucket over HTTP where this machine and pods reach it; yield the endpoint.

    Raises Unready with the server's own words when it does not start.
    """
    log = folder / "s3.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [python, "-u", "-c", "from moto.server import main; main()", "-H", HOST_ADDRESS, "-p", "0"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"]},
        )
    try:
        end = time.monotonic() + START_SECONDS
        while not (address := re.search(r"Running on (http://[\d.]+:\d+)", log.read_text())):
            if server.poll() is not None or time.monotonic() > end:
                raise Unready(f"the S3 server did not start on {HOST_ADDRESS}: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        make = "import boto3, sys; boto3.client('s3').create_bucket(Bucket=sys.argv[1])"
        environment = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": address[1], **CREDENTIALS}
        subprocess.run([python, "-c", make, BUCKET], env=environment, check=True)
        yield address[1]
    finally:
        server.kill()
        server.wait()


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the blocks run: the reader's variables, a command that keeps records and where, the working folder."""

    variables: Mapping[str, str]
    record: Path
    records: Path
    folder: Path

    def run(self, script: str, seconds: float) -> None:
        """Run the script with bash. Raises CalledProcessError, or TimeoutExpired after `seconds`."""
        # Caches and package indexes stay those of the machine's user; nothing of theirs for AWS or Kubernetes.
        foreign = ("AWS_", "KUBECONFIG", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        # A file, because commands in it may read standard input.
        file = self.records.parent / "guide.sh"
        file.write_text(script)
        with subprocess.Popen(
            ["bash", str(file)],
            cwd=self.folder,
            env=kept | dict(self.variables),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        ) as shell:
            try:
                status = shell.wait(seconds)
            except subprocess.TimeoutExpired:
                # The page's waits are meant for real trainings: nothing of them may outlive the test.
                os.killpg(shell.pid, signal.SIGKILL)
                raise
        if status != 0:
            raise subprocess.CalledProcessError(status, str(file))

    def states(self) -> list[dict[str, Any]]:
        """Return what was in the namespace after each block: objects of ours by kind and name, in order of blocks."""
        states = []
        for path in sorted(self.records.glob("*.json"), key=lambda path: int(path.stem)):
            items = json.loads(path.read_text() or "{}").get("items", [])
            states.append({f"{item['kind']}/{item['metadata']['name']}": item for item in items})
        return states


def served(states: list[dict[str, Any]]) -> list[str]:
    """Return the versions that were live in the policy's words, in order."""
    policies = [state["FineTunePolicy/invoice-fields"] for state in states if "FineTunePolicy/invoice-fields" in state]
    live = [policy.get("status", {}).get("live", {}).get("version") for policy in policies]
    return [version for version, _ in groupby(version for version in live if version)]


def check_story(states: list[dict[str, Any]]) -> None:
    """Assert what the pages say: promoted by the gates or by a page's own patch, rolled back, all done."""
    runs = [state["FineTuneRun/new-suppliers"]["status"] for state in states if "FineTuneRun/new-suppliers" in state]
    run = runs[-1]
    assert run["phase"] == "Promoted", run
    decided = (run["decision"]["verdict"], run["decision"]["by"])
    assert decided == ("Approve", "ann@example.com" if run["verdict"] == "Review" else "gates")
    assert served(states) == ["base_v1", "ft_v1.1", "base_v1"]
    last = next(state for state in reversed(states) if state)
    promotions = {name: item for name, item in last.items() if name.startswith("ModelPromotion/")}
    assert len(promotions) == 4
    assert {item["status"]["phase"] for item in promotions.values()} == {"Succeeded"}


def write_commands(folder: Path, commands: Mapping[str, str]) -> None:
    """Write programs of bash into a folder, by name and text."""
    folder.mkdir(parents=True)
    for name, text in commands.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{text}\n")
        (folder / name).chmod(0o755)


def kubectl_command(kubectl: str, python: Path) -> str:
    """Return the text of a kubectl that applies manifests as a small machine can take them."""
    apply = f'if [[ " $* " == *" apply "* ]]; then exec {python} {SCRIPTS}/guide_apply.py {kubectl} "$@"; fi'
    return f'{apply}\nexec {kubectl} "$@"'


def record_command(kubectl: str, records: Path) -> str:
    """Return the text of a command that keeps the state of the namespace under the number of its argument."""
    kinds = "finetunepolicies,finetuneruns,modelversions,modelpromotions"
    return f'{kubectl} -n "$NAMESPACE" get {kinds} -o json >{records}/"$1".json 2>/dev/null || true'


def machine(tale: Story, folder: Path, endpoint: str, server_python: Path, here: Path) -> Machine:
    """Return a machine whose kubectl, helm, docker and aws act on the local cluster and on the bucket.

    `server_python` has boto3, `here` has PyYAML. Images are on the node already, so docker has nothing to do, but it
    fails for an image that the node does not have.
    """
    commands, records = folder / "bin", folder / "records"
    records.mkdir()
    images = (tale.cluster.images.operator, tale.cluster.images.trainer, tale.cluster.images.server)
    kubectl = shlex.join(tale.cluster.kube.kubectl_words)
    known = f'case \' {" ".join(images)} \' in *" ${{@: -1}} "*|*" ${{@: -2:1}} "*) ;;'
    write_commands(
        commands,
        {
            "kubectl": kubectl_command(kubectl, here),
            "helm": f'exec {shlex.join(tale.cluster.kube.helm_words)} "$@"',
            "docker": f'{known}\n*) echo "no such image on the node: $*" >&2; exit 1;; esac',
            "aws": f'exec {server_python} {SCRIPTS}/guide_sync.py "${{@: -2:1}}" "${{@: -1}}"',
            "record": record_command(kubectl, records),
        },
    )
    variables = CREDENTIALS | {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": endpoint,
        "BUCKET": BUCKET,
        "DATA": str(folder / "data"),
        "IMAGE_SIZE": str(tale.recipe["serving"]["imageSize"]),
        "NAMESPACE": "ml",
        "REGISTRY": images[0].rpartition("/")[0],
        "TRAIN_TEMPLATE": "cpu-trainer",
    }
    return Machine(variables, commands / "record", records, ROOT)
