"""The chart's own rules in a real Prometheus, over hours of what pods would have shown: the alert, and the way back."""

import subprocess
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from finetune_operator.api.triggers import GOT_WORSE
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.signals import Alerts, VersionSeries
from house.rules import rules
from unit.decide.policy.flight import flight_of
from unit.decide.policy.test_by_series import HALF, looked

from .conftest import asked, binary, started, until

STEP: Final = 30
"""Seconds from scrape to scrape."""

FLIP: Final = 40 * 60
"""So many seconds ago."""

SETTINGS: Final = (
    "watchNamespaces={ml}",
    "prometheusRule.interval=1s",
    "prometheusRule.fieldDetectionRate.window=30m",
    "prometheusRule.fieldDetectionRate.for=0s",
    "prometheusRule.confidence.window=30m",
    "prometheusRule.confidence.for=0s",
    "prometheusRule.confidence.minimumCount=50",
)
"""The rules as they are shipped, with windows and times of values alone."""

SHARES: Final = {"base_v1": {"bankgiro": 0.97, "total": 1.0}, "ft_v1.1": {"bankgiro": 0.6, "total": 1.0}}
BASELINES: Final = {"finetune_baseline_confidence": 0.9, "finetune_baseline_inference_duration_seconds": 0.1}
BOUNDS: Final = (("0.1", 0.0), ("0.25", 1.0), ("+Inf", 1.0))


Told = tuple[str, dict[str, str], float]
"""Name, labels and value of one series."""


def page(version: str, pod: str, pages: float) -> Iterator[Told]:
    """Yield what a pod shows after so many pages, and one operator of its version."""
    of = {"namespace": "ml", "deployment": "detector", "model": "invoices", "version": version}
    here = {**of, "pod": pod}
    yield "finetune_model_info", {**here, "digest": "d"}, 1
    yield "finetune_documents_total", here, pages
    for name, share in SHARES[version].items():
        field = {**here, "field": name}
        yield "finetune_field_expected_total", field, pages
        yield "finetune_field_detected_total", field, pages * share
        yield "finetune_detection_confidence_count", field, pages * share
        yield "finetune_detection_confidence_sum", field, pages * share * 0.9
    stage = {**here, "stage": "inference"}
    for bound, share in BOUNDS:
        yield "finetune_inference_duration_seconds_bucket", {**stage, "le": bound}, pages * share
    yield "finetune_inference_duration_seconds_count", stage, pages
    if pod == "a":
        for name, value in BASELINES.items():
            yield name, of, value


def scraped(now: float) -> Iterator[str]:
    """Yield OpenMetrics of three hours: base_v1 until the flip, then ft_v1.1, with ten pages a minute by two pods."""
    families: dict[str, list[str]] = {}
    for version, begins, ends in (("base_v1", now - 3 * 3600, now - FLIP), ("ft_v1.1", now - FLIP, now + 60)):
        for pod, step in product("ab", range(int((ends - begins) / STEP))):
            for name, labels, value in page(version, pod, step * STEP / 60 * 5):
                text = ",".join(f'{key}="{item}"' for key, item in labels.items())
                families.setdefault(name, []).append(f"{name}{{{text}}} {value:.6f} {begins + step * STEP:.0f}")
    for name, lines in families.items():
        yield f"# TYPE {name} unknown"
        yield from lines
    yield "# EOF"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("shipped")
    promtool = Path(binary()).with_name("promtool")
    (folder / "pages.txt").write_text("\n".join([*scraped(time.time()), ""]))
    make = ("tsdb", "create-blocks-from", "openmetrics", folder / "pages.txt", folder / "data")
    subprocess.run([promtool, *make], check=True, capture_output=True)
    with started(folder, rules(*SETTINGS)) as url:
        yield url


def series(url: str) -> VersionSeries:
    return asked(url, lambda signals: signals.series("ml", "detector", "ft_v1.1", "base_v1"))


@pytest.mark.row("D191")
def test_what_the_rules_record_of_a_flip_takes_the_version_back(url: str) -> None:
    read = until(lambda: (said := series(url)).confidence and said.latency and said)
    assert isinstance(read, VersionSeries)
    bankgiro, total = read.fields
    assert (bankgiro.field, total.field) == ("bankgiro", "total")
    assert bankgiro.rate.share == pytest.approx(0.6, abs=0.01)
    # Half an hour's, of which each minute that a loaded machine takes to ask has none.
    assert bankgiro.rate.of == pytest.approx(300, abs=60)
    assert bankgiro.line == 0.9
    assert bankgiro.before is not None
    assert bankgiro.before.share == pytest.approx(0.97, abs=0.01)
    assert total.rate.share == pytest.approx(1.0)
    assert read.documents == pytest.approx(300, abs=60)
    assert read.confidence is not None
    assert read.confidence.rate.share == pytest.approx(0.9)
    assert read.confidence.rate.of == pytest.approx(300 * 1.6, rel=0.2)
    assert read.confidence.line == pytest.approx(0.855)
    assert read.latency is not None
    assert read.latency.line == pytest.approx(0.2)
    assert read.latency.value > 0.2
    assert read.latency.before == pytest.approx(read.latency.value), "it was as slow before"
    flight = flight_of(decide(looked(HALF, read)))
    assert (flight.phase, flight.why) == ("Returning", "WorseInProduction")
    assert "field 'bankgiro' found on 60 % of " in flight.message
    assert "(line 90 %, before 97 %)" in flight.message
    assert "pages within" not in flight.message


@pytest.mark.row("D200")
def test_the_trigger_hears_the_shipped_alert_of_that_field_and_no_other(url: str) -> None:
    def heard() -> Alerts | None:
        said = asked(url, lambda signals: signals.alerts("ml", "detector", GOT_WORSE))
        return said if said.firing else None

    said = until(heard)
    assert said is not None
    assert {(one.name, one.field, one.version) for one in said.firing} == {
        ("FinetuneFieldDetectionRateLow", "bankgiro", "ft_v1.1")
    }
    assert (said.scraped, said.ruled) == (True, True)
