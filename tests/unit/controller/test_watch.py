"""A watch of one scope: how kopf is let in, what is heard, and what ends with it."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import kopf
import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.kube import Connection
from finetune_operator.cluster.store import Store
from finetune_operator.controller import watch as watching
from finetune_operator.controller.watch import Watch, WatchEnded, make_registry
from house.virtual_time import run_virtually


async def login() -> Connection:
    return Connection("https://api", "/ca", "secret", "/cert", "/key")


def test_kopf_is_let_in_with_what_our_own_client_has() -> None:
    registry = make_registry(Store(), login)
    (handler,) = registry._activities.get_all_handlers()
    log_in: Any = handler.fn
    info = asyncio.run(log_in())
    assert (handler.id, info.server, info.ca_path) == ("login", "https://api", "/ca")
    assert (info.scheme, info.token) == ("Bearer", "secret")
    assert (info.certificate_path, info.private_key_path) == ("/cert", "/key")


def event(version: str | None, kind: str | None = "MODIFIED") -> dict[str, Any]:
    metadata = {"namespace": "ml", "name": "first", "uid": "u", "resourceVersion": version}
    return {"type": kind, "object": {"metadata": metadata, "spec": {}}}


def watched(
    monkeypatch: pytest.MonkeyPatch, *tasks: Callable[[Watch, Any], Awaitable[None]]
) -> tuple[Watch, list[str]]:
    """Run a watch whose kopf is made of these tasks; return it, and what was called."""
    called: list[str] = []
    watch = Watch(Store(), login, "me", "ml", lambda: called.append("signals"))

    async def spawn(**options: Any) -> list[asyncio.Task[Any]]:
        assert (options["identity"], options["namespaces"]) == ("me", ("ml",))
        assert isinstance(options["settings"], kopf.OperatorSettings)
        handlers = options["registry"]._watching.get_all_handlers()
        of_runs = next(h for h in handlers if h.selector and h.selector.plural == "finetuneruns")
        return [asyncio.create_task(task(watch, of_runs), name=f"kopf-{n}") for n, task in enumerate(tasks)]  # type: ignore[arg-type]

    monkeypatch.setattr(watching, "kopf", SimpleNamespace(**{**vars(kopf), "spawn_tasks": spawn}))
    with pytest.raises(WatchEnded) as ended:
        run_virtually(asyncio.wait_for(watch.run(), 5))
    called.append(str(ended.value))
    return watch, called


async def for_ever(watch: Watch, handler: Any) -> None:
    await asyncio.sleep(3600)


def test_a_watch_hears_takes_in_and_says_why_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hears(watch: Watch, handler: Any) -> None:
        for version in ("7", "5", None):
            await handler.fn(event=event(version))
        assert watch.heard == {Kind.RUN: 7}, "the newest, in whatever order they come"
        raise PermissionError("no rights")

    watch, called = watched(monkeypatch, for_ever, hears)
    assert called == ["signals", "kopf-1: PermissionError: no rights"]
    assert watch.store.get(Kind.RUN, "ml", "first") is not None
    watch._take_in(Kind.RUN, event("9", "DELETED"))
    assert watch.heard == {Kind.RUN: 7}, "what comes after its end is another watch's"
    assert watch.store.get(Kind.RUN, "ml", "first") is not None


def test_a_watch_that_ends_without_an_error_is_over_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends(watch: Watch, handler: Any) -> None:
        return None

    async def is_cancelled(watch: Watch, handler: Any) -> None:
        raise asyncio.CancelledError

    assert watched(monkeypatch, for_ever, ends)[1][-1] == "kopf-1 ended"
    assert watched(monkeypatch, for_ever, is_cancelled)[1][-1] == "kopf-1 ended"


def test_what_was_born_in_a_watch_ends_with_it_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    born: dict[str, asyncio.Task[Any]] = {}

    async def grandchild() -> None:
        born["grandchild"] = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(3600)

    async def bears(watch: Watch, handler: Any) -> None:
        born["child"] = asyncio.create_task(grandchild())
        await asyncio.sleep(0.01)

    async def story() -> dict[str, bool]:
        other = asyncio.create_task(asyncio.sleep(3600))
        watch = Watch(Store(), login, "me", "ml")

        async def spawn(**_: Any) -> list[asyncio.Task[Any]]:
            return [asyncio.create_task(bears(watch, None))]

        monkeypatch.setattr(watching, "kopf", SimpleNamespace(**{**vars(kopf), "spawn_tasks": spawn}))
        with pytest.raises(WatchEnded):
            await watch.run()
        later = asyncio.create_task(asyncio.sleep(3600))
        ended = {name: task.cancelled() for name, task in born.items()}
        return {**ended, "other": other.done(), "later": later.done()}

    assert run_virtually(story()) == {"child": True, "grandchild": True, "other": False, "later": False}
