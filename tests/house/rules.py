"""Cases of the chart's alerts, as promtool runs them: which series are there, and which alerts then fire."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from house.chart import helm_path, render_chart
from house.crds import ROOT

MINUTES: Final = 720
"""How long series are by default; one sample a minute."""

Labels = Mapping[str, str]
Series = tuple[str, tuple[tuple[str, str], ...]]
"""Name and sorted labels."""


def series(name: str, **labels: str) -> Series:
    """Return a series of the detector in `ml`, unless the labels say something else; an empty label is left out."""
    every = {"namespace": "ml", "deployment": "detector"} | labels
    return name, tuple(sorted((key, value) for key, value in every.items() if value))


def flat(value: float, minutes: int = MINUTES) -> str:
    """Return the samples of a series that stays as it is."""
    return f"{value}x{minutes}"


def steps(*segments: tuple[int, float | None], start: float = 0) -> str:
    """Return the samples of a counter: for so many minutes, so much a minute; None: not scraped, and it goes on after.

    A counter that is reset is two of them, joined.
    """
    parts, value = [], start
    for minutes, rate in segments:
        if rate is None:
            parts.append(f"_x{minutes}")
            continue
        parts.append(f"{value}+{rate}x{minutes - 1}")
        value = round(value + rate * minutes, 6)
    return " ".join(parts)


def steady(rate: float) -> str:
    """Return the samples of a counter that grows by `rate` a minute."""
    return steps((MINUTES, rate))


@dataclass(frozen=True, slots=True)
class Scene:
    """What is scraped beside (or, None, instead of) what HEALTHY has, and exactly the alerts that fire at moments.

    `name` says what is held; `settings` are values of the chart.
    """

    name: str
    scraped: Mapping[Series, str | None]
    firing: Mapping[str, Iterable[Labels]]
    settings: tuple[str, ...] = ()
    healthy: bool = True


def alert(name: str, severity: str = "warning", **labels: str) -> Labels:
    """Return the labels of a firing alert of the detector in `ml`; an empty label is left out."""
    every = {"namespace": "ml", "deployment": "detector", "severity": severity, "alertname": name} | labels
    return {key: value for key, value in every.items() if value}


VERSION: Final = {"model": "invoices", "version": "ft_v1.2"}
FIELDS: Final = ("iban", "total")
BOUNDS: Final = ("0.047", "0.068", "0.1", "0.15", "0.22", "0.33", "+Inf")


def served(
    version: str = "ft_v1.2",
    *,
    pods: Iterable[str] = ("a", "b"),
    pages: str | None = None,
    detected: Mapping[str, str] | None = None,
    sure: Mapping[str, str] | None = None,
    slow: Mapping[str, str] | None = None,
    loaded: str | None = None,
    **where: str,
) -> dict[Series, str | None]:
    """Return what the pods of a version say.

    By default each answers 2 pages a minute with both fields on all of them, at a confidence of 0.9, in 0.068 to 0.1
    seconds. `pages` are the samples of every counter of pages; `detected` and `sure` those of single fields' detections
    and sums of confidence; `slow` those of single bounds of the durations.
    """
    answered = pages or steady(2)
    scraped: dict[Series, str | None] = {}
    for pod in pods:
        labels = {**VERSION, "version": version, "pod": pod, **where}
        scraped[series("finetune_model_info", **labels, digest="d")] = loaded or flat(1)
        scraped[series("finetune_documents_total", **labels)] = answered
        for one in FIELDS:
            of = {**labels, "field": one}
            scraped[series("finetune_field_expected_total", **of)] = answered
            scraped[series("finetune_field_detected_total", **of)] = (detected or {}).get(one, answered)
            scraped[series("finetune_detection_confidence_count", **of)] = answered
            scraped[series("finetune_detection_confidence_sum", **of)] = (sure or {}).get(one) or steady(1.8)
        for bound in BOUNDS:
            default = answered if bound == "+Inf" or float(bound) >= 0.1 else steady(0)
            of = {**labels, "stage": "inference", "le": bound}
            scraped[series("finetune_inference_duration_seconds_bucket", **of)] = (slow or {}).get(bound, default)
        scraped[series("finetune_inference_duration_seconds_count", **labels, stage="inference")] = answered
    return scraped


def live(version: str = "ft_v1.2", samples: str | None = None, **where: str) -> dict[Series, str | None]:
    """Return what the operator says of a live version: on the test set at a confidence of 0.9, and at 0.1 seconds."""
    labels, there = {**VERSION, "version": version, **where}, samples or flat(1)
    scaled = {0.9: there.replace("1x", "0.9x"), 0.1: there.replace("1x", "0.1x")}
    return {
        series("finetune_live_info", **labels): there,
        series("finetune_baseline_confidence", **labels, source="test"): scaled[0.9],
        series("finetune_baseline_inference_duration_seconds", **labels): scaled[0.1],
    }


def weekly(*documents: int | None) -> dict[Series, str | None]:
    """Return the reported documents of the last weeks, the newest first."""
    return {
        series("finetune_feedback_weekly", weeks_ago=str(ago)): None if count is None else flat(count)
        for ago, count in enumerate(documents, start=1)
    }


OPERATOR: Final[Mapping[Series, str | None]] = {
    **weekly(3, 3, 3, 3),
    series("finetune_policy_info", model="invoices"): flat(1),
    series("finetune_policy_held", reason="RolledBack"): flat(0),
    series("finetune_policy_held", reason="External"): flat(0),
    series("finetune_scan_interval_seconds"): flat(900),
    series("finetune_scanned_since_timestamp_seconds"): steps((MINUTES, 60)),
    series("finetune_watch_seconds"): flat(300),
    series("finetune_policy_suspended"): flat(0),
    series("finetune_verdicts_total", deployment="", model="invoices", verdict="Error"): flat(0),
    series("finetune_verdicts_total", deployment="", model="invoices", verdict="Pass"): steps((MINUTES, 1)),
    series("finetune_namespace_watched", deployment=""): flat(1),
}
"""What an operator says of a policy that nothing is wrong with."""

HEALTHY: Final[Mapping[Series, str | None]] = {**served(), **live(), **OPERATOR}
"""All that is scraped where nothing is wrong."""


@cache
def promtool_path() -> str:
    """Return the path of promtool, built on first use."""
    command = [str(ROOT / "local-cluster" / "cluster"), "tools", "build", "promtool"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]


@cache
def rules(*settings: str) -> dict[str, Any]:
    """Return the groups of rules as the chart renders them, with alerts on."""
    manifests = render_chart(helm_path(), "prometheusRule.enabled=true", *settings)
    (rule,) = (manifest for manifest in manifests if manifest["kind"] == "PrometheusRule")
    spec: dict[str, Any] = rule["spec"]
    return spec


def run_cases(cases: Iterable[Scene], folder: Path) -> str:
    """Run cases with promtool; return what it says against them, nothing where all hold."""
    by_settings: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for case in cases:
        by_settings.setdefault(case.settings, []).append(_test(case))
    return "\n".join(filter(None, (_run(settings, tests, folder) for settings, tests in by_settings.items())))


def run_text(case: Scene, moment: str, labels: Labels, annotations: Mapping[str, str], folder: Path) -> str:
    """Return what promtool says against an alert's whole text at a moment: the annotations as people read them."""
    expected = {
        "exp_labels": {key: value for key, value in labels.items() if key != "alertname"},
        "exp_annotations": dict(annotations),
    }
    asked = {"alertname": labels["alertname"], "eval_time": moment, "exp_alerts": [expected]}
    return _run(case.settings, [{**_test(case), "alert_rule_test": [asked]}], folder)


