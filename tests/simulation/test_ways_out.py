"""Following the message of a run that ended leads somewhere: each way to end is followed to a live version."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from house.following import manifests

from .controllers import NAMESPACE
from .invariants import violations
from .stories import STORIES, USER, World
from .trainer_script import Trainer

PASS, REJECT, REVIEW, FAILED_ROLLOUT = STORIES
KINDS = {"FineTuneRun": Kind.RUN, "ModelPromotion": Kind.PROMOTION}
ALL_WELL = Trainer()


@dataclass
class Followed(World):
    """People do what messages say, one command after another, until a fine-tune is live."""

    def at_rest(self) -> bool:
        """Tell whether nothing is under way any more."""
        runs, promotions = self.server.list(Kind.RUN, NAMESPACE), self.server.list(Kind.PROMOTION, NAMESPACE)
        waits = any((p.get("status") or {}).get("phase") in (None, "Flipping", "Watching") for p in promotions)
        return bool(runs) and all(_is_over(run) for run in runs) and not waits and self.jobs.next_event() is None

    def _user(self) -> None:
        super()._user()
        for run in self.server.list(Kind.RUN, NAMESPACE):
            if run["metadata"]["name"] != "first" and (run.get("status") or {}).get("phase") == "InReview":
                self.review(run["metadata"]["name"])

    def review(self, name: str, decision: str = "Approve") -> None:
        evidence = self.get(Kind.RUN, name)["status"]["evidence"]["digest"]
        review = {"decision": decision, "evidence": evidence, "by": "ann", "reason": "looked"}
        self.server.update_spec(USER, Kind.RUN, NAMESPACE, name, lambda o: o["spec"].update(review=review))

    def follow(self, message: str, kind: str) -> str:
        """Create what the message has a command for, and play on; return its name."""
        wanted = next(m for m in manifests(message) if m["kind"] == kind)
        name = f"{wanted['metadata'].pop('generateName')}{self.server.counter}"
        wanted["metadata"]["name"] = name
        if wanted["spec"].get("despite"):
            wanted["spec"]["despite"]["reason"] = "the node was at fault"
        self.server.create(USER, KINDS[kind], NAMESPACE, wanted)
        self.play()
        return name

    def message(self, name: str) -> str:
        return str(self.get(Kind.RUN, name)["status"].get("message", ""))

    def phase(self, name: str) -> str:
        return str(self.get(Kind.RUN, name)["status"].get("phase"))

    def rules(self, **changes: Any) -> None:
        self.server.update_spec(USER, Kind.POLICY, NAMESPACE, "invoice-fields", lambda o: o["spec"].update(changes))

    def trained(self) -> int:
        return sum("-train-" in name for name, _ in self.jobs.created)


def _is_over(run: Object) -> bool:
    conditions = (run.get("status") or {}).get("conditions", ())
    return any(c["type"] == "Finished" and c["status"] == "True" for c in conditions)


def rejected_by_gate() -> Followed:
    return Followed(REJECT)


def rolled_back() -> Followed:
    return Followed(FAILED_ROLLOUT)


def expired() -> Followed:
    world = Followed(replace(REVIEW, approves=False))
    world.rules(review={"timeoutSeconds": 60})
    return world


def by_hand() -> Followed:
    world = Followed(PASS)
    world.rules(promotion="Manual")
    return world


def failed_after_training() -> Followed:
    def evaluates_badly(step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        code, message = ALL_WELL(step, document, inputs)
        if step != "evaluate":
            return code, message
        error = {"class": "BadInput", "reason": "DataUnreadable", "message": "no bucket", "remedy": "mend it"}
        return 10, {**message, "outcome": "Failed", "result": {}, "error": error}

    world = Followed(PASS)
    world.jobs.script = evaluates_badly
    return world


@dataclass(frozen=True, slots=True)
class Way:
    """How a run ends, and the kinds that its messages lead through to a live fine-tune."""

    begin: Callable[[], Followed]
    ends: str
    follow: tuple[str, ...]
    trains: int


WAYS = (
    Way(rejected_by_gate, "Rejected", ("FineTuneRun",), trains=2),
    Way(rolled_back, "RolledBack", ("FineTuneRun", "ModelPromotion"), trains=2),
    Way(expired, "Expired", ("FineTuneRun",), trains=1),
    Way(by_hand, "Passed", ("ModelPromotion",), trains=1),
    Way(failed_after_training, "Failed", ("FineTuneRun",), trains=2),
)


@pytest.mark.row("R67")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.begin.__name__)
def test_the_message_of_a_run_that_ended_leads_to_a_live_version(way: Way) -> None:
    world = way.begin()
    world.play()
    assert (world.phase("first"), world.summary()["live"]) == (way.ends, "base_v1")
    if way.begin is not expired:
        world.jobs.script = ALL_WELL
    message = world.message("first")
    for kind in way.follow:
        name = world.follow(message, kind)
        message = world.message(name) if kind == "FineTuneRun" else ""
    assert str(world.summary()["live"]).startswith("ft_v1."), message
    assert world.summary()["live"] == world.summary()["served"]
    assert world.trained() == way.trains
    assert violations(world) == []


@pytest.mark.row("R61")
def test_a_cluster_restored_without_the_statuses_of_its_runs_trains_nothing_and_asks_nobody() -> None:
    """Every run that was ever judged comes back as new, in one moment, beside the versions that they made."""
    world = Followed(replace(REVIEW, approves=False))
    world.rules(review={"timeoutSeconds": 60})
    world.play()
    assert world.phase("first") == "Expired"
    before = world.trained()
    item = world.get(Kind.RUN, "first")
    created = item["metadata"]["creationTimestamp"]
    world.server.delete(USER, Kind.RUN, NAMESPACE, "first")
    world.server.create(USER, Kind.RUN, NAMESPACE, {k: v for k, v in item.items() if k != "status"})
    # As a backup does it: the objects come back in one moment.
    for kind, name in ((Kind.RUN, "first"), (Kind.MODEL_VERSION, "invoice-fields-ft-v1.1")):
        world.server.update_spec(USER, kind, NAMESPACE, name, lambda o: o["metadata"].update(creationTimestamp=created))
    world.play()
    assert (world.phase("first"), world.trained()) == ("Expired", before)
    assert world.get(Kind.RUN, "first")["status"]["verdict"] == "Review"
