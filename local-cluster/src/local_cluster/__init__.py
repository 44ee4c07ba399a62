"""A real Kubernetes for demos and tests, built from package registries alone; standard library only."""

from .control_planes import ControlPlane, control_plane
from .errors import ClusterError

__all__ = ["ClusterError", "ControlPlane", "control_plane"]
