"""Whatever happens after a person's no: nothing puts those bytes live where something better served."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as with_changes
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from finetune_operator.api.names import FIELD_MANAGER
from finetune_operator.api.policy import LiveVersion, PolicyStatus, Rejected
from finetune_operator.api.promotion import Despite
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.views import PolicyView, ServedKeys
from unit.decide.policy.test_properties import (
    act_on_a_stale_view,
    change,
    crash,
    delete,
    foreign,
    forget_promotions,
    lose_the_status,
    retemplate,
    scale,
    suspend,
    wait,
)
from unit.decide.policy.world import (
    NOW,
    Commit,
    ModelDeployment,
    World,
    base,
    keys,
    live,
    policy,
    promotion,
    seconds,
    tuned,
)

BASE = base()
ONE = tuned("ft_v1.1", baseline="base_v1")
TWO = tuned("ft_v1.2", baseline="ft_v1.1")
SICK = tuned("ft_v1.3", baseline="ft_v1.1")
SLOW = tuned("ft_v1.4", baseline="ft_v1.2")
BESIDE = tuned("ft_v1.5", baseline="base_v1")
VERSIONS = (BASE, ONE, TWO, SICK, SLOW, BESIDE)
NAMES = [version.spec.version for version in VERSIONS]
SHA = {version.spec.version: version.spec.artifact.sha256 for version in VERSIONS}
BEHAVIOUR = {"ft_v1.3": "crash", "ft_v1.4": "never"}

Event = Callable[["Said"], None]


@dataclass
class Said(World):
    """A world in which people say no; each apply of such bytes is judged when it is committed."""

    noes: tuple[Rejected, ...] = ()
    before_take_off: tuple[str, frozenset[str]] = ("", frozenset())
    """The flight's promotion, and which bytes had been rejected when it took off."""
    taken_off: frozenset[str] = frozenset()
    """Bytes that a flight replaced on the Deployment, or that a person rejected when it did not have them."""
    wrong: tuple[str, ...] = ()

    def view(self) -> PolicyView:
        """Return what the policy sees; a no is in every look from then on, as runs tell it."""
        return with_changes(super().view(), rejections=self.noes)

    def turn(self, *, crash: bool = False, stale: PolicyView | None = None) -> None:
        """Reconcile once, and judge what was applied."""
        if self.target is not None:
            self.taken_off -= {self.target.keys.sha256}
        known = len(self.commits)
        super().turn(crash=crash, stale=stale)
        flight = self.policy.status.in_flight
        if flight is not None and flight.promotion_uid != self.before_take_off[0]:
            self.before_take_off = flight.promotion_uid, self._rejected()
        for commit in self.commits[known:]:
            self._judge(commit)

    def _rejected(self) -> frozenset[str]:
        return frozenset(no.sha256 for no in self.noes)

    def _judge(self, commit: Commit) -> None:
        put, gone = commit.after.sha256, commit.before.sha256
        if put == gone:
            return
        anew = put in self._rejected() and not self._may(put, commit.status)
        if anew and self._others(put, commit.status):
            flight = commit.status.in_flight
            self.wrong += (f"{commit.after.version}: {'put back' if flight is None else flight.phase}",)
        self.taken_off = (self.taken_off | {gone}) - {put} if gone else self.taken_off - {put}

    def _may(self, put: str | None, status: PolicyStatus) -> bool:
        """Tell whether a flight had taken off already, or what is put back was on the Deployment last."""
        flight = status.in_flight
        if flight is None:
            return put not in self.taken_off
        return flight.phase != "Returning" and put not in self.before_take_off[1]

    def _others(self, put: str | None, status: PolicyStatus) -> list[LiveVersion]:
        flight, rejected = status.in_flight, self._rejected()
        served = [*status.last_good, *([status.live] if status.live else [])]
        if flight is not None and flight.back is not None:
            served.append(flight.back)
        left = None if flight is None else flight.to.sha256
        return [
            entry
            for entry in served
            if entry.sha256 not in {put, left, *rejected}
            and status.quarantine_of(entry.sha256) is None
            and status.taken_back_of(entry.sha256) is None
        ]


def reject(version: str) -> Event:
    def event(world: Said) -> None:
        if SHA[version] not in {no.sha256 for no in world.noes}:
            world.noes += (Rejected(version=version, sha256=SHA[version], by="ann", at=world.now),)
            if world.target is None or world.target.keys.sha256 != SHA[version]:
                world.taken_off |= {SHA[version]}

    return event


