"""Whose a task is: all tasks that are born in a watch, however deep, so that they end with it and no other does."""

import asyncio
import logging
from collections.abc import Collection, Coroutine, Generator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
Task = asyncio.Task[Any]

_MINE: Final[ContextVar["TaskTree | None"]] = ContextVar("task_tree", default=None)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class TaskTree:
    """The tasks born between `adopt` and `leave`, by the task that calls them or by tasks of the tree."""

    _parents: WeakKeyDictionary[Task, Task | None] = field(default_factory=WeakKeyDictionary)

    def adopt(self) -> None:
        """Count tasks from here on as this tree's."""
        asyncio.get_running_loop().set_task_factory(_bear)
        _MINE.set(self)

    def leave(self) -> None:
        """Count the caller's further tasks as nobody's."""
        _MINE.set(None)

    def born(self, task: Task) -> None:
        """Take in a task that was just made."""
        self._parents[task] = asyncio.current_task()
        # kopf's watchers all fail at once, and it looks at one of them: asyncio would complain of the others.
        task.add_done_callback(_look_at)

    async def end(self, roots: Collection[Task], seconds: float) -> None:
        """Cancel the roots, then their children, then the rest; each lot has `seconds` to put its own in order.

        kopf's orchestrator leaves its watchers running when one of them fails, and a watcher that is cancelled
        together with its own helpers may wait for them for ever.
        """
        await _cancel(roots, seconds)
        await _cancel([task for task in self._left() if self._parents.get(task) in roots], seconds)
        await _cancel(self._left(), seconds)
        for task in self._left():
            log.warning("a task of a watch does not end: %s", task.get_name())

    def _left(self) -> list[Task]:
        return [task for task in list(self._parents) if not task.done()]


async def _cancel(tasks: Collection[Task], seconds: float) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


def _look_at(task: Task) -> None:
    if not task.cancelled():
        task.exception()


def _bear(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], /, **options: Any
) -> asyncio.Task[T]:
    task = asyncio.Task(coro, loop=loop, **options)
    tree = _MINE.get()
    if tree is not None:
        tree.born(task)
    return task
