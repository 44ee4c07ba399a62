"""The questions of the trigger and of the watch, as a real Prometheus answers them."""

import pytest

from finetune_operator.api.triggers import GOT_WORSE
from finetune_operator.decide.policy.by_series import FIELD_LINE
from finetune_operator.decide.signals import Alert, Alerts, Held, Rate, VersionSeries

from .conftest import RealPrometheus, asked, until


def labels(namespace: str = "ml", version: str = "ft_v1.1", **more: str) -> str:
    named = {"namespace": namespace, "deployment": "detector", "model": "invoices", "version": version, **more}
    return "{" + ",".join(f'{name}="{value}"' for name, value in named.items()) + "}"


def alerts(real: RealPrometheus, namespace: str = "ml", names: tuple[str, ...] = GOT_WORSE) -> Alerts:
    answer = asked(real.url, lambda signals: signals.alerts(namespace, "detector", names))
    assert isinstance(answer, Alerts)
    return answer


@pytest.mark.row("D200")
def test_the_trigger_hears_what_fires_for_its_deployment_and_nothing_else(prometheus: RealPrometheus) -> None:
    """What is pending, what was not asked for, and what fires for a neighbour is not heard."""
    assert alerts(prometheus) == Alerts((), scraped=False, ruled=False)
    prometheus.exporter.lines = [
        f"told_ratio{labels(field='bankgiro')} 0.5",
        f"told_ratio{labels(field='amount')} 0.99",
        f"told_ratio{labels('others', field='ocr')} 0.1",
        f"told_documents{labels()} 60",
        f"finetune_model_info{labels(digest='abc')} 1",
    ]
    heard = until(lambda: (said := alerts(prometheus)).firing and said)
    assert [(one.name, one.field, one.version) for one in heard.firing] == [
        ("FinetuneFieldDetectionRateLow", "bankgiro", "ft_v1.1")
    ]
    assert (heard.scraped, heard.ruled) == (True, True)
    later = until(lambda: (said := alerts(prometheus)).firing and said.firing[0].seconds > 2 and said)
    assert later.firing[0].seconds < 60
    # One scrape of a busy machine may come too late, and nothing fires for a moment.
    neighbours = until(lambda: (said := alerts(prometheus, "others")).firing and said)
    assert [one.field for one in neighbours.firing] == ["ocr"]
    assert not neighbours.scraped
    assert alerts(prometheus, "nobody") == Alerts((), scraped=False, ruled=False)
    prometheus.exporter.lines[0] = f"told_ratio{labels(field='bankgiro')} 0.95"
    until(lambda: not alerts(prometheus).firing)


@pytest.mark.row("D200")
def test_an_alert_of_which_nothing_says_since_when_is_heard_all_the_same(prometheus: RealPrometheus) -> None:
    """What stands behind a proxy or was written from elsewhere may have lost ALERTS_FOR_STATE."""
    fires = labels(alertname="FinetuneConfidenceDropped", alertstate="firing")
    prometheus.exporter.lines = [f"ALERTS{fires} 1"]
    heard = until(lambda: alerts(prometheus).firing)
    assert heard == (Alert("FinetuneConfidenceDropped", "", "ft_v1.1", 0),)


@pytest.mark.row("D191")
def test_the_watch_reads_a_versions_series_beside_those_before(prometheus: RealPrometheus) -> None:
    prometheus.exporter.lines = [
        f"told_ratio{labels(field='bankgiro')} 0.5",
        f"told_expected{labels(field='bankgiro')} 120",
        f"told_ratio{labels(version='base_v1', field='bankgiro')} 0.97",
        f"told_documents{labels()} 130",
        f"told_documents{labels('others')} 999",
    ]
    prometheus.exporter.counters = {
        f"finetune_field_detected_total{labels(version='base_v1', field='bankgiro')}": 9,
        f"finetune_field_expected_total{labels(version='base_v1', field='bankgiro')}": 10,
    }

    def read() -> VersionSeries | None:
        series = asked(prometheus.url, lambda signals: signals.series("ml", "detector", "ft_v1.1", "base_v1"))
        assert isinstance(series, VersionSeries)
        return series if series.documents and series.fields and series.fields[0].before else None

    series: VersionSeries = until(read)
    (field,) = series.fields
    assert (series.documents, field.rate, field.line) == (130, Rate(0.5, 120), FIELD_LINE)
    assert field.before is not None
    assert field.before.share == pytest.approx(0.9)
    assert field == Held(Rate(0.5, 120), FIELD_LINE, "bankgiro", field.before)
    nothing = asked(prometheus.url, lambda signals: signals.series("ml", "detector", "ft_v9.9", "base_v1"))
    assert nothing == VersionSeries()
