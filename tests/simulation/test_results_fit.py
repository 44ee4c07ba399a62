"""Whatever a trainer says: what is taken of it can be written, and what cannot be taken is a failed attempt."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finetune_operator.api.schema import misfit
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

from .api_server import Write, copied
from .controllers import NAMESPACE
from .invariants import violations
from .stories import STORIES, USER, World
from .trainer_script import Trainer

PASS = STORIES[0]
ROOT = "file:///artifacts"
NASTY: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [10**17, -1, 2**63, 2**31, 0, 1.5, float("nan"), True, None, [], {}, "", "NaN", "9" * 400, "x" * 5000]
    ),
    st.sampled_from(
        [f"{ROOT}/my model.onnx", f"{ROOT}/./checkpoint.pt", f"{ROOT}/a@b/plan.json", f"{ROOT}/{'x' * 1300}/model.onnx",
         f"{ROOT}/\ud800", f"{ROOT}/a?b", f"{ROOT}/%41", f"{ROOT}//", "\ud800", "\x00", "\U0001f600" * 90, "0" * 64]
    ),
    st.text(max_size=40),
    st.integers(),
)  # fmt: skip
STEPS = st.sampled_from(["prepare", "train", "evaluate"])


def paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in plain JSON data."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [*([path] if path else []), *(inside for key, value in inner for inside in paths(value, (*path, key)))]


class Mutant(Trainer):
    """A trainer whose message of one step has another value in one place."""

    def __init__(self, step: str, place: int, value: Any) -> None:
        super().__init__()
        object.__setattr__(self, "_mutation", (step, place, value))

    def __call__(self, step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        code, message = super().__call__(step, document, inputs)
        wanted, place, value = object.__getattribute__(self, "_mutation")
        if step != wanted:
            return code, message
        message = copied(message)
        places = paths(message)
        *way, last = places[place % len(places)]
        node: Any = message
        for part in way:
            node = node[part]
        node[last] = value
        return code, message


def unwritable(write: Write) -> list[str]:
    """Return what the API server would not have taken of a write of ours."""
    if write.actor != "finetune-operator" or write.after is None:
        return []
    name = {Kind.RUN: "FineTuneRun", Kind.MODEL_VERSION: "ModelVersion", Kind.POLICY: "FineTunePolicy",
            Kind.PROMOTION: "ModelPromotion"}.get(write.kind)  # fmt: skip
    if name is None:
        return []
    said = [misfit(name, "status", write.after.get("status") or {})]
    if name in ("ModelVersion", "ModelPromotion") and write.verb == "create":
        said.append(misfit(name, "spec", write.after["spec"]))
    return [why for why in said if why is not None]


@given(step=STEPS, place=st.integers(0, 200), value=NASTY)
@example(step="train", place=7, value=10**17)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_all_that_is_taken_of_a_result_can_be_written_and_the_run_ends(step: str, place: int, value: Any) -> None:
    world = World(PASS)
    world.jobs.script = Mutant(step, place, value)
    world.play(hours=10)
    run = world.get(Kind.RUN, "first")["status"]
    assert run["phase"] in ("Promoted", "Rejected", "Failed", "InReview"), run["message"]
    assert [why for write in world.server.log for why in unwritable(write)] == []
    assert [broken for broken in violations(world) if "verdicts" not in broken] == []
    assert "ReconcileFailed" not in json.dumps(run)


@given(place=st.integers(0, 60), value=NASTY)
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
def test_all_that_is_taken_of_a_scan_can_be_written_and_nothing_waits_for_it(place: int, value: Any) -> None:
    world = World(PASS)
    spec = {
        "data": {"production": {"uri": "file:///production", "keepDays": 90}},
        "triggers": {"volume": {}, "start": "Suspended"},
    }
    world.server.update_spec(USER, Kind.POLICY, NAMESPACE, "invoice-fields", lambda o: merged(o["spec"], spec))
    world.jobs.script = Mutant("scan", place, value)
    for _ in range(30):
        world.settle()
        world.server.advance(10)
    assert [why for write in world.server.log for why in unwritable(write)] == []
    assert world.get(Kind.POLICY, "invoice-fields")["status"]["live"]["version"] in ("base_v1", "ft_v1.1")
    assert "ReconcileFailed" not in json.dumps(world.get(Kind.POLICY, "invoice-fields")["status"])
    assert not any(kind is Kind.POLICY for kind, _ in world.failures), world.failures


def merged(spec: Object, more: Object) -> None:
    """Put more into a spec."""
    for name, value in more.items():
        spec[name] = {**spec.get(name, {}), **value}


@pytest.mark.row("R89")
@pytest.mark.parametrize(
    ("step", "change"),
    [
        ("train", {"artifact": {"bytes": 10**17}}),
        ("train", {"artifact": {"uri": f"{ROOT}/attempt-1/train/my model.onnx"}}),
        ("train", {"artifact": {"uri": f"{ROOT}/{'x' * 2100}/model.onnx"}}),
        ("train", {"checkpoint": {"uri": f"{ROOT}/./checkpoint.pt"}}),
        ("prepare", {"plan": {"uri": f"{ROOT}/a@b/plan.json"}}),
        ("train", {"device": "\ud800"}),
    ],
    ids=["bytes", "space", "long", "dot", "at", "surrogate"],
)
def test_a_result_that_could_not_be_recorded_is_a_failed_attempt_with_words(step: str, change: Any) -> None:
    class Wrong(Trainer):
        def __call__(self, asked: str, document: Object, inputs: Object) -> tuple[int, Object]:
            code, message = super().__call__(asked, document, inputs)
            if asked == step:
                for name, value in change.items():
                    root = document["artifacts"]["uri"]
                    inner = {k: v.replace(ROOT, root) if isinstance(v, str) else v for k, v in value.items()} if (
                        isinstance(value, dict)) else value  # fmt: skip
                    message["result"][name] = {**message["result"][name], **inner} if isinstance(inner, dict) else inner
            return code, message

    world = World(PASS)
    world.jobs.script = Wrong()
    world.play(hours=10)
    run = world.get(Kind.RUN, "first")["status"]
    failed = [a for a in run["attempts"] if a["outcome"] == "Failed"]
    assert run["phase"] == "Failed"
    assert {a["reason"] for a in failed} == {"ResultInvalid"}, failed
    assert len(failed) == 3, "as often as a failed step is tried"
    assert all(a["message"] for a in failed)
    assert world.server.get(Kind.MODEL_VERSION, NAMESPACE, "invoice-fields-ft-v1.1") is None
