"""Others act while a run goes its way: after any write of the operator, whatever they do, no promise breaks."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from house.deep import DEEP, first_of

from .api_server import Write
from .controllers import NAMESPACE
from .deaths import deaths
from .invariants import served, violations
from .stories import STORIES, USER, Story, World, promotion, run, stage
from .test_crashes import first_of_its_own

PASS, REJECT, REVIEW, FAILED_ROLLOUT = STORIES
DEPLOYMENT = (Kind.DEPLOYMENT, "invoice-detector")
POLICY = (Kind.POLICY, "invoice-fields")
OPERATOR = "finetune-operator"


class Troubled(World):
    """A story in which `trouble` comes once, right after the operator's write number `after`."""

    def __init__(self, story: Story, trouble: Callable[["Troubled"], None], after: int) -> None:
        """Set the stage; the story's user applies the run once, and not again when somebody deletes it."""
        super().__init__(story)
        self.trouble = trouble
        self.after = after
        self.marked: int | None = None
        self.applied = False
        self.client.then = self._then

    @property
    def came(self) -> bool:
        """The trouble has come."""
        return self.marked is not None

    def since(self) -> list[Write]:
        """Return what was written after the trouble."""
        return self.server.log[self.marked :]

    def _then(self, number: int) -> None:
        if number >= self.after and self.marked is None:
            self.trouble(self)
            self.marked = len(self.server.log)

    def _user(self) -> None:
        if self.applied and self.server.get(Kind.RUN, NAMESPACE, "first") is None:
            return
        super()._user()
        self.applied = self.server.get(Kind.RUN, NAMESPACE, "first") is not None

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object as the user."""
        self.server.delete(USER, kind, NAMESPACE, name)

    def replace(self, kind: Kind, name: str) -> None:
        """Delete an object and create it anew, as Git has it."""
        self.delete(kind, name)
        manifest = next(m for k, m in stage() if k is kind and m["metadata"]["name"] == name)
        self.server.create(USER, kind, NAMESPACE, manifest)


@cache
def told(story: Story) -> World:
    """Return the story that nobody troubles, played to rest."""
    world = World(story)
    world.play()
    return world


def writes_of_the_run(story: Story, first: Callable[[Write], bool] = lambda _: True) -> range:
    """Return the numbers of the operator's writes since the run was applied, from the first that is as wanted."""
    log = told(story).server.log
    applied = next(n for n, w in enumerate(log) if w.kind is Kind.RUN and w.verb == "create")
    number = sum(w.actor == OPERATOR for w in log[:applied])
    ours = [w for w in log[applied:] if w.actor == OPERATOR]
    return range(number + next(n for n, w in enumerate(ours) if first(w)), number + len(ours))


def moments(story: Story) -> Iterator[int]:
    """Yield the numbers of those writes; of a beginning that stories share, each once, unless all is to be played."""
    own = 0 if DEEP else first_of_its_own(story)
    yield from (number for number in writes_of_the_run(story) if number >= own)


def troubled(story: Story, trouble: Callable[[Troubled], None], after: int) -> Troubled:
    """Play a story with trouble, to rest; the promises of every story must hold."""
    world = Troubled(story, trouble, after)
    world.play()
    assert world.came, f"write {after} was not reached"
    assert violations(world) == [], f"trouble after write {after}"
    assert world.get(*POLICY)["status"].get("inFlight") is None
    return world


def policy_status(world: World) -> Object:
    """Return the policy's memory."""
    status: Object = world.get(*POLICY)["status"]
    return status


def delete_the_run(world: Troubled) -> None:
    world.delete(Kind.RUN, "first")


def replace_the_policy(world: Troubled) -> None:
    world.replace(*POLICY)


def replace_the_deployment(world: Troubled) -> None:
    world.replace(*DEPLOYMENT)


def rollout_undo(world: Troubled) -> None:
    """Put the pod template back as `kubectl rollout undo` does: to what the ReplicaSet before was made from."""
    log = [w.after for w in world.server.log if w.kind is Kind.DEPLOYMENT and w.after is not None]
    templates = [item["spec"]["template"] for item in log]
    previous = next(template for template in reversed(templates) if template != templates[-1])
    world.server.update_spec("kubectl-rollout", *place(DEPLOYMENT), lambda item: item["spec"].update(template=previous))


def place(what: tuple[Kind, str]) -> tuple[Kind, str, str]:
    """Return kind, namespace and name."""
    return what[0], NAMESPACE, what[1]


def flips(writes: list[Write]) -> list[Write]:
    """Return the operator's writes that change what the Deployment serves."""
    applied = [w for w in writes if w.kind is Kind.DEPLOYMENT and w.actor == OPERATOR]
    return [w for w in applied if served(w.before) != served(w.after)]


