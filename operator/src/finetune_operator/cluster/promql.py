"""The questions that a Prometheus is asked: each names namespace and Deployment, and no caller can leave them out."""

import re
from collections.abc import Iterable
from typing import Final

RATIO: Final = "namespace_deployment_version_field:finetune_field_detected:ratio_rate30m"
EXPECTED: Final = "namespace_deployment_version_field:finetune_field_expected:increase30m"
FIELD_LINE: Final = "namespace_deployment_version_field:finetune_field_detected:threshold"
DOCUMENTS: Final = "namespace_deployment_version:finetune_documents:increase30m"
DETECTIONS: Final = "namespace_deployment_version:finetune_detection_confidence_count:increase30m"
CONFIDENCE: Final = "namespace_deployment_version:finetune_detection_confidence:mean30m"
CONFIDENCE_LINE: Final = "namespace_deployment_version:finetune_detection_confidence:threshold"
LATENCY: Final = "namespace_deployment_version:finetune_inference_duration_seconds:p95_30m"
LATENCY_LINE: Final = "namespace_deployment_version:finetune_inference_duration_seconds:threshold"
"""Series that the chart's rules record, and that its alerts stand on."""

SCRAPED: Final = "finetune_model_info"
"""A series that every server has as long as a model is loaded."""

OF_A_VERSION: Final = (
    RATIO, EXPECTED, FIELD_LINE, DOCUMENTS, DETECTIONS, CONFIDENCE, CONFIDENCE_LINE, LATENCY, LATENCY_LINE
)  # fmt: skip

FOUND: Final = "found"
SHOULD: Final = "should"
SURE: Final = "sure"
BOXES: Final = "boxes"
SLOW: Final = "slow"
"""What tells the parts of `before` apart, under the label `of`."""

LONGEST_WATCH: Final = "2d"
"""How far `before` looks back: a watch lasts a day at most, and what was before it has to be in there."""


def firing(namespace: str, deployment: str, names: Iterable[str]) -> str:
    """Return what asks for the alerts of those names that fire for a Deployment: seconds since they became active.

    It is what the rules' evaluation itself leaves behind, so no trigger can disagree with its alert. Where nothing
    says since when, it is 0. Two more series tell whether the servers are scraped, and whether rules record.
    """
    place = _place(namespace, deployment)
    alerts = f"alertname=~{_any_of(names)},{place}"
    fires = f'ALERTS{{{alerts},alertstate="firing"}}'
    return (
        f"((time() - ALERTS_FOR_STATE{{{alerts}}}) and ignoring (alertstate) {fires})"
        f" or ignoring (alertstate) (0 * {fires})"
        f" or count by (__name__, namespace, deployment) ({{__name__=~{_any_of((SCRAPED, DOCUMENTS))},{place}}})"
    )


def of_version(namespace: str, deployment: str, version: str) -> str:
    """Return what asks for all that is recorded of a version on a Deployment."""
    return f"{{__name__=~{_any_of(OF_A_VERSION)},{_place(namespace, deployment)},version={_quoted(version)}}}"


def before(namespace: str, deployment: str, version: str) -> str:
    """Return what asks how a version did while it served here last: by the same figures, over two days."""
    where = f"{_place(namespace, deployment)},version={_quoted(version)}"
    durations = f'finetune_inference_duration_seconds_bucket{{{where},stage="inference"}}'
    parts = {
        FOUND: _grown("finetune_field_detected", "total", where, "field"),
        SHOULD: _grown("finetune_field_expected", "total", where, "field"),
        SURE: _grown("finetune_detection_confidence", "sum", where),
        BOXES: _grown("finetune_detection_confidence", "count", where),
        SLOW: f"histogram_quantile(0.95, sum by ({_OF}, le) (rate({durations}[{LONGEST_WATCH}])))",
    }
    return " or ".join(f'label_replace({part}, "of", "{of}", "", "")' for of, part in parts.items())


_OF: Final = "namespace, deployment, version"


def _grown(name: str, part: str, where: str, *by: str) -> str:
    return f"sum by ({', '.join((_OF, *by))}) (increase({name}_{part}{{{where}}}[{LONGEST_WATCH}]))"


def _place(namespace: str, deployment: str) -> str:
    return f"namespace={_quoted(namespace)},deployment={_quoted(deployment)}"


def _any_of(names: Iterable[str]) -> str:
    return _quoted("|".join(re.escape(name) for name in names))


def _quoted(text: str) -> str:
    """Return the text as a string of PromQL: whatever it holds, it stays one."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
