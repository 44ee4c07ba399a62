"""What the last release stored is read as what is written now (docs/develop/stored-objects.md)."""

import copy
from decimal import Decimal
from typing import Any

import pytest

from finetune_operator.api.figures import Figure
from finetune_operator.api.model_version import ModelVersion, VersionEvidence
from finetune_operator.api.policy import Policy
from finetune_operator.api.run import Run, RunStatus
from finetune_operator.api.run_document import document_json
from finetune_operator.api.step_result import EvaluateResult
from finetune_operator.api.value import canonical_json, parse, plain
from finetune_operator.decide.gates.gate import Standing
from finetune_operator.decide.gates.verdict import judge
from finetune_operator.decide.run.grounds import grounds_of
from finetune_operator.decide.snapshot import snapshot_of_run
from finetune_operator.manifests.documents import read_document
from house.crds import Schema, crds, leaves
from house.samples import changed, sample
from house.stored import old_policy, old_run, old_version
from unit.decide.run.results import evaluate_result
from unit.decide.run.world import base, policy, run

FIGURES = (
    Figure(name="candidateMap50", value="0.981000"),
    Figure(name="baseMap50", value="0.985000"),
    Figure(name="liveMap50", value="0.970000"),
    Figure(name="poolRate", value="0.950000"),
    Figure(name="freshRate", value="0.940000"),
    Figure(name="basePoolRate", value="0.400000"),
    Figure(name="boxes", value="300"),
    Figure(name="documents", value="60"),
)


def evidence(version: dict[str, Any]) -> VersionEvidence:
    evidence = parse(version, ModelVersion).spec.evidence
    assert evidence is not None
    return evidence


class TestFigures:
    def test_a_version_of_the_last_release_has_its_measurements_as_figures(self) -> None:
        assert evidence(old_version()).figures == FIGURES
        assert evidence(old_version()).figure("candidateMap50") == "0.981000"

    def test_what_was_not_measured_is_no_figure(self) -> None:
        nothing_live = changed(old_version(), ("spec", "evidence", "measurements", "liveMap50"), None)
        assert evidence(nothing_live).figure("liveMap50") is None
        assert evidence(nothing_live).figures == tuple(figure for figure in FIGURES if figure.name != "liveMap50")

    def test_both_forms_are_one_value(self) -> None:
        new = copy.deepcopy(old_version())
        new["spec"]["evidence"]["figures"] = plain(FIGURES)
        del new["spec"]["evidence"]["measurements"]
        assert parse(new, ModelVersion) == parse(old_version(), ModelVersion)

    def test_measurements_are_not_written_any_more(self) -> None:
        assert "measurements" not in plain(evidence(old_version()))
        assert plain(evidence(old_version()))["figures"] == plain(FIGURES)

    def test_figures_that_are_there_are_not_replaced(self) -> None:
        manifest = sample("ModelVersion of a fine-tune")
        manifest["spec"]["evidence"]["measurements"] = old_version()["spec"]["evidence"]["measurements"]
        assert evidence(manifest).figure("candidateMap50") == "0.99"

    def test_a_verdict_of_the_last_release_stands_on_its_measurements(self) -> None:
        grounds = grounds_of(parse(old_run(), Run).status)
        assert grounds is not None
        assert grounds.figures == FIGURES

    def test_a_status_of_the_last_release_is_not_written_anew_for_its_form(self) -> None:
        status = old_run()["status"]
        assert plain(parse(status, RunStatus)) == status


class TestHoldout:
    @pytest.mark.parametrize("old", ["0", "0.2", "0.9"])
    def test_a_policy_of_the_last_release_holds_out_what_it_did(self, old: str) -> None:
        assert parse(old_policy(old), Policy).spec.holdout == Decimal(old)

    def test_a_policy_that_says_nothing_holds_nothing_out(self) -> None:
        assert parse(old_policy(), Policy).spec.holdout == 0

    @pytest.mark.parametrize(("old", "new"), [("0", "0.2"), ("0.2", "0.20"), (None, "0.2")])
    def test_what_the_pool_says_goes_first(self, old: str | None, new: str) -> None:
        policy = changed(old_policy(old), ("spec", "data", "pool", "holdout"), new)
        assert parse(policy, Policy).spec.holdout == Decimal("0.2")

    @pytest.mark.parametrize("path", [("data", "pool", "holdout"), ("gates", "newSamples", "holdout")])
    def test_the_run_document_carries_it_once(self, path: tuple[str, ...]) -> None:
        policy = parse(changed(old_policy(), ("spec", *path), "0.2"), Policy)
        document = document_json(snapshot_of_run(run(), policy, base()))
        assert document["holdout"] == "0.2"
        assert document["data"]["pool"] == {"uri": policy.spec.data.pool.uri}
        assert document["gates"]["newSamples"] == {"minimum": "0.720"}

    def test_neither_schema_makes_a_holdout_of_nothing(self) -> None:
        """A default would stand beside, and hide, what an old policy says in the other place."""
        for _, schema in holdouts():
            assert "default" not in schema

    def test_a_run_document_of_the_last_release_is_read_and_judged(self) -> None:
        snapshot = build_snapshot_of(old_run_document())
        document = read_document(snapshot)
        assert document.holdout == Decimal("0.2")
        judgement = judge(document, parse(evaluate_result(), EvaluateResult), Standing())
        assert judgement.verdict == "Pass"
        assert {gate.threshold for gate in judgement.gates} >= {"review at 1, reject above 3", "0.80"}


def holdouts() -> list[tuple[tuple[str, ...], Schema]]:
    holdouts = [(path, schema) for path, schema in leaves(crds()["FineTunePolicy"].spec) if path[-1] == "holdout"]
    assert [path[:-1] for path, _ in holdouts] == [("data", "pool"), ("gates", "newSamples")]
    return holdouts


def old_run_document() -> dict[str, Any]:
    """A document of the last release: the hold-out travelled a second time, among the limits of a gate."""
    document: dict[str, Any] = document_json(snapshot_of_run(run(), policy(), base()))
    document["holdout"] = document["gates"]["newSamples"]["holdout"] = "0.2"
    return document


def build_snapshot_of(document: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "first-document"}, "data": {"run.json": canonical_json(document).decode()}}
