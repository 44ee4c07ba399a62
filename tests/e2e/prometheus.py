"""A Prometheus in the cluster that goes by the rules of the chart, with windows set by values; the operator asks it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import yaml

from finetune_demo.environment import cluster_command
from finetune_demo.settings import RELEASE, SYSTEM
from finetune_demo.story import Story

MANIFEST = "examples/manifests/local/prometheus.yaml"
PLACE = "monitoring"
URL = "http://10.214.0.71:9090"
SLOW = {"deployment": "invoice-detector", "seconds": 10}
QUICK = {
    "enabled": True,
    "interval": "5s",
    "fieldDetectionRate": {"window": "2m", "for": "10s"},
    "confidence": {"window": "2m", "for": "10s"},
    "userReports": {"for": "10s"},
    "inferenceDuration": {"window": "2m", "for": "30s", "baselines": [SLOW]},
    "servingMetrics": {"for": "1m"},
}
"""`prometheusRule` of the chart: minutes for hours. The rest is as it comes, but for the time of a page:
this machine trains beside it, so it is told what to expect, as other slow hardware would be."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The one that runs in the cluster."""

    tale: Story

    def asked(self, query: str) -> list[dict[str, Any]]:
        """Return the series that answer a query now."""
        path = f"/api/v1/namespaces/{PLACE}/services/prometheus:http/proxy/api/v1/query?query={quote(query)}"
        answer = json.loads(self.tale.cluster.kube.kubectl("get", "--raw", path))
        assert answer["status"] == "success", answer
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series

    def firing(self) -> dict[str, set[str]]:
        """Return the names of the alerts that fire, each with the fields it names, or with nothing."""
        alerts: dict[str, set[str]] = {}
        for one in self.asked('ALERTS{alertstate="firing"}'):
            alerts.setdefault(one["metric"]["alertname"], set()).update({one["metric"].get("field", "")} - {""})
        return alerts

    def is_fed(self) -> bool:
        """Tell whether operator and servers are scraped."""
        up = {one["metric"]["job"] for one in self.asked("up == 1")}
        return up == {"finetune-operator", "finetune-server"}


@contextmanager
def prometheus_in_cluster(tale: Story) -> Iterator[Prometheus]:
    """Run it, and let the operator ask it; afterwards the operator is as it was."""
    kube, settings = tale.cluster.kube, tale.settings
    tale.console.stream(cluster_command(settings, "image", "prometheus"))
    manifest = (settings.root / MANIFEST).read_text()
    chart = str(settings.root / "charts" / "finetune-operator")
    values = settings.state / "chart-values.json"
    mine = settings.state / "chart-values-prometheus.json"
    mine.write_text(json.dumps(json.loads(values.read_text()) | {"prometheusRule": QUICK, "prometheus": {"url": URL}}))
    there = (RELEASE, chart, "--namespace", SYSTEM, "--values")
    rendered = kube.helm("template", *there, str(mine), "--show-only", "templates/prometheusrule.yaml")
    data = {"finetune.yaml": yaml.safe_dump(yaml.safe_load(rendered)["spec"])}
    rules = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prometheus-rules"}, "data": data}
    for text in (manifest, json.dumps(rules)):
        kube.kubectl("-n", PLACE, "apply", "-f", "-", stdin=text)
    without_rules = ("--set", "prometheusRule.enabled=false")  # the cluster has no CRD of the Prometheus operator
    try:
        kube.helm("upgrade", *there, str(mine), *without_rules, "--wait", "--timeout", "3m")
        kube.kubectl("-n", PLACE, "rollout", "status", "deployment/prometheus", "--timeout=180s")
        yield Prometheus(tale)
    finally:
        kube.helm("upgrade", *there, str(values), "--wait", "--timeout", "3m")
        kube.kubectl(
            "-n", PLACE, "delete", "-f", "-", "--ignore-not-found", "--wait=true", "--timeout=120s", stdin=manifest
        )
