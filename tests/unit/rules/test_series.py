"""Every series and label that a rule names is there: on the operator's page, and on that of a real server."""

import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from finetune_operator.api.triggers import GOT_WORSE
from finetune_operator.cluster import promql
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.store import Store
from finetune_operator.controller.metrics import Metrics
from finetune_operator.controller.scope_metrics import ScopeMetrics
from finetune_operator.controller.state_metrics import State
from house.rules import rules
from house.selectors import Selector, expressions, selectors
from house.servers import serving
from unit.controller.test_alerted import AT, counted, record, saw
from unit.controller.test_state_metrics import LIVE, T0, Queue, policy, put

Page = list[tuple[str, Mapping[str, str]]]
"""Names and labels of the series of a page."""


def page(text: str) -> Page:
    return [(one.name, one.labels) for family in text_string_to_metric_families(text) for one in family.samples]


@pytest.fixture(scope="module")
def operator_page() -> Page:
    """What the operator shows while something is live, scanned, in review, in flight and pending."""
    store = Store()
    flight = {
        "promotion": "p", "promotionUid": "u", "specHash": "h", "phase": "Watching", "epoch": 4, "deploymentUid": "d",
        "to": {key: LIVE[key] for key in ("version", "modelVersion", "uri", "sha256")},
        "templateHash": "t", "startedAt": T0, "phaseSince": T0, "deadline": T0,
    }  # fmt: skip
    status = {"live": LIVE, "inFlight": flight, "scan": counted(("2026-W46", 7))}
    policy(store, status, triggers={"volume": {"newSamples": 50}})
    record(store, meanConfidence="0.9", inferenceSeconds="0.1", production=saw(50))
    asked = {"spec": {"policy": "invoices"}}
    put(store, Kind.RUN, "a", asked | {"status": {"phase": "InReview", "since": T0}})
    put(store, Kind.PROMOTION, "p", asked)
    metrics = Metrics()
    metrics.show(State(store, Queue(), lambda: AT))
    scopes = ScopeMetrics(metrics.registry)
    scopes.begin("ml")
    return page(metrics.text().decode())


@pytest.fixture(scope="module")
def server_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """What a server that nobody has asked anything yet shows."""
    with serving(tmp_path_factory.mktemp("server")) as url, urllib.request.urlopen(f"{url}/metrics") as answer:
        yield page(answer.read().decode())


def asked(*settings: str) -> list[tuple[str, Selector]]:
    """What each rule asks for of what is scraped."""
    groups: list[dict[str, Any]] = rules(*settings)["groups"]
    return [(rule, one) for rule, text in expressions(groups) for one in selectors(text) if not one.is_recorded]


def missing(scraped: Sequence[tuple[str, Mapping[str, str]]]) -> set[str]:
    """The names that some rule asks for and finds no series of, with its matchers and labels."""
    return {
        one.name for _, one in asked() if not any(name == one.name and one.fits(labels) for name, labels in scraped)
    }


def test_everything_that_a_rule_asks_for_is_scraped(operator_page: Page, server_page: Page) -> None:
    assert missing(operator_page + server_page) == set()


def test_a_series_that_is_not_there_and_a_label_that_a_series_lacks_are_found(
    operator_page: Page, server_page: Page
) -> None:
    scraped = operator_page + server_page
    for gone in {one.name for _, one in asked()}:
        assert missing([(name, labels) for name, labels in scraped if name != gone]) == {gone}
    for lost, needed_by in {"field": "finetune_field_detected_total", "weeks_ago": "finetune_feedback_weekly"}.items():
        unlabelled = [(name, {k: v for k, v in labels.items() if k != lost}) for name, labels in scraped]
        assert needed_by in missing(unlabelled)


def test_servers_and_operator_name_a_version_by_the_same_labels(operator_page: Page, server_page: Page) -> None:
    of_version = {"namespace", "deployment", "model", "version"}
    beside = {"finetune_baseline_confidence": {"source"}, "finetune_baseline_field_detection_ratio": {"field"}}
    for name in (*beside, "finetune_baseline_inference_duration_seconds", "finetune_live_info"):
        keys = {frozenset(labels) for other, labels in operator_page if other == name}
        assert keys == {frozenset(of_version | beside.get(name, set()))}, name
    documents = [labels.keys() for name, labels in server_page if name == "finetune_documents_total"]
    assert documents == [of_version]


def test_every_selector_keeps_to_the_watched_namespaces() -> None:
    for settings, matchers in {
        ("watchNamespaces={ml,b}",): {("=~", "b|ml"), ("=", "b"), ("=", "ml")},
        ("clusterWide=true",): {("!=", ""), ("=", "*")},
    }.items():
        groups = rules(*settings)["groups"]
        for rule, text in expressions(groups):
            for one in selectors(text):
                assert {(how, value) for key, how, value in one.matchers if key == "namespace"} & matchers, rule


def test_what_is_recorded_is_what_is_asked_for() -> None:
    groups = rules()["groups"]
    recorded = {name for name, _ in expressions(groups) if ":" in name}
    used = {one.name for _, text in expressions(groups) for one in selectors(text) if one.is_recorded}
    assert used <= recorded
    assert set(promql.OF_A_VERSION) <= recorded, "what a watch reads of a version"


def test_the_triggers_alerts_are_the_charts() -> None:
    """And each is there for the Deployment that a policy asks about."""
    alerts = {rule["alert"] for group in rules()["groups"] for rule in group["rules"] if "alert" in rule}
    assert set(GOT_WORSE) <= alerts
