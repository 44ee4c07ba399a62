"""The harness is worth something only if it catches bugs: each of these is planted, and must be found."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from finetune_operator.api import names, value
from finetune_operator.cluster import act as acting
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.observe import Observed
from finetune_operator.cluster.port import Cluster
from finetune_operator.controller import reconcile
from finetune_operator.decide.attempts import engine as steps
from finetune_operator.decide.decision import ApplyKeys, Decision
from finetune_operator.decide.gates import verdict as gates
from finetune_operator.manifests import served_keys as keys

from .invariants import violations
from .stories import STORIES, Story, World

PASS, REJECT, REVIEW, FAILED_ROLLOUT = STORIES


def found(story: Story, *, crashes: bool) -> list[str]:
    """Play a story, with a crash after every write if wanted, and return what is wrong with it."""
    points: list[tuple[int, str] | None] = [None]
    if crashes:
        points = [(number, "after") for number in range(45)]
    wrong: list[str] = []
    for point in points:
        world = World(story, crash_at=point)
        try:
            world.play()
        except AssertionError as error:
            wrong.append(str(error))
            continue
        wrong += violations(world)
        summary = world.summary()
        if (summary["phase"], summary["live"], summary["served"]) != (story.ends, story.live, story.live):
            wrong.append(f"ends {summary['phase']} with {summary['live']}, not {story.ends} with {story.live}")
        wrong += _restless(world)
        if wrong:
            return wrong
    return wrong


def _restless(world: World) -> list[str]:
    world.resync(3600)
    before = world.client.writes
    world.resync(600)
    return [] if world.client.writes == before else ["writes at rest"]


def every_verdict_passes(patch: pytest.MonkeyPatch) -> None:
    """The gates are judged, and then the verdict does not look at them."""
    honest = gates.judge
    patch.setattr(
        "finetune_operator.decide.run.work.judge", lambda *a: replace(honest(*a), verdict="Pass"), raising=False
    )
    patch.setattr(gates, "worst", lambda _: "Pass")


def job_names_by_chance(patch: pytest.MonkeyPatch) -> None:
    """Each try at an attempt's Job takes another name, and is made before it is recorded."""
    counter = itertools.count()
    honest = names.job_name
    patch.setattr(steps, "job_name", lambda *a, **k: f"{honest(*a, **k)}-{next(counter)}")

    async def without_record(cluster: Cluster, kind: Kind, raw: Any, *rest: Any) -> Any:
        return raw

    honest_write = acting.write_status

    async def actions_first(cluster: Cluster, observed: Observed[Any], decision: Decision[Any], *rest: Any) -> Any:
        """Run the actions before the status says what they are."""
        patch.setattr(acting, "write_status", without_record)
        try:
            await acting.act(cluster, observed, decision, *rest)
        finally:
            patch.setattr(acting, "write_status", honest_write)
        return await acting.act(cluster, observed, replace(decision, actions=()), *rest)

    patch.setattr(reconcile, "act", actions_first)


def flips_before_it_records(patch: pytest.MonkeyPatch) -> None:
    """The Deployment is changed before the policy's status says why."""
    honest = acting.act

    async def flips_first(cluster: Cluster, observed: Observed[Any], decision: Decision[Any], *rest: Any) -> Any:
        namespace = observed.raw["metadata"]["namespace"]
        for action in decision.actions:
            if isinstance(action, ApplyKeys):
                await cluster.apply(Kind.DEPLOYMENT, namespace, action.deployment, keys.build_keys(action, namespace))
        kept = tuple(action for action in decision.actions if not isinstance(action, ApplyKeys))
        return await honest(cluster, observed, replace(decision, actions=kept), *rest)

    patch.setattr(reconcile, "act", flips_first)


def the_epoch_stands_still(patch: pytest.MonkeyPatch) -> None:
    """Every flip carries the same epoch."""
    honest = keys.build_keys
    patch.setattr(acting, "build_keys", lambda action, namespace: honest(replace(action, epoch=1), namespace))


def serves_other_bytes(patch: pytest.MonkeyPatch) -> None:
    """The digest on the Deployment is not the one that was measured."""
    honest = keys.build_keys

    def other(action: ApplyKeys, namespace: str) -> Any:
        return honest(replace(action, sha256=action.sha256 and "0" * 64), namespace)

    patch.setattr(acting, "build_keys", other)


def a_status_differs_from_itself(patch: pytest.MonkeyPatch) -> None:
    """Lists of a status are compared as tuples: it is written again and again."""
    patch.setattr(acting, "plain", msgspec.to_builtins)
    assert value.plain((1,)) == [1]


def claims_a_foreign_field(patch: pytest.MonkeyPatch) -> None:
    """The apply names an annotation that belongs to somebody else."""
    honest = keys.build_keys

    def greedy(action: ApplyKeys, namespace: str) -> Any:
        manifest = honest(action, namespace)
        manifest["metadata"].setdefault("annotations", {})["team"] = "finetune"
        return manifest

    patch.setattr(acting, "build_keys", greedy)


@pytest.mark.parametrize(
    ("plant", "story", "crashes"),
    [
        (every_verdict_passes, REVIEW, False),
        (job_names_by_chance, PASS, True),
        (flips_before_it_records, PASS, True),
        (the_epoch_stands_still, FAILED_ROLLOUT, False),
        (serves_other_bytes, PASS, False),
        (a_status_differs_from_itself, PASS, False),
        (claims_a_foreign_field, PASS, False),
    ],
    ids=lambda item: getattr(item, "__name__", getattr(item, "name", item)),
)
def test_a_planted_bug_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], story: Story, crashes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bug something is wrong; without it, the same plays are clean (test_crashes)."""
    plant(monkeypatch)
    wrong = found(story, crashes=crashes)
    assert wrong != []
