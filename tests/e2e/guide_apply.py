"""`kubectl apply -f` of the guide's manifests as a small machine can take them: KUBECTL... ARGUMENTS of apply."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml


def quick(item: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest of the guide as this machine can take it within minutes; all else is left as it is.

    The cluster is one node of two cores: pods request little, one replica serves. Training is one epoch, and a new
    version is watched for five seconds.
    """
    spec = item.get("spec", {})
    match item["kind"]:
        case "FineTunePolicy":
            spec |= {"training": {"epochs": 1}, "watch": {"seconds": 5}}
        case "Deployment":
            spec["replicas"] = 1
            _request_little(spec["template"]["spec"])
        case "PodTemplate":
            _request_little(item["template"]["spec"])
            for container in item["template"]["spec"]["containers"]:
                # Small pages in small batches: one thread is faster than two that wait for each other.
                other = [each for each in container.get("env", []) if each["name"] != "OMP_NUM_THREADS"]
                container["env"] = [*other, {"name": "OMP_NUM_THREADS", "value": "1"}]
        case _:
            pass
    return item


def _request_little(pod: dict[str, Any]) -> None:
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        container["resources"]["requests"] = {"cpu": "100m", "memory": "256Mi"}


def main(words: list[str]) -> int:
    """Apply the manifest that the argument of -f names; `-` is standard input."""
    place = words.index("-f") + 1
    text = sys.stdin.read() if words[place] == "-" else Path(words[place]).read_text()
    items = [quick(item) for item in yaml.safe_load_all(text) if item]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    command = [*words[:place], "-", *words[place + 1 :]]
    return subprocess.run(command, input=manifest, text=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
