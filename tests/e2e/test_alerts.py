"""A model that fails on what production sends: the right alert by the chart's rules, the policy's run, and quiet."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.deciding import deciding, due, entry, fired, new_pool, run_names, trigger, wait_due
from e2e.prometheus import prometheus_in_cluster
from e2e.stories import Stories
from finetune_demo.prometheus import LESS_SURE, RATE_LOW, Prometheus
from finetune_demo.story import Story

LOW = "namespace_deployment_version_field:finetune_field_detected:ratio_rate30m < 0.8"


@pytest.fixture(scope="module")
def prometheus(demo: Story) -> Iterator[Prometheus]:
    """One that scrapes operator and servers, and that the operator asks."""
    with prometheus_in_cluster(demo) as made:
        demo.cluster.kube.wait("operator and servers are scraped", made.is_fed, 120)
        yield made


@contextmanager
def new_suppliers_send(stories: Stories) -> Iterator[None]:
    """Let steady traffic be of a layout on which the base fails."""
    stories.tale.start_load()
    try:
        yield
    finally:
        assert not stories.tale.stop_load()["failures"]


def test_an_alert_starts_the_run_that_ends_it(stories: Stories, prometheus: Prometheus) -> None:
    """Fields of new suppliers are not found: it is said, and nothing else; the policy trains, and it is over."""
    pool, known = new_pool(stories), run_names(stories)
    pool.add(0, 60)
    usual = {name: stories.tale.recipe["training"][name] for name in ("epochs", "lr0")}
    rules = {"performance": {"newSamples": 50}}
    with deciding(stories, pool, rules, training=usual, mixing=None):
        wait_due(stories, "NoAlertFires", "no alert")
        assert prometheus.firing() == {}
        with new_suppliers_send(stories):
            run = fired(stories, known, seconds=420)
            why, firing = trigger(stories, run), prometheus.firing()
            assert firing.keys() - {LESS_SURE} == {RATE_LOW}, firing
            assert (why["kind"], RATE_LOW in why["reason"]) == ("Performance", True), why
            failed = {one["metric"]["field"]: float(one["value"][1]) for one in prometheus.asked(LOW)}
            assert failed.keys() <= firing[RATE_LOW], (failed, firing)
            status = stories.until(run)
            assert status["phase"] == "Promoted", json.dumps(status.get("gates"))
            stories.kube.wait("what fired is over", lambda: prometheus.firing().keys() <= {LESS_SURE}, 300)
        assert entry(stories, run)["outcome"] == "Judged"
        assert run_names(stories) == {*known, run}, due(stories)
