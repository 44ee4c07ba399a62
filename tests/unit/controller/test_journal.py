"""What was written is remembered for the log, and what is asked for is changed in nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.port import Object
from finetune_operator.controller.decision_log import MOST, Journal, decision

RUN = ObjectRef(Kind.RUN, "ml", "first")
BEFORE: Object = {"metadata": {"name": "first"}, "status": {"phase": "Pending", "message": "m", "same": 1, "gone": 2}}


class Told:
    """A cluster that keeps what it was told, and answers with that."""

    def __init__(self, status: Object | None = None) -> None:
        self.status = status

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        async def tell(*args: Any, **options: Any) -> Any:
            self.asked = (verb, args, options)
            if verb in {"get", "patch_status"}:
                return BEFORE if verb == "get" else {"metadata": {"name": "first"}, "status": self.status}
            return {"metadata": {"name": "made"}} if verb == "create" else self.asked

        return tell


VERBS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "get": ((Kind.RUN, "ml", "first"), {"fresh": True}),
    "list": ((Kind.JOB, "ml", {"a": "b"}), {"fresh": True}),
    "find": ((Kind.RUN, "ml", "policy", "p"), {}),
    "digests": ((Kind.RUN, "ml", "policy", "p"), {}),
    "create": ((Kind.JOB, "ml", {"x": 1}), {}),
    "patch_status": ((Kind.RUN, "ml", "first", "u", "7", {"status": {}}), {}),
    "annotate": ((Kind.RUN, "ml", "first", "u", "7", {"k": "v"}), {}),
    "apply": ((Kind.DEPLOYMENT, "ml", "d", {"x": 1}), {}),
    "delete": ((Kind.JOB, "ml", "j", "u"), {}),
    "log_tail": (("ml", "p", "trainer", 5, 100), {}),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_journal_changes_nothing_of_what_is_asked_for(verb: str) -> None:
    args, options = VERBS[verb]
    cluster = Told()
    asyncio.run(getattr(Journal(cluster), verb)(*args, **options))  # type: ignore[arg-type]
    assert cluster.asked == (verb, args, options)


def written(*verbs: str, status: Object | None = None, key: ObjectRef = RUN) -> list[dict[str, Any]]:
    """Return what the log's lines carry after a decision about `key` did all that."""
    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append({**vars(record), "line": record.getMessage()})

    async def decide() -> None:
        journal = Journal(Told(status))  # type: ignore[arg-type]
        with decision(key):
            for verb in verbs:
                await getattr(journal, verb)(*VERBS[verb][0], **VERBS[verb][1])
        await journal.delete(Kind.JOB, "ml", "after", "u")

    log, keep = logging.getLogger("finetune_operator.controller.decision_log"), Keep()
    level = log.level
    log.addHandler(keep)
    log.setLevel(logging.INFO)
    try:
        asyncio.run(decide())
    finally:
        log.removeHandler(keep)
        log.setLevel(level)
    return lines


def test_a_decision_that_only_read_has_no_line() -> None:
    assert written("get", "list", "find", "digests", "log_tail") == []


def test_each_write_of_a_decision_is_named_in_its_order() -> None:
    (line,) = written("create", "annotate", "apply", "delete")
    assert line["actions"] == [
        "create jobs made", "annotate finetuneruns first", "apply deployments d", "delete jobs j"
    ]  # fmt: skip
    assert line["line"] == f"FineTuneRun first: {', '.join(line['actions'])}"
    assert not {"phase", "changed", "conditions", "says"} & set(line), "nothing is said of a status"


def test_the_status_of_another_object_is_an_action_not_a_change() -> None:
    (line,) = written("patch_status", status={}, key=ObjectRef(Kind.POLICY, "ml", "p"))
    assert line["actions"] == ["patch status of finetuneruns first"]
    assert line["line"] == "FineTunePolicy p: patch status of finetuneruns first"


def test_what_changed_is_told_from_what_stayed() -> None:
    ready: Object = {"type": "Ready", "status": "True", "reason": "R", "message": "m"}
    after: Object = {"phase": "Training", "message": "now", "same": 1, "new": 3, "conditions": [ready]}
    (line,) = written("patch_status", status=after)
    assert (line["phase"], line["says"]) == ("Pending -> Training", "now")
    assert line["changed"] == ["conditions", "gone", "message", "new", "phase"]
    assert line["conditions"] == ["Ready=True/R: m"]
    assert line["line"] == "FineTuneRun first: Pending -> Training"
    (line,) = written("patch_status", status={**after, "phase": "Pending"})
    assert (line["phase"], line["line"]) == ("Pending", "FineTuneRun first: Ready=True/R")
    (line,) = written("patch_status", status={"phase": "Pending"})
    assert line["line"] == "FineTuneRun first: gone, message, same"


def test_a_second_write_of_the_status_is_told_from_before_the_first() -> None:
    (line,) = written("patch_status", "patch_status", "delete", status={"phase": "Training", "message": None})
    assert line["phase"] == "Pending -> Training"
    assert line["line"] == "FineTuneRun first: Pending -> Training; delete jobs j"
    assert "says" not in line


@pytest.mark.parametrize("part", ["status", "reason", "message"])
def test_a_condition_that_changed_in_one_part_is_told_and_no_other(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    was: Object = {"type": "Ready", "status": "True", "reason": "R", "message": "m"}
    monkeypatch.setitem(BEFORE["status"], "conditions", [was, {**was, "type": "Other"}])
    (line,) = written("patch_status", status={"conditions": [{**was, part: "X"}, {**was, "type": "Other"}]})
    assert [text.partition("=")[0] for text in line["conditions"]] == ["Ready"]


@pytest.mark.parametrize(("count", "shown", "last"), [(MOST, MOST, "f11"), (MOST + 1, MOST + 1, "and 1 more")])
def test_of_many_changes_the_rest_is_counted(
    count: int, shown: int, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BEFORE, "status", {})
    (line,) = written("patch_status", status={f"f{number:02}": 1 for number in range(count)})
    assert (len(line["changed"]), line["changed"][-1]) == (shown, last)
