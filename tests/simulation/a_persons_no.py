"""A person's no at any moment of a run's life, what is lost after it, and every way to put the bytes live after all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from finetune_operator.cluster.errors import Forbidden
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.observe import Observed
from finetune_operator.cluster.port import Object
from finetune_operator.controller.reconcile import Reconciler

from .api_server import copied
from .controllers import NAMESPACE
from .invariants import served
from .stories import STORIES, USER, Story, World, promotion, run, stage
from .test_records import KEY, Watched
from .trainer_script import Trainer, digest

PASS, REJECT, REVIEW, FAILED = STORIES
POLICY = "invoice-fields"
BYTES = digest("first")
"""What every run makes here: the trainer is deterministic, whoever asks it."""


class SameBytes(Trainer):
    """Makes the same bytes for every run."""

    def _train(self, document: Object, inputs: Object) -> Object:
        made = super()._train(document, inputs)
        return {**made, "artifact": {**made["artifact"], "sha256": BYTES}}


def same_bytes(story: Story) -> Story:
    """Return the story with that trainer."""
    known = story.trainer
    return replace(story, trainer=SameBytes(candidate=known.candidate, base=known.base, rate=known.rate))


@cache
def record() -> Object:
    """Return the ModelVersion that a run makes which passed."""
    world = World(PASS)
    world.play()
    made = copied(world.get(Kind.MODEL_VERSION, "invoice-fields-ft-v1.1"))
    made.pop("status")
    return made


@dataclass(frozen=True, slots=True)
class Moment:
    """When the no is said: in which story, and what of run and policy shows it; `set_up` is done before."""

    name: str
    story: Story
    shows: Callable[[Object, Object], bool]
    set_up: Callable[["Said"], None] = lambda world: None
    earlier: bool = False
    """The no names the evidence of an earlier round."""
    fails: bool = False
    """The operator fails on the run from then on, until it gives it up."""


class Said(Watched):
    """A world in which ann says no at a moment; nobody approves, and a Deployment may be paused until then."""

    def __init__(self, moment: Moment) -> None:
        """Set the stage."""
        super().__init__(same_bytes(moment.story))
        self.moment, self.marked, self.asked = moment, None, 0
        self.applied = False
        moment.set_up(self)

    marked: int | None
    """The length of the log when the no was said, and everybody had a look at it."""
    fails = False

    def _start_operator(self) -> Reconciler:
        """Return an operator that fails on the run as long as that is wanted."""
        operator = super()._start_operator()
        observe = operator.observer.observe

        async def fail(kind: Kind, raw: Object, now: datetime) -> Observed[Any]:
            if self.fails and kind is Kind.RUN and raw["metadata"]["name"] == "first":
                raise KeyError("planted")
            return await observe(kind, raw, now)

        operator.observer.observe = fail  # type: ignore[method-assign]
        return operator

    async def _reconcile(self, key: ObjectRef) -> None:
        try:
            await super()._reconcile(key)
        except KeyError:
            self.due[(key.kind, key.name)] = self.server.now + timedelta(minutes=1)

    def say(self, *, rejects: bool = True) -> None:
        """Play up to the moment; say no then, unless it is the control, and let everybody look once."""
        for _ in range(200):
            self.settle()
            if self._is_now():
                break
            self.server.advance(5)
        else:
            raise AssertionError(f"{self.moment.name} never came: {self.summary()}")
        if rejects:
            status = self.get(Kind.RUN, "first")["status"]
            seen = status["earlierEvidence"][0] if self.moment.earlier else status["evidence"]["digest"]
            no = {"decision": "Reject", "evidence": seen, "by": "ann", "reason": "bad"}
            self.server.update_spec(USER, Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(review=no))
        self.fails = self.moment.fails
        self.settle()
        self.marked = len(self.server.log)
        if self.fails:
            self.edit(Kind.DEPLOYMENT, "invoice-detector", paused=False)
        while self.fails and self.get(Kind.RUN, "first")["status"]["phase"] != "Failed":
            self.settle()
            self.server.advance(60)
        self.fails = False

    def _is_now(self) -> bool:
        item = self.server.get(Kind.RUN, NAMESPACE, "first")
        status = (item or {}).get("status") or {}
        seen = status.get("earlierEvidence") if self.moment.earlier else status.get("evidence")
        return bool(seen) and self.moment.shows(status, self.status)

    @property
    def status(self) -> Object:
        """The policy's status."""
        return (self.server.get(Kind.POLICY, NAMESPACE, POLICY) or {}).get("status") or {}

    def _user(self) -> None:
        """Apply base and run once."""
        self.user_acts = not self.applied
        super()._user()
        self.applied = self.applied or self.server.get(Kind.RUN, NAMESPACE, "first") is not None

    def edit(self, kind: Kind, name: str, **spec: object) -> None:
        """Change fields of a spec, where the object is there."""
        if self.server.get(kind, NAMESPACE, name) is not None:
            self.server.update_spec(USER, kind, NAMESPACE, name, lambda o: o["spec"].update(spec))

    def drop(self, kind: Kind, name: str) -> None:
        """Delete an object, if it is there."""
        if self.server.get(kind, NAMESPACE, name) is not None:
            self.server.delete(USER, kind, NAMESPACE, name)

    def records(self) -> list[Object]:
        """Return the versions of the bytes, the one that the run made first."""
        return [v for v in self.server.list(Kind.MODEL_VERSION, NAMESPACE) if v["spec"]["artifact"]["sha256"] == BYTES]

    def make(self, name: str, sha256: str, policy: str = POLICY) -> None:
        """Make a record by hand that passed every gate against what is live there; it says nothing of a review."""
        made = copied(record())
        made["metadata"] = {"name": f"invoice-fields-{name.replace('_', '-')}"}
        made["spec"]["version"] = name
        made["spec"]["artifact"]["sha256"] = sha256
        live = ((self.server.get(Kind.POLICY, NAMESPACE, policy) or {}).get("status") or {}).get("live")
        if live:
            made["spec"]["evidence"] |= {"baseline": live["version"], "baselineSha256": live["sha256"]}
        self.server.create("admin", Kind.MODEL_VERSION, NAMESPACE, made)

    def promote(self, version: str, policy: str = POLICY) -> Object:
        """Promote it with every word that overrules anything, and return how that ended."""
        self.asked += 1
        there = self.server.get(Kind.POLICY, NAMESPACE, policy) or {}
        live = ((there.get("status") or {}).get("live") or {}).get("version")
        records = [v for v in self.server.list(Kind.MODEL_VERSION, NAMESPACE) if v["spec"]["version"] == version]
        more: dict[str, object] = {"policy": policy, "releaseHold": True} | ({"from": live} if live else {})
        more["despite"] = {"checks": ["Quarantined", "TakenBack", "NotSettled"], "reason": "all the same"}
        for evidence in [v["spec"]["evidence"]["digest"] for v in records if "evidence" in v["spec"]][:1]:
            more["approval"] = {"by": "bo", "evidence": evidence}
        name = f"asked-{self.asked}"
        self.server.create(USER, Kind.PROMOTION, NAMESPACE, promotion(name, version, **more))
        return self.until_over(Kind.PROMOTION, name)

    def until_over(self, kind: Kind, name: str) -> Object:
        """Wait until it is over, or gets no further, and return its status."""
        for _ in range(20):
            self.settle()
            status = self.get(kind, name)["status"]
            if any(c["type"] == "Finished" and c["status"] == "True" for c in status.get("conditions", ())):
                break
            self.server.advance(10)
        self.settle()
        return dict(self.get(kind, name)["status"])

    def put_live(self) -> list[str]:
        """Return which Deployments the operator gave the bytes since, other than what had taken off, or serves."""
        wrong, live, flying = list[str](), dict[str, bool](), dict[str, bool]()
        for number, write in enumerate(self.server.log):
            if write.kind is Kind.POLICY and write.after is not None:
                status, on = write.after.get("status") or {}, str(write.after["spec"]["deployment"])
                live[on] = (status.get("live") or {}).get("sha256") == BYTES
                flight = status.get("inFlight") or {}
                to_it = (flight.get("to") or {}).get("sha256") == BYTES and flight.get("phase") != "Returning"
                flying[on] = to_it and (number < (self.marked or 0) or flying.get(on, False))
            if write.kind is Kind.DEPLOYMENT and write.verb == "apply" and number >= (self.marked or 0):
                before, after = (served(item) for item in (write.before, write.after))
                its = after is not None and after[1] == BYTES and (before is None or before[1] != BYTES)
                put_back = before is None and live.get(write.name)
                if its and not (put_back or flying.get(write.name)):
                    wrong.append(write.name)
        return wrong