def run_query(case: Scene, moment: str, query: str, folder: Path) -> str:
    """Return what promtool says where a query has an answer at a moment; nothing where it has none."""
    asked = {"expr": query, "eval_time": moment, "exp_samples": []}
    return _run(case.settings, [{**_test(case), "promql_expr_test": [asked]}], folder)


def _run(settings: tuple[str, ...], tests: list[dict[str, Any]], folder: Path) -> str:
    """Run promtool's tests on the rules of these settings; return what it says where one fails."""
    (folder / "rules.yaml").write_text(yaml.dump(rules(*settings), Dumper=yaml.CSafeDumper, width=1000))
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yaml").write_text(yaml.dump(whole, Dumper=yaml.CSafeDumper, width=1000))
    command = [promtool_path(), "test", "rules", str(folder / "tests.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _test(case: Scene) -> dict[str, Any]:
    scraped = {**(HEALTHY if case.healthy else {}), **case.scraped}
    return {
        "name": case.name,
        "interval": "1m",
        "input_series": [
            {"series": _text(*_scraped(key)), "values": values} for key, values in scraped.items() if values is not None
        ],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}',
                "eval_time": moment,
                "exp_samples": [
                    {"labels": _text("ALERTS", tuple({**labels, "alertstate": "firing"}.items())), "value": 1}
                    for labels in firing
                ],
            }
            for moment, firing in case.firing.items()
        ],
    }


def _scraped(key: Series) -> Series:
    """Return a series with what Prometheus adds to it: whatever is scraped is of some pod."""
    name, labels = key
    return key if "pod" in dict(labels) else (name, (*labels, ("pod", "operator")))


def _text(name: str, labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in labels)
    return f"{name}{{{inside}}}"