@pytest.mark.part
@pytest.mark.parametrize("story", first_of((PASS, FAILED_ROLLOUT, REVIEW, REJECT), 2), ids=lambda story: story.name)
def test_a_run_can_be_deleted_at_any_moment(story: Story) -> None:
    """Its Jobs go with it. Only a promotion that it had asked for already goes on; else nothing live changes."""
    for after in moments(story):
        world = troubled(story, delete_the_run, after)
        uids = {w.uid for w in world.server.log if w.kind is Kind.RUN}
        left = [
            item["metadata"]["name"]
            for kind in (Kind.JOB, Kind.POD, Kind.CONFIG_MAP)
            for item in world.server.list(kind, NAMESPACE)
            if item["metadata"]["labels"].get("finetune-operator.io/owner-uid") in uids
        ]
        assert left == [], f"after write {after}"
        asked = [p for p in world.server.list(Kind.PROMOTION, NAMESPACE) if p["spec"]["version"] != "base_v1"]
        summary = world.summary()
        assert summary["live"] == summary["served"]
        assert summary["live"] == (story.live if asked else "base_v1"), f"after write {after}"


@pytest.mark.part
@pytest.mark.parametrize("story", first_of((PASS, FAILED_ROLLOUT, REVIEW, REJECT), 2), ids=lambda story: story.name)
def test_a_policy_made_anew_adopts_and_holds(story: Story) -> None:
    """Its memory is gone: what the Deployment serves is live, and stays so, until somebody releases the hold.

    What is not rolled out is waited for: a version whose pods never get ready is never live.
    """
    for after in moments(story):
        world = troubled(story, replace_the_policy, after)
        status, summary = policy_status(world), world.summary()
        ready = summary["served"] not in story.broken
        assert (status.get("live") or {}).get("version") == (summary["served"] if ready else None), f"write {after}"
        assert (status.get("hold") or {}).get("reason") == ("Adopted" if ready else "NotRolledOut"), f"write {after}"
        under_way = [w for w in world.since() if w.actor == OPERATOR][:1]
        assert flips(world.since()) == flips(under_way), f"after write {after}"


@pytest.mark.part
@pytest.mark.parametrize("story", first_of((PASS, FAILED_ROLLOUT, REVIEW, REJECT), 2), ids=lambda story: story.name)
def test_a_deployment_made_anew_gets_back_what_is_live(story: Story) -> None:
    """Without our keys it would serve nothing of ours: what is on record is put there, and the run ends."""
    for after in moments(story):
        world = troubled(story, replace_the_deployment, after)
        summary = world.summary()
        assert summary["served"] == summary["live"], f"after write {after}"
        finished = {c["type"]: c["status"] for c in world.get(Kind.RUN, "first")["status"]["conditions"]}
        assert finished["Finished"] == "True", f"after write {after}"


@pytest.mark.parametrize("story", [PASS, FAILED_ROLLOUT], ids=lambda story: story.name)
def test_rollout_undo_wins_in_the_middle_of_a_flight_and_after_it(story: Story) -> None:
    """Whoever undoes a rollout means it: nothing of ours is written over it, and the policy holds."""
    for after in writes_of_the_run(story, lambda write: flips([write]) != []):
        world = troubled(story, rollout_undo, after)
        assert flips(world.since()) == [], f"after write {after}"
        hold = policy_status(world).get("hold") or {}
        assert hold.get("reason") in {"External", "RolledBack"}, f"after write {after}"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_restored_promotion_does_not_act_twice(story: Story) -> None:
    """A repository that is restored applies old promotions again, under their names: they tell what they came to."""
    world = World(story)
    world.play()
    before, log = world.summary(), len(world.server.log)
    live = before["live"]
    phases: dict[str, str] = {}
    for item in world.server.list(Kind.PROMOTION, NAMESPACE):
        name = item["metadata"]["name"]
        phases[name] = item["status"]["phase"]
        if phases[name] == "Succeeded" and item["spec"]["version"] != live:
            phases[name] = "Superseded"  # it says what serves instead, and how to go back
        world.server.delete(USER, Kind.PROMOTION, NAMESPACE, name)
        world.server.create(USER, Kind.PROMOTION, NAMESPACE, {**item, "metadata": {"name": name}})
    world.settle()
    world.resync(3600)
    assert [w for w in world.server.log[log:] if w.kind is Kind.DEPLOYMENT and w.actor == OPERATOR] == []
    assert world.summary() == before
    again = {p["metadata"]["name"]: p["status"]["phase"] for p in world.server.list(Kind.PROMOTION, NAMESPACE)}
    assert again == phases


