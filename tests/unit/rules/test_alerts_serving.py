"""The alerts on what servers answer: each fires, stays quiet, and gets past what makes alerts lie."""

from pathlib import Path

import pytest

from house.rules import (
    HEALTHY,
    MINUTES,
    Scene,
    Series,
    alert,
    flat,
    live,
    run_cases,
    run_query,
    series,
    served,
    steady,
    steps,
    weekly,
)

QUIET: tuple[()] = ()
LOW = "FinetuneFieldDetectionRateLow"
DROPPED = "FinetuneConfidenceDropped"
RISING = "FinetuneUserReportedFailuresRising"
SLOW = "FinetuneInferenceLatencyHigh"
ABSENT = "FinetuneServingMetricsAbsent"
OF = {"model": "invoices", "version": "ft_v1.2"}
BASE = OF | {"version": "base_v1"}
ON_TEST = series("finetune_baseline_confidence", **OF, source="test")
ON_PRODUCTION = series("finetune_baseline_confidence", **OF, source="production")
IBAN_LOW = alert(LOW, "critical", field="iban", **OF)
NOTHING_SERVED: dict[Series, str | None] = dict.fromkeys(served(), None)
AN_HOUR_OF_PAGES = ("prometheusRule.fieldDetectionRate.window=1h",)
AN_HOUR_OF_CONFIDENCE = ("prometheusRule.confidence.window=1h",)
"""Windows of six hours count alike, and take promtool six times as long to fill."""


def gone(minutes: int) -> dict[Series, str | None]:
    """The healthy version's pods, which are gone after so many minutes."""
    return served(
        pages=steps((minutes, 2)),
        sure={"iban": steps((minutes, 1.8)), "total": steps((minutes, 1.8))},
        slow={bound: steps((minutes, 0)) for bound in ("0.047", "0.068")},
        loaded=flat(1, minutes),
    )


