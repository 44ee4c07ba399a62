"""Finished Jobs go while stories go on, whatever crash comes, and a quota on Jobs only makes a run wait."""

from dataclasses import dataclass, field

import pytest

from finetune_operator.cluster.errors import Forbidden
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .api_server import Client
from .controllers import NAMESPACE
from .deaths import deaths
from .invariants import violations
from .stories import STORIES, Story, World


def with_keep(world: World, keep: int) -> World:
    world.server.update_spec(
        "user", Kind.POLICY, NAMESPACE, "invoice-fields", lambda o: o["spec"].update(jobs={"keep": keep})
    )
    return world


def jobs(world: World) -> list[str]:
    return [job["metadata"]["name"].rsplit("-", 1)[0] for job in world.server.list(Kind.JOB, NAMESPACE)]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_only_the_newest_finished_jobs_stay_and_the_story_ends_as_it_would(story: Story) -> None:
    plain, tidy = World(story), with_keep(World(story), 1)
    plain.play()
    tidy.play()
    tidy.settle()
    assert tidy.summary() == plain.summary()
    assert jobs(tidy) == ["first-evaluate-1"]
    assert violations(tidy) == []


def test_a_crash_at_any_write_loses_no_result() -> None:
    expected = with_keep(World(STORIES[0]), 0)
    expected.play()
    for where, world in deaths(lambda: with_keep(World(STORIES[0]), 0)):
        world.settle()
        assert world.summary() == expected.summary(), where
        assert violations(world) == [], where
        assert jobs(world) == [], where


@dataclass
class Quota:
    """Between the operator and its client: a quota that counts Jobs, whatever their state."""

    client: Client
    most: int
    refused: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name)

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        if kind is Kind.JOB and len(self.client.server.list(Kind.JOB, NAMESPACE)) >= self.most:
            self.refused.append(manifest["metadata"]["name"])
            raise Forbidden("exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=2")
        return await self.client.create(kind, namespace, manifest)


def test_finished_jobs_do_not_fill_a_quota_for_good() -> None:
    quotas: list[Quota] = []

    def wrap(client: Client) -> Quota:
        quotas.append(Quota(client, most=2))
        return quotas[-1]

    world = with_keep(World(STORIES[0], wrap=wrap), 1)  # type: ignore[arg-type]
    world.play()
    assert world.summary()["phase"] == "Promoted"


def test_a_quota_without_room_is_said_and_not_written_again_and_again() -> None:
    quotas: list[Quota] = []

    def wrap(client: Client) -> Quota:
        quotas.append(Quota(client, most=2))
        return quotas[-1]

    world = with_keep(World(STORIES[0], wrap=wrap), 10)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="not at rest"):
        world.play(hours=0.5)
    trained = {c["type"]: c for c in world.get(Kind.RUN, "first")["status"]["conditions"]}["Trained"]
    assert (trained["status"], trained["reason"]) == ("False", "QuotaExceeded")
    assert world.events.count(("first", "QuotaExceeded")) == 1
    assert 25 < len(quotas[0].refused) < 100, "tried again each minute at the latest, and not all the time"
    written = [w for w in world.server.log if w.actor == "finetune-operator" and w.name == "first"]
    assert len(written) < 20
    quotas[0].most = 10
    world.play()
    assert world.summary()["phase"] == "Promoted"
