"""What the operator shows of objects at a scrape, as Prometheus reads it."""

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.store import Store
from finetune_operator.controller.metrics import DOMAIN, GONE_FOR, Metrics
from finetune_operator.controller.state_metrics import HOLDS, STATE, State
from finetune_operator.decide import policy as policy_package
from finetune_operator.decide.decision import RecordMetric
from house.rules import promtool_path
from house.samples import sample

T0 = "2026-11-21T12:00:00Z"
T1 = "2026-11-21T13:00:00Z"
SECONDS = 1_795_262_400.0
"""T0, in seconds since 1970."""


class Queue:
    def depth(self) -> int:
        return 0

    def longest_wait(self) -> float:
        return 0.0


def put(store: Store, kind: Kind, name: str, obj: dict[str, Any], version: int = 1) -> None:
    metadata = {"namespace": "ml", "name": name, "uid": name, "resourceVersion": str(version), "creationTimestamp": T0}
    store.put(kind, {**obj, "metadata": {**metadata, **obj.get("metadata", {})}})


def policy(store: Store, status: dict[str, Any], name: str = "invoices", version: int = 1, **spec: Any) -> None:
    whole = sample("FineTunePolicy")["spec"] | {"suspend": False, "deployment": "detector", "model": "invoices"}
    put(store, Kind.POLICY, name, {"spec": whole | spec, "status": status}, version)


def scraped(store: Store, *recorded: RecordMetric) -> dict[str, float]:
    """Every series of a scrape, under its name and labels; each is there once."""
    metrics = Metrics()
    metrics.show(State(store, Queue()))
    for action in recorded:
        metrics.record(action)
    return series(metrics.text().decode())


def series(text: str) -> dict[str, float]:
    seen: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(one.labels.items()))
            key = f"{one.name}{{{labels}}}"
            assert key not in seen, f"{key} is there twice, and Prometheus would refuse the scrape"
            seen[key] = one.value
    return seen


LIVE = {"version": "ft_v1.2", "modelVersion": "m", "uri": "file:///m", "sha256": "a" * 64, "epoch": 3, "since": T0}
WHERE = "deployment=detector"


def test_what_is_live_and_since_when() -> None:
    store = Store()
    policy(store, {"live": LIVE})
    seen = scraped(store)
    labels = f"{{{WHERE},model=invoices,namespace=ml,version=ft_v1.2}}"
    assert seen[f"finetune_live_info{labels}"] == 1
    assert seen[f"finetune_live_since_timestamp_seconds{labels}"] == SECONDS
    policy(store, {"live": {**LIVE, "version": "ft_v1.3"}}, version=2)
    seen = scraped(store)
    assert [key for key in seen if key.startswith("finetune_live_info")] == [
        f"finetune_live_info{{{WHERE},model=invoices,namespace=ml,version=ft_v1.3}}"
    ]


def test_a_hold_has_its_reason_and_its_moment_and_every_reason_is_there_from_the_start() -> None:
    store = Store()
    policy(store, {})
    seen = scraped(store)
    held = {key: value for key, value in seen.items() if key.startswith("finetune_policy_held{")}
    assert len(held) == len(HOLDS)
    assert set(held.values()) == {0.0}
    assert not any(key.startswith("finetune_policy_held_since") for key in seen)
    for version, (reason, shown) in enumerate((("RolledBack", "RolledBack"), ("OfAnotherRelease", "Other")), start=2):
        policy(store, {"hold": {"by": "x", "reason": reason, "message": "m", "since": T0}}, version=version)
        seen = scraped(store)
        assert [key for key, value in seen.items() if key.startswith("finetune_policy_held{") and value] == [
            f"finetune_policy_held{{{WHERE},namespace=ml,reason={shown}}}"
        ]
        assert seen[f"finetune_policy_held_since_timestamp_seconds{{{WHERE},namespace=ml}}"] == SECONDS


