"""The loop in steps: people report, pages are captured and labelled, and the policy starts the run by itself."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from .console import Failed
from .kube import Object
from .story import POD_SCRIPTS, Story

POLICY = "invoice-fields"
DEPLOYMENT = "invoice-detector"
CAPTURED = f"file:///data/production/invoices/{DEPLOYMENT}"
POOL = "file:///data/pool/invoices"
ANCHOR = "file:///data/anchor"
EXPORTED = "/data/labelling"
RETURNED = "/data/labelling-returned.json"


@dataclass(slots=True)
class Loop:
    """What people do around the live base, and what the policy makes of it. Facts go to those of the story."""

    tale: Story
    _shown: dict[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """What the closing table shows."""
        return self.tale.facts

    def open(self) -> None:
        """Turn capture on, and let the policy decide; wait until the pods of before are gone, which keep nothing."""
        kube = self.tale.cluster.kube
        self.turn_on()
        kube.kubectl("rollout", "status", f"deployment/{DEPLOYMENT}", "--timeout=180s", show=True)
        kube.wait("no pod that keeps nothing", lambda: len(kube.items("pods", f"app={DEPLOYMENT}")) == 1, 90)

    def turn_on(self) -> None:
        """Give the commands by which capture and triggers are on: a person's last ones on the cluster."""
        self.tale.apply("81-scan-template.yaml")
        self._patch("deployment", DEPLOYMENT, "82-capture.yaml", "strategic")
        self._patch("finetunepolicy", POLICY, "83-triggers.yaml", "merge")

    def report(self) -> None:
        """Let people send the new suppliers' invoices, and report what the base does not read."""
        sent: list[dict[str, Any]] = []

        def show(line: str) -> None:
            if not line.startswith("{"):
                self.tale.console.say(f"     {line}")
                return
            said = json.loads(line)
            sent.append(said)
            if "kept" in said:
                faults = [*(f"no {name}" for name in said["missing"]), *(f"wrong {name}" for name in said["wrong"])]
                self.tale.console.say(f"     {said['document']}: reported ({', '.join(faults)})")

        words = ("--host", self.tale.values["SERVICE_IP"], "--pages", "/data/verified")
        self.tale.cluster.kube.follow(*self._script("users.py"), *words, show=show)
        reports = [said["kept"] for said in sent if "kept" in said]
        self.facts["sent"], self.facts["reported"] = len(sent), len(reports)
        self.facts["reports kept"] = sum(kept["report"] and kept["page"] for kept in reports)

    def scanned(self, seconds: float = 240) -> None:
        """Wait until a scan has counted the captured pages of all reports that were kept with theirs."""

        def counted() -> bool:
            policy = self._policy()
            self._say("Scanned", policy)
            pages = ((policy["status"].get("scan") or {}).get("counted") or {}).get("pages") or {}
            strata = {name: pages.get(name, 0) for name in ("random", "uncertain", "reported")}
            self.facts["captured"] = strata
            return bool(sum(strata.values()) >= self.facts["reports kept"])

        self.tale.cluster.kube.wait("a scan that counts the captured pages", counted, seconds)

    def label(self) -> None:
        """Export the captured pages to Label Studio's tasks, have them labelled, and add them to the pool."""
        trainer = self.tale.trainer
        self._lines(trainer("production", "list", CAPTURED, "--limit", "3"))
        words = ("--to", EXPORTED, "--format", "label-studio", "--anchor", ANCHOR)
        self._lines(trainer("production", "export", CAPTURED, *words))
        classes = ",".join(self.tale.recipe["classes"])
        hands = ("--export", EXPORTED, "--truth", "/data/verified", "--classes", classes, "--out", RETURNED)
        labelled = json.loads(self.tale.cluster.kube.kubectl(*self._script("annotate.py"), *hands))
        self.facts["labelled"] = labelled
        overlap = f"what they drew has IoU {labelled['overlap']} with the truth"
        self.tale.console.say(
            f"     people labelled {labelled['tasks']} tasks, {labelled['skipped']} skipped; {overlap}"
        )
        back = ("--from", RETURNED, "--format", "label-studio", "--captured", EXPORTED, "--only-labelled")
        self._lines(trainer("pool", "add", POOL, *back, "--anchor", ANCHOR))
        self.facts["added at"] = time.monotonic()

    def fired(self, seconds: float = 300) -> str:
        """Wait until the policy has made a run, saying meanwhile what it waits for; return the run's name."""

        def run_of(policy: Object) -> str:
            entries = policy["status"].get("fired") or ()
            return str(entries[-1]["run"]) if entries and entries[-1].get("runUid") else ""

        def made() -> bool:
            policy = self._policy()
            self._say("Due", policy)
            return bool(run_of(policy))

        self.tale.cluster.kube.wait("a run that the policy makes", made, seconds)
        name = run_of(self._policy())
        run = self.tale.cluster.kube.get("finetunerun", name)
        if run is None:
            raise Failed(f"the policy remembers the run {name}, which is not there\n{self.tale.cluster.kube.state()}")
        self.facts["trigger"] = run["spec"].get("trigger") or {}
        self.facts["seconds to the run"] = time.monotonic() - self.facts["added at"]
        return name

    def live(self, run: str) -> None:
        """Follow the run until its version is live."""
        self.tale.follow_to_live(run)

    def _policy(self) -> Object:
        policy = self.tale.cluster.kube.get("finetunepolicy", POLICY)
        if policy is None:
            raise Failed(f"the policy {POLICY} is gone")
        return policy

    def _say(self, kind: str, policy: Object) -> None:
        """Show a condition of the policy where it says something new."""
        condition = next((c for c in policy["status"].get("conditions", ()) if c["type"] == kind), None)
        line = (
            f"{kind} {condition['status']} ({condition['reason']}): {condition.get('message', '')}" if condition else ""
        )
        if line and self._shown.get(kind) != line:
            self._shown[kind] = line
            self.tale.console.say(f"     {line}")

    def _patch(self, kind: str, name: str, manifest: str, how: str) -> None:
        self.tale.manifest(manifest)
        path = self.tale.settings.state / "manifests" / manifest
        words = ("patch", kind, name, f"--type={how}", "--patch-file", str(path))
        self._lines(self.tale.cluster.kube.kubectl(*words, show=True))

    def _script(self, name: str) -> tuple[str, ...]:
        """Return the words that run one of demo/pods in the workbench; beside each other they find measure.py."""
        return "exec", "workbench", "--", "env", f"PYTHONPATH={POD_SCRIPTS}", "python3", "-u", f"{POD_SCRIPTS}/{name}"

    def _lines(self, text: str) -> None:
        for line in text.splitlines():
            self.tale.console.say(f"     {line}")
