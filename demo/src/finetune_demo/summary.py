"""The end of the demo: the checks that decide its exit status, the table, and the commands to look around."""

from collections.abc import Mapping
from typing import Any

from .console import table
from .prometheus import LESS_SURE, RATE_LOW, in_words
from .settings import Settings
from .story import RUN

Check = tuple[str, str, bool]


def checks(facts: Mapping[str, Any]) -> list[Check]:
    """Return (what, figure, whether it holds) for every promise of the demo."""
    load, before, back = facts["load"], facts["before"], facts["back"]
    return [
        *_base(facts),
        *_fine_tune(facts),
        ("new suppliers, after the rollback to base_v1", f"{back['rate']:.1%}", back["rate"] == before["rate"]),
        ("epochs seen by a watch during training", str(len(facts["epochs seen"])), len(facts["epochs seen"]) >= 3),
        (
            "requests through the Service all the while",
            f"{load['requests']} ({load['perSecond']}/s)",
            load["perSecond"] >= 5,
        ),
        ("... not answered 2xx", str(load["failures"]), load["failures"] == 0),
        (
            "... by connection and version",
            ", ".join(f"{k} {v}" for k, v in sorted(load["byKindAndVersion"].items())),
            True,
        ),
    ]


def loop_checks(facts: Mapping[str, Any]) -> list[Check]:
    """Return (what, figure, whether it holds) for every promise of the demo of the loop."""
    captured, labelled, trigger, load = facts["captured"], facts["labelled"], facts["trigger"], facts["load"]
    reported, kept, new = facts["reported"], facts["reports kept"], facts["run"]["inputs"]["new"]
    return [
        *_base(facts),
        ("invoices of new suppliers, sent by people", str(facts["sent"]), facts["sent"] > 0),
        ("... reported by them, of these kept with the page", f"{reported}, {kept}", 0 < reported == kept),
        (
            "captured pages, as the scan counts them",
            ", ".join(f"{count} {stratum}" for stratum, count in captured.items()),
            sum(captured.values()) >= reported,
        ),
        ("tasks for Label Studio, of these skipped", f"{labelled['tasks']}, {labelled['skipped']}", True),
        ("IoU of drawn boxes with the truth", str(labelled["overlap"]), 0.7 < labelled["overlap"] < 0.99),
        ("new samples that the run trained on", str(new), new == labelled["tasks"] - labelled["skipped"]),
        ("who made the run", trigger.get("requester", "nobody"), trigger.get("kind") == _asked_by(facts)),
        ("... from the labels in the pool to the run", f"{facts['seconds to the run']:.0f} s", True),
        *_alerts(facts),
        ("requests of the new suppliers not answered 2xx", str(load["failures"]), load["failures"] == 0),
        *_fine_tune(facts),
    ]


def _asked_by(facts: Mapping[str, Any]) -> str:
    """Return which trigger makes the run: that of an alert where a Prometheus is asked."""
    return "Performance" if "alerts" in facts else "Volume"


def _alerts(facts: Mapping[str, Any]) -> list[Check]:
    """Return what holds of the alerts: the right one fired, no other that is about anything else, and it is over."""
    if "alerts" not in facts:
        return []
    fired = facts["alerts"]
    return [
        ("alerts as new suppliers send", in_words(fired), fired.keys() - {LESS_SURE} == {RATE_LOW}),
        ("... until it was over, from when ft_v1.1 was live", f"{facts['seconds to quiet']:.0f} s", True),
    ]


def _base(facts: Mapping[str, Any]) -> list[Check]:
    return [
        ("base model, mAP50 on its own suppliers", facts["base mAP50"], float(facts["base mAP50"]) >= 0.95),
        ("training of the base", f"{facts['base seconds']:.0f} s", True),
    ]


def _fine_tune(facts: Mapping[str, Any]) -> list[Check]:
    """Return what holds of the fine-tune, whoever made its run: gates, and the rates before and after."""
    run, before, after = facts["run"], facts["before"], facts["after"]
    measured = {figure["name"]: figure["value"] for figure in run["figures"]}
    return [
        *(
            (
                f"gate {gate['name']}",
                f"{gate['verdict']}: {gate.get('message', '').partition(';')[0]}",
                gate["verdict"] == "Pass",
            )
            for gate in run["gates"]
        ),
        ("fine-tune, mAP50 on the old test set", f"{measured['baseMap50']} -> {measured['candidateMap50']}", True),
        ("new suppliers, unseen pages, base_v1 serving", f"{before['rate']:.1%}", before["rate"] < 0.60),
        ("new suppliers, unseen pages, ft_v1.1 serving", f"{after['rate']:.1%}", after["rate"] > before["rate"]),
    ]


def render(checked: list[Check], durations: Mapping[str, float]) -> str:
    """Return the closing tables."""
    rows = [("check", "figure", "")] + [(what, figure, "ok" if good else "NOT OK") for what, figure, good in checked]
    times = [("step", "seconds")] + [(title, f"{seconds:.0f}") for title, seconds in durations.items()]
    return f"\n{table(rows)}\n\n{table(times)}\n"


def look_around(settings: Settings, run: str = RUN) -> str:
    """Return the commands that a newcomer may want to type next; `run` is the run that was played."""
    kubectl = (
        "local-cluster/cluster kubectl"
        if settings.existing is None
        else f"kubectl --context {settings.existing.context}"
    )
    return "\n".join(
        [
            "To look around:",
            f"  {kubectl} -n invoices get finetunepolicies,finetuneruns,modelversions,modelpromotions",
            f"  {kubectl} -n invoices describe finetunerun {run}",
            f"  {kubectl} -n invoices get modelversion invoice-fields-ft-v1.1 -o yaml",
            f"  {kubectl} -n invoices get jobs,pods",
            f"  {kubectl} -n finetune-system logs deployment/finetune-operator",
            f"The manifests as they were applied: {settings.state / 'manifests'}",
            "To remove everything: make demo-clean",
        ]
    )
