"""kubectl and helm against the one cluster that the demo uses."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .console import Console, Failed
from .settings import NAMESPACE

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kube:
    """Commands carry their kubeconfig or context; nothing ambient is used."""

    console: Console
    kubectl_words: tuple[str, ...]
    helm_words: tuple[str, ...]
    namespace: str = NAMESPACE

    def kubectl(self, *words: str, stdin: str | None = None, show: bool = False, timeout: float = 600) -> str:
        """Run kubectl in the namespace and return its output."""
        if show:
            self.console.say("   $ kubectl -n " + self.namespace + " " + " ".join(words))
        command = [*self.kubectl_words, "-n", self.namespace, *words]
        return self.console.run(command, stdin=stdin, show=False, env=dict(os.environ), timeout=timeout)

    def helm(self, *words: str) -> str:
        """Run helm."""
        self.console.say("   $ helm " + " ".join(words))
        return self.console.run([*self.helm_words, *words], show=False, env=dict(os.environ))

    def apply(self, manifest: str) -> None:
        """Apply a manifest whose objects name their namespaces, as kubectl apply -f does."""
        command = [*self.kubectl_words, "apply", "-f", "-"]
        for line in self.console.run(command, stdin=manifest, show=False, env=dict(os.environ)).splitlines():
            self.console.say(f"     {line}")

    def get(self, kind: str, name: str) -> Object | None:
        """Return the object or None."""
        text = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def items(self, kind: str, selector: str = "") -> list[Object]:
        """Return the objects of a kind that match the label selector."""
        words = ("-l", selector) if selector else ()
        items: list[Object] = json.loads(self.kubectl("get", kind, "-o", "json", *words))["items"]
        return items

    def wait(self, what: str, ready: Callable[[], bool], seconds: float, *, every: float = 1.0) -> None:
        """Wait until `ready()`; raises Failed with the state of the namespace when the time is over."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise Failed(f"{what}: not within {seconds:.0f} s\n{self.state()}")
            time.sleep(every)

    def state(self) -> str:
        """Return what an engineer would look at first, for error messages."""
        parts = []
        for words in (
            ("get", "finetuneruns,modelpromotions,modelversions,finetunepolicies"),
            ("get", "pods,jobs,deployments", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        ):
            try:
                parts.append(self.kubectl(*words)[-4000:])
            except Failed as error:
                parts.append(str(error)[-500:])
        return "\n".join(parts)

    def pod_running(self, name: str) -> bool:
        """Tell whether the pod runs and is ready."""
        pod = self.get("pod", name) or {}
        return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))

    def follow(self, *words: str, show: Callable[[str], None]) -> None:
        """Show what a kubectl command prints as it comes; raises Failed when it fails."""
        command, shown = [*self.kubectl_words, "-n", self.namespace, *words], ""
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            for line in process.stdout or ():
                shown = (shown + line)[-3000:]
                show(line.rstrip())
        if process.returncode != 0:
            raise Failed(f"kubectl {' '.join(words)}\nexited with {process.returncode}:\n{shown}")

    def follow_job(self, name: str, seconds: float, show: Callable[[str], None]) -> None:
        """Show a Job's log as it comes; raises Failed when the Job fails."""
        pods = f"job-name={name}"

        def started() -> bool:
            return any(p["status"].get("phase") not in (None, "Pending") for p in self.items("pods", pods))

        self.wait(f"pod of Job {name}", started, 300)
        command = [*self.kubectl_words, "-n", self.namespace, "logs", "-f", f"job/{name}"]
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            for line in process.stdout or ():
                show(line.rstrip())

        def over() -> bool:
            status = (self.get("job", name) or {}).get("status", {})
            if status.get("failed"):
                raise Failed(f"Job {name} failed; its log:\n{self.kubectl('logs', f'job/{name}', '--tail=40')}")
            return bool(status.get("succeeded"))

        self.wait(f"Job {name}", over, seconds)

    @contextmanager
    def watching(self, kind: str, name: str, seconds: float) -> Iterator[Iterator[Object]]:
        """Yield the states of one object as `kubectl get --watch` reports them, for so many seconds at most.

        It is chosen from the list of all: of one that is named kubectl drops the first thing that a watch says, which
        may be more than what it was before.
        """
        chosen = ["get", kind, "--field-selector", f"metadata.name={name}", "--watch", "-o", "json"]
        command = [*self.kubectl_words, "-n", self.namespace, *chosen, f"--request-timeout={max(seconds, 1):.0f}s"]
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                yield _documents(process.stdout or ())
            finally:
                process.terminate()


def _documents(lines: Any) -> Iterator[Object]:
    """Split a stream of pretty-printed JSON objects: each ends with a brace in the first column."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip("\n") == "}":
            yield json.loads(text)
            text = ""
