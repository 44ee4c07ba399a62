"""Annotations on a Deployment that no one can read, or count on from: everything goes on beside them."""

import pytest

from finetune_operator.api import names
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .controllers import NAMESPACE
from .invariants import violations
from .stories import STORIES, Story, World


@pytest.mark.parametrize("story", [STORIES[0], STORIES[3]], ids=lambda story: story.name)
@pytest.mark.parametrize(
    ("key", "text"),
    [
        (names.EPOCH_KEY, "9" * 5000),
        (names.EPOCH_KEY, str(2**52)),
        (names.EPOCH_KEY, str(2**53)),
        (names.EPOCH_KEY, "\u0664"),
        ("kubectl.kubernetes.io/last-applied-configuration", "[" * 100_000),
    ],
    ids=["5000 digits", "2^52", "2^53", "another script", "brackets"],
)
def test_a_poisoned_annotation_is_named_and_stops_nothing_for_good(story: Story, key: str, text: str) -> None:
    world, done = World(story), list[bool]()
    user = world._user

    def poison(deployment: Object) -> None:
        deployment["metadata"].setdefault("annotations", {})[key] = text

    def clean(deployment: Object) -> None:
        del deployment["metadata"]["annotations"][key]

    def act() -> None:
        if not done and world.server.get(Kind.RUN, NAMESPACE, "first") is not None:
            done.append(True)
            world.server.update_spec("editor", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", poison)
            # An update with managedFields: [{}] forgets who wrote it.
            deployment = world.get(Kind.DEPLOYMENT, "invoice-detector")
            world.server.owners[deployment["metadata"]["uid"]].pop(("metadata", "annotations", key), None)
        user()

    world._user = act  # type: ignore[method-assign]
    world.play(hours=10)
    status = world.get(Kind.RUN, "first")["status"]
    if status["phase"] == "Promoting":  # the annotation is another's now, and nothing is written over another's
        assert "field manager 'editor'" in status["message"], status["message"]
        world.server.update_spec("editor", Kind.DEPLOYMENT, NAMESPACE, "invoice-detector", clean)
        world.play(hours=10)
        status = world.get(Kind.RUN, "first")["status"]
    assert (done, status["phase"]) == ([True], story.ends)
    assert [broken for broken in violations(world) if "epochs" not in broken] == []
