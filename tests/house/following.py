"""What a message promises, done: the manifests that it has commands for."""

import json
import re
from typing import Any

COMMAND = re.compile(r"echo '(\{.*?\})' \| kubectl create -f -")


def manifests(message: str) -> list[dict[str, Any]]:
    """Return the objects that the commands in a message create, in their order."""
    return [json.loads(text) for text in COMMAND.findall(message)]


def manifest(message: str, kind: str) -> dict[str, Any]:
    """Return the one object of that kind that a message has a command for."""
    (only,) = [m for m in manifests(message) if m["kind"] == kind]
    return only