def seven_flies(world: Said) -> None:
    """Have another version go live while the run's promotion waits, so that it is measured again."""

    def act(said: Watched) -> None:
        item = said.server.get(Kind.RUN, NAMESPACE, "first")
        attempts = ((item or {}).get("status") or {}).get("attempts") or ()
        evaluates = any(a["step"] == "evaluate" and a.get("startedAt") for a in attempts)
        if evaluates and said.server.get(Kind.PROMOTION, NAMESPACE, "seven") is None and isinstance(said, Said):
            said.jobs.seconds = 5
            said.make("ft_v1.7", digest("seven"))
            asked = promotion("seven", "ft_v1.7", **{"from": "base_v1"})
            said.server.create(USER, Kind.PROMOTION, NAMESPACE, asked)

    world.act = act


def paused(world: Said) -> None:
    """Pause the Deployment as soon as the base is live; `released` ends it."""

    def act(said: Watched) -> None:
        item = said.server.get(Kind.RUN, NAMESPACE, "first")
        if not isinstance(said, Said) or item is None or said.marked is not None or not said.live():
            return
        if not said.get(Kind.DEPLOYMENT, "invoice-detector")["spec"].get("paused"):
            said.edit(Kind.DEPLOYMENT, "invoice-detector", paused=True)

    world.act = act


