"""A bucket in the cluster as docs/guide/local-cluster.md makes one, for pods that keep and count captured pages."""

import base64
import copy
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from finetune_demo import render
from finetune_demo.environment import cluster_command
from finetune_demo.story import Story

BUCKET = "production-pages"
SECRET = "artifact-storage"
TEMPLATE = "with-bucket"
"""The PodTemplate of Jobs that may use the bucket."""
MANIFEST = "examples/manifests/local/s3.yaml"
ITS_FOLDER = "/var/tmp/finetune-s3"

IN_BUCKET = """
import json, sys
import fsspec

files, asked = fsspec.filesystem("s3", use_listings_cache=False), json.loads(sys.stdin.read())
if asked["make"]:
    files.mkdir(asked["bucket"])
for path, text in asked["write"].items():
    files.pipe_file(f"{asked['bucket']}/{path}", text.encode())
paths = [] if asked["make"] else files.find(asked["bucket"])
print(json.dumps([path.partition("/")[2] for path in paths]))
"""
"""Runs in the workbench pod: makes the bucket, or writes some files; prints the paths of all files."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket on an S3 server that runs as a pod; SECRET has what pods need to reach it."""

    tale: Story

    @property
    def uri(self) -> str:
        """Where production pages lie."""
        return f"s3://{BUCKET}/production"

    def files(self) -> set[str]:
        """Return the paths of all files below `production/`."""
        return self._ask()

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, by their path below `production/`."""
        self._ask(write={f"production/{path}": text for path, text in files.items()})

    def make(self) -> None:
        """Make the bucket."""
        self._ask(make=True)

    def _ask(self, *, make: bool = False, write: Mapping[str, str] | None = None) -> set[str]:
        kube, mounted = self.tale.cluster.kube, self.tale.cluster.images.mounted
        secret = (kube.get("secret", SECRET) or {})["data"]
        environment = [f"{name}={base64.b64decode(value).decode()}" for name, value in secret.items()]
        python = f"{render.ENVIRONMENTS}/trainer-env/bin/python" if mounted else "python3"
        asked = json.dumps({"bucket": BUCKET, "make": make, "write": write or {}})
        words = ("exec", "-i", "workbench", "--", "env", *environment, python, "-c", IN_BUCKET)
        paths: list[str] = json.loads(kube.kubectl(*words, stdin=asked))
        return {path.removeprefix("production/") for path in paths}


@contextmanager
def bucket_in_cluster(tale: Story) -> Iterator[Bucket]:
    """Run the S3 server of the examples in the stories' namespace, with an empty bucket."""
    kube, settings = tale.cluster.kube, tale.settings
    tale.console.stream(cluster_command(settings, "image", "s3"))
    folder = settings.state / "s3"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest = (settings.root / MANIFEST).read_text().replace(ITS_FOLDER, str(folder))
    kube.kubectl("apply", "-f", "-", stdin=manifest)
    try:
        kube.kubectl("rollout", "status", "deployment/s3", "--timeout=180s")
        bucket = Bucket(tale)
        bucket.make()
        kube.apply(json.dumps(_template(tale)))
        yield bucket
    finally:
        kube.kubectl("delete", "podtemplate", TEMPLATE, "--ignore-not-found")
        kube.kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=true", "--timeout=120s", stdin=manifest)
        shutil.rmtree(folder, ignore_errors=True)


def _template(tale: Story) -> dict[str, Any]:
    """Return the trainer's PodTemplate with what the bucket asks for."""
    kube = tale.cluster.kube
    template: dict[str, Any] = copy.deepcopy((kube.get("podtemplate", "trainer") or {})["template"])
    trainer = next(c for c in template["spec"]["containers"] if c["name"] == "trainer")
    trainer["envFrom"] = [{"secretRef": {"name": SECRET}}]
    labels = {"finetune-operator.io/pod-template": "true"}
    meta = {"name": TEMPLATE, "namespace": kube.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": meta, "template": template}
