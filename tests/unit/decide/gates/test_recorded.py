"""What a run records of its judgement is believed when it is read back, whatever limits the policy has."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finetune_operator.api.model_version import VersionEvidence
from finetune_operator.api.policy import FieldsGate, FloorGate, Gates, NewSamplesGate, RegressionGate
from finetune_operator.api.step_result import EvaluateResult
from finetune_operator.api.value import parse, plain
from finetune_operator.decide.gates.gate import Standing
from finetune_operator.decide.gates.recorded import disbelief, recorded_verdict
from finetune_operator.decide.gates.verdict import judge
from finetune_operator.decide.snapshot import snapshot_of_run
from unit.decide.run.results import evaluate_result
from unit.decide.run.world import base, policy, run

LIMITS = st.from_regex(r"[0-9]{1,3}([.][0-9]{1,10})?", fullmatch=True)
POINTS, SHARES = LIMITS.filter(lambda text: Decimal(text) <= 100), LIMITS.filter(lambda text: Decimal(text) <= 1)


@pytest.mark.row("D75")
@given(
    review=POINTS,
    reject=POINTS,
    minimum=SHARES,
    candidate=st.integers(0, 1_000_000),
    matched=st.integers(0, 1000),
    live=st.booleans(),
)
@example(review="1", reject="3", minimum="0.0000001", candidate=981_000, matched=950, live=False)
@example(review="0.0000000001", reject="3", minimum="0.8", candidate=981_000, matched=950, live=True)
@example(review="1", reject="3.1234567891", minimum="0.8", candidate=960_000, matched=801, live=False)
def test_a_record_of_what_was_judged_by_any_limits_is_believed(
    review: str, reject: str, minimum: str, candidate: int, matched: int, live: bool
) -> None:
    gates = Gates(
        regression=RegressionGate(review_at_points=Decimal(review), reject_above_points=Decimal(reject)),
        new_samples=NewSamplesGate(minimum=Decimal(minimum)),
        fields=FieldsGate(review_at_points=Decimal(review)),
        floor=FloorGate(minimum=Decimal(minimum)),
    )
    said = evaluate_result(f"{candidate / 1_000_000:.6f}", live_map50="0.98" if live else None, matched=matched)
    document = snapshot_of_run(run(), policy(gates=gates), base())
    judgement = judge(document, parse(said, EvaluateResult), Standing())
    record = VersionEvidence(
        digest="sha256:" + "0" * 64, verdict=judgement.verdict, gates=judgement.gates, figures=judgement.figures
    )
    record = parse(plain(record), VersionEvidence)
    assert disbelief(record) is None
    assert recorded_verdict(record) == judgement.verdict
