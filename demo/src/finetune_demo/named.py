"""A cluster that the user named: nothing is changed or removed there but what the demo made."""

import shutil

from .console import Console, Failed
from .kube import Kube, Object
from .settings import NAMESPACE, RELEASE, SYSTEM, ExistingCluster

MARK = "finetune-operator.io/demo"
"""The label of the namespaces that the demo makes (demo/manifests/10-namespaces.yaml)."""

CRDS = tuple(
    f"{plural}.finetune-operator.io"
    for plural in ("finetunepolicies", "finetuneruns", "modelversions", "modelpromotions")
)


def container_tool() -> str:
    """Return the program that builds and pushes images. Raises Failed where there is none."""
    tool = next((name for name in ("docker", "podman", "buildah") if shutil.which(name)), None)
    if tool is None:
        raise Failed("DEMO_REGISTRY needs docker, podman or buildah on the PATH to build and push the images")
    return tool


def connect(console: Console, named: ExistingCluster) -> Kube:
    """Return the way into the cluster. Raises Failed where the demo would touch what is not its own."""
    for needed in ("kubectl", "helm"):
        if shutil.which(needed) is None:
            raise Failed(f"DEMO_CONTEXT needs {needed} on the PATH")
    kube = _kube(console, named)
    for namespace in (SYSTEM, NAMESPACE):
        if (there := kube.get("namespace", namespace)) is not None and not _is_ours(there):
            raise Failed(
                f"namespace {namespace!r} of context {named.context!r} is there and is not the demo's, which would "
                "change what runs in it; name another cluster, or rename or remove that namespace"
            )
    for crd in CRDS:
        if (there := kube.get("crd", crd)) is not None and not _is_of_our_release(there):
            raise Failed(
                f"context {named.context!r} has {crd} of another installation, which the demo would take over; "
                "name a cluster where finetune-operator is not installed"
            )
    return kube


def remove(console: Console, named: ExistingCluster) -> None:
    """Remove release and namespaces of the demo; its CRDs stay, because with them everybody's objects would go."""
    kube = _kube(console, named)
    ours = [n for n in (SYSTEM, NAMESPACE) if _is_ours(kube.get("namespace", n) or {})]
    if SYSTEM in ours:
        kube.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found")
    if ours:
        kube.kubectl("delete", "namespace", *ours, show=True)
    console.say(f"the CRDs stay; if nobody uses them: kubectl --context {named.context} delete crd {' '.join(CRDS)}")


def _kube(console: Console, named: ExistingCluster) -> Kube:
    kubectl, helm = ("kubectl", "--context", named.context), ("helm", "--kube-context", named.context)
    return Kube(console, kubectl_words=kubectl, helm_words=helm)


def _is_ours(namespace: Object) -> bool:
    return (namespace.get("metadata", {}).get("labels") or {}).get(MARK) == "true"


def _is_of_our_release(crd: Object) -> bool:
    notes = crd["metadata"].get("annotations") or {}
    release = (notes.get("meta.helm.sh/release-namespace"), notes.get("meta.helm.sh/release-name"))
    return release == (SYSTEM, RELEASE)
