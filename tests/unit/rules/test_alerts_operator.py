"""The alerts on the operator and what waits for people: each fires, and stays quiet."""

from pathlib import Path

import pytest

from house.rules import MINUTES, Scene, alert, flat, run_cases, series, steps

QUIET: tuple[()] = ()
STALE = "FinetuneScanStale"
WAITING = "FinetuneReviewWaiting"
STUCK = "FinetunePromotionStuck"
BACK = "FinetuneRolledBack"
GATE = "FinetuneGateError"
DOWN = "FinetuneOperatorDown"

SCANNED = series("finetune_scanned_since_timestamp_seconds")
WATCHED = series("finetune_namespace_watched", deployment="")
ERRORS = series("finetune_verdicts_total", deployment="", model="invoices", verdict="Error")
PENDING = series("finetune_promotion_pending_since_timestamp_seconds")
FLIGHT = series("finetune_flight_phase_since_timestamp_seconds")
REVIEW = series("finetune_review_since_timestamp_seconds")
HELD = series("finetune_policy_held", reason="RolledBack")
DAY = 86_400

CASES: dict[str, tuple[Scene, ...]] = {
    STALE: (
        Scene("fires when scans end nowhere any more", {SCANNED: flat(0)}, {"80m": QUIET, "95m": [alert(STALE)]}),
        Scene("fires where none ever came to an end", {SCANNED: None}, {"20m": QUIET, "40m": [alert(STALE)]}),
        Scene(
            "is quiet where nothing is to be scanned",
            {SCANNED: None, series("finetune_scan_interval_seconds"): None},
            {"2h": QUIET},
        ),
        Scene(
            "goes by the policy's own interval",
            {SCANNED: flat(0), series("finetune_scan_interval_seconds"): flat(7200)},
            {"3h": QUIET},
        ),
        Scene(
            "is quiet again after the next scan",
            {SCANNED: f"{flat(0, 120)} {steps((MINUTES, 60), start=7200)}"},
            {"2h": [alert(STALE)], "2h10m": QUIET},
        ),
        Scene(
            "is one alert while two operator pods are scraped",
            {SCANNED: flat(0), series("finetune_scanned_since_timestamp_seconds", pod="new"): flat(0)},
            {"2h": [alert(STALE)]},
        ),
    ),
    WAITING: (
        Scene("fires after a day", {REVIEW: flat(-DAY)}, {"10m": [alert(WAITING)]}),
        Scene("is quiet before", {REVIEW: flat(3600 - DAY)}, {"50m": QUIET}),
        Scene(
            "is quiet again once somebody decided", {REVIEW: flat(-DAY, 60)}, {"59m": [alert(WAITING)], "70m": QUIET}
        ),
        Scene(
            "is of the Deployment whose run waits",
            {REVIEW: flat(-DAY), series("finetune_review_since_timestamp_seconds", deployment="other"): flat(0)},
            {"1h": [alert(WAITING)]},
        ),
        Scene(
            "goes by the values",
            {REVIEW: flat(0)},
            {"1h": [alert(WAITING)]},
            ("prometheusRule.review.maximumSeconds=600",),
        ),
    ),
    STUCK: (
        Scene("fires for a flight that stays in one phase", {FLIGHT: flat(0)}, {"65m": QUIET, "75m": [alert(STUCK)]}),
        Scene("fires for a promotion that waits", {PENDING: flat(0)}, {"65m": QUIET, "75m": [alert(STUCK)]}),
        Scene(
            "gives a long watch its time", {FLIGHT: flat(0), series("finetune_watch_seconds"): flat(DAY)}, {"3h": QUIET}
        ),
        Scene(
            "leaves what waits for a rollback's hold to the alert on that",
            {PENDING: flat(0), HELD: flat(1)},
            {"2h": [alert(BACK)]},
        ),
        Scene(
            "says nothing of what waits because a person suspended the policy, and does of a flight",
            {PENDING: flat(0), series("finetune_policy_suspended"): flat(1)}
            | {series("finetune_flight_phase_since_timestamp_seconds", deployment="other"): flat(0)}
            | {series("finetune_watch_seconds", deployment="other"): flat(300)}
            | {series("finetune_policy_suspended", deployment="other"): flat(1)},
            {"2h": [alert(STUCK, deployment="other")]},
        ),
        Scene(
            "does not leave it so during another hold",
            {PENDING: flat(0), series("finetune_policy_held", reason="External"): flat(1)},
            {"2h": [alert(STUCK)]},
        ),
    ),
    BACK: (
        Scene(
            "fires with the hold, until it is lifted",
            {HELD: f"{flat(0, 30)} {flat(1, 60)} {flat(0, 60)}"},
            {"20m": QUIET, "35m": [alert(BACK)], "1h50m": QUIET},
        ),
        Scene(
            "is not fired by another hold", {series("finetune_policy_held", reason="External"): flat(1)}, {"1h": QUIET}
        ),
        Scene(
            "outlives a restart of the operator, which forgets its counters",
            {HELD: f"{flat(1, 60)} _x3 {flat(1, 60)}"},
            {"59m": [alert(BACK)], "1h2m": [alert(BACK)], "1h5m": [alert(BACK)]},
        ),
    ),
    GATE: (
        Scene(
            "fires for an hour after a run that could not be judged",
            {ERRORS: f"{flat(0, 60)} {flat(1)}"},
            {"55m": QUIET, "1h10m": [alert(GATE, model="invoices")], "2h10m": QUIET},
        ),
        Scene(
            "names every Deployment of the model",
            {
                ERRORS: f"{flat(0, 60)} {flat(1)}",
                series("finetune_policy_info", model="invoices", deployment="other"): flat(1),
            },
            {"1h10m": [alert(GATE, model="invoices"), alert(GATE, model="invoices", deployment="other")]},
        ),
        Scene(
            "is not fired by the other verdicts, nor by another model",
            {
                series(
                    "finetune_verdicts_total", deployment="", model="invoices", verdict="Reject"
                ): f"{flat(0, 60)} {flat(1)}",
                series(
                    "finetune_verdicts_total", deployment="", model="other", verdict="Error"
                ): f"{flat(0, 60)} {flat(1)}",
            },
            {"1h10m": QUIET},
        ),
        Scene("is not fired by a restart of the operator", {ERRORS: f"{flat(3, 60)} {flat(0)}"}, {"1h10m": QUIET}),
        Scene(
            "fires while two operator pods are scraped",
            {ERRORS: f"{flat(0, 60)} {flat(1)}", series("finetune_policy_info", model="invoices", pod="new"): flat(1)},
            {"1h10m": [alert(GATE, model="invoices")]},
        ),
    ),
    DOWN: (
        Scene(
            "fires when it is not there any more",
            {WATCHED: flat(1, 60)},
            {"1h10m": QUIET, "1h20m": [alert(DOWN, "critical", deployment="")]},
        ),
        Scene(
            "fires where it never was", {WATCHED: None}, {"5m": QUIET, "15m": [alert(DOWN, "critical", deployment="")]}
        ),
        Scene(
            "fires when it cannot read the namespace",
            {WATCHED: flat(0)},
            {"15m": [alert(DOWN, "critical", deployment="")]},
        ),
        Scene("is quiet over a restart", {WATCHED: f"{flat(1, 60)} _x9 {flat(1)}"}, {"1h9m": QUIET, "1h15m": QUIET}),
        Scene(
            "names each namespace that is not watched",
            {WATCHED: None},
            {"1h": [alert(DOWN, "critical", deployment=""), alert(DOWN, "critical", namespace="b", deployment="")]},
            ("watchNamespaces={ml,b}",),
        ),
        Scene(
            "stands for the cluster where that is watched",
            {series("finetune_namespace_watched", namespace="*", deployment=""): flat(0)},
            {"1h": [alert(DOWN, "critical", namespace="*", deployment="")]},
            ("clusterWide=true",),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_alert_fires_and_stays_quiet_as_each_case_says(name: str, tmp_path: Path) -> None:
    assert run_cases(CASES[name], tmp_path) == ""
