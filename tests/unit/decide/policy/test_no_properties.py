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
from finetune_operator.api.policy_status import LiveVersion, PolicyStatus, Rejected
from finetune_operator.api.promotion import Despite
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.views import PolicyView, ServedKeys
from house.deep import part_of
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
    in_runs: tuple[Rejected, ...] = ()
    """Those of runs that are still there."""
    taken_off: frozenset[str] = frozenset()
    """Bytes that a flight or somebody's keys replaced on the Deployment, or that it did not have at the no to them."""
    wrong: tuple[str, ...] = ()

    def view(self) -> PolicyView:
        """Return what the policy sees; a no is in every look from then on, as long as its run is there."""
        return with_changes(super().view(), rejections=self.in_runs)

    def turn(self, *, crash: bool = False, stale: PolicyView | None = None) -> None:
        """Reconcile once, and judge what was applied by what had been heard when it was decided."""
        if self.target is not None:
            self.taken_off -= {self.target.keys.sha256}
        if stale is None:
            self._see_others_keys()
        heard = self.noes if stale is None else stale.rejections
        known = len(self.commits)
        super().turn(crash=crash, stale=stale)
        for commit in self.commits[known:]:
            self._judge(commit, {no.sha256 for no in heard})

    def _see_others_keys(self) -> None:
        there, status = self.target, self.policy.status
        if there is None or there.keys.absent or status.in_flight is not None:
            return
        live_now = status.live
        if live_now is not None and live_now.sha256 != there.keys.sha256 and status.is_good(live_now.sha256):
            self.taken_off |= {live_now.sha256}

    def _judge(self, commit: Commit, heard: set[str]) -> None:
        put, gone = commit.after.sha256, commit.before.sha256
        if put == gone:
            return
        flight = commit.status.in_flight
        goes_on = flight is None and put not in self.taken_off
        if put in heard and not goes_on and self._others(put, commit.status):
            self.wrong += (f"{commit.after.version}: {'put back' if flight is None else flight.phase}",)
        self.taken_off = (self.taken_off | {gone}) - {put} if gone else self.taken_off - {put}

    def _others(self, put: str | None, status: PolicyStatus) -> list[LiveVersion]:
        flight, rejected = status.in_flight, {no.sha256 for no in self.noes}
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
            no = Rejected(version=version, sha256=SHA[version], by="ann", at=world.now)
            world.noes, world.in_runs = (*world.noes, no), (*world.in_runs, no)
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


def delete_the_runs(world: Said) -> None:
    """Each no was heard: there was a look since."""
    world.in_runs = ()


def restore(back: int) -> Event:
    """The policy comes back with a status of a while ago; the runs that were there are there, too."""

    def event(world: Said) -> None:
        if len(world.statuses) > back:
            world.policy = replace(world.policy, status=world.statuses[-1 - back])
            world.statuses.append(world.policy.status)

    return event


def rejected_at_take_off(version: str) -> Event:
    """A promotion takes off, a crash keeps its keys from being applied, and a person rejects it."""

    def event(world: Said) -> None:
        ask(version, "live", release=True, despite=False)(world)
        world.turn(crash=True)
        reject(version)(world)

    return event


def let_go(world: Said) -> None:
    if world.target is not None:
        world.target.write(ServedKeys(), None, "kubectl")


YES = st.just(True)
EVENTS = st.one_of(
    st.builds(reject, st.sampled_from(NAMES)),
    st.builds(ask, st.sampled_from(NAMES), st.sampled_from(["flight", "live"]), release=YES, despite=st.booleans()),
    st.builds(ask, st.sampled_from(NAMES), st.sampled_from(["flight", "live"]), release=YES, despite=st.just(False)),
    st.sampled_from([wait(5), wait(15), wait(40), wait(90), wait(200)]),
    st.builds(restore, st.integers(1, 20)) | st.builds(rejected_at_take_off, st.sampled_from(NAMES)),
    st.sampled_from([let_go, recreate, delete, crash, act_on_a_stale_view, delete_the_runs]),
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


@pytest.mark.part
@pytest.mark.row("D79")
@pytest.mark.row("D110")
@pytest.mark.row("D115")
@pytest.mark.row("D116")
@pytest.mark.row("D117")
@pytest.mark.row("D118")
@pytest.mark.row("D119")
@settings(max_examples=part_of(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(EVENTS, max_size=16))
def test_what_a_person_rejected_is_put_live_by_nothing_where_there_is_something_better(script: list[Event]) -> None:
    assert play(script).wrong == ()


LEAVES = [ask("ft_v1.2", "live", release=True, despite=False), wait(15), reject("ft_v1.1")]
FAILS = [ask("ft_v1.3", "live", release=True, despite=False), way_back_begins]
THEIRS = foreign(ServedKeys("junk", "file:///junk", "x" * 64), "kubectl", 3)
NOBODY: Callable[..., None] = lambda *_: None  # noqa: E731


@pytest.mark.parametrize(
    ("planted", "bug", "script"),
    [
        ("memory.rejection_of", NOBODY, [LEAVES[0], reject("ft_v1.1"), change(paused=True), wait(700)]),
        ("returning.instead", lambda _, status, __, message: (status, message), [*LEAVES, recreate]),
        ("recall.put_aside", lambda _, status: Decision(status), [delete, reject("ft_v1.1"), recreate]),
        ("at_rest.given_up", lambda _, status, __: (status, ""), [reject("ft_v1.1"), THEIRS, let_go]),
        ("flight.led_elsewhere", lambda _, flight, __: flight, FAILS),
        ("flight.barred", NOBODY, [rejected_at_take_off("ft_v1.2")]),
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
