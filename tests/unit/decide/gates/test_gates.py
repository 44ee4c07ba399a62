"""Verdicts: exact at their limits, and never a Pass from something that is no measurement."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from finetune_operator.api.policy import Gates, NewSamplesGate, ProductionGate, RegressionGate
from finetune_operator.api.run import GateVerdict
from finetune_operator.api.run_document import RunDocument
from finetune_operator.api.step_result import EvaluateResult
from finetune_operator.api.value import parse
from finetune_operator.decide.gates.evidence import evidence_of
from finetune_operator.decide.gates.gate import Evaluation, Standing
from finetune_operator.decide.gates.new_samples import judge as judge_new_samples
from finetune_operator.decide.gates.regression import judge as judge_regression
from finetune_operator.decide.gates.shares import share
from finetune_operator.decide.gates.verdict import judge, worst
from finetune_operator.decide.snapshot import snapshot_of_run
from unit.decide.run.results import evaluate_result, production_set, scores
from unit.decide.run.world import base, policy, run

LIMITS = RegressionGate()
MINIMUM = NewSamplesGate()


def regression(limits: RegressionGate, result: EvaluateResult) -> GateVerdict:
    (verdict,) = judge_regression(limits, Evaluation(result))
    return verdict


def new_samples(limits: NewSamplesGate, result: EvaluateResult) -> tuple[GateVerdict, ...]:
    return judge_new_samples(limits, Evaluation(result, standing=Standing("ft_v1.1")))


def document(gates: Gates | None = None) -> RunDocument:
    return snapshot_of_run(run(), policy(gates=gates or Gates()), base())


def measured(**figures: Any) -> EvaluateResult:
    return parse(evaluate_result(**figures), EvaluateResult)


def pool(
    matched: int, boxes: int = 1000, *, fresh: dict[str, Any] | None = None, fresh_documents: int = 60
) -> EvaluateResult:
    result = evaluate_result()
    result["models"]["candidate"]["pool"] = scores(matched, boxes)
    result["models"]["candidate"]["fresh"] = fresh
    result["newSet"]["fresh"] = fresh_documents
    return parse(result, EvaluateResult)


@pytest.mark.row("R22")
@pytest.mark.parametrize(
    ("candidate", "base_map50", "live", "verdict", "drop"),
    [
        ("0.990000", "0.985000", None, "Pass", "-0.500000"),
        ("0.985000", "0.985000", None, "Pass", "0.000000"),
        ("0.975001", "0.985000", None, "Pass", "0.999900"),
        ("0.975000", "0.985000", None, "Review", "1.000000"),
        ("0.955000", "0.985000", None, "Review", "3.000000"),
        ("0.954999", "0.985000", None, "Reject", "3.000100"),
        ("0.980000", "0.900000", "0.985000", "Pass", "0.500000"),
        ("0.970000", "0.900000", "0.985000", "Review", "1.500000"),
        ("0.950000", "0.990000", "0.940000", "Reject", "4.000000"),
        ("0.000000", "0.000000", None, "Pass", "0.000000"),
    ],
)
def test_gate_1_judges_the_drop_against_the_better_of_base_and_live(
    candidate: str, base_map50: str, live: str | None, verdict: str, drop: str
) -> None:
    gate = regression(LIMITS, measured(candidate=candidate, base_map50=base_map50, live_map50=live))
    assert (gate.verdict, gate.value) == (verdict, drop)
    assert gate.threshold == "review at 1, reject above 3"


def test_gate_1_shows_both_differences() -> None:
    gate = regression(LIMITS, measured(candidate="0.960000", base_map50="0.985000", live_map50="0.950000"))
    assert "base 0.985000 (-2.50 points)" in gate.message
    assert "live 0.950000 (+1.00 points)" in gate.message


@pytest.mark.parametrize(
    ("matched", "boxes", "verdict"),
    [(801, 1000, "Pass"), (800, 1000, "Review"), (799, 1000, "Review"), (0, 1000, "Review"), (1000, 1000, "Pass")],
)
def test_gate_2_passes_above_its_minimum_only(matched: int, boxes: int, verdict: str) -> None:
    gates = new_samples(MINIMUM, pool(matched, boxes, fresh=scores(matched, boxes)))
    assert [(g.name, g.verdict) for g in gates] == [("newSamples", verdict), ("newSamplesFresh", verdict)]


def test_gate_2_looks_at_the_fresh_samples_separately() -> None:
    gates = new_samples(MINIMUM, pool(950, fresh=scores(5, 10)))
    assert [g.verdict for g in gates] == ["Pass", "Review"]


def test_without_fresh_samples_the_pool_alone_counts_and_the_gate_says_so() -> None:
    gates = new_samples(MINIMUM, pool(950, fresh=None, fresh_documents=0))
    assert [(g.name, g.verdict) for g in gates] == [("newSamples", "Pass"), ("newSamplesFresh", "Pass")]
    assert gates[1].message == "does not apply: no sample is fresh since ft_v1.1; the pool alone counts"


def test_gate_2_shows_what_base_and_live_found_beside_the_candidate() -> None:
    both = new_samples(MINIMUM, measured(live_map50="0.98"))
    assert all(g.message.startswith("950 of 1000 boxes of ") and "; base 400; live 900" in g.message for g in both)


def test_gate_2_says_when_the_samples_were_trained_on() -> None:
    gates = new_samples(MINIMUM, measured())
    assert all("trained on these samples (holdout is 0)" in gate.message for gate in gates)


BROKEN_RATES: dict[str, EvaluateResult] = {
    "empty pool": pool(0, 0),
    "fresh samples that were not measured": pool(950, fresh=None, fresh_documents=3),
    "empty fresh set where nothing is fresh": pool(950, fresh=scores(0, 0), fresh_documents=0),
    "empty fresh set with a rate": pool(950, fresh=scores(0, 0) | {"rate": "1.000000"}),
    "more found than there are": pool(950, fresh={"boxes": 10, "matched": 11, "rate": "1.000000"}),
    "negative": pool(950, fresh={"boxes": 10, "matched": -1, "rate": "0.000000"}),
    "a rate that is not matched / boxes": pool(950, fresh={"boxes": 10, "matched": 5, "rate": "0.900000"}),
    "no number": pool(950, fresh={"boxes": 10, "matched": 9, "rate": "NaN"}),
}


@pytest.mark.parametrize("case", BROKEN_RATES)
def test_gate_2_makes_an_error_of_figures_that_contradict_themselves(case: str) -> None:
    assert worst(new_samples(MINIMUM, BROKEN_RATES[case])) == "Error"


def test_nothing_measured_on_new_samples_is_an_error() -> None:
    result = evaluate_result()
    del result["newSet"]
    assert judge(document(), parse(result, EvaluateResult), Standing()).verdict == "Error"


@pytest.mark.parametrize("limit", ["NaN", "Infinity", "sNaN"])
def test_limits_that_are_no_numbers_judge_nothing(limit: str) -> None:
    number = Decimal(limit)
    assert regression(RegressionGate(review_at_points=number), measured()).verdict == "Error"
    assert regression(RegressionGate(reject_above_points=number), measured()).verdict == "Error"
    assert worst(new_samples(NewSamplesGate(minimum=number), measured())) == "Error"


def test_a_document_without_gates_judges_nothing() -> None:
    assert judge(replace(document(), gates=None), measured(), Standing()).verdict == "Error"


def test_an_empty_test_set_is_an_error() -> None:
    result = evaluate_result()
    result["testSet"]["images"] = 0
    assert regression(LIMITS, parse(result, EvaluateResult)).verdict == "Error"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], "Error"),
        (["Pass"], "Pass"),
        (["Pass", "Review"], "Review"),
        (["Reject", "Review"], "Reject"),
        (["Error", "Reject"], "Error"),
    ],
)
def test_the_worst_gate_decides(verdicts: list[Any], expected: str) -> None:
    assert worst(tuple(GateVerdict(name="g", verdict=v) for v in verdicts)) == expected


shares = st.decimals(0, 1, places=6).map(lambda d: f"{d:.6f}")
junk = st.one_of(
    st.sampled_from(
        ["NaN", "-NaN", "sNaN", "Infinity", "-Infinity", "", " ", "1e999", "-0", "-0.1", "1.000001", "0x1"]
    ),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.text(max_size=12),
)


@given(candidate=shares, base_map50=shares, live=st.none() | shares)
def test_gate_1_is_the_documented_formula(candidate: str, base_map50: str, live: str | None) -> None:
    gate = regression(LIMITS, measured(candidate=candidate, base_map50=base_map50, live_map50=live))
    drop = 100 * (max(Decimal(base_map50), Decimal(live or base_map50)) - Decimal(candidate))
    assert gate.verdict == ("Pass" if drop < 1 else "Review" if drop <= 3 else "Reject")
    assert Decimal(gate.value) == drop


@given(candidate=junk, base_map50=junk | shares, live=st.none() | junk | shares, rate=junk | shares)
def test_a_pass_needs_numbers(candidate: str, base_map50: str, live: str | None, rate: str) -> None:
    result = evaluate_result(candidate=candidate, base_map50=base_map50, live_map50=live)
    result["models"]["candidate"]["pool"]["rate"] = rate
    judgement = judge(document(), parse(result, EvaluateResult), Standing())
    if judgement.verdict != "Error":
        numbers = [candidate, base_map50, *([live] if live else []), rate]
        assert all(0 <= Decimal(n) <= 1 for n in numbers)


@given(text=junk | shares)
def test_a_share_is_six_digits_in_range_or_nothing(text: str) -> None:
    value = share(text)
    assert value is None or (0 <= value <= 1 and str(value) == f"{value:.6f}")


BOUND: dict[str, Any] = {
    "candidate": lambda r: r["models"]["candidate"].update(sha256="00" * 32),
    "base": lambda r: r["models"]["base"].update(sha256="00" * 32),
    "test set": lambda r: r["testSet"].update(digest="00" * 32),
    "new samples": lambda r: r["newSet"].update(digest="00" * 32),
    "settings": lambda r: r.update(settings="00" * 32),
    "evaluator": lambda r: r.update(evaluator="finetune-trainer 9.9.9"),
    "a measurement": lambda r: r["models"]["candidate"].update(map50="0.981001"),
    "a field's measurement": lambda r: r["testSet"]["drops"]["ap50"].update(candidate=[980_000, 981_000]),
    "a field's boxes found": lambda r: r["newSet"]["floor"]["matched"].update(candidate=[471, 480]),
    "the test set's size": lambda r: r["testSet"].update(images=201),
    "documents of production": lambda r: r.update(production=production_set()),
    "the new samples' size": lambda r: r["newSet"].update(documents=61),
}


def digest(result: dict[str, Any], **changes: Any) -> str:
    parsed = parse(result, EvaluateResult)
    bound = {
        "live": None,
        "live_sha256": None,
        "round_": 1,
        "uri": "file:///report",
        "standing": KNOWN,
        "provenance": {},
        **changes,
    }
    limits, owner = bound.pop("gates", Gates()), bound.pop("owner", document().owner)
    asked = replace(document(limits), owner=owner, classes=bound.pop("classes", document().classes))
    # The verdicts stay, so that what is seen to change the digest is the part itself.
    judged = judge(document(), parse(evaluate_result(), EvaluateResult), KNOWN)
    return evidence_of(asked, parsed, bound.pop("verdicts", judged.gates), **bound).digest


KNOWN = Standing("ft_v1.1", "a3" * 32, is_live=True)


def replace_standing(**changes: Any) -> Standing:
    return dataclasses.replace(KNOWN, **changes)


def _edited(limits: Any) -> list[Any]:
    """Return limits with each of their fields changed, alone."""
    others: dict[type, Any] = {Decimal: Decimal("0.4"), int: 7, bool: False, str: "Literal"}
    names = [name for name in limits.__struct_fields__ if getattr(limits, name) is not None]
    return [replace(limits, **{name: others[type(getattr(limits, name))]}) for name in names]


ASKED = Gates(production=ProductionGate())

EVERY_LIMIT = [
    replace(Gates(), **{name: edited}) for name in Gates.__struct_fields__ for edited in _edited(getattr(ASKED, name))
]


@pytest.mark.row("R22")
@pytest.mark.parametrize("gates", EVERY_LIMIT, ids=str)
def test_evidence_is_bound_to_every_limit_of_every_gate(gates: Gates) -> None:
    assert digest(evaluate_result(), gates=gates) != digest(evaluate_result())


@pytest.mark.row("R22")
@pytest.mark.parametrize("what", BOUND)
def test_evidence_is_bound_to_everything_that_was_measured(what: str) -> None:
    changed = evaluate_result()
    BOUND[what](changed)
    assert digest(changed) != digest(evaluate_result())


@pytest.mark.row("R22")
@pytest.mark.parametrize(
    "changes",
    [
        {"live": "ft_v1.1"},
        {"live_sha256": "ab"},
        {"round_": 2},
        {"owner": replace(document().owner, uid="another run's")},
        {"classes": tuple(reversed(document().classes))},
        {"standing": replace_standing(version="ft_v1.2")},
        {"standing": replace_standing(test_set=None)},
        {"standing": replace_standing(is_live=False)},
        {"verdicts": (GateVerdict(name="regression", verdict="Pass"),)},
        {"provenance": {"steps": [{"imageId": "swapped"}]}},
    ],
)
def test_evidence_is_bound_to_run_round_live_version_and_what_was_known_of_it(changes: dict[str, Any]) -> None:
    assert digest(evaluate_result(), **changes) != digest(evaluate_result())
    assert digest(evaluate_result()) == digest(evaluate_result())
