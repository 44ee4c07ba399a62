"""What the table of kinds reads of plain objects; total over whatever an API server may hold."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

Json = Mapping[str, Any]


def at(*path: str) -> Callable[[Json], Iterable[object]]:
    """Return a function that yields the value at that path of an object, if there is one."""
    return lambda obj: (_value(obj, *path),)


def phase(obj: Json) -> str:
    """Return the phase that the status shows, or ""."""
    return str(_value(obj, "status", "phase") or "")


def no_phase(_: Json) -> str:
    """Return "": objects of this kind have no phase that anybody looks at."""
    return ""


def nothing(_: Json) -> Hashable:
    """Return None: nobody compares objects of this kind."""
    return None


def job_phase(job: Json) -> str:
    """Return whether the Job is Finished or Active."""
    conditions = _items(job, "status", "conditions")
    finished = any(c.get("type") in {"Complete", "Failed"} and c.get("status") == "True" for c in conditions)
    return "Finished" if finished else "Active"


def templates(policy: Json) -> Iterable[object]:
    """Return the names of the PodTemplates that a policy names, each once."""
    named = _value(policy, "spec", "podTemplates")
    return sorted({str(name) for name in named.values()}) if isinstance(named, Mapping) else ()


def policy_digest(policy: Json) -> Hashable:
    """Return what runs and versions look at: rules, readiness, what is live, the hold, the verdicts."""
    ready: Json = next((c for c in _items(policy, "status", "conditions") if c.get("type") == "Ready"), {})
    return (
        _value(policy, "metadata", "generation"),
        _value(policy, "status", "observedGeneration"),
        ready.get("status"),
        ready.get("message"),
        (_value(policy, "status", "live", "version"), _value(policy, "status", "live", "sha256")),
        _value(policy, "status", "hold", "since"),
        tuple((entry.get("sha256"), "lifted" in entry) for entry in _items(policy, "status", "quarantined")),
        tuple(entry.get("sha256") for entry in _items(policy, "status", "takenBack")),
    )


def _value(obj: object, *path: str) -> Any:
    for key in path:
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj


def _items(obj: object, *path: str) -> Iterable[Json]:
    items = _value(obj, *path)
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