CASES: dict[str, tuple[Scene, ...]] = {
    LOW: (
        Scene(
            "fires for the one field that is found on 85 of 100",
            served(detected={"iban": steady(1.7)}),
            {"1h": [IBAN_LOW]},
        ),
        Scene("is quiet at 92 of 100", served(detected={"iban": steady(1.84)}), {"1h": QUIET}),
        Scene(
            "waits for its time, then fires",
            served(detected={"iban": steady(1.0)}),
            {"35m": QUIET, "50m": [IBAN_LOW]},
        ),
        Scene(
            "says nothing of few pages, though the field is on none of them",
            served(pages=steady(0.36), detected={"iban": steady(0)}),
            {"2h": QUIET},
            AN_HOUR_OF_PAGES,
        ),
        Scene(
            "adds up replicas, each of which has too few pages",
            served(pods="abcd", pages=steady(0.36), detected={"iban": steady(0.18)}),
            {"2h": [IBAN_LOW]},
            AN_HOUR_OF_PAGES,
        ),
        Scene(
            "fires for a field that was never found, at 0 from the start",
            served(detected={"iban": steady(0)}),
            {"1h": [IBAN_LOW]},
        ),
        Scene(
            "fires for a field without a series of detections",
            {
                key: None if key[0] == "finetune_field_detected_total" and ("field", "iban") in key[1] else value
                for key, value in HEALTHY.items()
            },
            {"1h": [IBAN_LOW]},
        ),
        Scene(
            "says nothing of a field that no page must carry",
            {series("finetune_field_expected_total", **OF, field="iban", pod=pod): flat(0) for pod in "ab"}
            | {series("finetune_field_detected_total", **OF, field="iban", pod=pod): flat(0) for pod in "ab"},
            {"1h": QUIET},
        ),
        Scene(
            "takes a restart for a restart: counters that begin anew",
            served(pages=" ".join(steps((100, 2)) for _ in range(7))),
            {"1h45m": QUIET, "3h30m": QUIET},
        ),
        Scene(
            "is not silenced by restarts",
            served(
                pages=" ".join(steps((100, 2)) for _ in range(7)),
                detected={"iban": " ".join(steps((100, 1)) for _ in range(7))},
            ),
            {"1h": [IBAN_LOW]},
        ),
        Scene(
            "gets on with pods that come and go, whose first scrape finds counts already",
            {
                key: value
                for number in range(5)
                for key, value in served(
                    pods=(f"p{number}",),
                    pages=f"_x{number * 60 + 1} " + steps((60, 2), start=30),
                    sure=dict.fromkeys(("iban", "total"), f"_x{number * 60 + 1} " + steps((60, 1.8), start=27)),
                ).items()
            },
            {"2h10m": QUIET, "4h10m": QUIET},
        ),
        Scene(
            "names the new version alone, when only that is bad",
            gone(90)
            | served(
                "ft_v1.3",
                pods="cd",
                pages="_x90 " + steps((420, 2)),
                detected={"iban": "_x90 " + steps((420, 1))},
                loaded="_x90 " + flat(1, 420),
            ),
            {"1h25m": QUIET, "3h": [alert(LOW, "critical", field="iban", model="invoices", version="ft_v1.3")]},
        ),
        Scene(
            "ends a quarter of an hour after a bad version is gone, and says nothing of its successor",
            served(pages=steps((90, 2)), detected={"iban": steps((90, 1))}, loaded=flat(1, 90))
            | served("ft_v1.3", pods="cd", pages="_x90 " + steps((420, 2)), loaded="_x90 " + flat(1, 420)),
            {"1h25m": [IBAN_LOW], "1h50m": QUIET, "3h30m": QUIET},
        ),
        Scene(
            "goes on over the minutes that a single pod needs to start again",
            served(
                pods="a",
                pages=steps((80, 2), (4, None), (300, 2)),
                detected={"iban": steps((80, 1), (4, None), (300, 1))},
                loaded=f"{flat(1, 80)} stale _x3 {flat(1, 300)}",
            )
            | dict.fromkeys(served(pods="b"), None),
            {"1h10m": [IBAN_LOW], "1h23m": [IBAN_LOW], "1h30m": [IBAN_LOW]},
        ),
        Scene(
            "takes the minimum of a field from the values",
            served(detected={"iban": steady(1.7), "total": steady(1.7)}),
            {"1h": [alert(LOW, "critical", field="total", **OF)]},
            (
                "prometheusRule.fieldDetectionRate.overrides[0].field=iban",
                "prometheusRule.fieldDetectionRate.overrides[0].minimum=0.8",
            ),
        ),
        Scene(
            "keeps an override to its Deployment, and takes the first that fits",
            served(detected={"iban": steady(1.7)}) | served(detected={"iban": steady(1.7)}, deployment="other"),
            {"1h": [alert(LOW, "critical", field="iban", **{**OF, "deployment": "other"})]},
            (
                "prometheusRule.fieldDetectionRate.overrides[0].field=iban",
                "prometheusRule.fieldDetectionRate.overrides[0].deployment=detector",
                "prometheusRule.fieldDetectionRate.overrides[0].minimum=0.8",
                "prometheusRule.fieldDetectionRate.overrides[1].field=iban",
                "prometheusRule.fieldDetectionRate.overrides[1].minimum=0.95",
            ),
        ),
        Scene(
            "says nothing of a namespace that this release does not watch",
            served(detected={"iban": steady(1.0)}, namespace="theirs"),
            {"1h": QUIET},
        ),
        Scene(
            "goes by a window from the values",
            served(detected={"iban": steady(1.0)}),
            {"20m": [IBAN_LOW]},
            (
                "prometheusRule.fieldDetectionRate.window=5m",
                "prometheusRule.fieldDetectionRate.for=1m",
                "prometheusRule.fieldDetectionRate.minimumCount=10",
            ),
        ),
    ),
    DROPPED: (
        Scene(
            "fires at 7 % below the baseline",
            served(sure=dict.fromkeys(("iban", "total"), steady(1.67))),
            {"2h": [alert(DROPPED, **OF)]},
        ),
        Scene("is quiet at 4 % below", served(sure=dict.fromkeys(("iban", "total"), steady(1.73))), {"2h": QUIET}),
        Scene(
            "is quiet where production was as hard when the version was measured, and fires 7 % below that",
            served(sure={"iban": steps((150, 1.6), (360, 1.48)), "total": steps((150, 1.6), (360, 1.48))})
            | {ON_TEST: None, ON_PRODUCTION: flat(0.8)},
            {"2h25m": QUIET, "5h": [alert(DROPPED, **OF)]},
            AN_HOUR_OF_CONFIDENCE,
        ),
        Scene(
            "fires where production was easier than the test set, and goes by production where both are shown",
            served(sure=dict.fromkeys(("iban", "total"), steady(1.73))) | {ON_PRODUCTION: flat(0.94)},
            {"2h": [alert(DROPPED, **OF)]},
        ),
        Scene(
            "goes by production while an operator pod of before shows the test set",
            served(sure=dict.fromkeys(("iban", "total"), steady(1.6))) | {ON_PRODUCTION: flat(0.8)},
            {"2h": QUIET},
        ),
        Scene(
            "is one alert, and goes on, where another figure of the version becomes known",
            served(sure=dict.fromkeys(("iban", "total"), steady(1.6)))
            | {ON_TEST: flat(0.9, 130), ON_PRODUCTION: "_x130 " + flat(0.88, 480)},
            {"2h": [alert(DROPPED, **OF)], "2h15m": [alert(DROPPED, **OF)], "4h": [alert(DROPPED, **OF)]},
        ),
        Scene(
            "says nothing of few detections",
            served(pages=steady(0.6), sure=dict.fromkeys(("iban", "total"), steady(0.3))),
            {"3h": QUIET},
            AN_HOUR_OF_CONFIDENCE,
        ),
        Scene(
            "waits for its time",
            served(sure=dict.fromkeys(("iban", "total"), steady(1.0))),
            {"1h": QUIET, "2h": [alert(DROPPED, **OF)]},
        ),
        Scene(
            "says nothing without a baseline, or with one of a model that found nothing",
            served(sure=dict.fromkeys(("iban", "total"), steady(1.0))) | {ON_TEST: flat(0)},
            {"2h": QUIET},
        ),
        Scene(
            "holds no version against the baseline of another",
            live("ft_v1.2", flat(0, 1)) | live("ft_v1.1") | served(sure=dict.fromkeys(("iban", "total"), steady(1.0))),
            {"2h": QUIET},
        ),
        Scene(
            "is not misled by a window over a flip: each version against its own",
            gone(120)
            | served(
                "ft_v1.3",
                pods="cd",
                pages="_x120 " + steps((420, 2)),
                loaded="_x120 " + flat(1, 420),
                sure=dict.fromkeys(("iban", "total"), "_x120 " + steps((420, 1.4))),
            )
            | live(samples=flat(1, 120))
            | live("ft_v1.3", "_x120 " + flat(1, 420))
            | {
                series("finetune_baseline_confidence", **OF | {"version": "ft_v1.3"}, source="test"): "_x120 "
                + flat(0.7, 420)
            },
            {"2h30m": QUIET, "3h40m": QUIET, "5h": QUIET},
        ),
        Scene(
            "is one alert while two operator pods are scraped",
            served(sure=dict.fromkeys(("iban", "total"), steady(1.67))) | live(pod="new"),
            {"2h": [alert(DROPPED, **OF)]},
        ),
        Scene(
            "says nothing while the operator is away, which has an alert of its own",
            served(sure=dict.fromkeys(("iban", "total"), steady(1.67)))
            | live(samples=flat(1, 150))
            | {series("finetune_namespace_watched", deployment=""): flat(1, 150)},
            {"2h20m": [alert(DROPPED, **OF)], "3h30m": [alert("FinetuneOperatorDown", "critical", deployment="")]},
        ),
    ),
    RISING: (
        Scene("fires after three rises", weekly(9, 7, 6, 4), {"1h": [alert(RISING)]}),
        Scene("is quiet where one week is as the one before", weekly(9, 7, 7, 4), {"1h": QUIET}),
        Scene("is quiet while the numbers are small", weekly(4, 3, 2, 1), {"1h": QUIET}),
        Scene("is quiet where they fall again", weekly(6, 7, 6, 4), {"1h": QUIET}),
        Scene("says nothing while a week is not known", weekly(9, 7, 6, None), {"1h": QUIET}),
        Scene(
            "is one alert while two operator pods are scraped",
            weekly(9, 7, 6, 4)
            | {
                series("finetune_feedback_weekly", weeks_ago=str(ago), pod="new"): flat(count)
                for ago, count in enumerate((9, 7, 6, 4), start=1)
            },
            {"1h": [alert(RISING)]},
        ),
        Scene(
            "is of the Deployment whose reports rise",
            weekly(9, 7, 6, 4)
            | {
                series("finetune_feedback_weekly", weeks_ago=str(ago), deployment="other"): flat(2)
                for ago in range(1, 5)
            },
            {"1h": [alert(RISING)]},
        ),
    ),
    SLOW: (
        Scene(
            "fires at more than twice the base's time",
            served(slow={"0.1": steady(0), "0.15": steady(0), "0.22": steady(0)}),
            {"1h": [alert(SLOW, "critical", **OF)]},
        ),
        Scene("is quiet at one and a half", served(slow={"0.1": steady(0)}), {"1h": QUIET}),
        Scene(
            "says nothing of few pages",
            served(pages=steady(0.2), slow={bound: steady(0) for bound in ("0.1", "0.15", "0.22")}),
            {"2h": QUIET},
        ),
        Scene(
            "is no matter of the wait for a worker",
            {
                series("finetune_inference_duration_seconds_bucket", **OF, pod="a", stage="queue", le=bound): steady(
                    rate
                )
                for bound, rate in (("0.1", 0), ("0.33", 0), ("+Inf", 9))
            },
            {"1h": QUIET},
        ),
        Scene(
            "is quiet where a bound lies just below the time that both have",
            served(slow={"0.1": steady(0)})
            | {series("finetune_baseline_inference_duration_seconds", **OF): flat(0.101)},
            {"1h": QUIET},
        ),
        Scene(
            "is quiet after a short spike",
            served(slow={bound: steps((60, 2), (8, 0), (400, 2)) for bound in ("0.1", "0.15", "0.22")}),
            {"1h8m": QUIET, "1h20m": QUIET, "1h40m": QUIET},
        ),
        Scene(
            "says nothing without a baseline",
            served(slow={bound: steady(0) for bound in ("0.1", "0.15", "0.22")})
            | {series("finetune_baseline_inference_duration_seconds", **OF): None},
            {"1h": QUIET},
        ),
        Scene(
            "holds a fine-tune, in flight too, against what its base took here, not elsewhere",
            dict.fromkeys((*served(), *live()), None)
            | served("base_v1", pages=steps((60, 2)), loaded=flat(1, 60))
            | live("base_v1", flat(1, 60))
            | {series("finetune_baseline_inference_duration_seconds", **BASE): flat(0.02, 60)}
            | served(
                "ft_v1.3",
                pods="cd",
                pages="_x60 " + steps((420, 2)),
                slow={bound: "_x60 " + steps((420, 0)) for bound in ("0.1", "0.15", "0.22")},
                loaded="_x60 " + flat(1, 420),
            )
            | {series("finetune_baseline_inference_duration_seconds", **OF | {"version": "ft_v1.3"}): flat(9)},
            {"55m": QUIET, "7h": [alert(SLOW, "critical", **OF | {"version": "ft_v1.3"})]},
        ),
        Scene(
            "says nothing where the baseline is 0",
            served(slow={bound: steady(0) for bound in ("0.1", "0.15", "0.22")})
            | {series("finetune_baseline_inference_duration_seconds", **OF): flat(0)},
            {"1h": QUIET},
        ),
        Scene(
            "goes by the values' baseline where a Deployment has other hardware",
            served(slow={bound: steady(0) for bound in ("0.1", "0.15", "0.22")}),
            {"1h": QUIET},
            (
                "prometheusRule.inferenceDuration.baselines[0].deployment=detector",
                "prometheusRule.inferenceDuration.baselines[0].seconds=0.3",
            ),
        ),
    ),
    ABSENT: (
        Scene(
            "fires when nothing is scraped any more, and nothing else does",
            gone(60) | {key: None for key in NOTHING_SERVED if key not in gone(60)},
            {"1h5m": QUIET, "2h": [alert(ABSENT, **OF)]},
        ),
        Scene("fires where nothing ever was", NOTHING_SERVED, {"10m": QUIET, "1h": [alert(ABSENT, **OF)]}),
        Scene("is quiet where nothing is live", NOTHING_SERVED | dict.fromkeys(live(), None), {"1h": QUIET}),
        Scene(
            "is quiet over a short gap",
            served(pages=steps((60, 2), (8, None), (400, 2)), loaded=f"{flat(1, 60)} _x8 {flat(1, 400)}"),
            {"1h8m": QUIET, "1h25m": QUIET},
        ),
        Scene(
            "is quiet while pods serve what is not yet the live version by the record",
            gone(60)
            | served(
                "ft_v1.3", pods="cd", pages="_x60 " + steps((MINUTES - 60, 2)), loaded="_x60 " + flat(1, MINUTES - 60)
            ),
            {"2h": QUIET},
        ),
        Scene(
            "fires for the one of two Deployments that is not scraped",
            live(deployment="other"),
            {"1h": [alert(ABSENT, **{**OF, "deployment": "other"})]},
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_alert_fires_and_stays_quiet_as_each_case_says(name: str, tmp_path: Path) -> None:
    assert run_cases(CASES[name], tmp_path) == ""


def test_nothing_fires_where_nothing_is_wrong(tmp_path: Path) -> None:
    assert run_cases([Scene("healthy", {}, {"20m": (), "6h": ()})], tmp_path) == ""


def test_of_what_nobody_asked_for_no_share_mean_or_quantile_is_recorded_that_is_no_number(tmp_path: Path) -> None:
    idle = Scene("idle", served(pages=flat(0), sure=dict.fromkeys(("iban", "total"), flat(0))), {})
    for recorded in (
        "namespace_deployment_version_field:finetune_field_detected:ratio_rate30m",
        "namespace_deployment_version:finetune_detection_confidence:mean30m",
        "namespace_deployment_version:finetune_inference_duration_seconds:p95_30m",
    ):
        assert run_query(Scene("busy", {}, {}), "1h", recorded, tmp_path) != ""
        assert run_query(idle, "1h", recorded, tmp_path) == ""
