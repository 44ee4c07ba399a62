"""The operator's end of the contract with the trainer: it writes, and takes, exactly the messages of this folder.

`test_trainer_messages.py` holds the trainer to the same files. After a change of the contract that both sides make,
WRITE_MESSAGES=1 makes the operator's files anew.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import FileReference
from finetune_operator.api.policy import Gates
from finetune_operator.api.progress import ProgressLine
from finetune_operator.api.run import Run
from finetune_operator.api.run_document import RunDocument, document_json
from finetune_operator.api.step_result import EvaluateResult, StepResult
from finetune_operator.api.value import canonical_json, complete, parse
from finetune_operator.decide.attempts import results
from finetune_operator.decide.decision import CreateJob, CreateSnapshot
from finetune_operator.decide.version import machine as version
from finetune_operator.decide.version.view import VersionView
from unit.decide.run.results import LIVE, START
from unit.decide.run.world import World, base, capture, imported, policy, run, template

MESSAGES = Path(__file__).parent / "messages"
Message = dict[str, Any]


def message(name: str) -> Message:
    """Return a message of the contract."""
    content: Message = json.loads((MESSAGES / f"{name}.json").read_text())
    return content


@cache
def written() -> dict[str, Message]:
    """Return what the operator writes for a run beside a live fine-tune, for a rebuild, and for an imported base."""
    plan = FileReference(uri="file:///artifacts/earlier/plan.json", sha256="ab" * 32)
    earlier = base("ft_v1.1", LIVE, type="FineTuned", inputs=plan)
    world = World(run=_made(run()), versions=(base(inputs=plan), earlier))
    world.go_live("ft_v1.1")
    world.trained()
    view = VersionView(
        version=imported(), now=START, policies=(policy(),), cpu_template=template("cpu-trainer"), nonce="0a1b"
    )
    gated = World(run=_made(run()))
    capture(gated)
    gated.settle()
    rebuilds = World(run=_made(run(mode="Rebuild")), versions=(base(inputs=plan),))
    rebuilds.settle()
    messages = {}
    for of, actions in (
        ("production", gated.history),
        ("rebuild", rebuilds.history),
        ("finetune", world.history),
        ("verify", version.decide(view).actions),
    ):
        for action in actions:
            match action:
                case CreateSnapshot():
                    messages[f"run-{of}"] = json.loads(canonical_json(document_json(action.run_document)))
                case CreateJob():
                    messages[f"inputs-{action.step}"] = json.loads(action.step_inputs)
                case _:
                    pass
    return messages


def _made(one: Run) -> Run:
    return replace(one, metadata=replace(one.metadata, creation_timestamp=START))


@pytest.mark.parametrize(
    "name",
    [
        "run-finetune",
        "run-production",
        "run-rebuild",
        "run-verify",
        "inputs-prepare",
        "inputs-train",
        "inputs-evaluate",
        "inputs-verify",
    ],
)
def test_the_operator_writes_what_the_contract_says(name: str) -> None:
    if os.environ.get("WRITE_MESSAGES"):
        (MESSAGES / f"{name}.json").write_text(json.dumps(written()[name], indent=2) + "\n")
    assert _without_limits(written()[name]) == _without_limits(message(name))


def _without_limits(of: Message) -> Message:
    """Leave out the limits of the gates, which the operator writes for itself: a new gate is nothing to the trainer."""
    return {key: value for key, value in of.items() if key != "gates"}


def test_a_run_document_has_the_limits_of_every_gate() -> None:
    assert written()["run-production"]["gates"].keys() == complete(Gates()).keys()
    assert written()["run-finetune"]["gates"].keys() == complete(Gates()).keys() - {"production"}
    assert message("run-finetune")["gates"].items() <= written()["run-finetune"]["gates"].items()
    assert message("run-production")["gates"]["production"] == written()["run-production"]["gates"]["production"]


def test_the_trainers_results_lead_a_run_to_a_passing_verdict() -> None:
    world = World()
    world.settle()
    for step in ("prepare", "train", "evaluate"):
        world.start(step)
        world.complete(step, json.dumps(message(f"result-{step}")))
    assert world.status.verdict == "Pass", [(a.step, a.outcome, a.message) for a in world.status.attempts]


def test_the_trainers_figures_of_production_lead_a_run_to_a_review() -> None:
    world = World()
    capture(world)
    world.settle()
    for step, said in (
        ("prepare", "result-production-prepare"),
        ("train", "result-train"),
        ("evaluate", "result-production"),
    ):
        world.start(step)
        world.complete(step, json.dumps(message(said)))
    [gate] = [gate for gate in world.status.gates if gate.name == "production"]
    assert (gate.verdict, gate.reason) == ("Review", "FieldLost"), [
        (a.reason, a.message) for a in world.status.attempts
    ]


def test_the_trainers_measurement_verifies_a_base() -> None:
    run_document = parse(message("run-verify"), RunDocument)
    measured = results.verified(run_document, parse(message("result-verify"), StepResult))
    assert isinstance(measured, EvaluateResult)
    assert measured.models.base.map50 == "0.985000"


def test_the_trainers_error_ends_a_run_with_its_words() -> None:
    world = World()
    world.settle()
    world.start("prepare")
    error = message("result-failed")["error"]
    world.fail("prepare", 10, error)
    assert world.condition("Prepared") == ("False", error["reason"])
    assert error["remedy"] in world.message("Prepared")


def test_a_progress_line_is_read_in_full() -> None:
    line = parse(message("progress"), ProgressLine)
    assert (line.step, line.percent, line.epoch, line.epochs, line.remaining_seconds) == ("train", 30, 3, 10, 91)
    assert set(line.losses) == {"box", "cls", "dfl"}
