"""Whatever happens to a Deployment, in whatever order: the promises about flips hold, and the world comes to rest."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from finetune_operator.api.names import FIELD_MANAGER
from finetune_operator.api.policy import Policy
from finetune_operator.api.promotion import Approval, Despite, Promotion, PromotionStatus
from finetune_operator.api.value import canonical_json
from finetune_operator.decide.decision import ApplyKeys
from finetune_operator.decide.deployment import HIGHEST_FOREIGN_EPOCH
from finetune_operator.decide.policy import machine as policy_decide
from finetune_operator.decide.promotion import machine as promotion_decide
from finetune_operator.decide.promotion.view import PromotionView
from finetune_operator.decide.promotion.waiting import identity
from finetune_operator.decide.views import DeploymentView, PolicyView, ServedKeys
from house.deep import part_of
from unit.decide.policy.any_view import (
    ALERTS,
    BAD,
    BASE,
    DEPLOYMENTS,
    EVERY_KEY,
    NAMES,
    PROMOTIONS,
    SERIES,
    SLOW,
    TIMES,
    VERSIONS,
    policies,
)
from unit.decide.policy.world import (
    NOW,
    Commit,
    ModelDeployment,
    World,
    keys,
    live,
    policy,
    promotion,
    seconds,
    view,
)

APPROVED = Approval(by="ann", evidence=SLOW.spec.evidence.digest if SLOW.spec.evidence else "")

Event = Callable[[World], None]


def ask(version: str, came_from: str | None, release: bool, number: int) -> Event:
    def event(world: World) -> None:
        approval = APPROVED if version == "ft_v1.3" else None
        name = f"p{number}-{version.replace('_', '-').replace('.', '-')}"
        despite = Despite(checks=("TakenBack",), reason="sure") if number == 3 else None
        world.ask(promotion(version, came_from, name=name, release_hold=release, approval=approval, despite=despite))

    return event


def pull_the_brake(world: World) -> None:
    """Somebody goes back from what is in flight, or from what is live, to the base."""
    flight, recorded = world.policy.status.in_flight, world.policy.status.live
    came_from = flight.to.version if flight is not None else None if recorded is None else recorded.version
    asked = promotion("base_v1", came_from, name=f"brake-{(world.now - NOW).total_seconds():.0f}")
    world.ask(replace(asked, metadata=replace(asked.metadata, creation_timestamp=world.now)))


def knowingly(version: str, came_from: str | None, number: int) -> Event:
    """A promotion that overrules whatever can be overruled."""
    despite = Despite(checks=("Quarantined", "NotSettled"), reason="it is mended")

    def event(world: World) -> None:
        name = f"despite{number}-{version.replace('_', '-').replace('.', '-')}"
        approval = APPROVED if version == "ft_v1.3" else None
        world.ask(promotion(version, came_from, name=name, release_hold=True, approval=approval, despite=despite))

    return event


def foreign(served: ServedKeys, manager: str, epoch: int | None) -> Event:
    def event(world: World) -> None:
        if world.target is not None:
            world.target.write(served, epoch, manager)

    return event


def recreate(world: World) -> None:
    uid = f"uid-since-{(world.now - NOW).total_seconds()}"
    world.target = ModelDeployment(now=world.now, uid=uid, changed_at=world.now, behaviour=BEHAVIOUR)


def delete(world: World) -> None:
    world.target = None


BEHAVIOUR = {"ft_v1.2": "crash", "ft_v1.3": "never"}


def change(**changes: Any) -> Event:
    def event(world: World) -> None:
        for name, value in changes.items():
            if world.target is not None:
                setattr(world.target, name, value)

    return event


def scale(replicas: int) -> Event:
    def event(world: World) -> None:
        if world.target is not None:
            world.target.scale(replicas)

    return event


def retemplate(world: World) -> None:
    if world.target is not None:
        there = world.target
        there.write(there.keys, there.epoch, there.manager or FIELD_MANAGER, template=f"{there.template_hash}x")


def suspend(on: bool) -> Event:
    def event(world: World) -> None:
        world.policy = replace(world.policy, spec=replace(world.policy.spec, suspend=on))

    return event


def lose_the_status(world: World) -> None:
    """The policy is made anew, from a backup or from Git; the versions' records are there."""
    world.policy = policy()
    world.statuses.append(world.policy.status)
    world.promotions = {
        name: replace(one, status=PromotionStatus()) for name, one in world.promotions.items()
    }  # what they came to stands on them


def forget_promotions(world: World) -> None:
    world.promotions.clear()


