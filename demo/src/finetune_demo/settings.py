"""Where the demo runs and keeps its things; the only module that reads the environment."""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "finetune-system"
"""The namespace of the operator, and of its Helm release of the name RELEASE."""
RELEASE = "finetune-operator"
NAMESPACE = "invoices"
"""The namespace of the model."""


@dataclass(frozen=True, slots=True)
class ExistingCluster:
    """A cluster that the user named: its kubectl context, and a registry that it pulls from."""

    context: str
    registry: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths are absolute; `existing` is None for the local cluster."""

    root: Path
    state: Path
    cache: Path
    existing: ExistingCluster | None
    baked_images: bool = False
    """Whether local pods run baked images (end-to-end tests) instead of environments on volumes."""


def from_environment() -> Settings:
    """Read DEMO_CONTEXT, DEMO_REGISTRY, FINETUNE_STATE and FINETUNE_CACHE; an ambient KUBECONFIG is never used.

    Raises SystemExit when only one of DEMO_CONTEXT and DEMO_REGISTRY is set.
    """
    context, registry = os.environ.get("DEMO_CONTEXT", ""), os.environ.get("DEMO_REGISTRY", "")
    if bool(context) != bool(registry):
        raise SystemExit(
            "DEMO_CONTEXT and DEMO_REGISTRY go together: the kubectl context of an existing cluster, and a registry "
            "that you may push to and it may pull from. Unset both for the local cluster."
        )
    cache = Path(os.environ.get("FINETUNE_CACHE") or Path.home() / ".cache" / "finetune-operator")
    state = Path(os.environ.get("FINETUNE_STATE") or "/var/tmp/finetune-operator")
    return Settings(
        root=ROOT,
        state=(state / "demo").absolute(),
        cache=cache.absolute(),
        existing=ExistingCluster(context, registry) if context else None,
    )
