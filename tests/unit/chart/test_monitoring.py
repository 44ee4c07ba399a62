"""The chart's monitors and rules: off unless asked for, whose labels count, what can be left out and set."""

import re
from typing import Any

import pytest
import yaml

from house.chart import CHART, Refused, Render
from house.crds import ROOT
from house.rules import rules
from house.selectors import expressions

Manifest = dict[str, Any]

RUNBOOKS = ROOT / "docs" / "operate" / "runbooks"
ON = ("prometheusRule.enabled=true", "serviceMonitor.enabled=true", "podMonitor.enabled=true")
_DURATION = re.compile(r"\[(\d+)([smhd])\]")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def the(manifests: list[Manifest], kind: str) -> Manifest:
    (only,) = (manifest for manifest in manifests if manifest["kind"] == kind)
    return only


def alerts(*settings: str) -> dict[str, Manifest]:
    return {rule["alert"]: rule for group in rules(*settings)["groups"] for rule in group["rules"] if "alert" in rule}


def test_nothing_of_the_prometheus_operator_is_made_unless_asked_for(render: Render) -> None:
    kinds = {manifest["kind"] for manifest in render()}
    assert not kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


def test_values_that_are_reused_from_a_release_without_them_make_none_either(render: Render) -> None:
    manifests = render("serviceMonitor=null", "podMonitor=null", "prometheusRule=null")
    assert not {manifest["kind"] for manifest in manifests} & {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


def test_a_series_of_the_operator_keeps_its_namespace_and_a_server_never_names_another(render: Render) -> None:
    manifests = render(*ON)
    (operator,) = the(manifests, "ServiceMonitor")["spec"]["endpoints"]
    (servers,) = the(manifests, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (operator["honorLabels"], servers["honorLabels"]) == (True, False)


def test_monitors_find_the_charts_service_and_the_pods_that_carry_the_operators_keys(render: Render) -> None:
    manifests = render(*ON, "watchNamespaces={a,b}")
    monitor, service = the(manifests, "ServiceMonitor")["spec"], the(manifests, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["namespaceSelector"] == {"matchNames": ["ml"]}
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    pods = the(manifests, "PodMonitor")["spec"]
    assert pods["namespaceSelector"] == {"matchNames": ["a", "b"]}
    assert pods["podMetricsEndpoints"][0]["relabelings"][0] == {
        "action": "keep",
        "sourceLabels": ["__meta_kubernetes_pod_annotationpresent_finetune_operator_io_model_version"],
        "regex": "true",
    }
    assert the(render(*ON, "clusterWide=true"), "PodMonitor")["spec"]["namespaceSelector"] == {"any": True}


def test_each_lies_where_and_is_labelled_as_its_prometheus_wants(render: Render) -> None:
    for value, kind in (
        ("serviceMonitor", "ServiceMonitor"),
        ("podMonitor", "PodMonitor"),
        ("prometheusRule", "PrometheusRule"),
    ):
        made = the(render(*ON, f"{value}.namespace=watching", f"{value}.additionalLabels.release=kps"), kind)
        assert made["metadata"]["namespace"] == "watching"
        assert made["metadata"]["labels"]["release"] == "kps"


def test_a_monitor_without_the_service_that_it_scrapes_is_refused(render: Render) -> None:
    with pytest.raises(Refused, match=r"set metrics\.service\.enabled to true"):
        render("serviceMonitor.enabled=true", "metrics.service.enabled=false")


def test_every_alert_says_who_and_what_and_has_a_runbook_with_the_four_parts() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")}
    assert pages == alerts().keys()
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert "for" in rule
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/operate/runbooks/{name}.md"
        assert "%" not in " ".join(rule["annotations"].values())
        assert "$labels.namespace" in rule["annotations"]["summary"] + rule["annotations"]["description"]
        headings = re.findall(r"^## (.+)$", (RUNBOOKS / f"{name}.md").read_text(), re.MULTILINE)
        assert headings == ["Meaning", "Impact", "Diagnosis", "Mitigation"]


def test_runbooks_are_read_where_the_values_say() -> None:
    for base in ("https://docs.example/runbooks", "https://docs.example/runbooks/"):
        url = alerts(f"prometheusRule.runbookUrl={base}")["FinetuneRolledBack"]["annotations"]["runbook_url"]
        assert url == "https://docs.example/runbooks/FinetuneRolledBack.md"


def test_an_alert_can_be_left_out_and_one_that_is_not_there_is_refused_with_those_that_are(render: Render) -> None:
    assert alerts().keys() - alerts("prometheusRule.excludeRules={FinetuneRolledBack}").keys() == {"FinetuneRolledBack"}
    with pytest.raises(Refused, match=r'no alert "FinetuneLost"; choose from: FinetuneFieldDetectionRateLow, '):
        render("prometheusRule.enabled=true", "prometheusRule.excludeRules={FinetuneLost}")


def test_alerts_carry_the_labels_of_the_values_beside_their_severity() -> None:
    made = alerts("prometheusRule.alertLabels.team=invoices", "prometheusRule.alertLabels.severity=page")
    assert {rule["labels"]["team"] for rule in made.values()} == {"invoices"}
    assert {rule["labels"]["severity"] for rule in made.values()} == {"critical", "warning"}


SET = {
    "fieldDetectionRate.minimum=0.71": (["finetune_field_detected:threshold"], "0.71"),
    "fieldDetectionRate.window=7h": (["FinetuneFieldDetectionRateLow"], "ratio_rate7h"),
    "fieldDetectionRate.minimumCount=71": (["FinetuneFieldDetectionRateLow"], ">= 71"),
    "confidence.maximumDrop=0.071": (["FinetuneConfidenceDropped"], "> 0.071"),
    "confidence.window=8h": (["FinetuneConfidenceDropped"], "mean8h"),
    "confidence.minimumCount=72": (["FinetuneConfidenceDropped"], ">= 72"),
    "userReports.minimumCount=73": (["FinetuneUserReportedFailuresRising"], ">= 73"),
    "inferenceDuration.maximumRatio=7.2": (["FinetuneInferenceLatencyHigh"], "> 7.2"),
    "inferenceDuration.window=9h": (["FinetuneInferenceLatencyHigh"], "p95_9h"),
    "inferenceDuration.shortWindow=7m": (["FinetuneInferenceLatencyHigh"], "p95_7m"),
    "inferenceDuration.minimumCount=74": (["FinetuneInferenceLatencyHigh"], ">= 74"),
    "scan.maximumIntervals=7.1": (["FinetuneScanStale"], "> 7.1 *"),
    "review.maximumSeconds=75": (["FinetuneReviewWaiting"], "> 75"),
    "promotion.maximumSeconds=76": (["FinetunePromotionStuck"], "> 76 +"),
    "gateError.window=10h": (["FinetuneGateError"], "[10h]"),
}
FOR = {
    "fieldDetectionRate": "FinetuneFieldDetectionRateLow",
    "confidence": "FinetuneConfidenceDropped",
    "userReports": "FinetuneUserReportedFailuresRising",
    "inferenceDuration": "FinetuneInferenceLatencyHigh",
    "servingMetrics": "FinetuneServingMetricsAbsent",
    "scan": "FinetuneScanStale",
    "review": "FinetuneReviewWaiting",
    "promotion": "FinetunePromotionStuck",
    "rolledBack": "FinetuneRolledBack",
    "gateError": "FinetuneGateError",
    "operator": "FinetuneOperatorDown",
}
WAITS = {value: f"{minutes}m" for minutes, value in enumerate(FOR, start=71)}
CHANGED = tuple(
    f"prometheusRule.{setting}" for setting in (*SET, *(f"{part}.for={time}" for part, time in WAITS.items()))
)
"""Every value, each unlike all others: rendered once, and one in the place of another is seen."""


@pytest.mark.parametrize("setting", SET)
def test_each_threshold_window_and_count_is_a_value(setting: str) -> None:
    (name,), text = SET[setting]
    changed = dict(expressions(rules(*CHANGED)["groups"]))
    before = dict(expressions(rules()["groups"]))
    (full,) = (rule for rule in changed if rule.endswith(name))
    assert text in changed[full]
    assert text not in before[full]


@pytest.mark.parametrize("value", FOR)
def test_how_long_an_alert_waits_is_a_value(value: str) -> None:
    assert alerts(*CHANGED)[FOR[value]]["for"] == WAITS[value]
    assert alerts()[FOR[value]]["for"] != WAITS[value]


def test_every_value_of_the_rules_is_one_that_the_tests_set() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["prometheusRule"]
    leaves = {f"{part}.{key}" for part, inside in values.items() if isinstance(inside, dict) for key in inside}
    tried = {setting.partition("=")[0] for setting in SET} | {f"{part}.for" for part in FOR}
    assert leaves - tried == {"fieldDetectionRate.overrides", "inferenceDuration.baselines"}
    assert set(FOR.values()) == alerts().keys()


def test_the_watchs_rules_stay_whatever_the_windows_of_the_alerts_are() -> None:
    changed = ("prometheusRule.fieldDetectionRate.window=5m", "prometheusRule.confidence.window=5m")
    recorded = {name for name, _ in expressions(rules(*changed)["groups"])}
    kept = {name for name, _ in expressions(rules()["groups"]) if name.endswith(("30m", "p95_30m"))}
    assert kept
    assert kept <= recorded


def test_nothing_is_asked_for_that_prometheus_keeps_no_more_after_15_days() -> None:
    for name, expression in expressions(rules()["groups"]):
        assert "offset" not in expression, name
        for number, unit in _DURATION.findall(expression):
            assert int(number) * _SECONDS[unit] <= 86_400, name


REFUSED = {
    "prometheusRule.fieldDetectionRate.minimum=90": "minimum",
    "prometheusRule.fieldDetectionRate.minimum=90%": "minimum",
    "prometheusRule.fieldDetectionRate.window=6 hours": "window",
    "prometheusRule.fieldDetectionRate.overrides[0].minimum=0.5": "field",
    "prometheusRule.fieldDetectionRate.overrides[0].fields=iban": "fields",
    "prometheusRule.inferenceDuration.maximumRatio=0": "maximumRatio",
    "prometheusRule.inferenceDuration.baselines[0].seconds=1": "deployment",
    "prometheusRule.interval=10m": "interval",
    "prometheusRule.confidence.minimumcount=3": "minimumcount",
    "prometheusRule.review.maximumSeconds=-1": "maximumSeconds",
    "podMonitor.honorLabels=true": "honorLabels",
}


@pytest.mark.parametrize(("setting", "field"), REFUSED.items())
def test_a_value_that_makes_no_rule_is_refused_by_name(render: Render, setting: str, field: str) -> None:
    with pytest.raises(Refused, match=field):
        render(setting)


def test_two_releases_under_one_prometheus_have_groups_of_their_own() -> None:
    names = [group["name"] for group in rules()["groups"]]
    assert names == ["r-finetune-operator.ml.serving", "r-finetune-operator.ml.operator"]
