"""A cluster that the user named: nothing is changed or removed there but what the demo made."""

import json
import os
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
    for namespace in (SYSTEM, NAMESPACE):
        if (found := _get(console, named, "namespace", namespace)) is not None and not _is_ours(found):
            raise Failed(
                f"namespace {namespace!r} of context {named.context!r} is there and is not the demo's, which would "
                "change what runs in it; name another cluster, or rename or remove that namespace"
            )
    for crd in CRDS:
        if (found := _get(console, named, "crd", crd)) is not None and not _is_of_our_release(found):
            raise Failed(
                f"context {named.context!r} has {crd} of another installation, which the demo would take over; "
                "name a cluster where finetune-operator is not installed"
            )
    return Kube(
        console,
        kubectl_words=("kubectl", "--context", named.context),
        helm_words=("helm", "--kube-context", named.context),
    )


def remove(console: Console, named: ExistingCluster) -> None:
    """Remove release and namespaces of the demo; its CRDs stay, because with them everybody's objects would go."""
    ours = [n for n in (SYSTEM, NAMESPACE) if _is_ours(_get(console, named, "namespace", n) or {})]
    if SYSTEM in ours:
        words = ["helm", "--kube-context", named.context, "uninstall", RELEASE, "--namespace", SYSTEM]
        console.run([*words, "--ignore-not-found"], env=dict(os.environ))
    if ours:
        words = ["kubectl", "--context", named.context, "delete", "namespace", *ours]
        console.run(words, env=dict(os.environ))
    console.say(f"the CRDs stay; if nobody uses them: kubectl --context {named.context} delete crd {' '.join(CRDS)}")


def _get(console: Console, named: ExistingCluster, kind: str, name: str) -> Object | None:
    words = ["kubectl", "--context", named.context, "get", kind, name, "-o", "json", "--ignore-not-found"]
    text = console.run(words, env=dict(os.environ), show=False)
    return json.loads(text) if text.strip() else None


def _is_ours(namespace: Object) -> bool:
    return (namespace.get("metadata", {}).get("labels") or {}).get(MARK) == "true"


def _is_of_our_release(crd: Object) -> bool:
    notes = crd["metadata"].get("annotations") or {}
    release = (notes.get("meta.helm.sh/release-namespace"), notes.get("meta.helm.sh/release-name"))
    return release == (SYSTEM, RELEASE)