def reasons_given(source: str) -> set[str]:
    """The reasons that calls of `held` and its like give as text."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    holding = (call for call in calls if ast.unparse(call.func).rpartition(".")[2] in {"held", "hold", "_held"})
    texts = (arg.value for call in holding for arg in call.args if isinstance(arg, ast.Constant))
    return {text for text in texts if isinstance(text, str) and text[:1].isupper() and " " not in text}


def test_every_reason_to_hold_has_its_series() -> None:
    sources = (file for folder in policy_package.__path__ for file in Path(folder).glob("*.py"))
    given = {reason for file in sources for reason in reasons_given(file.read_text(encoding="utf-8"))}
    assert {"RolledBack", "External", "ConflictingWriter", "FieldOwned"} <= given
    assert given <= set(HOLDS)


def test_conditions_and_the_flight_of_a_policy() -> None:
    store = Store()
    flight = {
        "promotion": "p", "promotionUid": "u", "specHash": "h", "phase": "Watching", "to": LIVE, "epoch": 4,
        "deploymentUid": "d", "templateHash": "t", "startedAt": T0, "phaseSince": T1, "deadline": T1,
    }  # fmt: skip
    conditions = [
        {"type": "Ready", "status": "False", "reason": "DeploymentNotFound", "lastTransitionTime": T0},
        {"type": "Available", "status": "Unknown", "reason": "Watching", "lastTransitionTime": T1},
    ]
    flight["to"] = {key: LIVE[key] for key in ("version", "modelVersion", "uri", "sha256")}
    policy(store, {"inFlight": flight, "conditions": conditions}, suspend=True)
    seen = scraped(store)
    shown = {
        tuple(re.findall(r"(?:condition|status)=(\w+)", key))
        for key, value in seen.items()
        if key.startswith("finetune_policy_condition{") and value
    }
    assert shown == {("Ready", "False"), ("InSync", "Unknown"), ("Available", "Unknown")}
    since = f"finetune_policy_condition_since_timestamp_seconds{{condition=Ready,{WHERE},namespace=ml}}"
    assert seen[since] == SECONDS
    assert seen[f"finetune_flight{{{WHERE},namespace=ml,phase=Watching}}"] == 1
    assert seen[f"finetune_flight{{{WHERE},namespace=ml,phase=Returning}}"] == 0
    assert seen[f"finetune_flight_started_timestamp_seconds{{{WHERE},namespace=ml}}"] == SECONDS
    assert seen[f"finetune_flight_phase_since_timestamp_seconds{{{WHERE},namespace=ml}}"] == SECONDS + 3600
    assert seen[f"finetune_policy_suspended{{{WHERE},namespace=ml}}"] == 1


def test_the_longest_wait_of_each_phase_is_shown_and_a_review_waits_since_it_was_asked_for() -> None:
    store = Store()
    policy(store, {})
    put(store, Kind.RUN, "a", {"status": {"phase": "InReview", "since": T1, "reviewSince": T0}})
    put(store, Kind.RUN, "b", {"status": {"phase": "InReview", "since": T1}})
    put(store, Kind.RUN, "c", {"status": {"phase": "Training", "since": T1}})
    put(store, Kind.RUN, "d", {"status": {"phase": "Failed", "since": T0}})
    put(store, Kind.RUN, "e", {})
    put(store, Kind.PROMOTION, "p", {"status": {"phase": "Pending", "since": T1}})
    seen = scraped(store)
    assert {key: value for key, value in seen.items() if "_oldest_since_" in key} == {
        "finetune_runs_oldest_since_timestamp_seconds{namespace=ml,phase=InReview}": SECONDS,
        "finetune_runs_oldest_since_timestamp_seconds{namespace=ml,phase=Training}": SECONDS + 3600,
        "finetune_runs_oldest_since_timestamp_seconds{namespace=ml,phase=Pending}": SECONDS,
        "finetune_promotions_oldest_since_timestamp_seconds{namespace=ml,phase=Pending}": SECONDS + 3600,
    }
    assert seen["finetune_runs{namespace=ml,phase=InReview}"] == 2
    assert seen["finetune_promotions{namespace=ml,phase=Pending}"] == 1
    assert seen["finetune_promotions{namespace=ml,phase=RolledBack}"] == 0


def test_two_policies_of_one_deployment_make_one_series_and_one_that_cannot_be_read_makes_none() -> None:
    store = Store()
    policy(store, {"live": LIVE})
    policy(store, {"live": {**LIVE, "version": "other"}}, name="younger")
    put(store, Kind.POLICY, "broken", {"spec": {"model": 7}})
    seen = scraped(store)
    assert [key for key in seen if "live_info" in key] == [
        f"finetune_live_info{{{WHERE},model=invoices,namespace=ml,version=ft_v1.2}}"
    ]


@pytest.mark.parametrize("name", [name for name in DOMAIN if DOMAIN[name].type is not Gauge])
def test_what_decisions_record_is_there_at_zero_from_the_first_scrape_of_a_policy(name: str) -> None:
    store = Store()
    policy(store, {})
    seen = {key: value for key, value in scraped(store).items() if key.startswith(name) and "_created" not in key}
    whole = 1
    for values in DOMAIN[name].closed.values():
        whole *= len(values)
    assert len([key for key in seen if key.startswith((f"{name}_total{{", f"{name}_count{{"))]) == whole
    assert set(seen.values()) == {0.0}


@pytest.mark.row("D241")
def test_what_was_recorded_of_a_policy_goes_an_hour_after_it_and_that_of_others_stays() -> None:
    """Namespaces that come and go would fill the operator's memory, and every scrape."""
    now, store = [0.0], Store()
    metrics = Metrics(clock=lambda: now[0])
    metrics.show(State(store, Queue()))
    policy(store, {})
    policy(store, {}, name="others", deployment="other", model="others")
    gate = {"namespace": "ml", "model": "invoices", "gate": "regression"}
    metrics.record(RecordMetric("finetune_gate_value_ratio", gate, 0.1))
    before = metrics.text().decode()
    store.remove(Kind.POLICY, "ml", "invoices", "invoices")
    for now[0] in (GONE_FOR - 1, GONE_FOR + 1):
        left = metrics.text().decode()
        gone = {line for line in before.splitlines() if '="invoices"' in line or '="detector"' in line}
        ours = {line.rpartition(" ")[0] for line in gone if not line.startswith(tuple(STATE))}
        assert bool(ours)
        assert all((series in left) is (now[0] < GONE_FOR) for series in ours if "_created{" not in series)
    assert 'finetune_verdicts_total{model="others",namespace="ml",verdict="Pass"} 0.0' in left


