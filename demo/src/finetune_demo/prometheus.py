"""A Prometheus in the local cluster, by the rules of the chart with windows from values; the operator asks it."""

import json
import textwrap
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from .environment import cluster_command
from .settings import RELEASE, SYSTEM
from .story import Story

MANIFEST: Final = "examples/manifests/local/prometheus.yaml"
PLACE: Final = "monitoring"
URL: Final = "http://10.214.0.71:9090"
SLOW: Final = {"deployment": "invoice-detector", "seconds": 10}
QUICK: Final[dict[str, Any]] = {
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

RATE_LOW: Final = "FinetuneFieldDetectionRateLow"
LESS_SURE: Final = "FinetuneConfidenceDropped"
"""Of what it finds on a layout that it does not know a model is less sure; also when it finds all of it, for its
line is what it was like on the test set, where these suppliers are not."""

ENOUGH: Final = "max by (version) (namespace_deployment_version_field:finetune_field_expected:increase2m) >= 50"
"""By the window above, and the chart's least count."""

Firing = dict[str, set[str]]
"""Names of alerts, each with the fields that it names, or with nothing."""


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

    def firing(self) -> Firing:
        """Return the alerts that fire now."""
        alerts: Firing = {}
        for one in self.asked('ALERTS{alertstate="firing"}'):
            alerts.setdefault(one["metric"]["alertname"], set()).update({one["metric"].get("field", "")} - {""})
        return alerts

    def judged(self) -> set[str]:
        """Return the versions of which enough documents are in the window, so that no alert is silent of too few."""
        return {one["metric"]["version"] for one in self.asked(ENOUGH)}

    def is_fed(self) -> bool:
        """Tell whether operator and servers are scraped."""
        up = {one["metric"]["job"] for one in self.asked("up == 1")}
        return up == {"finetune-operator", "finetune-server"}


def bring_in(tale: Story) -> Prometheus:
    """Run it with the chart's rules, and let the operator ask it."""
    kube, settings = tale.cluster.kube, tale.settings
    tale.console.stream(cluster_command(settings, "image", "prometheus"))
    mine = settings.state / "chart-values-prometheus.json"
    values = json.loads(_values(tale)) | {"prometheusRule": QUICK, "prometheus": {"url": URL}}
    mine.write_text(json.dumps(values))
    rendered = kube.helm("template", *_release(tale, str(mine)), "--show-only", "templates/prometheusrule.yaml")
    data = {"finetune.yaml": rules_in(rendered)}
    rules = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prometheus-rules"}, "data": data}
    for text in (_manifest(tale), json.dumps(rules)):
        kube.kubectl("-n", PLACE, "apply", "-f", "-", stdin=text)
    without_rules = ("--set", "prometheusRule.enabled=false")  # the cluster has no CRD of the Prometheus operator
    kube.helm("upgrade", *_release(tale, str(mine)), *without_rules, "--wait", "--timeout", "3m")
    kube.kubectl("-n", PLACE, "rollout", "status", "deployment/prometheus", "--timeout=180s")
    return Prometheus(tale)


def take_out(tale: Story) -> None:
    """Remove it; the operator is as it was before."""
    kube, words = tale.cluster.kube, ("--ignore-not-found", "--wait=true", "--timeout=120s")
    values = str(tale.settings.state / "chart-values.json")
    kube.helm("upgrade", *_release(tale, values), "--wait", "--timeout", "3m")
    kube.kubectl("-n", PLACE, "delete", "-f", "-", *words, stdin=_manifest(tale))


def rules_in(rendered: str) -> str:
    """Return the rules of a rendered PrometheusRule as a file that Prometheus reads: its `spec`, by indentation.

    This program has nothing but the standard library, which reads no YAML.
    """
    _, spec, rules = rendered.partition("\nspec:\n")
    assert spec, rendered[:400]
    return textwrap.dedent(rules)


def in_words(firing: Firing) -> str:
    """Return which alerts fire, and of which fields."""
    named = (f"{name} ({', '.join(sorted(of))})" if of else name for name, of in sorted(firing.items()))
    return "; ".join(named) or "no alert fires"


def _release(tale: Story, values: str) -> tuple[str, ...]:
    chart = str(tale.settings.root / "charts" / "finetune-operator")
    return RELEASE, chart, "--namespace", SYSTEM, "--values", values


def _values(tale: Story) -> str:
    """Return the values that the operator was installed with."""
    return (tale.settings.state / "chart-values.json").read_text()


def _manifest(tale: Story) -> str:
    return (tale.settings.root / MANIFEST).read_text()
