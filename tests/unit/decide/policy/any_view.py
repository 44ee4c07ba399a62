"""Any view: statuses, Deployments and promotions by chance, as no cluster would give them together."""

from datetime import timedelta

from hypothesis import strategies as st
from msgspec.structs import replace

from finetune_operator.api.names import FIELD_MANAGER
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Brake, Hold, InFlight, PolicyStatus, Quarantined
from finetune_operator.decide.signals import Alert, Alerts, Held, Rate, Slow, VersionSeries
from finetune_operator.decide.views import DeploymentView, Fault, Problem, ServedKeys
from unit.decide.policy.world import (
    NOW,
    base,
    keys,
    live,
    live_version,
    policy,
    promotion,
    tuned,
)

BASE, GOOD, SICK, SLOW, BAD = (
    base(),
    tuned("ft_v1.1"),
    tuned("ft_v1.2"),
    tuned("ft_v1.3", verdict="Review"),
    tuned("ft_v1.4", verdict="Reject"),
)
VERSIONS = (BASE, GOOD, SICK, SLOW, BAD)
EVERY_KEY = {version.spec.version: keys(version) for version in VERSIONS}

NAMES = [version.spec.version for version in VERSIONS]

TIMES = st.integers(-100_000, 100_000).map(lambda offset: NOW + timedelta(seconds=offset))
KEYS = st.builds(
    ServedKeys,
    st.sampled_from([None, "", "base_v1", "ft_v1.1", "x" * 500]),
    st.sampled_from([None, "", BASE.spec.artifact.uri, "u" * 5000]),
    st.sampled_from([None, "", "zz", BASE.spec.artifact.sha256, "é" * 64]),
) | st.sampled_from([ServedKeys(), *EVERY_KEY.values()])
COUNTS = st.integers(-3, 5) | st.just(2**31 - 1)
DEPLOYMENTS = st.none() | st.builds(
    DeploymentView,
    name=st.just("invoice-detector"),
    uid=st.sampled_from(["deployment-uid", "other"]),
    resource_version=st.just("7"),
    managed=st.booleans(),
    keys=KEYS,
    epoch=st.none() | st.sampled_from([-1, 0, 1, 2, 3, 10**30]),
    template_hash=st.sampled_from(["template-a", "template-b"]),
    generation=st.integers(0, 3),
    observed_generation=st.integers(0, 3),
    replicas=COUNTS,
    updated=COUNTS,
    ready=COUNTS,
    available=COUNTS,
    total=COUNTS,
    paused=st.booleans(),
    deadline_exceeded=st.booleans(),
    can_surge=st.booleans(),
    null_annotations=st.booleans(),
    keys_manager=st.sampled_from([None, "", FIELD_MANAGER, "kubectl"]),
    deleting=st.booleans(),
    progress_deadline_seconds=st.sampled_from([-1, 0, 1, 600, 2**31 - 1, 10**15]),
    trouble=st.none()
    | st.builds(Problem, st.sampled_from(["Unschedulable", "SidecarFails", "PodReplaced"]), st.text()),
    fault=st.none()
    | st.builds(Fault, st.sampled_from(["Ended", "StoppedReady", "NotReady"]), st.text(), st.none() | TIMES),
)
LIVE_VERSIONS = st.sampled_from([live_version(version) for version in VERSIONS])
FLIGHTS = st.none() | st.builds(
    InFlight,
    promotion=st.sampled_from(["to-ft-v1-1", "gone"]),
    promotion_uid=st.sampled_from(["uid-ft_v1.1", "gone"]),
    spec_hash=st.just("0" * 16),
    phase=st.sampled_from(["Flipping", "Watching", "Returning"]),
    to=LIVE_VERSIONS,
    back=st.none() | LIVE_VERSIONS,
    epoch=st.integers(0, 4),
    deployment_uid=st.just("deployment-uid"),
    template_hash=st.just("template-a"),
    started_at=TIMES,
    phase_since=TIMES,
    deadline=TIMES,
    why=st.sampled_from(["", "Unhealthy", "ConcurrentChange"]),
    message=st.text(max_size=5),
    replicas=COUNTS,
    unhealthy_since=st.none() | TIMES,
    missing_since=st.none() | TIMES,
    lifted_hold=st.booleans(),
    bare=st.booleans(),
    unsettled=st.booleans(),
    evidence=st.text(max_size=5),
    brake=st.none()
    | st.builds(
        Brake,
        promotion=st.sampled_from(["to-base-v1", "gone"]),
        promotion_uid=st.sampled_from(["uid-base_v1", "gone"]),
        spec_hash=st.just("0" * 16),
        release_hold=st.booleans(),
    ),
)
STATUSES = st.builds(
    lambda recorded, flight, hold, quarantined, reasserted, epoch: replace(
        live(recorded) if recorded else PolicyStatus(),
        in_flight=flight,
        hold=hold,
        quarantined=quarantined,
        reasserted_at=reasserted,
        epoch=max(epoch, flight.epoch if flight else 0, 1 if recorded else 0),
    ),
    st.none() | st.sampled_from(VERSIONS),
    FLIGHTS,
    st.none()
    | st.builds(
        Hold,
        by=st.just("x"),
        reason=st.sampled_from(["External", "ConflictingWriter", "FieldOwned"]),
        message=st.text(max_size=5),
        since=TIMES,
    ),
    st.lists(
        st.builds(
            Quarantined,
            version=st.just("v"),
            sha256=st.sampled_from([version.spec.artifact.sha256 for version in VERSIONS]),
            reason=st.just("Unhealthy"),
            since=TIMES,
        ),
        max_size=2,
    ).map(tuple),
    st.lists(TIMES, max_size=3).map(tuple),
    st.integers(0, 5),
)
PROMOTIONS = st.builds(
    lambda version, came_from, release, age, phase: replace(
        promotion(version, came_from, release_hold=release, age=age),
        status=replace(promotion(version).status, phase=phase),
    ),
    st.sampled_from([*NAMES, "base_v7"]),
    st.sampled_from([None, *NAMES]),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([None, "Pending", "Failed"]),
)


NUMBERS = st.sampled_from([0.0, 0.3, 0.9, 1.0, 49.9, 50.0, 300.0, 1e12, 1e300]) | st.floats(0, 2)
RATES = st.builds(Rate, share=NUMBERS, of=NUMBERS)
HELD = st.builds(Held, rate=RATES, line=NUMBERS, field=st.text(max_size=300), before=st.none() | RATES)
AWAY = st.builds(Problem, st.sampled_from(["PrometheusUnreachable", "ForeignSeries"]), st.text(max_size=5))
SERIES = (
    st.none()
    | AWAY
    | st.builds(
        VersionSeries,
        documents=st.none() | NUMBERS,
        fields=st.lists(
            HELD,
            max_size=4,
        ).map(tuple),
        confidence=st.none() | HELD,
        latency=st.none() | st.builds(Slow, value=NUMBERS, line=NUMBERS, before=st.none() | NUMBERS),
    )
)
ALERT = st.builds(
    Alert, name=st.text(max_size=300), field=st.text(max_size=300), version=st.text(max_size=5), seconds=st.integers(0)
)
ALERTS = (
    st.none()
    | AWAY
    | st.builds(Alerts, firing=st.lists(ALERT, max_size=4).map(tuple), scraped=st.booleans(), ruled=st.booleans())
)


def policies() -> st.SearchStrategy[Policy]:
    return st.builds(lambda status, suspended: policy(status, suspend=suspended), STATUSES, st.booleans())
