"""Which objects are watched: kinds and the labels that the API server filters by."""

from collections.abc import Mapping
from typing import Final

from .kinds import KINDS, Kind, KindEntry
from .port import Object

Watched = Mapping[Kind, Mapping[str, str]]
"""Kind -> labels that an object must carry to be watched."""


def watched(kinds: Mapping[Kind, KindEntry]) -> Watched:
    """Return what the table of kinds wants to be watched."""
    return {kind: entry.watch_labels for kind, entry in kinds.items() if entry.watch_labels is not None}


WATCHED: Final = watched(KINDS)


def is_watched(kind: Kind, obj: Object) -> bool:
    """Tell whether the watch of `kind` delivers `obj`."""
    wanted = WATCHED.get(kind)
    if wanted is None:
        return False
    labels = obj.get("metadata", {}).get("labels") or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def selector(labels: Mapping[str, str]) -> str:
    """Return `labels` as the API's labelSelector parameter."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
