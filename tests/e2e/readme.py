"""A reader's machine for the README's blocks: their data, their bucket, and their commands, on the local cluster."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_demo.story import Story
from house.crds import ROOT
from local_cluster.network import HOST_ADDRESS

BUCKET = "invoices"
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
    shutil.copyfile(base, data / "best.pt")


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
        while not (found := re.search(r"Running on (http://[\d.]+:\d+)", log.read_text())):
            if server.poll() is not None or time.monotonic() > end:
                raise Unready(f"the S3 server did not start on {HOST_ADDRESS}: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        make = "import boto3, sys; boto3.client('s3').create_bucket(Bucket=sys.argv[1])"
        environment = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": found[1], **CREDENTIALS}
        subprocess.run([python, "-c", make, BUCKET], env=environment, check=True)
        yield found[1]
    finally:
        server.kill()
        server.wait()


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the blocks run: a folder of commands first on the PATH, the reader's variables, the reader's records."""

    variables: Mapping[str, str]
    record: Path
    records: Path

    def run(self, script: str, seconds: float) -> None:
        """Run the script with bash in the checkout. Raises CalledProcessError, or TimeoutExpired after `seconds`."""
        # Caches and package indexes stay those of the machine's user; nothing of theirs for AWS or Kubernetes.
        foreign = ("AWS_", "KUBECONFIG", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        # A file, because commands in it may read standard input.
        file = self.records.parent / "readme.sh"
        file.write_text(script)
        subprocess.run(
            ["bash", str(file)],
            cwd=ROOT,
            env=kept | dict(self.variables),
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=seconds,
        )

    def states(self) -> list[dict[str, Any]]:
        """Return what was in the namespace after each block: objects of ours by kind and name, in order of blocks."""
        found = []
        for path in sorted(self.records.glob("*.json"), key=lambda path: int(path.stem)):
            items = json.loads(path.read_text() or "{}").get("items", [])
            found.append({f"{item['kind']}/{item['metadata']['name']}": item for item in items})
        return found


def machine(tale: Story, folder: Path, endpoint: str, server_python: Path, here: Path) -> Machine:
    """Return a machine whose kubectl, helm, docker and aws act on the local cluster and on the bucket.

    `server_python` has boto3, `here` has PyYAML. Images are on the node already, so docker has nothing to do, but it
    fails for an image that the node does not have.
    """
    commands, records = folder / "bin", folder / "records"
    commands.mkdir()
    records.mkdir()
    images = (tale.cluster.images.operator, tale.cluster.images.trainer, tale.cluster.images.server)
    registry = images[0].rpartition("/")[0]
    kube, scripts = shlex.join(tale.cluster.kube.kubectl_words), ROOT / "tests" / "e2e"
    shims = {
        "kubectl": f'if [[ " $* " == *" apply "* ]]; then exec {here} {scripts}/readme_apply.py {kube} "$@"; fi\n'
        f'exec {kube} "$@"\n',
        "helm": f'exec {shlex.join(tale.cluster.kube.helm_words)} "$@"\n',
        "docker": f'case \' {" ".join(images)} \' in *" ${{@: -1}} "*|*" ${{@: -2:1}} "*) ;;\n'
        '*) echo "no such image on the node: $*" >&2; exit 1;; esac\n',
        "aws": f'exec {server_python} {scripts}/readme_sync.py "${{@: -2:1}}" "${{@: -1}}"\n',
        "record": f'{kube} -n "$NAMESPACE" get finetunepolicies,finetuneruns,modelversions,modelpromotions -o json '
        f'>{records}/"$1".json 2>/dev/null || true\n',
    }
    for name, text in shims.items():
        path = commands / name
        path.write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{text}")
        path.chmod(0o755)
    variables = CREDENTIALS | {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": endpoint,
        "BUCKET": BUCKET,
        "DATA": str(folder / "data"),
        "IMAGE_SIZE": str(tale.recipe["serving"]["imageSize"]),
        "NAMESPACE": "ml",
        "REGISTRY": registry,
        "TRAIN_TEMPLATE": "cpu-trainer",
    }
    return Machine(variables, commands / "record", records)
