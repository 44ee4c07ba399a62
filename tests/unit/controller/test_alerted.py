"""What alerts hold production against, and what waits for people, as the operator shows it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.store import Store
from finetune_operator.controller.metrics import Metrics
from finetune_operator.controller.state_metrics import State
from house.samples import changed, sample
from unit.controller.test_state_metrics import LIVE, SECONDS, T0, T1, Queue, policy, put, series

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
"""T0."""
WHERE = "deployment=detector,namespace=ml"
TEST = "deployment=detector,model=invoices,namespace=ml,source=test,version=ft_v1.2"
OF = "deployment=detector,model=invoices,namespace=ml,version=ft_v1.2"


def scraped(store: Store, now: datetime = AT) -> dict[str, float]:
    metrics = Metrics()
    metrics.show(State(store, Queue(), lambda: now))
    return series(metrics.text().decode())


def record(store: Store, *, sha256: str = "a" * 64, made_by: str = "invoices", **status: Any) -> None:
    whole = changed(sample("ModelVersion of a fine-tune"), ("spec", "artifact", "sha256"), sha256)
    whole = changed(whole, ("spec", "lineage", "policy"), made_by)
    put(store, Kind.MODEL_VERSION, "m", {"spec": whole["spec"], "status": status})


def counted(*weeks: tuple[str, int], pages: bool = True) -> dict[str, Any]:
    return {
        "counted": {
            "at": T0, "basis": {"document": "a" * 64}, "listing": "b" * 64, "pool": 84, "heldOut": 10, "withdrawn": 1,
            "outside": 74, "new": 34, "corrected": 2, "byImage": 0,
            "pages": {"random": 5, "uncertain": 3, "reported": 1} if pages else None,
            "reports": [{"week": week, "documents": documents} for week, documents in weeks],
        }
    }  # fmt: skip


def of_weeks(seen: dict[str, float]) -> list[float]:
    names = (f"finetune_feedback_weekly{{{WHERE},weeks_ago={ago}}}" for ago in range(1, 6))
    return [seen[name] for name in names if name in seen]


def test_the_live_version_is_held_against_what_was_measured_of_it() -> None:
    store = Store()
    policy(store, {"live": LIVE})
    record(store, meanConfidence="0.912345", inferenceSeconds="0.021400")
    seen = scraped(store)
    assert seen[f"finetune_baseline_confidence{{{TEST}}}"] == 0.912345
    assert seen[f"finetune_baseline_inference_duration_seconds{{{OF}}}"] == 0.0214


@pytest.mark.parametrize("version", ["ft_v1.3", "ft_v1.2"])
def test_what_flies_is_held_against_what_was_measured_of_it_too(version: str) -> None:
    """A watch by series goes by it; a promotion of what is live already makes no series twice."""
    store, to = Store(), {key: LIVE[key] for key in ("modelVersion", "uri", "sha256")} | {"version": version}
    flight = {
        "promotion": "p", "promotionUid": "u", "specHash": "h", "phase": "Watching", "epoch": 4, "deploymentUid": "d",
        "to": to, "templateHash": "t", "startedAt": T0, "phaseSince": T0, "deadline": T0,
    }  # fmt: skip
    policy(store, {"live": LIVE, "inFlight": flight})
    record(store, meanConfidence="0.912345", inferenceSeconds="0.021400")
    text = [name for name in scraped(store) if name.startswith("finetune_baseline_confidence")]
    assert [name.rpartition("version=")[2] for name in text] == sorted({"ft_v1.2}", f"{version}}}"})


@pytest.mark.parametrize(
    ("sha256", "status"),
    [
        ("a" * 64, {}),
        ("b" * 64, {"meanConfidence": "0.9", "inferenceSeconds": "0.02"}),
        ("a" * 64, {"meanConfidence": "NaN", "inferenceSeconds": "soon"}),
    ],
    ids=["measured by the last release", "the name is that of other bytes", "no numbers"],
)
def test_without_a_figure_of_those_bytes_there_is_no_baseline(sha256: str, status: dict[str, str]) -> None:
    store = Store()
    policy(store, {"live": LIVE})
    record(store, sha256=sha256, **status)
    assert not [name for name in scraped(store) if name.startswith("finetune_baseline")]


def saw(documents: int, confidence: str | None = "0.85") -> dict[str, Any]:
    fields = [{"field": "total", "documents": documents // 2}, {"field": "iban", "documents": documents}]
    return {"documents": documents, "meanConfidence": confidence, "fields": fields}


def baselines(**status: Any) -> dict[str, float]:
    """What is shown of a live version that was as sure as 0.9 on the test set; by what tells the series apart."""
    store = Store()
    policy(store, {"live": LIVE})
    record(store, meanConfidence="0.9", **status)
    metrics = Metrics()
    metrics.show(State(store, Queue(), lambda: AT))
    shown = {"finetune_baseline_confidence": "source", "finetune_baseline_field_detection_ratio": "field"}
    return {
        one.labels[shown[one.name]]: one.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for one in family.samples
        if one.name in shown
    }


@pytest.mark.row("D197")
def test_from_fifty_documents_of_production_on_they_are_the_baseline_and_the_test_set_is_not() -> None:
    assert baselines(production=saw(50)) == {"production": 0.85, "total": 0.5, "iban": 1.0}
    assert baselines(production=saw(49)) == {"test": 0.9}
    assert baselines() == {"test": 0.9}


@pytest.mark.row("D197")
@pytest.mark.parametrize("confidence", [None, "NaN", "soon"])
def test_where_nothing_was_found_in_production_the_test_set_is_the_baseline(confidence: str | None) -> None:
    assert baselines(production=saw(80, confidence)) == {"test": 0.9, "total": 0.5, "iban": 1.0}


@pytest.mark.row("D197")
def test_documents_of_another_deployment_are_no_baseline_of_this_one() -> None:
    """Two policies of one model serve the same bytes: its own documents may be harder than the other's, or easier."""
    assert baselines(production=saw(80), made_by="receipts") == {"test": 0.9}


