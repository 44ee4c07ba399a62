"""Words in statuses: reasons that the API server takes, lists and numbers as people read them."""

import re

from ..api.policy_status import InFlight, Quarantined, TakenBack

_UNPLAIN = re.compile(r"[^A-Za-z0-9._/+:@ -]")
"""What can begin another sentence, quote, command or line."""

_URI = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^\s/?#]*@)?([^\s?#\"'<>]*)[^\s\"'<>]*")
_LONGEST = 4096
"""Characters of others' words that are read: as many as a pod's status has of a container's last ones."""

_NAMES = 512
"""Characters of the names of classes that a message has."""

_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]{0,62}[A-Za-z0-9_])?")


def reason_or(reason: str, fallback: str) -> str:
    """Return `reason` if a condition may carry it (CamelCase, at most 64 characters), else `fallback`."""
    return reason if _REASON.fullmatch(reason) else fallback


def plain(name: str, *, most: int = 64) -> str:
    """Return a name that anybody may have written, so that in a message with commands it cannot pass for one."""
    return _UNPLAIN.sub("?", name[:most])


def without_credentials(words: str) -> str:
    """Return words with their URIs without users, passwords and signed queries."""
    return _URI.sub(r"\1\2", words)


def readable(words: object) -> str:
    """Return what others said as one line that can be read, without credentials."""
    said = without_credentials(str(words or "")[:_LONGEST])
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())


def quoted(words: object, most: int) -> str:
    """Return what others said as part of a message of ours: behind "; " stand commands that people copy."""
    return readable(words).replace(";", ",")[:most]


def cut(words: str, most: int) -> str:
    """Return words as a status keeps them: one line, at most `most` bytes."""
    return in_bytes(readable(words), most)


def in_bytes(words: str, most: int) -> str:
    """Return words cut at so many bytes, never within a character."""
    return words.encode()[:most].decode(errors="ignore")


def listed(names: list[str], *, most: int = 5) -> str:
    """Return "a, b and 3 more", or "none"."""
    if not names:
        return "none"
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def appending(names: tuple[str, ...]) -> str:
    """Return how a policy gets the classes of a version that it lacks, as the remedy in a message."""
    return f"append {quoted(', '.join(names), _NAMES)} to the policy's spec.classes, in this order"


def within(words: str, most: int) -> str:
    """Return `words` in at most so many characters: whole clauses of them, so that no command is cut in two."""
    if len(words) <= most:
        return words
    clauses = words[: most - len("; ...") + 2].rpartition("; ")[0]
    return f"{clauses}; ..." if clauses else f"{words[: most - len('...')]}..."


def watch_in_words(flight: InFlight) -> str:
    """Return how long a version is watched, which no wall clock says: time that nobody looks does not count."""
    seconds = (flight.deadline - flight.phase_since).total_seconds()
    stands = "; the watch stands: the Deployment is scaled to zero" if flight.idle else ""
    return f"for {seconds:.0f} s{stands}"


def taken_back_in_words(entry: TakenBack, deployment: str) -> str:
    """Return who took a version back from that Deployment, when and why."""
    why = f": {entry.reason}" if entry.reason else ""
    return f"taken back from Deployment {deployment} by promotion '{entry.by}' ({entry.since:%Y-%m-%d %H:%M} UTC){why}"


def quarantined_in_words(entry: Quarantined, where: str = "here") -> str:
    """Return why a version was quarantined, where and when."""
    return f"quarantined {where} ({entry.reason}, {entry.since:%Y-%m-%d %H:%M} UTC)"
