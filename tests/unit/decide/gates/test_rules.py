"""What a gate brings with it is all that judging knows of it: its limits, its verdicts and its figures."""

import pkgutil
from importlib import import_module

import pytest
from msgspec.structs import replace

from finetune_operator.api.figures import Figure
from finetune_operator.api.policy import Gates
from finetune_operator.api.run import GateVerdict, TestSet, Verdict
from finetune_operator.api.step_result import EvaluateResult, Scores
from finetune_operator.api.value import parse
from finetune_operator.decide import gates as package
from finetune_operator.decide.gates.evidence import test_set_of as recorded_test_set
from finetune_operator.decide.gates.gate import Figures, Gate, Standing, figures
from finetune_operator.decide.gates.rows import MAX_COUNT
from finetune_operator.decide.gates.shares import found_share
from finetune_operator.decide.gates.verdict import GATES, VERDICTS, judge
from finetune_operator.decide.snapshot import snapshot_of_run
from unit.decide.run.results import evaluate_result
from unit.decide.run.world import base, policy, run

DOCUMENT = snapshot_of_run(run(), policy(gates=Gates()), base())


def result() -> EvaluateResult:
    return parse(evaluate_result(), EvaluateResult)


def gate(verdict: Verdict, seen: Figures | None) -> Gate[Gates]:
    return Gate(
        name="another",
        limits=lambda gates: gates,
        judge=lambda limits, case: (GateVerdict(name="another", verdict=verdict),),
        figures=lambda result: seen,
        names=("another",),
    )


@pytest.mark.row("R22")
@pytest.mark.parametrize("verdict", ["Pass", "Review", "Reject", "Error"])
def test_another_gate_is_judged_and_recorded_by_its_entry_alone(verdict: Verdict) -> None:
    alone = judge(DOCUMENT, result(), Standing())
    judgement = judge(DOCUMENT, result(), Standing(), (*GATES, gate(verdict, (Figure(name="seen", value="3"),))))
    assert judgement.verdict == verdict
    assert judgement.gates == (*alone.gates, GateVerdict(name="another", verdict=verdict))
    assert alone.figures is not None
    assert set(judgement.figures or ()) == {*alone.figures, Figure(name="seen", value="3")}


@pytest.mark.row("R22")
def test_a_gate_that_lacks_a_number_makes_an_error_of_whatever_the_gates_say() -> None:
    judgement = judge(DOCUMENT, result(), Standing(), (*GATES, gate("Pass", None)))
    assert (judgement.verdict, judgement.figures) == ("Error", None)


def test_every_limit_of_a_policy_is_that_of_one_gate() -> None:
    limits = [getattr(Gates(), field) for field in Gates.__struct_fields__]
    assert sorted(map(repr, limits)) == sorted(repr(known.limits(Gates())) for known in GATES)


def test_every_gate_of_the_package_is_judged() -> None:
    modules = (import_module(f"{package.__name__}.{module.name}") for module in pkgutil.iter_modules(package.__path__))
    made = {id(item) for module in modules for item in vars(module).values() if isinstance(item, Gate)}
    assert made == {id(known) for known in GATES}


def test_every_judgement_has_the_verdicts_that_its_gates_name() -> None:
    judgement = judge(DOCUMENT, result(), Standing())
    assert {gate.name for gate in judgement.gates} == VERDICTS


def test_a_judgement_of_what_was_not_measured_has_them_too_and_is_an_error() -> None:
    whole = result()
    models = whole.models
    for lacking in (
        replace(whole, new_set=None),
        replace(whole, models=replace(models, candidate=None)),
    ):
        judgement = judge(DOCUMENT, lacking, Standing())
        assert {gate.name for gate in judgement.gates} == VERDICTS
        assert judgement.verdict == "Error"


def test_verdicts_and_figures_have_names_of_their_own() -> None:
    judgement = judge(DOCUMENT, result(), Standing())
    assert judgement.figures is not None
    for names in ([gate.name for gate in judgement.gates], [figure.name for figure in judgement.figures]):
        assert len(names) == len(set(names)) > 0


def test_what_was_not_measured_is_no_figure() -> None:
    assert figures(a=1, b=None, c=0) == (Figure(name="a", value="1"), Figure(name="c", value="0"))


@pytest.mark.row("R22")
@pytest.mark.parametrize(
    ("digest", "images", "is_one"),
    [
        ("a" * 64, 0, True),
        ("a" * 64, MAX_COUNT, True),
        ("a" * 64, -1, False),
        ("a" * 64, MAX_COUNT + 1, False),
        ("A" * 64, 3, False),
        ("a" * 65, 3, False),
        ("", 3, False),
    ],
)
def test_a_test_set_is_on_record_only_with_a_digest_and_a_count_that_can_be(
    digest: str, images: int, is_one: bool
) -> None:
    said = result()
    seen = recorded_test_set(replace(said, test_set=replace(said.test_set, digest=digest, images=images)))
    assert seen == (TestSet(digest=digest, images=images) if is_one else None)


@pytest.mark.row("R22")
@pytest.mark.parametrize(
    ("matched", "boxes", "rate", "expected"),
    [
        (0, 0, "0.000000", None),
        (0, 1, "0.000000", "0.000000"),
        (1, 1, "1.000000", "1.000000"),
        (2, 1, "1.000000", None),
        (-1, 1, "0.000000", None),
        (1, 2, "0.500001", "0.500001"),
        (1, 2, "0.500002", None),
        (0, 1, "-0.000000", None),
    ],
)
def test_a_share_is_one_of_something_that_its_counts_make(
    matched: int, boxes: int, rate: str, expected: str | None
) -> None:
    seen = found_share(Scores(matched=matched, boxes=boxes, rate=rate))
    assert (None if seen is None else str(seen)) == expected
