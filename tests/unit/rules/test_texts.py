"""What people read when an alert fires: names from its labels, numbers as people say them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from house.rules import Labels, Scene, Series, alert, flat, run_text, series, served, steady, weekly

OF = {"model": "invoices", "version": "ft_v1.2"}
BOTH_UNSURE = dict.fromkeys(("iban", "total"), steady(1.62))
TEXTS: dict[str, tuple[Mapping[Series, str | None], str, Labels, str, str]] = {
    "a share": (
        served(detected={"iban": steady(1.7)}),
        "2h",
        alert("FinetuneFieldDetectionRateLow", "critical", field="iban", **OF),
        "Field iban is found too rarely by ft_v1.2 on ml/detector",
        "ft_v1.2 of invoices found field iban on 85% of the pages or documents that should carry it, over 6h.",
    ),
    "a drop": (
        served(sure=BOTH_UNSURE),
        "3h",
        alert("FinetuneConfidenceDropped", **OF),
        "ft_v1.2 on ml/detector is less sure than when it was measured",
        "The mean confidence of ft_v1.2 of invoices is 10% below what it was when it was measured, over 6h.",
    ),
    "a count": (
        weekly(9, 7, 6, 4),
        "1h",
        alert("FinetuneUserReportedFailuresRising"),
        "More documents of ml/detector are reported as read wrongly every week",
        "9 documents were reported last week; the number rose three weeks in a row.",
    ),
    "a time": (
        {series("finetune_review_since_timestamp_seconds"): flat(-172_800)},
        "1h",
        alert("FinetuneReviewWaiting"),
        "A run of ml/detector waits for a person's decision",
        "Its review has waited for 2d 1h 0m 0s; when its time is over it expires, and nothing is promoted.",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_an_alert_says_what_and_where_and_how_much(name: str, tmp_path: Path) -> None:
    scraped, moment, labels, summary, description = TEXTS[name]
    runbook = f"docs/operate/runbooks/{labels['alertname']}.md"
    annotations = {"summary": summary, "description": description, "runbook_url": runbook}
    scene = Scene(name, scraped, {moment: [labels]})
    assert run_text(scene, moment, labels, annotations, tmp_path) == ""
