"""The loop in steps: an alert fires, people report, pages are labelled, and the policy starts the run by itself."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from .console import Failed
from .kube import Object
from .prometheus import RATE_LOW, Firing, Prometheus, bring_in, in_words
from .story import POD_SCRIPTS, TUNED, Story

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
    prometheus: Prometheus | None = None
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

    def listen(self) -> None:
        """Bring in a Prometheus with the chart's alerts, and let the policy go by them instead of by the volume."""
        self.prometheus, self.facts["alerts"] = bring_in(self.tale), {}
        self.go_by_alerts()
        self.tale.cluster.kube.wait("operator and servers are scraped", self.prometheus.is_fed, 120)
        self.tale.console.say(f"     {in_words(self.prometheus.firing())}")

    def go_by_alerts(self) -> None:
        """Give the command by which an alert makes the policy's runs."""
        self._patch("finetunepolicy", POLICY, "84-alerts.yaml", "merge")

    def alerted(self, seconds: float = 120) -> None:
        """Wait until the alert on fields fires for what people sent; say meanwhile which do."""

        def fires() -> bool:
            self._say_alerts()
            return RATE_LOW in self.facts["alerts"]

        self.tale.cluster.kube.wait(f"the alert {RATE_LOW}", fires, seconds)

    def quiet(self, seconds: float = 300) -> None:
        """Wait until that alert is over, of a version that answers the same suppliers; say meanwhile which fire.

        A version that went has its last documents in the window for as long as that is.
        """
        begun = time.monotonic()

        def over() -> bool:
            assert self.prometheus is not None
            return RATE_LOW not in self._say_alerts() and TUNED in self.prometheus.judged()

        self.tale.cluster.kube.wait(f"the end of the alert {RATE_LOW}", over, seconds)
        self.facts["seconds to quiet"] = time.monotonic() - begun

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
            self._say("Due", policy)
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

    def fired(self, seconds: float = 420) -> str:
        """Wait until the policy has made a run, saying meanwhile what it waits for; return the run's name."""

        def run_of(policy: Object) -> str:
            entries = policy["status"].get("fired") or ()
            return str(entries[-1]["run"]) if entries and entries[-1].get("runUid") else ""

        def made() -> bool:
            policy = self._policy()
            self._say("Due", policy)
            self._say_alerts()
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
        self._once(kind, line)

    def _say_alerts(self) -> Firing:
        """Show the alerts that fire where they are others than before, and return them; facts keep all that did."""
        if self.prometheus is None:
            return {}
        firing = self.prometheus.firing()
        for name, fields in firing.items():
            self.facts["alerts"].setdefault(name, set()).update(fields)
        self._once("alerts", f"firing: {in_words(firing)}")
        return firing

    def _once(self, of: str, line: str) -> None:
        """Show a line where it says something new of that."""
        if line and self._shown.get(of) != line:
            self._shown[of] = line
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
