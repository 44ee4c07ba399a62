"""What the demos hold themselves to: a promise that is broken is named, and a kept one is not."""

import copy
from typing import Any

import pytest

from finetune_demo.summary import loop_checks

RIGHT = {"FinetuneFieldDetectionRateLow": {"iban"}}
KEPT: dict[str, Any] = {
    "base mAP50": "0.981",
    "base seconds": 70.0,
    "before": {"rate": 0.41},
    "after": {"rate": 0.93},
    "sent": 60,
    "reported": 57,
    "reports kept": 57,
    "captured": {"random": 3, "uncertain": 55, "reported": 1},
    "labelled": {"tasks": 59, "skipped": 1, "overlap": 0.86},
    "trigger": {"kind": "Performance", "requester": "FineTunePolicy invoice-fields"},
    "seconds to the run": 61.0,
    "alerts": {**RIGHT, "FinetuneConfidenceDropped": set()},
    "seconds to quiet": 80.0,
    "load": {"failures": 0},
    "run": {
        "inputs": {"new": 58},
        "gates": [{"name": "regression", "verdict": "Pass", "message": "fine; all of it"}],
        "figures": [{"name": "baseMap50", "value": "0.981"}, {"name": "candidateMap50", "value": "0.979"}],
    },
}
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"reports kept": 56}, "... reported by them, of these kept with the page"),
    ({"captured": {"random": 1, "uncertain": 2, "reported": 3}}, "captured pages, as the scan counts them"),
    ({"labelled": {"tasks": 59, "skipped": 1, "overlap": 1.0}}, "IoU of drawn boxes with the truth"),
    ({"labelled": {"tasks": 60, "skipped": 1, "overlap": 0.86}}, "new samples that the run trained on"),
    ({"trigger": {"kind": "Manual", "requester": "ann"}}, "who made the run"),
    ({"trigger": {}}, "who made the run"),
    ({"trigger": {"kind": "Volume", "requester": "FineTunePolicy invoice-fields"}}, "who made the run"),
    ({"alerts": {"FinetuneConfidenceDropped": set()}}, "alerts as new suppliers send"),
    ({"alerts": {**RIGHT, "FinetuneScanStale": set()}}, "alerts as new suppliers send"),
    ({"load": {"failures": 1}}, "requests of the new suppliers not answered 2xx"),
    ({"after": {"rate": 0.41}}, "new suppliers, unseen pages, ft_v1.1 serving"),
]


def bad(facts: dict[str, Any]) -> list[str]:
    """Return the promises that are not kept."""
    return [what for what, _, good in loop_checks(facts) if not good]


def test_the_loop_keeps_its_promises() -> None:
    assert bad(KEPT) == []


def test_where_no_prometheus_is_asked_the_volume_makes_the_run() -> None:
    """On a cluster that somebody named, the platform's own Prometheus has the rules."""
    facts = {key: fact for key, fact in KEPT.items() if key not in ("alerts", "seconds to quiet")}
    assert bad(facts) == ["who made the run"]
    assert bad(facts | {"trigger": {"kind": "Volume"}}) == []


@pytest.mark.parametrize(("changes", "what"), BROKEN)
def test_a_broken_promise_of_the_loop_is_named(changes: dict[str, Any], what: str) -> None:
    assert bad(copy.deepcopy(KEPT) | changes) == [what]
