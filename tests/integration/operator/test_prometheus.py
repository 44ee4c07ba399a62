"""The chart's rules in a real Prometheus, which scrapes operator and server: the alert that is due, no other."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from house.crds import ROOT
from house.rules import rules
from house.servers import serving
from local_cluster.ports import free_ports
from local_cluster.settings import settings_from
from local_cluster.tools import build

from .node import ScriptedNode
from .test_stories import base_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane

PAGE = ROOT / "tests" / "contract" / "fixtures" / "pages" / "tall.png"
"""A page on which the fixture's model finds red and blue, and no green."""
SETTINGS = (
    "clusterWide=true",
    "prometheusRule.interval=1s",
    "prometheusRule.fieldDetectionRate.window=30s",
    "prometheusRule.fieldDetectionRate.minimumCount=5",
    "prometheusRule.fieldDetectionRate.for=2s",
)


@contextmanager
def watching(folder: Path, operator: int, server: str, namespace: str) -> Iterator[str]:
    """Run Prometheus with the chart's rules, as monitors would have it scrape; yield its URL."""
    (prometheus,), (port,) = build(settings_from({}), ["prometheus"]), free_ports(1)
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules(*SETTINGS)))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": "operator", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{operator}"]}]},
            {
                "job_name": "server",
                "static_configs": [{"targets": [server], "labels": {"namespace": namespace, "pod": "a"}}],
            },
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    words = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("wb") as log:
        listen = f"--web.listen-address=127.0.0.1:{port}"
        process = subprocess.Popen([str(prometheus), *words, listen], stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def asked(prometheus: str, path: str, **query: str) -> Any:
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as said:
            return json.load(said)["data"]
    except OSError:
        return {}


def firing(prometheus: str) -> set[tuple[str, str, str]]:
    shown = asked(prometheus, "query", query='ALERTS{alertstate="firing"}').get("result", [])
    return {
        (one["metric"]["alertname"], one["metric"].get("namespace", ""), one["metric"].get("field", ""))
        for one in shown
    }


def scraped(prometheus: str) -> set[str]:
    return {one["metric"]["job"] for one in asked(prometheus, "query", query="up == 1").get("result", [])}


def test_a_field_that_is_not_found_any_more_fires_its_alert_and_no_rule_fails(
    operator: Operator, space: Space, node: ScriptedNode, tmp_path: Path
) -> None:
    base_live(space)
    where = {
        "FINETUNE_NAMESPACE": space.namespace,
        "FINETUNE_DEPLOYMENT": "invoice-detector",
        "FINETUNE_MODEL": "invoice-fields",
        "FINETUNE_EXPECTED_FIELDS": "red, green",
    }
    (tmp_path / "model").mkdir()
    with (
        serving(tmp_path / "model", "base_v1", **where) as server,
        watching(tmp_path, operator.metrics, server.removeprefix("http://"), space.namespace) as prometheus,
    ):
        request = urllib.request.Request(f"{server}/predict", PAGE.read_bytes(), {"Content-Type": "image/png"})

        due = ("FinetuneFieldDetectionRateLow", space.namespace, "green")

        def answer_until_it_alone_fires() -> bool:
            # A first scrape between the count of a page and that of its fields shows none of them found, for a while.
            with urllib.request.urlopen(request, timeout=20):
                pass
            return {one for one in firing(prometheus) if one[1] == space.namespace} == {due}

        eventually(answer_until_it_alone_fires, seconds=90, what="the alert fires, and no other")
        # One scrape of a busy machine may come too late.
        eventually(lambda: scraped(prometheus) == {"operator", "server"}, seconds=30, what="both are scraped")
        groups = asked(prometheus, "rules")["groups"]
        every = [rule for group in groups for rule in group["rules"]]
        assert len(every) > 20
        assert [(rule["name"], rule.get("lastError")) for rule in every if rule["health"] != "ok"] == []
