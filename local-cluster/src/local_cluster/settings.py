"""Where things are kept: caches that survive, state that does not, and this folder's own files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_cluster.errors import ClusterError

#: Unix domain socket paths end at 107 bytes; the longest one below the state folder takes up to 60.
MAX_STATE_PATH = 47


@dataclass(frozen=True)
class Settings:
    """The folders this package works in.

    `cache` holds what is keyed by pins and safe to keep; `state` holds running clusters;
    `home` is the `local-cluster/` folder of the checkout, with the pins of the tools.
    """

    cache: Path
    state: Path
    home: Path

    @property
    def node_state(self) -> Path:
        """The folder of the one node cluster of this machine."""
        return self.state / "node"

    def control_plane_state(self, name: str) -> Path:
        """The folder of the control plane called `name`."""
        return self.state / "control-planes" / name


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Read `FINETUNE_CACHE` and `FINETUNE_STATE`; raise ClusterError where a path cannot work."""
    home = Path(environ.get("HOME", "/root"))
    cache = Path(environ.get("FINETUNE_CACHE") or home / ".cache" / "finetune-operator")
    state = Path(environ.get("FINETUNE_STATE") or "/var/tmp/finetune-operator")
    for variable, path in (("FINETUNE_CACHE", cache), ("FINETUNE_STATE", state)):
        if not path.is_absolute():
            raise ClusterError(f"{variable}={path} is not an absolute path", f"set {variable} to an absolute path")
    if len(str(state)) > MAX_STATE_PATH:
        raise ClusterError(
            f"FINETUNE_STATE={state} is longer than {MAX_STATE_PATH} characters, too long for Unix sockets below it",
            "set FINETUNE_STATE to a shorter path",
        )
    return Settings(cache=cache, state=state, home=Path(__file__).resolve().parents[2])