@pytest.mark.row("D197")
def test_a_record_that_says_of_no_policy_where_its_documents_came_from_has_none() -> None:
    store = Store()
    policy(store, {"live": LIVE})
    whole = changed(sample("ModelVersion of a fine-tune"), ("spec", "lineage"), None)
    put(
        store,
        Kind.MODEL_VERSION,
        "m",
        {"spec": whole["spec"], "status": {"production": saw(80), "meanConfidence": "1"}},
    )
    assert scraped(store)[f"finetune_baseline_confidence{{{TEST}}}"] == 1


def test_a_live_version_whose_record_is_gone_has_no_baseline() -> None:
    store = Store()
    policy(store, {"live": LIVE})
    assert not [name for name in scraped(store) if name.startswith("finetune_baseline")]


def test_the_weeks_are_the_scans_newest_first_and_those_before_the_first_report_are_0() -> None:
    store = Store()
    policy(store, {"scan": counted(("2026-W45", 2), ("2026-W46", 7))})
    assert of_weeks(scraped(store)) == [7, 2, 0, 0]
    many = tuple((f"2026-W{week}", week) for week in range(39, 47))
    policy(store, {"scan": counted(*many)}, version=2)
    assert of_weeks(scraped(store)) == [46, 45, 44, 43]


def test_weeks_without_any_report_are_0_from_the_first_scan() -> None:
    store = Store()
    policy(store, {"scan": counted()})
    assert of_weeks(scraped(store)) == [0, 0, 0, 0]


def test_nothing_is_said_of_weeks_by_counts_older_than_one_or_where_nothing_is_captured() -> None:
    store = Store()
    policy(store, {"scan": counted(("2026-W46", 7))})
    assert of_weeks(scraped(store, AT + timedelta(days=7)))
    assert not of_weeks(scraped(store, AT + timedelta(days=7, seconds=1)))
    policy(store, {"scan": counted(("2026-W46", 7), pages=False)}, version=2)
    assert not of_weeks(scraped(store))


def test_a_policy_says_what_alerts_go_by_and_of_scans_only_where_they_are_made() -> None:
    store = Store()
    policy(store, {}, watch={"seconds": 7200}, triggers=None, rebuild=None, data=without_production())
    seen = scraped(store)
    assert seen["finetune_policy_info{deployment=detector,model=invoices,namespace=ml}"] == 1
    assert seen[f"finetune_watch_seconds{{{WHERE}}}"] == 7200
    assert f"finetune_scan_interval_seconds{{{WHERE}}}" not in seen
    policy(store, {}, version=2, scan={"intervalSeconds": 600}, triggers={"volume": {"newSamples": 50}})
    assert scraped(store)[f"finetune_scan_interval_seconds{{{WHERE}}}"] == 600


def without_production() -> dict[str, Any]:
    data: dict[str, Any] = sample("FineTunePolicy")["spec"]["data"]
    return {key: value for key, value in data.items() if key != "production"}


def test_what_waits_longest_for_a_deployment_is_shown_and_only_while_it_waits() -> None:
    store = Store()
    policy(store, {})
    policy(store, {}, name="other", deployment="other")
    asked = {"spec": {"policy": "invoices"}}
    put(store, Kind.RUN, "a", asked | {"status": {"phase": "InReview", "since": T1, "reviewSince": T0}})
    put(store, Kind.RUN, "b", asked | {"status": {"phase": "InReview", "since": T1}})
    put(store, Kind.RUN, "c", asked | {"status": {"phase": "Training", "since": T0}})
    put(store, Kind.RUN, "d", {"spec": {"policy": "gone"}, "status": {"phase": "InReview", "since": T0}})
    put(store, Kind.PROMOTION, "p", asked | {"metadata": {"creationTimestamp": T1}})
    put(store, Kind.PROMOTION, "q", asked | {"status": {"phase": "Succeeded", "since": T0}})
    of_deployments = {
        name: value for name, value in scraped(store).items() if "deployment=" in name and "_since_" in name
    }
    assert of_deployments == {
        f"finetune_review_since_timestamp_seconds{{{WHERE}}}": SECONDS,
        f"finetune_promotion_pending_since_timestamp_seconds{{{WHERE}}}": SECONDS + 3600,
    }
