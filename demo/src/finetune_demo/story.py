"""The demo's story in steps: each does one thing a user would do, says so, and leaves a figure for the table."""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import cluster as clusters
from . import environment, progress, render
from .cluster import Cluster
from .console import Console, Failed
from .settings import RELEASE, SYSTEM, Settings

RUN = "new-suppliers"
POD_SCRIPTS = "/data/pods"
TUNED = "ft_v1.1"
"""The version that the first run makes."""


@dataclass(slots=True)
class Story:
    """The running demo. `facts` collects what the closing table shows."""

    console: Console
    settings: Settings
    cluster: Cluster
    recipe: Mapping[str, Any]
    values: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    watch_seconds: int = 20

    def manifest(self, name: str) -> str:
        """Return one of demo/manifests, filled in; a copy is kept in the state folder for the user."""
        text = render.manifest(self.settings.root / "demo" / "manifests", name, self.values)
        kept = self.settings.state / "manifests"
        kept.mkdir(parents=True, exist_ok=True)
        (kept / name).write_text(text)
        return text

    def apply(self, name: str) -> None:
        """Apply one of demo/manifests."""
        self.console.say(f"   $ kubectl apply -f {name}")
        self.cluster.kube.apply(self.manifest(name))

    def fill(self, service_ip: str = "") -> None:
        """Compute the values of the manifests."""
        self.values = render.variables(
            self.cluster.images, self.recipe, service_ip=service_ip, watch_seconds=self.watch_seconds
        )

    def trainer(self, *words: str, show: bool = True) -> str:
        """Run a command of the trainer in the workbench pod."""
        mounted = self.cluster.images.mounted
        python = f"{render.ENVIRONMENTS}/trainer-env/bin/python"
        command = [python, "-m", "finetune_trainer"] if mounted else ["finetune-trainer"]
        if show:
            self.console.say("   $ finetune-trainer " + " ".join(words))
        return self.cluster.kube.kubectl("exec", "workbench", "--", *command, *words)

    def install_operator(self) -> None:
        """Install the chart."""
        kube, images = self.cluster.kube, self.cluster.images
        self.apply("10-namespaces.yaml")
        kube.apply(clusters.volumes(self.console, self.settings, self.cluster))
        values = self.settings.state / "chart-values.json"
        values.write_text(json.dumps(_chart_values(images, kube.namespace)))
        chart = self.settings.root / "charts" / "finetune-operator"
        kube.helm(
            "upgrade", "--install", RELEASE, str(chart),
            "--namespace", SYSTEM, "--values", str(values), "--wait", "--timeout", "3m",
        )  # fmt: skip

    def open_workbench(self) -> None:
        """Start the pod from which people work, and bring the data in on a cluster that is not local."""
        kube = self.cluster.kube
        self.apply("20-workbench.yaml")
        kube.wait("workbench pod", lambda: kube.pod_running("workbench"), 300)
        if self.settings.existing is not None:
            data = self.settings.state / "data"
            with subprocess.Popen(["tar", "-C", str(data), "-c", "."], stdout=subprocess.PIPE) as tar:
                subprocess.run(
                    [
                        *kube.kubectl_words,
                        "-n",
                        kube.namespace,
                        "exec",
                        "-i",
                        "workbench",
                        "--",
                        "tar",
                        "-C",
                        "/data",
                        "-x",
                    ],
                    stdin=tar.stdout,
                    check=True,
                )
        for line in self.trainer("anchor", "index", "file:///data/anchor").splitlines():
            self.console.say(f"     {line}")

    def train_base(self) -> None:
        """Train the first base model in a pod and import it as a ModelVersion."""
        kube = self.cluster.kube
        self.apply("30-train-base.yaml")
        begun = time.monotonic()
        kube.follow_job("train-base", 1200, self.show_epoch)
        self.facts["base seconds"] = time.monotonic() - begun
        imported = self.trainer(*_import_words(self.recipe))
        (self.settings.state / "manifests").mkdir(parents=True, exist_ok=True)
        (self.settings.state / "manifests" / "65-base.yaml").write_text(imported)
        kube.apply(imported)

    def show_epoch(self, line: str) -> None:
        """Show a JSON line of the base training; the library's own bars stay in the pod's log."""
        if line.startswith("{"):
            facts = json.loads(line)
            losses = " ".join(f"{name} {facts[name]:.2f}" for name in facts if name.endswith("_loss"))
            self.console.say(f"     epoch {facts.get('epoch')}/{facts.get('epochs')} {losses}")

    def serve_base(self) -> None:
        """Apply templates, Deployment and policy, promote the base, and wait until it is live."""
        kube = self.cluster.kube
        self.apply("40-templates.yaml")
        self.apply("50-serving.yaml")
        self.apply("60-policy.yaml")
        self.apply("70-promote-base.yaml")
        self.wait_promotion("first-base", 300)
        service = kube.get("service", "invoice-detector") or {}
        self.fill(service["spec"]["clusterIP"])
        self.wait_live("base_v1")
        base = kube.get("modelversion", "invoice-fields-base-v1") or {}
        self.facts["base mAP50"] = base.get("status", {}).get("map50", "")

    def wait_promotion(self, name: str, seconds: float) -> None:
        """Wait until a ModelPromotion has succeeded; raises Failed when it ends otherwise."""
        last = ""

        def over() -> bool:
            nonlocal last
            status = (self.cluster.kube.get("modelpromotion", name) or {}).get("status", {})
            line = f"{status.get('phase', 'Pending')}: {status.get('message', '')}"
            if line != last:
                last = line
                self.console.say(f"     promotion {name}: {line}")
            if status.get("phase") in ("Failed", "RolledBack", "Superseded"):
                raise Failed(f"ModelPromotion {name}: {line}\n{self.cluster.kube.state()}")
            return bool(status.get("phase") == "Succeeded")

        self.cluster.kube.wait(f"ModelPromotion {name}", over, seconds)

    def wait_live(self, version: str) -> None:
        """Check that the policy says what is live, and that the serving pods say the same."""
        kube = self.cluster.kube
        policy = kube.get("finetunepolicy", "invoice-fields") or {}
        live = policy.get("status", {}).get("live", {}).get("version")
        if live != version:
            raise Failed(f"the policy says that {live} is live, expected {version}")

        def only_that_version() -> bool:
            pods = kube.items("pods", "app=invoice-detector")
            key = "finetune-operator.io/model-version"
            return bool(pods) and all(p["metadata"].get("annotations", {}).get(key) == version for p in pods)

        kube.wait(f"only pods of {version}", only_that_version, 120)

    def measure(self, label: str, version: str) -> float:
        """Measure the detection rate on unseen pages of the new suppliers, through the Service."""
        words = ("python3", "/data/pods/measure.py", "--host", self.values["SERVICE_IP"], "--data", "/data/unseen")
        measured = json.loads(self.cluster.kube.kubectl("exec", "workbench", "--", *words))
        if measured["versions"] != [version]:
            raise Failed(f"the Service was answered by {measured['versions']}, expected {version}")
        hits = f"{measured['matched']} of {measured['boxes']} fields on {measured['pages']} unseen pages"
        self.console.say(f"     {version} found {hits}: {measured['rate']:.1%}")
        self.facts[label] = measured
        return float(measured["rate"])

    def start_load(self) -> None:
        """Start the steady traffic."""
        kube = self.cluster.kube
        self.apply("75-load.yaml")
        kube.wait("load pod", lambda: kube.pod_running("load"), 120)

    def stop_load(self) -> dict[str, Any]:
        """Stop the traffic and return its summary."""
        kube = self.cluster.kube
        with subprocess.Popen(
            [*kube.kubectl_words, "-n", kube.namespace, "logs", "-f", "load", "--tail=1"],
            text=True, stdout=subprocess.PIPE,
        ) as log:  # fmt: skip
            kube.kubectl("delete", "pod", "load", "--wait=false")
            lines = [json.loads(line) for line in log.stdout or () if line.startswith("{")]
        summary = next((line for line in reversed(lines) if line.get("summary")), None)
        if summary is None:
            raise Failed("the load pod ended without its summary")
        return dict(summary)

    def fill_pool(self, source: str = "verified", pool: str = "invoices") -> None:
        """Add the verified samples to a pool."""
        words = (
            "pool", "add", f"file:///data/pool/{pool}", "--from", f"/data/{source}", "--anchor", "file:///data/anchor",
            "--verified-by", "ann@example.com", "--verified-at", "2026-11-20", "--source", "user-reports",
        )  # fmt: skip
        for line in self.trainer(*words).splitlines():
            self.console.say(f"     {line}")

    def run_to_live(self) -> None:
        """Apply the FineTuneRun and follow it until its version is live."""
        self.apply("80-run.yaml")
        self.follow_to_live(RUN)

    def follow_to_live(self, name: str) -> None:
        """Follow a run until its version is live; raises Failed where it ends otherwise, or asks for a person."""
        # A review would wait for a person for two weeks; the line above this has the command that decides it.
        followed = progress.follow(self.cluster.kube, name, 1200, until=(*progress.FINAL, "InReview"))
        status = followed.run["status"]
        self.facts |= {"epochs seen": sorted(followed.epochs), "phases": followed.phases, "run": status}
        if followed.phase != "Promoted":
            gates = json.dumps(status.get("gates"), indent=2)
            raise Failed(f"the run is {followed.phase}, not Promoted: {status.get('message')}\n{gates}")
        self.wait_live(TUNED)

    def roll_back(self) -> None:
        """Go back to the base by one object."""
        self.apply("90-rollback.yaml")
        self.wait_promotion("back-to-base", 300)
        self.wait_live("base_v1")