def wait(duration: float) -> Event:
    return lambda world: world.run(duration, step=max(5, duration / 20))


def crash(world: World) -> None:
    world.turn(crash=True)


def act_on_a_stale_view(world: World) -> None:
    """An old process decides from what it saw a while ago, and its status write is refused."""
    old = world.view()
    world.run(30)
    world.turn(stale=old)


EVENTS = st.one_of(
    st.builds(ask, st.sampled_from(NAMES), st.sampled_from([None, *NAMES]), st.booleans(), st.integers(0, 3)),
    st.builds(knowingly, st.sampled_from(NAMES), st.sampled_from([None, *NAMES]), st.integers(0, 1)),
    st.builds(
        foreign,
        st.sampled_from([*EVERY_KEY.values(), ServedKeys(), ServedKeys("junk", None, "x")]),
        st.sampled_from(["kubectl-rollout", "argocd-controller"]),
        st.sampled_from([None, 1, 2, 3]),
    ),
    st.sampled_from([wait(5), wait(15), wait(40), wait(90), wait(700)]),
    st.sampled_from(
        [
            recreate,
            delete,
            crash,
            pull_the_brake,
            act_on_a_stale_view,
            retemplate,
            forget_promotions,
            change(paused=True),
            change(paused=False),
            change(managed=False),
            change(managed=True),
            scale(0),
            scale(2),
            scale(5),
            suspend(True),
            suspend(False),
        ]
    ),
)


def servable(commit: Commit) -> bool:
    """The keys of a commit are what the status before it named: live, or the flight's way there or back."""
    status = commit.status
    named = [ServedKeys()] if status.in_flight is not None and status.in_flight.back is None else []
    versions = [status.live, *([status.in_flight.to, status.in_flight.back] if status.in_flight else [])]
    named += [ServedKeys(v.version, v.uri, v.sha256) for v in versions if v is not None]
    return commit.after in named


def check_promises(world: World) -> None:
    epochs = [commit.epoch for commit in world.commits]
    assert epochs == sorted(set(epochs)), f"epochs must grow: {epochs}"
    recorded = [status.epoch for status in world.statuses]
    assert recorded == sorted(recorded), "the recorded epoch never falls"
    for commit in world.commits:
        assert servable(commit), "an apply without an intent in the status"
        assert commit.before_manager in (None, FIELD_MANAGER) or commit.before == commit.after, "overwrote foreign keys"
        flight = commit.status.in_flight
        put_live = commit.after.sha256
        assert put_live is None or commit.status.quarantine_of(put_live) is None, "a quarantined digest was put live"
        back = flight is not None and flight.phase == "Returning"
        assert back or commit.after != keys(BAD), "a rejected version was put live"
        if flight is not None and flight.phase == "Flipping":
            assert commit.after == ServedKeys(flight.to.version, flight.to.uri, flight.to.sha256)
    for status in world.statuses:
        for entry in status.quarantined:
            assert entry.version in BEHAVIOUR, "a version was blamed that never failed"
            assert "'server'" in entry.evidence, "a version was blamed without evidence"
    for before, after in zip(world.statuses, world.statuses[1:], strict=False):
        one, two = before.in_flight, after.in_flight
        if one is not None and two is not None:
            assert one.promotion_uid == two.promotion_uid, "a second flight began before the first had ended"


def check_rest(world: World) -> None:
    """After everything was mended, nothing is written any more and no promotion that could act is left."""
    if world.target is None:
        recreate(world)
    assert world.target is not None
    change(paused=False, managed=True)(world)
    scale(2)(world)
    suspend(False)(world)
    world.run(8000, step=100)
    writes, commits = world.status_writes, len(world.commits)
    world.run(4000, step=200)
    assert (world.status_writes, len(world.commits)) == (writes, commits), "at rest there are no writes"
    for one in world.promotions.values():
        assert one.status.phase is not None
    consumed = [(entry.name, entry.spec_hash) for entry in world.policy.status.consumed]
    assert len(consumed) == len(set(consumed)), "a promotion acts once"


