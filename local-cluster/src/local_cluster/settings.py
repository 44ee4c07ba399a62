"""Where things are kept: caches that survive, state that does not, and this folder's own files."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

#: Unix domain socket paths end at 107 bytes; the longest one below the state folder takes up to 60.
MAX_STATE_PATH = 47


@dataclass(frozen=True, slots=True)
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


def default_state(uid: int) -> str:
    """Return the state folder of a user: short, on a disk and not in memory, and one for each user."""
    return "/var/tmp/finetune-operator" if uid == 0 else f"/var/tmp/finetune-operator-{uid}"  # noqa: S108 - see own()


def own(folder: Path) -> None:
    """Make `folder` ours alone; raise ClusterError where somebody else made it first, as anyone can in /var/tmp."""
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ClusterError(f"{folder} belongs to another user", "remove it, or set FINETUNE_STATE to another folder")
    folder.chmod(0o700)


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Read `FINETUNE_CACHE` and `FINETUNE_STATE`; raise ClusterError where a path cannot work."""
    home = Path(environ.get("HOME", "/root"))
    cache = Path(environ.get("FINETUNE_CACHE") or home / ".cache" / "finetune-operator")
    state = Path(environ.get("FINETUNE_STATE") or default_state(os.geteuid()))
    for variable, path in (("FINETUNE_CACHE", cache), ("FINETUNE_STATE", state)):
        if not path.is_absolute():
            raise ClusterError(f"{variable}={path} is not an absolute path", f"set {variable} to an absolute path")
    if len(str(state)) > MAX_STATE_PATH:
        raise ClusterError(
            f"FINETUNE_STATE={state} is longer than {MAX_STATE_PATH} characters, too long for Unix sockets below it",
            "set FINETUNE_STATE to a shorter path",
        )
    return Settings(cache=cache, state=state, home=Path(__file__).resolve().parents[2])