def ask(version: str, came_from: str, *, release: bool, despite: bool) -> Event:
    """A person promotes it from what is live, or from what is in flight, which may end that flight."""

    def event(world: Said) -> None:
        flight, recorded = world.policy.status.in_flight, world.policy.status.live
        flown = None if flight is None else flight.to.version
        live_now = None if recorded is None else recorded.version
        given = {"flight": flown or live_now, "live": live_now}.get(came_from, came_from)
        word = Despite(checks=("Quarantined", "TakenBack", "NotSettled"), reason="sure") if despite else None
        name = f"p-{(world.now - NOW).total_seconds():.0f}-{version.replace('_', '-').replace('.', '-')}"
        asked = promotion(version, given, name=name, release_hold=release, despite=word)
        world.ask(replace(asked, metadata=replace(asked.metadata, creation_timestamp=world.now)))

    return event


def recreate(world: World) -> None:
    uid = f"uid-since-{(world.now - NOW).total_seconds()}"
    world.target = ModelDeployment(now=world.now, uid=uid, changed_at=world.now, behaviour=BEHAVIOUR)


def let_go(world: Said) -> None:
    if world.target is not None:
        world.target.write(ServedKeys(), None, "kubectl")


YES = st.just(True)
EVENTS = st.one_of(
    st.builds(reject, st.sampled_from(NAMES)),
    st.builds(ask, st.sampled_from(NAMES), st.sampled_from(["flight", "live"]), release=YES, despite=st.booleans()),
    st.builds(ask, st.sampled_from(NAMES), st.sampled_from(["flight", "live"]), release=YES, despite=st.just(False)),
    st.sampled_from([wait(5), wait(15), wait(40), wait(90), wait(200)]),
    st.sampled_from([let_go, recreate, delete, crash, act_on_a_stale_view]),
    st.builds(
        foreign,
        st.sampled_from([*map(keys, VERSIONS), ServedKeys("junk", "file:///junk", "x" * 64)]),
        st.sampled_from(["kubectl-rollout", "argocd-controller"]),
        st.sampled_from([None, 1, 3]),
    ),
    st.sampled_from(
        [
            retemplate,
            lose_the_status,
            forget_promotions,
            change(paused=True),
            change(paused=False),
            change(managed=False),
            change(managed=True),
            scale(0),
            scale(2),
            suspend(True),
            suspend(False),
        ]
    ),
)


def way_back_begins(world: Said) -> None:
    """The flight fails in its watch; a crash keeps its old keys from being applied, and a person rejects these."""
    for _ in range(60):
        flight = world.policy.status.in_flight
        assert flight is not None
        if flight.phase == "Returning":
            reject("ft_v1.1")(world)
            return
        world.turn(crash=flight.phase == "Watching")
        world.now += seconds(3)
    raise AssertionError("it never failed")


def play(script: list[Event]) -> Said:
    """Return the world after what happened to it: ft_v1.1 is live, and base_v1 served before."""
    target = ModelDeployment(now=NOW, behaviour=BEHAVIOUR)
    target.write(keys(ONE), 1, FIELD_MANAGER)
    target.changed_at = NOW - seconds(3600)
    world = Said(target=target, versions=VERSIONS, policy=policy(live(ONE, 1, ONE, BASE)))
    for event in script:
        event(world)
        world.turn()
        world.now += seconds(2)
    world.run(700, step=20)
    return world


@pytest.mark.row("D79")
@pytest.mark.row("D110")
@pytest.mark.row("D115")
@pytest.mark.row("D116")
@pytest.mark.row("D117")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(EVENTS, max_size=16))
def test_what_a_person_rejected_is_put_live_by_nothing_where_there_is_something_better(script: list[Event]) -> None:
    assert play(script).wrong == ()


LEAVES = [ask("ft_v1.2", "live", release=True, despite=False), wait(15), reject("ft_v1.1")]
FAILS = [ask("ft_v1.3", "live", release=True, despite=False), way_back_begins]
NOBODY: Callable[..., None] = lambda *_: None  # noqa: E731


@pytest.mark.parametrize(
    ("planted", "bug", "script"),
    [
        ("memory.rejection_of", NOBODY, [LEAVES[0], reject("ft_v1.1"), change(paused=True), wait(700)]),
        ("returning.instead", lambda _, status, __, message: (status, message), [*LEAVES, recreate]),
        ("recall.put_aside", lambda _, status: Decision(status), [delete, reject("ft_v1.1"), recreate]),
        ("flight.led_elsewhere", lambda _, flight, __: flight, FAILS),
        ("brake.barred", NOBODY, [*LEAVES, ask("ft_v1.1", "flight", release=True, despite=False)]),
        ("eligibility.barred", NOBODY, [*LEAVES, wait(200), ask("ft_v1.1", "live", release=True, despite=False)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_one_of_what_keeps_them_off_they_go_live(
    planted: str, bug: Any, script: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the test above could not fail."""
    assert play(script).wrong == ()
    module, name = planted.split(".")
    package = "promotion" if module == "eligibility" else "policy"
    monkeypatch.setattr(f"finetune_operator.decide.{package}.{module}.{name}", bug)
    assert play(script).wrong != ()
