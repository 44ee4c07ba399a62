"""A real API server with the operator as a process beside it: what the tests of this folder act on and look at."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from house.api_server import Answer, ApiServer, Object
from house.planes import GROUP
from local_cluster.ports import free_ports

T = TypeVar("T")
SOURCES = Path(__file__).resolve().parents[3] / "operator" / "src"
PATIENCE = 3
"""How many times longer than on an idle machine a test waits."""
MOST_PAUSE = 0.2
"""Seconds between two looks, at most: no phase that a test waits for is over sooner."""


class Operator:
    """The operator's process; `kill` is SIGKILL, `stop` is SIGTERM."""

    def __init__(self, kubeconfig: Path, log: Path, namespaces: str = "", **settings: str) -> None:
        self._kubeconfig = kubeconfig
        self._namespaces = namespaces
        self._settings = settings
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.probes = self.metrics = 0

    def start(self) -> None:
        """Start, and wait until it is ready."""
        self.probes, self.metrics = free_ports(2)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCES),
            "PYTHONPYCACHEPREFIX": sys.pycache_prefix or "",
            "KUBECONFIG": str(self._kubeconfig),
            "FINETUNE_NAMESPACES": self._namespaces,
            "FINETUNE_ADDRESS": "127.0.0.1",
            "FINETUNE_PROBE_PORT": str(self.probes),
            "FINETUNE_METRICS_PORT": str(self.metrics),
            **self._settings,
        }
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "finetune_operator"], env=environment, stderr=output
            )
        eventually(lambda: self.probe("readyz") == 200, seconds=60, what=f"the operator is ready ({self.log})")

    def kill(self) -> None:
        """End it at once, as a lost node would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def stop(self) -> int:
        """Ask it to end; return the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        """Make sure that it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(60)

    def probe(self, path: str) -> int:
        """Return the status of a probe; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probes}/{path}", timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metric(self, name: str, having: str = "", *, without: str | None = None) -> float:
        """Return the sum of all series of a metric whose labels have the one text and not the other."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        series = [line for line in lines if line.startswith((f"{name}{{", f"{name} ")) and having in line]
        return sum(float(line.rpartition(" ")[2]) for line in series if without is None or without not in line)


@dataclass(frozen=True)
class Space:
    """A namespace of the API server, with the verbs that tests need."""

    server: ApiServer
    namespace: str

    def apply(self, manifest: Object) -> Object:
        """Create an object in this namespace; it must be accepted."""
        answer = self.server.create({**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}})
        assert answer.accepted, answer.message
        return answer.body

    def get(self, resource: str, name: str) -> Object | None:
        """Return an object, or None."""
        answer = self.server.request("GET", f"{self.path(resource)}/{name}")
        return answer.body if answer.accepted else None

    def there(self, resource: str, name: str) -> Object:
        """Return an object that must be there, with a status."""
        obj = self.get(resource, name)
        assert obj is not None, f"{resource} {name} is not there"
        return {"status": {}, **obj}

    def all(self, resource: str) -> list[Object]:
        """Return every object of a kind."""
        items: list[Object] = self.server.request("GET", self.path(resource)).body.get("items") or []
        return items

    def patch(self, resource: str, name: str, body: Object, content: str = "application/merge-patch+json") -> Answer:
        """Patch an object."""
        return self.server.request("PATCH", f"{self.path(resource)}/{name}", body, content)

    def delete(self, resource: str, name: str) -> None:
        """Delete an object."""
        answer = self.server.request("DELETE", f"{self.path(resource)}/{name}?propagationPolicy=Background")
        assert answer.accepted, answer.message

    def close(self) -> None:
        """Leave nothing that operator and Kubernetes' controllers, which serve the next test, would go on with."""
        for resource in ("finetuneruns", "modelpromotions", "finetunepolicies", "modelversions", "jobs", "pods"):
            self.server.request("DELETE", f"{self.path(resource)}?propagationPolicy=Background&gracePeriodSeconds=0")

    def path(self, resource: str) -> str:
        """Return the path of a collection."""
        roots = {"jobs": "/apis/batch/v1", "deployments": "/apis/apps/v1", "replicasets": "/apis/apps/v1"}
        core = {"pods", "configmaps", "podtemplates", "events"}
        root = "/api/v1" if resource in core else roots.get(resource, GROUP)
        return f"{root}/namespaces/{self.namespace}/{resource}"

    def phase(self, name: str, resource: str = "finetuneruns") -> str:
        """Return the phase of an object; empty while there is none."""
        obj = self.get(resource, name) or {}
        return str(obj.get("status", {}).get("phase", ""))

    def keys(self) -> dict[str, str]:
        """Return the operator's annotations in the Deployment's pod template."""
        spec = self.there("deployments", "invoice-detector")["spec"]["template"]["metadata"]
        return {k: v for k, v in (spec.get("annotations") or {}).items() if k.startswith("finetune-operator.io/")}

    def served(self) -> str | None:
        """Return the version that the Deployment serves."""
        return self.keys().get("finetune-operator.io/model-version")

    def policy_status(self) -> Object:
        """Return the policy's memory."""
        status: Object = self.there("finetunepolicies", "invoice-fields")["status"]
        return status


def at_rest(look: Callable[[], T], *, seconds: float, what: str) -> T:
    """Return what `look` returns once it has been the same for so many seconds; what never rests fails.

    What is still under way when a test comes here takes a while, and on a loaded machine longer.
    """
    end = time.monotonic() + 30 * seconds
    before = look()
    while True:
        time.sleep(seconds)
        after = look()
        if after == before:
            return after
        assert time.monotonic() < end, f"it goes on: {what}; {before}, then {after}"
        before = after


def eventually(check: Callable[[], T], *, seconds: float = 30, what: str = "it") -> T:
    """Return the first truthy result of `check`, asked for again and again; fail after `seconds` of an idle machine.

    On another one things take longer: only what would never come is to fail.
    """
    began = time.monotonic()
    while True:
        answer = check()
        if answer:
            return answer
        waited = time.monotonic() - began
        assert waited < PATIENCE * seconds, f"not within {PATIENCE * seconds} s: {what}"
        # What takes longer is asked for less often: each look takes from the processors what it waits for.
        time.sleep(min(0.05 + waited / 20, MOST_PAUSE))
