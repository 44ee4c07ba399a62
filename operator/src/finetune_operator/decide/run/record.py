"""The record of a judgement: a version number, then the immutable ModelVersion (row R24)."""

from msgspec.structs import replace

from ...api.model_version import Lineage, ModelVersion, VersionEvidence, VersionSpec
from ...api.names import model_version_name, series_of
from ...api.policy import Policy
from ...api.run import RunStatus
from ..decision import CreateModelVersion, Decision, ReserveVersion
from ..snapshot import default_seed, inputs_hash, spec_hash
from .grounds import Grounds, grounds_of
from .promote import only_requested
from .stage import Case, Go
from .status import finish, say


def recorded(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Reserve a number and make the ModelVersion, once the judgement stands (R24)."""
    view, policy, found = case.view, case.policy, grounds_of(status)
    if found is None or (status.promotion is not None and not only_requested(status)):
        return Go(status)
    version = status.version or (_reserved(policy, case.uid) if policy else None)
    if version is None:
        series = series_of(case.document.base.version) or 1
        action = ReserveVersion(policy=view.run.spec.policy, run_uid=case.uid, series=series)
        return Decision(say(status, status.phase or "Evaluating", "reserving a version number"), (action,))
    name = model_version_name(case.document.model, version)
    existing = next((v for v in view.versions if v.metadata.name == name), None)
    if existing is not None and not _is_ours(existing, case):
        told = f"ModelVersion {name} is there and is not of this run; delete it if it is nobody's, and make a new run"
        return finish(view, status, "Failed", "NameTaken", told)
    status = replace(status, version=version, model_version=name)
    if existing is not None:
        return Go(status)
    return Go(status, (CreateModelVersion(name=name, spec=_version_spec(case, status, found, version)),))


def _reserved(policy: Policy, uid: str) -> str | None:
    return next((r.version for r in policy.status.reservations if r.run_uid == uid), None)


def _is_ours(version: ModelVersion, case: Case) -> bool:
    return version.spec.lineage is not None and version.spec.lineage.run_uid == case.uid


def _version_spec(case: Case, status: RunStatus, found: Grounds, version: str) -> VersionSpec:
    """Return the immutable record. It is the same whenever it is made: nothing in it is read from the clock."""
    assert found.measurements is not None
    assert status.verdict is not None
    run, document = case.view.run, case.document
    return VersionSpec(
        model=document.model,
        version=version,
        type="FineTuned",
        artifact=found.candidate,
        checkpoint=found.checkpoint,
        classes=document.classes,
        serving=document.serving,
        base=document.base.version,
        lineage=Lineage(
            run=run.metadata.name,
            run_uid=case.uid,
            policy=run.spec.policy,
            base_sha256=document.base.artifact.sha256,
            inputs=found.inputs.plan,
            spec_hash=spec_hash(document, run),
            inputs_hash=inputs_hash(found.inputs, document),
            pool=found.inputs.pool,
            seed=document.mixing.seed if document.mixing else default_seed(case.uid),
            created_at=status.started_at or case.view.now,
        ),
        evidence=VersionEvidence(
            digest=found.evidence.digest,
            verdict=status.verdict,
            gates=status.gates,
            measurements=found.measurements,
            uri=found.evidence.uri,
            baseline=found.evidence.live,
            decision=status.decision,
        ),
    )
