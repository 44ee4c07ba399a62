"""The metrics of a policy: promotions by what became of them, and how long flights lasted."""

from collections.abc import Iterator

from ...api.policy_status import PolicyStatus
from ..decision import RecordMetric
from ..views import PolicyView
from .flight_clock import in_all


def metrics(view: PolicyView, after: PolicyStatus) -> Iterator[RecordMetric]:
    """Yield what is to be recorded of a change, from the status in `view` to the one `after` it."""
    policy, before = view.policy, view.policy.status
    labels = {"namespace": policy.metadata.namespace, "deployment": policy.spec.deployment}
    fired = {entry.run for entry in before.fired}
    for run in after.fired:
        if run.outcome == "Planned" and run.run not in fired:
            of = {"namespace": policy.metadata.namespace, "model": policy.spec.model, "kind": run.kind}
            yield RecordMetric("finetune_runs_fired", of)
    known = {(entry.name, entry.spec_hash) for entry in before.consumed}
    for entry in after.consumed:
        if (entry.name, entry.spec_hash) in known:
            continue
        outcome = {**labels, "outcome": entry.outcome}
        yield RecordMetric("finetune_promotions_ended", outcome)
        flight = before.in_flight
        if flight is not None and (flight.promotion, flight.spec_hash) == (entry.name, entry.spec_hash):
            lasted = in_all(view, flight).total_seconds()
            yield RecordMetric("finetune_flight_duration_seconds", outcome, lasted)
