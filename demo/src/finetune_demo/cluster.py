"""Getting a cluster: the local one from package registries, or one that the user named."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import named, render
from .console import Console, Failed
from .environment import cluster_command, environment
from .kube import Kube
from .settings import SYSTEM, Settings

VERSION = "0.1.0"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster with the images that its pods use."""

    kube: Kube
    images: render.Images


def start(console: Console, settings: Settings) -> Cluster:
    """Return the cluster, started if it is the local one."""
    if settings.existing is not None:
        tool = named.container_tool()
        kube, images = named.connect(console, settings.existing), baked(settings.existing.registry)
        for member, name in MEMBERS:
            dockerfile, tag = settings.root / member / "Dockerfile", getattr(images, name)
            console.stream([tool, "build", "-f", dockerfile, "-t", tag, settings.root])
            console.stream([tool, "push", tag])
        return Cluster(kube, images)
    _fresh_node(console, settings)
    cluster = attach(console, settings)
    if settings.baked_images:
        return Cluster(cluster.kube, _bake(console, settings, cluster.images.operator))
    return cluster


def attach(console: Console, settings: Settings) -> Cluster:
    """Return the local cluster that runs, with environments on volumes."""
    base = console.run(cluster_command(settings, "image", "base")).strip().splitlines()[-1]
    kube = Kube(
        console,
        kubectl_words=tuple(cluster_command(settings, "kubectl")),
        helm_words=tuple(cluster_command(settings, "helm")),
    )
    return Cluster(kube, render.Images(operator=base, trainer=base, server=base, mounted=True))


def remove(console: Console, settings: Settings) -> None:
    """Remove the local cluster with its data and images, or the demo's two namespaces on a named cluster."""
    if settings.existing is None:
        console.stream(cluster_command(settings, "node", "down", "--purge"))
    else:
        named.remove(console, settings.existing)
    shutil.rmtree(settings.state, ignore_errors=True)


def _fresh_node(console: Console, settings: Settings) -> None:
    """Start the node cluster anew; one that runs and is not an earlier demo's is left alone.

    Raises Failed when somebody else's cluster runs: there is one per machine.
    """
    mark = settings.state / "node-is-ours"
    running = console.run(["sh", "-c", '"$0" node status || true', *cluster_command(settings)], show=False)
    if running.strip().startswith("ready") and not mark.exists():
        raise Failed("the node cluster of this machine runs already; stop it first: local-cluster/cluster node down")
    console.stream(cluster_command(settings, "node", "down"))
    console.stream(cluster_command(settings, "node", "up"))
    mark.touch()


MEMBERS = (("operator", "operator"), ("serving-image", "server"), ("trainer-image", "trainer"))
"""Folder and image name of every member."""


def baked(registry: str) -> render.Images:
    """Return the images that are built from the Dockerfiles, by the registry that their names begin with."""
    names = {name: f"{registry}/finetune-{name}:{VERSION}" for _, name in MEMBERS}
    return render.Images(**names, mounted=False)


def _bake(console: Console, settings: Settings, base: str) -> render.Images:
    """Build the three Dockerfiles on the local base image and import them into the node.

    All at once: each step of a build is a download, or one program that copies, on one core.
    """
    images = baked("localhost")

    def build(member: str, name: str) -> None:
        words = (str(settings.root / member / "Dockerfile"), str(settings.root), getattr(images, name))
        command = cluster_command(settings, "image", "build", *words, "--build-arg", f"BASE_IMAGE={base}")
        console.stream(command, prefix=f"   {name}: ")

    with ThreadPoolExecutor(len(MEMBERS)) as builders:
        for done in [builders.submit(build, member, name) for member, name in MEMBERS]:
            done.result()
    return images


def node_name(kube: Kube) -> str:
    """Return the name of the one node of the local cluster."""
    return str(kube.items("nodes")[0]["metadata"]["name"])


def volumes(console: Console, settings: Settings, cluster: Cluster) -> str:
    """Return the manifests of the volumes that this cluster needs."""
    if settings.existing is not None:
        return "\n---\n".join([render.dynamic_claim("data", cluster.kube.namespace)])
    model, data = cluster.kube.namespace, settings.state / "data"
    folders = [(model, "data", data)]
    if cluster.images.mounted:
        code = settings.state / "code"
        folders += [
            (model, "code", code),
            (SYSTEM, "code", code),
            (model, "trainer-env", environment(console, settings, "trainer")),
            (model, "server-env", environment(console, settings, "server")),
            (SYSTEM, "operator-env", environment(console, settings, "operator")),
        ]
    return render.local_volumes(node_name(cluster.kube), folders)