def resume(console: Console, settings: Settings) -> Story:
    """Return the story of a demo that was played on the local cluster and is still up."""
    cluster = clusters.attach(console, settings)
    if settings.baked_images:
        cluster = Cluster(cluster.kube, clusters.baked("localhost"))
    tale = Story(console, settings, cluster, load_recipe(console, settings))
    service = tale.cluster.kube.get("service", "invoice-detector") or {}
    tale.fill(service["spec"]["clusterIP"])
    return tale


def _chart_values(images: render.Images, namespace: str) -> dict[str, Any]:
    repository, _, tag = images.operator.rpartition(":")
    values: dict[str, Any] = {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "watchNamespaces": [namespace],
    }
    if images.mounted:
        environments = render.ENVIRONMENTS
        values |= {
            "command": [f"{environments}/operator-env/bin/python", "-m", "finetune_operator"],
            "extraEnv": [{"name": "PYTHONPATH", "value": f"{render.CODE}/operator"}],
            "extraVolumes": [render.volume("operator-env", read_only=True), render.volume("code", read_only=True)],
            "extraVolumeMounts": [
                render.mount("operator-env", f"{environments}/operator-env", read_only=True),
                render.mount("code", render.CODE, read_only=True),
            ],
        }
    return values


def _import_words(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    serving = recipe["serving"]
    return (
        "import", "/data/artifacts/base/best.pt", "--model", "invoice-fields", "--version", "base_v1",
        "--namespace", "invoices", "--artifacts", "file:///data/artifacts/base",
        "--image-size", str(serving["imageSize"]), "--confidence", serving["confidence"],
        "--nms-iou", serving["nmsIou"], "--max-detections", str(serving["maxDetections"]),
    )  # fmt: skip


def load_recipe(console: Console, settings: Settings) -> Mapping[str, Any]:
    """Return the example's classes, serving settings and training parameters, from its own package."""
    python = environment.environment(console, settings, "example") / "bin" / "python"
    source = settings.root / "examples" / "invoices" / "src"
    text = console.run([python, "-m", "invoice_example", "recipe"], env={"PYTHONPATH": str(source)}, show=False)
    recipe: Mapping[str, Any] = json.loads(text)
    return recipe
