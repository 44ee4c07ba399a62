"""Worlds in which objects are reconciled."""

from typing import Any

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.observe import Observer
from finetune_operator.cluster.port import Object
from unit.controller.world import Broken, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def broken(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A world in which the observer has a bug for the kinds that are named."""
    kinds: set[Kind] = set()
    observe = Observer.observe

    async def failing(self: Observer, kind: Kind, raw: Object, now: Any) -> Any:
        if kind in kinds:
            raise Broken("list index out of range; see https://user:secret@example/x?token=1")
        return await observe(self, kind, raw, now)

    monkeypatch.setattr(Observer, "observe", failing)
    return kinds