def test_a_series_of_the_state_begins_as_it_is_declared() -> None:
    store = Store()
    policy(store, {})
    names = {family.name for family in text_string_to_metric_families(_text(store))}
    assert names >= STATE.keys()


def test_jobs_that_are_refused_are_counted_from_zero() -> None:
    metrics = Metrics()
    assert series(metrics.text().decode())["finetune_jobs_refused_total{}"] == 0
    for code in ("201", "409", "403", "422", "error"):
        metrics.request("create", Kind.JOB, code, 0.1)
    metrics.request("create", Kind.CONFIG_MAP, "403", 0.1)
    assert series(metrics.text().decode())["finetune_jobs_refused_total{}"] == 2


UNITS = ("_seconds", "_ratio", "_info", "_bytes")
COUNTS = {  # gauges of objects, or of what is so (1) or not (0)
    "finetune_runs",
    "finetune_promotions",
    "finetune_objects",
    "finetune_queue_depth",
    "finetune_policy_condition",
    "finetune_policy_held",
    "finetune_policy_suspended",
    "finetune_flight",
    "finetune_pool_samples",
    "finetune_scanned_samples",
    "finetune_captured_pages",
    "finetune_feedback_weekly",
    "finetune_baseline_confidence",
}


def test_every_name_has_its_unit() -> None:
    store = Store()
    policy(store, {"live": LIVE})
    for family in text_string_to_metric_families(_text(store)):
        if family.type == "counter" or family.name in COUNTS or family.name.endswith("_created"):
            continue
        assert family.name.endswith(UNITS), family.name
        assert ("since" in family.name or "started" in family.name) == family.name.endswith("_timestamp_seconds")


def test_promtool_has_nothing_to_say() -> None:
    store = Store()
    policy(store, {"live": LIVE})
    put(store, Kind.RUN, "a", {"status": {"phase": "InReview", "since": T1, "reviewSince": T0}})
    done = subprocess.run(
        [promtool_path(), "check", "metrics"], check=False, input=_text(store), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _text(store: Store) -> str:
    metrics = Metrics()
    metrics.show(State(store, Queue()))
    return metrics.text().decode()


def test_what_the_newest_scan_counted_and_nothing_where_none_is_made() -> None:
    store = Store()
    policy(store, {})
    assert not any("captured" in key or "scanned" in key for key in scraped(store))
    counted = {
        "at": T0, "basis": {"document": "a" * 64}, "listing": "b" * 64, "pool": 84, "heldOut": 10, "withdrawn": 1,
        "outside": 74, "new": 34, "corrected": 2, "byImage": 0, "pages": {"random": 5, "uncertain": 3, "reported": 1},
    }  # fmt: skip
    policy(store, {"scan": {"counted": counted}}, version=2)
    seen = scraped(store)
    words = {"pool": 84, "heldOut": 10, "withdrawn": 1, "outside": 74, "new": 34, "corrected": 2}
    for word, number in words.items():
        assert seen[f"finetune_scanned_samples{{count={word},{WHERE},namespace=ml}}"] == number
    for stratum, number in {"Random": 5, "Uncertain": 3, "Reported": 1}.items():
        assert seen[f"finetune_captured_pages{{{WHERE},namespace=ml,stratum={stratum}}}"] == number
    assert seen[f"finetune_scanned_since_timestamp_seconds{{{WHERE},namespace=ml}}"] == SECONDS
