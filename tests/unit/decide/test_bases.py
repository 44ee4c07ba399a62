"""Which base is the default: what served here before what was only imported, and never what is barred."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import Condition, FileReference
from finetune_operator.api.model_version import Lineage, ModelVersion, VersionEvidence
from finetune_operator.api.names import SERVICE_RECORD_KEY
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import LiveVersion, Quarantined, Rejected, TakenBack
from finetune_operator.api.record import Mark, Service, record_text
from finetune_operator.api.run import GateVerdict
from finetune_operator.decide.bases import default_base, why_no_default
from unit.decide.run.results import START, sha
from unit.decide.run.world import base, deleted, imported, live, policy

V1, V2, V3 = (base(f"base_v{n}", sha(f"base_v{n}")) for n in (1, 2, 3))
DEPLOYMENT = "invoice-detector"


def rebuilt(version: str = "base_v2", verdict: Any = "Pass") -> ModelVersion:
    """A base that a run of the policy made."""
    lineage = Lineage(
        run="again", run_uid="uid", policy="invoice-fields", base_sha256=V1.spec.artifact.sha256,
        inputs=FileReference(uri="file:///plan.json", sha256=sha("plan")), spec_hash="s", inputs_hash="i", pool=2500,
        outside=2000, seed=1, created_at=START,
    )  # fmt: skip
    gates = (GateVerdict(name="regression", verdict=verdict),)
    evidence = VersionEvidence(digest=f"sha256:{sha('e')}", verdict=verdict, gates=gates)
    return base(version, sha(version), base="base_v1", inputs=lineage.inputs, lineage=lineage, evidence=evidence)


def tuned(version: str, of: ModelVersion) -> ModelVersion:
    known = rebuilt().spec.lineage
    assert known is not None
    lineage = updated(known, base_sha256=of.spec.artifact.sha256, outside=None)
    return base(version, sha(version), type="FineTuned", base=of.spec.version, lineage=lineage)


def good(version: ModelVersion) -> LiveVersion:
    name, artifact = version.metadata.name, version.spec.artifact
    return LiveVersion(version=version.spec.version, model_version=name, uri=artifact.uri, sha256=artifact.sha256)


def serving(version: ModelVersion, **status: Any) -> Policy:
    shown = live(version.spec.version, version.spec.artifact.sha256)
    return updated(policy(), status=updated(policy().status, live=shown, **status))


def remembering(**status: Any) -> Policy:
    return updated(policy(), status=updated(policy().status, **status))


def recorded(version: ModelVersion, service: Service, deployment: str = DEPLOYMENT) -> ModelVersion:
    text = record_text(version.spec.artifact.sha256, {deployment: service})
    return updated(version, metadata=updated(version.metadata, annotations={SERVICE_RECORD_KEY: text}))


def chosen(rules: Policy, *versions: ModelVersion) -> str | None:
    picked = [default_base(order, rules) for order in (versions, versions[::-1])]
    assert picked[0] == picked[1], "it hangs on no order"
    return picked[0].spec.version if picked[0] is not None else None


@pytest.mark.row("R235")
def test_the_newest_base_that_was_live_here_is_the_default() -> None:
    assert chosen(serving(V1), V1, V2) == "base_v1"
    assert chosen(serving(V2, last_good=(good(V1),)), V1, V2, V3) == "base_v2"
    assert chosen(serving(tuned("ft_v2.1", V2), last_good=(good(V1), good(V2))), V1, V2, V3) == "base_v2"


@pytest.mark.row("R235")
def test_that_a_base_was_live_here_outlives_the_policys_memory() -> None:
    record = Service(good=START)
    assert chosen(policy(), V1, recorded(rebuilt(), record), V3) == "base_v2"
    assert chosen(policy(), recorded(V1, record), recorded(V2, record, deployment="other")) == "base_v1"


@pytest.mark.row("R235")
def test_a_base_that_was_imported_later_is_the_default_once_a_fine_tune_of_it_is_live() -> None:
    """An import goes live first, or never: what was made of it may."""
    fine_tune = tuned("ft_v2.1", V2)
    assert chosen(serving(V1), V1, V2, fine_tune) == "base_v1"
    assert chosen(serving(fine_tune, last_good=(good(V1),)), V1, V2, fine_tune) == "base_v2"


@pytest.mark.row("R235")
def test_what_is_made_of_a_base_that_failed_does_not_make_it_the_default() -> None:
    """Who may make runs names any base; the next run, and scans, go by one that nothing speaks against."""
    failed = Condition(type="Verified", status="False", reason="BelowFloor")
    bad = updated(V2, status=updated(V2.status, conditions=(failed,)))
    for second in (rebuilt(verdict="Reject"), bad):
        fine_tune = tuned("ft_v2.1", second)
        assert chosen(serving(fine_tune, last_good=(good(fine_tune), good(V1))), V1, second, fine_tune) == "base_v1"
    fine_tune = tuned("ft_v2.1", rebuilt())
    assert chosen(serving(fine_tune, last_good=(good(V1),)), V1, rebuilt(), fine_tune) == "base_v2"


@pytest.mark.row("R235")
def test_where_none_was_live_it_is_the_newest_verified_import() -> None:
    assert chosen(policy(), V1, V2) == "base_v2"
    assert chosen(policy(), V1, rebuilt()) == "base_v1", "a rebuilt one that was never live is none"
    assert chosen(policy(), V1, rebuilt(verdict="Reject")) == "base_v1"
    assert chosen(policy(), rebuilt()) is None
    assert chosen(policy(), V1, updated(imported(), spec=V2.spec)) == "base_v1"
    assert chosen(policy(), imported()) == "base_v1", "one that is still measured is better than none"


@pytest.mark.row("R235")
@pytest.mark.parametrize("said", ["quarantine", "record of it", "no"])
def test_a_rejected_or_quarantined_base_is_never_the_default(said: str) -> None:
    digest, at = V2.spec.artifact.sha256, START
    known = (good(V1), good(V2))
    second = V2
    match said:
        case "quarantine":
            entry = Quarantined(version="base_v2", sha256=digest, reason="Unhealthy", since=at)
            rules = remembering(last_good=known, quarantined=(entry,))
        case "record of it":
            rules, second = remembering(last_good=known), recorded(V2, Service(good=at, quarantined=Mark(at=at)))
        case _:
            rules = remembering(
                last_good=known, rejected=(Rejected(version="base_v2", sha256=digest, by="ann", at=at),)
            )
    assert chosen(rules, V1, second) == "base_v1"
    assert chosen(rules, second) is None


@pytest.mark.row("D258")
def test_a_base_that_served_in_another_namespace_was_not_live_here() -> None:
    copied = recorded(rebuilt(), Service(good=START, good_in="staging"))
    rules = remembering(last_good=(good(V1),))
    assert chosen(rules, V1, copied) == "base_v1"
    assert chosen(rules, V1, recorded(rebuilt(), Service(good=START, good_in="ml"))) == "base_v2"


@pytest.mark.row("R235")
def test_a_base_that_people_went_back_from_gives_way_to_another_that_was_live() -> None:
    taken = TakenBack(version="base_v2", sha256=V2.spec.artifact.sha256, by="back", since=START)
    rules = remembering(last_good=(good(V1), good(V2)), taken_back=(taken,))
    assert chosen(rules, V1, V2) == "base_v1"
    assert chosen(rules, V2) == "base_v2", "it is better than none"
    assert chosen(rules, V2, V3) == "base_v2", "and than one that never served"
    back = recorded(rebuilt(), Service(good=START, taken_back=Mark(at=START)))
    assert chosen(remembering(last_good=(good(V1),)), V1, back) == "base_v1"


@pytest.mark.row("R235")
def test_a_base_that_people_went_back_from_is_the_default_again_once_a_fine_tune_of_it_is_live() -> None:
    taken = TakenBack(version="base_v2", sha256=V2.spec.artifact.sha256, by="back", since=START)
    fine_tune = tuned("ft_v2.1", V2)
    rules = serving(fine_tune, last_good=(good(V1), good(V2)), taken_back=(taken,))
    assert chosen(rules, V1, V2, fine_tune) == "base_v2"


@pytest.mark.row("R235")
def test_a_fine_tune_speaks_for_the_bytes_that_it_came_from_and_not_for_their_number() -> None:
    """Numbers are unique by convention; who imports other bytes under one has another base."""
    other = updated(base("base_v2", sha("other bytes")), metadata=updated(V2.metadata, name="other"))
    fine_tune = tuned("ft_v2.1", other)
    assert chosen(serving(fine_tune, last_good=(good(V1),)), V1, V2, fine_tune) == "base_v1"


@pytest.mark.row("R235")
def test_the_tenth_base_is_newer_than_the_ninth() -> None:
    ninth, tenth = base("base_v9", sha("9")), base("base_v10", sha("10"))
    assert chosen(policy(), ninth, tenth) == "base_v10"
    assert chosen(remembering(last_good=(good(ninth), good(tenth))), V1, ninth, tenth) == "base_v10"


@pytest.mark.row("R235")
def test_a_rebuild_that_gates_did_not_let_through_is_no_default_whatever_a_record_or_a_fine_tune_of_it_says() -> None:
    bad = rebuilt(verdict="Reject")
    for one in (bad, rebuilt(verdict="Error")):
        fine_tune = tuned("ft_v2.1", one)
        assert chosen(serving(fine_tune, last_good=(good(V1),)), V1, one, fine_tune) == "base_v1"
        assert chosen(policy(), V1, recorded(one, Service(good=START))) == "base_v1"
    by_a_gate = (GateVerdict(name="regression", verdict="Reject"),)
    assert bad.spec.evidence is not None
    said = updated(bad.spec, evidence=updated(bad.spec.evidence, verdict="Pass", gates=by_a_gate))
    assert chosen(policy(), V1, recorded(updated(bad, spec=said), Service(good=START))) == "base_v1"


@pytest.mark.row("R235")
def test_a_base_that_goes_or_is_of_another_model_is_none() -> None:
    going = updated(V2, metadata=deleted(V2.metadata))
    assert chosen(serving(V2), V1, going) == "base_v1"
    assert chosen(policy(), V1, base("base_v4", sha("4"), model="letters")) == "base_v1"


@pytest.mark.row("R235")
def test_of_two_of_one_series_the_newer_one_is_the_default() -> None:
    later = updated(V1.metadata, name="copy", creation_timestamp=START + timedelta(days=1))
    twin = updated(base("base_v1", sha("other")), metadata=later)
    first = updated(V1, metadata=updated(V1.metadata, creation_timestamp=START))
    picked = default_base((first, twin), policy())
    assert picked is not None
    assert picked.metadata.name == "copy"


@pytest.mark.row("R7")
@pytest.mark.row("R235")
def test_where_there_is_none_it_says_why_and_what_to_do() -> None:
    failed = Condition(type="Verified", status="False", reason="BelowFloor")
    bad = updated(V1, status=updated(V1.status, conditions=(failed,)))
    assert chosen(policy(), bad, rebuilt()) is None
    said = [why_no_default(versions, policy()) for versions in ((), (bad, rebuilt()))]
    assert [problem.reason for problem in said] == ["BaseNotFound", "BaseNotFound"]
    assert "finetune-trainer import" in said[0].message
    assert "base_v1, base_v2" in said[1].message
    assert said[1].message.endswith("or make a run that names one"), "none can be given to a run that is there"