@pytest.mark.part
@settings(max_examples=part_of(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=st.booleans(), script=st.lists(EVENTS, max_size=14))
def test_the_promises_hold_whatever_happens(first: bool, script: list[Event]) -> None:
    target = ModelDeployment(now=NOW, behaviour=BEHAVIOUR)
    world = World(target=target, versions=VERSIONS)
    if not first:
        target.write(keys(BASE), 1, FIELD_MANAGER)
        target.changed_at = NOW - seconds(3600)
        world.policy = policy(live(BASE))
    for event in script:
        event(world)
        world.turn()
        world.now += seconds(2)
        check_promises(world)
    check_rest(world)
    check_promises(world)


FAILED: list[Event] = [ask("ft_v1.2", "base_v1", False, 0), wait(700)]
LEFT: list[Event] = [
    ask("ft_v1.1", "base_v1", False, 0),
    wait(90),
    ask("base_v1", "ft_v1.1", False, 1),
    wait(90),
]


@pytest.mark.part
@settings(max_examples=part_of(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(EVENTS | st.just(lose_the_status), max_size=14))
@example(script=[*FAILED, lose_the_status, wait(40), ask("ft_v1.2", "base_v1", True, 1), wait(90)])
@example(script=[*LEFT, lose_the_status, wait(40), ask("ft_v1.1", "base_v1", True, 1), wait(90)])
def test_what_failed_or_was_taken_back_stays_so_whenever_the_status_is_lost(script: list[Event]) -> None:
    """Also where it is lost right after it was written: the versions' reconcilers had seen it by then."""
    target = ModelDeployment(now=NOW, behaviour=BEHAVIOUR)
    target.write(keys(BASE), 1, FIELD_MANAGER)
    target.changed_at = NOW - seconds(3600)
    world = World(target=target, versions=VERSIONS, policy=policy(live(BASE)))
    for event in script:
        event(world)
        world.turn()
        world.now += seconds(2)
    check_rest(world)
    check_memory(world)


def check_memory(world: World) -> None:
    """No flight goes to what was quarantined ever, or to what stood as taken back unless it says so."""
    failed: set[str] = set()
    taken: set[str] = set()
    flown: str | None = None
    for status in world.statuses:
        flight = status.in_flight
        if flight is not None and flight.promotion_uid != flown:
            flown = flight.promotion_uid
            assert flight.to.sha256 not in failed, "a quarantined version flew again"
            assert flight.to.sha256 not in taken or flight.promotion.startswith("p3-"), "taken back, without a word"
        failed |= {entry.sha256 for entry in status.quarantined}
        if status.live is not None and status.is_good(status.live.sha256):
            taken.discard(status.live.sha256)
        taken |= {entry.sha256 for entry in status.taken_back}


@settings(max_examples=400, deadline=None)
@given(
    of=policies(),
    there=DEPLOYMENTS,
    asked=st.lists(PROMOTIONS, max_size=3),
    versions=st.lists(st.sampled_from(VERSIONS), max_size=5).map(tuple),
    now=TIMES,
    rivals=st.sampled_from([(), ("older",)]),
    manager=st.sampled_from(["", "kubectl"]),
    series=SERIES,
    alerts=ALERTS,
)
def test_every_view_has_a_decision_and_a_decision_without_a_write_is_the_last(
    of: Policy,
    there: DeploymentView | None,
    asked: list[Promotion],
    versions: Any,
    now: Any,
    rivals: Any,
    manager: str,
    series: Any,
    alerts: Any,
) -> None:
    seen = view(of, there, *asked, versions=versions, now=now, rivals=rivals, series=series, alerts=alerts)
    decision = policy_decide.decide(seen)
    policy_decide.refused(seen, manager, "conflict")
    for one in asked:
        promotion_decide.decide(PromotionView(one, now, of, there, versions))
    assert decision.status.epoch >= of.status.epoch
    assert len(canonical_json(decision.status)) < 32 * 1024
    for action in decision.actions:
        if isinstance(action, ApplyKeys):
            assert there is not None
            assert (action.uid, action.resource_version) == (there.uid, there.resource_version)
            assert there.epoch is None or there.epoch > HIGHEST_FOREIGN_EPOCH or action.epoch > there.epoch
            assert decision.status.epoch >= action.epoch
    check_settles(seen)


def check_settles(seen: PolicyView) -> None:
    """In a world that does not move, repeated decisions end in one that changes nothing."""
    for _ in range(20):
        decision = policy_decide.decide(seen)
        if decision.status == seen.policy.status:
            break
        seen = view(
            replace(seen.policy, status=decision.status),
            seen.deployment,
            *seen.promotions,
            versions=seen.versions,
            now=seen.now,
            rivals=seen.rivals,
        )
    else:
        raise AssertionError("no end of status writes")
    assert policy_decide.decide(seen) == decision


def test_identities_do_not_collide_in_these_worlds() -> None:
    asked = [promotion(name, came_from, name="one") for name in NAMES for came_from in NAMES]
    assert len({identity(one) for one in asked}) == len(asked)