class Race(World):
    """Two runs for one Deployment, applied at the same moment; a person promotes the base in between, once more."""

    concurrency = 1
    epochs: int | None = 5

    def _user(self) -> None:
        super()._user()
        if self.server.get(Kind.RUN, NAMESPACE, "first") and not self.server.get(Kind.RUN, NAMESPACE, "second"):
            second = run("second")
            if self.epochs is not None:
                second["spec"]["training"] = {"epochs": self.epochs}
            rules = {"concurrency": self.concurrency}
            self.server.update_spec(USER, Kind.POLICY, NAMESPACE, "invoice-fields", lambda o: o["spec"].update(rules))
            self.server.create(USER, Kind.RUN, NAMESPACE, second)
            self.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion("again", "base_v1"))

    def trained(self) -> list[str]:
        """Who trained, in that order."""
        return [name.split("-")[0] for name, _ in self.jobs.created if "-train-" in name]

    def most_places(self) -> int:
        """How many runs had a place at a time."""
        places: dict[str, str | None] = {}
        most = 0
        for write in self.server.log:
            if write.kind is Kind.RUN:
                places[write.name] = ((write.after or {}).get("status") or {}).get("place")
                most = max(most, sum(place == "Taken" for place in places.values()))
        return most

    def at_rest(self) -> bool:
        return super().at_rest() and all(_finished(item) for item in self.server.list(Kind.RUN, NAMESPACE))


def _finished(item: Object) -> bool:
    conditions = (item.get("status") or {}).get("conditions", ())
    return any(c["type"] == "Finished" and c["status"] == "True" for c in conditions)


class SideBySide(Race):
    """Both run at once."""

    concurrency = 2


class TheSameTwice(Race):
    """The second run asks for what the first one asks for."""

    epochs = None


class TheSameSideBySide(TheSameTwice):
    """Both at once: one waits for what comes of the other."""

    concurrency = 2


RACES = [
    (Race, ["Promoted", "Promoted"], ["first", "second"]),
    (SideBySide, ["Promoted", "Promoted"], ["first", "second"]),
    (TheSameTwice, ["Adopted", "Promoted"], ["first"]),
    (TheSameSideBySide, ["Adopted", "Promoted"], ["first"]),
]


class LostVersion(TheSameSideBySide):
    """While the first run's promotion waits for its policy, which is suspended, somebody deletes its ModelVersion."""

    lost = False

    def _user(self) -> None:
        super()._user()
        asked = any(p["spec"]["version"] == "ft_v1.1" for p in self.server.list(Kind.PROMOTION, NAMESPACE))
        if not self.lost and asked:
            conditions = self.get(Kind.RUN, "first")["status"]["conditions"]
            self.lost = any((c["type"], c["reason"]) == ("Promoted", "Suspended") for c in conditions)
            self.suspend(until=self.lost)

    def suspend(self, *, until: bool) -> None:
        if self.get(*POLICY)["spec"].get("suspend", False) is until:
            self.server.update_spec(USER, *place(POLICY), lambda item: item["spec"].update(suspend=not until))
        if until:
            self.server.delete(USER, Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-ft-v1.1")


@pytest.mark.row("R337")
def test_a_run_whose_version_was_deleted_before_it_went_live_keeps_nobody_waiting() -> None:
    world = LostVersion(PASS)
    world.play()
    phases = {item["metadata"]["name"]: item["status"]["phase"] for item in world.server.list(Kind.RUN, NAMESPACE)}
    assert (world.lost, phases) == (True, {"first": "Promoting", "second": "Promoted"})
    assert (world.trained(), world.summary()["live"]) == (["first", "second"], "ft_v1.2")


@pytest.mark.parametrize(
    ("race", "phases", "trained"), first_of(RACES[::-1], 2), ids=lambda item: getattr(item, "__name__", None)
)
def test_two_runs_for_one_deployment_fly_one_after_the_other_and_none_is_thrown_away(
    race: type[Race], phases: list[str], trained: list[str]
) -> None:
    """What the first one put live, the second one is measured against; the same is not trained twice."""
    undisturbed = race(PASS)
    undisturbed.play()
    for where, world in (("no crash", undisturbed), *deaths(lambda: race(PASS), every=6)):
        assert violations(world) == [], where
        ended = sorted(item["status"]["phase"] for item in world.server.list(Kind.RUN, NAMESPACE))
        assert ended == phases, where
        assert sorted(world.trained()) == trained, where
        assert world.most_places() <= race.concurrency, where
        assert world.summary()["live"] == world.summary()["served"] != "base_v1", where
