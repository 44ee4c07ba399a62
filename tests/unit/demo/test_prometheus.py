"""The demo's Prometheus: its rules are the chart's, by the values that it sets, and what it says is read rightly."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_demo.cluster import Cluster
from finetune_demo.console import Console
from finetune_demo.kube import Kube
from finetune_demo.prometheus import ENOUGH, LESS_SURE, QUICK, RATE_LOW, Prometheus, in_words, rules_in
from finetune_demo.render import Images
from finetune_demo.settings import ROOT, Settings
from finetune_demo.story import Story
from house.chart import CHART, helm_path

BASE = Images(operator="base", trainer="base", server="base", mounted=True)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The PrometheusRule with the demo's values, as Helm prints it."""
    values = tmp_path_factory.mktemp("values") / "values.json"
    values.write_text(json.dumps({"watchNamespaces": ["invoices"], "prometheusRule": QUICK}))
    words = (helm_path(), "template", "r", str(CHART), "--values", str(values))
    show = ("--show-only", "templates/prometheusrule.yaml")
    return subprocess.run((*words, *show), capture_output=True, text=True, check=True).stdout


def prometheus(tmp_path: Path, *series: dict[str, str]) -> Prometheus:
    """One that answers every question by these series."""
    answer = {"status": "success", "data": {"result": [{"metric": one, "value": [0, "1"]} for one in series]}}
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    kube = Kube(Console(), ("sh", "-c", f"cat {tmp_path / 'answer.json'}"), ())
    return Prometheus(Story(kube.console, Settings(ROOT, tmp_path, tmp_path, None), Cluster(kube, BASE), {}))


def test_the_file_of_rules_is_the_spec_of_the_rendered_rule(rendered: str) -> None:
    whole: dict[str, Any] = yaml.safe_load(rendered)
    assert yaml.safe_load(rules_in(rendered)) == whole["spec"]


def test_a_version_is_judged_by_the_window_and_the_least_count_of_the_rules(rendered: str) -> None:
    rules = [rule for group in yaml.safe_load(rules_in(rendered))["groups"] for rule in group["rules"]]
    recorded, least = ENOUGH.partition("(namespace")[2].partition(") >= ")[::2]
    (alert,) = (rule for rule in rules if rule.get("alert") == RATE_LOW)
    assert f"namespace{recorded}" in {rule.get("record") for rule in rules}
    assert f"namespace{recorded}" in alert["expr"]
    assert f">= {least}" in alert["expr"]


def test_alerts_that_fire_are_named_with_their_fields(tmp_path: Path) -> None:
    fires = ({"alertname": RATE_LOW, "field": "total"}, {"alertname": RATE_LOW, "field": "iban"})
    firing = prometheus(tmp_path, *fires, {"alertname": LESS_SURE}).firing()
    assert firing == {RATE_LOW: {"total", "iban"}, LESS_SURE: set()}
    assert in_words(firing) == f"{LESS_SURE}; {RATE_LOW} (iban, total)"
    assert in_words({}) == "no alert fires"


def test_it_is_fed_once_operator_and_servers_are_scraped(tmp_path: Path) -> None:
    operator, server = {"job": "finetune-operator"}, {"job": "finetune-server"}
    assert prometheus(tmp_path, operator, server, server).is_fed()
    assert not prometheus(tmp_path, operator).is_fed()
