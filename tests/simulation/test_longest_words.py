"""The longest names and the strangest words that the API server takes: all that follows from them can be written."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .api_server import ApiServer, copied
from .controllers import NAMESPACE
from .invariants import violations
from .stories import STORIES, USER, Story, World, promotion
from .test_records import Watched

PASS, REJECT, REVIEW, FAILED = STORIES
LONG = {
    "first": "r" * 40,
    "invoice-fields": "p" * 63,
    "invoice-detector": "d" * 240,
    "gpu-trainer": "g" * 253,
    "cpu-trainer": "c" * 253,
    "first-base": "f" * 253,
    "back": "b" * 253,
    "forward": "w" * 253,
}
"""By the names of the stories; a Deployment's pods have its name and some more."""

NASTY = st.one_of(
    st.sampled_from(
        ["\x00" * 9, "\u202e\u2066" * 128, "\U0001f600" * 256, "\n; kubectl delete all\r\n", "'" * 256, '"\\' * 128,
         "[" * 256, "9" * 256, "\u0664\u200b", "s3://user:secret@host/x?token=1 " * 8, "\x1b[2J"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256),
)  # fmt: skip


class LongNames(ApiServer):
    """Knows what the stories make by names that are as long as can be."""

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """See ApiServer.get."""
        return super().get(kind, namespace, LONG.get(name, name))

    def create(self, actor: str, kind: Kind, namespace: str, manifest: Object) -> Object:
        """See ApiServer.create."""
        return super().create(actor, kind, namespace, _renamed(manifest) if actor == USER else manifest)

    def update_spec(self, actor: str, kind: Kind, namespace: str, name: str, change: Any) -> Object:
        """See ApiServer.update_spec."""
        return super().update_spec(actor, kind, namespace, LONG.get(name, name), change)


def _renamed(manifest: Object) -> Object:
    made = copied(manifest)
    spec = made.get("spec") or {}
    for holder, field in ((made["metadata"], "name"), (spec, "policy"), (spec, "deployment")):
        if field in holder:
            holder[field] = LONG.get(holder[field], holder[field])
    if "podTemplates" in spec:
        spec["podTemplates"] = {role: LONG[name] for role, name in spec["podTemplates"].items()}
    return made


class Wordy(Watched):
    """A review approved, a way back and a way forward, each for a reason that somebody wrote."""

    words = "looked"

    def _approve(self) -> None:
        item = self.get(Kind.RUN, "first")
        if item["status"].get("phase") == "InReview" and "review" not in item["spec"]:
            review = {"decision": "Approve", "evidence": item["status"]["evidence"]["digest"]}
            review |= {"by": self.words, "reason": self.words}
            self.server.update_spec(USER, Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(review=review))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_the_longest_names_end_as_any_others(story: Story) -> None:
    world = World(story, server=LongNames())
    world.play()
    assert (world.summary()["phase"], world.summary()["live"]) == (story.ends, story.live)
    assert violations(world) == []


@given(words=NASTY)
@example(words="\x00" * 9)
@example(words="\U0001f600" * 256)
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
def test_whatever_people_write_as_their_reason_can_be_recorded_and_everything_ends(words: str) -> None:
    world = Wordy(REVIEW, server=LongNames())
    world.words = words
    world.play()
    run = world.get(Kind.RUN, "first")["status"]
    assert run["phase"] == "Promoted", run["message"]
    back = promotion("back", "base_v1", **{"from": "ft_v1.1", "reason": words})
    despite = {"checks": ["TakenBack"], "reason": words}
    forward = promotion("forward", "ft_v1.1", **{"from": "base_v1", "reason": words, "despite": despite})
    for asked, live in ((back, "base_v1"), (forward, "ft_v1.1")):
        world.server.create(USER, Kind.PROMOTION, NAMESPACE, asked)
        world.wait(8)
        ended = world.get(Kind.PROMOTION, asked["metadata"]["name"])["status"]
        assert (ended["phase"], world.get(Kind.POLICY, "invoice-fields")["status"]["live"]["version"]) == (
            "Succeeded", live)  # fmt: skip
    assert violations(world) == []
    assert "ReconcileFailed" not in json.dumps([item.get("status") for item in world.server.objects.values()])
    world.resync(3600)  # the last timers
    log = len(world.server.log)
    world.resync(600)
    assert world.server.log[log:] == [], "at rest nothing is written"
