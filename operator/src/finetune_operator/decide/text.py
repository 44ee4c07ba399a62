"""Words in statuses: reasons that the API server takes, lists and numbers as people read them."""

import re

from ..api.policy import Quarantined, TakenBack

_UNPLAIN = re.compile(r"[^A-Za-z0-9._/+:@ -]")
"""What can begin another sentence, quote, command or line."""

_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]{0,62}[A-Za-z0-9_])?")


def reason_or(reason: str, fallback: str) -> str:
    """Return `reason` if a condition may carry it (CamelCase, at most 64 characters), else `fallback`."""
    return reason if _REASON.fullmatch(reason) else fallback


def plain(name: str, *, most: int = 64) -> str:
    """Return a name that anybody may have written, so that in a message with commands it cannot pass for one."""
    return _UNPLAIN.sub("?", name[:most])


def cut(words: str, most: int) -> str:
    """Return words as a status keeps them: one line of what can be read, at most `most` bytes."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words[:4096]).split())
    return line.encode()[:most].decode(errors="ignore")


def listed(names: list[str], *, most: int = 5) -> str:
    """Return "a, b and 3 more", or "none"."""
    if not names:
        return "none"
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def taken_back_in_words(entry: TakenBack, deployment: str) -> str:
    """Return who took a version back from that Deployment, when and why."""
    why = f": {entry.reason}" if entry.reason else ""
    return f"taken back from Deployment {deployment} by promotion '{entry.by}' ({entry.since:%Y-%m-%d %H:%M} UTC){why}"


def quarantined_in_words(entry: Quarantined) -> str:
    """Return why a version was quarantined, and when."""
    return f"quarantined here ({entry.reason}, {entry.since:%Y-%m-%d %H:%M} UTC)"
