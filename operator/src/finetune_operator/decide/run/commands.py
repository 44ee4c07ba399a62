"""The command that asks for a run again, as messages promise it: following a message leads somewhere."""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ...api.names import API_VERSION
from ...api.run import Run
from ...api.value import canonical_json
from .. import limits
from ..text import in_bytes

_LONGEST: Final = 500
"""Characters of a command in a message, which has room for little more."""

_LONGEST_NAME: Final = 34
"""A run's name has at most 40 characters, and the API server adds six."""


def run_command(run: Run, *, seed: int | None = None) -> str:
    """Return the command that asks for the same as `run` once more; with another seed it trains anew."""
    mixing = run.spec.mixing if seed is None else replace(run.spec.mixing, seed=seed)
    spec = _said(replace(run.spec, mixing=mixing, review=None, suspend=False))
    head = run.metadata.name[:_LONGEST_NAME].rstrip("-.")
    metadata = {"generateName": f"{head}-", "namespace": run.metadata.namespace}
    manifest = {"apiVersion": API_VERSION, "kind": "FineTuneRun", "metadata": metadata, "spec": spec}
    text = canonical_json(manifest).decode().replace("'", "\\u0027")
    command = f"echo '{text}' | kubectl create -f -"
    if len(command) <= _LONGEST:
        return command
    more = f" and spec.mixing.seed: {seed}" if seed is not None else ""
    where = f"kubectl -n {run.metadata.namespace} get finetunerun {run.metadata.name} -o yaml"
    return f"create a run with the spec that `{where}` shows, another metadata.name{more}"


def with_remedy(text: str, remedy: str) -> str:
    """Return both within the bounds of a message; it is never the remedy that is cut."""
    room = limits.MESSAGE - len(remedy) - 2
    return f"{text[: max(room, 0)]}; {remedy}"[: limits.MESSAGE]


def in_events(message: str) -> tuple[str, ...]:
    """Return a message as Events say it: one, or one for each command where a note is too short for all of them."""
    if len(message.encode()) <= limits.EVENT:
        return (message,)
    cause, *parts = message.split("; ")
    ways = [part for part in parts if "kubectl " in part]
    texts = (f"{in_bytes(cause, limits.EVENT // 4)}; {way}" for way in ways)
    fitting = tuple(text for text in texts if len(text.encode()) <= limits.EVENT)
    return fitting or (in_bytes(message, limits.EVENT),)


def _said(value: msgspec.Struct) -> dict[str, Any]:
    """Return what differs from the defaults, which the API server writes into what it stores."""
    said: dict[str, Any] = {}
    for field in msgspec.structs.fields(value):
        member = getattr(value, field.name)
        inner = _said(member) if isinstance(member, msgspec.Struct) else member
        if field.required or (member != field.default and inner != {}):
            said[field.encode_name] = inner
    return said