def not_applied(world: Said) -> None:
    """Have the API server refuse the apply of the run's promotion, until the no was said."""
    honest = world.client.apply

    async def apply(kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        status = (world.server.get(Kind.RUN, NAMESPACE, "first") or {}).get("status") or {}
        if world.marked is None and status.get("promotion"):
            raise Forbidden("a webhook denied the request")
        return await honest(kind, namespace, name, manifest)

    world.client.apply = apply  # type: ignore[method-assign]


def by_hand(world: Said) -> None:
    """Have the policy leave promotions to people."""
    world.edit(Kind.POLICY, POLICY, promotion="Manual")


def short_review(world: Said) -> None:
    """Have reviews expire soon."""
    world.edit(Kind.POLICY, POLICY, review={"timeoutSeconds": 30})


def _phase(wanted: str) -> Callable[[Object, Object], bool]:
    return lambda run_, _: run_.get("phase") == wanted


def _flight(wanted: str) -> Callable[[Object, Object], bool]:
    def shows(run_: Object, policy: Object) -> bool:
        return run_.get("phase") == "Promoting" and (policy.get("inFlight") or {}).get("phase") == wanted

    return shows


UNDECIDED = replace(REVIEW, approves=False)
MOMENTS = (
    Moment("in review", UNDECIDED, _phase("InReview")),
    Moment("its review expired", UNDECIDED, _phase("Expired"), short_review),
    Moment("its promotion waits", PASS, _phase("Promoting"), paused),
    Moment("measured again", PASS, _phase("Evaluating"), seven_flies, earlier=True),
    Moment("left to people", PASS, _phase("Passed"), by_hand),
    Moment("taken off, and not applied yet", PASS, _flight("Flipping"), not_applied),
    Moment("rolled out", PASS, _flight("Flipping")),
    Moment("watched", PASS, _flight("Watching")),
    Moment("live", PASS, _phase("Promoted")),
    Moment("on its way back", FAILED, _flight("Returning")),
    Moment("failed in production", FAILED, _phase("RolledBack")),
    Moment("the operator fails on it in review", UNDECIDED, _phase("InReview"), fails=True),
    Moment("the operator fails on it while its promotion waits", PASS, _phase("Promoting"), paused, fails=True),
)


def nothing(world: Said) -> None:
    """Lose nothing."""


def run_gone(world: Said) -> None:
    """Delete the run."""
    world.drop(Kind.RUN, "first")


def version_gone(world: Said) -> None:
    """Delete its record."""
    for version in world.records():
        world.drop(Kind.MODEL_VERSION, version["metadata"]["name"])


def run_and_version_gone(world: Said) -> None:
    """Leave the policy alone to know."""
    run_gone(world)
    version_gone(world)


def policy_anew(world: Said) -> None:
    """Make the policy anew: what it remembered is gone, and what serves is adopted."""
    world.drop(Kind.POLICY, POLICY)
    world.settle()
    world.server.create(USER, Kind.POLICY, NAMESPACE, next(item for kind, item in stage() if kind is Kind.POLICY))
    world.wait(3)


def policy_and_run_gone(world: Said) -> None:
    """Leave the version alone to know, where there is one; else the policy."""
    run_gone(world)
    if world.records():
        policy_anew(world)


def policy_and_version_gone(world: Said) -> None:
    """Leave the run alone to know."""
    version_gone(world)
    policy_anew(world)


def statuses_gone(world: Said) -> None:
    """Take the statuses of everything but runs, as a restore does of objects that runs do not come back with."""
    for kind in (Kind.POLICY, Kind.MODEL_VERSION, Kind.PROMOTION):
        for item in world.server.list(kind, NAMESPACE):
            world.drop(kind, item["metadata"]["name"])
            kept = {key: item["metadata"][key] for key in ("name", "labels", "annotations") if key in item["metadata"]}
            again = {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": kept, "spec": item["spec"]}
            world.server.create("velero-server", kind, NAMESPACE, again)
    world.wait(3)


def all_but_another_policy_gone(world: Said) -> None:
    """Leave a policy of the model alone to know, which nobody asked anything."""
    for kind, manifest in stage():
        if kind in (Kind.DEPLOYMENT, Kind.POLICY):
            manifest["metadata"]["name"] = "staging"
            if kind is Kind.POLICY:
                manifest["spec"]["deployment"] = "staging"
            world.server.create(USER, kind, NAMESPACE, manifest)
    world.wait(2)
    run_and_version_gone(world)
    policy_anew(world)


LOSSES = (
    nothing,
    run_gone,
    version_gone,
    run_and_version_gone,
    policy_anew,
    policy_and_run_gone,
    policy_and_version_gone,
    statuses_gone,
    all_but_another_policy_gone,
)


def back_to_base(world: Said) -> None:
    """Have the base live, where something else is, and every hold lifted."""
    world.edit(Kind.DEPLOYMENT, "invoice-detector", paused=False)
    world.wait(6)
    world.promote("base_v1")
    assert world.live() == "base_v1", world.status.get("message")


def its_record(world: Said) -> Iterator[str]:
    """Promote its own record."""
    if not world.records():
        world.make("ft_v1.1", BYTES)
        world.wait(2)
    yield str(world.promote(world.records()[0]["spec"]["version"])["phase"])


def another_name(world: Said) -> Iterator[str]:
    """Promote the bytes under another name."""
    world.make("ft_v1.90", BYTES)
    world.wait(2)
    yield str(world.promote("ft_v1.90")["phase"])


def another_run(world: Said) -> Iterator[str]:
    """Have another run make them, or take them over, with a policy that promotes by itself."""
    world.edit(Kind.POLICY, POLICY, promotion="Automatic")
    world.server.create(USER, Kind.RUN, NAMESPACE, run("second"))
    world.jobs.seconds = 5
    second = world.until_over(Kind.RUN, "second")
    if second.get("phase") == "InReview":
        yes = {"decision": "Approve", "evidence": second["evidence"]["digest"], "by": "bo", "reason": ""}
        world.edit(Kind.RUN, "second", review=yes)
        second = world.until_over(Kind.RUN, "second")
    yield str(second.get("phase"))


def another_policy(world: Said) -> Iterator[str]:
    """Have a policy of the model that is made now promote them on another Deployment."""
    for kind, manifest in stage():
        if kind in (Kind.DEPLOYMENT, Kind.POLICY):
            manifest["metadata"]["name"] = "prod"
            if kind is Kind.POLICY:
                manifest["spec"]["deployment"] = "prod"
            world.server.create(USER, kind, NAMESPACE, manifest)
    world.wait(2)
    assert world.promote("base_v1", "prod")["phase"] == "Succeeded"
    name = "ft_v1.60"
    world.make(name, BYTES, "prod")
    world.wait(2)
    yield str(world.promote(name, "prod")["phase"])


def a_way_back(world: Said) -> Iterator[str]:
    """Have a flight fail that came from them: what is gone back to is a choice, though they served."""
    if served(world.get(Kind.DEPLOYMENT, "invoice-detector")) is None or world.live() in (None, "base_v1"):
        return
    world.deployments.broken = frozenset(("ft_v1.50",))
    world.make("ft_v1.50", digest("eight"))
    world.wait(2)
    yield str(world.promote("ft_v1.50")["phase"])


def adopted(world: Said) -> Iterator[str]:
    """Have them stand on the Deployment when a policy sees it first, and the keys go then."""
    world.drop(Kind.POLICY, POLICY)
    world.settle()
    keys = {KEY + "model-version": "ft_v1.1", KEY + "artifact-uri": "file:///x", KEY + "artifact-sha256": BYTES}

    def serve(item: Object) -> None:
        item["spec"]["template"]["metadata"]["annotations"] = dict(keys)

    def strip(item: Object) -> None:
        item["spec"]["template"]["metadata"].pop("annotations")

    world.server.update_spec("editor", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", serve)
    world.wait(3)
    world.server.create(USER, Kind.POLICY, NAMESPACE, next(item for kind, item in stage() if kind is Kind.POLICY))
    world.wait(3)
    world.server.update_spec("editor", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", strip)
    world.wait(3)
    now = served(world.get(Kind.DEPLOYMENT, "invoice-detector"))
    yield "nothing" if now is None else now[0]


TRIES = (its_record, another_name, another_policy, another_run, adopted)
